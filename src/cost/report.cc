#include "cost/report.h"

#include <cmath>

namespace millrace::cost {

Result<Curve> CurveFor(const Estimate& estimate, const PriceSheet& sheet) {
  Curve curve;
  curve.provider = estimate.provider;
  if (!(estimate.usage.events_per_second > 0)) return curve;
  for (int step = -6; step <= 6; ++step) {
    Usage usage = estimate.usage;
    usage.events_per_second *= std::pow(10, step / 3.0);
    if (usage.events_per_second > 1e9) break;
    auto at = MakeEstimate(usage, estimate.provider, estimate.region.name, sheet, estimate.today);
    if (!at.ok()) break;
    curve.points.push_back({usage.events_per_second, at->total, at->complete()});
  }
  return curve;
}

std::vector<Component> ComponentsOf(const EstimateLine& line) {
  std::vector<Component> components;
  if (!line.price) {
    components.push_back({line.resource.name, &line, line.resource.quantity, std::nullopt, 1, Money()});
    return components;
  }
  for (const auto& charge : line.charges) {
    Component component{line.resource.name, &line, charge.quantity, charge.usd, line.price->per, charge.money};
    if (line.price->tiers.size() > 1) {
      const std::string_view unit = FindSku(line.resource.sku)->unit;
      const bool first = components.empty();
      component.name += fmt::format(" ({} {} {})", first ? "first" : "next", ToPeople(charge.quantity), unit);
    }
    components.push_back(std::move(component));
  }
  return components;
}

std::string UnitPrice(Money usd, std::int64_t per) {
  if (usd.nanos() % per == 0) return ToDecimal(Money::FromNanos(usd.nanos() / per));
  return fmt::format("{:.15f}", static_cast<double>(usd.nanos()) / 1e9 / static_cast<double>(per));
}

}  // namespace millrace::cost
