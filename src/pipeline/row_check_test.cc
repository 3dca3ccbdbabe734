// Each kind of row that a table cannot take is found, with its reason and its column; all others pass.
#include "pipeline/row_check.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "delta/data/data_file.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::millrace::testing::BatchFromJson;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const auto kUtc = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");

config::TablePlan PlanOf(std::shared_ptr<arrow::Schema> schema, std::vector<std::string> partition_columns = {}) {
  config::TablePlan plan;
  plan.name = "t";
  plan.schema = std::move(schema);
  plan.partition_columns = std::move(partition_columns);
  return plan;
}

std::shared_ptr<arrow::RecordBatch> OneColumn(const std::string& name, const std::shared_ptr<arrow::Array>& values) {
  return arrow::RecordBatch::Make(arrow::schema({arrow::field(name, values->type())}), values->length(), {values});
}

template <typename Builder, typename Value>
std::shared_ptr<arrow::Array> ArrayOf(const std::vector<std::optional<Value>>& values, Builder builder = Builder()) {
  for (const auto& value : values) EXPECT_TRUE((value ? builder.Append(*value) : builder.AppendNull()).ok());
  return *builder.Finish();
}

/// "row reason" of each.
std::vector<std::string> Found(const RowCheck& check, const arrow::RecordBatch& rows) {
  std::vector<std::string> found;
  for (const auto& refused : check.Find(rows)) {
    found.push_back(fmt::format("{} {}", refused.row, refused.reason));
    EXPECT_THAT(refused.message, ::testing::StartsWith("'")) << "a column is named";
  }
  return found;
}

TEST(RowCheck, NullsAreFoundWhereTheTableInTheLakeHasNotNull) {
  const auto schema = arrow::schema({arrow::field("a", arrow::int64()), arrow::field("b", arrow::utf8())});
  const auto plan = PlanOf(schema);
  RowCheck check(plan);
  const auto rows = BatchFromJson(schema, R"([[1, "x"], [null, "x"], [1, null], [null, null]])");
  EXPECT_THAT(Found(check, *rows), IsEmpty()) << "nothing is known of the lake";
  check.SetTableSchema(*schema);
  EXPECT_THAT(Found(check, *rows), IsEmpty());
  check.SetTableSchema(*arrow::schema({arrow::field("more", arrow::int64(), false),
                                       arrow::field("b", arrow::utf8(), false), arrow::field("a", arrow::int64())}));
  EXPECT_THAT(Found(check, *rows), ElementsAre("2 null_value", "3 null_value"));
  EXPECT_THAT(check.Find(*rows)[0].message, HasSubstr("'b' is null"));
  EXPECT_THAT(Found(check, *rows->Slice(2)), ElementsAre("0 null_value", "1 null_value"));
  check.SetTableSchema(
      *arrow::schema({arrow::field("a", arrow::int64(), false), arrow::field("b", arrow::utf8(), false)}));
  EXPECT_THAT(Found(check, *rows), ElementsAre("1 null_value", "2 null_value", "3 null_value")) << "a row once";
}

TEST(RowCheck, NullsWithinNestedColumnsToo) {
  const auto nested = [](bool nullable) {
    const auto member = arrow::field("m", arrow::int64(), nullable);
    return arrow::schema({arrow::field("s", arrow::struct_({member, arrow::field("o", arrow::int64())})),
                          arrow::field("l", arrow::list(arrow::field("element", arrow::struct_({member}))))});
  };
  const auto schema = nested(true);
  const auto plan = PlanOf(schema);
  RowCheck check(plan);
  check.SetTableSchema(*nested(false));
  const auto rows = BatchFromJson(schema, R"([
    [{"m": 1, "o": null}, [{"m": 1}, null]], [{"m": null, "o": 1}, []], [null, null], [{"m": 1, "o": 1}, [{"m": 1}, {"m": null}]]
  ])");
  EXPECT_THAT(Found(check, *rows), ElementsAre("1 null_value", "3 null_value"));
  EXPECT_THAT(Found(check, *rows->Slice(1, 2)), ElementsAre("0 null_value"));
  EXPECT_THAT(check.Find(*rows)[1].message, HasSubstr("'l' has a null"));
}

