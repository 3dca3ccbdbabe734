/// One load in every region: which is the cheapest, and which cannot be compared.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "cost/advice.h"
#include "cost/estimate.h"

namespace millrace::cost {

struct RankedRegion {
  Region region;
  Money total;                          ///< A month, of the lines that have a price.
  std::vector<std::string> missing;     ///< SKUs without a price there: the total leaves them out.
  std::optional<double> round_trip_ms;  ///< To the place that the answers must be near; none: nobody named one.
};

/// Every region of `providers`, and if `near` is given only those within it: the complete bills first, the cheapest on
/// top; then those with a missing price, since nobody can say where they stand. Machines of one's own are one region.
/// Errors as MakeEstimate().
Result<std::vector<RankedRegion>> RankRegions(const Usage& usage, const std::vector<Provider>& providers,
                                              const PriceSheet& sheet, Day today, const std::optional<Near>& near);

}  // namespace millrace::cost
