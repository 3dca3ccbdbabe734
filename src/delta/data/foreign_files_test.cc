// Data files as only other writers make them, with Parquet types and names that are not exactly the table's. What is
// read must be what they hold, and optimize must write just that. spark_test.py shows Spark the same files.
#include <arrow/array.h>
#include <arrow/compute/api.h>
#include <arrow/io/memory.h>
#include <arrow/table.h>
#include <gtest/gtest.h>
#include <parquet/arrow/writer.h>

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "base/uuid.h"
#include "delta/data/scan.h"
#include "delta/upkeep/compaction.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::delta {
namespace {

namespace fs = std::filesystem;
using arrow::field;
using testing::BatchFromJson;

class ForeignFiles : public ::testing::Test {
 protected:
  void SetUp() override { folder_ = fs::temp_directory_path() / ("delta-foreign-" + RandomUuid()); }
  void TearDown() override { fs::remove_all(folder_); }

  // A new, empty table.
  void Create(const std::shared_ptr<arrow::Schema>& schema, const std::vector<std::string>& partition_by = {}) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(store_, objectstore::OpenStore((folder_ / std::to_string(num_tables_++)).string()));
    MILLRACE_ASSERT_OK_AND_ASSIGN(table_,
                                  Table::OpenOrCreate(store_, {.schema = schema, .partition_columns = partition_by}));
  }
  // A commit of one file with these rows, written by Arrow and not by us.
  void Add(const std::shared_ptr<arrow::Schema>& schema, const std::string& rows, PartitionValues values = {},
           std::optional<std::string> stats = std::nullopt) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, arrow::Table::FromRecordBatches({BatchFromJson(schema, rows)}));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto out, arrow::io::BufferOutputStream::Create());
    MILLRACE_ASSERT_OK(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), out));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto bytes, out->Finish());
    const std::string key = RandomUuid() + ".parquet";
    MILLRACE_ASSERT_OK(store_->Put(key, std::string_view(*bytes)));
    MILLRACE_ASSERT_OK(table_->Commit(
        {.adds = {
             {.path = key, .partition_values = std::move(values), .size = bytes->size(), .stats = std::move(stats)}}}));
  }
  // In the order of `column`, which is a long.
  Result<std::shared_ptr<arrow::RecordBatch>> Read(const std::string& column, const ScanOptions& options = {}) {
    ARROW_ASSIGN_OR_RAISE(const auto reader, OpenScan(store_, table_->snapshot(), options));
    ARROW_ASSIGN_OR_RAISE(const auto table, reader->ToTable());
    ARROW_ASSIGN_OR_RAISE(const auto rows, table->CombineChunksToBatch());
    const auto& keys = static_cast<const arrow::Int64Array&>(*rows->GetColumnByName(column));
    std::vector<std::int64_t> order(static_cast<std::size_t>(rows->num_rows()));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return keys.Value(a) < keys.Value(b); });
    const auto indices = std::make_shared<arrow::Int64Array>(std::ssize(order), arrow::Buffer::Wrap(order));
    ARROW_ASSIGN_OR_RAISE(const auto sorted, arrow::compute::Take(rows, indices));
    return sorted.record_batch();
  }
  // These rows, now and after optimize, which leaves one file for each partition.
  void ExpectRows(const std::string& column, const std::string& rows) {
    const auto want = BatchFromJson(table_->snapshot()->schema, rows);
    for (const char* when : {"as written", "optimized"}) {
      SCOPED_TRACE(when);
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto found, Read(column));
      MILLRACE_ASSERT_OK(found->ValidateFull());
      EXPECT_TRUE(found->Equals(*want)) << found->ToString();
      MILLRACE_ASSERT_OK(Compact(*table_));
    }
  }

  fs::path folder_;
  int num_tables_ = 0;
  std::shared_ptr<objectstore::ObjectStore> store_;
  std::shared_ptr<Table> table_;
};

TEST_F(ForeignFiles, MapsWhoseTypeIsNotExactlyTheTables) {
  const auto id = field("id", arrow::int64());
  const auto value = [](std::shared_ptr<arrow::DataType> type, bool nullable = true) {
    return field("value", std::move(type), nullable);
  };
  const auto map = arrow::map(arrow::utf8(), arrow::int64());
  const std::vector<std::shared_ptr<arrow::DataType>> types = {
      map,
      std::make_shared<arrow::MapType>(field("key", arrow::utf8(), false), value(arrow::int64(), false)),
      std::make_shared<arrow::MapType>(field("key", arrow::utf8(), false), value(arrow::int32())),
      std::make_shared<arrow::MapType>(field("key", arrow::large_utf8(), false), value(arrow::int64())),
      std::make_shared<arrow::MapType>(field("k", arrow::large_utf8(), false), field("v", arrow::int16(), false)),
  };
  for (const auto& type : types) {
    SCOPED_TRACE(type->ToString());
    const std::string two = R"([[1, [["a", 1], ["b", 2]]], [2, null], [3, []]])";
    Create(arrow::schema({id, field("m", map)}));
    Add(arrow::schema({id, field("m", type)}), two);
    Add(arrow::schema({id, field("m", map)}), R"([[4, [["c", 3]]]])");
    ExpectRows("id", R"([[1, [["a", 1], ["b", 2]]], [2, null], [3, []], [4, [["c", 3]]]])");

    // Within a list, a struct and another map.
    Create(arrow::schema({id, field("l", arrow::list(map)), field("s", arrow::struct_({field("m", map)})),
                          field("mm", arrow::map(arrow::utf8(), map))}));
    const std::string rows = R"([[1, [[["a", 1]], null, []], {"m": [["b", 2]]}, [["x", [["c", 3]]], ["y", null]]],
                                 [2, null, null, null]])";
    Add(arrow::schema({id, field("l", arrow::list(type)), field("s", arrow::struct_({field("m", type)})),
                       field("mm", arrow::map(arrow::utf8(), type))}),
        rows);
    ExpectRows("id", rows);
  }
}

