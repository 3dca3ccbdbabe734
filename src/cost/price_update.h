/// Providers' own public price files, read into a price sheet.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "cost/price_sheet.h"

namespace millrace::cost {

struct PriceUpdate {
  std::string sheet;  ///< YAML that PriceSheet::Overlay() takes.
  int num_prices = 0;
  std::vector<std::string> not_in_it;  ///< SKUs of this provider of which the file says nothing.
};

/// aws: an offer file of the AWS Price List (.../offers/v1.0/aws/AmazonS3/current/us-east-1/index.json), as described
/// in "Using the bulk API". azure: a page of the Azure Retail Prices API. Regions that `known` does not list are left
/// out. `from`: the URL or file, for the rows' source. kInvalidInput: not such a file, or nothing of use in it;
/// kUnsupported: a provider whose file is not read yet.
Result<PriceUpdate> ReadPriceFile(Provider provider, const std::string& json, const std::string& from, Day today,
                                  const PriceSheet& known);

}  // namespace millrace::cost
