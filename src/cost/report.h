/// A bill for people and for programs: the same lines as a table, JSON, CSV, FOCUS rows or a page.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cost/advice.h"
#include "cost/estimate.h"
#include "cost/ranking.h"

namespace millrace::cost {

/// Total cost over the rate of events; everything else as in the estimate.
struct CurvePoint {
  double events_per_second = 0;
  Money total;
  bool complete = true;  ///< All prices of this point are known.
};
struct Curve {
  Provider provider = Provider::kAws;
  std::vector<CurvePoint> points;
};
/// Rates from a hundredth of the load's to a hundred times, three to a factor of ten; a rate beyond what can be priced
/// ends the curve.
Result<Curve> CurveFor(const Estimate& estimate, const PriceSheet& sheet);

/// What all the formats are made from.
struct Report {
  std::vector<Estimate> estimates;  ///< Of the same load; not empty.
  std::vector<Advice> advice;       ///< For estimates[advice_for].
  std::size_t advice_for = 0;
  std::vector<Curve> curves;          ///< As estimates, or empty.
  std::vector<RankedRegion> ranking;  ///< Every region of these providers; empty: nobody asked.
};

/// One tier of one line, as Infracost's cost components are.
struct Component {
  std::string name;  ///< With the tier, where there are several: "Answers to the internet (next 10,140 GB)".
  const EstimateLine* line = nullptr;
  Quantity quantity;
  std::optional<Money> usd;  ///< For `per` units; none: not found.
  std::int64_t per = 1;
  Money money;
};
std::vector<Component> ComponentsOf(const EstimateLine& line);
/// Exact price of one unit as a decimal.
std::string UnitPrice(Money usd, std::int64_t per);

struct TableStyle {
  bool color = false;
  bool all_advice = false;   ///< Else the three that save most.
  bool assumptions = false;  ///< Every field of the load, not only how many are assumed.
};
/// One estimate line by line, or several side by side, for a terminal of 100 columns and more.
std::string ToTable(const Report& report, const TableStyle& style);
/// Infracost's names (infracost.schema.json 0.2): projects[].breakdown.resources[].costComponents[]; money as text.
std::string ToJson(const Report& report);
/// A line for each component.
std::string ToCsv(const Report& report);
/// FOCUS rows with list costs, for the month of Estimate::today. focus.finops.org, version 1.1.
std::string ToFocus(const Report& report);
/// One self-contained page with charts, no script.
std::string ToHtml(const Report& report);

/// What changed between two documents of ToJson(), a line each: + new, - gone, ~ other money; totals last.
/// kInvalidInput: not such a document.
Result<std::string> Diff(const std::string& before, const std::string& after, bool color);

}  // namespace millrace::cost
