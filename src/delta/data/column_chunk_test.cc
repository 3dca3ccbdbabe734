// The pages that we make, read back by Arrow's own reader of Parquet: values, nulls, bounds and encodings, over row
// groups, pages, dictionaries that do not pay any more, and arrays that are slices.
#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/compute/api.h>
#include <arrow/io/file.h>
#include <arrow/table.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>
#include <parquet/column_page.h>
#include <parquet/column_reader.h>
#include <parquet/file_reader.h>
#include <parquet/statistics.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <limits>
#include <optional>
#include <random>

#include "base/uuid.h"
#include "delta/data/column_chunk_internal.h"
#include "delta/data/data_file.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::delta {
namespace {

namespace fs = std::filesystem;

// How the values of a column go on.
enum class Course { kConstant, kFew, kRising, kAnything, kFewThenAnything };

std::int64_t NumberAt(Course course, std::int64_t row, std::mt19937_64& random) {
  switch (course) {
    case Course::kConstant:
      return 7;
    case Course::kFew:
      return static_cast<std::int64_t>(random() % 50) - 25;
    case Course::kRising:
      return row * 3 + static_cast<std::int64_t>(random() % 2);
    case Course::kFewThenAnything:
      if (row < 5'000) return static_cast<std::int64_t>(random() % 9);
      [[fallthrough]];
    case Course::kAnything:
      return static_cast<std::int64_t>(random());
  }
  return 0;
}

std::string TextOf(std::int64_t number) {
  return std::string(static_cast<std::uint64_t>(number) % 31, '-') + std::to_string(number);
}

// One value: `number` in the builder's type.
Status AppendNumber(const arrow::DataType& type, std::int64_t number, arrow::ArrayBuilder* builder) {
  switch (type.id()) {
    case arrow::Type::BOOL:
      return static_cast<arrow::BooleanBuilder*>(builder)->Append(number % 2 != 0);
    case arrow::Type::INT8:
      return static_cast<arrow::Int8Builder*>(builder)->Append(static_cast<std::int8_t>(number));
    case arrow::Type::INT16:
      return static_cast<arrow::Int16Builder*>(builder)->Append(static_cast<std::int16_t>(number));
    case arrow::Type::INT32:
      return static_cast<arrow::Int32Builder*>(builder)->Append(static_cast<std::int32_t>(number));
    case arrow::Type::DATE32:
      return static_cast<arrow::Date32Builder*>(builder)->Append(static_cast<std::int32_t>(number));
    case arrow::Type::INT64:
      return static_cast<arrow::Int64Builder*>(builder)->Append(number);
    case arrow::Type::TIMESTAMP:
      return static_cast<arrow::TimestampBuilder*>(builder)->Append(number);
    case arrow::Type::FLOAT:
      return static_cast<arrow::FloatBuilder*>(builder)->Append(static_cast<float>(number) / 8);
    case arrow::Type::DOUBLE:
      return static_cast<arrow::DoubleBuilder*>(builder)->Append(static_cast<double>(number) / 8);
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return static_cast<arrow::BinaryBuilder*>(builder)->Append(TextOf(number));
    case arrow::Type::DICTIONARY:
      return static_cast<arrow::StringDictionaryBuilder*>(builder)->Append(TextOf(number));
    default: {
      const int digits = static_cast<const arrow::Decimal128Type&>(type).precision();
      std::int64_t limit = std::numeric_limits<std::int64_t>::max();
      if (digits < 18) {
        limit = 1;
        for (int i = 0; i < digits; ++i) limit *= 10;
      } else if (digits == 18) {
        limit = 1'000'000'000'000'000'000;
      }
      return static_cast<arrow::Decimal128Builder*>(builder)->Append(arrow::Decimal128(number % limit));
    }
  }
}

std::vector<std::shared_ptr<arrow::DataType>> FlatTypes() {
  return {arrow::boolean(),
          arrow::int8(),
          arrow::int16(),
          arrow::int32(),
          arrow::int64(),
          arrow::float32(),
          arrow::float64(),
          arrow::date32(),
          arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"),
          arrow::utf8(),
          arrow::binary(),
          arrow::dictionary(arrow::int32(), arrow::utf8()),
          arrow::decimal128(7, 2),
          arrow::decimal128(18, 3),
          arrow::decimal128(38, 10)};
}

class ColumnChunkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("column-chunk-" + RandomUuid());
    MILLRACE_ASSERT_OK_AND_ASSIGN(store_, objectstore::OpenStore(folder_.string()));
  }
  void TearDown() override { fs::remove_all(folder_); }

