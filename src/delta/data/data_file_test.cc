// Data files: what is written is read back, statistics never lie, batches split by partition. The footer's bounds are
// checked against the traps that other writers fell into: NaN, infinities, long strings, invalid UTF-8.
#include "delta/data/data_file.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/table.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <simdjson.h>
#include <spdlog/sinks/ostream_sink.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <random>
#include <sstream>
#include <string_view>

#include "base/log.h"
#include "base/uuid.h"
#include "delta/data/file_stats.h"
#include "testing/batch_from_json.h"
#include "testing/faulty_store.h"
#include "testing/status_matchers.h"

namespace millrace::delta {
namespace {

namespace fs = std::filesystem;
using millrace::testing::BatchFromJson;

const auto kUtc = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");

class DataFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("delta-data-" + RandomUuid());
    MILLRACE_ASSERT_OK_AND_ASSIGN(store_, objectstore::OpenStore(folder_.string()));
  }
  void TearDown() override { fs::remove_all(folder_); }

  Result<AddFile> Write(const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches,
                        const DataFileOptions& options = {}, const PartitionValues& values = {}) {
    ARROW_ASSIGN_OR_RAISE(auto writer, DataFileWriter::Make(store_, batches[0]->schema(), values, options));
    for (const auto& batch : batches) ARROW_RETURN_NOT_OK(writer->Append(*batch));
    return writer->Finish();
  }
  static Snapshot SnapshotOf(const std::shared_ptr<arrow::Schema>& schema,
                             const std::vector<std::string>& partitions = {}) {
    Snapshot snapshot;
    snapshot.version = 0;
    snapshot.schema = schema;
    snapshot.metadata.partition_columns = partitions;
    return snapshot;
  }
  // The stats of a file with this one column: "min|max|nulls".
  std::string Bounds(const std::shared_ptr<arrow::DataType>& type, const std::string& json) {
    const auto add = Write({BatchFromJson(arrow::schema({arrow::field("c", type)}), json)});
    EXPECT_TRUE(add.ok()) << add.status();
    return BoundsOf(*add->stats);
  }
  static std::string BoundsOf(const std::string& stats) {
    simdjson::dom::parser parser;
    simdjson::dom::element root;
    EXPECT_EQ(parser.parse(stats).get(root), simdjson::SUCCESS) << stats;
    std::string text;
    for (const char* group : {"minValues", "maxValues", "nullCount"}) {
      simdjson::dom::element value;
      text += root[group]["c"].get(value) == simdjson::SUCCESS ? simdjson::minify(value) : "-";
      text += '|';
    }
    return text;
  }

  fs::path folder_;
  std::shared_ptr<objectstore::ObjectStore> store_;
};

