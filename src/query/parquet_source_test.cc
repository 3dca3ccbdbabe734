// What DuckDB reads of a table's files itself is what we read of them, whatever the files are like; and where it does
// not do, that is known before or said after.
#include <arrow/array.h>
#include <arrow/array/util.h>
#include <arrow/builder.h>
#include <arrow/io/memory.h>
#include <arrow/table.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <parquet/arrow/writer.h>

#include <limits>
#include <random>

#include "base/uuid.h"
#include "delta/data/scan.h"
#include "objectstore/memory_store.h"
#include "query/parquet_source_internal.h"
#include "testing/batch_from_json.h"
#include "testing/faulty_store.h"
#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

using arrow::field;
using testing::BatchFromJson;
using ::testing::HasSubstr;

const auto kTs = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");

class ParquetSourceTest : public ::testing::Test {
 protected:
  void Create(const std::shared_ptr<arrow::Schema>& schema, const std::vector<std::string>& partition_by = {}) {
    store_ = std::make_shared<testing::FaultyStore>(objectstore::MakeMemoryStore());
    MILLRACE_ASSERT_OK_AND_ASSIGN(
        table_, delta::Table::OpenOrCreate(store_, {.schema = schema, .partition_columns = partition_by}));
  }
  void Add(const std::shared_ptr<arrow::RecordBatch>& rows, delta::PartitionValues values = {},
           std::shared_ptr<parquet::WriterProperties> properties = parquet::default_writer_properties(),
           std::int64_t row_group_rows = 1 << 20) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, arrow::Table::FromRecordBatches({rows}));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto out, arrow::io::BufferOutputStream::Create());
    MILLRACE_ASSERT_OK(
        parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), out, row_group_rows, std::move(properties)));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto bytes, out->Finish());
    const std::string key = RandomUuid() + ".parquet";
    MILLRACE_ASSERT_OK(store_->Put(key, std::string_view(*bytes)));
    MILLRACE_ASSERT_OK(
        table_->Commit({.adds = {{.path = key, .partition_values = std::move(values), .size = bytes->size()}}}));
    keys_.push_back(key);
  }

  std::shared_ptr<arrow::Schema> Schema() const {
    arrow::FieldVector fields;
    for (const auto& field : table_->snapshot()->schema->fields())
      fields.push_back(arrow::field(field->name(), field->type()));
    return arrow::schema(std::move(fields));
  }
  Result<std::optional<sql::ParquetFiles>> Files(const delta::Conjunction& where = {}) {
    return ParquetFilesOf(store_, *table_->snapshot(), Schema(), where, [](const std::string&) { return true; });
  }
  // A session in which `t` is the table as DuckDB reads it, and one in which it is what we read.
  Result<std::unique_ptr<sql::SqlSession>> Theirs(bool is_far = false) {
    ASSIGN_OR_RETURN(auto session, sql::SqlSession::Make(std::int64_t{1} << 30, 2));
    ASSIGN_OR_RETURN(auto files, Files());
    if (!files) return Unsupported("DuckDB does not read it");
    files->is_far = is_far;
    files->counts = counts_;
    RETURN_NOT_OK(session->RegisterParquet("t", *std::move(files)));
    return session;
  }
  Result<std::unique_ptr<sql::SqlSession>> Ours() {
    ASSIGN_OR_RETURN(auto session, sql::SqlSession::Make());
    ASSIGN_OR_RETURN(const auto reader, delta::OpenScan(store_, table_->snapshot()));
    ASSIGN_OR_RETURN(auto batches, reader->ToRecordBatches());
    std::vector<std::shared_ptr<arrow::RecordBatch>> plain;
    for (const auto& batch : batches)
      plain.push_back(arrow::RecordBatch::Make(Schema(), batch->num_rows(), batch->columns()));
    RETURN_NOT_OK(session->Register("t", Schema(), std::move(plain)));
    return session;
  }
  static Result<std::string> Run(sql::SqlSession& session, const std::string& sql) {
    ASSIGN_OR_RETURN(const auto result, session.Run(sql, {}, {}));
    ASSIGN_OR_RETURN(const auto rows, result.rows->CombineChunksToBatch());
    return rows->ToString();
  }

  std::shared_ptr<testing::FaultyStore> store_;
  std::shared_ptr<delta::Table> table_;
  std::vector<std::string> keys_;
  std::shared_ptr<sql::ParquetCounts> counts_ = std::make_shared<sql::ParquetCounts>();
};

// A column of random values, some, none or all of them null.
class RandomColumns {
 public:
  explicit RandomColumns(unsigned seed) : random_(seed) {}