  void Write(const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches, const DataFileOptions& options = {}) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto writer, DataFileWriter::Make(store_, batches[0]->schema(), {}, options));
    for (const auto& batch : batches) MILLRACE_ASSERT_OK(writer->Append(*batch));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const AddFile add, writer->Finish());
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto file, arrow::io::ReadableFile::Open((folder_ / add.path).string()));
    parquet::arrow::FileReaderBuilder builder;
    MILLRACE_ASSERT_OK(builder.Open(file));
    MILLRACE_ASSERT_OK(builder.Build(&reader_));
    stats_ = *add.stats;
  }
  std::shared_ptr<arrow::Table> Read() {
    auto table = reader_->ReadTable();
    EXPECT_TRUE(table.ok()) << table.status();
    return table.ok() ? *table : nullptr;
  }
  const parquet::FileMetaData& footer() const { return *reader_->parquet_reader()->metadata(); }

  fs::path folder_;
  std::shared_ptr<objectstore::ObjectStore> store_;
  std::unique_ptr<parquet::arrow::FileReader> reader_;
  std::string stats_;
};

std::shared_ptr<arrow::Array> Dense(const std::shared_ptr<arrow::Array>& array) {
  if (array->type_id() != arrow::Type::DICTIONARY) return array;
  return arrow::compute::Cast(*array, static_cast<const arrow::DictionaryArray&>(*array).dictionary()->type())
      .ValueOrDie();
}

