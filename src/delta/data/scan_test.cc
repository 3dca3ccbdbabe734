// Scans: whatever is pruned or filtered on the way, the rows are those that a plain loop over all rows would keep.
// Deletion vectors are serialized here, in all three kinds of container.
#include "delta/data/scan.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/compute/api.h>
#include <arrow/io/memory.h>
#include <arrow/table.h>
#include <arrow/util/key_value_metadata.h>
#include <gtest/gtest.h>
#include <parquet/arrow/writer.h>
#include <parquet/file_reader.h>
#include <parquet/page_index.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <random>

#include "base/uuid.h"
#include "delta/data/data_file.h"
#include "delta/data/deletion_vector.h"
#include "delta/data/file_pruning.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::delta {
namespace {

namespace fs = std::filesystem;
using arrow::field;
using testing::BatchFromJson;

class ScanTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("delta-scan-" + RandomUuid());
    MILLRACE_ASSERT_OK_AND_ASSIGN(store_, objectstore::OpenStore(folder_.string()));
  }
  void TearDown() override { fs::remove_all(folder_); }

  void Create(const std::shared_ptr<arrow::Schema>& schema, const std::vector<std::string>& partition_by = {}) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(
        table_, Table::OpenOrCreate(
                    store_, {.schema = schema, .partition_columns = partition_by, .configuration = {}, .name = ""}));
  }
  // One commit with a file per partition; row groups of `row_group_rows`.
  void Append(const std::shared_ptr<arrow::RecordBatch>& batch, std::int64_t row_group_rows = 1 << 20) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto parts,
                                  SplitByPartition(batch, table_->snapshot()->metadata.partition_columns));
    CommitRequest request;
    for (const auto& part : parts) {
      const DataFileOptions options{.row_group_rows_max = row_group_rows};
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto writer,
                                    DataFileWriter::Make(store_, part.rows->schema(), part.values, options));
      MILLRACE_ASSERT_OK(writer->Append(*part.rows));
      MILLRACE_ASSERT_OK_AND_ASSIGN(auto add, writer->Finish());
      request.adds.push_back(std::move(add));
    }
    MILLRACE_ASSERT_OK(table_->Commit(request));
  }
  Result<std::shared_ptr<arrow::Table>> Read(const ScanOptions& options = {}, ScanCounts* counts = nullptr) {
    ARROW_ASSIGN_OR_RAISE(const auto reader, OpenScan(store_, table_->snapshot(), options, counts));
    return reader->ToTable();
  }
  std::vector<std::int64_t> Ids(const ScanOptions& options, ScanCounts* counts = nullptr) {
    const auto table = Read(options, counts);
    EXPECT_TRUE(table.ok()) << table.status();
    std::vector<std::int64_t> ids;
    if (!table.ok()) return ids;
    const auto column = (*table)->GetColumnByName("id");
    for (const auto& chunk : column->chunks()) {
      const auto& values = static_cast<const arrow::Int64Array&>(*chunk);
      for (std::int64_t i = 0; i < values.length(); ++i) ids.push_back(values.Value(i));
    }
    std::sort(ids.begin(), ids.end());
    return ids;
  }

  fs::path folder_;
  std::shared_ptr<objectstore::ObjectStore> store_;
  std::shared_ptr<Table> table_;
};

template <typename T>
void Put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// A vector of one 32-bit bitmap with one container.
enum class Container { kArray, kBits, kRuns };
std::string Serialize(const std::vector<std::uint16_t>& positions, Container kind) {
  std::string out;
  Put(out, std::uint32_t{1681511377});
  Put(out, std::uint64_t{1});
  Put(out, std::uint32_t{0});
  if (kind == Container::kRuns) {
    Put(out, std::uint32_t{12347});
    out += '\1';
  } else {
    Put(out, std::uint32_t{12346});
    Put(out, std::uint32_t{1});
  }
  Put(out, std::uint16_t{0});
  Put(out, static_cast<std::uint16_t>(positions.size() - 1));
  if (kind != Container::kRuns) Put(out, std::uint32_t{16});
  if (kind == Container::kArray) {
    for (const auto p : positions) Put(out, p);
  } else if (kind == Container::kBits) {
    std::string bits(8192, '\0');
    for (const auto p : positions) bits[p / 8] = static_cast<char>(bits[p / 8] | 1 << p % 8);
    out += bits;
  } else {
    Put(out, static_cast<std::uint16_t>(positions.size()));
    for (const auto p : positions) {
      Put(out, p);
      Put(out, std::uint16_t{0});
    }
  }
  return out;
}

