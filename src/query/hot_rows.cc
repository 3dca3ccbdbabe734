#include "query/hot_rows.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace millrace::query {

void Add(HotRows more, HotRows& rows) {
  std::move(more.segments.begin(), more.segments.end(), std::back_inserter(rows.segments));
  std::move(more.missing.begin(), more.missing.end(), std::back_inserter(rows.missing));
  rows.version = std::max(rows.version, more.version);
  if (more.watermark) rows.watermark = std::min(rows.watermark.value_or(*more.watermark), *more.watermark);
  for (const auto& [partition, offset] : more.begun) {
    auto& begun = rows.begun[partition];
    begun = std::max(begun, offset);
  }
}

std::optional<UnixMicros> WatermarkOf(const HotRows& rows, const model::OffsetVector& covered,
                                      const std::function<bool(const std::string&)>& reads) {
  const bool is_exact = std::all_of(covered.begin(), covered.end(), [&](const auto& entry) {
    const auto& [partition, next] = entry;
    if (!reads(partition.topic)) return true;
    const auto begun = rows.begun.find(partition);
    return begun != rows.begun.end() && begun->second <= next;
  });
  return is_exact ? rows.watermark : std::nullopt;
}

}  // namespace millrace::query
