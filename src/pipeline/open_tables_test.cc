// Tables are made only when everything fits; what does not is named, and nothing is changed.
#include "pipeline/open_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/uuid.h"
#include "delta/schema_change.h"
#include "model/dead_letters.h"
#include "pipeline/aggregate_meaning.h"
#include "pipeline/test_pipeline_internal.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class OpenTablesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("millrace_open_" + RandomUuid());
    MILLRACE_ASSERT_OK_AND_ASSIGN(lake_, objectstore::OpenStore(folder_.string()));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Result<std::vector<OpenTable>> Open(const config::PipelineConfig& config) {
    ASSIGN_OR_RETURN(plan_, MakePlan(config));
    return OpenTables(*plan_, lake_);
  }
  bool IsThere(const std::string& table) const { return std::filesystem::exists(folder_ / table / "_delta_log"); }
  std::map<std::string, delta::TableVersion> Versions() const {
    std::map<std::string, delta::TableVersion> versions;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      const auto table = delta::Table::Open(objectstore::Below(lake_, entry.path().filename()));
      if (table.ok()) versions[entry.path().filename()] = (*table)->snapshot()->version;
    }
    return versions;
  }

  std::filesystem::path folder_;
  std::shared_ptr<objectstore::ObjectStore> lake_;
  std::shared_ptr<const Plan> plan_;
};

TEST_F(OpenTablesTest, AllAreMadeAndOpenedAgain) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto made, Open(TestConfig()));
  ASSERT_EQ(made.size(), 4u);
  EXPECT_EQ(made[kSums].table->snapshot()->metadata.configuration.count(kAggregateProperty), 1u);
  EXPECT_EQ(made[kRaw].progress.AppId(kSource), "test-events-0");
  const auto versions = Versions();
  EXPECT_EQ(versions.size(), 4u);
  MILLRACE_ASSERT_OK(Open(TestConfig()).status());
  EXPECT_EQ(Versions(), versions);
}

TEST_F(OpenTablesTest, OneThatDoesNotFitLeavesTheOthersUnmade) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto other, delta::Table::OpenOrCreate(objectstore::Below(lake_, "cleaned"),
                                                   {.schema = arrow::schema({arrow::field("id", arrow::utf8())})}));
  const auto opened = Open(TestConfig());
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, opened.status());
  EXPECT_THAT(opened.status().message(),
              AllOf(HasSubstr("table cleaned"), HasSubstr("column 'id' is string in the lake, but int64")));
  EXPECT_FALSE(IsThere("raw"));
  EXPECT_FALSE(IsThere("sums"));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, CheckTables(*plan_, lake_));
}

TEST_F(OpenTablesTest, ATableOfANewerFormatIsRefusedByName) {
  for (const int t : {kRaw, kSums}) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto made, Open(TestConfig()));
    const auto& table = made[t].table;
    MILLRACE_ASSERT_OK(delta::SetProperty(*table, kFormatProperty, kTableFormat));
    MILLRACE_ASSERT_OK(Open(TestConfig()).status());
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto again, Open(TestConfig()));
    MILLRACE_ASSERT_OK(delta::SetProperty(*again[t].table, kFormatProperty, "2"));
    const auto versions = Versions();
    for (const Status& refused :
         {Open(TestConfig()).status(), CheckTables(*plan_, lake_), OpenTablesToRead(*plan_, lake_).status()}) {
      MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, refused);
      EXPECT_THAT(refused.message(), AllOf(HasSubstr("table " + plan_->tables[t].name), HasSubstr("format 2")));
    }
    EXPECT_EQ(Versions(), versions);
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
}

TEST_F(OpenTablesTest, DeadLettersOfOlderVersionsGetTheColumnThatTheyLack) {
  for (const auto& [missing, is_good] : {std::pair("index", true), {"reason", false}}) {
    auto fields = model::DeadLetterSchema()->fields();
    std::erase_if(fields, [missing = missing](const auto& field) { return field->name() == missing; });
    std::filesystem::remove_all(folder_ / "test_dead_letters");
    MILLRACE_ASSERT_OK(delta::Table::OpenOrCreate(objectstore::Below(lake_, "test_dead_letters"),
                                                  {.schema = arrow::schema(std::move(fields))})
                           .status());
    const auto opened = Open(TestConfig());
    if (is_good) {
      MILLRACE_ASSERT_OK(opened.status());
      EXPECT_NE(opened->back().table->snapshot()->schema->GetFieldByName(missing), nullptr);
    } else {
      MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, opened);
      EXPECT_THAT(opened.status().message(), HasSubstr("has no column 'reason'; it is not a table of ours"));
    }
  }
}

