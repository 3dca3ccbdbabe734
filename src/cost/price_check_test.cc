// Goal: a sheet's odd prices are found and its gaps counted. Method: a sheet in which everything agrees, then one
// change each; what the shipped sheet has, region by region, and that nothing in it is odd without saying why.
#include "cost/price_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "testing/status_matchers.h"

namespace millrace::cost {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

const Day kCheckedOn = *ParseDay("2026-11-28");

constexpr const char* kSheet = R"(version: 1
sheet: test
currency: USD
regions:
  - {provider: aws, region: us-east-1, place: N. Virginia, lat: 39, lon: -77}
  - {provider: aws, region: us-east-2, place: Ohio, lat: 40, lon: -83}
  - {provider: aws, region: eu-west-1, place: Ireland, lat: 53, lon: -6}
sources:
  page: {url: "https://example.org/prices", as_of: 2026-10-01, retrieved: 2026-11-22, kind: list}
  old: {url: "https://example.org/old", as_of: 2026-01-01, retrieved: 2026-11-22, kind: list}
prices:
  - sku: aws.egress.internet
    unit: GB
    up_to: [100, 10240]
    source: page
    regions:
      - {in: [us-east-1], usd: ["0", "0.09", "0.05"]}
      - {in: [us-east-2], usd: ["0", "0.09", "0.05"]}
      - {in: [eu-west-1], usd: ["0", "0.12", "0.08"]}
  - {sku: aws.eks, region: us-east-1, unit: h, usd: "0.1", source: old}
)";

TEST(OddPrices, AreFoundOneByOne) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto good, PriceSheet::Read(kSheet, "test.yaml"));
  EXPECT_THAT(OddPrices(good, kCheckedOn), IsEmpty());
  struct Case {
    const char* what;
    const char* from;
    const char* to;
    std::vector<const char*> findings;
  };
  const Case cases[] = {
      {"three times its neighbours'", "\"0.12\", \"0.08\"", "\"0.27\", \"0.08\"", {}},
      {"more than that",
       "\"0.12\", \"0.08\"",
       "\"0.28\", \"0.08\"",
       {"aws.egress.internet@eu-west-1: 0.28 is 3.1 times the median 0.09 of its regions"}},
      {"a decimal place lost",
       "\"0.12\", \"0.08\"",
       "\"0.012\", \"0.008\"",
       {"aws.egress.internet@eu-west-1: 0.012 is 0.13 times the median 0.09"}},
      {"the same with a reason",
       "usd: [\"0\", \"0.12\", \"0.08\"]",
       "usd: [\"0\", \"0.28\", \"0.08\"], note: an island",
       {}},
      {"a tier above the one before",
       "\"0.12\", \"0.08\"",
       "\"0.085\", \"0.12\"",
       {"aws.egress.internet@eu-west-1: a tier of 0.12 follows one of 0.085"}},
      {"read tomorrow",
       "retrieved: 2026-11-22, kind: list}\n  old",
       "retrieved: 2026-11-29, kind: list}\n  old",
       {"source page: read on 2026-11-29, which is not yet"}},
      {"not a URL",
       "https://example.org/prices",
       "a phone call",
       {"source page: 'a phone call' is no https URL that a reader could open"}},
      {"a source of nothing", "source: old}", "source: page}", {"source old: no price is of it"}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    std::string text = kSheet;
    const auto at = text.find(c.from);
    ASSERT_NE(at, std::string::npos);
    text.replace(at, std::string(c.from).size(), c.to);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sheet, PriceSheet::Read(text, "test.yaml"));
    const auto odd = OddPrices(sheet, kCheckedOn);
    ASSERT_EQ(odd.size(), c.findings.size()) << fmt::format("{}", fmt::join(odd, "\n"));
    for (std::size_t i = 0; i < odd.size(); ++i) EXPECT_THAT(odd[i], HasSubstr(c.findings[i]));
  }
}