// Batches of all flat types, every column with a course and a share of nulls of its own.
std::vector<std::shared_ptr<arrow::RecordBatch>> RandomBatches(std::mt19937_64& random, std::int64_t rows_max) {
  const auto types = FlatTypes();
  arrow::FieldVector fields;
  std::vector<Course> courses;
  std::vector<int> nulls;  // In a hundred.
  for (const auto& type : types) {
    const bool nullable = random() % 4 != 0;
    fields.push_back(arrow::field("c" + std::to_string(fields.size()), type, nullable));
    courses.push_back(static_cast<Course>(random() % 5));
    nulls.push_back(nullable ? std::array{0, 0, 1, 30, 100}[random() % 5] : 0);
  }
  const auto schema = arrow::schema(fields);
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  std::int64_t row = 0;
  while (row < rows_max) {
    const auto length = static_cast<std::int64_t>(random() % 9'000 + 1);
    const auto skipped = random() % 3 == 0 ? static_cast<std::int64_t>(random() % 100) : 0;
    arrow::ArrayVector columns;
    for (std::size_t c = 0; c < types.size(); ++c) {
      auto builder = arrow::MakeBuilder(types[c]).ValueOrDie();
      const bool has_nulls = random() % 3 != 0;  // Some batches of such a column have none.
      for (std::int64_t i = 0; i < length + skipped; ++i) {
        const bool is_null = has_nulls && static_cast<int>(random() % 100) < nulls[c];
        const Status status = is_null ? builder->AppendNull()
                                      : AppendNumber(*types[c], NumberAt(courses[c], row + i, random), builder.get());
        EXPECT_TRUE(status.ok()) << status;
      }
      columns.push_back(builder->Finish().ValueOrDie()->Slice(skipped));
    }
    batches.push_back(arrow::RecordBatch::Make(schema, length, columns));
    row += length;
  }
  return batches;
}

TEST_F(ColumnChunkTest, EveryFlatTypeComesBackWhateverItsValues) {
  std::mt19937_64 random(17);
  for (int round = 0; round < 25; ++round) {
    SCOPED_TRACE(round);
    const auto batches = RandomBatches(random, std::array{1, 100, 10'000, 60'000}[random() % 4]);
    Write(batches, {.row_group_rows_max = std::array{1'000, 20'000, 1 << 20}[random() % 3]});
    const auto table = Read();
    ASSERT_NE(table, nullptr);
    for (int c = 0; c < table->num_columns(); ++c) {
      arrow::ArrayVector written;
      for (const auto& batch : batches) written.push_back(Dense(batch->column(c)));
      EXPECT_TRUE(table->column(c)->Equals(arrow::ChunkedArray(written)))
          << "column " << c << " of " << batches[0]->schema()->field(c)->ToString();
      std::int64_t row = 0;
      for (int g = 0; g < footer().num_row_groups(); ++g) {
        const auto group = footer().RowGroup(g);
        const auto values = table->column(c)->Slice(row, group->num_rows());
        row += group->num_rows();
        const auto statistics = group->ColumnChunk(c)->statistics();
        if (statistics == nullptr) continue;  // Of texts, which the log has.
        EXPECT_EQ(statistics->null_count(), values->null_count());
        if (table->field(c)->type()->id() != arrow::Type::INT64) continue;
        ASSERT_EQ(statistics->HasMinMax(), values->null_count() < values->length());
        if (!statistics->HasMinMax()) continue;
        std::optional<std::int64_t> min;
        std::optional<std::int64_t> max;
        for (const auto& piece : values->chunks()) {
          const auto& numbers = static_cast<const arrow::Int64Array&>(*piece);
          for (const auto& number : numbers) {
            if (!number) continue;
            min = std::min(min.value_or(*number), *number);
            max = std::max(max.value_or(*number), *number);
          }
        }
        const auto& typed = static_cast<const parquet::Int64Statistics&>(*statistics);
        EXPECT_EQ(typed.min(), *min);
        EXPECT_EQ(typed.max(), *max);
      }
    }
  }
}

// A mebibyte of distinct values, after a sample that promised a dictionary: the rest of the row group is plain.
std::shared_ptr<arrow::DataType> RandomType(std::mt19937_64& random, int depth) {
  const auto field = [&](const char* name) {
    return arrow::field(name, RandomType(random, depth - 1), random() % 4 != 0);
  };
  switch (depth == 0 ? 3 : random() % 4) {
    case 0:
      return arrow::list(field("element"));
    case 1:
      return std::make_shared<arrow::MapType>(arrow::field("key", arrow::utf8(), false), field("value"));
    case 2:
      return random() % 2 == 0 ? arrow::struct_({field("a"), field("b")}) : arrow::struct_({field("a")});
    default: {
      auto types = FlatTypes();
      std::erase_if(types, [](const auto& type) { return type->id() == arrow::Type::DICTIONARY; });
      return types[random() % types.size()];
    }
  }
}

struct Filling {
  Course course = Course::kFew;
  std::uint64_t nulls = 0;  // In a hundred.
};

Status AppendRandom(const arrow::Field& field, const Filling& filling, std::int64_t row, std::mt19937_64& random,
                    arrow::ArrayBuilder* builder) {
  if (field.nullable() && random() % 100 < filling.nulls) return builder->AppendNull();
  const arrow::DataType& type = *field.type();
  const auto length = random() % 4 == 0 ? random() % 12 : random() % 3;
  switch (type.id()) {
    case arrow::Type::STRUCT: {
      auto* const members = static_cast<arrow::StructBuilder*>(builder);
      RETURN_NOT_OK(members->Append());
      for (int i = 0; i < type.num_fields(); ++i) {
        RETURN_NOT_OK(AppendRandom(*type.field(i), filling, row, random, members->field_builder(i)));
      }
      return Status::OK();
    }
    case arrow::Type::LIST: {
      auto* const list = static_cast<arrow::ListBuilder*>(builder);
      RETURN_NOT_OK(list->Append());
      for (std::uint64_t i = 0; i < length; ++i) {
        RETURN_NOT_OK(AppendRandom(*type.field(0), filling, row, random, list->value_builder()));
      }
      return Status::OK();
    }
    case arrow::Type::MAP: {
      auto* const map = static_cast<arrow::MapBuilder*>(builder);
      RETURN_NOT_OK(map->Append());
      for (std::uint64_t i = 0; i < length; ++i) {
        RETURN_NOT_OK(static_cast<arrow::StringBuilder*>(map->key_builder())->Append("k" + std::to_string(i)));
        RETURN_NOT_OK(AppendRandom(*static_cast<const arrow::MapType&>(type).item_field(), filling, row, random,
                                   map->item_builder()));
      }
      return Status::OK();
    }
    default:
      return AppendNumber(type, NumberAt(filling.course, row, random), builder);
  }
}

TEST_F(ColumnChunkTest, NestedTypesComeBackWhateverTheyHold) {
  std::mt19937_64 random(23);
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE(round);
    arrow::FieldVector fields = {arrow::field("flat", arrow::utf8())};
    std::vector<Filling> fillings(1);
    for (int c = 0; c < 4; ++c) {
      fields.push_back(arrow::field("c" + std::to_string(c), RandomType(random, 3), random() % 4 != 0));
      fillings.push_back({static_cast<Course>(random() % 5), std::array{0, 0, 5, 50, 100}[random() % 5] + 0ULL});
    }
    const auto schema = arrow::schema(fields);
    std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
    const std::int64_t rows_max = std::array{1, 100, 3'000, 20'000}[random() % 4];
    for (std::int64_t row = 0; row < rows_max;) {
      const auto length = static_cast<std::int64_t>(random() % 6'000 + 1);
      const auto skipped = random() % 3 == 0 ? static_cast<std::int64_t>(random() % 100) : 0;
      arrow::ArrayVector columns;
      for (std::size_t c = 0; c < fields.size(); ++c) {
        auto builder = arrow::MakeBuilder(fields[c]->type()).ValueOrDie();
        for (std::int64_t i = 0; i < length + skipped; ++i) {
          MILLRACE_ASSERT_OK(AppendRandom(*fields[c], fillings[c], row + i, random, builder.get()));
        }
        columns.push_back(builder->Finish().ValueOrDie()->Slice(skipped));
      }
      batches.push_back(arrow::RecordBatch::Make(schema, length, columns));
      row += length;
    }
    Write(batches, {.row_group_rows_max = std::array{1'000, 20'000, 1 << 20}[random() % 3]});
    const auto table = Read();
    ASSERT_NE(table, nullptr);
    for (int c = 0; c < table->num_columns(); ++c) {
      arrow::ArrayVector written;
      for (const auto& batch : batches) written.push_back(batch->column(c));
      EXPECT_TRUE(table->column(c)->Equals(arrow::ChunkedArray(written))) << schema->field(c)->ToString();
    }
  }
}

TEST_F(ColumnChunkTest, BoundsOfMembersAreThoseThatAreThere) {
  const auto type = arrow::struct_({arrow::field("n", arrow::int64()), arrow::field("s", arrow::utf8()),
                                    arrow::field("l", arrow::list(arrow::field("element", arrow::int64())))});
  const auto schema = arrow::schema({arrow::field("x", type)});
  const auto rows = testing::BatchFromJson(
      schema, R"([[{"n":5,"s":"b","l":[1,2]}],[null],[{"n":null,"s":"a","l":[]}],[{"n":-3,"s":null,"l":null}]])");
  Write({rows});
  EXPECT_EQ(stats_, R"({"numRecords":4,"minValues":{"x":{"n":-3,"s":"a"}},"maxValues":{"x":{"n":5,"s":"b"}},)"
                    R"("nullCount":{"x":{"n":2,"s":2}}})");
  EXPECT_EQ(footer().RowGroup(0)->ColumnChunk(2)->num_values(), 5);
}

TEST_F(ColumnChunkTest, ANullWhereThereIsNoneIsRefused) {
  const auto inner = arrow::field("n", arrow::int64(), false);
  const auto nullable = arrow::struct_({arrow::field("n", arrow::int64())});
  const auto rows = testing::BatchFromJson(arrow::schema({arrow::field("x", nullable)}), R"([[{"n":5}],[{"n":null}]])");
  const auto schema = arrow::schema({arrow::field("x", arrow::struct_({inner}))});
  auto data = rows->column_data(0)->Copy();
  data->type = schema->field(0)->type();
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto writer, DataFileWriter::Make(store_, schema, {}, {}));
  MILLRACE_ASSERT_OK(writer->Append(*arrow::RecordBatch::Make(schema, 2, {data})));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, writer->Finish());
}

