#include "ingest/record_columns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <string>

#include "ingest/decoder_testing_internal.h"
#include "ingest/formats.h"
#include "testing/status_matchers.h"

namespace millrace::ingest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ColumnSpec From(const std::string& name, std::string_view from, std::shared_ptr<arrow::DataType> type) {
  return {.name = name, .type = std::move(type), .from = ParseRecordPlace(from).value()};
}

const auto kTime = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");

TEST(RecordColumns, StandBetweenThoseOfThePayload) {
  const DecodeSpec spec{.columns = {From("who", "key", arrow::utf8()),
                                    {.name = "a", .type = arrow::int64()},
                                    From("n", "header.n", arrow::int64()),
                                    From("t", "topic", arrow::utf8()),
                                    From("p", "partition", arrow::int64()),
                                    From("o", "offset", arrow::int64()),
                                    From("at", "timestamp", kTime)},
                        .unknown_fields = UnknownFields::kRescue};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto decoder, EventDecoder::Make(spec));
  model::FetchedRecords records;
  records.source = {"t", 3};
  std::deque<model::RecordHeaders> all_headers;
  const auto add = [&](std::optional<std::string_view> key, std::string_view payload, model::RecordHeaders headers) {
    records.records.push_back(
        {.offset = 10 + std::ssize(records.records), .timestamp = 77, .key = key, .payload = payload});
    records.records.back().SetHeaders(&all_headers.emplace_back(std::move(headers)));
  };
  add("ann", R"({"a":1,"b":2})", {{"n", "5"}, {"m", "x"}, {"n", "6"}});
  add(std::nullopt, R"({"a":2})", {});
  add("bob", R"({"a":"x"})", {{"n", "7"}});  // The payload does not fit.
  add("\xFF", R"({"a":3})", {});             // The key does not.
  add("", R"({"a":4})", {{"n", "many"}});    // Nor does this header.
  add("", R"({"a":5})", {{"n", std::nullopt}});
  const Decoded decoded = decoder->Decode(records).ValueOrDie();
  MILLRACE_ASSERT_OK(decoded.rows->ValidateFull());
  EXPECT_TRUE(decoded.rows->schema()->Equals(*EventSchema(spec)));
  EXPECT_THAT(RowTexts(*decoded.rows, 8), ElementsAre("'ann'|1|6|'t'|3|10|77|'{\"b\":2}'",
                                                      "null|2|null|'t'|3|11|77|null", "''|5|null|'t'|3|15|77|null"));
  std::vector<std::string> letters;
  for (const auto& letter : decoded.dead_letters) {
    letters.push_back(fmt::format("{}: {}, {}", letter.offset, letter.reason, letter.detail));
  }
  EXPECT_THAT(letters,
              ElementsAre("12: type_mismatch, field 'a': expected int64, found string \"x\" at byte 5",
                          "13: bad_utf8, key: not UTF-8", "14: type_mismatch, header.n: expected int64, found 'many'"));
}

TEST(RecordColumns, NeedNotTakeALookAtThePayload) {
  const DecodeSpec spec{.columns = {From("who", "key", arrow::decimal128(5, 2))}};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto decoder, EventDecoder::Make(spec));
  model::FetchedRecords records;
  records.source = {"t", 0};
  records.records.push_back({.key = "1.50", .payload = "{}"});
  EXPECT_THAT(RowTexts(*decoder->Decode(records).ValueOrDie().rows, 1), ElementsAre("150"));
}

TEST(RecordColumns, BinaryTakesTheBytesAsTheyAre) {
  ColumnSpec id = From("id", "header.id", arrow::utf8());
  id.form = OfText(TextForm::kUuid);
  const DecodeSpec spec{.columns = {From("k", "key", arrow::binary()), id}};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto decoder, EventDecoder::Make(spec));
  model::FetchedRecords records;
  records.source = {"t", 0};
  const model::RecordHeaders headers = {{"id", "00112233445566778899AABBCCDDEEFF"}};
  records.records.push_back({.key = "\xFF\xFE", .payload = "{}"});
  records.records.back().SetHeaders(&headers);
  records.records.push_back({.payload = "{}"});
  EXPECT_THAT(RowTexts(*decoder->Decode(records).ValueOrDie().rows, 2),
              ElementsAre("xfffe|'00112233-4455-6677-8899-aabbccddeeff'", "null|null"));
}

TEST(RecordColumns, EachPartHasItsTypes) {
  struct Case {
    ColumnSpec column;
    const char* message;
  };
  const Case cases[] = {
      {From("c", "key", arrow::list(arrow::field("element", arrow::utf8()))), "column 'c': key is a text, which is no"},
      {From("c", "topic", arrow::int64()), "column 'c': topic is a string, not int64"},
      {From("c", "partition", arrow::utf8()), "column 'c': partition is int32 or int64, not string"},
      {From("c", "offset", arrow::int32()), "column 'c': offset is int64, not int32"},
      {From("c", "timestamp", arrow::int64()), "column 'c': timestamp is a timestamp, not int64"},
      {From("c", "header.x", arrow::uint32()), "column 'c': events have no values"},
  };
  for (const Case& c : cases) {
    const auto made = MakeDecoder({.columns = {c.column}});
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, made);
    EXPECT_THAT(made.status().message(), HasSubstr(c.message));
  }
}

TEST(RecordColumns, PlacesAreSpelledOneWay) {
  for (const char* text :
       {"key", "topic", "partition", "offset", "timestamp", "header.a", "header.a.b", "header.key"}) {
    ASSERT_TRUE(ParseRecordPlace(text)) << text;
    EXPECT_EQ(FromText(*ParseRecordPlace(text)), text);
  }
  for (const char* text : {"", "Key", "header", "header.", "headers.a", "value"}) {
    EXPECT_FALSE(ParseRecordPlace(text)) << text;
  }
}

}  // namespace
}  // namespace millrace::ingest
