#include "ingest/csv/csv_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "ingest/decoder_testing_internal.h"
#include "testing/status_matchers.h"

namespace millrace::ingest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

DecodeSpec Tickers() {
  DecodeSpec spec;
  spec.format = "csv";
  spec.columns = {{.name = "sym", .type = arrow::utf8()},
                  {.name = "px", .type = arrow::float64()},
                  {.name = "n", .type = arrow::int64(), .path = {"count"}}};
  spec.csv.header = {"sym", "px", "venue", "count"};
  return spec;
}

// Rows as "cell|cell", then refusals as "reason: detail".
std::vector<std::string> Decode(const DecodeSpec& spec, const std::vector<std::string>& documents) {
  const auto decoder = EventDecoder::Make(spec).ValueOrDie();
  const Decoded decoded = DecodeAll(*decoder, documents);
  EXPECT_TRUE(decoded.rows->ValidateFull().ok());
  auto lines = RowTexts(*decoded.rows, DecodedSchema(spec)->num_fields());
  for (const auto& letter : decoded.dead_letters) lines.push_back(letter.reason + ": " + letter.detail);
  return lines;
}

TEST(CsvDecoder, FieldsAreTakenByTheirNames) {
  EXPECT_THAT(Decode(Tickers(), {"ACME,1.5,XETR,3", "X,2,,4\r\n", "Y,,,\n"}),
              ElementsAre("'ACME'|0x1.8p+0|3", "'X'|0x1p+1|4", "'Y'|null|null"));
  DecodeSpec twice = Tickers();
  twice.columns.push_back({.name = "n_text", .type = arrow::utf8(), .path = {"count"}});
  EXPECT_THAT(Decode(twice, {"A,1,V,007"}), ElementsAre("'A'|0x1p+0|7|'007'"));
  DecodeSpec unnamed = Tickers();
  unnamed.csv.header.clear();
  EXPECT_THAT(Decode(unnamed, {"A,1,7"}), ElementsAre("'A'|0x1p+0|7"));
}