TEST_F(DataFileTest, EveryTypeIsReadBackAsWritten) {
  const auto schema = arrow::schema({
      arrow::field("s", arrow::utf8()),
      arrow::field("b", arrow::binary()),
      arrow::field("t", arrow::boolean()),
      arrow::field("i8", arrow::int8()),
      arrow::field("i16", arrow::int16()),
      arrow::field("i32", arrow::int32()),
      arrow::field("i64", arrow::int64(), false),
      arrow::field("f", arrow::float32()),
      arrow::field("d", arrow::float64()),
      arrow::field("dec", arrow::decimal128(12, 2)),
      arrow::field("big", arrow::decimal128(38, 10)),
      arrow::field("date", arrow::date32()),
      arrow::field("ts", kUtc),
      arrow::field("list", arrow::list(arrow::field("element", arrow::utf8()))),
      arrow::field("st", arrow::struct_({arrow::field("x", arrow::int64()), arrow::field("y", arrow::utf8())})),
      arrow::field("map", std::make_shared<arrow::MapType>(arrow::field("key", arrow::utf8(), false),
                                                           arrow::field("value", arrow::int64()))),
  });
  const auto batch = BatchFromJson(schema, R"([
    ["a", "x", true, 1, 2, 3, 4, 1.5, 2.5, "1.25", "3.0000000001", 19000, "2024-01-02 03:04:05.678901", ["p", null], {"x": 1, "y": null}, [["k", 1]]],
    [null, null, null, null, null, null, 5, null, null, null, null, null, null, null, null, null],
    ["", "", false, -1, -2, -3, -4, -1.5, -2.5, "-1.25", "-3.0000000000", -1, "1969-12-31 23:59:59.999999", [], {"x": null, "y": "z"}, []]
  ])");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const AddFile add, Write({batch}));
  EXPECT_EQ(NumRecords(add), 3);
  EXPECT_EQ(add.size, store_->Stat(add.path).ValueOrDie()->size);
  EXPECT_TRUE(add.data_change);
  const Snapshot snapshot = SnapshotOf(schema);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto back, ReadDataFile(*store_, snapshot, add));
  ASSERT_EQ(back.size(), 1u);
  EXPECT_TRUE(back[0]->Equals(*batch)) << back[0]->ToString();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto two, ReadDataFile(*store_, snapshot, add, {"ts", "s"}));
  EXPECT_EQ(two[0]->schema()->field_names(), (std::vector<std::string>{"ts", "s"}));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, ReadDataFile(*store_, snapshot, add, {"none"}));
  EXPECT_EQ(
      *add.stats,
      R"({"numRecords":3,"minValues":{"s":"","i8":-1,"i16":-2,"i32":-3,"i64":-4,"f":-1.5,"d":-2.5,"dec":-1.25,)"
      R"("big":-3.0000000000,"date":"1969-12-31","ts":"1969-12-31T23:59:59.999Z","st":{"x":1,"y":"z"}},)"
      R"("maxValues":{"s":"a","i8":1,"i16":2,"i32":3,"i64":5,"f":1.5,"d":2.5,"dec":1.25,"big":3.0000000001,)"
      R"("date":"2022-01-08","ts":"2024-01-02T03:04:05.678Z","st":{"x":1,"y":"z"}},)"
      R"("nullCount":{"s":1,"b":1,"t":1,"i8":1,"i16":1,"i32":1,"i64":0,"f":1,"d":1,"dec":1,"big":1,"date":1,"ts":1,)"
      R"("st":{"x":2,"y":2}}})");
}

TEST_F(DataFileTest, BoundsNeverLie) {
  EXPECT_EQ(Bounds(arrow::float64(), "[[1.5],[-2],[null]]"), "-2.0|1.5|1|");
  EXPECT_EQ(Bounds(arrow::float64(), "[[NaN],[1.5]]"), "-|-|0|") << "for Spark NaN is above 1.5";
  EXPECT_EQ(Bounds(arrow::float64(), "[[NaN]]"), "-|-|0|");
  EXPECT_EQ(Bounds(arrow::float64(), "[[Inf],[1.5]]"), "1.5|-|0|");
  EXPECT_EQ(Bounds(arrow::float64(), "[[-Inf],[1.5]]"), "-|1.5|0|");
  EXPECT_EQ(Bounds(arrow::float32(), "[[NaN],[0.1]]"), "-|-|0|");
  EXPECT_EQ(Bounds(arrow::float32(), "[[0.1]]"), "0.1|0.1|0|");
  EXPECT_EQ(Bounds(arrow::int64(), "[[null],[null]]"), "-|-|2|");
  EXPECT_EQ(Bounds(arrow::int64(), "[[-9223372036854775808],[9223372036854775807]]"),
            "-9223372036854775808|9223372036854775807|0|");
  EXPECT_EQ(Bounds(arrow::decimal128(38, 2), R"([["-0.01"],["123456789012345678901234567890123456.78"]])"),
            Bounds(arrow::decimal128(38, 2), R"([["123456789012345678901234567890123456.78"],["-0.01"]])"));
  EXPECT_EQ(Bounds(arrow::boolean(), "[[true]]"), "-|-|0|");
  EXPECT_EQ(Bounds(arrow::binary(), R"([["x"]])"), "-|-|0|");
  EXPECT_EQ(Bounds(kUtc, R"([["2024-01-01 00:00:00.000999"]])"),
            R"("2024-01-01T00:00:00.000Z"|"2024-01-01T00:00:00.000Z"|0|)");
  EXPECT_EQ(Bounds(arrow::utf8(), R"([["a\"b\\\n"],["é"]])"), "\"a\\\"b\\\\\\n\"|\"é\"|0|");
}

TEST_F(DataFileTest, InvalidUtf8HasNoBounds) {
  arrow::StringBuilder builder;
  MILLRACE_ASSERT_OK(builder.Append("\xED\xA0\x80"));  // A lone surrogate.
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto array, builder.Finish());
  const auto schema = arrow::schema({arrow::field("c", arrow::utf8())});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const AddFile add, Write({arrow::RecordBatch::Make(schema, 1, {array})}));
  EXPECT_EQ(BoundsOf(*add.stats), "-|-|0|");
}

