/// What a sheet that can be read may still have wrong, and how much of the model it prices.
///
/// Plain functions on values; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cost/price_sheet.h"

namespace millrace::cost {

/// A price this many times that of its neighbours, or this small a part of it, is odd.
inline constexpr double kOddRatio = 3;

/// A line each, in the order of the sheet: a price kOddRatio times the median of its SKU over the provider's regions,
/// or less than the median's kOddRatio-th part; a tier that costs more than the one below it; a source read after
/// `today`, without a URL of https, or of no price. A price whose own note explains it is not odd: the note says why.
std::vector<std::string> OddPrices(const PriceSheet& sheet, Day today);

/// How much of what a provider sells is priced in one of its regions.
struct Coverage {
  Region region;
  int skus = 0;  ///< That the model can ask for there.
  int priced = 0;
  int old = 0;  ///< Of those priced: older than kPriceAgeDaysMax.
  std::vector<std::string_view> missing;
};
/// By provider and region, in the order of the sheet; machines of one's own, which nobody else can price, are left out.
std::vector<Coverage> CoverageOf(const PriceSheet& sheet, Day today);

}  // namespace millrace::cost
