// Goal: a provider's file becomes rows that hold, and nothing else gets in. Method: files of the documented shape with
// traps beside each price: Windows, spot, another usage type, an unknown region; the result is laid over the shipped
// sheet as a user would.
#include "cost/price_update.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/status_matchers.h"

namespace millrace::cost {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

const Day kToday = *ParseDay("2026-11-22");

constexpr const char* kAws = R"({
  "offerCode": "AmazonS3", "publicationDate": "2026-11-20T17:05:33Z",
  "products": {
    "A": {"attributes": {"regionCode": "eu-central-1", "volumeType": "Standard", "usagetype": "EUC1-TimedStorage-ByteHrs"}},
    "B": {"attributes": {"regionCode": "eu-central-1", "group": "S3-API-Tier1", "usagetype": "EUC1-Requests-Tier1"}},
    "C": {"attributes": {"regionCode": "eu-central-1", "volumeType": "Standard", "usagetype": "EUC1-XZ-TimedStorage-ByteHrs"}},
    "D": {"attributes": {"regionCode": "mars-1", "volumeType": "Standard", "usagetype": "MARS-TimedStorage-ByteHrs"}},
    "E": {"attributes": {"regionCode": "us-east-1", "volumeType": "Standard", "usagetype": "TimedStorage-ByteHrs"}},
    "F": {"attributes": {"regionCode": "eu-central-1", "instanceType": "m6i.large", "operatingSystem": "Windows",
                         "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}}
  },
  "terms": {"OnDemand": {
    "A": {"A.1": {"priceDimensions": {
      "x": {"beginRange": "0", "endRange": "51200", "pricePerUnit": {"USD": "0.0245000000"}},
      "y": {"beginRange": "51200", "endRange": "512000", "pricePerUnit": {"USD": "0.0235000000"}},
      "z": {"beginRange": "512000", "endRange": "Inf", "pricePerUnit": {"USD": "0.0225000000"}}}}},
    "B": {"B.1": {"priceDimensions": {"x": {"beginRange": "0", "endRange": "Inf", "pricePerUnit": {"USD": "0.0000054000"}}}}},
    "C": {"C.1": {"priceDimensions": {"x": {"beginRange": "0", "endRange": "Inf", "pricePerUnit": {"USD": "9"}}}}},
    "D": {"D.1": {"priceDimensions": {"x": {"beginRange": "0", "endRange": "Inf", "pricePerUnit": {"USD": "9"}}}}},
    "E": {"E.1": {"priceDimensions": {"x": {"beginRange": "0", "endRange": "Inf", "pricePerUnit": {"USD": "0.023"}}}}},
    "F": {"F.1": {"priceDimensions": {"x": {"beginRange": "0", "endRange": "Inf", "pricePerUnit": {"USD": "9"}}}}}
  }}})";

TEST(PriceUpdate, ReadsAnOfferFileOfAws) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto sheet, PriceSheet::Shipped());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto update,
                                ReadPriceFile(Provider::kAws, kAws, "https://example.org/s3.json", kToday, sheet));
  EXPECT_EQ(update.num_prices, 3);
  EXPECT_THAT(update.not_in_it, Contains("aws.eks"));
  EXPECT_THAT(update.not_in_it, Contains("aws.compute.m6i.large"));
  EXPECT_THAT(update.not_in_it, Not(Contains("aws.s3.standard.storage")));
  MILLRACE_ASSERT_OK(sheet.Overlay(update.sheet, "update"));
  const auto* storage = sheet.Find("aws.s3.standard.storage", "eu-central-1");
  ASSERT_NE(storage, nullptr);
  ASSERT_EQ(storage->tiers.size(), 3u);
  EXPECT_EQ(ToDecimal(storage->tiers[0].usd), "0.0245");
  EXPECT_EQ(ToDecimal(*storage->tiers[1].up_to), "512000");
  EXPECT_EQ(ToText(storage->source->as_of), "2026-11-20");
  EXPECT_EQ(ToDecimal(sheet.Find("aws.s3.standard.put", "eu-central-1")->tiers[0].usd), "0.0000054");
  EXPECT_EQ(sheet.Find("aws.s3.standard.put", "eu-central-1")->per, 1);
}