TEST(DeletionVector, EveryKindOfContainer) {
  std::vector<std::uint16_t> many;
  for (int p = 0; p < 10'000; p += 2) many.push_back(static_cast<std::uint16_t>(p));
  struct Case {
    const char* name;
    std::vector<std::uint16_t> positions;
    Container kind;
  };
  for (const auto& c : std::vector<Case>{{"array", {0, 3, 9'999}, Container::kArray},
                                         {"bits", many, Container::kBits},
                                         {"runs", {1, 5, 7}, Container::kRuns}}) {
    SCOPED_TRACE(c.name);
    const std::string bytes = Serialize(c.positions, c.kind);
    std::vector<std::uint8_t> live(1250, 0xFF);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto cleared, ClearDeleted(bytes, live.data(), 10'000));
    EXPECT_EQ(cleared, std::ssize(c.positions));
    for (int p = 0; p < 10'000; ++p) {
      const bool deleted = std::binary_search(c.positions.begin(), c.positions.end(), p);
      EXPECT_EQ((live[p / 8] >> p % 8 & 1) == 0, deleted) << p;
    }
    // A file with fewer rows, and every way of cutting it off.
    MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, ClearDeleted(bytes, live.data(), c.positions.back()));
    for (std::size_t size = 0; size < bytes.size(); size += std::max<std::size_t>(1, size / 8)) {
      MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt,
                           ClearDeleted(std::string_view(bytes).substr(0, size), live.data(), 10'000));
    }
  }
}

TEST(DeletionVector, Z85AsInItsSpecification) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto bytes, DecodeZ85("HelloWorld"));
  EXPECT_EQ(bytes, "\x86\x4F\xD2\x6F\xB5\x59\xF7\x5B");
  for (const char* bad : {"Hell", "Hello Worl", "\xFF\xFF\xFF\xFF\xFF", "%%%%%"}) {
    MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, DecodeZ85(bad));
  }
}

TEST(DeletionVector, PathsStayBelowTheTable) {
  const fs::path lake = fs::temp_directory_path() / ("delta-vectors-" + RandomUuid());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto store, objectstore::OpenStore((lake / "t").string()));
  const auto key = [&](const char* type, const std::string& path) {
    return DeletionVectorKey({.storage_type = type, .path_or_inline_dv = path}, *store);
  };
  // The example of the specification.
  EXPECT_EQ(key("u", "ab^-aqEH.-t@S}K{vb[*k^").ValueOr(""),
            "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin");
  EXPECT_EQ(key("p", "file://" + (lake / "t/x/y.bin").string()).ValueOr(""), "x/y.bin");
  EXPECT_EQ(key("i", "whatever").ValueOr("?"), "");
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, key("p", "file://" + (lake / "other/y.bin").string()));
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, key("p", "file://" + (lake / "t/../other/y.bin").string()));
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, key("u", "..^-aqEH.-t@S}K{vb[*k^"));
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, key("u", "short"));
  fs::remove_all(lake);
}

