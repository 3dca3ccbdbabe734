/// What would make a bill smaller, and what things cost at the margin: each with its arithmetic, in this load's
/// numbers.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "cost/estimate.h"

namespace millrace::cost {

struct Advice {
  std::string id;          ///< "freshness", "zone-traffic"; stable, for programs.
  std::string title;       ///< One sentence with the answer.
  std::string arithmetic;  ///< How it was computed.
  Money saving;            ///< A month; 0: worth knowing, but nothing to save. Never negative.
};

/// Where answers must be near: a point on the earth and a round trip.
struct Near {
  std::string place;  ///< As given: "frankfurt", "eu-central-1", "50.1,8.7".
  double latitude = 0;
  double longitude = 0;
  double round_trip_ms = 0;
};
/// A region's name, a region's place, or "latitude,longitude"; within so many milliseconds (above 0, at most 1000).
/// kInvalidInput: neither, with the nearest place.
Result<Near> ParseNear(const std::string& place, double round_trip_ms, const PriceSheet& sheet);

/// Milliseconds there and back over fibre: great circle x 1.5 for the way that cables take, at 200 km/ms. An estimate;
/// routers and last miles add to it.
double RoundTripMs(const Near& from, const Region& to);

/// Largest saving first. Regions with a missing price are compared on the lines that both have, and are named so.
/// Errors as MakeEstimate(), which it asks for variants of the load.
Result<std::vector<Advice>> AdviceFor(const Estimate& estimate, const PriceSheet& sheet,
                                      const std::optional<Near>& near);

}  // namespace millrace::cost