TEST(PriceUpdate, ReadsAPageOfAzure) {
  const char* const page = R"({"Items": [
    {"type": "Consumption", "currencyCode": "USD", "armRegionName": "eastus", "armSkuName": "Standard_D2s_v5", "skuName": "D2s v5",
     "productName": "Virtual Machines Dsv5 Series", "unitOfMeasure": "1 Hour", "retailPrice": 0.096, "tierMinimumUnits": 0.0},
    {"type": "Consumption", "currencyCode": "USD", "armRegionName": "eastus", "armSkuName": "Standard_D2s_v5", "skuName": "D2s v5",
     "productName": "Virtual Machines Dsv5 Series Windows", "unitOfMeasure": "1 Hour", "retailPrice": 0.188, "tierMinimumUnits": 0.0},
    {"type": "Consumption", "currencyCode": "USD", "armRegionName": "eastus", "armSkuName": "Standard_D2s_v5", "skuName": "D2s v5 Spot",
     "productName": "Virtual Machines Dsv5 Series", "unitOfMeasure": "1 Hour", "retailPrice": 0.02, "tierMinimumUnits": 0.0},
    {"type": "Reservation", "currencyCode": "USD", "armRegionName": "eastus", "armSkuName": "Standard_D2s_v5", "skuName": "D2s v5",
     "productName": "Virtual Machines Dsv5 Series", "unitOfMeasure": "1 Hour", "retailPrice": 494, "tierMinimumUnits": 0.0},
    {"type": "Consumption", "currencyCode": "USD", "armRegionName": "eastus", "armSkuName": "Standard_D2ps_v6", "skuName": "D2ps v6",
     "productName": "Virtual Machines Dpsv6 Series", "unitOfMeasure": "1 Hour", "retailPrice": 0.0702, "tierMinimumUnits": 0.0},
    {"type": "Consumption", "currencyCode": "USD", "armRegionName": "eastus", "productName": "General Block Blob v2",
     "meterName": "Hot LRS Write Operations", "unitOfMeasure": "10K", "retailPrice": 0.05, "tierMinimumUnits": 0.0}]})";
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto sheet, PriceSheet::Shipped());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto update, ReadPriceFile(Provider::kAzure, page, "page.json", kToday, sheet));
  EXPECT_EQ(update.num_prices, 3);
  MILLRACE_ASSERT_OK(sheet.Overlay(update.sheet, "update"));
  EXPECT_EQ(ToDecimal(sheet.Find("azure.compute.d2ps-v6", "eastus")->tiers[0].usd), "0.0702");
  EXPECT_EQ(ToDecimal(sheet.Find("azure.compute.d2s-v5", "eastus")->tiers[0].usd), "0.096");
  EXPECT_EQ(sheet.Find("azure.blob.hot-lrs.write", "eastus")->per, 10'000);
}

TEST(PriceUpdate, RefusesWhatIsNoPriceFile) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sheet, PriceSheet::Shipped());
  struct Case {
    Provider provider;
    std::string text;
    const char* message;
  };
  std::string odd = kAws;
  odd.replace(odd.find("\"0.0245000000\""), 14, "\"dear\"");
  std::string shapeless = kAws;
  shapeless.replace(shapeless.find("\"beginRange\""), 12, "\"begin\"");
  const Case cases[] = {
      {Provider::kAws, "", "not a JSON object"},
      {Provider::kAws, "[]", "not a JSON object"},
      {Provider::kAws, "{}", "not an offer file"},
      {Provider::kAws, R"({"products": {}, "terms": {"OnDemand": {}}})", "no price of a SKU"},
      {Provider::kAws, odd, "'dear' is not a decimal number"},
      {Provider::kAws, shapeless, "not of the form"},
      {Provider::kAzure, "{}", "it has no Items"},
      {Provider::kAzure, R"({"Items": [3]})", "no price of a SKU"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.message);
    const auto update = ReadPriceFile(c.provider, c.text, "file.json", kToday, sheet);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, update.status());
    EXPECT_THAT(update.status().message(), HasSubstr(c.message));
  }
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, ReadPriceFile(Provider::kGcp, "{}", "f", kToday, sheet).status());
}

}  // namespace
}  // namespace millrace::cost