TEST_F(ColumnChunkTest, ADictionaryThatCeasesToPayIsFollowedByPlainPages) {
  std::mt19937_64 random(5);
  const std::vector<std::shared_ptr<arrow::DataType>> types = {arrow::int64(), arrow::float64(), arrow::utf8(),
                                                               arrow::dictionary(arrow::int32(), arrow::utf8())};
  for (const auto& type : types) {
    SCOPED_TRACE(type->ToString());
    const auto schema = arrow::schema({arrow::field("c", type)});
    std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
    arrow::ArrayVector written;
    for (std::int64_t row = 0; row < 200'000; row += 5'000) {
      auto builder = arrow::MakeBuilder(type).ValueOrDie();
      for (std::int64_t i = 0; i < 5'000; ++i) {
        MILLRACE_ASSERT_OK(random() % 50 == 0 ? builder->AppendNull()
                                              : AppendNumber(*type, NumberAt(Course::kFewThenAnything, row + i, random),
                                                             builder.get()));
      }
      const auto column = builder->Finish().ValueOrDie();
      written.push_back(Dense(column));
      batches.push_back(arrow::RecordBatch::Make(schema, column->length(), {column}));
    }
    Write(batches);
    const auto table = Read();
    ASSERT_NE(table, nullptr);
    EXPECT_TRUE(table->column(0)->Equals(arrow::ChunkedArray(written)));
    const auto encodings = footer().RowGroup(0)->ColumnChunk(0)->encoding_stats();
    const auto is = [&](parquet::PageType::type page, parquet::Encoding::type encoding) {
      return std::any_of(encodings.begin(), encodings.end(),
                         [&](const auto& found) { return found.page_type == page && found.encoding == encoding; });
    };
    EXPECT_TRUE(is(parquet::PageType::DICTIONARY_PAGE, parquet::Encoding::PLAIN));
    EXPECT_TRUE(is(parquet::PageType::DATA_PAGE, parquet::Encoding::RLE_DICTIONARY));
    EXPECT_TRUE(is(parquet::PageType::DATA_PAGE, parquet::Encoding::PLAIN));
  }
}

