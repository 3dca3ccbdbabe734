/// From sealed parts to one atomic commit. Blocks; runs on an I/O thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/status.h"
#include "delta/data/data_file.h"
#include "delta/table.h"
#include "model/event_batch.h"
#include "pipeline/plan.h"
#include "pipeline/progress.h"
#include "pipeline/route_family.h"
#include "pipeline/sink.h"

namespace millrace::pipeline {

struct EpochCommitted {
  delta::SnapshotPtr snapshot;
  delta::TableVersion version = 0;
  std::int64_t num_rows = 0;  ///< Records folded in: rows of events, or events behind partial rows.
  std::int64_t num_files = 0;
  std::int64_t num_bytes = 0;  ///< Of these files.
};
using EpochOutcome = std::variant<EpochCommitted, delta::Fenced>;

/// What one table of a family gets of an epoch.
struct PreparedRoute {
  std::map<model::TopicPartition, PartitionPart> partitions;
  std::vector<delta::AddFile> files;
};

/// An epoch whose files are complete and durable, ready to be committed as often as it takes.
struct PreparedEpoch {
  std::int64_t epoch = 0;
  std::map<model::TopicPartition, PartitionPart> partitions;
  std::vector<delta::AddFile> files;
  std::int64_t rescued_rows = 0;          ///< See SealedPart.
  JoinedVersions lookups{};               ///< Likewise; the commit names them.
  std::map<int, PreparedRoute> routes{};  ///< Of a family, whose files they have.
};

/// Of all shards' parts, for RouteFamily::Claim().
std::vector<int> RoutesOf(const std::vector<SealedPart>& parts);

/// Finishes the files of all shards' parts. kTransient: a file could not be written; nothing of the epoch can be
/// committed, it must be discarded and read again.
Result<PreparedEpoch> PrepareEpoch(const config::TablePlan& plan, const delta::Table& table,
                                   std::vector<SealedPart> parts);

/// kConflict: the table has another schema than TablePlan::planned_schema, or is partitioned otherwise than the plan.
/// Whatever was made by the plan is for another table then. OK if the plan has none.
Status CheckPlannedSchema(const config::TablePlan& plan, const delta::Snapshot& snapshot);

/// One commit with the files and, per partition, the txn family of progress.h; fenced by each partition's txn. May be
/// repeated with the same epoch after kTransient or kUnknownOutcome: a try that landed is found by its offsets.
/// kConflict: see CheckPlannedSchema(); the epoch is for nothing.
Result<EpochOutcome> CommitEpoch(const Plan& plan, int table_index, delta::Table& table, const Progress& progress,
                                 const PreparedEpoch& epoch);

/// Of a family: each table that got rows first, then the index. Fenced: any of them was. May be repeated as
/// CommitEpoch(): what landed is found.
Result<EpochOutcome> CommitFamilyEpoch(const Plan& plan, int table_index, delta::Table& index, const Progress& progress,
                                       const RouteFamily& family, const PreparedEpoch& epoch);

/// One commit without files that says where reading of these partitions begins; fenced by the table's knowing nothing
/// of them. A start that another process wrote meanwhile is Fenced, the same one or not. `patterns`: of topics, which
/// the table knows from then on.
Result<EpochOutcome> CommitStarts(const Plan& plan, const config::TablePlan& table_plan, delta::Table& table,
                                  const Progress& progress, const model::OffsetVector& starts,
                                  const std::vector<std::string>& patterns = {});

/// Dead letters and how far each stage's letters are complete.
struct LetterEpoch {
  std::vector<model::DeadLetter> letters;
  model::OffsetVector ends;  ///< Letters of all stages below these are in this or earlier epochs.
  std::map<std::string, std::optional<std::int64_t>> fence;  ///< By txn id of the dead-letter table.
};
Result<EpochOutcome> CommitLetters(const Plan& plan, delta::Table& table, const Progress& progress,
                                   const LetterEpoch& epoch);

}  // namespace millrace::pipeline
