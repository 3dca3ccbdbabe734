// The index of a lookup: every type of key, nulls, keys that are there twice, validity and its edges, memory.
#include "process/lookup_table.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/scalar.h>
#include <gmock/gmock.h>

#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::process {
namespace {

using millrace::testing::BatchFromJson;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const auto kLookupTableMicros = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");

// Rows found for `keys`, whose columns are the key and, if the lookup has validity, the time.
std::vector<int> Find(const LookupTable& table, const arrow::RecordBatch& keys, std::size_t num_keys,
                      bool takes_open = false) {
  std::vector<aggregate::ColumnView> views(num_keys);
  for (std::size_t k = 0; k < num_keys; ++k) {
    EXPECT_TRUE(views[k].Load(keys.column(static_cast<int>(k))).ok());
  }
  aggregate::ColumnView times;
  const bool has_time = keys.num_columns() > static_cast<int>(num_keys);
  EXPECT_TRUE(!has_time || times.Load(keys.column(static_cast<int>(num_keys))).ok());
  std::vector<std::int32_t> found(static_cast<std::size_t>(keys.num_rows()));
  table.Find(views, has_time ? &times : nullptr, takes_open, keys.num_rows(), found.data());
  return {found.begin(), found.end()};
}

TEST(LookupTable, FindsTheRowOfAKeyOfEachType) {
  struct Case {
    std::shared_ptr<arrow::DataType> type;
    std::shared_ptr<arrow::DataType> asked;  // The events' type.
    std::string keys;
    std::string questions;
  };
  const Case cases[] = {
      {arrow::utf8(), arrow::utf8(), R"([["a"], [""], ["a long text of more than sixteen bytes"]])",
       R"([[""], ["a long text of more than sixteen bytes"], ["a"], ["b"], ["a long text of more than sixteen byteS"]])"},
      {arrow::int32(), arrow::int64(), "[[7], [0], [-1]]", "[[0], [-1], [7], [8], [4294967303]]"},
      {arrow::decimal128(20, 2), arrow::decimal128(30, 2), R"([["1.50"], ["0.00"], ["-123456789012345678.01"]])",
       R"([["0.00"], ["-123456789012345678.01"], ["1.50"], ["1.51"], ["123456789012345678.01"]])"},
      {arrow::date32(), arrow::date32(), "[[1], [0], [-5]]", "[[0], [-5], [1], [2], [5]]"},
      {kLookupTableMicros, kLookupTableMicros, "[[1], [0], [-5]]", "[[0], [-5], [1], [2], [5]]"},
      {arrow::binary(), arrow::binary(), R"([["x"], [""], ["12345678"]])",
       R"([[""], ["12345678"], ["x"], ["y"], ["1234567"]])"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.type->ToString());
    const auto schema = arrow::schema({arrow::field("k", c.type)});
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table,
                                  LookupTable::Make({"l", schema, {0}}, "1", BatchFromJson(schema, c.keys)));
    const auto asked = BatchFromJson(arrow::schema({arrow::field("k", c.asked)}), c.questions);
    EXPECT_THAT(Find(*table, *asked, 1), ElementsAre(1, 2, 0, -1, -1));
  }
}

TEST(LookupTable, AKeyOfSeveralColumnsMatchesInAllOfThem) {
  const auto schema = arrow::schema({arrow::field("a", arrow::utf8()), arrow::field("b", arrow::int64())});
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto table,
      LookupTable::Make({"l", schema, {1, 0}}, "1", BatchFromJson(schema, R"([["x", 1], ["x", 2], ["y", 1]])")));
  const auto asked = BatchFromJson(arrow::schema({arrow::field("b", arrow::int64()), arrow::field("a", arrow::utf8())}),
                                   R"([[2, "x"], [1, "y"], [2, "y"], [1, "x"]])");
  EXPECT_THAT(Find(*table, *asked, 2), ElementsAre(1, 2, -1, 0));
}

TEST(LookupTable, NullsFindNothingAndAreNotFound) {
  const auto schema = arrow::schema({arrow::field("a", arrow::utf8()), arrow::field("b", arrow::int64())});
  const auto rows = BatchFromJson(schema, R"([[null, 1], ["x", null], ["x", 1], [null, 1], [null, null]])");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, LookupTable::Make({"l", schema, {0, 1}}, "1", rows));
  EXPECT_THAT(Find(*table, *rows, 2), ElementsAre(-1, -1, 2, -1, -1));
}

TEST(LookupTable, AnEmptyOneFindsNothing) {
  const auto schema = arrow::schema({arrow::field("a", arrow::utf8())});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table,
                                LookupTable::Make({"l", schema, {0}}, "1", BatchFromJson(schema, "[]")));
  EXPECT_THAT(Find(*table, *BatchFromJson(schema, R"([["x"], [null]])"), 1), ElementsAre(-1, -1));
}

TEST(LookupTable, AKeyThatIsThereTwiceIsRefusedByName) {
  const auto schema = arrow::schema({arrow::field("id", arrow::utf8()), arrow::field("n", arrow::int64())});
  const auto made =
      LookupTable::Make({"devices", schema, {0, 1}}, "1", BatchFromJson(schema, R"([["a", 1], ["b", 2], ["a", 1]])"));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, made);
  EXPECT_EQ(made.status().message(), "lookup devices: two rows have the key id = a, n = 1");
}

std::shared_ptr<arrow::Schema> WithValidity() {
  return arrow::schema({arrow::field("id", arrow::utf8()), arrow::field("from", kLookupTableMicros),
                        arrow::field("to", kLookupTableMicros)});
}