TEST_F(OpenTablesTest, AnAggregateEditedUnderItsNameIsRefusedAndNothingChanges) {
  MILLRACE_ASSERT_OK(Open(TestConfig()).status());
  const auto versions = Versions();
  for (const char* sql :
       {"SELECT window_start, num, count(*) AS n, sum(id) AS total FROM TUMBLE(clean, ts, INTERVAL 5 MINUTE) GROUP BY "
        "ALL",
        "SELECT window_start, num, count(*) AS n, sum(id * 100) AS total FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) "
        "GROUP "
        "BY ALL",
        "SELECT window_start, num, count(*) AS n, sum(id) AS total FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) WHERE id "
        "> "
        "1 GROUP BY ALL",
        "SELECT window_start, num, count(*) AS n, sum(id) AS total, max(id) AS m FROM TUMBLE(clean, ts, INTERVAL 1 "
        "MINUTE) GROUP BY ALL"}) {
    SCOPED_TRACE(sql);
    auto config = TestConfig();
    config.aggregates[0].sql = sql;
    config.tables.push_back({.name = "added"});
    const auto opened = Open(config);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, opened.status());
    EXPECT_THAT(opened.status().message(),
                AllOf(HasSubstr("table sums: the rows in the lake were made by another definition"),
                      HasSubstr("Give the aggregate a new name"), HasSubstr("/sums away")));
    EXPECT_EQ(Versions(), versions);
  }
  // The advice works.
  auto config = TestConfig();
  config.aggregates[0].name = "sums_5m";
  config.aggregates[0].sql =
      "SELECT window_start, num, count(*) AS n FROM TUMBLE(clean, ts, INTERVAL 5 MINUTE) GROUP BY ALL";
  MILLRACE_ASSERT_OK(Open(config).status());
}

// Before there was an event time, or while the log's decided, rows have kept another first and last.
TEST_F(OpenTablesTest, AnotherOrderOfEventsIsAnotherAggregate) {
  auto config = TestConfig();
  config.aggregates[0].sql = "SELECT num, count(*) AS n, last(id) AS newest FROM clean GROUP BY ALL";
  auto by_log = config;
  by_log.inputs[0].event_time.reset();
  MILLRACE_ASSERT_OK(Open(by_log).status());
  const auto versions = Versions();
  const auto opened = Open(config);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, opened.status());
  EXPECT_THAT(
      opened.status().message(),
      AllOf(HasSubstr("table sums: the rows in the lake were made by another definition: state newest"),
            HasSubstr("it is 'last(id, _timestamp, _topic, "),
            HasSubstr("'last(id, COALESCE(ts, _timestamp), _topic, "), HasSubstr("Give the aggregate a new name")));
  EXPECT_EQ(Versions(), versions);
  // In windows their own time decides, and nothing has changed.
  config.aggregates[0] = {.name = "windows",
                          .sql =
                              "SELECT window_start, last(id) AS newest FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) "
                              "GROUP BY ALL"};
  by_log.aggregates = config.aggregates;
  MILLRACE_ASSERT_OK(Open(by_log).status());
  MILLRACE_ASSERT_OK(Open(config).status());
}

TEST_F(OpenTablesTest, AnotherWordingIsAccepted) {
  MILLRACE_ASSERT_OK(Open(TestConfig()).status());
  auto config = TestConfig();
  config.transforms[0].name = "renamed";
  config.tables[1].from = "renamed";
  config.aggregates[0].sql =
      "select window_start, num, sum(id) as total, count(*) as n from tumble(renamed, ts, interval '60 seconds') group "
      "by "
      "all";
  MILLRACE_ASSERT_OK(Open(config).status());
}

TEST_F(OpenTablesTest, WhatFeedsAnAggregateMayBeNamedAndCutAnew) {
  MILLRACE_ASSERT_OK(Open(TestConfig()).status());
  auto config = TestConfig();
  config.transforms[0].name = config.tables[1].from = "other";
  config.transforms[0].sql = "SELECT id, CAST(txt AS INTEGER) AS num, ts FROM positive";
  config.transforms.push_back({"positive", "SELECT * FROM input WHERE ID >= 0"});
  config.aggregates[0].sql =
      "SELECT window_start, num, count(*) AS n, sum(id) AS total FROM TUMBLE(other, ts, INTERVAL 1 MINUTE) GROUP BY "
      "ALL";
  MILLRACE_ASSERT_OK(Open(config).status());
  const auto versions = Versions();
  EXPECT_EQ(versions.at("sums"), 1) << "it knows the new name";
  // What an aggregate does not take may be edited without a word.
  config.transforms[0].sql = "SELECT id, CAST(txt AS INTEGER) AS num, ts, txt || '!' AS more FROM positive";
  config.tables.pop_back();
  MILLRACE_ASSERT_OK(Open(config).status());
  EXPECT_EQ(Versions(), versions);
  // A column is the field that it reads.
  config = TestConfig();
  config.inputs[0].decode.columns[0].name = "number";
  config.tables.clear();
  config.transforms[0] = {"other", "SELECT number AS id, CAST(txt AS INTEGER) AS num, ts FROM input WHERE number >= 0"};
  config.aggregates[0].sql =
      "SELECT window_start, num, count(*) AS n, sum(id) AS total FROM TUMBLE(other, ts, INTERVAL 1 MINUTE) GROUP BY "
      "ALL";
  MILLRACE_ASSERT_OK(Open(config).status());
  EXPECT_EQ(Versions(), versions);
}

