#include "serve/answer_writer.h"

#include <arrow/builder.h>
#include <arrow/table.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <functional>
#include <limits>
#include <sstream>
#include <stop_token>

#include "sql/sql_session.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::serve {
namespace {

Result<std::string> Text(const Result<http::Body>& body) {
  RETURN_NOT_OK(body.status());
  return body->Text();
}

query::Answer AnswerOf(const arrow::FieldVector& fields, const std::string& rows) {
  const auto batch = testing::BatchFromJson(arrow::schema(fields), rows);
  query::Answer answer;
  answer.rows = arrow::Table::FromRecordBatches({batch}).ValueOrDie();
  for (const auto& field : fields) answer.columns.push_back({field->name(), "T"});
  return answer;
}

TEST(AnswerWriter, WritesEachTypeExactly) {
  using arrow::field;
  struct Case {
    std::shared_ptr<arrow::DataType> type;
    std::string value;  // As Arrow's JSON reads it.
    std::string json;
    std::string csv;
  };
  const auto us = arrow::TimeUnit::MICRO;
  const std::vector<Case> cases = {
      {arrow::int64(), "9223372036854775807", "9223372036854775807", "9223372036854775807"},
      {arrow::uint64(), "18446744073709551615", "18446744073709551615", "18446744073709551615"},
      {arrow::int8(), "-5", "-5", "-5"},
      {arrow::boolean(), "true", "true", "true"},
      {arrow::decimal128(38, 0), R"("99999999999999999999999999999999999999")",
       "99999999999999999999999999999999999999", "99999999999999999999999999999999999999"},
      {arrow::decimal128(38, 2), R"("-0.05")", "-0.05", "-0.05"},
      {arrow::decimal128(12, 9), R"("0.000000001")", "0.000000001", "0.000000001"},
      {arrow::decimal128(12, 2), R"("1234.50")", "1234.50", "1234.50"},
      {arrow::float64(), "0.1", "0.1", "0.1"},
      {arrow::float64(), "5e300", "5e+300", "5e+300"},
      {arrow::float64(), "NaN", R"("nan")", "nan"},
      {arrow::float64(), "-Inf", R"("-inf")", "-inf"},
      {arrow::float64(), "Inf", R"("inf")", "inf"},
      {arrow::float64(), "null", "null", ""},
      {arrow::float32(), "NaN", R"("nan")", "nan"},
      {arrow::float32(), "Inf", R"("inf")", "inf"},
      {arrow::list(arrow::float64()), "[1.5, NaN, -Inf, null]", R"([1.5,"nan","-inf",null])",
       R"("[1.5,""nan"",""-inf"",null]")"},
      {arrow::float32(), "0.1", "0.1", "0.1"},
      {arrow::utf8(), R"("a\"b\\c\nd\u0001é")", R"("a\"b\\c\nd\u0001é")", "\"a\"\"b\\c\nd\x01é\""},
      {arrow::utf8(), R"("plain")", R"("plain")", "plain"},
      {arrow::utf8(), R"("a,b")", R"("a,b")", R"("a,b")"},
      {arrow::utf8(), R"("")", R"("")", R"("")"},
      {arrow::utf8(), "null", "null", ""},
      {arrow::binary(), R"("AZ")", R"("415a")", "415a"},
      {arrow::date32(), "-1", R"("1969-12-31")", "1969-12-31"},
      {arrow::timestamp(us, "UTC"), "1795341600000000", R"("2026-11-22T10:00:00Z")", "2026-11-22T10:00:00Z"},
      {arrow::timestamp(us, "UTC"), "1795341600000007", R"("2026-11-22T10:00:00.000007Z")",
       "2026-11-22T10:00:00.000007Z"},
      {arrow::timestamp(us), "1795341600000000", R"("2026-11-22T10:00:00")", "2026-11-22T10:00:00"},
      {arrow::list(arrow::int32()), "[1, 2]", "[1,2]", R"("[1,2]")"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.type->ToString() + " " + c.value);
    const auto answer = AnswerOf({field("k", arrow::int32()), field("x", c.type)}, "[[7, " + c.value + "]]");
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto json, Text(AnswerToNdjson(answer)));
    EXPECT_EQ(json, "{\"k\":7,\"x\":" + c.json + "}\n");
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto csv, Text(AnswerToCsv(answer)));
    EXPECT_EQ(csv, "k,x\n7," + c.csv + "\n");
  }
}

