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
