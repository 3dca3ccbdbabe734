// Sources: types and versions of each kind, and what is said of those that cannot be read.
#include "lookup/source.h"

#include <arrow/array.h>
#include <arrow/io/file.h>
#include <arrow/scalar.h>
#include <arrow/table.h>
#include <gmock/gmock.h>
#include <parquet/arrow/writer.h>

#include <filesystem>
#include <fstream>

#include "base/uuid.h"
#include "delta/append.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::lookup {
namespace {

using millrace::testing::BatchFromJson;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const auto kMicros = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");

class SourceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) / ("lookup_source_" + RandomUuid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name), std::ios::binary) << text;
    return Path(name);
  }
  static void WriteParquet(const std::string& path, const std::shared_ptr<arrow::RecordBatch>& rows) {
    const auto table = arrow::Table::FromRecordBatches({rows}).ValueOrDie();
    const auto out = arrow::io::FileOutputStream::Open(path).ValueOrDie();
    ASSERT_TRUE(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), out, 2).ok());
    ASSERT_TRUE(out->Close().ok());
  }

  std::filesystem::path folder_;
};

Result<ReadRows> ReadWhole(const LookupSpec& spec) {
  ASSIGN_OR_RETURN(const auto source, OpenSource(spec, {}));
  ASSIGN_OR_RETURN(const auto shape, source->Shape());
  ASSIGN_OR_RETURN(auto read, source->Read(shape, "", 1 << 20));
  return *std::move(read);
}

std::vector<std::string> Values(const arrow::RecordBatch& rows, const std::string& column) {
  std::vector<std::string> values;
  const auto array = rows.GetColumnByName(column);
  for (std::int64_t i = 0; i < rows.num_rows(); ++i) values.push_back(array->GetScalar(i).ValueOrDie()->ToString());
  return values;
}

std::vector<ingest::ColumnSpec> TextColumns() {
  return {{.name = "id", .type = arrow::utf8(), .path = {"device"}},
          {.name = "price", .type = arrow::decimal128(10, 2), .path = {"price"}},
          {.name = "since", .type = kMicros, .path = {"since"}},
          {.name = "seen", .type = kMicros, .form = ingest::TimestampForm::kMillis, .path = {"seen"}}};
}

TEST_F(SourceTest, CsvHasTheDeclaredTypesAndTellsNullFromEmpty) {
  const LookupSpec spec{
      .name = "d",
      .kind = SourceKind::kCsv,
      .uri = Write("d.csv",
                   "since,device,price,more,seen\n2026-01-02T03:04:05Z,\"a, \"\"b\"\"\nc\",1.5,x,1500\n"
                   ",\"\",,,\n2026-01-02T03:04:05+01:00,,-3,,0\n"),
      .columns = TextColumns(),
      .key = {"id"}};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto read, ReadWhole(spec));
  EXPECT_THAT(read.rows->schema()->field_names(), ElementsAre("id", "price", "since", "seen"));
  EXPECT_THAT(Values(*read.rows, "id"), ElementsAre("a, \"b\"\nc", "", "null"));
  EXPECT_THAT(Values(*read.rows, "price"), ElementsAre("1.50", "null", "-3.00"));
  EXPECT_EQ(static_cast<const arrow::TimestampArray&>(*read.rows->column(3)).Value(0), 1'500'000);
  EXPECT_THAT(Values(*read.rows, "since")[2], HasSubstr("2026-01-02 02:04:05"));
  EXPECT_THAT(read.version, ::testing::MatchesRegex("sha256 [0-9a-f]{16}"));
}

