/// Which records of a partition repeat an earlier one: equal keys whose event times are at most `within` apart.
///
/// What is decided about a record is a function of the records before it in its partition, and of nothing else: not of
/// clocks, of how they were fetched, or of what became of the repeats. So whoever reads them again decides the same.
///
/// What is remembered is bounded by a horizon in event time, which records alone move: the highest of the medians of
/// each 1,024 offsets (so a few devices whose clocks are ahead do not move it). Times more than `within` before it are
/// forgotten, in steps of a sixteenth of `within`; a record that is older than that is kept without a look.
///
/// RememberedFrom() is the offset from which on the log says again all that is remembered: a Deduplicator that begins
/// there decides, from here on, as this one.
///
/// What is remembered is in memory. With StoredKeys, a folder of the local disk, what memory has no room for is there,
/// and so is a copy of the rest, so that after a restart only the newest records are read again. Answers are the same.
#pragma once

#include <arrow/record_batch.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/memory_budget.h"
#include "base/status.h"
#include "model/topic_partition.h"
#include "process/key_hash.h"
#include "process/seen_keys.h"
#include "process/stored_keys.h"

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
  /// With a folder. Goes on from what it holds, if that is the state of an offset in `usable`, both ends included; else
  /// begins at usable.begin, and what the folder holds is removed. Records before usable.end are in every table.
  /// Errors: those of StoredKeys.
  static Result<std::unique_ptr<Deduplicator>> Open(DedupeRule rule, const model::OffsetRange& usable,
                                                    MemoryShare limited, MemoryShare counted,
                                                    std::unique_ptr<StoredKeys> stored);
  Deduplicator(const Deduplicator&) = delete;
  Deduplicator& operator=(const Deduplicator&) = delete;
  /// What is in memory alone goes to the folder, if there is one and nothing has failed.
  ~Deduplicator();

  /// The offset that comes next.
  model::Offset next() const { return next_; }
  /// A record that was read, and is in the log under this offset as long as it is the same log.
  struct LastRecord {
    model::Offset offset;
    std::uint32_t fingerprint;
  };
  const std::optional<LastRecord>& last_record() const { return last_record_; }

  /// The events of the next offsets, in their order, those that are dead letters left out; all of a record or none.
  /// `fingerprint`: of the record at range.end - 1; 0: there is none. Gives the rows that are repeats, ascending.
  /// kTooLarge: what is to be remembered is more than `limited` allows, or the folder. kTransient: the disk fails, or
  /// what it held is damaged and was removed. After an error it is of no use.
  Result<std::vector<std::int64_t>> FindRepeats(const arrow::RecordBatch& rows, model::OffsetRange range,
                                                std::uint32_t fingerprint = 0);

  /// Where to begin reading, to decide about what comes after the last range as this one does.
  model::Offset RememberedFrom() const;

  /// With a folder: what is remembered in memory goes there, and its memory is free. Errors as FindRepeats().
  Status Spill();
  /// It has a folder, and so much in memory that it is worth a file.
  bool can_spill() const;
  /// Every table has the records before `offset`. Errors as FindRepeats().
  Status Committed(model::Offset offset);

  /// Of keys, in memory.
  std::int64_t memory_bytes() const { return seen_.bytes(); }

 private:
  static constexpr model::Offset kBlock = 1024;  // Blocks of offsets begin at multiples of it.

  Result<std::vector<std::int64_t>> Find(const arrow::RecordBatch& rows, model::OffsetRange range);
  void CloseBlock();
  void NoteTime(UnixMicros time, model::Offset offset);
  /// For the record at this offset; everything before it has been asked about, and nothing of it.
  Status MakeRoom(model::Offset offset);
  /// For all documents of that record. The same holds.
  Status Reserve(model::Offset offset, std::span<const KeyHash> keys);
  Result<bool> IsStored(const KeyHash& key, UnixMicros time) const;
  std::int64_t SpilledMin() const;
  UnixMicros SpilledUpTo() const;
  Status NoRoom() const;
  Status WriteUnwritten();
  std::string Marks() const;
  bool TakeMarks(std::string_view marks);
  /// Of the folder: after it, there is none.
  Status GiveUp(const Status& failure);

  const DedupeRule rule_;
  const std::int64_t step_;  // Of what is forgotten, microseconds.
  model::Offset begin_;
  model::Offset next_;
  std::optional<LastRecord> last_record_;
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

  std::unique_ptr<StoredKeys> stored_;  // nullptr: memory alone.
  std::vector<SeenKey> unwritten_;      // Not in its journal yet.
  model::Offset written_to_ = 0;

  std::vector<KeyHash> hashes_;  // Of the batch at hand.
  std::vector<std::uint8_t> has_key_;
};

}  // namespace millrace::process
