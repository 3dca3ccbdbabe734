// Members that are computed before columns are read: what is replaced, what stays as it was written, what is refused.
#include "ingest/json/computed_fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "ingest/decoder_testing_internal.h"
#include "ingest/formats.h"
#include "testing/status_matchers.h"

namespace millrace::ingest {
namespace {

using ::testing::HasSubstr;

DecodeSpec Spec(std::vector<ComputedField> computed) {
  DecodeSpec spec;
  spec.columns = {{.name = "day", .type = arrow::utf8(), .path = {"day"}},
                  {.name = "n", .type = arrow::int64(), .path = {"n"}},
                  {.name = "amount", .type = arrow::decimal128(30, 20), .path = {"amount"}},
                  {.name = "city", .type = arrow::utf8(), .path = {"geo", "city"}},
                  {.name = "zip", .type = arrow::utf8(), .path = {"geo", "zip"}}};
  spec.computed = std::move(computed);
  return spec;
}

Decoded DecodeWith(const std::vector<ComputedField>& computed, const std::vector<std::string>& documents) {
  auto decoder = EventDecoder::Make(Spec(computed)).ValueOrDie();
  return DecodeAll(*decoder, documents);
}

std::string Cell(const Decoded& decoded, const std::string& column, std::int64_t row = 0) {
  return CellText(*decoded.rows->GetColumnByName(column), row);
}

TEST(ComputedFields, SeeTheDocumentAsItCameAndLeaveTheRestAsItWasWritten) {
  const auto decoded = DecodeWith(
      {{{"day"}, "substr(at, `0`, `10`)"}, {{"n"}, "length(day)"}, {{"geo", "city"}, "town"}},
      {R"({"at": "2026-03-16T14:38:58Z", "day": "four", "n": "not a number", "amount": 1.00000000000000000001,
           "town": "Köln", "geo": {"zip": "5\u0030667"}})"});
  ASSERT_EQ(decoded.rows->num_rows(), 1) << decoded.dead_letters.front().detail;
  EXPECT_EQ(Cell(decoded, "day"), "'2026-03-16'");
  EXPECT_EQ(Cell(decoded, "n"), "4") << "of the day that the document had";
  EXPECT_EQ(Cell(decoded, "amount"), "100000000000000000001") << "more digits than a double has";
  EXPECT_EQ(Cell(decoded, "city"), "'Köln'");
  EXPECT_EQ(Cell(decoded, "zip"), "'50667'") << "the object's other members stay";
}

TEST(ComputedFields, NullChangesNothingAndWhatIsNoObjectGivesWay) {
  const auto decoded = DecodeWith({{{"day"}, "missing"}, {{"geo", "city"}, "'X'"}},
                                  {R"({"day": "kept", "geo": 5})", R"({})", R"({"geo": {"city": "Y"}})"});
  ASSERT_EQ(decoded.rows->num_rows(), 3);
  EXPECT_EQ(Cell(decoded, "day"), "'kept'");
  EXPECT_EQ(Cell(decoded, "day", 1), "null");
  for (int row = 0; row < 3; ++row) EXPECT_EQ(Cell(decoded, "city", row), "'X'");
}

TEST(ComputedFields, NumbersStayTheNearestDoubles) {
  DecodeSpec spec;
  spec.columns = {{.name = "x", .type = arrow::float64(), .path = {"x"}},
                  {.name = "y", .type = arrow::float64(), .path = {"y"}}};
  spec.computed = {{{"y"}, "not_null(x, big)"}};
  auto decoder = EventDecoder::Make(spec).ValueOrDie();
  std::mt19937_64 random(7);
  std::vector<std::string> documents;
  for (int i = 0; i < 2000; ++i) {
    documents.push_back(fmt::format(R"({{"x": {}}})", std::uniform_real_distribution(0.0, 1e6)(random)));
  }
  documents.emplace_back(R"({"big": 123456789012345678901234567890})");
  const auto decoded = DecodeAll(*decoder, documents);
  ASSERT_EQ(decoded.rows->num_rows(), 2001);
  for (int row = 0; row < 2000; ++row) ASSERT_EQ(Cell(decoded, "y", row), Cell(decoded, "x", row)) << documents[row];
  EXPECT_NE(Cell(decoded, "y", 2000), "null") << "beyond 64 bits";
}

TEST(ComputedFields, WhatFailsIsRefusedAndTheOthersGoOn) {
  const auto decoded =
      DecodeWith({{{"n"}, "length(day)"}}, {R"({"day": 5})", R"({"day": "abc"})", "[]", "{", R"({"day": "\ud800"})"});
  ASSERT_EQ(decoded.rows->num_rows(), 1);
  EXPECT_EQ(Cell(decoded, "n"), "3");
  ASSERT_EQ(decoded.dead_letters.size(), 4u);
  EXPECT_EQ(decoded.dead_letters[0].offset, 0);
  EXPECT_EQ(decoded.dead_letters[0].reason, "transform");
  EXPECT_THAT(decoded.dead_letters[0].detail, HasSubstr("'length(day)': length() takes"));
  EXPECT_EQ(decoded.dead_letters[1].reason, "not_object");
  EXPECT_EQ(decoded.dead_letters[2].reason, "bad_json");
  EXPECT_EQ(decoded.dead_letters[3].reason, "bad_utf8");
}

TEST(ComputedFields, TheKindOfTimestampIsTheLogs) {
  auto decoder = EventDecoder::Make(Spec({{{"n"}, std::string(kTimestampType)}})).ValueOrDie();
  for (const bool append_time : {false, true}) {
    model::FetchedRecords records{.source = {"t", 0}, .append_time = append_time};
    records.records.emplace_back().payload = "{}";
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto decoded, decoder->Decode(records));
    EXPECT_EQ(Cell(decoded, "n"), append_time ? "1" : "0");
  }
}

TEST(ComputedFields, WhatTheRecordSaysGoesAnywhere) {
  auto decoder = EventDecoder::Make(Spec({{{"n"}, "kafka.offset"},
                                          {{"geo", "city"}, "kafka.topic"},
                                          {{"amount"}, "kafka.partition"},
                                          {{"geo", "zip"}, "kafka.key"}}))
                     .ValueOrDie();
  model::FetchedRecords records{.source = {"orders", 3}};
  records.records.push_back({.offset = 17, .payload = R"({"kafka": {"key": "k"}, "day": "x"})"});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto decoded, decoder->Decode(records));
  ASSERT_EQ(decoded.rows->num_rows(), 1);
  EXPECT_EQ(Cell(decoded, "n"), "17");
  EXPECT_EQ(Cell(decoded, "city"), "'orders'");
  EXPECT_EQ(Cell(decoded, "amount"), "300000000000000000000");
  EXPECT_EQ(Cell(decoded, "zip"), "'k'") << "no name of the record's: it is JMESPath";
  EXPECT_EQ(Cell(decoded, "day"), "'x'");
}