TEST_F(OpenTablesTest, AnAggregateOfAnotherRelationIsRefusedUnlessItsRowsAreTheSame) {
  MILLRACE_ASSERT_OK(Open(TestConfig()).status());
  const auto versions = Versions();
  auto config = TestConfig();
  config.transforms.push_back({"more", "SELECT id * 2 AS id, num, ts FROM clean"});
  config.aggregates[0].sql =
      "SELECT window_start, num, count(*) AS n, sum(id) AS total FROM TUMBLE(more, ts, INTERVAL 1 MINUTE) GROUP BY ALL";
  const auto opened = Open(config);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, opened.status());
  EXPECT_THAT(opened.status().message(),
              AllOf(HasSubstr("table sums: the rows in the lake were made by another definition"),
                    HasSubstr("from: it is 'clean' in the table, 'more' in the pipeline"),
                    HasSubstr("state total: it is 'sum(\"id\") decimal128(38, 0)' in the table, 'sum((id * 2)) ")));
  EXPECT_EQ(Versions(), versions);
  config.transforms[1].sql = "SELECT id, num, ts FROM clean";
  MILLRACE_ASSERT_OK(Open(config).status());
}

// What a transform makes of events may be mended at any time; the table says what its rows mean from then on.
TEST_F(OpenTablesTest, AnEditOfWhatFeedsAnAggregateIsKeptWithTheTable) {
  MILLRACE_ASSERT_OK(Open(TestConfig()).status());
  const auto source = [&](const config::PipelineConfig& config) {
    const auto opened = Open(config).ValueOrDie();
    return opened[kSums].table->snapshot()->metadata.configuration.at(kAggregateSourceProperty);
  };
  auto config = TestConfig();
  config.transforms[0].sql = "SELECT id, TRY_CAST(txt AS INTEGER) AS num, ts FROM input WHERE id >= 1";
  EXPECT_THAT(source(config), AllOf(HasSubstr("TRY_CAST"), HasSubstr("(id >= 1)")));
  config.inputs[0].decode.columns[0].path = {"other", "id"};
  config.inputs[0].decode.columns[2].form = ingest::TimestampForm::kMillis;
  EXPECT_THAT(source(config), AllOf(HasSubstr("other/id"), HasSubstr("ts in ms")));
}

TEST_F(OpenTablesTest, ATableOfBeforeIsComparedByWhatItHas) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(plan_, MakePlan(TestConfig()));
  const auto& sums = plan_->tables[kSums];
  const auto properties = ToProperties(MeaningOf(*sums.aggregate, sums.origin));
  MILLRACE_ASSERT_OK(
      delta::Table::OpenOrCreate(
          objectstore::Below(lake_, "sums"),
          {.schema = sums.schema, .configuration = {{kAggregateProperty, properties.at(kAggregateProperty)}}})
          .status());
  auto edited = TestConfig();
  edited.aggregates[0].sql =
      "SELECT window_start, num, count(*) AS n, sum(id) AS total FROM TUMBLE(clean, ts, INTERVAL 5 MINUTE) GROUP BY "
      "ALL";
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, Open(edited).status());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto opened, Open(TestConfig()));
  EXPECT_EQ(opened[kSums].table->snapshot()->metadata.configuration, properties);
}

TEST_F(OpenTablesTest, AnAggregateOfBeforeKeepsItsMeaningFromThenOn) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(plan_, MakePlan(TestConfig()));
  MILLRACE_ASSERT_OK(
      delta::Table::OpenOrCreate(objectstore::Below(lake_, "sums"), {.schema = plan_->tables[kSums].schema}).status());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto opened, Open(TestConfig()));
  EXPECT_EQ(opened[kSums].table->snapshot()->metadata.configuration.count(kAggregateProperty), 1u);
  EXPECT_EQ(opened[kSums].table->snapshot()->version, 2) << "a commit for each property";
}

TEST_F(OpenTablesTest, PropertiesOfOthersOutliveOurs) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto opened, Open(TestConfig()));
  auto& table = *opened[kRaw].table;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto other, delta::Table::Open(table.store()));
  MILLRACE_ASSERT_OK(delta::SetProperty(*other, "theirs", "1"));
  MILLRACE_ASSERT_OK(delta::SetProperty(table, "ours", "2"));
  MILLRACE_ASSERT_OK(delta::SetProperty(table, "ours", "2"));
  EXPECT_EQ(table.snapshot()->metadata.configuration,
            (std::map<std::string, std::string>{{"ours", "2"}, {"theirs", "1"}}));
  EXPECT_EQ(table.snapshot()->version, 2) << "what is there already makes no commit";
}

}  // namespace
}  // namespace millrace::pipeline
