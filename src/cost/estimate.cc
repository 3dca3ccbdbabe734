#include "cost/estimate.h"

#include <algorithm>
#include <cmath>

namespace millrace::cost {
namespace {

std::optional<Money> Per(Money total, double units) {
  if (!(units > 0)) return std::nullopt;
  return Money::FromNanos(std::llround(static_cast<double>(total.nanos()) / units));
}

}  // namespace

bool Estimate::complete() const {
  return std::all_of(lines.begin(), lines.end(), [](const auto& line) { return line.price.has_value(); });
}

std::vector<std::string> Estimate::Missing() const {
  std::vector<std::string> missing;
  for (const auto& line : lines) {
    if (line.price) continue;
    std::string text = fmt::format("{} in {}", line.resource.sku, region.name);
    if (std::find(missing.begin(), missing.end(), text) == missing.end()) missing.push_back(std::move(text));
  }
  return missing;
}

Result<Estimate> MakeEstimate(const Usage& usage, Provider provider, const std::string& region, const PriceSheet& sheet,
                              Day today) {
  Estimate estimate;
  estimate.provider = provider;
  ASSIGN_OR_RETURN(estimate.region, sheet.FindRegion(provider, region));
  ASSIGN_OR_RETURN(auto resources, ResourcesFor(usage, provider));
  for (auto& resource : resources) {
    EstimateLine line;
    line.resource = std::move(resource);
    const auto category = static_cast<std::size_t>(line.resource.category);
    if (const auto* price = sheet.Find(line.resource.sku, region)) {
      line.price = *price;
      ASSIGN_OR_RETURN(line.charges, ChargeFor(*price, line.resource.quantity, usage.free_tier));
      for (const auto& charge : line.charges) line.money += charge.money;
      const Day as_of = price->source->as_of;
      if (today - as_of > kPriceAgeDaysMax) ++estimate.old_prices;
      if (estimate.oldest_price == 0 || as_of < estimate.oldest_price) estimate.oldest_price = as_of;
      const std::string key = fmt::format("{}@{}", price->sku, price->region);
      const auto& overridden = sheet.overridden();
      if (std::find(overridden.begin(), overridden.end(), key) != overridden.end() &&
          std::find(estimate.overridden.begin(), estimate.overridden.end(), key) == estimate.overridden.end()) {
        estimate.overridden.push_back(key);
      }
    } else {
      estimate.has_missing[category] = true;
    }
    estimate.total += line.money;
    estimate.by_category[category] += line.money;
    estimate.lines.push_back(std::move(line));
  }
  estimate.per_million_events = Per(estimate.total, usage.events_per_second * kSecondsPerMonth / 1e6);
  estimate.per_gb = Per(estimate.total, usage.events_per_second * usage.bytes_per_event * kSecondsPerMonth / 1e9);
  estimate.sheet = sheet.name();
  estimate.sha256 = sheet.sha256();
  estimate.today = today;
  estimate.usage = usage;
  return estimate;
}

}  // namespace millrace::cost
