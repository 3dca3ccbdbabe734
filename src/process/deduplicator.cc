#include "process/deduplicator.h"

#include <arrow/array.h>

#include <algorithm>
#include <string>
#include <utility>

#include "model/event_batch.h"

namespace millrace::process {
namespace {

constexpr std::int64_t kStepsWithin = 16;
/// Steps with a first offset of their own; a block has 1,024 times at most, so that others are of clocks far ahead.
constexpr std::size_t kStepsMax = 4096;
/// Rows between asking for a key's place in memory and looking there.
constexpr std::size_t kPrefetched = 16;

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

Result<std::vector<std::int64_t>> Deduplicator::FindRepeats(const arrow::RecordBatch& rows, model::OffsetRange range) {
  MILLRACE_CHECK(range.begin == next_, "the repeats before offset {} are known, but {} comes next", next_, range.begin);
  next_ = range.end;
  std::vector<std::int64_t> repeats;
  const auto num_rows = static_cast<std::size_t>(rows.num_rows());
  if (num_rows == 0) return repeats;
  hasher_.Hash(rows, hashes_, has_key_);
  const auto& times = static_cast<const arrow::TimestampArray&>(*rows.column(rule_.time_column));
  const auto& offsets = static_cast<const arrow::Int64Array&>(*rows.GetColumnByName(std::string(model::kOffsetColumn)));
  const bool has_nulls = times.null_count() > 0;
  for (std::size_t i = 0; i < std::min(kPrefetched, num_rows); ++i) seen_.Prefetch(hashes_[i]);
  for (std::size_t i = 0; i < num_rows; ++i) {
    if (i + kPrefetched < num_rows) seen_.Prefetch(hashes_[i + kPrefetched]);
    const auto row = static_cast<std::int64_t>(i);
    if (has_nulls && times.IsNull(row)) continue;
    const UnixMicros time = times.Value(row);
    const model::Offset offset = offsets.Value(row);
    if (offset / kBlock != block_) {
      CloseBlock();
      block_ = offset / kBlock;
    }
    block_times_.push_back(time);
    if (has_key_[i] == 0 || time < forgotten_.value_or(INT64_MIN)) continue;
    const auto answer = seen_.Add(hashes_[i], time);
    if (answer == SeenKeys::Answer::kNoRoom) {
      return TooLarge(
          "dedupe: the keys of the last {} s of event time take more than half of limits.memory. Raise limits.memory, "
          "lower dedupe.within, or share the partitions among more workers",
          rule_.within.count() / 1'000'000);
    }
    if (answer == SeenKeys::Answer::kSeen) repeats.push_back(row);
    NoteTime(time, offset);
  }
  return repeats;
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
