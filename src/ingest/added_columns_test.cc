// Which keys become columns, what their columns take, and that what they do not take stays as it was.
#include "ingest/added_columns.h"

#include <arrow/array/builder_binary.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "ingest/decoder_testing_internal.h"
#include "testing/status_matchers.h"

namespace millrace::ingest {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Texts = std::vector<std::optional<std::string>>;

std::shared_ptr<arrow::StringArray> Rescued(const Texts& texts) {
  arrow::StringBuilder builder;
  for (const auto& text : texts) EXPECT_TRUE((text ? builder.Append(*text) : builder.AppendNull()).ok());
  return std::static_pointer_cast<arrow::StringArray>(builder.Finish().ValueOrDie());
}

// "key:type", the first letter of each.
std::vector<std::string> New(RescuedFields& fields, const Texts& texts) {
  std::vector<std::string> found;
  for (const AddedColumn& column : fields.FindNew(*Rescued(texts))) {
    found.push_back(column.name + ":" + "bidsj"[static_cast<int>(column.type)]);
  }
  return found;
}

// Per row the cells, then what is left.
std::vector<std::string> Rows(RescuedFields& fields, const Texts& texts) {
  const auto parts = fields.Split(*Rescued(texts)).ValueOrDie();
  EXPECT_EQ(parts.columns.size(), fields.columns().size());
  std::vector<std::string> rows(texts.size());
  for (std::size_t row = 0; row < texts.size(); ++row) {
    for (std::size_t i = 0; i < parts.columns.size(); ++i) {
      EXPECT_TRUE(parts.columns[i]->ValidateFull().ok());
      EXPECT_TRUE(parts.columns[i]->type()->Equals(*ArrowType(fields.columns()[i])));
      rows[row] += CellText(*parts.columns[i], static_cast<std::int64_t>(row)) + "|";
    }
    rows[row] += CellText(*parts.rescued, static_cast<std::int64_t>(row));
  }
  return rows;
}

TEST(AddedColumns, TheFirstValueSaysTheType) {
  struct Case {
    const char* value;
    const char* want;
  };
  const Case cases[] = {{"true", "k:b"},
                        {"false", "k:b"},
                        {"0", "k:i"},
                        {"-7", "k:i"},
                        {"9223372036854775807", "k:i"},
                        {"-9223372036854775808", "k:i"},
                        {"9223372036854775808", ""},
                        {"12345678901234567890123", ""},
                        {"1.0", "k:d"},
                        {"1e3", "k:d"},
                        {"1e999", ""},
                        {R"("")", "k:s"},
                        {R"("12")", "k:s"},
                        {"{}", "k:j"},
                        {"[1]", "k:j"},
                        {"null", ""}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.value);
    RescuedFields fields;
    const auto found = New(fields, {std::string("{\"k\":") + c.value + "}"});
    EXPECT_EQ(found.empty() ? "" : found[0], c.want);
  }
}

TEST(AddedColumns, OneBatchIsJudgedTogether) {
  RescuedFields fields;
  EXPECT_THAT(New(fields, {R"({"a":1,"b":null,"c":1})", std::nullopt, R"({"a":2.5,"b":"x","c":"y"})", R"({"a":"z"})"}),
              ElementsAre("a:d", "c:i", "b:s"));
  EXPECT_THAT(New(fields, {R"({"Foo":1,"foo":2})", R"({"FOO":2.5})"}), ElementsAre("Foo:i"));
  EXPECT_THAT(New(fields, {std::nullopt, std::nullopt}), IsEmpty());
}

TEST(AddedColumns, NamesThatEveryEngineTakes) {
  for (const char* key : {"a", "A9", "_x", "a-b", "@timestamp", "$set", "_rescued2"}) EXPECT_TRUE(CanNameColumn(key));
  for (const char* key : {"",
                          "a b",
                          "a,b",
                          "a;b",
                          "a{b",
                          "a}b",
                          "a(b",
                          "a)b",
                          "a\nb",
                          "a\tb",
                          "a=b",
                          "a.b",
                          "a\"b",
                          "a`b",
                          "a/b",
                          "a\\b",
                          "gr\u00f6\u00dfe",
                          "_rescued",
                          "_Offset",
                          "_TOPIC",
                          "_partition",
                          "_timestamp",
                          "_change_type",
                          "_commit_version",
                          "_commit_timestamp",
                          "_metadata"}) {
    EXPECT_FALSE(CanNameColumn(key)) << key;
    RescuedFields fields;
    std::string json = "{\"";
    for (const char c : std::string(key))
      json += c < ' ' || c == '"' || c == '\\' ? fmt::format("\\u{:04x}", c) : std::string(1, c);
    json += "\":1}";
    EXPECT_THAT(New(fields, {json}), IsEmpty());
    EXPECT_THAT(Rows(fields, {json}), ElementsAre("'" + json + "'"));
  }
  EXPECT_TRUE(CanNameColumn(std::string(128, 'x')));
  EXPECT_FALSE(CanNameColumn(std::string(129, 'x')));
  EXPECT_FALSE(CanNameColumn(std::string_view("a\0b", 3)));
}

