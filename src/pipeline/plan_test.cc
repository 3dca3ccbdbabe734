// A plan is a configuration with what it comes to; how that is made and what does not fit: config/dataflow_test.cc.
#include "pipeline/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/uuid.h"
#include "pipeline/test_pipeline_internal.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

TEST(Plan, HoldsTheConfigurationAndItsDataflow) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, MakePlan(TestConfig()));
  EXPECT_EQ(plan->config.name, "test");
  EXPECT_NE(plan->inputs[0].decode.watch, nullptr);
  ASSERT_EQ(plan->tables.size(), 4u);
  EXPECT_EQ(plan->tables[kCleaned].relation, 1);
  EXPECT_EQ(plan->dead_letters(), kLetters);
  ASSERT_EQ(plan->inputs.size(), 1u);
  EXPECT_EQ(plan->inputs[0].name, "input");
  EXPECT_EQ(plan->inputs[0].event_time_column, 2);
  EXPECT_THAT(plan->topics(), ElementsAre("events"));
  EXPECT_EQ(plan->InputOf("events"), 0);
}

TEST(Plan, OfAFileIsWhatItsConfigurationComesTo) {
  const auto loaded = config::LoadConfigText(R"(version: 1
pipeline: clicks
source: {embedded: {path: log}, topics: [clicks]}
decode: {format: json, columns: {ts: timestamp, country: string}}
event_time: {column: ts}
transforms: [{name: known, sql: "SELECT ts, upper(country) AS country FROM input WHERE country IS NOT NULL"}]
tables: [{name: clicks, from: known}]
aggregates:
  - {name: sums, sql: "SELECT window_start, country, count(*) AS n FROM TUMBLE(known, ts, INTERVAL 1 MINUTE) GROUP BY ALL"}
)",
                                             "clicks.yaml");
  ASSERT_TRUE(loaded.findings.empty()) << config::ToString(loaded.findings[0]);
  const auto plan = MakePlan(config::LoadedConfig(loaded));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto planned, MakePlan(loaded.config));
  EXPECT_EQ(plan->config.name, "clicks");
  ASSERT_EQ(plan->tables.size(), 3u);
  ASSERT_EQ(plan->num_tables(), planned->num_tables());
  for (int i = 0; i < plan->num_tables(); ++i) {
    EXPECT_EQ(plan->tables[i].name, planned->tables[i].name);
    EXPECT_EQ(plan->tables[i].relation, planned->tables[i].relation);
    EXPECT_TRUE(plan->tables[i].schema->Equals(planned->tables[i].schema));
  }
  EXPECT_EQ(plan->tables[1].aggregate->definition.measures[0].sql,
            planned->tables[1].aggregate->definition.measures[0].sql);
  ASSERT_EQ(plan->relations.size(), planned->relations.size());
  EXPECT_EQ(plan->relations[1].sql, planned->relations[1].sql);
  EXPECT_THAT(plan->topics(), ElementsAre("clicks"));
}

TEST(Plan, IsRefusedIfSomethingDoesNotFit) {
  auto config = TestConfig();
  config.tables[1].from = "cleam";
  const auto plan = MakePlan(config);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, plan.status());
  EXPECT_THAT(plan.status().message(), HasSubstr("table 'cleaned' reads from 'cleam'"));
}

TEST(Plan, TablesAreInTheLakeAndTheLettersMayBeElsewhere) {
  const auto folder = std::filesystem::temp_directory_path() / ("millrace_plan_" + RandomUuid());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto lake,
                                OpenLake({.uri = (folder / "lake").string()}, objectstore::IfMissing::kCreate));
  const auto uri_of = [&](const config::PipelineConfig& config, int table) {
    return OpenTableStore(*MakePlan(config).ValueOrDie(), table, lake).ValueOrDie()->uri();
  };
  auto config = TestConfig();
  EXPECT_THAT(uri_of(config, kRaw), EndsWith("/lake/raw"));
  EXPECT_THAT(uri_of(config, kLetters), EndsWith("/lake/test_dead_letters"));
  config.dead_letters_uri = (folder / "letters").string();
  EXPECT_THAT(uri_of(config, kRaw), EndsWith("/lake/raw"));
  EXPECT_THAT(uri_of(config, kLetters), EndsWith("/letters"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace millrace::pipeline
