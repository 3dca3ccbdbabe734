/// Which tables a dead letter keeps its record from, and so where the record goes when it is run again.
///
/// A letter of decoding keeps it from every table of its input, one of a transform from those behind it, one of a table
/// from that table. A name that a transform had once counts too, unless another transform has it now. Of these tables,
/// a table that begins after the record does not miss it. Where the record has been run again since the letter was
/// written, it is not the letter that decides any more, but what came of it then: nothing further if it was taken, a
/// newer letter if it failed again.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pipeline/letter_scan.h"
#include "pipeline/open_tables.h"
#include "pipeline/plan.h"
#include "pipeline/replay_log.h"

namespace millrace::pipeline {

enum class LetterState {
  kOpen,      ///< Can be run again.
  kReplayed,  ///< Has been, into every table that it concerns.
  kWaiting,   ///< A table that it concerns has not read as far yet, and would read the record a second time.
  kUnplaced,  ///< It concerns no table: its topic, transform or table is not in the file any more.
};
std::string_view ToString(LetterState state);

struct LetterTarget {
  LetterState state = LetterState::kUnplaced;
  std::vector<int> tables;  ///< If open: where to; ascending.
  int waits_for = -1;       ///< If waiting: a table that has not read as far.
};

/// Of the tables' snapshots at the time of making. One thread.
class LetterTargets {
 public:
  /// `plan` outlives it.
  LetterTargets(const Plan& plan, const std::vector<OpenTable>& tables);

  LetterTarget Of(const StoredLetter& letter, const ReplayedRecords& replayed);

 private:
  struct Table {
    const OpenTable* opened;
    delta::SnapshotPtr snapshot;
    std::vector<std::string> stages;  // Whose letters are this table's.
    int input;
  };
  struct Concerned {
    int table;
    std::optional<model::Offset> from;
    std::optional<model::Offset> next;
  };
  const std::vector<Concerned>& ConcernedBy(const model::TopicPartition& source, const std::string& stage);

  const Plan& plan_;
  std::vector<Table> tables_;
  std::map<std::pair<model::TopicPartition, std::string>, std::vector<Concerned>> concerned_;
};

}  // namespace millrace::pipeline
