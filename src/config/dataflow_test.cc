// From a configuration to relations and tables, and what does not fit together in one that was made in code. The same
// in a file, with places: config_test.cc and sql_test.cc.
#include "config/dataflow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "testing/status_matchers.h"

namespace millrace::config {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

enum TestTable { kRaw, kCleaned, kSums, kLetters };

PipelineConfig TestConfig() {
  PipelineConfig config;
  config.name = config.app_id = "test";
  config.source.log = EmbeddedSource{.path = "log"};
  config.inputs[0].topics = {"events"};
  const auto timestamp = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  config.inputs[0].decode.columns = {{.name = "id", .type = arrow::int64(), .path = {"id"}},
                                     {.name = "txt", .type = arrow::utf8(), .path = {"txt"}},
                                     {.name = "ts", .type = timestamp, .path = {"ts"}}};
  config.inputs[0].event_time = EventTimeConfig{.column = "ts"};
  config.transforms = {{"clean", "SELECT id, CAST(txt AS INTEGER) AS num, ts FROM input WHERE id >= 0"}};
  config.tables = {{.name = "raw"}, {.name = "cleaned", .from = "clean"}};
  config.aggregates = {
      {.name = "sums",
       .sql = "SELECT window_start, num, count(*) AS n FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) GROUP BY ALL"}};
  return config;
}

TEST(Dataflow, KnowsRelationsTablesAndStages) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto flow, PlanDataflow(TestConfig()));
  ASSERT_EQ(flow.relations.size(), 2u);
  EXPECT_EQ(flow.relations[1].name, "clean");
  EXPECT_EQ(flow.relations[1].parent, 0);
  ASSERT_EQ(flow.tables.size(), 4u);
  EXPECT_EQ(flow.tables[kRaw].relation, 0);
  EXPECT_EQ(flow.tables[kCleaned].relation, 1);
  EXPECT_EQ(flow.tables[kSums].kind, TableKind::kAggregate);
  EXPECT_EQ(flow.dead_letters(), kLetters);
  EXPECT_EQ(flow.tables[kLetters].name, "test_dead_letters");
  EXPECT_THAT(flow.StagesOf(kRaw), ElementsAre("decode", "event_time", "table:raw"));
  EXPECT_THAT(flow.StagesOf(kCleaned), ElementsAre("decode", "event_time", "transform:clean", "table:cleaned"));
  EXPECT_THAT(flow.StagesOf(kSums), ElementsAre("decode", "event_time", "transform:clean", "aggregate:sums"));
  EXPECT_EQ(flow.inputs.at(0).event_time_column, 2);
}

TEST(Dataflow, NamesAreTheSameInAnyCase) {
  auto config = TestConfig();
  config.inputs[0].name = "Events";
  config.transforms = {{"second", "SELECT * FROM CLEAN WHERE Clean.num > 0"},
                       {"Clean", "SELECT events.id, CAST(txt AS INTEGER) AS num, ts FROM EVENTS"}};
  config.tables = {{.name = "raw", .from = "eVENTS"}, {.name = "cleaned", .from = "clean"}};
  config.aggregates[0].sql =
      "SELECT window_start, num, count(*) AS n FROM TUMBLE(Second, ts, INTERVAL 1 MINUTE) GROUP BY ALL";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto flow, PlanDataflow(config));
  EXPECT_EQ(flow.relations[flow.tables[kRaw].relation].name, "Events");
  EXPECT_EQ(flow.relations[flow.tables[kCleaned].relation].name, "Clean");
  EXPECT_EQ(flow.relations[flow.tables[kSums].relation].name, "second");
}

TEST(Dataflow, ATableInCodeIsCalledAsItsFolderWhateverThatIs) {
  auto config = TestConfig();
  config.tables[kRaw].name = "pg_type";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto flow, PlanDataflow(config));
  EXPECT_EQ(flow.tables[kRaw].name, "pg_type");
}

TEST(Dataflow, TheWatermarkIsKeptWhereWindowsAreOrInEvents) {
  auto config = TestConfig();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto flow, PlanDataflow(config));
  EXPECT_FALSE(flow.KeepsWatermark(kRaw));
  EXPECT_FALSE(flow.KeepsWatermark(kCleaned));
  EXPECT_TRUE(flow.KeepsWatermark(kSums));
  EXPECT_FALSE(flow.KeepsWatermark(kLetters));
  config.aggregates.clear();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto events, PlanDataflow(config));
  for (int t = 0; t < events.num_data_tables(); ++t) EXPECT_TRUE(events.KeepsWatermark(t)) << events.tables[t].name;
  EXPECT_FALSE(events.KeepsWatermark(events.dead_letters()));
}