  std::int64_t Below(std::int64_t bound) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(bound));
  }

  Result<std::shared_ptr<arrow::Array>> Make(const std::shared_ptr<arrow::DataType>& type, std::int64_t rows) {
    const std::int64_t nulls_in_ten = std::vector<std::int64_t>{0, 0, 1, 5, 10}[static_cast<std::size_t>(Below(5))];
    const std::int64_t distinct = Below(2) == 0 ? 1 + Below(8) : 1 << 14;  // Few fit a dictionary; many overflow it.
    ASSIGN_OR_RETURN(auto builder, arrow::MakeBuilder(type));
    for (std::int64_t row = 0; row < rows; ++row) {
      if (Below(10) < nulls_in_ten) {
        RETURN_NOT_OK(builder->AppendNull());
        continue;
      }
      RETURN_NOT_OK(Append(*builder, Below(distinct) - distinct / 2));
    }
    return builder->Finish();
  }

 private:
  static Status Append(arrow::ArrayBuilder& builder, std::int64_t value) {
    switch (builder.type()->id()) {
      case arrow::Type::BOOL:
        return static_cast<arrow::BooleanBuilder&>(builder).Append(value % 2 == 0);
      case arrow::Type::INT16:
        return static_cast<arrow::Int16Builder&>(builder).Append(static_cast<std::int16_t>(value));
      case arrow::Type::INT32:
        return static_cast<arrow::Int32Builder&>(builder).Append(static_cast<std::int32_t>(value));
      case arrow::Type::INT64:
        return static_cast<arrow::Int64Builder&>(builder).Append(value);
      case arrow::Type::DOUBLE:
        return static_cast<arrow::DoubleBuilder&>(builder).Append(
            value % 19 == 7 ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(value) / 10);
      case arrow::Type::STRING:
        return static_cast<arrow::StringBuilder&>(builder).Append(
            value == 0 ? ""
                       : fmt::format("{}{}", value % 3 == 0 ? "a text of more than twelve bytes: Ü " : "é", value));
      case arrow::Type::BINARY:
        return static_cast<arrow::BinaryBuilder&>(builder).Append(std::string(2, static_cast<char>(value)));
      case arrow::Type::DATE32:
        return static_cast<arrow::Date32Builder&>(builder).Append(static_cast<std::int32_t>(value));
      case arrow::Type::TIMESTAMP:
        return static_cast<arrow::TimestampBuilder&>(builder).Append(value * 1'000'003);
      default:
        return static_cast<arrow::Decimal128Builder&>(builder).Append(arrow::Decimal128(value * 7));
    }
  }

  std::mt19937_64 random_;
};

