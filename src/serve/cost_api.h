/// POST /v1/cost/estimate: a load in, its bills out. The arithmetic is cost/.
#pragma once

#include <string>

#include "base/status.h"
#include "cost/price_sheet.h"

namespace millrace::serve {

/// `body`: {"usage": a document of cost::ReadUsage(), "preset": "starter", "providers": ["aws"], "regions": {"aws":
/// "eu-west-1"}, "curves": true}; every member may be left out. The answer is that of cost::ToJson().
/// kInvalidInput names the member and the nearest known name; a field of the load also its place in it. Any thread.
Result<std::string> EstimateCost(const std::string& body, cost::Day today);

}  // namespace millrace::serve