TEST(AnswerWriter, AValueOfADictionaryIsWrittenAsItself) {
  arrow::StringDictionary32Builder topics;
  ASSERT_TRUE(topics.Append("a \"b\"").ok() && topics.AppendNull().ok() && topics.Append("a \"b\"").ok());
  std::shared_ptr<arrow::Array> column;
  ASSERT_TRUE(topics.Finish(&column).ok());
  const auto batch =
      arrow::RecordBatch::Make(arrow::schema({arrow::field("_topic", column->type())}), 3, {column})->Slice(1);
  std::string json;
  MILLRACE_ASSERT_OK(AppendNdjson(*batch, json));
  EXPECT_EQ(json, "{\"_topic\":null}\n{\"_topic\":\"a \\\"b\\\"\"}\n");
  std::string csv;
  MILLRACE_ASSERT_OK(AppendCsv(*batch, csv));
  EXPECT_EQ(csv, "\n\"a \"\"b\"\"\"\n");
}

TEST(AnswerWriter, IntervalsAndTimesOfDayAreWrittenAsDuckDbPrintsThem) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  const std::string values =
      "SELECT i, i::VARCHAR AS i_text, t, t::VARCHAR AS t_text FROM (VALUES (INTERVAL 1250 SECOND, TIME '00:00:00'), "
      "(INTERVAL 0 SECOND, TIME '23:59:59.999999'), (-INTERVAL 1 MICROSECOND, TIME '04:05:06.5'), "
      "(INTERVAL '1 year 1 month 1 day 00:00:01', TIME '04:05:06'), (INTERVAL '-1 month', TIME '10:00:00.000010'), "
      "(INTERVAL '-25 months 3 days -101:02:03.040', NULL), (INTERVAL 14 MONTH - INTERVAL 2 DAY, NULL), "
      "(NULL, TIME '24:00:00'), (INTERVAL 999 HOUR, NULL), (INTERVAL 3 DAY, NULL), (INTERVAL 5 YEAR, NULL)) AS x(i, t)";
  query::Answer answer;
  MILLRACE_ASSERT_OK_AND_ASSIGN(answer.rows, session->Query(values));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto lines, Text(AnswerToNdjson(answer)));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto csv, Text(AnswerToCsv(answer)));
  std::istringstream in_json(lines);
  std::istringstream in_csv(csv);
  std::string line;
  std::getline(in_csv, line);
  int rows = 0;
  for (; std::getline(in_json, line); ++rows) {
    const auto row = boost::json::parse(line);
    EXPECT_EQ(row.at("i"), row.at("i_text"));
    EXPECT_EQ(row.at("t"), row.at("t_text"));
    const auto text = [&row](const char* column) {
      return row.at(column).is_null() ? "" : std::string(row.at(column).as_string());
    };
    std::getline(in_csv, line);
    EXPECT_EQ(line, text("i") + "," + text("i") + "," + text("t") + "," + text("t"));
  }
  EXPECT_EQ(rows, 11);
}

TEST(AnswerWriter, JsonSaysWhatTheAnswerContains) {
  auto answer = AnswerOf({arrow::field("a b", arrow::int32())}, "[[1], [2]]");
  answer.rows_read = 5;
  answer.bytes_read = 100;
  answer.elapsed_seconds = 0.0125;
  answer.as_of = {7, {{{"clicks", 0}, 123}, {{"clicks", 11}, 5}, {{"other", 2}, 0}}, 1'795'341'600'000'000};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto text, Text(AnswerToJson(answer)));
  EXPECT_EQ(boost::json::parse(text), boost::json::parse(R"({
      "meta": [{"name": "a b", "type": "T"}], "data": [{"a b": 1}, {"a b": 2}], "rows": 2,
      "statistics": {"elapsed": 0.0125, "rows_read": 5, "bytes_read": 100},
      "as_of": {"version": 7, "offsets": {"clicks": {"0": 123, "11": 5}, "other": {"2": 0}},
                "watermark": "2026-11-22T10:00:00Z"}, "next": null})"));
}

TEST(AnswerWriter, ANanWithASignIsANan) {
  arrow::DoubleBuilder builder;
  ASSERT_TRUE(builder.Append(-std::numeric_limits<double>::quiet_NaN()).ok());
  query::Answer answer;
  answer.rows = arrow::Table::Make(arrow::schema({arrow::field("x", arrow::float64())}), {*builder.Finish()});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto csv, Text(AnswerToCsv(answer)));
  EXPECT_EQ(csv, "x\nnan\n");
}