TEST(AddedColumns, TakenNamesStayTaken) {
  RescuedFields fields;
  fields.SetColumns({{"x", AddedType::kInt64}, {"X", AddedType::kString}, {"Geo", AddedType::kJson}}, {"ID", "geo"});
  EXPECT_THAT(fields.columns(), ElementsAre(AddedColumn{"x", AddedType::kInt64}));
  EXPECT_THAT(New(fields, {R"({"x":1,"X":2,"id":3,"GEO":{},"y":4})"}), ElementsAre("y:i"));
  EXPECT_THAT(Rows(fields, {R"({"x":1,"X":2,"id":3,"GEO":{},"y":4})"}),
              ElementsAre(R"(1|'{"X":2,"id":3,"GEO":{},"y":4}')"));
}

TEST(AddedColumns, ColumnsTakeWhatFitsAndTheRestStays) {
  RescuedFields fields;
  fields.SetColumns({{"b", AddedType::kBool},
                     {"i", AddedType::kInt64},
                     {"d", AddedType::kDouble},
                     {"s", AddedType::kString},
                     {"j", AddedType::kJson}},
                    {});
  struct Case {
    std::optional<std::string> text;
    std::string want;
  };
  const Case cases[] = {
      {std::nullopt, "null|null|null|null|null|null"},
      {"{}", "null|null|null|null|null|null"},
      {R"({"b":true,"i":-3,"d":2.5,"s":"x","j":{"a" : 1}})", R"(true|-3|0x1.4p+1|'x'|'{"a" : 1}'|null)"},
      {R"({"b":null,"i":null,"d":null,"s":null,"j":null})", "null|null|null|null|null|null"},
      {R"({"j":[1, 2],"s":"\u00e9\n","b":false,"z":1.10})", "false|null|null|'\u00e9\n'|'[1, 2]'|'{\"z\":1.10}'"},
      // Other types, and numbers that the column could only hold in part.
      {R"({"b":1,"i":"1","d":"1","s":1,"j":"{}"})",
       R"(null|null|null|null|null|'{"b":1,"i":"1","d":"1","s":1,"j":"{}"}')"},
      {R"({"i":1.0})", R"(null|null|null|null|null|'{"i":1.0}')"},
      {R"({"i":9223372036854775808})", R"(null|null|null|null|null|'{"i":9223372036854775808}')"},
      {R"({"d":9007199254740992})", "null|null|0x1p+53|null|null|null"},
      {R"({"d":9007199254740993})", R"(null|null|null|null|null|'{"d":9007199254740993}')"},
      {R"({"d":-12345678901234567890})", R"(null|null|null|null|null|'{"d":-12345678901234567890}')"},
      {R"({"d":1e400})", R"(null|null|null|null|null|'{"d":1e400}')"},
      // Digits that a double does not hold stay.
      {R"({"d":9007199254740993.5})", R"(null|null|null|null|null|'{"d":9007199254740993.5}')"},
      {R"({"d":1e-400})", R"(null|null|null|null|null|'{"d":1e-400}')"},
      {R"({"d":0.10000000000000001})", R"(null|null|0x1.999999999999ap-4|null|null|null)"},
      // Twice in one record.
      {R"({"i":1,"s":"x","i":2})", R"(null|null|null|'x'|null|'{"i":1,"i":2}')"},
      {R"({"i":1,"i":"x","i":3})", R"(null|null|null|null|null|'{"i":1,"i":"x","i":3}')"},
      // Escapes in a key.
      {R"({"\u0069":1,"\u0078":1.10})", R"(null|1|null|null|null|'{"\u0078":1.10}')"},
      {R"( { "i" : 1 , "x" : 1.10 } )", R"(null|1|null|null|null|'{"x" : 1.10}')"},
      // What SQL made of it.
      {"", "null|null|null|null|null|''"},
      {R"({"i":1})", "null|1|null|null|null|null"},
      {"[1]", "null|null|null|null|null|'[1]'"},
      {R"({"i":1)", R"(null|null|null|null|null|'{"i":1')"},
      {R"({"i":1,"s":"x)", R"(null|null|null|null|null|'{"i":1,"s":"x')"},
      {R"({"i":1}})", R"(null|null|null|null|null|'{"i":1}}')"},
      {"}", "null|null|null|null|null|'}'"},
      {R"({"i":)", R"(null|null|null|null|null|'{"i":')"},
      {R"({"i")", R"(null|null|null|null|null|'{"i"')"},
  };
  Texts texts;
  std::vector<std::string> want;
  // Each alone, then all in one batch: what is cut off does not go on in the next.
  for (const Case& c : cases) {
    SCOPED_TRACE(c.text.value_or("null"));
    EXPECT_THAT(Rows(fields, {c.text}), ElementsAre(c.want));
    texts.push_back(c.text);
    want.push_back(c.want);
  }
  EXPECT_EQ(Rows(fields, texts), want);
  // A slice of an array begins within its text.
  const auto slice = std::static_pointer_cast<arrow::StringArray>(Rescued(texts)->Slice(2, 3));
  const auto parts = fields.Split(*slice).ValueOrDie();
  EXPECT_EQ(CellText(*parts.columns[1], 0), "-3");
  EXPECT_EQ(CellText(*parts.rescued, 2), R"('{"z":1.10}')");
}