TEST_F(ScanTest, EqualsAPlainLoopOverAllRows) {
  const auto schema =
      arrow::schema({field("id", arrow::int64()), field("s", arrow::utf8()), field("d", arrow::float64()),
                     field("ts", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")), field("m", arrow::decimal128(9, 2)),
                     field("p", arrow::int32())});
  Create(schema, {"p"});
  std::mt19937 random(7);
  const auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  struct Row {
    std::optional<Value> s, d, ts, m, p;
  };
  std::vector<Row> rows;
  for (int file = 0; file < 12; ++file) {
    std::string json = "[";
    for (int i = 0; i < 50; ++i) {
      Row row;
      const auto maybe = [&](Value value) { return pick(10) == 0 ? std::nullopt : std::optional(std::move(value)); };
      row.s = maybe("v" + std::to_string(file * 3 + pick(6)));
      const bool nan = pick(15) == 0;
      row.d = maybe(file + pick(4) / 2.0);
      row.ts = maybe(std::int64_t{1'700'000'000'000'000} + file * 1'000'000 + pick(3'000'000));
      row.m = maybe(arrow::Decimal128(file * 100 + pick(300)));
      row.p = maybe(std::int64_t{pick(3)});
      const auto text = [](const std::optional<Value>& v, auto show) { return v ? show(*v) : std::string("null"); };
      json += i > 0 ? ",[" : "[";
      json += std::to_string(rows.size()) + "," +
              text(row.s, [](const Value& v) { return '"' + std::get<std::string>(v) + '"'; }) + ",";
      if (nan) {
        row.d = 1e308;  // Stands for NaN: above every constant below.
        json += "NaN,";
      } else {
        json += text(row.d, [](const Value& v) { return std::to_string(std::get<double>(v)); }) + ",";
      }
      json += text(row.ts, [](const Value& v) { return std::to_string(std::get<std::int64_t>(v)); }) + ",";
      json += text(row.m, [](const Value& v) { return '"' + std::get<arrow::Decimal128>(v).ToString(2) + '"'; }) + ",";
      json += text(row.p, [](const Value& v) { return std::to_string(std::get<std::int64_t>(v)); }) + "]";
      rows.push_back(std::move(row));
    }
    Append(BatchFromJson(schema, json + "]"), 16);
  }
  const auto constant = [&](const std::string& column) -> Value {
    if (column == "s") return "v" + std::to_string(pick(40));
    if (column == "d") return pick(30) / 2.0;
    if (column == "ts") return std::int64_t{1'700'000'000'000'000} + pick(14'000) * 1000;
    if (column == "m") return arrow::Decimal128(pick(1500));
    return std::int64_t{pick(4)};
  };
  const auto member = [](const Row& row, const std::string& column) {
    return column == "s" ? row.s : column == "d" ? row.d : column == "ts" ? row.ts : column == "m" ? row.m : row.p;
  };
  ScanCounts total;
  for (int round = 0; round < 300; ++round) {
    ScanOptions options{.columns = {"id"}, .num_threads = 1 + pick(4), .buffer_bytes_max = 1 + pick(5000)};
    for (int n = 1 + pick(2); n > 0; --n) {
      Comparison comparison;
      comparison.column = std::vector<std::string>{"s", "d", "ts", "m", "p"}[static_cast<std::size_t>(pick(5))];
      comparison.comparator = static_cast<Comparator>(pick(9));
      if (comparison.comparator < Comparator::kIsNull) comparison.values.push_back(constant(comparison.column));
      if (comparison.comparator == Comparator::kIn) comparison.values.push_back(constant(comparison.column));
      options.where.push_back(std::move(comparison));
    }
    std::vector<std::int64_t> want;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const bool all = std::all_of(options.where.begin(), options.where.end(),
                                   [&](const Comparison& c) { return Satisfies(member(rows[i], c.column), c); });
      if (all) want.push_back(static_cast<std::int64_t>(i));
    }
    ScanCounts counts;
    ASSERT_EQ(Ids(options, &counts), want) << "round " << round << " on " << options.where[0].column;
    total.files += counts.files;
    total.files_read += counts.files_read;
    total.row_groups += counts.row_groups;
    total.row_groups_read += counts.row_groups_read;
  }
  // Pruning does something: on this data more than half of the files and a part of the row groups are not touched.
  EXPECT_LT(total.files_read, total.files / 2);
  EXPECT_LT(total.row_groups_read, total.row_groups);
}

// Arrow counts fields in one place and leaves in the other: behind a struct they differ, and a column's neighbour of
// the same type would be read for it.
TEST_F(ScanTest, ColumnsBehindStructsAreThemselvesUnderAFilter) {
  const auto pair =
      arrow::struct_({field("x", arrow::int64()), field("y", arrow::int64()), field("z", arrow::int64())});
  const auto schema = arrow::schema({field("id", arrow::int64()), field("s", pair), field("l", arrow::list(pair)),
                                     field("a", arrow::int64()), field("b", arrow::int64()), field("c", arrow::int64()),
                                     field("d", arrow::int64()), field("e", arrow::int64()), field("f", arrow::int64()),
                                     field("g", arrow::int64()), field("h", arrow::int64())});
  Create(schema);
  std::string rows;
  for (int i = 0; i < 5; ++i) {
    rows +=
        fmt::format(R"({}{{"id": {}, "s": {{"x": 1}}, "l": [{{"y": 2}}], "a": {}, "b": {}, "c": {}, "d": {}, "e": {},
                            "f": {}, "g": {}, "h": {}}})",
                    i == 0 ? "[" : ",", i, 10 + i, 20 + i, 30 + i, 40 + i, 50 + i, 60 + i, 70 + i, 80 + i);
  }
  Append(BatchFromJson(schema, rows + "]"));
  int number = 1;
  for (const char* name : {"a", "b", "c", "d", "e", "f", "g", "h"}) {
    SCOPED_TRACE(name);
    const std::int64_t base = 10 * number++;
    // As a column of the answer, and as the one that is compared.
    for (const auto& where : {Comparison{.column = "id", .comparator = Comparator::kEqual, .values = {std::int64_t{3}}},
                              Comparison{.column = name, .comparator = Comparator::kEqual, .values = {base + 3}}}) {
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Read({.columns = {name}, .where = {where}}));
      ASSERT_EQ(table->num_rows(), 1);
      EXPECT_EQ(static_cast<const arrow::Int64Array&>(*table->column(0)->chunk(0)).Value(0), base + 3);
    }
  }
}