TEST(AnswerWriter, GroupsWithoutAValueAreNamed) {
  auto answer =
      AnswerOf({arrow::field("k", arrow::utf8()), arrow::field("total", arrow::int32())}, R"([["a", null], ["b", 2]])");
  answer.errors = {{0, "total", "The sum does not fit."}};
  answer.error_groups = testing::BatchFromJson(
      arrow::schema({arrow::field("window_start", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")),
                     arrow::field("k", arrow::utf8())}),
      "[[1795341600000000, \"d\u00fcren \U0001F600\"]]");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto text, Text(AnswerToJson(answer)));
  const auto errors = boost::json::parse(text).at("errors");
  EXPECT_EQ(errors,
            boost::json::parse(R"([{"group": {"window_start": "2026-11-22T10:00:00Z", "k": "d\u00fcren \ud83d\ude00"},
                                            "measure": "total", "detail": "The sum does not fit."}])"));
  // The same in a header, in ASCII.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto header, ErrorsToHeader(answer));
  EXPECT_EQ(boost::json::parse(header), errors);
  EXPECT_TRUE(std::all_of(header.begin(), header.end(), [](char c) { return c >= ' ' && c <= '~'; })) << header;
  answer.errors.resize(100, answer.errors.front());
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, ErrorsToHeader(answer));

  answer.errors = {{0, "total", "The sum does not fit."}};  // Of an answer without groups.
  answer.error_groups = nullptr;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto whole, ErrorsToHeader(answer));
  EXPECT_EQ(whole, R"([{"group":{},"measure":"total","detail":"The sum does not fit."}])");
}

