#include "pipeline/earlier_judgements.h"

#include <arrow/array.h>
#include <arrow/scalar.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "delta/data/scan.h"
#include "pipeline/letter_scan.h"
#include "pipeline/places.h"

namespace millrace::pipeline {
namespace {

using StagePlaces = std::map<std::string, std::vector<model::DocumentPlace>>;

std::size_t CountOf(const StagePlaces& letters) {
  std::size_t count = 0;
  for (const auto& [stage, places] : letters) count += places.size();
  return count;
}

/// Keeps the lowest `max` letters, or less: all of an offset or none. The offset after which something was left out.
model::Offset KeepLowest(StagePlaces& letters, std::size_t max) {
  std::vector<model::DocumentPlace> all;
  for (const auto& [stage, places] : letters) all.insert(all.end(), places.begin(), places.end());
  std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(max), all.end());
  const model::Offset end = all[max].offset;
  for (auto& [stage, places] : letters) std::erase_if(places, [end](auto place) { return place.offset >= end; });
  return end;
}

Result<EarlierJudgements> ReadOne(const delta::Table& dead_letters, const model::TopicPartition& source,
                                  model::OffsetRange range, std::size_t max) {
  EarlierJudgements judgements;
  judgements.end = range.end;
  using delta::Comparator;
  std::vector<std::string> columns = {"stage", "offset"};
  // Tables of older versions got it with the first start of one that has it.
  if (dead_letters.snapshot()->schema->GetFieldByName(kLetterIndexColumn) != nullptr) {
    columns.emplace_back(kLetterIndexColumn);
  }
  ASSIGN_OR_RETURN(
      const auto rows,
      delta::OpenScan(dead_letters.store(), dead_letters.snapshot(),
                      {.columns = columns,
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
    const Places places(*batch, "offset", kLetterIndexColumn);
    for (std::int64_t i = 0; i < batch->num_rows(); ++i) {
      ASSIGN_OR_RETURN(const auto stage, batch->column(0)->GetScalar(i));
      const auto place = places.At(i);
      if (place.offset < judgements.end) judgements.letters[stage->ToString()].push_back(place);
    }
    if (CountOf(judgements.letters) > 2 * max) judgements.end = KeepLowest(judgements.letters, max);
  }
  if (CountOf(judgements.letters) > max) judgements.end = KeepLowest(judgements.letters, max);
  if (judgements.end < range.end) {
    spdlog::warn("more than {} dead letters of {} are read again: from offset {} on records are judged anew", max,
                 model::ToString(source), judgements.end);
  }
  for (auto& [stage, places] : judgements.letters) std::sort(places.begin(), places.end());
  return judgements;
}

}  // namespace

bool EarlierJudgements::IsDead(const std::string& stage, model::DocumentPlace place) const {
  const auto at = letters.find(stage);
  if (at == letters.end()) return false;
  const auto has = [&](model::DocumentPlace one) {
    return std::binary_search(at->second.begin(), at->second.end(), one);
  };
  return has(place) || (place.index != model::kWholeRecord && has({place.offset, model::kWholeRecord}));
}

bool EarlierJudgements::HasAny(const std::string& stage, model::OffsetRange range) const {
  const auto at = letters.find(stage);
  if (at == letters.end()) return false;
  const model::DocumentPlace begin{range.begin, model::kWholeRecord};
  const auto first = std::lower_bound(at->second.begin(), at->second.end(), begin);
  return first != at->second.end() && first->offset < range.end;
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
