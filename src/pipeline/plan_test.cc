// From a configuration to relations and tables, and what does not fit together.
#include "pipeline/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "pipeline/test_pipeline_internal.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Plan, KnowsRelationsTablesAndStages) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, MakePlan(TestConfig()));
  ASSERT_EQ(plan->relations.size(), 2u);
  EXPECT_EQ(plan->relations[1].name, "clean");
  EXPECT_EQ(plan->relations[1].parent, 0);
  ASSERT_EQ(plan->tables.size(), 4u);
  EXPECT_EQ(plan->tables[kRaw].relation, 0);
  EXPECT_EQ(plan->tables[kCleaned].relation, 1);
  EXPECT_EQ(plan->tables[kSums].kind, TableKind::kAggregate);
  EXPECT_EQ(plan->dead_letters(), kLetters);
  EXPECT_EQ(plan->tables[kLetters].name, "test_dead_letters");
  EXPECT_THAT(plan->StagesOf(kRaw), ElementsAre("decode", "event_time", "table:raw"));
  EXPECT_THAT(plan->StagesOf(kCleaned), ElementsAre("decode", "event_time", "transform:clean", "table:cleaned"));
  EXPECT_THAT(plan->StagesOf(kSums), ElementsAre("decode", "event_time", "transform:clean", "aggregate:sums"));
  ASSERT_EQ(plan->inputs.size(), 1u);
  EXPECT_EQ(plan->inputs[0].name, "input");
  EXPECT_EQ(plan->inputs[0].event_time_column, 2);
  EXPECT_THAT(plan->topics(), ElementsAre("events"));
  EXPECT_EQ(plan->InputOf("events"), 0);
}

TEST(Plan, TransformsMayBeWrittenInAnyOrder) {
  auto config = TestConfig();
  config.transforms.insert(config.transforms.begin(), {"late", "SELECT id FROM clean WHERE id > 5"});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, MakePlan(config));
  EXPECT_EQ(plan->relations[1].name, "clean");
  EXPECT_EQ(plan->relations[2].name, "late");
  EXPECT_EQ(plan->relations[2].parent, 1);
}

TEST(Plan, DatesOfPartitionByBecomeColumns) {
  auto config = TestConfig();
  config.tables[0].partition_by = {"date(ts)", "txt"};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, MakePlan(config));
  const auto& table = plan->tables[kRaw];
  EXPECT_THAT(table.partition_columns, ElementsAre("ts_date", "txt"));
  EXPECT_TRUE(table.schema->GetFieldByName("ts_date")->type()->Equals(arrow::date32()));
}

TEST(Plan, MetadataColumnsCanBeLeftOut) {
  auto config = TestConfig();
  config.tables[0].metadata = false;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, MakePlan(config));
  EXPECT_THAT(plan->tables[kRaw].schema->field_names(), ElementsAre("id", "txt", "ts"));
  EXPECT_NE(plan->tables[kCleaned].schema->GetFieldByName("_offset"), nullptr);
}

TEST(Plan, WhatDoesNotFitIsNamed) {
  struct Case {
    const char* name;
    std::function<void(PipelineConfig&)> change;
    std::string want;
  };
  const Case cases[] = {
      {"table without source", [](auto& c) { c.tables[1].from = "cleam"; },
       "table 'cleaned' reads from 'cleam', which is neither 'input' nor a transform"},
      {"aggregate without source",
       [](auto& c) {
         c.aggregates[0].sql =
             "SELECT window_start, count(*) AS n FROM TUMBLE(nowhere, ts, INTERVAL 1 MINUTE) GROUP BY ALL";
       },
       "aggregate 'sums' reads from 'nowhere'"},
      {"transforms in a circle",
       [](auto& c) {
         c.transforms.push_back({"a", "SELECT * FROM b"});
         c.transforms.push_back({"b", "SELECT * FROM a"});
       },
       "transform 'a' reads from 'b', which is not there or reads from it in turn"},
      {"date of a string", [](auto& c) { c.tables[0].partition_by = {"date(txt)"}; },
       "table 'raw': partition_by date(txt): no timestamp column 'txt'"},
      {"partition by nothing", [](auto& c) { c.tables[0].partition_by = {"city"}; },
       "table 'raw': partition_by: no column 'city'"},
      {"event time without column", [](auto& c) { c.event_time->column = "time"; },
       "event_time.column: no column 'time' in decode.columns"},
      {"event time of a string", [](auto& c) { c.event_time->column = "txt"; },
       "event_time.column: 'txt' is not a timestamp"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    auto config = TestConfig();
    c.change(config);
    const auto plan = MakePlan(config);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, plan.status());
    EXPECT_THAT(plan.status().message(), HasSubstr(c.want));
  }
}

}  // namespace
}  // namespace millrace::pipeline
