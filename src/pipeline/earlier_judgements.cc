#include "pipeline/earlier_judgements.h"

#include <arrow/array.h>
#include <arrow/scalar.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "delta/data/scan.h"

namespace millrace::pipeline {
namespace {

using StageOffsets = std::map<std::string, std::vector<model::Offset>>;

std::size_t CountOf(const StageOffsets& letters) {
  std::size_t count = 0;
  for (const auto& [stage, offsets] : letters) count += offsets.size();
  return count;
}

/// Keeps the lowest `max` offsets; the offset after which something was left out.
model::Offset KeepLowest(StageOffsets& letters, std::size_t max) {
  std::vector<model::Offset> all;
  for (const auto& [stage, offsets] : letters) all.insert(all.end(), offsets.begin(), offsets.end());
  std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(max), all.end());
  const model::Offset end = all[max];
  for (auto& [stage, offsets] : letters) std::erase_if(offsets, [end](model::Offset offset) { return offset >= end; });
  return end;
}

Result<EarlierJudgements> ReadOne(const delta::Table& dead_letters, const model::TopicPartition& source,
                                  model::OffsetRange range, std::size_t max) {
  EarlierJudgements judgements;
  judgements.end = range.end;
  using delta::Comparator;
  ASSIGN_OR_RETURN(
      const auto rows,
      delta::OpenScan(dead_letters.store(), dead_letters.snapshot(),
                      {.columns = {"stage", "offset"},
                       .where = {{.column = "topic", .comparator = Comparator::kEqual, .values = {source.topic}},
                                 {.column = "partition",
                                  .comparator = Comparator::kEqual,
                                  .values = {static_cast<std::int64_t>(source.partition)}},
                                 {.column = "offset", .comparator = Comparator::kGreaterEqual, .values = {range.begin}},
                                 {.column = "offset", .comparator = Comparator::kLess, .values = {range.end}}},
                       .num_threads = 1}));
  for (std::shared_ptr<arrow::RecordBatch> batch;;) {
    RETURN_NOT_OK(rows->ReadNext(&batch));
    if (batch == nullptr) break;
    const auto& offsets = static_cast<const arrow::Int64Array&>(*batch->column(1));
    for (std::int64_t i = 0; i < batch->num_rows(); ++i) {
      ASSIGN_OR_RETURN(const auto stage, batch->column(0)->GetScalar(i));
      if (offsets.Value(i) < judgements.end) judgements.letters[stage->ToString()].push_back(offsets.Value(i));
    }
    if (CountOf(judgements.letters) > 2 * max) judgements.end = KeepLowest(judgements.letters, max);
  }
  if (CountOf(judgements.letters) > max) judgements.end = KeepLowest(judgements.letters, max);
  if (judgements.end < range.end) {
    spdlog::warn("more than {} dead letters of {} are read again: from offset {} on records are judged anew", max,
                 model::ToString(source), judgements.end);
  }
  for (auto& [stage, offsets] : judgements.letters) std::sort(offsets.begin(), offsets.end());
  return judgements;
}

}  // namespace

bool EarlierJudgements::IsDead(const std::string& stage, model::Offset offset) const {
  const auto at = letters.find(stage);
  return at != letters.end() && std::binary_search(at->second.begin(), at->second.end(), offset);
}

bool EarlierJudgements::HasAny(const std::string& stage, model::OffsetRange range) const {
  const auto at = letters.find(stage);
  if (at == letters.end()) return false;
  const auto first = std::lower_bound(at->second.begin(), at->second.end(), range.begin);
  return first != at->second.end() && *first < range.end;
}

Result<std::map<model::TopicPartition, EarlierJudgements>> ReadEarlierJudgements(const delta::Table& dead_letters,
                                                                                 const model::OffsetRanges& ranges,
                                                                                 std::int64_t letters_max) {
  std::map<model::TopicPartition, EarlierJudgements> judgements;
  const auto share = static_cast<std::size_t>(letters_max) / std::max<std::size_t>(1, ranges.size());
  for (const auto& [source, range] : ranges) {
    ASSIGN_OR_RETURN(judgements[source], ReadOne(dead_letters, source, range, share));
  }
  return judgements;
}

}  // namespace millrace::pipeline