TEST(RowCheck, NanAndInfinityOnlyInAPartitionColumn) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const auto doubles = ArrayOf<arrow::DoubleBuilder, double>({1.5, NAN, std::nullopt, kInfinity, -kInfinity, 1e308});
  const auto floats = ArrayOf<arrow::FloatBuilder, float>({1.5F, NAN, std::nullopt, INFINITY, -INFINITY, 3e38F});
  for (const auto& values : {doubles, floats}) {
    const auto rows = OneColumn("ratio", values);
    const auto plan = PlanOf(rows->schema());
    EXPECT_THAT(Found(RowCheck(plan), *rows), IsEmpty());
    const auto partitioned = PlanOf(rows->schema(), {"ratio"});
    EXPECT_THAT(Found(RowCheck(partitioned), *rows),
                ElementsAre("1 partition_value", "3 partition_value", "4 partition_value"));
  }
}

TEST(RowCheck, ATextThatAFolderCannotBeNamedAfter) {
  // "p=" and 253 bytes are 255; an escaped byte takes three; UTF-8 counts by bytes.
  std::string umlauts;
  for (int i = 0; i < 127; ++i) umlauts += "ä";
  const std::vector<std::optional<std::string>> texts = {std::string(253, 'x'),
                                                         std::string(254, 'x'),
                                                         "",
                                                         std::nullopt,
                                                         std::string(84, ':') + "x",
                                                         std::string(84, '/') + "xx",
                                                         umlauts.substr(0, 2 * 126),
                                                         umlauts,
                                                         std::string(1 << 20, 'x')};
  const auto array = ArrayOf<arrow::StringBuilder, std::string>(texts);
  const auto rows = OneColumn("p", array);
  const auto partitioned = PlanOf(rows->schema(), {"p"});
  EXPECT_THAT(Found(RowCheck(partitioned), *rows),
              ElementsAre("1 partition_value", "5 partition_value", "7 partition_value", "8 partition_value"));
  const auto plan = PlanOf(rows->schema());
  EXPECT_THAT(Found(RowCheck(plan), *rows), IsEmpty());

  arrow::StringDictionary32Builder encoded;
  for (const auto& text : texts) EXPECT_TRUE((text ? encoded.Append(*text) : encoded.AppendNull()).ok());
  const auto dictionary_rows = OneColumn("p", *encoded.Finish());
  const auto dictionary_plan = PlanOf(dictionary_rows->schema(), {"p"});
  EXPECT_THAT(Found(RowCheck(dictionary_plan), *dictionary_rows),
              ElementsAre("1 partition_value", "5 partition_value", "7 partition_value", "8 partition_value"));
}

TEST(RowCheck, TimesOutsideTheYears0001To9999) {
  constexpr std::int64_t kFirst = -62'135'596'800'000'000;
  constexpr std::int64_t kLast = 253'402'300'799'999'999;
  const auto times = ArrayOf<arrow::TimestampBuilder, std::int64_t>(
      {kFirst, kFirst - 1, kLast, kLast + 1, std::nullopt, INT64_MAX, INT64_MIN},
      arrow::TimestampBuilder(kUtc, arrow::default_memory_pool()));
  const auto time_rows = OneColumn("ts", times);
  const auto time_plan = PlanOf(time_rows->schema());
  EXPECT_THAT(Found(RowCheck(time_plan), *time_rows),
              ElementsAre("1 out_of_range", "3 out_of_range", "5 out_of_range", "6 out_of_range"));

  const auto days =
      ArrayOf<arrow::Date32Builder, std::int32_t>({-719'162, -719'163, 2'932'896, 2'932'897, std::nullopt});
  const auto day_rows = OneColumn("d", days);
  const auto day_plan = PlanOf(day_rows->schema(), {"d"});
  EXPECT_THAT(Found(RowCheck(day_plan), *day_rows), ElementsAre("1 out_of_range", "3 out_of_range"));
}

// What passes the check must have a spelling in the log: the partition's value is made of it.
TEST(RowCheck, WhatPassesCanBeSplit) {
  const auto rows =
      BatchFromJson(arrow::schema({arrow::field("d", arrow::date32()), arrow::field("x", arrow::float64()),
                                   arrow::field("n", arrow::int8())}),
                    R"([[-719162, 1e308, 1], [2932896, -0.0, null], [null, null, -128]])");
  const auto plan = PlanOf(rows->schema(), {"d", "x"});
  ASSERT_THAT(Found(RowCheck(plan), *rows), IsEmpty());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto parts, delta::SplitByPartition(rows, {"d", "x"}));
  EXPECT_EQ(parts.size(), 3u);
}

}  // namespace
}  // namespace millrace::pipeline
