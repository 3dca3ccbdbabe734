#include "process/deduplicator.h"

#include <arrow/array.h>

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "base/log.h"
#include "model/event_batch.h"
#include "process/packed_bytes.h"
#include "process/saturating.h"

namespace millrace::process {
namespace {

constexpr std::int64_t kStepsWithin = 16;
/// Steps with a first offset of their own; a block has 1,024 times at most, so that others are of clocks far ahead.
constexpr std::size_t kStepsMax = 4096;
/// Rows between asking for a key's place in memory and looking there.
constexpr std::size_t kPrefetched = 16;
/// The journal is behind by so many keys or offsets at most, which are read again from the log if the process dies.
constexpr std::size_t kUnwrittenMax = 2048;
constexpr model::Offset kUnwrittenOffsetsMax = 1 << 16;
/// A journal of more keys than twice those that are remembered in memory, and these, is written anew.
constexpr std::int64_t kJournalKeysMin = 1 << 16;
/// Less is not worth a file, with a filter to be asked for each record.
constexpr std::int64_t kSpilledKeysMin = 2048;
constexpr std::int64_t kRunsMax = 64;

std::int64_t FloorDivide(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

}  // namespace

Deduplicator::Deduplicator(DedupeRule rule, model::Offset begin, MemoryShare limited, MemoryShare counted)
    : rule_(std::move(rule)),
      step_(std::max<std::int64_t>(1, rule_.within.count() / kStepsWithin)),
      begin_(begin),
      next_(begin),
      hasher_(rule_.key_columns),
      seen_(rule_.within.count(), std::move(limited), std::move(counted)) {
  block_times_.reserve(kBlock);
}

Result<std::unique_ptr<Deduplicator>> Deduplicator::Open(DedupeRule rule, const model::OffsetRange& usable,
                                                         MemoryShare limited, MemoryShare counted,
                                                         std::unique_ptr<StoredKeys> stored) {
  auto dedupe = std::make_unique<Deduplicator>(std::move(rule), usable.begin, std::move(limited), std::move(counted));
  ASSIGN_OR_RETURN(const auto position, stored->Load(usable, dedupe->seen_));
  // A state that began after usable.begin knows less than the log.
  if (position && PackedReader(position->marks).Take<model::Offset>() <= usable.begin) {
    dedupe->next_ = position->end;
    dedupe->hasher_ = KeyHasher(dedupe->rule_.key_columns, stored->secret());
    if (!dedupe->TakeMarks(position->marks)) {
      RETURN_NOT_OK(stored->Clear());
      return Transient("dedupe: what {} held made no sense, and is removed", stored->folder().string());
    }
  } else {
    dedupe->seen_.Clear();
    RETURN_NOT_OK(stored->Begin(dedupe->hasher_.secret(), {usable.begin, INT64_MIN, dedupe->Marks()}));
  }
  dedupe->written_to_ = dedupe->next_;
  dedupe->stored_ = std::move(stored);
  return dedupe;
}

Deduplicator::~Deduplicator() {
  if (stored_ == nullptr || next_ == written_to_) return;
  const Status written = WriteUnwritten();
  if (!written.ok()) spdlog::warn("{}", written.message());
}

Result<std::vector<std::int64_t>> Deduplicator::FindRepeats(const arrow::RecordBatch& rows, model::OffsetRange range,
                                                            std::uint32_t fingerprint) {
  MILLRACE_CHECK(range.begin == next_, "the repeats before offset {} are known, but {} comes next", next_, range.begin);
  auto repeats = Find(rows, range);
  if (!repeats.ok()) return GiveUp(repeats.status());
  if (fingerprint != 0) last_record_ = {range.end - 1, fingerprint};
  if (stored_ != nullptr && (unwritten_.size() >= kUnwrittenMax || next_ - written_to_ >= kUnwrittenOffsetsMax)) {
    const Status written = WriteUnwritten();
    if (!written.ok()) return GiveUp(written);
  }
  return repeats;
}

Result<std::vector<std::int64_t>> Deduplicator::Find(const arrow::RecordBatch& rows, model::OffsetRange range) {
  next_ = range.end;
  std::vector<std::int64_t> repeats;
  const auto num_rows = static_cast<std::size_t>(rows.num_rows());
  if (num_rows == 0) return repeats;
  hasher_.Hash(rows, hashes_, has_key_);
  const auto& times = static_cast<const arrow::TimestampArray&>(*rows.column(rule_.time_column));
  const auto& offsets = static_cast<const arrow::Int64Array&>(*rows.GetColumnByName(std::string(model::kOffsetColumn)));
  const bool has_nulls = times.null_count() > 0;
  const auto prefetch = [this](std::size_t row) {
    seen_.Prefetch(hashes_[row]);
    if (stored_ != nullptr) stored_->Prefetch(hashes_[row]);
  };
  for (std::size_t i = 0; i < std::min(kPrefetched, num_rows); ++i) prefetch(i);
  std::size_t record_end = 0;     // Behind the rows of the record at hand.
  model::Offset last_timed = -1;  // Of the last row with a time.
  for (std::size_t i = 0; i < num_rows; ++i) {
    if (i + kPrefetched < num_rows) prefetch(i + kPrefetched);
    const auto row = static_cast<std::int64_t>(i);
    if (has_nulls && times.IsNull(row)) continue;
    const UnixMicros time = times.Value(row);
    const model::Offset offset = offsets.Value(row);
    if (offset / kBlock != block_) {
      CloseBlock();
      block_ = offset / kBlock;
    }
    if (i >= record_end) {
      record_end = i + 1;
      while (record_end < num_rows && offsets.Value(static_cast<std::int64_t>(record_end)) == offset) ++record_end;
      if (record_end - i > 1) RETURN_NOT_OK(Reserve(offset, std::span(hashes_).subspan(i, record_end - i)));
    }
    // Of documents of one record the first speaks for all, so that a block has no more times than offsets.
    if (std::exchange(last_timed, offset) != offset) block_times_.push_back(time);
    if (has_key_[i] == 0 || time < forgotten_.value_or(INT64_MIN)) continue;
    auto answer = seen_.Add(hashes_[i], time);
    if (answer == SeenKeys::Answer::kNoRoom) {
      // The record has this row alone, see Reserve().
      block_times_.pop_back();
      RETURN_NOT_OK(MakeRoom(offset));
      block_times_.push_back(time);
      answer = seen_.Add(hashes_[i], time);
      if (answer == SeenKeys::Answer::kNoRoom) return NoRoom();
    }
    if (stored_ != nullptr) {
      unwritten_.push_back({hashes_[i], time});
      if (answer == SeenKeys::Answer::kNew && stored_->num_runs() > 0) {
        ASSIGN_OR_RETURN(const bool is_stored, IsStored(hashes_[i], time));
        if (is_stored) answer = SeenKeys::Answer::kSeen;
      }
    }
    if (answer == SeenKeys::Answer::kSeen) repeats.push_back(row);
    NoteTime(time, offset);
  }
  return repeats;
}

Status Deduplicator::NoRoom() const {
  return TooLarge(
      "dedupe: the keys of the last {} s of event time take more than half of limits.memory{}. Raise limits.memory, "
      "lower dedupe.within, or share the partitions among more workers",
      rule_.within.count() / 1'000'000, stored_ == nullptr ? "" : ", even with most of them on the disk");
}

/// A state ends between two records: once one of the keys is remembered, the others must be without going to the disk.
Status Deduplicator::Reserve(model::Offset offset, std::span<const KeyHash> keys) {
  if (seen_.Reserve(keys)) return Status::OK();
  RETURN_NOT_OK(MakeRoom(offset));
  return seen_.Reserve(keys) ? Status::OK() : NoRoom();
}

Status Deduplicator::MakeRoom(model::Offset offset) {
  if (!can_spill()) return NoRoom();
  const model::Offset next = std::exchange(next_, offset);
  RETURN_NOT_OK(WriteUnwritten());
  RETURN_NOT_OK(stored_->Spill(seen_, SpilledUpTo()));
  next_ = next;
  return Status::OK();
}

Status Deduplicator::Spill() {
  const auto spill = [this] {
    RETURN_NOT_OK(WriteUnwritten());
    return stored_->Spill(seen_, SpilledUpTo());
  };
  const Status spilled = spill();
  return spilled.ok() ? spilled : GiveUp(spilled);
}

/// A run is there as long as one of its keys is remembered: those of clocks that are far ahead stay in memory, unless
/// they are many.
UnixMicros Deduplicator::SpilledUpTo() const {
  if (!horizon_) return INT64_MAX;
  const UnixMicros usual = SaturatingAdd(*horizon_, rule_.within.count());
  return seen_.Count(usual) >= seen_.Count(INT64_MAX) / 4 * 3 ? usual : INT64_MAX;
}

std::int64_t Deduplicator::SpilledMin() const { return std::max(kSpilledKeysMin, stored_->num_run_keys() / kRunsMax); }

bool Deduplicator::can_spill() const { return stored_ != nullptr && seen_.num_taken() >= SpilledMin(); }

Result<bool> Deduplicator::IsStored(const KeyHash& key, UnixMicros time) const {
  const std::int64_t within = rule_.within.count();
  return stored_->Holds(key, std::max(SaturatingSubtract(time, within), forgotten_.value_or(INT64_MIN)),
                        SaturatingAdd(time, within));
}

Status Deduplicator::WriteUnwritten() {
  RETURN_NOT_OK(stored_->Append(unwritten_, {next_, forgotten_.value_or(INT64_MIN), Marks()}));
  unwritten_.clear();
  written_to_ = next_;
  if (stored_->num_journal_keys() <= 2 * seen_.num_taken() + kJournalKeysMin) return Status::OK();
  return stored_->Rewrite(seen_);
}

Status Deduplicator::Committed(model::Offset offset) {
  if (stored_ == nullptr) return Status::OK();
  const Status removed = stored_->Committed(offset);
  return removed.ok() ? removed : GiveUp(removed);
}

Status Deduplicator::GiveUp(const Status& failure) {
  const auto stored = std::move(stored_);
  const auto kind = KindOf(failure);
  if (stored == nullptr || (kind != ErrorKind::kCorrupt && kind != ErrorKind::kNotFound)) return failure;
  RETURN_NOT_OK(stored->Clear());
  return Transient("dedupe: {}: what {} held is removed, and the keys are read from the log again", failure.message(),
                   stored->folder().string());
}

std::string Deduplicator::Marks() const {
  std::string marks;
  PutValue(marks, begin_);
  PutValue(marks, last_record_.has_value());
  PutValue(marks, last_record_.value_or(LastRecord{}));
  PutValue(marks, horizon_.has_value());
  PutValue(marks, horizon_.value_or(0));
  PutValue(marks, forgotten_.has_value());
  PutValue(marks, forgotten_.value_or(0));
  PutValue(marks, horizon_block_);
  PutValue(marks, block_);
  PutValue(marks, others_.has_value());
  PutValue(marks, others_.value_or(OtherSteps{}));
  PutValue(marks, std::uint64_t{first_offsets_.size()});
  for (const auto& [step, first] : first_offsets_) {
    PutValue(marks, step);
    PutValue(marks, first);
  }
  for (const UnixMicros time : block_times_) PutValue(marks, time);
  return marks;
}

bool Deduplicator::TakeMarks(std::string_view marks) {
  PackedReader reader(marks);
  const auto take_optional = [&reader](auto& value) {
    using Value = typename std::remove_reference_t<decltype(value)>::value_type;
    const bool is_there = reader.Take<bool>();
    const auto taken = reader.Take<Value>();
    value = is_there ? std::optional(taken) : std::nullopt;
  };
  begin_ = reader.Take<model::Offset>();
  take_optional(last_record_);
  take_optional(horizon_);
  take_optional(forgotten_);
  horizon_block_ = reader.Take<model::Offset>();
  block_ = reader.Take<model::Offset>();
  take_optional(others_);
  for (auto left = reader.Take<std::uint64_t>(); left > 0 && reader.ok(); --left) {
    const auto step = reader.Take<std::int64_t>();
    first_offsets_.emplace(step, reader.Take<model::Offset>());
  }
  while (reader.ok() && !reader.left().empty()) block_times_.push_back(reader.Take<UnixMicros>());
  return reader.ok();
}

/// The block's median may move the horizon.
void Deduplicator::CloseBlock() {
  if (block_times_.empty()) return;
  const auto middle = block_times_.begin() + (std::ssize(block_times_) - 1) / 2;
  std::nth_element(block_times_.begin(), middle, block_times_.end());
  const UnixMicros median = *middle;
  block_times_.clear();
  if (horizon_ && median <= *horizon_) return;
  horizon_ = median;
  horizon_block_ = block_;
  std::int64_t oldest = 0;
  if (__builtin_sub_overflow(median, rule_.within.count(), &oldest)) return;  // Everything is younger.
  const std::int64_t step = FloorDivide(oldest, step_);
  std::int64_t forgotten = 0;
  if (__builtin_mul_overflow(step, step_, &forgotten) || forgotten == forgotten_) return;
  forgotten_ = forgotten;
  seen_.Forget(forgotten);
  first_offsets_.erase(first_offsets_.begin(), first_offsets_.lower_bound(step));
  last_noted_ = INT64_MIN;
  if (others_ && others_->latest < step) others_.reset();
}

void Deduplicator::NoteTime(UnixMicros time, model::Offset offset) {
  const std::int64_t step = FloorDivide(time, step_);
  if (step == last_noted_) return;
  last_noted_ = step;
  if (first_offsets_.size() < kStepsMax) {
    first_offsets_.emplace(step, offset);
  } else if (!first_offsets_.contains(step)) {
    if (!others_) others_ = {offset, step};
    others_->latest = std::max(others_->latest, step);
  }
}

model::Offset Deduplicator::RememberedFrom() const {
  model::Offset from = next_;
  for (const auto& [step, first] : first_offsets_) from = std::min(from, first);
  if (others_) from = std::min(from, others_->first);
  if (horizon_) from = std::min(from, horizon_block_ * kBlock);
  if (!block_times_.empty()) from = std::min(from, block_ * kBlock);
  // Blocks are read whole, as they were, so that their medians are the same.
  return std::max(begin_, from / kBlock * kBlock);
}

}  // namespace millrace::process