TEST(LookupTable, ValidityIncludesItsBeginAndNotItsEnd) {
  const LookupShape shape{"l", WithValidity(), {0}, 1, 2};
  // Touching intervals, a gap, one that is never valid, one without an end; not in their order.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, LookupTable::Make(shape, "1", BatchFromJson(shape.schema, R"([
        ["a", 30, null], ["b", 10, 20], ["a", 10, 20], ["a", 20, 25], ["a", 12, 12], ["a", null, 5], [null, 1, 2]])")));
  const auto asked =
      BatchFromJson(arrow::schema({arrow::field("id", arrow::utf8()), arrow::field("ts", kLookupTableMicros)}), R"([
      ["a", 9], ["a", 10], ["a", 19], ["a", 20], ["a", 24], ["a", 25], ["a", 30], ["a", 99], ["b", 15], ["b", 20],
      ["c", 15], ["a", null], [null, 1]])");
  const auto from = [&](bool takes_open) {
    std::vector<std::string> begins;
    for (const int row : Find(*table, *asked, 1, takes_open)) {
      begins.push_back(
          row < 0
              ? "-"
              : table->rows()->column(0)->GetScalar(row).ValueOrDie()->ToString() +
                    std::to_string(static_cast<const arrow::TimestampArray&>(*table->rows()->column(1)).Value(row)));
    }
    return begins;
  };
  EXPECT_THAT(from(false), ElementsAre("-", "a10", "a10", "a20", "a20", "-", "-", "-", "b10", "-", "-", "-", "-"));
  EXPECT_THAT(from(true), ElementsAre("-", "a10", "a10", "a20", "a20", "-", "a30", "a30", "b10", "-", "-", "-", "-"));
}

TEST(LookupTable, WithoutAnEndARowIsValidUntilTheNextOfItsKey) {
  const LookupShape shape{"l", WithValidity(), {0}, 1, -1};
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto table,
      LookupTable::Make(shape, "1",
                        BatchFromJson(shape.schema, R"([["a", 20, null], ["a", 10, null], ["b", 5, null]])")));
  const auto asked =
      BatchFromJson(arrow::schema({arrow::field("id", arrow::utf8()), arrow::field("ts", kLookupTableMicros)}),
                    R"([["a", 9], ["a", 10], ["a", 19], ["a", 20], ["b", 99]])");
  std::vector<std::int64_t> begins;
  for (const int row : Find(*table, *asked, 1)) {
    begins.push_back(row < 0 ? -1 : static_cast<const arrow::TimestampArray&>(*table->rows()->column(1)).Value(row));
  }
  EXPECT_THAT(begins, ElementsAre(-1, 10, 10, 20, 5));
}

TEST(LookupTable, RowsThatAreValidAtOneTimeAreRefused) {
  struct Case {
    int valid_to;
    std::string rows;
  };
  const Case cases[] = {
      {2, R"([["a", 10, 21], ["b", 1, 99], ["a", 20, 25]])"},
      {2, R"([["a", 10, null], ["a", 20, 25]])"},  // The first has no end.
      {2, R"([["a", 10, 20], ["a", 10, 20]])"},
      {-1, R"([["a", 10, null], ["a", 10, null]])"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.rows);
    const LookupShape shape{"l", WithValidity(), {0}, 1, c.valid_to};
    const auto made = LookupTable::Make(shape, "1", BatchFromJson(shape.schema, c.rows));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, made);
    EXPECT_THAT(made.status().message(), HasSubstr("two rows of the key id = a are valid at 1970-01-01"));
  }
}

TEST(LookupTable, AShapeThatCannotBeAnIndexIsRefused) {
  const auto schema = arrow::schema({arrow::field("d", arrow::float64()), arrow::field("id", arrow::utf8()),
                                     arrow::field("ID", arrow::utf8()), arrow::field("ts", kLookupTableMicros)});
  const auto narrow = arrow::schema({schema->field(0), schema->field(1), schema->field(3)});
  EXPECT_THAT(CheckLookupShape({"l", narrow, {0}}).message(), HasSubstr("the key column d is double"));
  EXPECT_THAT(CheckLookupShape({"l", narrow, {1}, 0}).message(), HasSubstr("the validity d is double"));
  EXPECT_THAT(CheckLookupShape({"l", schema, {1}}).message(), HasSubstr("two columns are named ID"));
  MILLRACE_ASSERT_OK(CheckLookupShape({"l", narrow, {1}, 2}));
}

TEST(LookupTable, AMillionRowsTakeAtMost200Megabytes) {
  constexpr int kRows = 1'000'000;
  arrow::StringBuilder id;
  arrow::StringBuilder site;
  arrow::DoubleBuilder limit;
  for (int i = 0; i < kRows; ++i) {
    ASSERT_TRUE(id.Append(fmt::format("device-{:012}", i)).ok());
    ASSERT_TRUE(site.Append(fmt::format("site-{}", i % 1000)).ok());
    ASSERT_TRUE(limit.Append(i).ok());
  }
  const auto schema = arrow::schema({arrow::field("id", arrow::utf8()), arrow::field("site", arrow::utf8()),
                                     arrow::field("limit", arrow::float64())});
  const auto rows = arrow::RecordBatch::Make(
      schema, kRows, {id.Finish().ValueOrDie(), site.Finish().ValueOrDie(), limit.Finish().ValueOrDie()});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, LookupTable::Make({"l", schema, {0}}, "1", rows));
  EXPECT_LE(table->bytes(), 200'000'000);
  EXPECT_THAT(Find(*table, *rows->SelectColumns({0}).ValueOrDie()->Slice(kRows - 3), 1),
              ElementsAre(kRows - 3, kRows - 2, kRows - 1));
}

}  // namespace
}  // namespace millrace::process
