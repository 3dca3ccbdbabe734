// From values to types: what is certain, what is noted, and what is left out.
#include "infer/column_guess.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace::infer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr UnixMicros kNow = 1'793'000'000'000'000;  // In 2026.
const std::optional<TimeFrame> kFrame = TimeFrame{kNow - 3'600'000'000, kNow};

/// The columns of documents, as "name: type" or "# name" with the notes behind " # ".
std::vector<std::string> Columns(const std::vector<std::string>& documents,
                                 const std::optional<TimeFrame>& frame = kFrame) {
  DocumentProfile profile;
  for (const auto& document : documents) EXPECT_TRUE(ObserveJson(document, std::nullopt, profile)) << document;
  ColumnNames names;
  std::vector<std::string> columns;
  for (const auto& column : JsonColumns(profile, frame, names)) {
    auto text = column.left_out ? "# " + column.name : column.name + ": " + column.type;
    if (!column.format.empty()) text += " " + column.format;
    if (!column.notes.empty()) text += fmt::format(" # {}", fmt::join(column.notes, "; "));
    columns.push_back(text);
  }
  return columns;
}

std::string Column(const std::vector<std::string>& values, const std::string& name = "x") {
  std::vector<std::string> documents;
  for (const auto& value : values) documents.push_back(fmt::format(R"({{"{}": {}}})", name, value));
  return Columns(documents).front();
}

std::vector<std::string> Times(int count, const std::string& value) {
  return std::vector<std::string>(static_cast<std::size_t>(count), value);
}

std::vector<std::string> Mixed(int count, const std::string& value, int others, const std::string& other) {
  auto values = Times(count, value);
  values.insert(values.end(), static_cast<std::size_t>(others), other);
  return values;
}

TEST(JsonColumns, HaveTheTypesOfTheirValues) {
  EXPECT_EQ(Column({"1", "-2", "0"}), "x: int64");
  EXPECT_EQ(Column({"1.5", "2.25"}), "x: double");
  EXPECT_EQ(Column({"true", "false"}), "x: bool");
  EXPECT_EQ(Column({R"("a")", R"("")"}), "x: string");
  EXPECT_EQ(Column({R"("2026-11-01T10:00:00Z")", R"("2026-11-01T10:00:00.5+05:30")"}), "x: timestamp");
  EXPECT_EQ(Column({R"("2026-11-01")"}), "x: date");
  EXPECT_EQ(Column({"[1, 2]", "[]", "[null]"}), "x: list<int64>");
  EXPECT_EQ(Column({R"(["a"])"}), "x: list<string>");
}

TEST(JsonColumns, SayWhatTheyAreUnsureOf) {
  EXPECT_EQ(Column({"1", "2.5", "3"}), "x: double # mixed: 2 whole numbers, 1 with a fraction");
  EXPECT_EQ(Column(Mixed(997, "5", 3, R"("n/a")")), "x: int64 # 3 of 1000 are no numbers: dead letters");
  EXPECT_EQ(Column(Mixed(99, "5", 1, "null")), "x: int64 # null in 1 of 100 records");
  EXPECT_EQ(Column(Mixed(99, R"("2026-11-01")", 1, R"("soon")")), "x: date # 1 of 100 are no dates: dead letters");
  EXPECT_EQ(Column({"12345678901234567890", "1"}), "x: decimal(38,0) # 1 of 2 are more than 64 bits hold");
  EXPECT_EQ(Column(Mixed(98, std::string(38, '9'), 2, R"("n/a")")),
            "x: decimal(38,0) # 98 of 98 are more than 64 bits hold; 2 of 100 are no numbers: dead letters");
  EXPECT_EQ(Column({R"("2026-11-01 10:00:00")"}),
            "x: string # times without an offset: if they are UTC, {type: timestamp, format: \"%Y-%m-%d %H:%M:%S\"}");
  EXPECT_THAT(Column({R"("01/02/2026 10:00:00")"}), HasSubstr("%d/%m/%Y %H:%M:%S\"} or {type: timestamp"));
  EXPECT_EQ(Column({R"("AAECAwQFBgcICQoLDA0ODw==")"}), "x: string # could be bytes in base64: type binary");
}

TEST(JsonColumns, TimesWithAnOffsetHaveTheirFormat) {
  const auto apache = R"("01/Nov/2026:17:30:00 +0530")";
  EXPECT_EQ(Column({apache}), "x: timestamp %d/%b/%Y:%H:%M:%S %z");
  EXPECT_EQ(Column({R"("2026-11-01T17:30:00+0530")", R"("2026-11-01T17:30:00+0000")"}),
            "x: timestamp %Y-%m-%dT%H:%M:%S%z");
  EXPECT_EQ(Column(Mixed(99, apache, 1, R"("-")")),
            "x: timestamp %d/%b/%Y:%H:%M:%S %z # 1 of 100 are no times of this format: dead letters");
  EXPECT_THAT(Column(Mixed(97, apache, 3, R"("-")")), HasSubstr("x: string"));
  EXPECT_EQ(Column({"[" + std::string(apache) + "]"}), "x: list<timestamp> %d/%b/%Y:%H:%M:%S %z");
}

TEST(JsonColumns, UuidsAreSuchIfAllAre) {
  const auto uuid = R"("018f3a6e-7b1c-7abc-8def-0123456789ab")";
  EXPECT_EQ(Column({uuid}), "x: uuid # in lower case, however they come");
  EXPECT_EQ(Column(Mixed(99, uuid, 1, R"("-")")), "x: string");
}

TEST(JsonColumns, ObjectsInArraysAreStructs) {
  EXPECT_EQ(Column({R"([{"sku": "a", "n": 1}, {"n": 2}])", "[]"}), "x: list<struct<sku: string, n: int64>>");
  EXPECT_EQ(
      Column({R"([{"price": 1.5, "at": {"lat": 0.5}}])"}),
      "x: list<struct<price: decimal(18,2), at: struct<lat: double>>> # price: money by its name: exact, and more "
      "than 2 digits after the point are dead letters");
  EXPECT_EQ(Column({"[[1]]"}), "x: list<list<int64>>");
  // Where a member has no one type, or no name that a type can spell, they are as they came.
  for (const char* const value :
       {R"([{"a": 1}, {"a": "b"}])", R"([{"a": null}])", R"([{"a b": 1}])", R"([{"a": 1, "A": 2}])", "[{}]"}) {
    EXPECT_EQ(Column({value}), "x: json # objects whose members have not one type each, as they came") << value;
  }
  EXPECT_EQ(Column({"[1, \"a\"]"}), "x: json # arrays of mixed values, as they came");
  EXPECT_EQ(Column(Mixed(99, R"([{"a": 1}])", 1, "5")),
            "x: list<struct<a: int64>> # 1 of 100 are no arrays: dead letters");
}

TEST(JsonColumns, KeepNumbersBeyondAllTypesAsTheyAreWritten) {
  const std::string many(39, '9');
  EXPECT_EQ(Column({many, "1"}), "x: json # 1 of 2 are more than any number holds: as they are written");
  EXPECT_EQ(Column({"1e400", "-1e400", "0.5"}), "x: json # 2 of 3 are more than a double holds: as they are written");
  EXPECT_EQ(Column(Mixed(98, "1e400", 2, R"("n/a")")),
            "x: json # 98 of 98 are more than a double holds: as they are written")
      << "which takes the others too";
  EXPECT_EQ(Column({std::string(400, '9') + ".5"}),
            "x: json # 1 of 1 are more than a double holds: as they are written");
  EXPECT_EQ(Column({"1e-400", "1e308", "0e999"}), "x: double") << "the first is 0";
  EXPECT_THAT(Column({"[" + many + "]"}), HasSubstr("x: json # 1 of 1 are more"));
  EXPECT_THAT(Column({R"([{"wei": )" + many + "}]"}), HasSubstr("x: list<struct<wei: json>> # wei: 1 of 1 are more"));
  // Money whose digits before and behind the point are more than a decimal has, with two of them for cents.
  EXPECT_EQ(Column({std::string(37, '9') + ".5"}, "price"), "price: double");
}

TEST(JsonColumns, LeaveOutWhatNoTypeTakes) {
  EXPECT_EQ(Column(Mixed(6, "5", 4, R"("n/a")")), "# x # mixed, and no type but json takes all: 6 numbers, 4 texts");
  EXPECT_EQ(Column({"null", "null"}), "# x # null in all 2 records: its type is not known");
  EXPECT_EQ(Column({"[]"}), "# x # empty in all records: of what is not known");
  EXPECT_EQ(Column({"{}"}), "# x # an object without keys");
}

TEST(JsonColumns, AtTheLimitOfStraysTheTypeIsStillGuessed) {
  EXPECT_THAT(Column(Mixed(98, "5", 2, "\"a\"")), HasSubstr("x: int64"));
  EXPECT_THAT(Column(Mixed(97, "5", 3, "\"a\"")), HasSubstr("# x"));
}

TEST(JsonColumns, NumbersAreTimesByNameOrByWhenTheyCame) {
  EXPECT_THAT(Column({"1793000000"}, "ts"), HasSubstr("ts: timestamp_s"));
  EXPECT_THAT(Column({"1793000000.25"}, "ts"), HasSubstr("ts: timestamp_s"));
  EXPECT_THAT(Column({"1793000000000"}, "at"), HasSubstr("at: timestamp_ms"));
  EXPECT_THAT(Column({"1793000000000000"}, "when"), HasSubstr("when: timestamp_us"));
  EXPECT_THAT(Column({"1793000000000000000"}, "time"), HasSubstr("time: timestamp_ns"));
  EXPECT_THAT(Column({"1793000000000"}, "x"), HasSubstr("x: timestamp_ms"));  // Of the hour in which it came.
  EXPECT_EQ(Column({"1793000000"}, "x"), "x: int64");                         // An id may have ten digits.
  EXPECT_THAT(Column({"1593000000000"}, "x"), HasSubstr("x: int64 # could be times: timestamp_ms"));
  EXPECT_EQ(Column({"5", "1793000000000"}, "ts"), "ts: int64");  // No unit fits both.
}

TEST(JsonColumns, MoneyIsExact) {
  EXPECT_THAT(Column({"1.5", "2"}, "price"), HasSubstr("price: decimal(18,2) # money by its name"));
  EXPECT_THAT(Column({"1.2345"}, "unitPrice"), HasSubstr("unitPrice: decimal(18,4)"));
  EXPECT_THAT(Column({"1.23456789"}, "price"), HasSubstr("price: double"));
  EXPECT_THAT(Column({"12"}, "amount"), HasSubstr("amount: int64 # whole so far"));
  EXPECT_THAT(Column({R"("1.50")", R"("2")"}), HasSubstr("x: decimal(18,2) # numbers in quotes"));
  EXPECT_EQ(Column({R"("15")"}), "x: string # whole numbers in quotes");
  EXPECT_EQ(Column({R"("007")"}), "x: string # digits with leading zeros");
}

TEST(JsonColumns, NestedFieldsHavePaths) {
  DocumentProfile profile;
  ASSERT_TRUE(ObserveJson(R"({"geo": {"city": "Rome", "at.x": 1}, "geo_city": "a", "": 2})", std::nullopt, profile));
  ColumnNames names;
  const auto columns = JsonColumns(profile, kFrame, names);
  ASSERT_EQ(columns.size(), 4U);
  EXPECT_EQ(columns[0].name, "geo_city");
  EXPECT_THAT(columns[0].path, ElementsAre("geo", "city"));
  EXPECT_THAT(columns[1].path, ElementsAre("geo", "at.x"));
  EXPECT_EQ(columns[2].name, "geo_city_2");
  EXPECT_TRUE(columns[3].left_out);  // A key without letters.
}

TEST(JsonColumns, AnObjectWhoseKeysAreDataIsAMap) {
  std::vector<std::string> documents;
  for (int i = 0; i < 100; ++i) documents.push_back(fmt::format(R"({{"by_user": {{"u{}": 1}}}})", i));
  EXPECT_THAT(Columns(documents), ElementsAre("by_user: map<string, int64> # objects with 100 different keys"));
  documents.push_back(R"({"by_user": {"u7": "many"}})");
  EXPECT_THAT(Columns(documents), ElementsAre("by_user: json # objects with 100 different keys, as they came"));
}

TEST(JsonColumns, SecretsAreLeftOutWithoutAWordOfTheirValues) {
  EXPECT_EQ(Column({R"("hunter2")"}, "password"), "# password # looks like a secret, so it is left out");
  EXPECT_EQ(Column({R"("AKIAABCDEFGHIJKLMNOP")"}), "# x # looks like a secret, so it is left out");
  EXPECT_EQ(Column({R"([{"password": "a"}])"}), "# x # looks like a secret, so it is left out");
  EXPECT_EQ(Column({"5"}, "token"), "token: int64");  // Counts of tokens are none.
}

TEST(JsonProfile, IsBounded) {
  DocumentProfile wide;
  std::string document = "{";
  for (std::size_t i = 0; i <= kFieldsMax; ++i) document += fmt::format("{}\"f{}\": 1", i > 0 ? "," : "", i);
  ASSERT_TRUE(ObserveJson(document + "}", std::nullopt, wide));
  EXPECT_EQ(wide.num_fields, kFieldsMax);
  EXPECT_TRUE(wide.has_more);
  ColumnNames names;
  EXPECT_EQ(JsonColumns(wide, kFrame, names).size(), kColumnsMax);

  DocumentProfile deep;
  std::string nested = "1";
  for (int i = 0; i < 500; ++i) nested = "{\"a\": [" + nested + "]}";
  ASSERT_TRUE(ObserveJson(nested, std::nullopt, deep));
  EXPECT_TRUE(deep.has_more);
  EXPECT_FALSE(ObserveJson("[1]", std::nullopt, deep));
  EXPECT_FALSE(ObserveJson("{\"a\": tru}", std::nullopt, deep));

  FieldProfile many;
  for (std::size_t i = 0; i < 2 * kDistinctMax; ++i) ObserveText(fmt::format("v{}", i), many);
  EXPECT_EQ(many.distinct.size(), kDistinctMax);
  EXPECT_EQ(many.repeats, 0);
}

std::vector<FieldProfile> Fields(const std::vector<std::vector<std::string>>& columns) {
  std::vector<FieldProfile> fields;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    fields.emplace_back();
    fields.back().name = fmt::format("f{}", i);
    for (const auto& text : columns[i]) ObserveText(text, fields.back());
  }
  return fields;
}