TEST_F(ParquetSourceTest, DuckDbReadsWhatWeRead) {
  const auto schema = arrow::schema({field("id", arrow::int64()), field("t", arrow::utf8()), field("u", arrow::utf8()),
                                     field("d", arrow::float64()), field("m", arrow::decimal128(12, 2)),
                                     field("ts", kTs), field("b", arrow::boolean()), field("bin", arrow::binary()),
                                     field("day", arrow::date32()), field("small", arrow::int32()),
                                     field("p", arrow::utf8()), field("n", arrow::int64()), field("since", kTs)});
  const std::vector<std::string> questions = {
      "SELECT * FROM t ORDER BY ALL",
      "SELECT count(*), count(t), count(DISTINCT t), count(DISTINCT id), sum(m), min(ts), max(day) FROM t",
      "SELECT t, count(*), sum(m), max(d) FROM t GROUP BY ALL ORDER BY ALL",
      "SELECT t, u, p, b, count(*) FROM t GROUP BY ALL ORDER BY ALL",
      "SELECT id, t, d FROM t ORDER BY d DESC, id, t LIMIT 7",
      "SELECT id, t, d FROM t ORDER BY d, id, t LIMIT 7",
      "SELECT p, id, t FROM t ORDER BY p DESC NULLS FIRST, id NULLS FIRST, t NULLS FIRST LIMIT 7",
      "SELECT n, small FROM t ORDER BY n NULLS LAST, small DESC NULLS LAST LIMIT 7",
      "SELECT count(*) FROM t WHERE d > 0.1",
      "SELECT count(*) FROM t WHERE d >= 'NaN' OR d < -3.3",
      "SELECT count(*) FROM t WHERE d NOT BETWEEN -0.35 AND 1e300",
      "SELECT count(*) FROM t WHERE id > -3000000000 AND small < 40000",  // More than a narrower file's type can hold.
      "SELECT count(*) FROM t WHERE id < -3000000000 OR small > 40000",
      "SELECT count(*) FROM t WHERE id IN (1, 2, -3, 3000000000)",
      "SELECT count(*) FROM t WHERE m <> 2.80 AND m < 1234567890.01",
      "SELECT count(*) FROM t WHERE m > 0.125 OR m = -0.07",
      "SELECT count(*) FROM t WHERE ts > '1970-01-01 00:00:03.000008' AND ts <= '1970-01-01 00:01:00.000061'",
      "SELECT count(*), max(ts) FROM t WHERE since IS NOT NULL OR ts IS NULL",
      "SELECT min(id), max(id), min(t), max(t), min(d), max(d), min(p), max(p), min(n), max(small) FROM t",
      "SELECT id, t, p, n FROM t WHERE t = 'é1' OR p IS NULL ORDER BY ALL",
      "SELECT count(*) FROM t WHERE t IS NULL AND small > 0",
      "SELECT count(*), min(p) FROM t WHERE p >= 'b' AND m BETWEEN -5 AND 5",
      "SELECT count(*) FROM t WHERE n = 3 AND ts > '1970-01-01' AND bin IS NOT NULL",
      "SELECT a.t, count(*) FROM t a JOIN t b ON a.id = b.small AND a.p = b.p GROUP BY ALL ORDER BY ALL",
      "SELECT p, n, since, count(*) FROM t GROUP BY ALL ORDER BY ALL",
      "SELECT u FROM t WHERE small IN (1, 2, 3) ORDER BY ALL",
      "SELECT count(*) FROM t",
  };
  for (unsigned seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    RandomColumns random(seed);
    Create(schema, {"p", "n", "since"});
    for (std::int64_t files = 1 + random.Below(5); files > 0; --files) {
      const std::int64_t rows = random.Below(6) == 0 ? 0 : 1 + random.Below(9000);
      arrow::FieldVector fields;
      arrow::ArrayVector columns;
      for (int i = 0; i < schema->num_fields() - 3; ++i) {
        if (random.Below(6) == 0) continue;  // The column was added later.
        auto type = schema->field(i)->type();
        if (type->id() == arrow::Type::INT64 && random.Below(3) == 0) type = arrow::int32();  // It was narrower.
        if (type->id() == arrow::Type::INT32 && random.Below(3) == 0) type = arrow::int16();
        if (type->id() == arrow::Type::DECIMAL128 && random.Below(3) == 0) type = arrow::decimal128(10, 2);
        if (type->id() == arrow::Type::TIMESTAMP && random.Below(3) == 0)
          type = arrow::timestamp(arrow::TimeUnit::MICRO);
        fields.push_back(field(random.Below(4) == 0 && i == 1 ? "T" : schema->field(i)->name(), type));
        MILLRACE_ASSERT_OK_AND_ASSIGN(auto values, random.Make(type, rows));
        columns.push_back(std::move(values));
      }
      if (columns.empty()) continue;
      const std::vector<parquet::Compression::type> codecs = {parquet::Compression::ZSTD, parquet::Compression::SNAPPY,
                                                              parquet::Compression::UNCOMPRESSED};
      parquet::WriterProperties::Builder properties;
      properties.compression(codecs[static_cast<std::size_t>(random.Below(3))])
          ->data_pagesize(random.Below(2) == 0 ? 512 : 1 << 20)
          ->write_batch_size(64)
          ->dictionary_pagesize_limit(random.Below(2) == 0 ? 256 : 1 << 20)
          ->data_page_version(random.Below(2) == 0 ? parquet::ParquetDataPageVersion::V1
                                                   : parquet::ParquetDataPageVersion::V2);
      if (random.Below(4) == 0) properties.disable_dictionary();
      if (random.Below(4) == 0) properties.disable_statistics();
      const std::vector<std::optional<std::string>> texts = {std::nullopt, "a", "b/c=d e%", "ü"};
      const std::vector<std::optional<std::string>> numbers = {std::nullopt, "3", "-7"};
      const std::vector<std::optional<std::string>> times = {std::nullopt, "2026-01-02 03:04:05.000006"};
      ASSERT_NO_FATAL_FAILURE(Add(arrow::RecordBatch::Make(arrow::schema(fields), rows, columns),
                                  {{"p", texts[static_cast<std::size_t>(random.Below(4))]},
                                   {"n", numbers[static_cast<std::size_t>(random.Below(3))]},
                                   {"since", times[static_cast<std::size_t>(random.Below(2))]}},
                                  properties.build(), 1 + random.Below(4000)));
    }
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto theirs, Theirs(/*is_far=*/seed % 2 == 0));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto ours, Ours());
    for (const auto& question : questions) {
      SCOPED_TRACE(question);
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto got, Run(*theirs, question));
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto wanted, Run(*ours, question));
      EXPECT_EQ(got, wanted);
    }
  }
}

