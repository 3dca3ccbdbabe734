// Which edits of an aggregate's SQL are the same question, and which are another.
#include "pipeline/aggregate_meaning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sql/sql_session.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::HasSubstr;
using Verdict = MeaningComparison::Verdict;

// Of an aggregate that is fed by the events themselves, whose columns are fields of their names, through a transform
// that makes nothing of them but a condition.
Result<AggregateMeaning> Meaning(const std::string& sql, const std::vector<std::string>& conditions = {}) {
  // Never destroyed: at exit DuckDB's own statics may be gone.
  static auto* const session = sql::SqlSession::Make().ValueOrDie().release();
  const auto schema = arrow::schema({arrow::field("country", arrow::utf8()), arrow::field("a", arrow::int64()),
                                     arrow::field("x", arrow::float64()), arrow::field("small", arrow::int32()),
                                     arrow::field("amount", arrow::decimal128(12, 2)),
                                     arrow::field("ok", arrow::boolean()), arrow::field("day", arrow::date32()),
                                     arrow::field("topic", arrow::dictionary(arrow::int32(), arrow::utf8())),
                                     arrow::field("ts", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")),
                                     arrow::field("seen", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"))});
  ASSIGN_OR_RETURN(const auto plan, process::PlanAggregate(*session, "agg", sql, schema));
  process::RowOrigin inputs{.columns = {}, .conditions = conditions};
  for (const auto& input : plan.inputs) inputs.columns.push_back(input.sql);
  if (!plan.where_sql.empty()) inputs.conditions.push_back(plan.where_sql);
  return MeaningOf(plan, inputs);
}

// As tables that were made before have it.
AggregateMeaning WithoutSource(AggregateMeaning meaning) {
  meaning.source.clear();
  return meaning;
}

const std::set<std::string> kRelations = {"input", "clean"};

// Empty: the same. Whether the table has the second property or not.
std::string Difference(const AggregateMeaning& kept, const AggregateMeaning& now) {
  const auto comparison = Compare(kept, now, kRelations);
  const auto of_before = Compare(WithoutSource(kept), now, kRelations);
  EXPECT_EQ(of_before.difference, comparison.difference);
  EXPECT_EQ(comparison.verdict == Verdict::kSame, comparison.difference.empty());
  EXPECT_NE(comparison.verdict, Verdict::kFedOtherwise);
  return comparison.difference;
}

constexpr const char* kSql =
    "SELECT window_start, country, count(*) AS n, sum(a) AS total FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) "
    "WHERE a > 0 GROUP BY ALL";

TEST(AggregateMeaning, AnotherWordingIsTheSame) {
  const auto kept = Meaning(kSql).ValueOrDie();
  for (const char* sql : {
           "select window_start, country, COUNT(*) as n, SUM(a) as total\n  from tumble(clean, ts, interval '60 "
           "seconds')"
           "\n  where a > 0 -- positive\n  group by window_start, country",
           // The order of columns, another name of the relation, a condition on merged rows, arithmetic on aggregates.
           "SELECT country, window_start, sum(a) AS total, count(*) AS n FROM TUMBLE(renamed, ts, INTERVAL 1 MINUTE) "
           "WHERE a > 0 GROUP BY ALL",
           "SELECT window_start, country, count(*) AS n, sum(a) AS total FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) "
           "WHERE a > 0 GROUP BY ALL HAVING count(*) > 3",
           "SELECT window_start, country, count(*) AS n, sum(a) AS total, sum(a) / count(*) AS each FROM TUMBLE(clean, "
           "ts, INTERVAL 1 MINUTE) WHERE a > 0 GROUP BY ALL",
       }) {
    SCOPED_TRACE(sql);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto now, Meaning(sql));
    EXPECT_EQ(Difference(kept, now), "");
  }
}

TEST(AggregateMeaning, WhatChangesTheRowsIsNamed) {
  struct Case {
    const char* sql;
    const char* difference;
  };
  const auto kept = Meaning(kSql).ValueOrDie();
  const Case cases[] = {
      {"SELECT window_start, country, count(*) AS n, sum(a) AS total FROM TUMBLE(clean, ts, INTERVAL 5 MINUTE) WHERE a "
       "> 0 GROUP BY ALL",
       "window: it is 'tumbling 1m' in the table, 'tumbling 5m' in the pipeline"},
      {"SELECT window_start, country, count(*) AS n, sum(a) AS total FROM TUMBLE(clean, seen, INTERVAL 1 MINUTE) WHERE "
       "a > 0 GROUP BY ALL",
       "time: "},
      {"SELECT window_start, country, count(*) AS n, sum(a * 100) AS total FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) "
       "WHERE a > 0 GROUP BY ALL",
       "state total: "},
      {"SELECT window_start, country, count(*) AS n, sum(a) AS total FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) GROUP "
       "BY ALL",
       "where is gone"},
      {"SELECT window_start, country, count(*) AS n, sum(a) AS total FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) WHERE a "
       "> 1 GROUP BY ALL",
       "where: "},
      {"SELECT window_start, lower(country) AS country, count(*) AS n, sum(a) AS total FROM TUMBLE(clean, ts, INTERVAL "
       "1 MINUTE) WHERE a > 0 GROUP BY ALL",
       "key country: "},
      {"SELECT window_start, count(*) AS n, sum(a) AS total FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) WHERE a > 0 "
       "GROUP BY ALL",
       "key country is gone"},
      {"SELECT window_start, country, count(*) AS n, sum(a) AS total, max(x) AS most FROM TUMBLE(clean, ts, INTERVAL 1 "
       "MINUTE) WHERE a > 0 GROUP BY ALL",
       "state most is new"},
      {"SELECT window_start, country, count(*) AS n FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) WHERE a > 0 GROUP BY ALL",
       "state total is gone"},
      {"SELECT window_start, country, count(*) FILTER (WHERE a > 5) AS n, sum(a) AS total FROM TUMBLE(clean, ts, "
       "INTERVAL 1 MINUTE) WHERE a > 0 GROUP BY ALL",
       "state n: "},
      {"SELECT window_start, country, count(*) AS n, max(a) AS total FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) WHERE a "
       "> 0 GROUP BY ALL",
       "state total: "},
      {"SELECT window_start, country, max(a, 3) AS n, sum(a) AS total FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) WHERE "
       "a "
       "> 0 GROUP BY ALL",
       "state n__values is new: 'max(n)(a, 3) list<"},
      {"SELECT window_start, country, count(x) AS n, sum(a) AS total FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) WHERE a "
       "> 0 GROUP BY ALL",
       "state n: "},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.sql);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto now, Meaning(c.sql));
    EXPECT_THAT(Difference(kept, now), HasSubstr(c.difference));
  }
}

TEST(AggregateMeaning, TheCaseOfNamesDoesNotMatterThatOfValuesDoes) {
  const auto of = [](const std::string& key, const std::string& measures) {
    return Meaning("SELECT window_start, " + key + ", " + measures +
                   " FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL")
        .ValueOrDie();
  };
  const auto kept = of("country", "sum(a) FILTER (WHERE country = 'DE') AS total");
  EXPECT_EQ(Difference(kept, of("country", "SUM(A) filter (where Country = 'DE') AS total")), "");
  EXPECT_EQ(Difference(kept, of("COUNTRY AS country", "sum(a) FILTER (WHERE country = 'DE') AS total")), "");
  EXPECT_THAT(Difference(kept, of("country", "sum(a) FILTER (WHERE country = 'de') AS total")),
              HasSubstr("state total"));
  EXPECT_EQ(Difference(kept, of("country", "sum(a) FILTER (WHERE country = 'DE') AS Total")),
            "state total is written so in the table, 'state Total' in the pipeline");
  EXPECT_EQ(Difference(kept, of("country AS Country", "sum(a) FILTER (WHERE country = 'DE') AS total")),
            "key country is written so in the table, 'key Country' in the pipeline");
}

TEST(AggregateMeaning, WindowsAreKeptInMicrosecondsAndSaidAsWritten) {
  const auto kept = Meaning(kSql).ValueOrDie();
  EXPECT_EQ(kept.parts.at("window"), "tumbling 60000000 us") << "tables have it, and it is compared with theirs";
  auto other = WithoutSource(kept);
  for (const auto& [text, said] : {std::pair{"tumbling 1500000 us", "'tumbling 1500ms'"},
                                   {"tumbling 604800000000 us", "'tumbling 7d'"},
                                   {"tumbling soon", "'tumbling soon'"},
                                   {"tumbling 5 s", "'tumbling 5 s'"},
                                   {"tumbling 99999999999999999999 us", "'tumbling 99999999999999999999 us'"},
                                   {"another kind 60000000 us", "'another kind 60000000 us'"}}) {
    other.parts["window"] = text;
    EXPECT_THAT(Compare(other, kept, kRelations).difference,
                HasSubstr(std::string("window: it is ") + said + " in the table"));
  }
}

TEST(AggregateMeaning, EachKindOfWindowHasItsText) {
  const auto window = [](const std::string& from) {
    const auto meaning = Meaning(fmt::format("SELECT window_start, count(*) AS n FROM {} GROUP BY ALL", from));
    return meaning.ok() ? meaning->parts.at("window") : meaning.status().ToString();
  };
  EXPECT_EQ(window("TUMBLE(clean, ts, INTERVAL 1 DAY)"), "tumbling 86400000000 us");
  EXPECT_EQ(window("TUMBLE(clean, ts, INTERVAL 1 DAY, 'Europe/Berlin')"), "calendar 1 days Europe/Berlin");
  EXPECT_EQ(window("TUMBLE(clean, ts, INTERVAL 1 QUARTER)"), "calendar 3 months UTC");
  EXPECT_EQ(window("HOP(clean, ts, INTERVAL 10 SECOND, INTERVAL 1 MINUTE)"), "hopping 60000000 us, slide 10000000 us");
  EXPECT_EQ(window("CUMULATE(clean, ts, INTERVAL 10 SECOND, INTERVAL 1 MINUTE)"),
            "cumulating 60000000 us, step 10000000 us");
  EXPECT_EQ(window("SESSION(clean, ts, INTERVAL 30 MINUTE)"), "session 1800000000 us");
  const auto none = Meaning("SELECT country, count(*) AS n FROM clean GROUP BY ALL");
  ASSERT_TRUE(none.ok()) << none.status().ToString();
  EXPECT_EQ(none->parts.at("window"), "none");
  EXPECT_FALSE(none->parts.contains("time"));
  EXPECT_TRUE(none->parts.contains("key country"));
}

// Written by the version before functions were files of their own: whoever changes a word of it makes every table that
// exists another aggregate's.
TEST(AggregateMeaning, TheTextOfTablesThatExistStays) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto meaning,
      Meaning("SELECT window_start, country, day, count(*) AS n, count(x) AS nx, count(*) FILTER (WHERE ok) AS good, "
              "sum(a) AS total, mean(a) AS each, sum(small::UTINYINT) AS u, avg(amount) AS price, sum(x) AS sx, "
              "avg(x::FLOAT) AS fx, min(country) AS first, max(day) AS last, min(ts) AS t, max(ok) AS o, "
              "min(topic) AS topic, sum(a::HUGEINT) AS sb, max(amount) FILTER (WHERE a > 5) AS m, "
              "sum(a) / count(ok) AS ratio, max(x) - min(x) AS spread FROM TUMBLE(input, ts, INTERVAL 90 SECOND) "
              "WHERE a > 0 GROUP BY ALL HAVING max(small) > 3"));
  EXPECT_EQ(ToProperties(meaning).at(kAggregateProperty),
            R"~({"key country":"country string",)~"
            R"~("key day":"\"day\" date32[day]",)~"
            R"~("state each__count":"count(a) int64",)~"
            R"~("state first":"min(country) string",)~"
            R"~("state fx__count":"count(CAST(x AS FLOAT)) int64",)~"
            R"~("state fx__sum":"sum(CAST(x AS FLOAT)) double",)~"
            R"~("state good":"count(*) filter ok int64",)~"
            R"~("state having__max":"max(small) int32",)~"
            R"~("state last":"max(\"day\") date32[day]",)~"
            R"~("state m":"max(amount) filter (a > 5) decimal128(12, 2)",)~"
            R"~("state n":"count(*) int64",)~"
            R"~("state nx":"count(x) int64",)~"
            R"~("state o":"max(ok) bool",)~"
            R"~("state price__count":"count(amount) int64",)~"
            R"~("state price__sum":"sum(amount) decimal128(38, 2)",)~"
            R"~("state ratio__count":"count(ok) int64",)~"
            R"~("state sb":"sum(CAST(a AS HUGEINT)) decimal128(38, 0)",)~"
            R"~("state spread__max":"max(x) double",)~"
            R"~("state spread__min":"min(x) double",)~"
            R"~("state sx":"sum(x) double",)~"
            R"~("state t":"min(ts) timestamp[us, tz=UTC]",)~"
            R"~("state topic":"min(topic) string",)~"
            R"~("state total":"sum(a) decimal128(38, 0)",)~"
            R"~("state u":"sum(CAST(CAST(small AS UTINYINT) AS HUGEINT)) decimal128(38, 0)",)~"
            R"~("time":"\"ts\"",)~"
            R"~("where":"(a > 0)",)~"
            R"~("window":"tumbling 90000000 us"})~");
}