TEST(AnswerWriter, WorkersWhoseRowsAreMissingAreNamed) {
  query::Answer answer = AnswerOf({arrow::field("n", arrow::int64())}, "[[1]]");
  EXPECT_EQ(Text(AnswerToJson(answer)).ValueOrDie().find("partial"), std::string::npos);
  answer.missing = {{"http://a:1", "it said \"no\""}, {"http://b:2", "timed out"}};
  const auto json = boost::json::parse(Text(AnswerToJson(answer)).ValueOrDie());
  EXPECT_EQ(json.at("partial"), boost::json::parse(R"(["http://a:1", "http://b:2"])"));
  EXPECT_EQ(json.at("partial_reasons"),
            boost::json::parse(R"({"http://a:1": "it said \"no\"", "http://b:2": "timed out"})"));
  EXPECT_EQ(PartialToHeader(answer), R"(["http://a:1","http://b:2"])");
  answer.missing.assign(1000, {"http://worker.example:8080", "gone"});
  EXPECT_LE(PartialToHeader(answer).size(), 4096u);
  EXPECT_NE(PartialToHeader(answer).find("\\u2026"), std::string::npos) << "says that there are more";
}

TEST(AnswerWriter, AnAnswerBeyondItsLimitIsAnErrorAndNoPartOfIt) {
  std::string rows;
  for (int i = 0; i < 3000; ++i) rows += (i == 0 ? "[" : ",[") + std::to_string(i) + "]";
  const auto answer = AnswerOf({arrow::field("x", arrow::int32())}, "[" + rows + "]");
  std::stop_source stopped;
  stopped.request_stop();
  for (const auto write : {&AnswerToJson, &AnswerToNdjson, &AnswerToCsv}) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto whole, Text(write(answer, {}, nullptr)));
    MILLRACE_ASSERT_OK(write(answer, {.bytes_max = std::ssize(whole)}, nullptr));
    const auto refused = write(answer, {.bytes_max = std::ssize(whole) / 2}, nullptr);
    MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, refused);
    MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, write(answer, {.stop = stopped.get_token()}, nullptr));
  }
}

// All that an answer says, and nothing of when it was made.
TEST(AnswerWriter, TheDigestIsOfWhatTheAnswerSays) {
  const auto field = arrow::field("x", arrow::int64());
  const auto like = [&] {
    auto answer = AnswerOf({field}, "[[1], [2]]");
    answer.as_of = {.version = 4, .offsets = {{{"clicks", 0}, 9}}, .watermark = 1};
    return answer;
  };
  const auto digests = [](const query::Answer& answer) {
    std::vector<std::string> all;
    for (const auto write : {&AnswerToJson, &AnswerToNdjson, &AnswerToCsv}) {
      AnswerDigest said;
      EXPECT_TRUE(write(answer, {}, &said).ok());
      all.push_back(said.Text());
    }
    return all;
  };
  const auto before = digests(like());
  EXPECT_EQ(before, digests(like()));
  EXPECT_EQ(before[0].size(), 32u);

  struct Case {
    const char* name;
    std::function<void(query::Answer&)> change;
    bool same;
  };
  const std::vector<Case> cases = {
      {"the moment",
       [](auto& a) {
         a.as_of = {.version = 5, .offsets = {{{"clicks", 0}, 10}}, .watermark = 2};
       },
       true},
      {"what it took", [](auto& a) { a.elapsed_seconds = a.rows_read = a.bytes_read = 7; }, true},
      {"chunks",
       [](auto& a) {
         a.rows = arrow::ConcatenateTables({a.rows->Slice(0, 1), a.rows->Slice(1)}).ValueOrDie();
       },
       true},
      {"a value", [&](auto& a) { a.rows = AnswerOf({field}, "[[1], [3]]").rows; }, false},
      {"a null", [&](auto& a) { a.rows = AnswerOf({field}, "[[1], [null]]").rows; }, false},
      {"the order", [&](auto& a) { a.rows = AnswerOf({field}, "[[2], [1]]").rows; }, false},
      {"a row less", [](auto& a) { a.rows = a.rows->Slice(0, 1); }, false},
      {"a column's name", [](auto& a) { a.columns[0].name = "y"; }, false},
      {"a column's type", [](auto& a) { a.columns[0].duckdb_type = "HUGEINT"; }, false},
      {"an error",
       [](auto& a) {
         a.errors = {{0, "x", "It does not fit."}};
       },
       false},
      {"a worker that is missing",
       [](auto& a) {
         a.missing = {{"http://w:1", "is gone"}};
       },
       false},
      {"that there is more", [](auto& a) { a.next = "5-1-00"; }, false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    auto changed = like();
    c.change(changed);
    const auto after = digests(changed);
    for (std::size_t i = 0; i < after.size(); ++i) EXPECT_EQ(after[i] == before[i], c.same) << i;
  }
}

TEST(AnswerWriter, ALargeAnswerComesInPieces) {
  constexpr int kRows = 100'000;
  arrow::Int64Builder builder;
  std::string csv = "x\n";
  std::string ndjson;
  for (std::int64_t i = 0; i < kRows; ++i) {
    ASSERT_TRUE(builder.Append(i).ok());
    csv += std::to_string(i) + "\n";
    ndjson += "{\"x\":" + std::to_string(i) + "}\n";
  }
  query::Answer answer;
  answer.rows = arrow::Table::Make(arrow::schema({arrow::field("x", arrow::int64())}), {*builder.Finish()});
  for (const auto& [write, text] : {std::pair(&AnswerToCsv, csv), std::pair(&AnswerToNdjson, ndjson)}) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto body, write(answer, {}, nullptr));
    EXPECT_EQ(body.Text(), text);
    EXPECT_EQ(body.bytes(), text.size());
    EXPECT_GT(body.pieces().size(), 1u);
    for (const auto& piece : body.pieces()) EXPECT_LT(piece->size(), text.size() / 2 + 1);
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto json, AnswerToJson(answer));
  EXPECT_EQ(boost::json::parse(json.Text()).at("data").as_array().size(), kRows);
}

TEST(AnswerWriter, AnEmptyAnswerIsWellFormed) {
  auto answer = AnswerOf({arrow::field("x", arrow::int32()), arrow::field("y", arrow::int32())}, "[]");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto json, Text(AnswerToJson(answer)));
  const auto parsed = boost::json::parse(json);
  EXPECT_TRUE(parsed.at("data").as_array().empty());
  EXPECT_EQ(parsed.at("as_of"), boost::json::parse(R"({"version": -1, "offsets": {}, "watermark": null})"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto ndjson, Text(AnswerToNdjson(answer)));
  EXPECT_EQ(ndjson, "");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto csv, Text(AnswerToCsv(answer)));
  EXPECT_EQ(csv, "x,y\n");
}

}  // namespace
}  // namespace millrace::serve
