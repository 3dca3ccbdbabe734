// Schemas as values: what is read, what is refused and where, canonical forms and fingerprints.
#include "ingest/avro/schema.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ingest/avro/test_avro_bytes.h"
#include "ingest/decode_spec.h"
#include "testing/status_matchers.h"

namespace millrace::ingest::avro {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(AvroSchema, NamesAreThoseOfTheirNamespace) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto schema, ParseSchema(R"({
    "type": "record", "name": "Order", "namespace": "shop.v1", "aliases": ["Purchase", "old.Order"], "fields": [
      {"name": "a", "type": {"type": "fixed", "name": "Id", "size": 4}},
      {"name": "b", "type": "Id"},
      {"name": "c", "type": {"type": "enum", "name": "other.Kind", "symbols": ["X", "Y"], "default": "Y"}},
      {"name": "d", "type": ["null", "other.Kind"], "default": null, "aliases": ["dd"]},
      {"name": "e", "type": {"type": "array", "items": "shop.v1.Id"}}]})"));
  EXPECT_EQ(schema->name, "shop.v1.Order");
  EXPECT_THAT(schema->aliases, ElementsAre("shop.v1.Purchase", "old.Order"));
  EXPECT_EQ(schema->fields[1].type->name, "shop.v1.Id");
  EXPECT_EQ(schema->fields[1].type.get(), schema->fields[0].type.get());
  EXPECT_EQ(schema->fields[2].type->default_symbol, 1u);
  EXPECT_THAT(schema->fields[3].aliases, ElementsAre("dd"));
  EXPECT_EQ(schema->fields[3].default_bytes, std::string(1, '\0'));
  EXPECT_EQ(schema->fields[3].type->branches[1]->name, "other.Kind");
  EXPECT_EQ(schema->min_bytes, 4 + 4 + 1 + 1 + 1);
}

TEST(AvroSchema, LogicalTypesThatDoNotBelongAreNone) {
  const auto logical = [](const std::string& type) { return ParseSchema(type).ValueOrDie()->logical; };
  EXPECT_EQ(logical(R"({"type":"long","logicalType":"timestamp-nanos"})"), Logical::kTimestampNanos);
  EXPECT_EQ(logical(R"({"type":"int","logicalType":"timestamp-millis"})"), Logical::kNone);
  EXPECT_EQ(logical(R"({"type":"long","logicalType":"timestamp-weeks"})"), Logical::kNone);
  EXPECT_EQ(logical(R"({"type":"bytes","logicalType":"decimal","precision":4,"scale":2})"), Logical::kDecimal);
  EXPECT_EQ(logical(R"({"type":"bytes","logicalType":"decimal","precision":4})"), Logical::kDecimal);
  EXPECT_EQ(logical(R"({"type":"bytes","logicalType":"decimal","precision":4,"scale":5})"), Logical::kNone);
  EXPECT_EQ(logical(R"({"type":"bytes","logicalType":"decimal"})"), Logical::kNone);
  EXPECT_EQ(logical(R"({"type":"string","logicalType":"uuid"})"), Logical::kUuid);
  EXPECT_EQ(logical(R"({"type":"fixed","name":"U","size":16,"logicalType":"uuid"})"), Logical::kUuid);
  EXPECT_EQ(logical(R"({"type":"fixed","name":"U","size":15,"logicalType":"uuid"})"), Logical::kNone);
  EXPECT_EQ(logical(R"({"type":"fixed","name":"U","size":12,"logicalType":"duration"})"), Logical::kDuration);
}

TEST(AvroSchema, DefaultsAreBytesOfTheirType) {
  const auto bytes = [](std::string_view type, std::string_view value) {
    const auto schema = ParseSchema(Record(fmt::format(R"({{"name":"a","type":{},"default":{}}})", type, value)));
    return *schema.ValueOrDie()->fields[0].default_bytes;
  };
  EXPECT_EQ(bytes(R"("long")", "-65"), Long(-65));
  EXPECT_EQ(bytes(R"("double")", "1e300"), Raw(1e300));
  EXPECT_EQ(bytes(R"("float")", "3"), Raw(3.0F));
  EXPECT_EQ(bytes(R"("bytes")", R"("a\u00ff\u0080")"), Text("a\xFF\x80"));
  EXPECT_EQ(bytes(R"(["long","string"])", R"("x")"), Long(1) + Text("x"));
  EXPECT_EQ(bytes(R"({"type":"array","items":"int"})", "[1,2]"), Long(2) + Long(1) + Long(2) + Long(0));
  EXPECT_EQ(bytes(R"({"type":"map","values":"int"})", R"({"k":1})"), Long(1) + Text("k") + Long(1) + Long(0));
  EXPECT_EQ(bytes(R"({"type":"record","name":"I","fields":[{"name":"x","type":"int","default":7}]})", "{}"), Long(7));
}

