// Which schemas and columns go together: the columns of a schema, and what is said where they do not fit.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ingest/avro/avro_decoder.h"
#include "ingest/avro/plan_internal.h"
#include "ingest/avro/test_avro_bytes.h"
#include "ingest/declared_fields.h"
#include "ingest/formats.h"
#include "testing/status_matchers.h"

namespace millrace::ingest::avro {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ColumnSpec ColumnAt(std::string name, std::shared_ptr<arrow::DataType> type, std::vector<std::string> path = {},
                    TimestampForm form = TimestampForm::kRfc3339) {
  return {.name = std::move(name), .type = std::move(type), .form = form, .path = std::move(path)};
}

const std::shared_ptr<arrow::DataType> kUtc = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");

TEST(AvroColumns, EachFieldOfTheSchemaIsOne) {
  const std::string fields = R"(
      {"name":"b","type":"boolean"},{"name":"i","type":"int"},{"name":"l","type":["null","long"]},
      {"name":"f","type":"float"},{"name":"d","type":"double"},{"name":"s","type":"string"},
      {"name":"e","type":{"type":"enum","name":"E","symbols":["A"]}},
      {"name":"u","type":{"type":"string","logicalType":"uuid"}},
      {"name":"m","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
      {"name":"day","type":{"type":"int","logicalType":"date"}},
      {"name":"t","type":{"type":"int","logicalType":"time-millis"}},
      {"name":"ts","type":{"type":"long","logicalType":"timestamp-nanos"}},
      {"name":"lt","type":{"type":"long","logicalType":"local-timestamp-millis"}},
      {"name":"tags","type":{"type":"array","items":["string","null"]}},
      {"name":"grid","type":{"type":"array","items":{"type":"array","items":"int"}}},
      {"name":"geo","type":{"type":"record","name":"G","fields":[{"name":"city","type":"string"}]}},
      {"name":"map","type":{"type":"map","values":"int"}},
      {"name":"any","type":["int","string"]},{"name":"n","type":"null"},{"name":"nn","type":["null"]})";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto columns, ColumnsOfAvroSchema(SpecOf(Record(fields))));
  std::vector<std::string> texts;
  for (const ColumnSpec& column : columns) texts.push_back(column.name + " " + column.type->ToString());
  EXPECT_THAT(texts, ElementsAre("b bool", "i int32", "l int64", "f double", "d double", "s string", "e string",
                                 "u string", "m decimal128(12, 2)", "day date32[day]", "t string",
                                 "ts timestamp[us, tz=UTC]", "lt string", "tags list<element: string>", "grid string",
                                 "geo string", "map string", "any string", "n string", "nn string"));
  DecodeSpec spec = SpecOf(Record(fields), columns);
  MILLRACE_ASSERT_OK(MakeDecoder(spec).status());
}

TEST(AvroColumns, BytesAreNotDeclaredSinceTheyAreRescuedAsCharacters) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto schema, ParseSchema(Record(R"(
      {"name":"b","type":"bytes"},{"name":"x","type":["null",{"type":"fixed","name":"X","size":2}]},
      {"name":"l","type":{"type":"array","items":"bytes"}},{"name":"i","type":"int"})")));
  DeclaredFields declared;
  DeclareFields(*schema, declared);
  for (const char* const name : {"b", "x", "l"}) EXPECT_EQ(declared.Find(name), nullptr) << name;
  ASSERT_NE(declared.Find("i"), nullptr);
  EXPECT_EQ(declared.Find("i")->id(), arrow::Type::INT32);
}

TEST(AvroColumns, WhatNoColumnHoldsIsNamed) {
  const std::pair<std::string, const char*> cases[] = {
      {R"("long")", "events are records, and the schema is a long"},
      {Record(R"({"name":"a","type":{"type":"bytes","logicalType":"decimal","precision":39,"scale":2}})"),
       "field 'a': decimal(39,2) has more than 38 digits"},
  };
  for (const auto& [schema, message] : cases) {
    const auto columns = ColumnsOfAvroSchema(SpecOf(schema));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, columns);
    EXPECT_THAT(columns.status().message(), HasSubstr(message));
  }
}