TEST(OddPrices, ANoteOfAllRegionsExplainsNone) {
  std::string text = kSheet;
  text.replace(text.find("\"0.12\""), 6, "\"0.28\"");
  text.replace(text.find("    up_to:"), 0, "    note: to anywhere\n");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sheet, PriceSheet::Read(text, "test.yaml"));
  EXPECT_EQ(OddPrices(sheet, kCheckedOn).size(), 1u);
}

TEST(OddPrices, OfAnOverlayDoNotCountWhatItReplaced) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto sheet, PriceSheet::Read(kSheet, "test.yaml"));
  MILLRACE_ASSERT_OK(
      sheet.Overlay(R"({version: 1, sheet: mine, currency: USD, prices: [{sku: aws.eks, region: us-east-1,
    unit: h, usd: "0.05", source: {url: "https://example.org/mine", retrieved: 2026-11-01, kind: list}}]})",
                    "mine.yaml"));
  EXPECT_THAT(OddPrices(sheet, kCheckedOn), IsEmpty());
}

TEST(Coverage, CountsWhatIsPricedOldAndMissing) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sheet, PriceSheet::Read(kSheet, "test.yaml"));
  const auto coverage = CoverageOf(sheet, kCheckedOn);
  ASSERT_EQ(coverage.size(), 3u);
  EXPECT_EQ(coverage[0].region.name, "us-east-1");
  EXPECT_EQ(coverage[0].priced, 2);
  EXPECT_EQ(coverage[0].old, 1);
  EXPECT_EQ(coverage[1].priced, 1);
  EXPECT_EQ(coverage[1].old, 0);
  EXPECT_THAT(coverage[1].missing, ::testing::Contains("aws.eks"));
  EXPECT_THAT(coverage[1].missing, ::testing::Contains("confluent.basic.in"));
  for (const auto& of_region : coverage) {
    EXPECT_EQ(of_region.skus, of_region.priced + static_cast<int>(of_region.missing.size()));
  }
}

TEST(ShippedSheet, HasNothingOdd) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sheet, PriceSheet::Shipped());
  EXPECT_THAT(OddPrices(sheet, kCheckedOn), IsEmpty());
}

// The regions that people ask for most, with all that has no sourced price there. A new SKU is looked up for each.
TEST(ShippedSheet, NamesWhatIsMissingInTheMainRegions) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sheet, PriceSheet::Shipped());
  const std::vector<std::string_view> google = {"gcp.kafka.dcu", "gcp.kafka.storage", "gcp.sql.postgres.2vcpu",
                                                "gcp.sql.storage"};
  const std::map<std::string, std::vector<std::string_view>> expected = {
      {"us-east-1", {"aws.msk.express.in"}},
      {"us-west-2", {"aws.compute.c8g.large", "aws.msk.express.in"}},
      {"eu-west-1", {"aws.compute.c8g.large", "aws.msk.express.in"}},
      {"eu-central-1", {"aws.compute.c8g.large", "aws.msk.express.in"}},
      {"ap-southeast-1", {"aws.compute.m8g.large", "aws.compute.c8g.large", "aws.msk.express.in"}},
      {"ap-northeast-1", {"aws.compute.c8g.large", "aws.msk.express.in"}},
      {"us-central1", {"gcp.kafka.storage"}},
      {"us-east1", google},
      {"europe-west1", google},
      {"europe-west3", google},
      {"asia-southeast1", google},
      {"eastus", {"azure.postgres.d4s-v3"}},
      {"westus2", {"azure.compute.b2s-v2"}},
      {"westeurope", {}},
      {"northeurope", {}},
      {"southeastasia", {"azure.compute.b2s-v2"}},
  };
  std::size_t found = 0;
  for (const auto& coverage : CoverageOf(sheet, kCheckedOn)) {
    const auto region = expected.find(coverage.region.name);
    if (region == expected.end()) continue;
    ++found;
    EXPECT_EQ(coverage.missing, region->second) << coverage.region.name;
  }
  EXPECT_EQ(found, expected.size());
}

}  // namespace
}  // namespace millrace::cost
