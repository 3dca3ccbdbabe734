#include "cost/ranking.h"

#include <algorithm>
#include <utility>

namespace millrace::cost {

Result<std::vector<RankedRegion>> RankRegions(const Usage& usage, const std::vector<Provider>& providers,
                                              const PriceSheet& sheet, Day today, const std::optional<Near>& near) {
  std::vector<RankedRegion> ranked;
  for (const auto& region : sheet.regions()) {
    if (std::find(providers.begin(), providers.end(), region.provider) == providers.end()) continue;
    RankedRegion entry{.region = region, .total = {}, .missing = {}, .round_trip_ms = {}};
    // One's own rooms are wherever they have to be.
    if (near && region.provider != Provider::kOwn) {
      entry.round_trip_ms = RoundTripMs(*near, region);
      if (*entry.round_trip_ms > near->round_trip_ms) continue;
    }
    ASSIGN_OR_RETURN(const auto estimate, MakeEstimate(usage, region.provider, region.name, sheet, today));
    entry.total = estimate.total;
    for (const auto& line : estimate.lines) {
      const auto& sku = line.resource.sku;
      if (!line.price && std::find(entry.missing.begin(), entry.missing.end(), sku) == entry.missing.end()) {
        entry.missing.push_back(sku);
      }
    }
    ranked.push_back(std::move(entry));
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](const RankedRegion& a, const RankedRegion& b) {
    if (a.missing.empty() != b.missing.empty()) return a.missing.empty();
    return a.total < b.total;
  });
  return ranked;
}

}  // namespace millrace::cost