TEST_F(SourceTest, CsvThatDoesNotFitIsRefused) {
  struct Case {
    std::string text;
    std::string message;
  };
  const Case cases[] = {
      {"device,price,since\nx,1,2026-01-02T03:04:05Z\n", "seen"},
      {"device,price,since,seen\nx,ten,,\n", "ten"},
      {"device,price,since,seen\nx,1,yesterday,\n", "yesterday"},
      {"device,price,since,seen\nx,1\n", "Expected 4 columns, got 2"},
      {"", "Empty CSV file"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.text);
    const LookupSpec spec{
        .name = "d", .kind = SourceKind::kCsv, .uri = Write("d.csv", c.text), .columns = TextColumns(), .key = {"id"}};
    const auto read = ReadWhole(spec);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, read);
    EXPECT_THAT(read.status().message(), HasSubstr("lookup d: csv " + spec.uri + ": "));
    EXPECT_THAT(read.status().message(), HasSubstr(c.message));
  }
}

TEST_F(SourceTest, ParquetKeepsWhatATransformCanUse) {
  const auto schema = arrow::schema({arrow::field("id", arrow::large_utf8()), arrow::field("n", arrow::uint16()),
                                     arrow::field("ns", arrow::timestamp(arrow::TimeUnit::NANO)),
                                     arrow::field("when", arrow::time64(arrow::TimeUnit::MICRO)),
                                     arrow::field("many", arrow::list(arrow::int64()))});
  WriteParquet(Path("d.parquet"),
               BatchFromJson(schema, R"([["a", 65535, 1500, 1, [1]], ["b", null, 0, 2, []], ["c", 1, 1, 1, null]])"));
  const LookupSpec spec{.name = "d", .kind = SourceKind::kParquet, .uri = "file://" + Path("d.parquet"), .key = {"id"}};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto read, ReadWhole(spec));
  EXPECT_EQ(read.rows->schema()->ToString(), "id: string\nn: int32\nns: timestamp[us]");
  EXPECT_THAT(Values(*read.rows, "n"), ElementsAre("65535", "null", "1"));
  EXPECT_EQ(static_cast<const arrow::TimestampArray&>(*read.rows->column(2)).Value(0), 1);

  const LookupSpec broken{
      .name = "d", .kind = SourceKind::kParquet, .uri = Write("x.parquet", "no parquet"), .key = {"id"}};
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, ReadWhole(broken));
}

TEST_F(SourceTest, DeltaIsReadAtItsNewestVersion) {
  const auto schema = arrow::schema({arrow::field("id", arrow::utf8()), arrow::field("n", arrow::int64())});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto store, objectstore::OpenStore(Path("t")));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, delta::Table::OpenOrCreate(store, {.schema = schema}));
  MILLRACE_ASSERT_OK(delta::Append(*table, {BatchFromJson(schema, R"([["a", 1], ["b", 2]])")}));
  const LookupSpec spec{.name = "d", .kind = SourceKind::kDelta, .uri = Path("t"), .key = {"id"}};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto source, OpenSource(spec, {}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto shape, source->Shape());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto first, source->Read(shape, "", 1 << 20));
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->version, "version 1");
  EXPECT_EQ(first->rows->num_rows(), 2);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto same, source->Read(shape, first->version, 1 << 20));
  EXPECT_FALSE(same.has_value());
  MILLRACE_ASSERT_OK(delta::Append(*table, {BatchFromJson(schema, R"([["c", 3]])")}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto next, source->Read(shape, first->version, 1 << 20));
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->version, "version 2");
  EXPECT_EQ(next->rows->num_rows(), 3);
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, source->Read(shape, "", 10));
}

TEST_F(SourceTest, AFileThatIsTheSameIsNotReadAgain) {
  const LookupSpec spec{.name = "d",
                        .kind = SourceKind::kJson,
                        .uri = Write("d.json", R"([{"device": "a"}])"),
                        .columns = TextColumns(),
                        .key = {"id"}};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto source, OpenSource(spec, {}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto shape, source->Shape());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto first, source->Read(shape, "", 1 << 20));
  Write("d.json", R"([{"device": "a"}])");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto same, source->Read(shape, first->version, 1 << 20));
  EXPECT_FALSE(same.has_value());
  Write("d.json", R"([{"device": "b"}])");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto other, source->Read(shape, first->version, 1 << 20));
  ASSERT_TRUE(other.has_value());
  EXPECT_NE(other->version, first->version);
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, source->Read(shape, "", 5));
}

