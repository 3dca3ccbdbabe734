// Goal: a price is what the sheet says, where it says it, and a wrong sheet is refused with the place. Method: small
// sheets, one mistake each; tier boundaries from below, at and above; the shipped sheet as a whole.
#include "cost/price_sheet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/status_matchers.h"

namespace millrace::cost {
namespace {

using ::testing::HasSubstr;

const Day kSheetDay = *ParseDay("2026-11-28");

constexpr const char* kSheet = R"(version: 1
sheet: test
currency: USD
regions:
  - {provider: aws, region: us-east-1, place: N. Virginia, lat: 39, lon: -77}
  - {provider: aws, region: eu-west-1, place: Ireland, lat: 53, lon: -6}
sources:
  page: {url: "https://example.org/prices", as_of: 2026-01-01, retrieved: 2026-11-22, kind: list}
prices:
  - {sku: aws.egress.internet, region: us-east-1, unit: GB, tiers: [{up_to: 100, usd: "0"}, {up_to: 10240, usd: "0.09"}, {usd: "0.05"}], source: page}
  - {sku: aws.s3.standard.put, region: us-east-1, unit: request, per: 1000, usd: "0.005", source: page}
)";

PriceSheet Sheet() { return PriceSheet::Read(kSheet, "test.yaml").ValueOrDie(); }

Quantity Of(double value) { return Quantity::FromDouble(value).ValueOrDie(); }

Money Total(const PriceRow& row, double quantity, bool free_tier = true) {
  Money total;
  for (const auto& charge : ChargeFor(row, Of(quantity), free_tier).ValueOrDie()) total += charge.money;
  return total;
}

TEST(ChargeFor, EveryTierBoundary) {
  const auto sheet = Sheet();
  const auto& row = *sheet.Find("aws.egress.internet", "us-east-1");
  struct Case {
    double gb;
    const char* usd;
    std::size_t tiers;
  };
  const Case cases[] = {
      {0, "0", 0},
      {100, "0", 1},  // The boundary belongs to the tier below it.
      {100.000001, "0.00000009", 2},
      {101, "0.09", 2},
      {10'240, "912.6", 2},
      {10'240.000001, "912.60000005", 3},
      {10'241, "912.65", 3},
      {110'240, "5912.6", 3},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.gb);
    EXPECT_EQ(ToDecimal(Total(row, c.gb)), c.usd);
    EXPECT_EQ(ChargeFor(row, Of(c.gb), true).ValueOrDie().size(), c.tiers);
  }
}

TEST(ChargeFor, WithoutTheFreeTierTheFirstUnitsCostLikeTheNext) {
  const auto sheet = Sheet();
  const auto& row = *sheet.Find("aws.egress.internet", "us-east-1");
  EXPECT_EQ(ToDecimal(Total(row, 100, false)), "9");
  EXPECT_EQ(ToDecimal(Total(row, 101, false)), "9.09");
  EXPECT_EQ(ToDecimal(Total(row, 10'240, false)), "921.6");
}

// At each boundary of each row: the last unit below costs the tier's price, the first above that of the next.
TEST(ChargeFor, TheShippedTiersMeetWithoutGapOrStep) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sheet, PriceSheet::Shipped());
  int boundaries = 0;
  for (const auto& row : sheet.rows()) {
    for (std::size_t i = 0; i + 1 < row.tiers.size(); ++i) {
      SCOPED_TRACE(row.sku + "@" + row.region);
      const Quantity at = *row.tiers[i].up_to;
      const auto cost = [&](Quantity quantity) {
        Money total;
        for (const auto& charge : ChargeFor(row, quantity, true).ValueOrDie()) total += charge.money;
        return total;
      };
      const Money below = cost(at - Quantity::FromMicros(1'000'000));
      const Money exact = cost(at);
      const Money above = cost(at + Quantity::FromMicros(1'000'000));
      EXPECT_EQ((exact - below).nanos(), Multiply(Quantity::FromMicros(1'000'000), row.tiers[i].usd, row.per)->nanos());
      EXPECT_EQ((above - exact).nanos(),
                Multiply(Quantity::FromMicros(1'000'000), row.tiers[i + 1].usd, row.per)->nanos());
      ++boundaries;
    }
  }
  EXPECT_GT(boundaries, 100);
}

TEST(PriceSheet, FindsARegionOrEveryRegionsPriceAndNothingElse) {
  auto sheet = Sheet();
  EXPECT_NE(sheet.Find("aws.s3.standard.put", "us-east-1"), nullptr);
  EXPECT_EQ(sheet.Find("aws.s3.standard.put", "eu-west-1"), nullptr);
  EXPECT_EQ(sheet.Find("aws.s3.standard.get", "us-east-1"), nullptr);
  MILLRACE_ASSERT_OK(sheet.Set("aws.s3.standard.put@*=0.006", kSheetDay));
  EXPECT_EQ(ToDecimal(sheet.Find("aws.s3.standard.put", "eu-west-1")->tiers[0].usd), "0.006");
  EXPECT_EQ(sheet.Find("aws.s3.standard.put", "eu-west-1")->per, 1000);  // As the price that it replaces.
  EXPECT_EQ(ToDecimal(sheet.Find("aws.s3.standard.put", "us-east-1")->tiers[0].usd), "0.005");
}

TEST(PriceSheet, WhatIsSoldInEveryCloudIsPricedForAllOrForARegionOfAny) {
  auto sheet = Sheet();
  const auto* sku = FindSku("confluent.basic.in");
  for (const auto provider : {Provider::kAws, Provider::kGcp, Provider::kAzure}) EXPECT_TRUE(sku->IsSoldBy(provider));
  EXPECT_FALSE(sku->IsSoldBy(Provider::kOwn));
  EXPECT_TRUE(FindSku("aws.eks")->IsSoldBy(Provider::kAws));
  EXPECT_FALSE(FindSku("aws.eks")->IsSoldBy(Provider::kGcp));
  MILLRACE_ASSERT_OK(sheet.Set("confluent.basic.in@*=0.05", kSheetDay));
  MILLRACE_ASSERT_OK(sheet.Set("confluent.basic.in@eu-west-1=0.06", kSheetDay));
  EXPECT_EQ(ToDecimal(sheet.Find("confluent.basic.in", "us-east-1")->tiers[0].usd), "0.05");
  EXPECT_EQ(ToDecimal(sheet.Find("confluent.basic.in", "eu-west-1")->tiers[0].usd), "0.06");
}

TEST(PriceSheet, LaterSheetsWinRowByRow) {
  auto sheet = Sheet();
  const auto digest = sheet.sha256();
  MILLRACE_ASSERT_OK(sheet.Overlay(R"({version: 1, sheet: contract, currency: USD,
    sources: {us: {url: "https://example.org/contract", retrieved: 2026-10-01, kind: list}},
    prices: [{sku: aws.s3.standard.put, region: us-east-1, unit: request, per: 1000, usd: "0.004", source: us},
             {sku: aws.eks, region: eu-west-1, unit: h, usd: "0.09",
              source: {url: "https://example.org/eks", retrieved: 2026-10-01, kind: list}}]})",
                                   "contract.yaml"));
  EXPECT_EQ(ToDecimal(sheet.Find("aws.s3.standard.put", "us-east-1")->tiers[0].usd), "0.004");
  EXPECT_EQ(sheet.Find("aws.s3.standard.put", "us-east-1")->sheet, "contract");
  EXPECT_EQ(sheet.Find("aws.eks", "eu-west-1")->source->url, "https://example.org/eks");
  EXPECT_NE(sheet.Find("aws.egress.internet", "us-east-1"), nullptr);
  EXPECT_EQ(sheet.name(), "test + contract");
  EXPECT_THAT(sheet.overridden(), ::testing::ElementsAre("aws.s3.standard.put@us-east-1", "aws.eks@eu-west-1"));
  EXPECT_NE(sheet.sha256(), digest);
  EXPECT_EQ(sheet.sha256().size(), 64u);
}

TEST(PriceSheet, RefusesMistakesWithTheirPlace) {
  struct Case {
    const char* what;
    const char* from;
    const char* to;
    const char* message;
  };
  const Case cases[] = {
      {"a misspelt key", "currency: USD", "curency: USD",
       "test.yaml:3:1: unknown key 'curency'; did you mean 'currency'?"},
      {"a misspelt SKU", "sku: aws.s3.standard.put", "sku: aws.s3.standard.putt",
       "test.yaml:11:11: no SKU 'aws.s3.standard.putt'; did you mean 'aws.s3.standard.put'?"},
      {"an unknown region", "put, region: us-east-1", "put, region: us-esat-1",
       "no region 'us-esat-1' where it is sold; did you mean"},
      {"another unit", "unit: request", "unit: requests", "unit 'requests', but this SKU is counted in 'request'"},
      {"a price with a comma", "\"0.005\"", "\"0,005\"", "'0,005' is not a decimal number"},
      {"a negative price", "\"0.005\"", "\"-0.005\"", "a price is not negative"},
      {"ten decimals", "\"0.005\"", "\"0.0000000005\"", "more than 9 decimals"},
      {"no price", ", usd: \"0.005\"", "", "either usd or tiers"},
      {"falling tiers", "up_to: 10240", "up_to: 90", "tiers must rise"},
      {"an end after the last tier", "{usd: \"0.05\"}", "{up_to: 20000, usd: \"0.05\"}",
       "every tier but the last has up_to"},
      {"no end before the last", "{up_to: 100, usd: \"0\"}", "{usd: \"0\"}", "every tier but the last has up_to"},
      {"an unknown source", "source: page}\n  - {sku: aws.s3", "source: pagee}\n  - {sku: aws.s3",
       "no source 'pagee'; did you mean 'page'?"},
      {"no source", "usd: \"0.005\", source: page", "usd: \"0.005\"", "a price needs a source"},
      {"a source without a day", "retrieved: 2026-11-22, ", "", "source page: retrieved is missing"},
      {"not a day", "as_of: 2026-01-01", "as_of: 2026-02-30", "'2026-02-30' is not a day"},
      {"an unknown kind", "kind: list", "kind: lst",
       "kind 'lst' is not one of list, derived, estimate; did you mean 'list'?"},
      {"a fraction of a unit", "per: 1000", "per: 0.5", "'0.5' is not a whole number of units"},
      {"another currency", "currency: USD", "currency: EUR", "currency: USD is expected"},
      {"a later format", "version: 1", "version: 2", "version: 1 is expected"},
      {"no YAML", "prices:", "prices: [", "not valid YAML"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    std::string text = kSheet;
    const auto at = text.find(c.from);
    ASSERT_NE(at, std::string::npos);
    text.replace(at, std::string(c.from).size(), c.to);
    const auto sheet = PriceSheet::Read(text, "test.yaml");
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, sheet.status());
    EXPECT_THAT(sheet.status().message(), HasSubstr(c.message));
    EXPECT_THAT(sheet.status().message(), HasSubstr("test.yaml:"));
  }
  const std::string twice =
      std::string(kSheet) +
      "  - {sku: aws.s3.standard.put, region: us-east-1, unit: request, usd: \"1\", source: page}\n";
  EXPECT_THAT(PriceSheet::Read(twice, "t").status().message(), HasSubstr("is here twice"));
}

constexpr const char* kGroups = R"(version: 1
sheet: test
currency: USD
regions:
  - {provider: aws, region: us-east-1, place: N. Virginia, lat: 39, lon: -77}
  - {provider: aws, region: us-east-2, place: Ohio, lat: 40, lon: -83}
  - {provider: aws, region: eu-west-1, place: Ireland, lat: 53, lon: -6}
sources:
  page: {url: "https://example.org/prices", as_of: 2026-01-01, retrieved: 2026-11-22, kind: list}
  newer: {url: "https://example.org/newer", as_of: 2026-10-01, retrieved: 2026-11-22, kind: derived}
prices:
  - sku: aws.egress.internet
    unit: GB
    up_to: [100, 10240]
    source: page
    note: to anywhere
    regions:
      - {in: [us-east-1, us-east-2], usd: ["0", "0.09", "0.05"]}
      - {in: [eu-west-1], usd: "0.12", source: newer, note: the first tier alone}
)";

TEST(PriceSheet, GroupsOfRegionsShareWhatTheirSkuSays) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sheet, PriceSheet::Read(kGroups, "groups.yaml"));
  ASSERT_EQ(sheet.rows().size(), 3u);
  for (const char* region : {"us-east-1", "us-east-2"}) {
    const auto* row = sheet.Find("aws.egress.internet", region);
    ASSERT_NE(row, nullptr) << region;
    EXPECT_EQ(ToDecimal(Total(*row, 10'241)), "912.65");
    EXPECT_EQ(row->region, region);
    EXPECT_EQ(row->source->id, "page");
    EXPECT_EQ(row->note, "to anywhere");
  }
  const auto* row = sheet.Find("aws.egress.internet", "eu-west-1");
  ASSERT_NE(row, nullptr);
  ASSERT_EQ(row->tiers.size(), 1u);
  EXPECT_EQ(ToDecimal(row->tiers[0].usd), "0.12");
  EXPECT_EQ(ToText(row->source->as_of), "2026-10-01");
  EXPECT_EQ(row->note, "the first tier alone");
}

TEST(PriceSheet, RefusesMistakesInGroups) {
  struct Case {
    const char* what;
    const char* from;
    const char* to;
    const char* message;
  };
  const Case cases[] = {
      {"a region twice", "in: [eu-west-1]", "in: [us-east-2]",
       "groups.yaml:19:15: aws.egress.internet@us-east-2 is here twice"},
      {"a misspelt region", "in: [us-east-1,", "in: [us-esat-1,",
       "no region 'us-esat-1' where it is sold; did you mean"},
      {"no regions", "in: [eu-west-1], ", "", "in: a list of regions is expected"},
      {"a region that is no list", "in: [eu-west-1]", "in: eu-west-1", "in: a list of regions is expected"},
      {"too few prices", "\"0\", \"0.09\", \"0.05\"", "\"0\", \"0.09\"", "2 prices, but up_to makes 3 tiers"},
      {"too many prices", "up_to: [100, 10240]", "up_to: [100]", "3 prices, but up_to makes 2 tiers"},
      {"tiers without ends", "    up_to: [100, 10240]\n", "", "3 prices, but up_to makes 1 tiers"},
      {"no ends", "up_to: [100, 10240]", "up_to: []", "up_to: a list of quantities is expected"},
      {"falling ends", "up_to: [100, 10240]", "up_to: [100, 90]", "tiers must rise"},
      {"a price beside the groups", "    note: to", "    usd: \"1\"\n    note: to",
       "usd is said by each group of regions"},
      {"a key of the SKU in a group", "usd: \"0.12\"", "unit: GB, usd: \"0.12\"", "unknown key 'unit'"},
      {"no source at all", "    source: page\n", "", "a price needs a source"},
      {"an unknown source", "source: newer", "source: never", "no source 'never'; did you mean 'newer'?"},
      {"read before it was in force", "as_of: 2026-10-01", "as_of: 2026-12-01", "as_of is after retrieved"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    std::string text = kGroups;
    const auto at = text.find(c.from);
    ASSERT_NE(at, std::string::npos);
    text.replace(at, std::string(c.from).size(), c.to);
    const auto sheet = PriceSheet::Read(text, "groups.yaml");
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, sheet.status());
    EXPECT_THAT(sheet.status().message(), HasSubstr(c.message));
    // A mistake in a group is one finding, however many regions it is for.
    EXPECT_LE(std::count(sheet.status().message().begin(), sheet.status().message().end(), '\n'), 1);
  }
}

TEST(PriceSheet, RefusesWrongAssignments) {
  auto sheet = Sheet();
  for (const auto& [assignment, message] :
       std::vector<std::pair<std::string, std::string>>{{"aws.eks=1", "SKU@REGION=USD is expected"},
                                                        {"aws.ekss@us-east-1=1", "did you mean 'aws.eks'?"},
                                                        {"aws.eks@us-east-2=1", "did you mean 'us-east-1'?"},
                                                        {"aws.eks@us-east-1=cheap", "'cheap' is not a decimal number"},
                                                        {"aws.eks@us-east-1=-1", "a price is not negative"}}) {
    SCOPED_TRACE(assignment);
    const Status set = sheet.Set(assignment, kSheetDay);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, set);
    EXPECT_THAT(set.message(), HasSubstr(message));
  }
}

TEST(ShippedSheet, EveryRowHasUnitSourceAndDays) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sheet, PriceSheet::Shipped());
  EXPECT_EQ(sheet.name(), "2026-11");
  EXPECT_GT(sheet.rows().size(), 800u);
  for (const auto& row : sheet.rows()) {
    SCOPED_TRACE(row.sku + "@" + row.region);
    EXPECT_NE(FindSku(row.sku), nullptr);
    EXPECT_TRUE(row.source->url.starts_with("https://"));
    EXPECT_GT(row.source->as_of, *ParseDay("2019-01-01"));
    EXPECT_LE(row.source->as_of, row.source->retrieved);
    EXPECT_LE(row.source->retrieved, kSheetDay);
  }
}

TEST(Day, IsReadAndWritten) {
  for (const char* text : {"1970-01-01", "2024-02-29", "2026-11-22"}) {
    EXPECT_EQ(ToText(*ParseDay(text)), text);
  }
  EXPECT_EQ(*ParseDay("1970-01-02"), 1);
  for (const char* text : {"2026-13-01", "2025-02-29", "22.11.2026", "2026-1-1", ""}) EXPECT_FALSE(ParseDay(text).ok());
}

}  // namespace
}  // namespace millrace::cost