TEST_F(ScanTest, OrderLimitAndEarlyEnd) {
  const auto schema = arrow::schema({field("id", arrow::int64())});
  Create(schema);
  for (int file = 0; file < 5; ++file) {
    std::string json = "[";
    for (int i = 0; i < 100; ++i) json += (i > 0 ? ",[" : "[") + std::to_string(file * 100 + i) + "]";
    Append(BatchFromJson(schema, json + "]"), 10);
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto one, Read({.num_threads = 1}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto four, Read({.num_threads = 4, .buffer_bytes_max = 1}));
  EXPECT_EQ(one->num_rows(), 500);
  EXPECT_TRUE(one->CombineChunks().ValueOrDie()->Equals(*four->CombineChunks().ValueOrDie()));
  for (const std::int64_t limit : {0, 1, 15, 499, 500, 1000}) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto some, Read({.limit = limit}));
    EXPECT_EQ(some->num_rows(), std::min<std::int64_t>(limit, 500));
  }
  // Dropped after one batch: its threads end.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto reader,
                                OpenScan(store_, table_->snapshot(), {.num_threads = 3, .buffer_bytes_max = 1}));
  std::shared_ptr<arrow::RecordBatch> batch;
  MILLRACE_ASSERT_OK(reader->ReadNext(&batch));
  ASSERT_NE(batch, nullptr);
}

TEST_F(ScanTest, AComparisonThatDoesNotFitItsColumnIsRefused) {
  const auto schema = arrow::schema({field("id", arrow::int64()), field("s", arrow::utf8()),
                                     field("d", arrow::float64()), field("m", arrow::decimal128(5, 2))});
  Create(schema);
  Append(BatchFromJson(schema, R"([[1, "x", 0.5, "1.25"]])"));
  const Comparison cases[] = {
      {"d", Comparator::kGreater, {std::int64_t{0}}},
      {"d", Comparator::kEqual, {std::nan("")}},
      {"id", Comparator::kEqual, {1.0}},
      {"id", Comparator::kEqual, {std::string("1")}},
      {"id", Comparator::kIn, {std::int64_t{1}, 2.0}},
      {"s", Comparator::kLess, {std::int64_t{1}}},
      {"m", Comparator::kLess, {1.25}},
      {"id", Comparator::kLess, {}},
      {"id", Comparator::kLess, {std::int64_t{1}, std::int64_t{2}}},
  };
  for (const auto& comparison : cases) {
    SCOPED_TRACE(&comparison - cases);
    const auto scan = OpenScan(store_, table_->snapshot(), {.where = {comparison}});
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, scan);
    EXPECT_NE(scan.status().message().find("'" + comparison.column + "'"), std::string::npos) << scan.status();
  }
  EXPECT_EQ(Ids({.where = {{"m", Comparator::kEqual, {arrow::Decimal128(125)}}, {"id", Comparator::kIn, {}}}}),
            std::vector<std::int64_t>{})
      << "in an empty list is nothing";
}

TEST_F(ScanTest, ErrorsNameColumnOrFileAndEndTheStream) {
  const auto schema = arrow::schema({field("id", arrow::int64()), field("b", arrow::binary())});
  Create(schema);
  Append(BatchFromJson(schema, R"([[1, "x"]])"));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, OpenScan(store_, table_->snapshot(), {.columns = {"nope"}}));
  for (const char* column : {"nope", "b"}) {
    const ScanOptions options{.where = {{column, Comparator::kEqual, {std::int64_t{1}}}}};
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, OpenScan(store_, table_->snapshot(), options));
  }
  const std::string path = table_->snapshot()->files.begin()->second.path;
  MILLRACE_ASSERT_OK(store_->Delete(path));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto reader, OpenScan(store_, table_->snapshot()));
  std::shared_ptr<arrow::RecordBatch> batch;
  const Status status = reader->ReadNext(&batch);
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, status);
  EXPECT_NE(status.message().find(path), std::string::npos) << status;
  MILLRACE_ASSERT_OK(reader->ReadNext(&batch));
  EXPECT_EQ(batch, nullptr);
}