// Texts that share prefixes, are prefixes of each other or hold zeros, over several batches, against
// std::minmax_element.
TEST(TextBoundsTest, EqualThoseOfAllValues) {
  std::mt19937 random(11);
  const auto schema = arrow::schema({arrow::field("n", arrow::int64()), arrow::field("s", arrow::utf8())});
  for (int round = 0; round < 300; ++round) {
    TextBounds bounds(*schema);
    std::vector<std::string> all;
    std::int64_t nulls = 0;
    for (int batch = 0; batch < 3; ++batch) {
      arrow::StringBuilder builder;
      const int rows = static_cast<int>(random() % 6);
      for (int i = 0; i < rows; ++i) {
        if (random() % 4 == 0) {
          MILLRACE_ASSERT_OK(builder.AppendNull());
          ++nulls;
          continue;
        }
        std::string text(random() % 24, 'a');
        for (char& c : text) c = std::string_view("\0a\xC3z", 4)[random() % 4 == 0 ? random() % 4 : 1];
        MILLRACE_ASSERT_OK(builder.Append(text));
        all.push_back(text);
      }
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto texts, builder.Finish());
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto numbers, arrow::MakeArrayOfNull(arrow::int64(), rows));
      bounds.Observe(*arrow::RecordBatch::Make(schema, rows, {numbers, texts}));
    }
    EXPECT_EQ(bounds.Find(0), nullptr);
    const auto* column = bounds.Find(1);
    ASSERT_NE(column, nullptr);
    EXPECT_EQ(column->num_nulls, nulls);
    ASSERT_EQ(column->min.has_value(), !all.empty());
    if (all.empty()) continue;
    const auto [min, max] = std::minmax_element(all.begin(), all.end());
    EXPECT_EQ(*column->min, *min);
    EXPECT_EQ(*column->max, *max);
  }
}

TEST(StringBounds, ThirtyTwoCodePointsAndATieBreaker) {
  const std::string thirty_two(32, 'x');
  EXPECT_EQ(LowerBound(thirty_two), thirty_two);
  EXPECT_EQ(UpperBound(thirty_two), thirty_two);
  EXPECT_EQ(LowerBound(thirty_two + "y"), thirty_two);
  EXPECT_EQ(UpperBound(thirty_two + "y"), thirty_two + "\x7F");
  EXPECT_EQ(UpperBound(thirty_two + "\x7F"), thirty_two + "\xF4\x8F\xBF\xBF");
  EXPECT_EQ(UpperBound(thirty_two + "é"), thirty_two + "\xF4\x8F\xBF\xBF");
  EXPECT_EQ(UpperBound(thirty_two + "\xF4\x8F\xBF\xBF"), std::nullopt);
  std::string wide;
  for (int i = 0; i < 40; ++i) wide += "€";
  EXPECT_EQ(LowerBound(wide)->size(), 96u) << "cut between code points";
  EXPECT_GT(*UpperBound(wide), wide);
  EXPECT_EQ(LowerBound("\xFF"), std::nullopt);
}

TEST_F(DataFileTest, OnlyTheFirstColumnsAreIndexed) {
  const auto inner = arrow::struct_({arrow::field("x", arrow::int64()), arrow::field("y", arrow::int64())});
  const auto schema = arrow::schema({arrow::field("a", arrow::int64()), arrow::field("l", arrow::list(arrow::int64())),
                                     arrow::field("s", inner), arrow::field("z", arrow::int64())});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto writer, DataFileWriter::Make(store_, schema, {}));
  MILLRACE_ASSERT_OK(writer->Append(*BatchFromJson(schema, R"([[1, [2], {"x": 3, "y": 4}, 5]])")));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const AddFile add, writer->Finish({.leaves = {}, .num_others = 3}));
  EXPECT_EQ(
      *add.stats,
      R"({"numRecords":1,"minValues":{"a":1,"s":{"x":3}},"maxValues":{"a":1,"s":{"x":3}},"nullCount":{"a":0,"s":{"x":0}}})");
}