TEST_F(ParquetSourceTest, WhatIsReadIsCounted) {
  Create(arrow::schema({field("id", arrow::int64()), field("t", arrow::utf8())}));
  for (int file = 0; file < 3; ++file) {
    Add(BatchFromJson(Schema(), fmt::format(R"([[{0}1, "a"], [{0}2, "b"], [{0}3, "c"], [{0}4, "d"]])", file + 1)), {},
        parquet::default_writer_properties(), 2);
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, Theirs());
  EXPECT_THAT(Run(*session, "SELECT t FROM t WHERE id = 23").ValueOrDie(), HasSubstr("\"c\""));
  EXPECT_EQ(counts_->columns, (std::set<int>{0, 1}));
  EXPECT_EQ(counts_->files, 3);
  EXPECT_EQ(counts_->row_groups, 6);
  EXPECT_EQ(counts_->row_groups_read, 1);
  EXPECT_EQ(counts_->rows, 1);
  EXPECT_GT(counts_->bytes, 300);
}

TEST_F(ParquetSourceTest, AllThreadsAreCounted) {
  Create(arrow::schema({field("id", arrow::int64()), field("t", arrow::utf8())}));
  for (int file = 0; file < 4; ++file) {
    RandomColumns random(static_cast<unsigned>(file));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto texts, random.Make(arrow::utf8(), 12'000));
    arrow::Int64Builder ids;
    for (int row = 0; row < 12'000; ++row) MILLRACE_ASSERT_OK(ids.Append(file * 12'000 + row));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto numbers, ids.Finish());
    Add(arrow::RecordBatch::Make(Schema(), 12'000, {numbers, texts}), {}, parquet::default_writer_properties(), 4000);
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make(std::int64_t{1} << 30, 4));
  for (int run = 0; run < 50; ++run) {
    SCOPED_TRACE(run);
    // A recursion reads it again for each of its rounds.
    for (const int rounds : {1, 3}) {
      const auto counts = std::make_shared<sql::ParquetCounts>();
      MILLRACE_ASSERT_OK_AND_ASSIGN(auto files, Files());
      files->counts = counts;
      MILLRACE_ASSERT_OK(session->RegisterParquet("t", *std::move(files)));
      const std::string once = "SELECT count(t) + count(*) AS n FROM t WHERE id % 7 <> 7";
      MILLRACE_ASSERT_OK(Run(*session, rounds == 1
                                           ? once
                                           : "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT r.i + 1 FROM r, (" +
                                                 once + ") AS c WHERE r.i < 4 AND c.n >= 0) SELECT * FROM r")
                             .status());
      EXPECT_EQ(counts->files, 4);
      EXPECT_EQ(counts->rows % 48'000, 0) << counts->rows;
      EXPECT_EQ(counts->row_groups, counts->row_groups_read);
      EXPECT_EQ(counts->row_groups * 4000, counts->rows);
      EXPECT_GE(counts->rows, 48'000);
    }
  }
}

TEST_F(ParquetSourceTest, ColumnsOfDuckDbsOwnAreNoColumns) {
  Create(arrow::schema({field("id", arrow::int64()), field("file_index", arrow::utf8())}));
  Add(BatchFromJson(Schema(), R"([[1, "a"], [2, "b"]])"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, Theirs());
  for (const char* name : {"filename", "file_row_number", "rowid", "\"\""}) {
    SCOPED_TRACE(name);
    EXPECT_FALSE(Run(*session, fmt::format("SELECT {} FROM t", name)).ok());
  }
  EXPECT_THAT(Run(*session, "SELECT file_index FROM t ORDER BY id DESC LIMIT 1").ValueOrDie(), HasSubstr("\"b\""));
}

TEST_F(ParquetSourceTest, OnlyFilesThatMayMatchAreNamed) {
  Create(arrow::schema({field("id", arrow::int64()), field("p", arrow::utf8())}), {"p"});
  const auto stored = arrow::schema({field("id", arrow::int64())});
  for (const char* p : {"a", "b", "c"}) Add(BatchFromJson(stored, "[[1]]"), {{"p", p}});
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto files,
      Files({{.column = "p", .comparator = delta::Comparator::kEqual, .values = {std::string("b")}}}));
  ASSERT_TRUE(files);
  ASSERT_EQ(files->files.size(), 1u);
  ASSERT_EQ(files->constants.size(), 1u);
  EXPECT_EQ(files->constants[0].value->ToString(),
            BatchFromJson(arrow::schema({field("p", arrow::utf8())}), R"([["b"]])")->column(0)->ToString());
}

TEST_F(ParquetSourceTest, WhatDuckDbWouldReadOtherwiseItDoesNotRead) {
  // Nested columns, unless nobody looks at them.
  Create(arrow::schema({field("id", arrow::int64()), field("l", arrow::list(arrow::int64()))}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto files, Files());
  EXPECT_FALSE(files);
  MILLRACE_ASSERT_OK_AND_ASSIGN(files, ParquetFilesOf(store_, *table_->snapshot(), Schema(), {},
                                                      [](const std::string& name) { return name == "id"; }));
  EXPECT_TRUE(files);
}

TEST_F(ParquetSourceTest, FilesThatAreNotAsTheTableSaysFailTheReading) {
  struct Case {
    std::shared_ptr<arrow::DataType> wanted;
    std::shared_ptr<arrow::DataType> stored;
    const char* rows;
  };
  const std::vector<Case> cases = {
      {arrow::int64(), arrow::utf8(), R"([["7"]])"},                          // DuckDB would make a number of it,
      {arrow::utf8(), arrow::int64(), "[[7]]"},                               // or a text,
      {arrow::utf8(), arrow::binary(), R"([["\u0001"]])"},                    // or the hexadecimal digits,
      {arrow::decimal128(12, 1), arrow::decimal128(12, 2), R"([["1.25"]])"},  // or round,
      {arrow::decimal128(12, 2), arrow::decimal128(12, 1), R"([["1.3"]])"},  // or compare with 1.3 where 1.25 is asked,
      {arrow::decimal128(12, 2), arrow::int64(), "[[1]]"},                   // with 1,
      {arrow::float64(), arrow::int32(), "[[2]]"},                           // with 2 for 1.5,
      {arrow::float64(), arrow::float32(), "[[0.1]]"},                       // with less than the digits that it has,
      {arrow::timestamp(arrow::TimeUnit::MICRO), arrow::date32(), "[[1]]"},  // with a day;
      {arrow::int32(), arrow::int64(), "[[5000000000]]"},                    // and this is an error of both.
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.wanted->ToString() + " of " + c.stored->ToString());
    Create(arrow::schema({field("v", c.wanted)}));
    Add(BatchFromJson(arrow::schema({field("v", c.stored)}), c.rows));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, Theirs());
    EXPECT_FALSE(Run(*session, "SELECT v FROM t").ok());
    EXPECT_TRUE(session->ReadingFailed());
  }
}

TEST_F(ParquetSourceTest, ReadingThatFailsSaysSoAndASessionGoesOn) {
  Create(arrow::schema({field("id", arrow::int64())}));
  Add(BatchFromJson(Schema(), "[[1], [2]]"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, Theirs());
  EXPECT_FALSE(Run(*session, "SELECT error('no') FROM t").ok());
  EXPECT_FALSE(session->ReadingFailed());  // It was not the reading.
  MILLRACE_ASSERT_OK(store_->Put(keys_[0], std::string_view("PAR1 but not much of it PAR1")));
  EXPECT_FALSE(Run(*session, "SELECT id FROM t").ok());
  EXPECT_TRUE(session->ReadingFailed());
  MILLRACE_ASSERT_OK(session->Register("t", Schema(), {BatchFromJson(Schema(), "[[5]]")}));
  EXPECT_THAT(Run(*session, "SELECT id FROM t").ValueOrDie(), HasSubstr("5"));
  EXPECT_FALSE(session->ReadingFailed());
}

TEST_F(ParquetSourceTest, NoAddressOfAFileOpensForThoseWhoKnowIt) {
  Create(arrow::schema({field("id", arrow::int64())}));
  Add(BatchFromJson(Schema(), "[[1], [2]]"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, Theirs());
  for (const char* address :
       {"millrace://0/1", "millrace://9/0", "millrace://", "millrace://x", "millrace://0/0/../1", "/etc/passwd",
        "file:///etc/passwd", "millrace:///etc/passwd", "millrace://../etc/passwd"}) {
    SCOPED_TRACE(address);
    EXPECT_FALSE(session->Query(fmt::format("SELECT * FROM read_text('{}')", address)).ok());
    EXPECT_FALSE(session->Query(fmt::format("SELECT * FROM read_parquet('{}')", address)).ok());
    EXPECT_FALSE(session->Query(fmt::format("COPY (SELECT 1) TO '{}'", address)).ok());
  }
  session->Forget("t");
  EXPECT_FALSE(session->Query("SELECT * FROM read_parquet('millrace://0/0')").ok());
  EXPECT_FALSE(session->Query("SELECT * FROM t").ok());
}

}  // namespace
}  // namespace millrace::query