TEST(ComputedFields, ANumberThatNoDoubleHoldsIsToldByTheExpressionThatGivesIt) {
  const std::vector<std::string> documents = {R"({"amount": 1e400, "n": 1})", R"({"x": 1e400, "n": 2})",
                                              R"({"x": [{"y": -1e400}], "n": 3})", R"({"n": 4, "x": 1e308})"};
  DecodeSpec spec;
  spec.columns = {{.name = "n", .type = arrow::int64(), .path = {"n"}}};
  spec.computed = {{{"copy"}, "x"}};
  auto decoder = EventDecoder::Make(spec).ValueOrDie();
  const auto decoded = DecodeAll(*decoder, documents);
  ASSERT_EQ(decoded.rows->num_rows(), 2) << "what no expression touches stays as it is";
  EXPECT_EQ(Cell(decoded, "n", 0), "1");
  EXPECT_EQ(Cell(decoded, "n", 1), "4");
  ASSERT_EQ(decoded.dead_letters.size(), 2u);
  for (const auto& letter : decoded.dead_letters) {
    EXPECT_EQ(letter.reason, "transform");
    EXPECT_EQ(letter.detail, "'x': gives a number that is out of the range of double");
  }
}

TEST(ComputedFields, ExpressionsAreCheckedBefore) {
  const auto message = [](ComputedField field) { return MakeDecoder(Spec({std::move(field)})).status().message(); };
  EXPECT_THAT(message({{"day"}, "a["}), HasSubstr("at character 3 of 'a['"));
  EXPECT_THAT(message({{}, "a"}), HasSubstr("a name of its path is empty"));
  EXPECT_THAT(message({{"day", ""}, "a"}), HasSubstr("a name of its path is empty"));
}

}  // namespace
}  // namespace millrace::ingest