TEST_F(DataFileTest, ManyRowsInSeveralRowGroupsWithChosenEncodings) {
  const auto schema = arrow::schema(
      {arrow::field("id", arrow::utf8()), arrow::field("n", arrow::int64()), arrow::field("low", arrow::utf8()),
       arrow::field("ts", kUtc), arrow::field("dec", arrow::decimal128(12, 2)), arrow::field("d", arrow::float64())});
  DataFileOptions options;
  options.row_group_rows_max = 7'000;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  std::vector<std::shared_ptr<arrow::Array>> all;
  std::int64_t row = 0;
  for (const int rows : {10, 0, 5'000, 1, 10'000, 0, 4'989}) {
    arrow::StringBuilder id;
    arrow::Int64Builder n;
    arrow::StringBuilder low;
    arrow::TimestampBuilder ts(kUtc, arrow::default_memory_pool());
    arrow::Decimal128Builder dec(arrow::decimal128(12, 2));
    arrow::DoubleBuilder d;
    for (int i = 0; i < rows; ++i, ++row) {
      MILLRACE_ASSERT_OK(id.Append("id-" + std::to_string(row * 7919 % 1'000'003)));
      MILLRACE_ASSERT_OK(row % 11 == 0 ? n.AppendNull() : n.Append(row * 1'000'003 - 500'000'000));
      MILLRACE_ASSERT_OK(low.Append(row % 2 == 0 ? "even" : "odd"));
      MILLRACE_ASSERT_OK(ts.Append(1'700'000'000'000'000 + row * 1001));
      MILLRACE_ASSERT_OK(dec.Append(arrow::Decimal128(row - 100)));
      MILLRACE_ASSERT_OK(d.Append(static_cast<double>(row) / 7));
    }
    batches.push_back(
        arrow::RecordBatch::Make(schema, rows,
                                 {id.Finish().ValueOrDie(), n.Finish().ValueOrDie(), low.Finish().ValueOrDie(),
                                  ts.Finish().ValueOrDie(), dec.Finish().ValueOrDie(), d.Finish().ValueOrDie()}));
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const AddFile add, Write(batches, options));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto back, ReadDataFile(*store_, SnapshotOf(schema), add));
  EXPECT_EQ(back.size(), 3u);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto want, arrow::Table::FromRecordBatches(batches));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto got, arrow::Table::FromRecordBatches(back));
  EXPECT_TRUE(got->Equals(*want));
  const auto bounds = TimestampStats(add, "ts");
  ASSERT_TRUE(bounds.has_value());
  EXPECT_EQ(bounds->min_us, 1'700'000'000'000'000);
  const std::int64_t last = 1'700'000'000'000'000 + 19'999 * 1001;
  EXPECT_GE(bounds->max_us, last);
  EXPECT_LE(bounds->max_us, last + 1000);
  EXPECT_EQ(TimestampStats(add, "none"), std::nullopt);
  EXPECT_NE(add.stats->find(R"("dec":198.99)"), std::string::npos) << *add.stats;
}

TEST(FileStats, ANumberBeyond64BitsTakesNothingElseAway) {
  AddFile add;
  const std::string large(38, '9');
  for (const std::string& number : {large, "-" + large, std::string("1e400"), "1" + std::string(20, '0') + "e300"}) {
    SCOPED_TRACE(number);
    // Texts stay what they are, whatever is in them.
    add.stats = R"({"numRecords":2,"minValues":{"total":)" + number +
                R"(,"say \" 99999999999999999999":1,"ts":"2025-12-22T01:00:00.000Z"},"maxValues":{"total":)" + number +
                R"(,"ts":"2025-12-22T01:00:00.000Z"},"nullCount":{"ts":0}})";
    EXPECT_EQ(NumRecords(add), 2);
    const auto bounds = TimestampStats(add, "ts");
    ASSERT_TRUE(bounds.has_value());
    EXPECT_EQ(bounds->min_us, 1'766'365'200'000'000);
  }
  add.stats = R"({"numRecords":)" + large + "}";
  EXPECT_EQ(NumRecords(add), std::nullopt);
  add.stats = "{\"numRecords\":" + large;
  EXPECT_EQ(NumRecords(add), std::nullopt);
}

// Few texts at first, so that a dictionary is chosen; then so many that it is given up, again in each row group.
TEST_F(DataFileTest, TextsThatOutgrowTheirDictionary) {
  const auto schema = arrow::schema({arrow::field("s", arrow::utf8()), arrow::field("always", arrow::utf8(), false),
                                     arrow::field("none", arrow::utf8()), arrow::field("n", arrow::int64(), false)});
  DataFileOptions options;
  options.row_group_rows_max = 60'000;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  std::int64_t row = 0;
  for (const int rows : {5'000, 30'000, 1, 70'000}) {
    arrow::StringBuilder s;
    arrow::StringBuilder always;
    arrow::StringBuilder none;
    arrow::Int64Builder n;
    for (int i = 0; i < rows; ++i, ++row) {
      const bool few = row % 60'000 < 10'000;
      MILLRACE_ASSERT_OK(row % 13 == 0
                             ? s.AppendNull()
                             : s.Append("text " + std::to_string(few ? row % 50 : row) + std::string(30, '.')));
      MILLRACE_ASSERT_OK(always.Append(row % 3 == 0 ? "three" : "no"));
      MILLRACE_ASSERT_OK(none.AppendNull());
      MILLRACE_ASSERT_OK(n.Append(row));
    }
    batches.push_back(arrow::RecordBatch::Make(
        schema, rows,
        {s.Finish().ValueOrDie(), always.Finish().ValueOrDie(), none.Finish().ValueOrDie(), n.Finish().ValueOrDie()}));
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const AddFile add, Write(batches, options));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto back, ReadDataFile(*store_, SnapshotOf(schema), add));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto want, arrow::Table::FromRecordBatches(batches));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto got, arrow::Table::FromRecordBatches(back));
  EXPECT_TRUE(got->Equals(*want));
  const std::string dots(30 - 8, '.');  // Bounds have 32 characters.
  EXPECT_EQ(*add.stats, R"({"numRecords":105001,"minValues":{"s":"text 0)" + std::string(26, '.') +
                            R"(","always":"no","n":0},"maxValues":{"s":"text 99999)" + dots + "\x7F" +
                            R"(","always":"three","n":105000},"nullCount":{"s":8077,"always":0,"none":105001,"n":0}})");
}