TEST(Dataflow, ARouteIsAPatternAColumnAndWhatItStandsFor) {
  auto config = TestConfig();
  config.tables[1] = {.name = "num_{num}", .route = "num", .route_max = 7, .from = "clean"};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto flow, PlanDataflow(config));
  const auto& route = flow.tables[kCleaned].route.value();
  EXPECT_EQ(route.pattern.IndexTable(), "num_routes");
  EXPECT_EQ(route.column, 1);
  EXPECT_EQ(route.max, 7);
  EXPECT_EQ(route.origin, R"(CAST(txt AS INTEGER) WHERE (id >= 0))");
  EXPECT_THAT(route.taken, ElementsAre("num_routes", "raw", "sums", "test_dead_letters", "test_replays"));
  EXPECT_FALSE(flow.tables[kRaw].route.has_value());
  EXPECT_THAT(flow.StagesOf(kCleaned), ElementsAre("decode", "event_time", "transform:clean", "table:num_{num}"));
}

TEST(Dataflow, ARouteOfRowsThatALookupDecidesAboutIsRefused) {
  auto config = TestConfig();
  config.tables[1] = {.name = "num_{ts}", .route = "ts"};
  EXPECT_THAT(PlanDataflow(config).status().message(), HasSubstr("it must be text, whole numbers or booleans"));
  config.tables[1] = {.name = "num_{nun}", .route = "nun", .from = "clean"};
  EXPECT_THAT(PlanDataflow(config).status().message(), HasSubstr("there is no column 'nun'; did you mean 'num'?"));
}

TEST(Dataflow, ValuesOfAGroupAreLimitedByTheConfiguration) {
  auto config = TestConfig();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto usual, PlanDataflow(config));
  EXPECT_EQ(usual.tables[kSums].aggregate->definition.group_values_max, 10'000);
  config.aggregates[0].group_values_max = 7;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto flow, PlanDataflow(config));
  EXPECT_EQ(flow.tables[kSums].aggregate->definition.group_values_max, 7);
}

TEST(Dataflow, DedupeKnowsItsColumnsAndNeedsEventTime) {
  auto config = TestConfig();
  EXPECT_FALSE(PlanDataflow(config).ValueOrDie().inputs.at(0).dedupe.has_value());
  config.inputs[0].dedupe = DedupeConfig{.by = {"txt", "id"}, .within = std::chrono::hours(2)};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto flow, PlanDataflow(config));
  const auto& rule = flow.inputs.at(0).dedupe.value();
  EXPECT_THAT(rule.key_columns, ElementsAre(1, 0));
  EXPECT_EQ(rule.time_column, 2);
  EXPECT_EQ(rule.within, std::chrono::hours(2));
  config.inputs[0].event_time.reset();
  config.aggregates.clear();
  const auto refused = PlanDataflow(config);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, refused.status());
  EXPECT_THAT(refused.status().message(), HasSubstr("there is no event_time"));
}

TEST(Dataflow, TransformsMayBeWrittenInAnyOrder) {
  auto config = TestConfig();
  config.transforms.insert(config.transforms.begin(), {"late", "SELECT id FROM clean WHERE id > 5"});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto flow, PlanDataflow(config));
  EXPECT_EQ(flow.relations[1].name, "clean");
  EXPECT_EQ(flow.relations[2].name, "late");
  EXPECT_EQ(flow.relations[2].parent, 1);
}

TEST(Dataflow, DatesOfPartitionByBecomeColumns) {
  auto config = TestConfig();
  config.tables[0].partition_by = {"date(ts)", "txt"};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto flow, PlanDataflow(config));
  const auto& table = flow.tables[kRaw];
  EXPECT_THAT(table.partition_columns, ElementsAre("ts_date", "txt"));
  EXPECT_THAT(table.derived_dates, ElementsAre("ts"));
  EXPECT_TRUE(table.schema->GetFieldByName("ts_date")->type()->Equals(arrow::date32()));
}

TEST(Dataflow, MetadataColumnsCanBeLeftOut) {
  auto config = TestConfig();
  config.tables[0].metadata = false;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto flow, PlanDataflow(config));
  EXPECT_THAT(flow.tables[kRaw].schema->field_names(), ElementsAre("id", "txt", "ts"));
  EXPECT_THAT(flow.tables[kRaw].columns, ElementsAre(0, 1, 2));
  EXPECT_NE(flow.tables[kCleaned].schema->GetFieldByName("_offset"), nullptr);
}

// What orders the events of an aggregate without windows, as SQL; or what is wrong.
std::string OrderOf(const PipelineConfig& config) {
  const auto flow = PlanDataflow(config);
  if (!flow.ok()) return flow.status().message();
  const auto& plan = *flow->tables[kSums].aggregate;
  return plan.inputs.at(plan.accumulators.at(0).arguments.at(1)).sql;
}