TEST_F(ColumnChunkTest, PagesEndAtAQuarterOfAMebibyte) {
  arrow::DoubleBuilder builder;
  std::mt19937_64 random(6);
  for (int i = 0; i < 100'000; ++i) MILLRACE_ASSERT_OK(builder.Append(static_cast<double>(random())));
  const auto values = builder.Finish().ValueOrDie();
  Write({arrow::RecordBatch::Make(arrow::schema({arrow::field("d", arrow::float64())}), values->length(), {values})});
  const auto pages = reader_->parquet_reader()->RowGroup(0)->GetColumnPageReader(0);
  int num_pages = 0;
  while (const auto page = pages->NextPage()) {
    EXPECT_LE(page->size(), (256 << 10) + kFullLevelsBytesMax);
    ++num_pages;
  }
  EXPECT_EQ(num_pages, 4);
}

// Hexadecimal ids: four bits of each character are left if literals are coded, whatever matches are looked for.
TEST_F(ColumnChunkTest, IdsAreCompressedToTheirDigits) {
  arrow::StringBuilder builder;
  for (int i = 0; i < 50'000; ++i) MILLRACE_ASSERT_OK(builder.Append(RandomUuid()));
  const auto ids = builder.Finish().ValueOrDie();
  Write({arrow::RecordBatch::Make(arrow::schema({arrow::field("id", arrow::utf8())}), ids->length(), {ids})});
  EXPECT_LT(footer().RowGroup(0)->ColumnChunk(0)->total_compressed_size(), 50'000 * 22);
}

TEST_F(ColumnChunkTest, BoundsOfADictionaryColumnAreThoseOfItsRows) {
  // "a" and "z" are in the dictionary, but in no row.
  arrow::StringBuilder texts;
  for (const char* text : {"a", "m", "n", "z"}) MILLRACE_ASSERT_OK(texts.Append(text));
  arrow::Int32Builder indices;
  for (const int index : {2, 1, 1}) MILLRACE_ASSERT_OK(indices.Append(index));
  const auto type = arrow::dictionary(arrow::int32(), arrow::utf8());
  const auto column =
      std::make_shared<arrow::DictionaryArray>(type, indices.Finish().ValueOrDie(), texts.Finish().ValueOrDie());
  Write({arrow::RecordBatch::Make(arrow::schema({arrow::field("c", type)}), 3, {column})});
  EXPECT_EQ(stats_, R"({"numRecords":3,"minValues":{"c":"m"},"maxValues":{"c":"n"},"nullCount":{"c":0}})");
}

// A null may be a null index or the index of a null.
TEST_F(ColumnChunkTest, ANullInADictionaryIsANull) {
  arrow::StringBuilder texts;
  MILLRACE_ASSERT_OK(texts.Append("x"));
  MILLRACE_ASSERT_OK(texts.AppendNull());
  arrow::Int32Builder indices;
  MILLRACE_ASSERT_OK(indices.AppendValues({1, 0, 1}));
  MILLRACE_ASSERT_OK(indices.AppendNull());
  const auto type = arrow::dictionary(arrow::int32(), arrow::utf8());
  const auto column =
      std::make_shared<arrow::DictionaryArray>(type, indices.Finish().ValueOrDie(), texts.Finish().ValueOrDie());
  Write({arrow::RecordBatch::Make(arrow::schema({arrow::field("c", type)}), 4, {column})});
  const auto read = static_cast<const arrow::StringArray&>(*Read()->column(0)->chunk(0)).ToString();
  EXPECT_EQ(Dense(column)->ToString(), read);
  EXPECT_EQ(stats_, R"({"numRecords":4,"minValues":{"c":"x"},"maxValues":{"c":"x"},"nullCount":{"c":3}})");
}

TEST_F(ColumnChunkTest, ZerosAndNoNumbersHaveTheBoundsThatParquetWants) {
  const auto bounds = [&](const std::vector<double>& values) {
    arrow::DoubleBuilder builder;
    EXPECT_TRUE(builder.AppendValues(values).ok());
    const auto column = builder.Finish().ValueOrDie();
    Write({arrow::RecordBatch::Make(arrow::schema({arrow::field("d", arrow::float64())}), column->length(), {column})});
    const auto statistics = footer().RowGroup(0)->ColumnChunk(0)->statistics();
    if (!statistics->HasMinMax()) return std::string("none");
    const auto& typed = static_cast<const parquet::DoubleStatistics&>(*statistics);
    return std::to_string(typed.min()) + " " + std::to_string(typed.max());
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(bounds({0.0}), "-0.000000 0.000000");
  EXPECT_EQ(bounds({-0.0}), "-0.000000 0.000000");
  EXPECT_EQ(bounds({nan, 2, 1, nan}), "1.000000 2.000000");
  EXPECT_EQ(bounds({nan}), "none");
  EXPECT_EQ(bounds({std::numeric_limits<double>::infinity()}), "inf inf");
}

}  // namespace
}  // namespace millrace::delta
