// Avro records as JSON documents: what expressions and columns see of them, and what is refused.
#include "ingest/avro/json_documents.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ingest/avro/schema.h"
#include "ingest/avro/test_avro_bytes.h"
#include "ingest/decoder_testing_internal.h"
#include "ingest/records/test_container.h"
#include "testing/status_matchers.h"

namespace millrace::ingest::avro {
namespace {

using namespace std::string_literals;
using ::testing::HasSubstr;

const auto kMicros = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
const std::string kFields =
    R"({"name": "id", "type": "string"},
       {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
       {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
       {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}})";

// "a", 2026-10-26T07:33:20Z, 2026-10-26, 12.34
const std::string kRecord = Text("a") + Long(1'793'000'000'000) + Long(1) + Long(20'752) + Text("\x04\xD2");

DecodeSpec Spec(std::vector<ColumnSpec> columns, std::vector<ComputedField> computed = {}) {
  auto spec = SpecOf(Record(kFields), std::move(columns));
  spec.through_json = true;
  spec.computed = std::move(computed);
  return spec;
}

ColumnSpec Column(std::string name, std::shared_ptr<arrow::DataType> type) {
  return {.name = name, .type = std::move(type), .path = {name}};
}

/// The cells of one record's row, or the reason of its refusal with the detail.
std::string RowOf(const DecodeSpec& spec, const std::string& payload) {
  auto decoder = EventDecoder::Make(spec);
  if (!decoder.ok()) return decoder.status().message();
  const auto decoded = DecodeAll(**decoder, {payload});
  if (!decoded.dead_letters.empty()) return decoded.dead_letters[0].reason + ": " + decoded.dead_letters[0].detail;
  std::string row;
  for (std::size_t i = 0; i < spec.columns.size(); ++i) {
    row += (i > 0 ? " " : "") + CellText(*decoded.rows->column(static_cast<int>(i)), 0);
  }
  return row;
}

TEST(AvroThroughJson, ColumnsOfTimesAreTimes) {
  EXPECT_EQ(RowOf(Spec({Column("id", arrow::utf8()), Column("ts", kMicros), Column("day", arrow::date32()),
                        Column("price", arrow::decimal128(9, 2)), Column("other", arrow::int64())}),
                  kRecord),
            "'a' 1793000000000000 20752 1234 null");
  EXPECT_EQ(RowOf(Spec({Column("ts", arrow::int64()), Column("day", arrow::int32())}), kRecord), "1793000000000 20752");
}

TEST(AvroThroughJson, ExpressionsSeeNumbersAsInAvro) {
  const auto spec =
      Spec({Column("ts", kMicros), Column("at", arrow::utf8()), Column("day", arrow::int32())},
           {{.path = {"at"}, .expression = "epoch_millis_to_iso8601(ts)"}, {.path = {"day"}, .expression = "day"}});
  EXPECT_EQ(RowOf(spec, kRecord), "1793000000000000 '2026-10-26T07:33:20Z' 20752");
  const auto replaced = Spec({Column("ts", kMicros)}, {{.path = {"ts"}, .expression = "epoch_millis_to_iso8601(ts)"}});
  EXPECT_EQ(RowOf(replaced, kRecord), "1793000000000000");
}

TEST(AvroThroughJson, TheWritersSchemaIsThatOfTheId) {
  auto spec = Spec({Column("id", arrow::utf8()), Column("n", arrow::int64())});
  spec.schema.reset();
  spec.framing = Framing::kConfluent;
  const auto schemas = std::make_shared<KnownSchemas>();
  schemas->texts = {
      {7, Record(kFields)}, {8, Record(R"({"name": "n", "type": "long"})")}, {9, R"({"type": "string"})"}, {10, "x"}};
  spec.writer_schemas = schemas;
  EXPECT_EQ(RowOf(spec, "\0\0\0\0\7"s + kRecord), "'a' null");
  EXPECT_EQ(RowOf(spec, "\0\0\0\0\x08"s + Long(5)), "null 5");
  EXPECT_EQ(RowOf(spec, "\0\0\0\0\x05"s + Long(5)), "unknown_schema: there is no schema of the id 5");
  EXPECT_EQ(RowOf(spec, "\0\0\0\0\x09"s + Text("a")),
            "incompatible_schema: events are records, and the schema is a string");
  EXPECT_TRUE(RowOf(spec, "\0\0\0\0\x0A"s).starts_with("incompatible_schema"));
  EXPECT_EQ(RowOf(spec, "{}"), "bad_framing: the payload of 2 bytes does not begin with confluent framing");

  auto decoder = EventDecoder::Make(spec);
  MILLRACE_ASSERT_OK(decoder.status());
  schemas->is_down = true;
  model::FetchedRecords records;
  records.source = {"t", 0};
  const std::string payload = "\0\0\0\0\x07"s + kRecord;
  records.records.push_back({.payload = payload});
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, (*decoder)->Decode(records));
  schemas->is_down = false;
  MILLRACE_ASSERT_OK((*decoder)->Decode(records).status());
}

TEST(AvroThroughJson, OrOfTheFingerprint) {
  auto spec = Spec({Column("n", arrow::int64())});
  spec.schema.reset();
  spec.framing = Framing::kSingleObject;
  const std::string text = Record(R"({"name": "n", "type": "long"})");
  const auto schemas = std::make_shared<KnownSchemas>();
  const auto fingerprint = Fingerprint(**ParseSchema(text));
  schemas->texts = {{fingerprint, text}};
  spec.writer_schemas = schemas;
  EXPECT_EQ(RowOf(spec, "\xC3\x01" + Raw(fingerprint) + Long(5)), "5");
  EXPECT_EQ(RowOf(spec, "\xC3\x01" + Raw(std::uint64_t{1}) + Long(5)),
            "unknown_schema: there is no schema of the fingerprint 0000000000000001");
}

TEST(AvroThroughJson, AContainerSaysItsSchema) {
  auto spec = Spec({Column("n", arrow::int64())});
  spec.schema.reset();
  spec.records = Records::kContainer;
  EXPECT_EQ(RowOf(spec, Container("deflate", Record(R"({"name": "n", "type": "long"})"), {{Long(5)}})), "5");
  EXPECT_TRUE(RowOf(spec, Container("null", R"("long")", {{Long(5)}})).starts_with("incompatible_schema: events"));
}

TEST(AvroThroughJson, AContainersRecordIsResolvedWhereASchemaIsDeclared) {
  auto spec = Spec({Column("n", arrow::int64()), Column("day", arrow::date32()), Column("more", arrow::utf8())});
  spec.records = Records::kContainer;
  spec.schema->bytes = std::make_shared<const std::string>(Record(
      R"({"name": "n", "type": "long", "aliases": ["number"]},
         {"name": "day", "type": {"type": "int", "logicalType": "date"}, "default": 7})"));
  const auto row = [&](const std::string& fields, const std::string& payload) {
    return RowOf(spec, Container("null", Record(fields), {{payload}}));
  };
  // Another field is left out, one has another name, and one its default: a column of a date takes it as one.
  EXPECT_EQ(row(R"({"name": "more", "type": "string"}, {"name": "number", "type": "long"})", Text("x") + Long(5)),
            "5 7 null");
  EXPECT_EQ(row(R"({"name": "day", "type": {"type": "int", "logicalType": "date"}}, {"name": "n", "type": "long"})",
                Long(9) + Long(5)),
            "5 9 null");
  EXPECT_EQ(row(R"({"name": "other", "type": "long"})", Long(5)),
            "incompatible_schema: the writer's schema has no field 'n', for which there is no default");
}

// However deep: in records, lists, maps and unions.
TEST(AvroThroughJson, AContainersInnerTypesAreResolvedToo) {
  const auto json = [](std::string name) {
    ColumnSpec column = Column(std::move(name), arrow::utf8());
    column.form = OfText(TextForm::kJson);
    return column;
  };
  auto spec = Spec({json("inner"), json("all"), Column("state", arrow::utf8())});
  spec.records = Records::kContainer;
  spec.schema->bytes = std::make_shared<const std::string>(Record(
      R"({"name": "inner", "type": ["null", {"type": "record", "name": "Inner", "fields": [
            {"name": "n", "type": "double", "aliases": ["number"]},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 1000},
            {"name": "words", "type": {"type": "array", "items": "string"}, "default": ["a"]}]}]},
         {"name": "all", "type": {"type": "map", "values": {"type": "array", "items": {
            "type": "record", "name": "Item", "fields": [{"name": "id", "type": ["string", "long"]}]}}}},
         {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["OK", "OTHER"], "default": "OTHER"}})"));
  const std::string writer = Record(
      R"({"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "OK"]}},
         {"name": "inner", "type": {"type": "record", "name": "AnotherName", "fields": [
            {"name": "left", "type": {"type": "array", "items": "long"}}, {"name": "number", "type": "int"}]}},
         {"name": "all", "type": {"type": "map", "values": {"type": "array", "items": {
            "type": "record", "name": "Item", "fields": [{"name": "id", "type": ["null", "bytes"]}, {"name": "x", "type": "int"}]}}}})");
  const auto row = [&](const std::string& payload) { return RowOf(spec, Container("null", writer, {{payload}})); };
  const std::string inner = Long(1) + Long(9) + Long(0) + Long(5);
  const auto item = [](const std::string& id) { return Long(1) + id + Long(3) + Long(0); };
  EXPECT_EQ(row(Long(0) + inner + Long(1) + Text("k") + item(Long(1) + Text("v")) + Long(0)),
            R"('{"n":5,"at":1000,"words":["a"]}' '{"k":[{"id":"v"}]}' 'OTHER')");
  EXPECT_EQ(row(Long(1) + inner + Long(0)), R"('{"n":5,"at":1000,"words":["a"]}' '{}' 'OK')");
  EXPECT_TRUE(row(Long(1) + inner + Long(1) + Text("k") + item(Long(0)) + Long(0))
                  .starts_with("type_mismatch: field 'all.id': the writer's null cannot be read as"));
  // What can never be read is told by the schema alone, with its place.
  const auto refused = [&](const std::string& fields, const std::string& payload) {
    return RowOf(spec, Container("null",
                                 Record(R"({"name": "inner", "type": {"type": "record", "name": "Inner", "fields": [)" +
                                        fields + "]}}"),
                                 {{payload}}));
  };
  EXPECT_EQ(refused("", ""),
            "incompatible_schema: the writer's schema has no field 'inner.n', for which there is no default");
  EXPECT_EQ(refused(R"({"name": "n", "type": "string"})", Text("x")),
            "incompatible_schema: field 'inner.n': the writer's string cannot be read as double");
}

