/// The proof that the books balance: every table of a pipeline, over its whole history, from the lake alone.
///
/// What is proved, per table and partition:
///   - the commits' ranges form one chain: each begins where the one before ended (as far back as the log's JSON
///   reaches);
///   - read + further == written + dead-lettered + filtered + deduplicated + tombstones, in running totals;
///   - read <= the offsets covered (Kafka's holes may make it less, nothing may make it more; not of dead letters, of
///     which a record may have several);
///   - written, by reading and by replays, == rows that are in the table's live files, counted in the files
///     (aggregates: the sum of _rows);
///   - no offset twice (of records with several documents no offset and index), none outside the covered range (tables
///   that keep _partition and _offset);
///   - dead-lettered == the records and documents that the dead-letter table has letters of for this table's stages in
///   the covered
///     range;
///   - replayed == the records that the log of replays says went to this table; of these, those that failed again ==
///     the letters that replays wrote for its stages;
///   - every live file exists with its exact size;
///   - of a family (`route`), besides all that for each of its tables: the index's books == the rows of all of its
///     tables up to the index's offsets, and no record is in two of them;
///   - final tables: see FinalTable::Check().
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/ledger.h"
#include "objectstore/object_store.h"
#include "pipeline/plan.h"
#include "pipeline/progress.h"

namespace millrace::pipeline {

struct TableAudit {
  std::string name;
  config::TableKind kind = config::TableKind::kEvents;
  std::int64_t version = -1;
  std::int64_t num_files = 0;
  std::int64_t rows = 0;  ///< Events behind the rows, counted in the files; of final tables: their rows.
  model::Ledger totals;   ///< Over all partitions.
  ReplayCounts replays;   ///< Likewise; beside the ledger, whose dead-lettered these were.
  model::OffsetVector next;
  std::vector<std::string> findings;  ///< Empty: everything holds. Each names the partition, file or version.
};

struct AuditReport {
  std::vector<TableAudit> tables;  ///< In the plan's order, then the tables of families, then the final tables.
  bool ok() const;
};

/// Blocks; reads every live file. Fails only if a table cannot be read at all; the error names it.
Result<AuditReport> Audit(const Plan& plan, const std::shared_ptr<objectstore::ObjectStore>& lake);

}  // namespace millrace::pipeline