TEST(TextTypes, AreThoseOfWhatTheTextsSay) {
  const auto type = [](const std::vector<std::string>& texts) {
    return GuessTextType(Fields({texts}).front(), "", std::nullopt).type;
  };
  EXPECT_EQ(type({"1", "-2", "+3"}), "string");  // A plus sign is not what a producer of numbers writes.
  EXPECT_EQ(type({"1", "-2"}), "int64");
  EXPECT_EQ(type({"1", "2.5", ""}), "double");
  EXPECT_EQ(type({"true", "FALSE"}), "bool");
  EXPECT_EQ(type({"0", "1"}), "int64");
  EXPECT_EQ(type({"2026-11-01"}), "date");
  EXPECT_EQ(type({"2026-11-01T00:00:00Z"}), "timestamp");
  EXPECT_EQ(type({"01234", "55555"}), "string");
  EXPECT_EQ(type({"12345678901234567890123"}), "decimal(38,0)");
  EXPECT_EQ(type({std::string(39, '9')}), "string");
  EXPECT_EQ(type({"1e400", "0.5"}), "string");
  EXPECT_EQ(type({"", ""}), "string");
}

TEST(NullText, IsTheOneAmongValues) {
  EXPECT_EQ(GuessNullText(Fields({{"1", "NULL", "3", "4"}, {"a", "b", "c", "d"}})), "NULL");
  EXPECT_EQ(GuessNullText(Fields({{"1", "", "3", "4"}, {"-", "-", "-", "x"}})), "");  // Texts may be a dash.
  EXPECT_EQ(GuessNullText(Fields({{"1", "2"}})), "");
}

