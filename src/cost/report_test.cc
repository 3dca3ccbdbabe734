// Goal: every format tells the same bill. Method: the worked example in each; sums of the parsed formats against the
// estimate; a missing price in each; hostile text in names.
#include "cost/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <sstream>

#include "testing/status_matchers.h"

namespace millrace::cost {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;
using ::testing::Not;

const Day kReportDay = *ParseDay("2026-11-22");

Report ReportOf(const Usage& usage, const std::vector<Provider>& providers) {
  const auto prices = PriceSheet::Shipped().ValueOrDie();
  Report report;
  for (const auto provider : providers) {
    report.estimates.push_back(
        MakeEstimate(usage, provider, std::string(DefaultRegion(provider)), prices, kReportDay).ValueOrDie());
    report.curves.push_back(CurveFor(report.estimates.back(), prices).ValueOrDie());
  }
  report.advice = AdviceFor(report.estimates[0], prices, std::nullopt).ValueOrDie();
  return report;
}
Report Reference() { return ReportOf(UsagePreset("reference").ValueOrDie(), {Provider::kAws}); }
// Google's service keeps its log at a price that nobody has sourced.
Usage OnManagedKafka() {
  Usage usage = UsagePreset("reference").ValueOrDie();
  usage.broker_mode = BrokerMode::kManaged;
  return usage;
}

std::vector<std::vector<std::string>> ParseCsv(const std::string& text) {
  std::vector<std::vector<std::string>> rows(1, {""});
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quoted) {
      if (text[i] != '"') {
        rows.back().back() += text[i];
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        rows.back().back() += text[i++];
      } else {
        quoted = false;
      }
    } else if (text[i] == '"') {
      quoted = true;
    } else if (text[i] == ',') {
      rows.back().emplace_back();
    } else if (text[i] == '\n') {
      rows.push_back({""});
    } else if (text[i] != '\r') {
      rows.back().back() += text[i];
    }
  }
  rows.pop_back();
  return rows;
}
std::size_t ColumnOf(const std::vector<std::vector<std::string>>& rows, const std::string& name) {
  const auto found = std::find(rows[0].begin(), rows[0].end(), name);
  EXPECT_NE(found, rows[0].end()) << name;
  return static_cast<std::size_t>(found - rows[0].begin());
}

TEST(Table, OneBillLineByLine) {
  const std::string table = ToTable(Reference(), {});
  for (const char* text :
       {"AWS us-east-1 (N. Virginia)", "Monthly Qty", "USD a month", "Source, in force", "1,104.09", "438.00",
        "455,520", "0.005/1k", "140.16", "Traffic between zones", "40%", "aws-s3 2025-06-05", "per million events",
        "0.042", "Why", "Advice for AWS", "inputs are assumed", "sha256"}) {
    EXPECT_THAT(table, HasSubstr(text));
  }
  EXPECT_THAT(table, Not(HasSubstr("\x1b[")));
  EXPECT_THAT(ToTable(Reference(), {.color = true}), HasSubstr("\x1b["));
  EXPECT_THAT(ToTable(Reference(), {.assumptions = true}), HasSubstr("broker.fan_out"));
}

TEST(Table, ProvidersSideBySideOnOneScreen) {
  const auto report =
      ReportOf(UsagePreset("reference").ValueOrDie(), {Provider::kAws, Provider::kGcp, Provider::kAzure});
  const std::string table = ToTable(report, {});
  EXPECT_THAT(table, HasSubstr("Google Cloud"));
  EXPECT_THAT(table, Not(HasSubstr("*"))) << "no price is missing in the main regions";
  EXPECT_LE(std::count(table.begin(), table.end(), '\n'), 48);
  const std::string managed = ToTable(ReportOf(OnManagedKafka(), {Provider::kAws, Provider::kGcp}), {});
  EXPECT_THAT(managed, HasSubstr("* Google Cloud: the total leaves out what has no sourced price"));
  EXPECT_THAT(managed, HasSubstr("gcp.kafka.storage"));
  EXPECT_THAT(managed, Not(HasSubstr("* AWS")));
}

TEST(Json, HasInfracostsNamesAndAddsUp) {
  const auto report = Reference();
  const auto document = json::parse(ToJson(report));
  EXPECT_EQ(document.at("version").as_string(), "0.2");
  EXPECT_EQ(document.at("currency").as_string(), "USD");
  const auto& project = document.at("projects").as_array().at(0);
  EXPECT_EQ(project.at("name").as_string(), "aws/us-east-1");
  Money total;
  for (const auto& resource : project.at("breakdown").at("resources").as_array()) {
    Money subtotal;
    for (const auto& component : resource.at("costComponents").as_array()) {
      for (const char* member :
           {"name", "unit", "monthlyQuantity", "price", "monthlyCost", "usageBased", "priceNotFound"}) {
        EXPECT_TRUE(component.as_object().contains(member)) << member;
      }
      EXPECT_FALSE(component.at("priceNotFound").as_bool());
      subtotal += Money::Parse(std::string(component.at("monthlyCost").as_string())).ValueOrDie();
    }
    EXPECT_EQ(std::string(resource.at("monthlyCost").as_string()), ToDecimal(subtotal));
    total += subtotal;
  }
  EXPECT_EQ(std::string(project.at("breakdown").at("totalMonthlyCost").as_string()), ToDecimal(total));
  EXPECT_EQ(std::string(document.at("totalMonthlyCost").as_string()), ToDecimal(report.estimates[0].total));
}