// What only other writers make: a schema whose names are not those of the files, and types that have grown.
TEST_F(ScanTest, ColumnsByNameByIdAndWidened) {
  const auto stored =
      arrow::schema({field("col-1", arrow::int32(), true, arrow::key_value_metadata({{"PARQUET:field_id", "1"}})),
                     field("col-2",
                           arrow::struct_({field("col-3", arrow::utf8(), true,
                                                 arrow::key_value_metadata({{"PARQUET:field_id", "3"}}))}),
                           true, arrow::key_value_metadata({{"PARQUET:field_id", "2"}})),
                     field("col-4", arrow::date32(), true, arrow::key_value_metadata({{"PARQUET:field_id", "4"}}))});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto writer, DataFileWriter::Make(store_, stored, {{"col-5", "x"}}));
  MILLRACE_ASSERT_OK(writer->Append(*BatchFromJson(stored, R"([[7, {"col-3": "a"}, 1], [8, null, null]])")));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const AddFile add, writer->Finish());
  const auto named = [](int id, const std::string& name, std::shared_ptr<arrow::DataType> type) {
    const std::string json = R"({"delta.columnMapping.id":)" + std::to_string(id) +
                             R"(,"delta.columnMapping.physicalName":"col-)" + std::to_string(id) + R"("})";
    return field(name, std::move(type), true, arrow::key_value_metadata({{kFieldMetadataKey, json}}));
  };
  for (const char* mode : {"name", "id"}) {
    SCOPED_TRACE(mode);
    Snapshot snapshot;
    snapshot.protocol = {.min_reader_version = 2, .min_writer_version = 5};
    snapshot.metadata.configuration = {{"delta.columnMapping.mode", mode}};
    snapshot.metadata.partition_columns = {"part"};
    snapshot.schema = arrow::schema({named(1, "a number", arrow::int64()),
                                     named(2, "nested", arrow::struct_({named(3, "text", arrow::utf8())})),
                                     named(4, "day", arrow::timestamp(arrow::TimeUnit::MICRO)),
                                     named(5, "part", arrow::utf8()), named(6, "later", arrow::int64())});
    snapshot.files.Set(add.path, add);
    const auto shared = std::make_shared<const Snapshot>(snapshot);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto reader, OpenScan(store_, shared));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, reader->ToTable());
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto batch, table->CombineChunksToBatch());
    const auto want = BatchFromJson(
        snapshot.schema, R"([[7, {"text": "a"}, "1970-01-02 00:00:00", "x", null], [8, null, null, "x", null]])");
    EXPECT_TRUE(batch->Equals(*want)) << batch->ToString();
    // Statistics and partition values are by physical name.
    const std::vector<std::pair<Comparison, std::int64_t>> cases = {
        {{"a number", Comparator::kGreater, {std::int64_t{8}}}, 0},
        {{"a number", Comparator::kGreater, {std::int64_t{7}}}, 1},
        {{"part", Comparator::kEqual, {"x"}}, 2},
        {{"part", Comparator::kEqual, {"y"}}, 0},
        {{"later", Comparator::kIsNull, {}}, 2},
        {{"later", Comparator::kIsNotNull, {}}, 0}};
    for (const auto& [comparison, rows] : cases) {
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto some, OpenScan(store_, shared, {.where = {comparison}}));
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto found, some->ToTable());
      EXPECT_EQ(found->num_rows(), rows) << comparison.column;
    }
  }
}

TEST(FilePruning, StatisticsOfOtherWriters) {
  struct Case {
    const char* name;
    std::shared_ptr<arrow::DataType> type;
    std::string stats;
    Comparator comparator;
    Value value;
    bool want;
  };
  const auto micros = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  const std::vector<Case> cases = {
      {"max cut to the millisecond", micros, R"({"maxValues":{"c":"1970-01-01T00:00:00.001Z"}})", Comparator::kEqual,
       std::int64_t{1999}, true},
      // Berlin's time was 00:53:28 ahead: this was 1850-01-01T00:07:33Z, not 00:08:01.
      {"offset cut to the minute", micros,
       R"({"minValues":{"c":"1850-01-01T01:01:01.000+00:53"},"maxValues":{"c":"1850-01-01T01:01:01.000+00:53"}})",
       Comparator::kEqual, std::int64_t{-3786825147000000}, true},
      {"min up to a minute before", micros, R"({"minValues":{"c":"1850-01-01T01:01:01.000+00:53"}})",
       Comparator::kEqual, std::int64_t{-3786825119000000 - 59'000'000}, true},
      {"and no further", micros, R"({"minValues":{"c":"1850-01-01T01:01:01.000+00:53"}})", Comparator::kEqual,
       std::int64_t{-3786825119000000 - 59'000'001}, false},
      {"max up to a minute after", micros, R"({"maxValues":{"c":"1849-12-31T23:15:01.000-00:53"}})", Comparator::kEqual,
       std::int64_t{-3786825119000000 + 59'000'999}, true},
      {"and no later", micros, R"({"maxValues":{"c":"1849-12-31T23:15:01.000-00:53"}})", Comparator::kEqual,
       std::int64_t{-3786825119000000 + 59'001'000}, false},
      {"UTC is exact", micros, R"({"minValues":{"c":"1850-01-01T00:08:01.000Z"}})", Comparator::kEqual,
       std::int64_t{-3786825119000001}, false},
      {"beyond the cut", micros, R"({"maxValues":{"c":"1970-01-01T00:00:00.001Z"}})", Comparator::kEqual,
       std::int64_t{2000}, false},
      {"float is not its decimal spelling", arrow::float32(), R"({"maxValues":{"c":1.1}})", Comparator::kEqual,
       double{1.1F}, true},
      {"NaN may hide above the max", arrow::float64(), R"({"minValues":{"c":1.0},"maxValues":{"c":2.0}})",
       Comparator::kGreater, 5.0, true},
      {"decimal as a floating number", arrow::decimal128(38, 2), R"({"maxValues":{"c":12345678901234567.89}})",
       Comparator::kGreaterEqual, arrow::Decimal128("1234567890123456789"), true},
      {"far beyond", arrow::decimal128(9, 2), R"({"maxValues":{"c":1.5}})", Comparator::kGreaterEqual,
       arrow::Decimal128(200), false},
      {"only nulls", arrow::int64(), R"({"numRecords":3,"nullCount":{"c":3}})", Comparator::kNotEqual, std::int64_t{1},
       false},
      {"another type", arrow::int64(), R"({"minValues":{"c":"x"}})", Comparator::kLess, std::int64_t{1}, true},
      {"not JSON", arrow::int64(), "{", Comparator::kLess, std::int64_t{1}, true},
      {"no bounds", arrow::int64(), "{}", Comparator::kLess, std::int64_t{1}, true},
      {"wide bounds still bound", arrow::int64(), R"({"tightBounds":false,"minValues":{"c":5}})", Comparator::kLess,
       std::int64_t{5}, false}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Snapshot snapshot;
    snapshot.schema = arrow::schema({field("c", c.type)});
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto pruner, FilePruner::Make(snapshot, {{"c", c.comparator, {c.value}}}));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const bool may_match, pruner->MayMatch({.path = "f", .stats = c.stats}));
    EXPECT_EQ(may_match, c.want);
  }
}