// R40 has two fields of R39, which has two of R38, and so on.
TEST(AvroThroughJson, TypesWithinTypesAreResolvedOnce) {
  const auto tower = [](const std::string& leaf) {
    std::string types = R"({"name": "t0", "type": {"type": "record", "name": "R0", "fields": [)" + leaf + "]}}";
    for (int i = 1; i <= 40; ++i) {
      types += fmt::format(R"(, {{"name": "t{0}", "type": {{"type": "record", "name": "R{0}", "fields": [
                              {{"name": "a", "type": "R{1}"}}, {{"name": "b", "type": "R{1}"}}]}}}})",
                           i, i - 1);
    }
    return Record(types);
  };
  auto spec = Spec({Column("t0", arrow::utf8())});
  spec.records = Records::kContainer;
  spec.schema->bytes = std::make_shared<const std::string>(tower(R"({"name": "x", "type": "long"})"));
  const auto row = [&](const std::string& leaf, const std::string& payload) {
    return RowOf(spec, Container("null", tower(leaf), {{payload}}));
  };
  EXPECT_THAT(row(R"({"name": "x", "type": "int"})", Long(5)), HasSubstr("the bytes end within a number"));
  // And what is written of them is bounded.
  EXPECT_THAT(row(R"({"name": "y", "type": "null"})", ""),
              HasSubstr("incompatible_schema: the writer's schema has no field 't0.x'"));
  spec.schema->bytes = std::make_shared<const std::string>(tower(R"({"name": "y", "type": "null"})"));
  EXPECT_THAT(row(R"({"name": "y", "type": "null"})", ""), HasSubstr("too_large: "));
}