TEST_F(ForeignFiles, ColumnsWhoseCaseIsNotTheTables) {
  const auto inner = [](const char* x, const char* y) {
    return arrow::struct_({field(x, arrow::int64()), field(y, arrow::list(arrow::struct_({field(x, arrow::utf8())})))});
  };
  const auto schema = arrow::schema(
      {field("UserId", arrow::int64()), field("S", inner("Xx", "Y")), field("\u00C9t\u00E9", arrow::utf8())});
  Create(schema);
  Add(schema, R"([[1, {"Xx": 10, "Y": [{"Xx": "a"}]}, "p"]])");
  Add(arrow::schema(
          {field("\u00E9T\u00C9", arrow::utf8()), field("userid", arrow::int32()), field("s", inner("xX", "y"))}),
      R"([["q", 2, {"xX": 20, "y": [{"xX": "b"}]}]])", {},
      R"({"numRecords":1,"minValues":{"userid":2},"maxValues":{"userid":2},"nullCount":{"userid":0}})");
  Add(arrow::schema({field("USERID", arrow::int64())}), "[[3]]");

  // Statistics of the log and of the footer leave nothing out.
  for (std::int64_t n = 1; n <= 3; ++n) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(
        const auto rows, Read("UserId", {.columns = {"UserId"}, .where = {{"UserId", Comparator::kEqual, {n}}}}));
    EXPECT_EQ(rows->num_rows(), 1) << n;
    MILLRACE_ASSERT_OK_AND_ASSIGN(
        const auto above, Read("UserId", {.columns = {"UserId"}, .where = {{"UserId", Comparator::kGreater, {n}}}}));
    EXPECT_EQ(above->num_rows(), 3 - n) << n;
  }
  ExpectRows("UserId", R"([[1, {"Xx": 10, "Y": [{"Xx": "a"}]}, "p"], [2, {"Xx": 20, "Y": [{"Xx": "b"}]}, "q"],
                           [3, null, null]])");
}

TEST_F(ForeignFiles, PartitionValuesUnderANameInAnotherCase) {
  Create(arrow::schema({field("id", arrow::int64()), field("day", arrow::date32())}), {"day"});
  const auto stored = arrow::schema({field("id", arrow::int64())});
  Add(stored, "[[1]]", {{"day", "1970-01-02"}});
  Add(stored, "[[2]]", {{"Day", "1970-01-02"}});
  Add(stored, "[[3]]", {{"DAY", std::nullopt}});
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto rows, Read("id", {.columns = {"id"}, .where = {{"day", Comparator::kEqual, {std::int64_t{1}}}}}));
  EXPECT_EQ(rows->num_rows(), 2);
  ExpectRows("id", "[[1, 1], [2, 1], [3, null]]");
}

// As for Spark, also where one of the two is spelled as in the table: which is meant nobody can tell.
TEST_F(ForeignFiles, TwoColumnsThatDifferInCaseAloneAreNamed) {
  const auto member = arrow::struct_({field("x", arrow::int64())});
  Create(arrow::schema({field("UserId", arrow::int64()), field("s", member), field("n", arrow::int64())}));
  const std::vector<std::shared_ptr<arrow::Schema>> ambiguous = {
      arrow::schema({field("UserId", arrow::int64()), field("userid", arrow::int64())}),
      arrow::schema({field("USERID", arrow::int64()), field("userid", arrow::int64())}),
  };
  for (const auto& schema : ambiguous) {
    Create(table_->snapshot()->schema);
    Add(schema, "[[1, 2]]");
    Add(schema, "[[1, 2]]");
    for (const Status& status : {Read("UserId").status(), Compact(*table_).status()}) {
      MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, status);
      EXPECT_NE(status.message().find("'userid'"), std::string::npos) << status;
      EXPECT_NE(status.message().find(".parquet"), std::string::npos) << status;
    }
    // Who does not ask for it is not concerned.
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto rows, Read("n", {.columns = {"n"}}));
    EXPECT_EQ(rows->num_rows(), 2);
  }
  Create(table_->snapshot()->schema);
  Add(arrow::schema({field("s", arrow::struct_({field("x", arrow::int64()), field("X", arrow::int64())}))}),
      R"([[{"x": 1, "X": 2}]])");
  const Status status = Read("UserId").status();
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, status);
  EXPECT_NE(status.message().find("'X'"), std::string::npos) << status;
}

}  // namespace
}  // namespace millrace::delta