std::string EncodeZ85(const std::string& bytes) {
  constexpr std::string_view kDigits =
      "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 4) {
    std::uint32_t word = 0;
    for (std::size_t k = 0; k < 4; ++k) word = word << 8 | (i + k < bytes.size() ? std::uint8_t(bytes[i + k]) : 0);
    std::string five;
    for (int k = 0; k < 5; ++k, word /= 85) five.insert(five.begin(), kDigits[word % 85]);
    text += five;
  }
  return text;
}

// Files as other writers make them: small pages, of both versions, in dictionaries or not, compressed or not.
struct ForeignFile {
  parquet::Compression::type compression = parquet::Compression::SNAPPY;
  parquet::ParquetDataPageVersion page_version = parquet::ParquetDataPageVersion::V1;
  std::int64_t dictionary_bytes = 1 << 20;  // 0: no dictionary. When it is full, the next pages have none.
  std::int64_t row_group_rows = 1 << 20;
  std::int64_t page_bytes = 400;
};

std::shared_ptr<arrow::Buffer> Write(const arrow::Table& rows, const ForeignFile& like) {
  parquet::WriterProperties::Builder properties;
  properties.compression(like.compression)->data_page_version(like.page_version);
  properties.data_pagesize(like.page_bytes)->write_batch_size(16)->enable_write_page_index();
  properties.dictionary_pagesize_limit(like.dictionary_bytes);
  if (like.dictionary_bytes == 0) properties.disable_dictionary();
  const auto out = arrow::io::BufferOutputStream::Create().ValueOrDie();
  EXPECT_TRUE(
      parquet::arrow::WriteTable(rows, arrow::default_memory_pool(), out, like.row_group_rows, properties.build())
          .ok());
  return out->Finish().ValueOrDie();
}

SnapshotPtr OneFile(std::shared_ptr<arrow::Schema> schema, std::int64_t size) {
  Snapshot snapshot;
  snapshot.protocol = {.min_reader_version = 1, .min_writer_version = 2};
  snapshot.schema = std::move(schema);
  snapshot.files.Set("f.parquet", AddFile{.path = "f.parquet", .size = size});
  return std::make_shared<const Snapshot>(std::move(snapshot));
}