TEST_F(DataFileTest, TextThatIsTooLongForADictionary) {
  const auto schema = arrow::schema({arrow::field("s", arrow::utf8(), false)});
  arrow::StringBuilder s;
  for (int i = 0; i < 6'000; ++i) {
    MILLRACE_ASSERT_OK(i == 5'000 ? s.Append(std::string(2 << 20, 'z')) : s.Append(i % 2 == 0 ? "a" : "b"));
  }
  const auto rows = arrow::RecordBatch::Make(schema, 6'000, {s.Finish().ValueOrDie()});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const AddFile add, Write({rows}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto back, ReadDataFile(*store_, SnapshotOf(schema), add));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto want, arrow::Table::FromRecordBatches({rows}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto got, arrow::Table::FromRecordBatches(back));
  EXPECT_TRUE(got->Equals(*want));
  EXPECT_EQ(*add.stats, R"({"numRecords":6000,"minValues":{"s":"a"},"maxValues":{"s":")" + std::string(32, 'z') +
                            "\x7F" + R"("},"nullCount":{"s":0}})");
}

TEST_F(DataFileTest, NullsInAColumnThatMustNotBeNull) {
  for (const auto& type : {arrow::int64(), arrow::utf8(), arrow::dictionary(arrow::int32(), arrow::utf8())}) {
    SCOPED_TRACE(type->ToString());
    const auto schema = arrow::schema({arrow::field("good", arrow::int64()), arrow::field("bad", type, false)});
    const auto nulls = arrow::MakeArrayOfNull(type, 2).ValueOrDie();
    const auto good = arrow::MakeArrayOfNull(arrow::int64(), 2).ValueOrDie();
    const auto written = Write({arrow::RecordBatch::Make(schema, 2, {good, nulls})});
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, written);
    EXPECT_THAT(written.status().message(), ::testing::HasSubstr("column bad must not be null; 2 of 2 rows are"));
  }
}

TEST_F(DataFileTest, DictionaryColumnsWhoseDictionaryChanges) {
  const auto type = arrow::dictionary(arrow::int32(), arrow::utf8());
  const auto schema = arrow::schema({arrow::field("_topic", type, false)});
  const auto batch = [&](const std::string& dictionary, const std::string& indices) {
    const auto make = [](const std::shared_ptr<arrow::DataType>& t, const std::string& json) {
      return BatchFromJson(arrow::schema({arrow::field("x", t)}), json)->column(0);
    };
    return arrow::RecordBatch::Make(
        schema, 2,
        {arrow::DictionaryArray::FromArrays(type, make(arrow::int32(), indices), make(arrow::utf8(), dictionary))
             .ValueOrDie()});
  };
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const AddFile add, Write({batch(R"([["a"],["unused"]])", "[[0],[0]]"), batch(R"([["c"],["b"]])", "[[0],[1]]")}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto back,
      ReadDataFile(*store_, SnapshotOf(arrow::schema({arrow::field("_topic", arrow::utf8(), false)})), add));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, arrow::Table::FromRecordBatches(back));
  EXPECT_EQ(table->column(0)->GetScalar(2).ValueOrDie()->ToString(), "c");
  EXPECT_NE(add.stats->find(R"("minValues":{"_topic":"a"},"maxValues":{"_topic":"c"})"), std::string::npos)
      << *add.stats;
}