TEST(Dataflow, TheTimeOfEventsIsFoundUnderWhateverNameTransformsGiveIt) {
  auto config = TestConfig();
  config.aggregates[0].sql = "SELECT num, last(id) AS l FROM clean GROUP BY ALL";
  EXPECT_EQ(OrderOf(config), "COALESCE(ts, _timestamp)");
  // Another column may have its name, and another be read from the same field as text.
  config.inputs[0].decode.columns.insert(config.inputs[0].decode.columns.begin(),
                                         {.name = "ts_text", .type = arrow::utf8(), .path = {"ts"}});
  config.transforms[0].sql =
      "SELECT ts_text, id, CAST(txt AS INTEGER) AS num, to_timestamp(id) AS ts, ts AS happened FROM input";
  config.transforms.push_back({"more", "SELECT *, happened + INTERVAL 1 HOUR AS later FROM clean"});
  config.aggregates[0].sql = "SELECT num, last(id) AS l FROM more GROUP BY ALL";
  EXPECT_EQ(OrderOf(config), "COALESCE(happened, _timestamp)");
  config.transforms[0].sql =
      "SELECT ts_text, id, CAST(txt AS INTEGER) AS num, ts + INTERVAL 1 HOUR AS happened FROM input";
  EXPECT_THAT(OrderOf(config), HasSubstr("last() goes by the time of events, and more does not pass event_time.column "
                                         "'ts' on as it is: add it to the SELECT of the transform"));
  config.inputs[0].event_time->column = "_timestamp";
  EXPECT_EQ(OrderOf(config), "_timestamp");
  config.inputs[0].event_time.reset();
  EXPECT_EQ(OrderOf(config), "_timestamp");
}

TEST(Dataflow, WhatDoesNotFitIsNamed) {
  struct Case {
    const char* name;
    std::function<void(PipelineConfig&)> change;
    std::string want;
  };
  const Case cases[] = {
      {"a type that cannot be decoded", [](auto& c) { c.inputs[0].decode.columns[0].type = arrow::uint16(); },
       "decode.columns: column 'id': json has no values of the type uint16"},
      {"table without source", [](auto& c) { c.tables[1].from = "cleam"; },
       "table 'cleaned' reads from 'cleam', which is neither 'input' nor a transform; did you mean 'clean'?"},
      {"aggregate without source",
       [](auto& c) {
         c.aggregates[0].sql =
             "SELECT window_start, count(*) AS n FROM TUMBLE(nowhere, ts, INTERVAL 1 MINUTE) GROUP BY ALL";
       },
       "aggregate 'sums' reads from 'nowhere'"},
      {"retention without windows",
       [](auto& c) {
         c.aggregates[0].sql = "SELECT num, count(*) AS n FROM clean GROUP BY ALL";
         c.aggregates[0].retention = std::chrono::hours(24);
       },
       "aggregate 'sums': retention removes windows that are over, and it has none"},
      {"transforms in a circle",
       [](auto& c) {
         c.transforms.push_back({"a", "SELECT * FROM b"});
         c.transforms.push_back({"b", "SELECT * FROM a"});
       },
       "transform 'a' reads from 'b', which reads from it in turn; transform 'b' reads from 'a'"},
      {"SQL", [](auto& c) { c.transforms[0].sql = "SELECT id,\n nope FROM input"; }, "line 2 column 2 of the SQL"},
      {"date of a string", [](auto& c) { c.tables[0].partition_by = {"date(txt)"}; },
       "table 'raw': partition_by: date(txt) needs a timestamp, and it is string"},
      {"date that is there",
       [](auto& c) { c.inputs[0].decode.columns[0].name = "ts_date", c.tables[0].partition_by = {"date(ts)"}; },
       "table 'raw': partition_by: date(ts) adds the column ts_date, which is there already"},
      {"partition by nothing", [](auto& c) { c.tables[0].partition_by = {"city"}; },
       "table 'raw': partition_by: there is no column 'city'"},
      {"event time without column", [](auto& c) { c.inputs[0].event_time->column = "tss"; },
       "event_time.column: there is no column 'tss' in decode.columns; did you mean 'ts'?"},
      {"event time of a string", [](auto& c) { c.inputs[0].event_time->column = "txt"; },
       "event_time.column: 'txt' is not a timestamp"},
      {"DuckDB's name", [](auto& c) { c.transforms[0].name = c.tables[1].from = "sqlite_master"; },
       "the name 'sqlite_master' is taken by a view of DuckDB's, which SQL would read instead"},
      {"a name twice", [](auto& c) { c.tables[1].name = "RAW"; }, "the name 'RAW' is taken by a table"},
      {"the log within a table", [](auto& c) { c.lake.uri = ".", c.tables[0].name = "log"; },
       "source.embedded.path: the log at log and the table 'log' at ./log are in one folder"},
      {"a column that no table can hold", [](auto& c) { c.transforms[0].sql = "SELECT id AS \"a b\" FROM input"; },
       "table 'cleaned': column 'a b'"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    auto config = TestConfig();
    c.change(config);
    const auto flow = PlanDataflow(config);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, flow.status());
    EXPECT_THAT(flow.status().message(), HasSubstr(c.want));
  }
}

TEST(Dataflow, EverythingThatDoesNotFitIsNamedAtOnce) {
  auto config = TestConfig();
  config.tables[0].partition_by = {"city"};
  config.inputs[0].event_time->column = "txt";
  EXPECT_THAT(PlanDataflow(config).status().message(),
              AllOf(HasSubstr("there is no column 'city'"), HasSubstr("'txt' is not a timestamp")));
}

}  // namespace
}  // namespace millrace::config