TEST(AvroSchema, WhatIsNoneIsNamedWithItsPlace) {
  std::string deep = R"("int")";
  for (int i = 0; i < 10'000; ++i) deep = R"({"type":"array","items":)" + deep + "}";
  std::string just_too_deep = R"("int")";
  for (int i = 0; i < kMaxSchemaDepth; ++i) just_too_deep = R"({"type":"array","items":)" + just_too_deep + "}";
  std::string doubling = R"({"name":"a","type":{"type":"record","name":"R0","fields":[
      {"name":"x","type":"string","default":"0123456789"}]}})";
  for (int i = 1; i < 30; ++i) {
    doubling += fmt::format(R"(,{{"name":"f{0}","type":{{"type":"record","name":"R{0}","fields":[
        {{"name":"x","type":"R{1}","default":{{}}}},{{"name":"y","type":"R{1}","default":{{}}}}]}}}})",
                            i, i - 1);
  }
  const std::pair<std::string, const char*> cases[] = {
      {"", "the schema is not JSON"},
      {"{", "the schema is not JSON"},
      {"7", "a type is a name, an object or an array, not 7"},
      {R"("strng")", "there is no type 'strng'; did you mean 'string'?"},
      {Record(R"({"name":"a","type":"Geo"})"), "at a: there is no type 'Geo'"},
      {Record(
           R"({"name":"a","type":["null",{"type":"record","name":"N","fields":[{"name":"next","type":["null","N"]}]}]})"),
       "at a.next: the type 'N' contains itself; recursive schemas cannot be read"},
      {Record(R"({"name":"a"})"), "at a: the key 'type' is missing"},
      {Record(R"({"name":"a","type":"int"},{"name":"a","type":"int"})"), "at a: the field is there twice"},
      {Record(R"({"name":"1a","type":"int"})"), "a field of record R has no name that is one"},
      {R"({"type":"record","name":"R"})", "the key 'fields' of record R is no array"},
      {R"({"type":"record","fields":[]})", "the key 'name' of record is missing"},
      {R"({"type":"record","name":"a.1","fields":[]})", "'a.1' is not a name"},
      {R"({"type":"enum","name":"int","symbols":["A"]})", "the name 'int' is taken"},
      {R"({"type":"enum","name":"E","symbols":[]})", "enum E has no symbols"},
      {R"({"type":"enum","name":"E","symbols":["A","A"]})", "the symbol 'A' is there twice"},
      {R"({"type":"enum","name":"E","symbols":["A"],"default":"B"})", "the default 'B' is no symbol of enum E"},
      {R"({"type":"fixed","name":"F","size":-1})", "the key 'size' of fixed F is no size"},
      {R"({"type":"array"})", "the key 'items' of array is missing"},
      {R"({"type":"map","values":"strin"})", "at values: there is no type 'strin'"},
      {R"([])", "a union of nothing"},
      {R"(["int",["null"]])", "a union directly within a union"},
      {R"(["int","int"])", "a union has int twice"},
      {Record(R"({"name":"a","type":{"type":"fixed","name":"R","size":1}})"), "at a: the type 'R' is defined twice"},
      {Record(R"({"name":"a","type":"int","default":"x"})"), R"(at a: its default: "x" is no int)"},
      {Record(R"({"name":"a","type":"int","default":2147483648})"), "at a: its default: 2147483648 is no int"},
      {Record(R"({"name":"a","type":["null","int"],"default":true})"), "true is no union of null and int"},
      {Record(doubling), "its default: it takes more than"},
      {deep, "nested deeper than 64 types"},
      {just_too_deep, "nested deeper than 64 types"},
      {std::string(kMaxSchemaBytes + 1, ' '), "the schema has 10485761 bytes, more than 10485760"},
  };
  for (const auto& [text, message] : cases) {
    SCOPED_TRACE(text.substr(0, 200));
    const auto parsed = ParseSchema(text);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, parsed);
    EXPECT_THAT(parsed.status().message(), HasSubstr(message));
  }
}

TEST(AvroSchema, TheLargestAndTheDeepestAreRead) {
  std::string deep = R"("int")";
  for (int i = 1; i < kMaxSchemaDepth; ++i) deep = R"({"type":"array","items":)" + deep + "}";
  MILLRACE_ASSERT_OK(ParseSchema(deep).status());
  std::string large = Record(R"({"name":"a","type":"int"})");
  large.append(kMaxSchemaBytes - large.size(), ' ');
  MILLRACE_ASSERT_OK(ParseSchema(large).status());
}

// Values of the specification's own reference implementation.
TEST(AvroSchema, FingerprintsAreThoseOfTheCanonicalForm) {
  const auto canonical = [](std::string_view text) { return CanonicalForm(*ParseSchema(text).ValueOrDie()); };
  EXPECT_EQ(canonical(R"({"type":"int","logicalType":"date"})"), R"("int")");
  EXPECT_EQ(canonical(R"({"doc":"d","fields":[
      {"type":{"type":"fixed","size":4,"name":"Id"},"name":"a","default":"abcd"},
      {"name":"b","type":["null","Id"]},{"name":"c","type":{"items":"x.Id","type":"array"}},
      {"name":"d","type":{"type":"enum","name":"E","symbols":["A","B"],"default":"A"}}],
      "namespace":"x","name":"R","type":"record"})"),
            R"({"name":"x.R","type":"record","fields":[{"name":"a","type":{"name":"x.Id","type":"fixed","size":4}},)"
            R"({"name":"b","type":["null","x.Id"]},{"name":"c","type":{"type":"array","items":"x.Id"}},)"
            R"({"name":"d","type":{"name":"x.E","type":"enum","symbols":["A","B"]}}]})");
  EXPECT_EQ(Fingerprint(*ParseSchema(R"("int")").ValueOrDie()), 0x7275d51a3f395c8fU);
  EXPECT_EQ(Fingerprint(*ParseSchema(R"("string")").ValueOrDie()), 0x8f014872634503c7U);
}

}  // namespace
}  // namespace millrace::ingest::avro