// The oracle is the table in memory and a comparison row by row: nothing of it is read from a file.
TEST_F(ScanTest, WhateverThePagesTheRowsAreThoseWanted) {
  const auto schema =
      arrow::schema({field("id", arrow::int64(), false), field("k", arrow::int64()), field("s", arrow::utf8()),
                     field("t", arrow::utf8()), field("x", arrow::float64()), field("l", arrow::list(arrow::int64()))});
  std::mt19937 random(11);
  const auto pick = [&](std::int64_t n) { return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n)); };
  constexpr std::int64_t kRows = 3000;
  std::map<std::string, std::vector<std::optional<Value>>> values;
  arrow::Int64Builder id;
  arrow::Int32Builder k;  // Narrower than the table's. Sorted, so that pages can be passed over.
  arrow::StringBuilder s;
  arrow::StringBuilder t;
  arrow::DoubleBuilder x;
  arrow::ListBuilder l(arrow::default_memory_pool(), std::make_shared<arrow::Int64Builder>());
  for (std::int64_t row = 0; row < kRows; ++row) {
    const auto put = [&](const char* name, auto& builder, bool is_null, auto value) {
      ASSERT_TRUE((is_null ? builder.AppendNull() : builder.Append(value)).ok());
      if constexpr (std::is_arithmetic_v<decltype(value)>) {
        using Wide = std::conditional_t<std::is_floating_point_v<decltype(value)>, double, std::int64_t>;
        values[name].push_back(is_null ? std::nullopt : std::optional<Value>(static_cast<Wide>(value)));
      } else {
        values[name].push_back(is_null ? std::nullopt : std::optional<Value>(std::move(value)));
      }
    };
    put("id", id, false, row);
    put("k", k, row % 500 > 450, static_cast<std::int32_t>(row / 40));
    put("s", s, pick(20) == 0, "v" + std::to_string(pick(6) + row / 1000));
    put("t", t, pick(20) == 0, "text " + std::to_string(pick(100'000)));
    put("x", x, pick(5) == 0, static_cast<double>(pick(1000)) / 8);
    const bool is_null = pick(7) == 0;
    ASSERT_TRUE((is_null ? l.AppendNull() : l.Append()).ok());
    for (std::int64_t n = is_null ? 0 : pick(3); n > 0; --n) {
      ASSERT_TRUE(static_cast<arrow::Int64Builder*>(l.value_builder())->Append(row + n).ok());
    }
    values["l"].push_back(is_null ? std::nullopt : std::optional<Value>(std::int64_t{0}));
  }
  arrow::ArrayVector arrays;
  for (arrow::ArrayBuilder* builder : std::initializer_list<arrow::ArrayBuilder*>{&id, &k, &s, &t, &x, &l}) {
    arrays.push_back(builder->Finish().ValueOrDie());
  }
  auto fields = schema->fields();
  fields[1] = field("k", arrow::int32());
  const auto stored = arrow::Table::Make(arrow::schema(fields), arrays);
  arrays[1] = arrow::compute::Cast(*arrays[1], arrow::int64()).ValueOrDie();
  const auto all = arrow::Table::Make(schema, arrays);

  const auto constant = [&](const std::string& column) -> Value {
    if (column == "id") return pick(kRows);
    if (column == "k") return pick(kRows / 40);
    if (column == "s") return "v" + std::to_string(pick(9));
    if (column == "t") return "text " + std::to_string(pick(100'000));
    return static_cast<double>(pick(1000)) / 8;
  };
  using Pages = parquet::ParquetDataPageVersion;
  std::int64_t found = 0;
  for (int file = 0; file < 24; ++file) {
    const ForeignFile like{
        .compression = std::vector{parquet::Compression::SNAPPY, parquet::Compression::ZSTD,
                                   parquet::Compression::UNCOMPRESSED}[static_cast<std::size_t>(file % 3)],
        .page_version = file / 3 % 2 == 0 ? Pages::V1 : Pages::V2,
        .dictionary_bytes = std::vector<std::int64_t>{0, 500, 1 << 20}[static_cast<std::size_t>(pick(3))],
        .row_group_rows = 500 + pick(kRows),
        .page_bytes = 100 + pick(2000)};
    const auto bytes = Write(*stored, like);
    MILLRACE_ASSERT_OK(store_->Put("f.parquet", std::string_view(*bytes)));
    const auto whole = OneFile(schema, bytes->size());
    for (int round = 0; round < 25; ++round) {
      SCOPED_TRACE("file " + std::to_string(file) + " round " + std::to_string(round));
      std::vector<bool> wanted(kRows, true);
      Snapshot snapshot = *whole;
      if (pick(3) == 0) {
        AddFile add{.path = "f.parquet", .size = bytes->size()};
        std::vector<std::uint16_t> deleted;
        const std::int64_t every = 1 + pick(5);
        for (std::int64_t row = pick(1000); row < kRows; row += 1 + pick(every)) {
          deleted.push_back(static_cast<std::uint16_t>(row));
          wanted[static_cast<std::size_t>(row)] = false;
        }
        std::string serialized = Serialize(deleted, pick(2) == 0 ? Container::kArray : Container::kRuns);
        const auto size = static_cast<std::int32_t>(serialized.size());
        serialized.resize((serialized.size() + 3) / 4 * 4);
        add.deletion_vector = DeletionVectorDescriptor{.storage_type = "i",
                                                       .path_or_inline_dv = EncodeZ85(serialized),
                                                       .size_in_bytes = size,
                                                       .cardinality = std::ssize(deleted)};
        snapshot.files.Set("f.parquet", std::move(add));
      }
      ScanOptions options{.num_threads = 1 + static_cast<int>(pick(3))};
      for (std::int64_t n = pick(4); n > 0; --n) {
        Comparison comparison;
        comparison.column = std::vector<std::string>{"id", "k", "s", "t", "x", "l"}[static_cast<std::size_t>(pick(6))];
        comparison.comparator = comparison.column == "l" ? Comparator::kIsNotNull : static_cast<Comparator>(pick(9));
        for (int c = comparison.comparator == Comparator::kIn ? 3 : 1;
             comparison.comparator < Comparator::kIsNull && c > 0; --c) {
          comparison.values.push_back(constant(comparison.column));
        }
        for (std::size_t row = 0; row < wanted.size(); ++row) {
          wanted[row] = wanted[row] && Satisfies(values[comparison.column][row], comparison);
        }
        options.where.push_back(std::move(comparison));
      }
      options.columns = schema->field_names();
      std::shuffle(options.columns.begin(), options.columns.end(), random);
      options.columns.resize(static_cast<std::size_t>(1 + pick(6)));
      if (pick(4) == 0) options.limit = pick(kRows / 4);

      arrow::BooleanBuilder mask;
      for (const bool row : wanted) ASSERT_TRUE(mask.Append(row).ok());
      const arrow::Datum filtered = arrow::compute::Filter(all, mask.Finish().ValueOrDie()).ValueOrDie();
      auto want = filtered.table()->Slice(0, options.limit.value_or(kRows));
      std::vector<int> places;
      for (const auto& column : options.columns) places.push_back(schema->GetFieldIndex(column));
      want = want->SelectColumns(places).ValueOrDie();

      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto reader,
                                    OpenScan(store_, std::make_shared<const Snapshot>(std::move(snapshot)), options));
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto got, reader->ToTable());
      MILLRACE_ASSERT_OK(got->ValidateFull());
      ASSERT_TRUE(got->CombineChunks().ValueOrDie()->Equals(*want->CombineChunks().ValueOrDie()))
          << got->ToString() << want->ToString();
      found += got->num_rows();
    }
  }
  EXPECT_GT(found, 100'000);  // The conditions are not all so narrow that they say nothing.
}

// Pages are broken one after the other. What a page holds matters only to those who want a row of it.
TEST_F(ScanTest, PagesWithoutAWantedRowAreNotDecompressed) {
  arrow::Int64Builder id;
  arrow::StringBuilder text;
  for (std::int64_t row = 0; row < 2000; ++row) {
    ASSERT_TRUE(id.Append(row).ok() && text.Append("text of row " + std::to_string(row)).ok());
  }
  const auto schema = arrow::schema({field("id", arrow::int64()), field("text", arrow::utf8())});
  const auto rows = arrow::Table::Make(schema, {id.Finish().ValueOrDie(), text.Finish().ValueOrDie()});
  for (const auto compression : {parquet::Compression::SNAPPY, parquet::Compression::ZSTD}) {
    const auto bytes = Write(*rows, {.compression = compression, .dictionary_bytes = 0});
    const auto file = parquet::ParquetFileReader::Open(std::make_shared<arrow::io::BufferReader>(bytes));
    const auto index = file->GetPageIndexReader()->RowGroup(0)->GetOffsetIndex(1);
    const auto& pages = index->page_locations();
    ASSERT_GT(pages.size(), 10U);
    for (std::size_t page = 0; page < pages.size(); page += 5) {
      std::string broken = bytes->ToString();
      // At a page's end, because its header must stay.
      broken.replace(static_cast<std::size_t>(pages[page].offset + pages[page].compressed_page_size - 12), 12, 12,
                     '\xff');
      MILLRACE_ASSERT_OK(store_->Put("f.parquet", broken));
      const auto snapshot = OneFile(schema, std::ssize(broken));
      const std::int64_t begin = pages[page].first_row_index;
      const std::int64_t end = page + 1 < pages.size() ? pages[page + 1].first_row_index : 2000;
      const auto read = [&](Conjunction where) -> Result<std::int64_t> {
        ARROW_ASSIGN_OR_RAISE(const auto reader, OpenScan(store_, snapshot, {.where = std::move(where)}));
        ARROW_ASSIGN_OR_RAISE(const auto table, reader->ToTable());
        return table->num_rows();
      };
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto before, read({{"id", Comparator::kLess, {begin}}}));
      EXPECT_EQ(before, begin);
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto after, read({{"id", Comparator::kGreaterEqual, {end}}}));
      EXPECT_EQ(after, 2000 - end);
      MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, read({{"id", Comparator::kEqual, {begin}}}));
      MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, read({{"id", Comparator::kEqual, {end - 1}}}));
      MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, read({}));
    }
  }
}

// Parquet's own library throws at such a footer where its statistics are asked for.
TEST_F(ScanTest, AFooterThatContradictsItselfIsCorruptAndNothingWorse) {
  Create(arrow::schema({field("id", arrow::int64())}));
  Append(BatchFromJson(table_->snapshot()->schema, "[[1], [2]]"));
  const fs::path file = folder_ / table_->snapshot()->files.begin()->second.path;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto whole, store_->Read(file.filename().string()));
  std::string bytes = whole->ToString();
  // ColumnMetaData begins with its type, INT64, and the list of its encodings; the schema keeps saying INT64.
  const std::size_t at = bytes.rfind("\x15\x04\x19");
  ASSERT_NE(at, std::string::npos);
  bytes[at + 1] = '\x0c';
  MILLRACE_ASSERT_OK(store_->Put(file.filename().string(), bytes));
  const ScanOptions above_one{.where = {{"id", Comparator::kGreater, {std::int64_t{1}}}}};
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, Read(above_one));
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, Read());
}

}  // namespace
}  // namespace millrace::delta
