// Which columns a JSON Schema comes to, and which schemas are none that events can have.
#include "ingest/json/json_schema.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "testing/status_matchers.h"

namespace millrace::ingest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Result<std::vector<ColumnSpec>> ColumnsOf(const std::string& schema, std::vector<SchemaReference> references = {}) {
  DecodeSpec spec;
  spec.schema = SchemaSpec{
      .file = "s.json", .bytes = std::make_shared<const std::string>(schema), .references = std::move(references)};
  return ColumnsOfJsonSchema(spec);
}

std::string TextOf(const ColumnSpec& column) {
  std::string text = column.name + ": " + column.type->ToString();
  if (column.form.text == TextForm::kUuid) text += " uuid";
  if (column.form.text == TextForm::kJson) text += " json";
  return text;
}

std::vector<std::string> Texts(const Result<std::vector<ColumnSpec>>& columns) {
  EXPECT_TRUE(columns.ok()) << columns.status().message();
  std::vector<std::string> texts;
  for (const auto& column : columns.ValueOr({})) texts.push_back(TextOf(column));
  return texts;
}

std::string Property(const std::string& schema) {
  const auto texts = Texts(ColumnsOf(R"({"type": "object", "properties": {"x": )" + schema + "}}"));
  return texts.size() == 1 ? texts.front() : "";
}

TEST(JsonSchema, PropertiesAreColumnsInTheirOrder) {
  EXPECT_THAT(Texts(ColumnsOf(R"({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Order",
      "properties": {"z": {"type": "integer"}, "a": {"type": "number"}, "m": {"type": "boolean"}},
      "required": ["a"], "additionalProperties": false})")),
              ElementsAre("z: int64", "a: double", "m: bool"));
}

TEST(JsonSchema, HasATypeForEachKindOfValue) {
  EXPECT_EQ(Property(R"({"type": "string"})"), "x: string");
  EXPECT_EQ(Property(R"({"type": "string", "format": "email"})"), "x: string");
  EXPECT_EQ(Property(R"({"type": "string", "format": "date-time"})"), "x: timestamp[us, tz=UTC]");
  EXPECT_EQ(Property(R"({"type": "string", "format": "date"})"), "x: date32[day]");
  EXPECT_EQ(Property(R"({"type": "string", "format": "uuid"})"), "x: string uuid");
  EXPECT_EQ(Property(R"({"type": "string", "contentEncoding": "base64"})"), "x: binary");
  EXPECT_EQ(Property(R"({"enum": ["a", "b", null]})"), "x: string");
  EXPECT_EQ(Property(R"({"enum": ["a", 1]})"), "x: string json");
  EXPECT_EQ(Property(R"({"const": "a"})"), "x: string");
  EXPECT_EQ(Property(R"({"type": "array", "items": {"type": "string", "format": "date"}})"),
            "x: list<element: date32[day]>");
  EXPECT_EQ(Property(R"({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}})"),
            "x: list<element: list<element: int64>>");
  for (const char* const json :
       {R"({"type": "object", "properties": {"y": {"type": "integer"}}})", R"({"type": "array"})", "{}", "true",
        R"({"type": "array", "items": {"type": "object"}})", R"({"type": ["string", "integer"]})",
        R"({"oneOf": [{"type": "string"}, {"type": "integer"}]})", R"({"items": [{"type": "string"}]})"}) {
    EXPECT_EQ(Property(json), "x: string json") << json;
  }
}

TEST(JsonSchema, NullIsNoTypeOfItsOwn) {
  EXPECT_EQ(Property(R"({"type": ["null", "integer"]})"), "x: int64");
  EXPECT_EQ(Property(R"({"type": ["integer", "number"]})"), "x: double");
  EXPECT_EQ(Property(R"({"oneOf": [{"type": "null"}, {"type": "string", "format": "date"}]})"), "x: date32[day]");
  EXPECT_EQ(Property(R"({"anyOf": [{"type": "boolean"}, {"type": "null"}]})"), "x: bool");
}

TEST(JsonSchema, ReferencesAreFollowed) {
  EXPECT_THAT(Texts(ColumnsOf(R"({"$ref": "#/definitions/Order", "definitions": {
      "Money": {"type": "number"}, "a/b": {"type": "integer"},
      "Order": {"properties": {"price": {"$ref": "#/definitions/Money"}, "n": {"$ref": "#/definitions/a~1b"},
                               "geo": {"allOf": [{"$ref": "geo.json"}]}, "lat": {"$ref": "geo.json#/properties/lat"}}}}})",
                              {{"geo.json", R"({"type": "object", "properties": {"lat": {"$ref": "#/$defs/D"}},
                                               "$defs": {"D": {"type": "number"}}})"}})),
              ElementsAre("price: double", "n: int64", "geo: string json", "lat: double"));
}

TEST(JsonSchema, PropertiesOfAllOfAreAdded) {
  EXPECT_THAT(Texts(ColumnsOf(R"({"properties": {"a": {"type": "integer"}}, "allOf": [
      {"properties": {"a": {"type": "string"}, "b": {"type": "string"}}}, {"allOf": [{"properties": {"c": {}}}]}]})")),
              ElementsAre("a: int64", "b: string", "c: string json"));
}

TEST(JsonSchema, SaysWhyItIsNone) {
  std::string deep = R"({"properties": {"a": {"type": "integer"}}})";
  for (int i = 0; i < 100; ++i) deep = R"({"properties": {"b": {}}, "allOf": [)" + deep + "]}";
  // Each of thirty has the one before it twice.
  std::string doubling = R"({"$ref": "#/$defs/s29", "$defs": {"s0": {"properties": {"a": {}}})";
  for (int i = 1; i < 30; ++i) {
    doubling += fmt::format(
        R"(, "s{0}": {{"properties": {{}}, "allOf": [{{"$ref": "#/$defs/s{1}"}}, {{"$ref": "#/$defs/s{1}"}}]}})", i,
        i - 1);
  }
  doubling += "}}";
  std::string many = R"("p": {})";
  for (int i = 0; i < 300'000; ++i) many += fmt::format(R"(, "p{}": {{"type": "string"}})", i);
  const std::pair<std::string, const char*> cases[] = {
      {"{", "the schema is not JSON"},
      {"[]", "a schema is an object, and this one is none"},
      {"true", "a schema is an object"},
      {"{}", "names no 'properties'"},
      {R"({"type": "array", "items": {}})", "events are objects, and the schema is of the type 'array'"},
      {R"({"oneOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]})", "several shapes ('oneOf')"},
      {R"({"$ref": "#/nowhere"})", "the $ref '#/nowhere' leads nowhere"},
      {R"({"$ref": "#"})", "it refers to itself"},
      {R"({"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"$ref": "#/$defs/b"}}})",
       "property 'a': it refers to itself"},
      {R"({"properties": {"a": {"$ref": "other.json"}}})",
       "property 'a': the $ref 'other.json' is of another schema, which is none of the references"},
      {deep, "or is more than 32 schemas deep"},
      {doubling, "it is made of more than 1000 schemas ('allOf')"},
      {R"({"properties": {)" + many + "}}", "it has more than 10000 properties"},
      {std::string(10'000, '['), "the schema is not JSON"},
  };
  for (const auto& [schema, message] : cases) {
    const auto columns = ColumnsOf(schema);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, columns);
    EXPECT_THAT(columns.status().message(), HasSubstr(message));
  }
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, ColumnsOf(R"({"$ref": "r"})", {{"r", "nonsense"}}));
}

}  // namespace
}  // namespace millrace::ingest
