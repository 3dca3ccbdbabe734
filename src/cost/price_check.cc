#include "cost/price_check.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace millrace::cost {
namespace {

// What a unit costs once the free tier is used up: the price that regions can be compared by.
double FirstPaid(const PriceRow& row) {
  for (const auto& tier : row.tiers) {
    if (tier.usd > Money()) return tier.usd.dollars() / static_cast<double>(row.per);
  }
  return 0;
}

double MedianOf(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void CheckRatios(const PriceSheet& sheet, std::vector<std::string>& odd) {
  std::map<std::string_view, std::vector<double>> prices;
  for (const auto& row : sheet.rows()) prices[row.sku].push_back(FirstPaid(row));
  constexpr std::size_t kNeighboursMin = 3;
  for (const auto& row : sheet.rows()) {
    const auto& of_sku = prices[row.sku];
    if (of_sku.size() < kNeighboursMin || row.note_is_own) continue;
    const double median = MedianOf(of_sku);
    const double price = FirstPaid(row);
    if (price > median * kOddRatio || price * kOddRatio < median) {
      odd.push_back(fmt::format("{}@{}: {:g} is {:.2g} times the median {:g} of its regions", row.sku, row.region,
                                price, price / median, median));
    }
  }
}

void CheckTiers(const PriceSheet& sheet, std::vector<std::string>& odd) {
  for (const auto& row : sheet.rows()) {
    Money before;
    for (const auto& tier : row.tiers) {
      if (before > Money() && tier.usd > before && !row.note_is_own) {
        odd.push_back(fmt::format("{}@{}: a tier of {} follows one of {}", row.sku, row.region, ToDecimal(tier.usd),
                                  ToDecimal(before)));
        break;
      }
      before = tier.usd;
    }
  }
}

void CheckSources(const PriceSheet& sheet, Day today, std::vector<std::string>& odd) {
  std::set<const PriceSource*> used;
  for (const auto& row : sheet.rows()) {
    if (!used.insert(row.source.get()).second) continue;
    const auto& source = *row.source;
    if (source.retrieved > today) {
      odd.push_back(fmt::format("source {}: read on {}, which is not yet", source.id, ToText(source.retrieved)));
    }
    if (!source.url.starts_with("https://")) {
      odd.push_back(fmt::format("source {}: '{}' is no https URL that a reader could open", source.id, source.url));
    }
  }
  // What an overlay replaces may leave a source of the sheet below it without a price.
  if (!sheet.overridden().empty()) return;
  for (const auto& source : sheet.sources()) {
    if (!used.contains(source.get())) odd.push_back(fmt::format("source {}: no price is of it", source->id));
  }
}

}  // namespace

std::vector<std::string> OddPrices(const PriceSheet& sheet, Day today) {
  std::vector<std::string> odd;
  CheckRatios(sheet, odd);
  CheckTiers(sheet, odd);
  CheckSources(sheet, today, odd);
  return odd;
}

std::vector<Coverage> CoverageOf(const PriceSheet& sheet, Day today) {
  std::vector<Coverage> all;
  for (const auto& region : sheet.regions()) {
    if (region.provider == Provider::kOwn) continue;
    Coverage coverage{.region = region, .missing = {}};
    for (const auto& sku : AllSkus()) {
      if (!sku.IsSoldBy(region.provider)) continue;
      ++coverage.skus;
      if (const auto* row = sheet.Find(sku.id, region.name)) {
        ++coverage.priced;
        if (today - row->source->as_of > kPriceAgeDaysMax) ++coverage.old;
      } else {
        coverage.missing.push_back(sku.id);
      }
    }
    all.push_back(std::move(coverage));
  }
  return all;
}

}  // namespace millrace::cost