TEST_F(DataFileTest, SchemaMismatchAndFailingStoreAreErrors) {
  const auto schema = arrow::schema({arrow::field("n", arrow::int64())});
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto writer, DataFileWriter::Make(store_, schema, {}));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput,
                       writer->Append(*BatchFromJson(arrow::schema({arrow::field("n", arrow::utf8())}), R"([["x"]])")));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, DataFileWriter::Make(store_, schema, {{"n", "1"}}));

  const auto faulty = std::make_shared<millrace::testing::FaultyStore>(store_);
  faulty->Inject(millrace::testing::StoreOperation::kUploadWrite, 1, millrace::testing::StoreFault::kFail);
  const auto failing = [&]() -> Status {
    ARROW_ASSIGN_OR_RAISE(auto w, DataFileWriter::Make(faulty, schema, {}));
    ARROW_RETURN_NOT_OK(w->Append(*BatchFromJson(schema, "[[1]]")));
    return w->Finish().status();
  };
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, failing());
  faulty->Inject(millrace::testing::StoreOperation::kFinish, 1, millrace::testing::StoreFault::kFail);
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, failing());
  writer.reset();
  EXPECT_TRUE(store_->List("").ValueOrDie().empty());
}

TEST_F(DataFileTest, AFileIsInTheFoldersOfItsPartition) {
  const auto batch = BatchFromJson(arrow::schema({arrow::field("n", arrow::int64())}), "[[1]]");
  struct Case {
    PartitionValues values;
    std::string logged;
    std::string folder;
  };
  for (const auto& c :
       std::vector<Case>{{{}, "", ""},
                         {{{"d", "2024-01-02"}, {"h", "7"}}, "d=2024-01-02/h=7/", "d=2024-01-02/h=7/"},
                         {{{"s", "A/A %"}}, "s=A%252FA%20%2525/", "s=A%2FA %25/"},
                         {{{"s", "../../x"}, {"t", ".."}}, "s=..%252F..%252Fx/t=../", "s=..%2F..%2Fx/t=../"},
                         {{{"s", std::nullopt}, {"t", ""}},
                          "s=__HIVE_DEFAULT_PARTITION__/t=__HIVE_DEFAULT_PARTITION__/",
                          "s=__HIVE_DEFAULT_PARTITION__/t=__HIVE_DEFAULT_PARTITION__/"},
                         {{{"t", "2024-01-02T03:04:05.678901Z"}},
                          "t=2024-01-02T03%253A04%253A05.678901Z/",
                          "t=2024-01-02T03%3A04%3A05.678901Z/"},
                         {{{"a:b", "=\n\x7F\"#'*?\\{[]^"}},
                          "a%253Ab=%253D%250A%257F%2522%2523%2527%252A%253F%255C%257B%255B%255D%255E/",
                          "a%3Ab=%3D%0A%7F%22%23%27%2A%3F%5C%7B%5B%5D%5E/"},
                         {{{"u", "\u00FC \u20AC"}}, "u=%C3%BC%20%E2%82%AC/", "u=\u00FC \u20AC/"},
                         {{{".x", ".y"}, {"_z", "_"}}, "%252Ex=.y/_z=_/", "%2Ex=.y/_z=_/"}}) {
    SCOPED_TRACE(c.folder);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const AddFile add, Write({batch}, {}, c.values));
    EXPECT_TRUE(add.path.starts_with(c.logged + "part-")) << add.path;
    EXPECT_EQ(add.partition_values, c.values);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto listed, store_->List(""));
    ASSERT_EQ(listed.size(), 1u);
    EXPECT_TRUE(listed[0].key.starts_with(c.folder + "part-")) << listed[0].key;
    MILLRACE_ASSERT_OK(store_->Delete(listed[0].key));
  }
}

