/// Quantities times prices: one bill of one load at one provider in one region.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "cost/money.h"
#include "cost/price_sheet.h"
#include "cost/resource_model.h"
#include "cost/usage.h"

namespace millrace::cost {

struct EstimateLine {
  ResourceLine resource;
  std::optional<PriceRow> price;  ///< None: nobody has sourced one for this region; the line costs an unknown amount.
  std::vector<Charge> charges;    ///< By tier.
  Money money;                    ///< Sum of the charges; 0 if the price is missing.
};

struct Estimate {
  Provider provider = Provider::kAws;
  Region region;
  std::vector<EstimateLine> lines;  ///< By category, in the order of the model.
  Money total;                      ///< Sum of the lines whose price is known.
  std::array<Money, kNumCategories> by_category{};
  std::array<bool, kNumCategories> has_missing{};
  std::optional<Money> per_million_events;  ///< None: no events.
  std::optional<Money> per_gb;              ///< Of event payload.
  std::string sheet;                        ///< "2026-11", with its overlays.
  std::string sha256;
  std::vector<std::string> overridden;  ///< SKUs of this estimate whose price an overlay gave.
  Day today = 0;
  int old_prices = 0;  ///< Older than kPriceAgeDaysMax.
  Day oldest_price = 0;
  Usage usage;

  bool complete() const;
  /// "azure.blob.hot-lrs.write in eastus", each once.
  std::vector<std::string> Missing() const;
};

/// kInvalidInput: a region that is not known, or a load beyond what can be counted or paid.
Result<Estimate> MakeEstimate(const Usage& usage, Provider provider, const std::string& region, const PriceSheet& sheet,
                              Day today);

}  // namespace millrace::cost