TEST_F(SourceTest, WhatCannotBeReadIsNamed) {
  const auto schema = arrow::schema({arrow::field("id", arrow::utf8()), arrow::field("x", arrow::float64())});
  WriteParquet(Path("d.parquet"), BatchFromJson(schema, R"([["a", 1.5]])"));
  const auto parquet = [&](std::vector<std::string> key) {
    return LookupSpec{.name = "d", .kind = SourceKind::kParquet, .uri = Path("d.parquet"), .key = std::move(key)};
  };
  auto spec = parquet({"ids"});
  EXPECT_THAT(ReadWhole(spec).status().message(), HasSubstr("there is no column ids (key); did you mean 'id'?"));
  spec = parquet({"x"});
  EXPECT_THAT(ReadWhole(spec).status().message(), HasSubstr("the key column x is double"));
  spec = parquet({"id"});
  spec.valid_from = "from";
  EXPECT_THAT(ReadWhole(spec).status().message(), HasSubstr("there is no column from (valid_from)"));
  spec = parquet({"id"});
  spec.uri = Path("gone.parquet");
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, ReadWhole(spec));
  EXPECT_THAT(ReadWhole(spec).status().message(), HasSubstr("lookup d: parquet " + spec.uri));
  spec.uri = Path("no/such/folder.parquet");
  EXPECT_THAT(ReadWhole(spec).status().message(), HasSubstr("lookup d: parquet " + spec.uri));
  spec.kind = SourceKind::kDelta;
  spec.uri = folder_.string();
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, ReadWhole(spec));
}

// With a server that is there: tests/e2e/lookups_test.py.
TEST_F(SourceTest, ADatabaseThatIsNotThereIsTransientAndKeepsItsPassword) {
  const LookupSpec spec{.name = "d",
                        .kind = SourceKind::kPostgres,
                        .uri = "host=127.0.0.1 port=1 user=u password=hush connect_timeout=2",
                        .query = "SELECT 1",
                        .key = {"id"}};
  const auto read = ReadWhole(spec);
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, read);
  EXPECT_THAT(read.status().message(), HasSubstr("lookup d: postgres: "));
  EXPECT_THAT(read.status().message(), HasSubstr("127.0.0.1"));
  EXPECT_THAT(read.status().message(), ::testing::Not(HasSubstr("hush")));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto source, OpenSource(spec, {}));
  source->Interrupt();
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, source->Shape());
}

TEST_F(SourceTest, AColumnThatHasBecomeAnotherTypeIsRefused) {
  const auto text = arrow::schema({arrow::field("id", arrow::utf8()), arrow::field("n", arrow::utf8())});
  const auto number = arrow::schema({arrow::field("id", arrow::utf8()), arrow::field("n", arrow::int64())});
  const LookupSpec spec{.name = "d", .kind = SourceKind::kParquet, .uri = Path("d.parquet"), .key = {"id"}};
  WriteParquet(spec.uri, BatchFromJson(text, R"([["a", "1"]])"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto source, OpenSource(spec, {}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto shape, source->Shape());
  WriteParquet(spec.uri, BatchFromJson(number, R"([["a", 1]])"));
  auto read = source->Read(shape, "", 1 << 20);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, read);
  EXPECT_THAT(read.status().message(), HasSubstr("the column n is now int64, and was string; start again to take it"));
  WriteParquet(spec.uri, BatchFromJson(arrow::schema({text->field(0)}), R"([["a"]])"));
  EXPECT_THAT(source->Read(shape, "", 1 << 20).status().message(), HasSubstr("there is no column n any more"));
}

}  // namespace
}  // namespace millrace::lookup