TEST(AggregateMeaning, WhatFeedsItIsToldFromWhatItIs) {
  const auto kept = Meaning(kSql, {"(x > 0)"}).ValueOrDie();
  const auto fed = Compare(kept, Meaning(kSql, {"(x > 1)"}).ValueOrDie(), kRelations);
  EXPECT_EQ(fed.verdict, Verdict::kFedOtherwise);
  EXPECT_EQ(fed.difference, "where: it is '(x > 0) AND (a > 0)' in the table, '(x > 1) AND (a > 0)' in the pipeline");
  EXPECT_EQ(Compare(WithoutSource(kept), Meaning(kSql, {"(x > 1)"}).ValueOrDie(), kRelations).verdict, Verdict::kSame)
      << "a table of before does not know";

  std::string of_another = kSql;
  of_another.replace(of_another.find("clean"), 5, "input");
  const auto another = Compare(kept, Meaning(of_another).ValueOrDie(), kRelations);
  EXPECT_EQ(another.verdict, Verdict::kAnother);
  EXPECT_THAT(another.difference, HasSubstr("from: it is 'clean' in the table, 'input' in the pipeline; where: "));
  EXPECT_EQ(Compare(kept, Meaning(of_another, {"(x > 0)"}).ValueOrDie(), kRelations).verdict, Verdict::kSame)
      << "the same rows";
  EXPECT_EQ(Compare(kept, Meaning(of_another).ValueOrDie(), {"input"}).verdict, Verdict::kFedOtherwise)
      << "a transform that was renamed and edited";
}

TEST(AggregateMeaning, ThePropertiesAreReadBack) {
  const auto meaning = Meaning(kSql).ValueOrDie();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto read, MeaningIn(ToProperties(meaning)));
  EXPECT_EQ(read, meaning);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto none, MeaningIn({{"other", "{}"}}));
  EXPECT_EQ(none, std::nullopt);
  for (const char* property : {kAggregateProperty, kAggregateSourceProperty}) {
    for (const char* broken : {"", "[]", "{", R"({"window": 1})"}) {
      auto properties = ToProperties(meaning);
      properties[property] = broken;
      MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, MeaningIn(properties).status());
    }
  }
}

}  // namespace
}  // namespace millrace::pipeline