TEST(Json, AMissingPriceIsNullAndSaysSo) {
  const auto document = json::parse(ToJson(ReportOf(OnManagedKafka(), {Provider::kGcp})));
  bool found = false;
  for (const auto& resource : document.at("projects").at(0).at("breakdown").at("resources").as_array()) {
    for (const auto& component : resource.at("costComponents").as_array()) {
      if (!component.at("priceNotFound").as_bool()) continue;
      found = true;
      EXPECT_TRUE(component.at("price").is_null());
      EXPECT_TRUE(component.at("monthlyCost").is_null());
    }
  }
  EXPECT_TRUE(found);
  EXPECT_FALSE(document.at("projects").at(0).at("metadata").at("complete").as_bool());
}

TEST(Csv, AddsUp) {
  const auto report = Reference();
  const auto rows = ParseCsv(ToCsv(report));
  const auto cost = ColumnOf(rows, "monthly_cost");
  Money total;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    ASSERT_EQ(rows[i].size(), rows[0].size());
    total += Money::Parse(rows[i][cost]).ValueOrDie();
  }
  EXPECT_EQ(total, report.estimates[0].total);
}

TEST(Focus, HasListCostsForTheMonth) {
  const auto report = Reference();
  const auto rows = ParseCsv(ToFocus(report));
  const auto cost = ColumnOf(rows, "ListCost");
  Money total;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    ASSERT_EQ(rows[i].size(), rows[0].size());
    total += Money::Parse(rows[i][cost]).ValueOrDie();
    EXPECT_EQ(rows[i][ColumnOf(rows, "BillingPeriodStart")], "2026-11-01T00:00:00Z");
    EXPECT_EQ(rows[i][ColumnOf(rows, "BillingPeriodEnd")], "2026-12-01T00:00:00Z");
    EXPECT_EQ(rows[i][ColumnOf(rows, "ChargeCategory")], "Usage");
  }
  EXPECT_EQ(total, report.estimates[0].total);
}

TEST(Html, IsWholeAndEscaped) {
  auto report = ReportOf(OnManagedKafka(), {Provider::kAws, Provider::kGcp, Provider::kAzure});
  report.advice[0].title = "<script>alert(1)</script>";
  const std::string html = ToHtml(report);
  EXPECT_THAT(html, HasSubstr(ToCents(report.estimates[0].total)));
  EXPECT_THAT(html, HasSubstr("<svg"));
  EXPECT_THAT(html, HasSubstr("<polyline"));
  EXPECT_THAT(html, HasSubstr("no price"));
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("nan")));
}

TEST(Curve, RisesAndPassesThroughTheLoad) {
  const auto report = Reference();
  const auto& points = report.curves[0].points;
  ASSERT_EQ(points.size(), 13u);
  EXPECT_EQ(points[6].total, report.estimates[0].total);
  for (std::size_t i = 1; i < points.size(); ++i) EXPECT_GE(points[i].total, points[i - 1].total);
}

TEST(Components, TiersAreLinesOfTheirOwn) {
  Usage usage = UsagePreset("reference").ValueOrDie();
  usage.queries_per_second = 2'000;  // 26,280 GB.
  const auto report = ReportOf(usage, {Provider::kAws});
  for (const auto& line : report.estimates[0].lines) {
    if (line.resource.sku != "aws.egress.internet") continue;
    const auto components = ComponentsOf(line);
    ASSERT_EQ(components.size(), 3u);
    EXPECT_EQ(components[0].name, "Answers to the internet (first 100 GB)");
    EXPECT_EQ(components[1].name, "Answers to the internet (next 10,140 GB)");
    EXPECT_EQ(ToDecimal(components[2].quantity), "16040");
  }
}

TEST(UnitPrice, IsExact) {
  EXPECT_EQ(UnitPrice(*Money::Parse("0.0004"), 1000), "0.0000004");
  EXPECT_EQ(UnitPrice(*Money::Parse("0.0075"), 10'000), "0.00000075");
  EXPECT_EQ(UnitPrice(*Money::Parse("0.000000001"), 2), "0.000000000500000");
}

TEST(Diff, SaysWhatIsNewGoneAndOther) {
  Usage before = UsagePreset("reference").ValueOrDie();
  Usage after = before;
  after.queries_per_second = 200;
  after.kubernetes = false;
  after.nat_gateways = 1;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const std::string diff, Diff(ToJson(ReportOf(before, {Provider::kAws})),
                                                             ToJson(ReportOf(after, {Provider::kAws})), false));
  EXPECT_THAT(diff, HasSubstr("- aws/us-east-1: Kubernetes and NAT: Cluster  73.00\n"));
  EXPECT_THAT(diff, HasSubstr("+ aws/us-east-1: Kubernetes and NAT: NAT gateways  32.85\n"));
  EXPECT_THAT(diff,
              HasSubstr("~ aws/us-east-1: CDN and bandwidth: Answers to the internet  109.26 -> 227.52 (+118.26)\n"));
  EXPECT_THAT(diff, Not(HasSubstr("Brokers")));
  EXPECT_THAT(diff, HasSubstr("Total aws/us-east-1: 1,104.09 -> "));
  const std::string same = ToJson(Reference());
  EXPECT_THAT(Diff(same, same, false).ValueOrDie(), HasSubstr("No line differs."));
}

TEST(Diff, RefusesOtherDocuments) {
  const std::string good = ToJson(Reference());
  for (const char* bad : {"", "{", "[]", "{}", R"({"projects": [{"name": 1}]})", R"({"projects": 3})",
                          R"({"projects":[{"name":"a","breakdown":{"resources":[],"totalMonthlyCost":"x"}}]})"}) {
    SCOPED_TRACE(bad);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, Diff(bad, good, false).status());
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, Diff(good, bad, false).status());
  }
}

}  // namespace
}  // namespace millrace::cost