TEST(AddedColumns, NoColumnsAndNoTexts) {
  RescuedFields fields;
  EXPECT_THAT(Rows(fields, {R"({"i" : 1})", std::nullopt}), ElementsAre(R"('{"i" : 1}')", "null"));
  EXPECT_THAT(Rows(fields, {}), IsEmpty());
  fields.SetColumns({{"i", AddedType::kInt64}}, {});
  EXPECT_THAT(Rows(fields, {std::nullopt, std::nullopt}), ElementsAre("null|null", "null|null"));
  EXPECT_THAT(Rows(fields, {}), IsEmpty());
}

// A column of a type that no value of JSON shows, and one that the first value would have made another.
TEST(AddedColumns, AreAsTheWritersSchemasSay) {
  const auto declared = std::make_shared<DeclaredFields>();
  declared->Add("n", arrow::int32());
  declared->Add("x", arrow::float64());
  declared->Add("x", arrow::int64());  // The first stays.
  declared->Add("at", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"));
  declared->Add("price", arrow::decimal128(6, 2));
  declared->Add("tags", arrow::list(arrow::field("element", arrow::utf8())));
  declared->Add("text", arrow::utf8());
  EXPECT_EQ(declared->num_fields(), 6u);
  RescuedFields fields(declared);
  const Texts texts = {
      R"({"n":5,"x":1,"at":"2026-03-01T12:00:00Z","price":12.5,"tags":["a","b"],"text":"t","free":7})",
      std::nullopt,
      R"({"n":3000000000,"x":2.5,"at":"never","price":"1.25","tags":"a"})",  // Some do not fit.
      R"({"n":1,"n":2,"x":null,"at":null})",                                 // There twice.
      "no object",
      R"({"price":1.234})",
  };
  auto found = fields.FindNew(*Rescued(texts));
  std::vector<std::string> types;
  for (const AddedColumn& column : found) types.push_back(column.name + " " + ArrowType(column)->ToString());
  EXPECT_THAT(types, ElementsAre("n int32", "x double", "at timestamp[us, tz=UTC]", "price decimal128(6, 2)",
                                 "tags list<element: string>", "text string", "free int64"));
  fields.SetColumns(found, {});
  const auto parts = fields.Split(*Rescued(texts)).ValueOrDie();
  std::vector<std::string> rows;
  const auto& rest = static_cast<const arrow::StringArray&>(*parts.rescued);
  for (std::int64_t row = 0; row < rest.length(); ++row) {
    std::string& text = rows.emplace_back();
    for (const auto& column : parts.columns) text += CellText(*column, row) + " ";
    text += "| " + (rest.IsNull(row) ? "" : rest.GetString(row));
  }
  EXPECT_THAT(rows,
              ElementsAre("5 0x1p+0 1772366400000000 1250 ['a','b'] 't' 7 | ", "null null null null null null null | ",
                          R"(null 0x1.4p+1 null 125 null null null | {"n":3000000000,"at":"never","tags":"a"})",
                          R"(null null null null null null null | {"n":1,"n":2})",
                          "null null null null null null null | no object",
                          R"(null null null null null null null | {"price":1.234})"));
}

}  // namespace
}  // namespace millrace::ingest
