/// Which records of a partition repeat an earlier one: equal keys whose event times are at most `within` apart.
///
/// What is decided about a record is a function of the records before it in its partition, and of nothing else: not of
/// clocks, of how they were fetched, or of what became of the repeats. So whoever reads them again decides the same.
///
/// What is remembered is bounded by a horizon in event time, which records alone move: the highest of the medians of
/// each 1,024 offsets (so a few devices whose clocks are ahead do not move it). Times more than `within` before it are
/// forgotten, in steps of a sixteenth of `within`; a record that is older than that is kept without a look.
///
/// Nothing is stored. RememberedFrom() is the offset from which on the log says again all that is remembered: a
/// Deduplicator that begins there decides, from here on, as this one.
#pragma once

#include <arrow/record_batch.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/memory_budget.h"
#include "base/status.h"
#include "model/topic_partition.h"
#include "process/key_hash.h"
#include "process/seen_keys.h"

namespace millrace::process {

struct DedupeRule {
  std::vector<int> key_columns;  ///< Of the events. A row with a null in one of them repeats nothing.
  int time_column = 0;           ///< Of the events, a timestamp in microseconds. As for nulls, likewise.
  std::chrono::microseconds within = std::chrono::hours(24);
};

/// Of one partition. One thread at a time.
class Deduplicator {
 public:
  /// What is read of the partition begins at `begin`. `limited`, `counted`: see SeenKeys.
  Deduplicator(DedupeRule rule, model::Offset begin, MemoryShare limited, MemoryShare counted);

  /// The events of the next offsets, in their order, those that are dead letters left out. Gives the rows that are
  /// repeats, ascending. kTooLarge: what is to be remembered is more than `limited` allows; what was asked last is
  /// remembered in part.
  Result<std::vector<std::int64_t>> FindRepeats(const arrow::RecordBatch& rows, model::OffsetRange range);

  /// Where to begin reading, to decide about what comes after the last range as this one does.
  model::Offset RememberedFrom() const;

  std::int64_t memory_bytes() const { return seen_.bytes(); }

 private:
  static constexpr model::Offset kBlock = 1024;  // Blocks of offsets begin at multiples of it.

  void CloseBlock();
  void NoteTime(UnixMicros time, model::Offset offset);

  const DedupeRule rule_;
  const std::int64_t step_;  // Of what is forgotten, microseconds.
  const model::Offset begin_;
  model::Offset next_;
  KeyHasher hasher_;
  SeenKeys seen_;

  std::optional<UnixMicros> horizon_;
  std::optional<UnixMicros> forgotten_;  // Times before it are.
  model::Offset horizon_block_ = 0;      // Whose median it is.
  model::Offset block_ = 0;              // Of the times at hand.
  std::vector<UnixMicros> block_times_;

  // By time in steps, the first offset with a time that is not forgotten. Past some thousand steps the others are one.
  std::map<std::int64_t, model::Offset> first_offsets_;
  struct OtherSteps {
    model::Offset first;
    std::int64_t latest;
  };
  std::optional<OtherSteps> others_;
  std::int64_t last_noted_ = INT64_MIN;

  std::vector<KeyHash> hashes_;  // Of the batch at hand.
  std::vector<std::uint8_t> has_key_;
};

}  // namespace millrace::process