TEST_F(DataFileTest, AFolderThatNoFileSystemTakesIsLeftOut) {
  const auto batch = BatchFromJson(arrow::schema({arrow::field("n", arrow::int64())}), "[[1]]");
  const auto path = [&](const PartitionValues& values) {
    const auto add = Write({batch}, {}, values);
    return add.ok() ? add->path : add.status().ToString();
  };
  const std::string longest(253, 'x');
  EXPECT_TRUE(path({{"p", longest}}).starts_with("p=x"));
  EXPECT_TRUE(path({{"p", longest + "x"}}).starts_with("part-"));
  EXPECT_TRUE(path({{"a", "1"}, {"p", longest + "x"}}).starts_with("part-"));
  EXPECT_TRUE(path({{"p", std::string(84, ':')}}).starts_with("p=%253A"));
  EXPECT_TRUE(path({{"p", std::string(85, ':')}}).starts_with("part-"));
  EXPECT_TRUE(path({{"a", longest}, {"b", longest}, {"c", longest}}).starts_with("a=x"));
  EXPECT_TRUE(path({{"a", longest}, {"b", longest}, {"c", longest}, {"d", "1"}}).starts_with("part-"));
}

TEST_F(DataFileTest, BrokenFilesAreNamed) {
  const auto schema = arrow::schema({arrow::field("n", arrow::int64())});
  const Snapshot snapshot = SnapshotOf(schema);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const AddFile add, Write({BatchFromJson(schema, "[[1],[2]]")}));
  const auto whole = std::string(std::string_view(*store_->Read(add.path).ValueOrDie()));
  const auto expect = [&](ErrorKind kind, const AddFile& file) {
    const Status status = ReadDataFile(*store_, snapshot, file).status();
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(KindOf(status), kind) << status;
    EXPECT_NE(status.message().find(file.path), std::string::npos) << status;
  };
  AddFile wrong_size = add;
  wrong_size.size += 1;
  expect(ErrorKind::kCorrupt, wrong_size);
  std::string broken = whole;
  broken.replace(broken.size() - 40, 30, std::string(30, 'x'));
  MILLRACE_ASSERT_OK(store_->Put(add.path, broken));
  expect(ErrorKind::kCorrupt, add);
  MILLRACE_ASSERT_OK(store_->Put(add.path, std::string(whole.size(), '\0')));
  expect(ErrorKind::kCorrupt, add);
  MILLRACE_ASSERT_OK(store_->Put(add.path, ""));
  expect(ErrorKind::kCorrupt, add);
  MILLRACE_ASSERT_OK(store_->Delete(add.path));
  expect(ErrorKind::kNotFound, add);
  AddFile outside = add;
  outside.path = "../" + add.path;
  expect(ErrorKind::kCorrupt, outside);
  outside.path = "file:///etc/passwd";
  expect(ErrorKind::kUnsupported, outside);
  MILLRACE_ASSERT_OK(store_->Put(add.path, whole));
  AddFile with_vector = add;
  with_vector.deletion_vector = DeletionVectorDescriptor{.storage_type = "x", .path_or_inline_dv = "y"};
  expect(ErrorKind::kUnsupported, with_vector);
}

TEST_F(DataFileTest, ReadingConformsToTheTablesSchema) {
  const auto stored = arrow::schema({arrow::field("n", arrow::int32()), arrow::field("extra", arrow::int64()),
                                     arrow::field("st", arrow::struct_({arrow::field("b", arrow::int64())}))});
  MILLRACE_ASSERT_OK_AND_ASSIGN(AddFile add, Write({BatchFromJson(stored, R"([[1, 2, {"b": 3}], [null, 2, null]])")}));
  add.partition_values = {{"d", "2024-01-02"}, {"p", std::nullopt}};
  const auto schema = arrow::schema(
      {arrow::field("d", arrow::date32()), arrow::field("n", arrow::int64()), arrow::field("missing", arrow::utf8()),
       arrow::field("p", arrow::utf8()),
       arrow::field("st", arrow::struct_({arrow::field("a", arrow::utf8()), arrow::field("b", arrow::int64())}))});
  const Snapshot snapshot = SnapshotOf(schema, {"d", "p"});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto back, ReadDataFile(*store_, snapshot, add));
  EXPECT_TRUE(back[0]->Equals(
      *BatchFromJson(schema, R"([[19724, 1, null, null, {"a": null, "b": 3}], [19724, null, null, null, null]])")))
      << back[0]->ToString();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto partition_only, ReadDataFile(*store_, snapshot, add, {"d"}));
  EXPECT_EQ(partition_only[0]->num_rows(), 2);
  add.partition_values["d"] = "yesterday";
  const Status status = ReadDataFile(*store_, snapshot, add).status();
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, status);
  EXPECT_NE(status.message().find("yesterday"), std::string::npos);
}