TEST(RecordColumns, AreWhatThePayloadDoesNotSay) {
  Sample sample;
  sample.from_log = true;
  for (int i = 0; i < 4; ++i) {
    SampledRecord record{.payload = "{}", .key = fmt::format("{}", i)};
    record.headers = {
        {"trace-id", "t1"}, {"attempt", "3"}, {"authorization", "x"}, {"trace-id", "t2"}, {"none", std::nullopt}};
    if (i == 0) record.headers.emplace_back("bytes", "\xFF");
    sample.records.push_back(std::move(record));
  }
  ColumnNames names;
  const auto columns = RecordColumns(sample, "", std::nullopt, names);
  ASSERT_EQ(columns.size(), 5U);
  EXPECT_EQ(columns[0].from, "key");
  EXPECT_EQ(columns[0].type, "string");
  EXPECT_THAT(columns[0].notes, ElementsAre("all of them are int64 in the sample"));
  EXPECT_EQ(columns[1].type, "int64");
  EXPECT_TRUE(columns[2].left_out);  // authorization
  EXPECT_EQ(columns[3].type, "binary");
  EXPECT_THAT(columns[3].notes, ElementsAre("1 of 4 are bytes that are not UTF-8"));
  EXPECT_EQ(columns[4].from, "header.trace-id");
  EXPECT_EQ(columns[4].facts.distinct, 1U);

  ColumnNames others;
  EXPECT_EQ(RecordColumns(sample, "device_id", std::nullopt, others).size(), 4U);  // The key is known.
}

}  // namespace
}  // namespace millrace::infer