TEST(CsvDecoder, QuotesHoldWhateverTheyHold) {
  EXPECT_THAT(Decode(Tickers(), {"\"a,\"\"b\"\"\r\nc\",\"1\",,2", "\"\",1,\"\",2", "a\"b\",1,,2", "\"\"\"\",1,,2"}),
              ElementsAre("'a,\"b\"\r\nc'|0x1p+0|2", "''|0x1p+0|2", "'a\"b\"'|0x1p+0|2", "'\"'|0x1p+0|2"));
  DecodeSpec backslash = Tickers();
  backslash.csv.escape = '\\';
  EXPECT_THAT(Decode(backslash, {R"("a\"b\\c\d",1,,2)"}), ElementsAre(R"('a"b\c\d'|0x1p+0|2)"));
  DecodeSpec tabs = Tickers();
  tabs.csv.delimiter = '\t';
  tabs.csv.quote = std::nullopt;
  EXPECT_THAT(Decode(tabs, {"\"a\",b\t1\t\t2"}), ElementsAre("'\"a\",b'|0x1p+0|2"));
}

TEST(CsvDecoder, NullIsWhatIsSaidToBeAndNeverInQuotes) {
  DecodeSpec spec = Tickers();
  spec.csv.null_text = "\\N";
  EXPECT_THAT(Decode(spec, {"\\N,\\N,,\\N", ",1,,2", "\"\\N\",1,,2", "a,\"\\N\",,2"}),
              ElementsAre("null|null|null", "''|0x1p+0|2", "'\\N'|0x1p+0|2",
                          "type_mismatch: field 'px': expected double, found '\\N' at byte 2"));
}

TEST(CsvDecoder, LinesThatAreTooShortOrTooLong) {
  EXPECT_THAT(Decode(Tickers(), {"a,1,v", "a,1,v,2,", "a,1,v,2,3", "a"}),
              ElementsAre("missing_fields: 3 fields, the first that is missing is 'count'",
                          "too_many_fields: more than 4 fields, from byte 8 on",
                          "too_many_fields: more than 4 fields, from byte 8 on",
                          "missing_fields: 1 fields, the first that is missing is 'px'"));
  DecodeSpec lenient = Tickers();
  lenient.csv.missing_is_null = true;
  EXPECT_THAT(Decode(lenient, {"a,1", "b,1,v,2", "a,1,v,2,3"}),
              ElementsAre("'a'|0x1p+0|null", "'b'|0x1p+0|2", "too_many_fields: more than 4 fields, from byte 8 on"));
}

TEST(CsvDecoder, WhatIsNoLineIsRefusedWithItsPlaceAndTheOthersGoOn) {
  EXPECT_THAT(
      Decode(Tickers(), {"", "\"a,1,,2", "\"a\"b,1,,2", "a,1,,2\nb,1,,2", "a\xFF,1,,2", "\x1F\x8B\x08\xFF", "a,x,,2",
                         "a,1,,99999999999999999999", "ok,1,,2"}),
      ElementsAre("'ok'|0x1p+0|2", "empty_payload: the payload is empty", "bad_csv: the quote at byte 0 does not end",
                  "bad_csv: the quote that ends at byte 2 is in mid-field",
                  "bad_csv: a second line begins behind byte 6, and a record is one line", "bad_utf8: not UTF-8",
                  "bad_utf8: not UTF-8; it looks like gzip",
                  "type_mismatch: field 'px': expected double, found 'x' at byte 2",
                  "out_of_range: field 'count': '99999999999999999999' is out of the range of int64 at byte 5"));
}

TEST(CsvDecoder, FieldsWithoutAColumnCanBeRescued) {
  DecodeSpec spec = Tickers();
  spec.unknown_fields = UnknownFields::kRescue;
  EXPECT_THAT(Decode(spec, {"a,1,\"X\"\"Y\",2", "a,1,,2"}),
              ElementsAre(R"('a'|0x1p+0|2|'{"venue":"X\"Y"}')", R"('a'|0x1p+0|2|'{"venue":null}')"));
}

TEST(CsvDecoder, WhatCannotBeDecodedSoIsSaidAtOnce) {
  struct Case {
    std::function<void(DecodeSpec&)> edit;
    const char* message;
  };
  const Case cases[] = {
      {[](DecodeSpec& s) { s.csv.header[3] = "counts"; },
       "column 'n': csv.header has no field 'count' (it has sym, px, venue, counts); did you mean 'counts'?"},
      {[](DecodeSpec& s) { s.csv.header[2] = "px"; }, "csv.header: 'px' is there twice"},
      {[](DecodeSpec& s) { s.csv.header[2] = ""; }, "csv.header: a name is empty"},
      {[](DecodeSpec& s) { s.columns[0].type = arrow::list(arrow::field("element", arrow::utf8())); },
       "column 'sym': CSV has no lists"},
      {[](DecodeSpec& s) { s.csv.delimiter = '"'; }, "csv.delimiter and csv.quote are both '\"'"},
      {[](DecodeSpec& s) { s.csv.delimiter = '\n'; }, "csv.delimiter must be an ASCII character that is no line break"},
      {[](DecodeSpec& s) { s.csv.escape = ','; }, "csv.delimiter and csv.escape are both ','"},
      {[](DecodeSpec& s) { s.unknown_fields = UnknownFields::kReject; },
       "csv.header names 'venue', which no column reads"},
      {[](DecodeSpec& s) { s.unknown_fields = UnknownFields::kAdd; }, "unknown_fields: add is not for CSV"},
  };
  for (const Case& c : cases) {
    DecodeSpec spec = Tickers();
    c.edit(spec);
    const auto made = EventDecoder::Make(spec);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, made);
    EXPECT_THAT(made.status().message(), HasSubstr(c.message));
  }
}

// Whatever texts are written by the rules come back as they were.
TEST(CsvDecoder, ReadsWhatAWriterWrote) {
  std::mt19937_64 random(7);
  const std::string letters = "a,\"\\\r\n \t\xC3\xA9";
  for (int round = 0; round < 2000; ++round) {
    DecodeSpec spec;
    spec.format = "csv";
    spec.csv.escape = round % 2 == 0 ? '"' : '\\';
    std::string line;
    std::string want;
    const int fields = 1 + static_cast<int>(random() % 5);
    for (int i = 0; i < fields; ++i) {
      spec.columns.push_back({.name = "f" + std::to_string(i), .type = arrow::utf8()});
      std::string text;
      for (std::size_t length = random() % 6; length > 0; --length) {
        const std::size_t at = random() % (letters.size() - 1);
        text += at >= letters.size() - 2 ? letters.substr(letters.size() - 2) : letters.substr(at, 1);
      }
      const bool is_null = random() % 8 == 0;
      if (i > 0) {
        line += ',';
        want += '|';
      }
      want += is_null ? "null" : "'" + text + "'";
      if (is_null) continue;
      line += '"';
      for (const char c : text) {
        if (c == '"' || (c == '\\' && spec.csv.escape == '\\')) line += spec.csv.escape;
        line += c;
      }
      line += '"';
    }
    if (line.empty()) line = "\n";
    ASSERT_THAT(Decode(spec, {line}), ElementsAre(want)) << line;
  }
}

}  // namespace
}  // namespace millrace::ingest