TEST(AvroThroughJson, ASymbolThatNobodyHasIsRefused) {
  auto spec = Spec({Column("state", arrow::utf8())});
  spec.records = Records::kContainer;
  spec.schema->bytes = std::make_shared<const std::string>(
      Record(R"({"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["OK"]}})"));
  const std::string writer =
      Record(R"({"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "OK"]}})");
  EXPECT_EQ(RowOf(spec, Container("null", writer, {{Long(1)}})), "'OK'");
  EXPECT_TRUE(RowOf(spec, Container("null", writer, {{Long(0)}})).starts_with("type_mismatch: the reader's enum"));
}

TEST(AvroThroughJson, WhatIsNotOneRecordIsRefused) {
  const auto spec = Spec({Column("id", arrow::utf8())});
  EXPECT_TRUE(RowOf(spec, kRecord.substr(0, 4)).starts_with("bad_avro"));
  EXPECT_TRUE(RowOf(spec, kRecord + "x").starts_with("bad_avro"));
  EXPECT_TRUE(RowOf(spec, "").starts_with("bad_avro"));
  EXPECT_TRUE(RowOf(spec, Text("\xFF") + kRecord.substr(2)).starts_with("bad_utf8"));
  EXPECT_TRUE(RowOf(Spec({Column("id", arrow::int64())}), kRecord).starts_with("type_mismatch"));
  EXPECT_TRUE(RowOf(Spec({Column("id", arrow::utf8())}, {{.path = {"id"}, .expression = "abs(id)"}}), kRecord)
                  .starts_with("transform"));
}

TEST(AvroThroughJson, NeedsASchema) {
  auto spec = Spec({Column("id", arrow::utf8())});
  spec.schema->bytes = std::make_shared<const std::string>("\"string\"");
  EXPECT_EQ(RowOf(spec, kRecord), "a.avsc: events are records, and the schema is a string");
  spec.schema.reset();
  EXPECT_EQ(RowOf(spec, kRecord), "avro needs a schema");
}

}  // namespace
}  // namespace millrace::ingest::avro