TEST(AvroColumns, ThatTheirFieldsCannotFillAreNamed) {
  const std::string schema = Record(R"(
      {"name":"s","type":"string"},{"name":"l","type":"long"},{"name":"raw","type":"bytes"},
      {"name":"lt","type":{"type":"long","logicalType":"local-timestamp-millis"}},
      {"name":"geo","type":["null",{"type":"record","name":"G","fields":[{"name":"city","type":"string"}]}]},
      {"name":"tags","type":{"type":"array","items":"string"}},{"name":"any","type":["int","string"]})");
  struct Case {
    ColumnSpec column;
    const char* message;
  };
  const auto ints = arrow::list(arrow::field("element", arrow::int32()));
  const Case cases[] = {
      {ColumnAt("x", arrow::utf8()), "column 'x': the schema has no field 'x'"},
      {ColumnAt("c", arrow::utf8(), {"geo", "cty"}), "no field 'geo.cty'; did you mean 'geo.city'?"},
      {ColumnAt("c", arrow::utf8(), {"s", "city"}), "field 's' is string, which has no fields"},
      {ColumnAt("l", arrow::utf8()), "column 'l': string cannot take the field 'l', which is long"},
      {ColumnAt("s", arrow::int64()), "column 's': int64 cannot take the field 's', which is string"},
      {ColumnAt("s", arrow::boolean()), "bool cannot take"},
      {ColumnAt("raw", arrow::decimal128(4, 2)), "decimal(4,2) cannot take the field 'raw', which is bytes"},
      {ColumnAt("l", kUtc), "the field 'l' is long, which does not say its unit; declare timestamp_s"},
      {ColumnAt("lt", kUtc), "which is of no time zone; declare timestamp_s"},
      {ColumnAt("l", arrow::date32()), "date cannot take the field 'l', which is long"},
      {ColumnAt("tags", ints), "list<int32> cannot take the field 'tags', which is string"},
      {ColumnAt("s", ints), "list<int32> cannot take the field 's', which is string"},
      {ColumnAt("any", arrow::boolean()), "bool cannot take the field 'any', which is string"},
      {ColumnAt("geo", arrow::int64()), "int64 cannot take the field 'geo', which is record G"},
      {ColumnAt("l", arrow::int8()), "column 'l': int8 cannot take the field 'l', which is long"},
      {ColumnAt("l", arrow::uint8()), "column 'l': avro has no values of the type uint8"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.message);
    const auto made = MakeDecoder(SpecOf(schema, {c.column}));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, made);
    EXPECT_THAT(made.status().message(), HasSubstr(c.message));
  }
  const auto crossing =
      MakeDecoder(SpecOf(schema, {ColumnAt("geo", arrow::utf8()), ColumnAt("c", arrow::utf8(), {"geo", "city"})}));
  EXPECT_THAT(crossing.status().message(), HasSubstr("its path 'geo.city' goes through the field of another column"));
  const auto crossed =
      MakeDecoder(SpecOf(schema, {ColumnAt("c", arrow::utf8(), {"geo", "city"}), ColumnAt("geo", arrow::utf8())}));
  EXPECT_THAT(crossed.status().message(), HasSubstr("its path 'geo' goes through the field of another column"));
  DecodeSpec reject = SpecOf(schema, {ColumnAt("s", arrow::utf8())});
  reject.unknown_fields = UnknownFields::kReject;
  EXPECT_THAT(MakeDecoder(reject).status().message(), HasSubstr("no column takes the field 'l' of the schema"));
  EXPECT_THAT(MakeDecoder(SpecOf("{")).status().message(), HasSubstr("the schema is not JSON"));
}

}  // namespace
}  // namespace millrace::ingest::avro