TEST(SplitByPartitionTest, GroupsRowsAndDropsTheColumns) {
  const auto schema = arrow::schema(
      {arrow::field("d", arrow::date32()), arrow::field("s", arrow::utf8()), arrow::field("n", arrow::int64())});
  const auto batch = BatchFromJson(schema, R"([[0, "a", 1], [1, "a", 2], [0, "", 3], [0, null, 4], [0, "a", 5]])");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto parts, SplitByPartition(batch, {"d", "s"}));
  std::map<PartitionValues, std::string> got;
  for (const auto& part : parts) {
    EXPECT_EQ(part.rows->schema()->field_names(), (std::vector<std::string>{"n"}));
    got[part.values] = part.rows->column(0)->ToString();
  }
  const auto rows = [](const std::string& json) {
    return BatchFromJson(arrow::schema({arrow::field("n", arrow::int64())}), json)->column(0)->ToString();
  };
  EXPECT_EQ(got,
            (std::map<PartitionValues, std::string>{{{{"d", "1970-01-01"}, {"s", "a"}}, rows("[[1],[5]]")},
                                                    {{{"d", "1970-01-02"}, {"s", "a"}}, rows("[[2]]")},
                                                    {{{"d", "1970-01-01"}, {"s", std::nullopt}}, rows("[[3],[4]]")}}));
}

TEST(SplitByPartitionTest, EmptyTextsBecomeNullWithOneWarning) {
  std::ostringstream log;
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)));
  const auto batch =
      BatchFromJson(arrow::schema({arrow::field("empties", arrow::utf8()), arrow::field("x", arrow::int64())}),
                    R"([["", 1], [null, 2], ["a", 3]])");
  for (int i = 0; i < 2; ++i) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto parts, SplitByPartition(batch, {"empties"}));
    ASSERT_EQ(parts.size(), 2u);
    EXPECT_EQ(parts[0].values.at("empties"), std::nullopt);
    EXPECT_EQ(parts[0].rows->num_rows(), 2);
  }
  // Nulls alone are nothing to speak of.
  const auto nulls = BatchFromJson(
      arrow::schema({arrow::field("nulls", arrow::utf8()), arrow::field("x", arrow::int64())}), R"([[null, 1]])");
  MILLRACE_ASSERT_OK(SplitByPartition(nulls, {"nulls"}).status());
  spdlog::set_default_logger(before);
  const std::string said = log.str();
  EXPECT_NE(said.find("partition column 'empties': there are empty texts, and they are read back as null"),
            std::string::npos);
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
}

TEST(SplitByPartitionTest, OnePartitionIsNotCopied) {
  const auto schema = arrow::schema({arrow::field("d", arrow::date32()), arrow::field("n", arrow::int64())});
  const auto batch = BatchFromJson(schema, "[[0, 1], [0, 2]]");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto parts, SplitByPartition(batch, {"d"}));
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].rows->column(0)->data()->buffers[1], batch->column(1)->data()->buffers[1]);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto all, SplitByPartition(batch, {}));
  EXPECT_EQ(all[0].rows, batch);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto none, SplitByPartition(batch->Slice(0, 0), {"d"}));
  EXPECT_TRUE(none.empty());
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, SplitByPartition(batch, {"x"}));
}

TEST(SplitByPartitionTest, ValuesThatCannotPartition) {
  const auto split = [](const std::shared_ptr<arrow::DataType>& type, const std::string& json) {
    return SplitByPartition(
        BatchFromJson(arrow::schema({arrow::field("p", type), arrow::field("n", arrow::int64())}), json), {"p"});
  };
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, split(arrow::float64(), "[[NaN, 1]]"));
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, split(arrow::binary(), R"([["x", 1]])"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto parts, split(kUtc, R"([["2024-01-02 03:04:05.000006", 1]])"));
  EXPECT_EQ(parts[0].values.at("p"), "2024-01-02T03:04:05.000006Z");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto decimal, split(arrow::decimal128(5, 2), R"([["1.50", 1]])"));
  EXPECT_EQ(decimal[0].values.at("p"), "1.50");
}

}  // namespace
}  // namespace millrace::delta
