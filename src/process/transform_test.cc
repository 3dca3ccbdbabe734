// Transforms: what is accepted and what is refused and where; rows kept, filtered, failed; provenance carried along.
#include "process/transform.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <memory>
#include <set>
#include <utility>

#include "process/session_testing_internal.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::process {
namespace {

using millrace::testing::BatchFromJson;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const auto kMicros = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");

std::shared_ptr<arrow::Schema> DecodedSchema() {
  return arrow::schema({arrow::field("country", arrow::utf8()), arrow::field("latency_ms", arrow::int64()),
                        arrow::field("amount", arrow::decimal128(10, 2)), arrow::field("ts", kMicros),
                        arrow::field("_topic", arrow::utf8(), false), arrow::field("_partition", arrow::int32(), false),
                        arrow::field("_offset", arrow::int64(), false), arrow::field("_timestamp", kMicros, false)});
}

std::shared_ptr<arrow::RecordBatch> Input() {
  return BatchFromJson(DecodedSchema(), R"([
    ["DE", 12, "1.50", 1000000, "clicks", 0, 100, 0],
    ["12", -1, "2.00", 2000000, "clicks", 0, 101, 0],
    [null, 7, null, null, "clicks", 0, 102, 0],
    ["x", null, "0.01", 3000000, "clicks", 0, 105, 0]])");
}

std::vector<std::string> Names(const arrow::Schema& schema) { return schema.field_names(); }

Result<Transformed> RunSql(const std::string& sql) {
  ASSIGN_OR_RETURN(const auto transform, Transform::Make(Session(), "clean", sql, "input", DecodedSchema()));
  return transform->Apply(Input());
}

std::vector<std::string> Values(const Transformed& transformed, const std::string& column) {
  std::vector<std::string> values;
  const auto array = transformed.rows->GetColumnByName(column);
  for (std::int64_t i = 0; i < array->length(); ++i) values.push_back(array->GetScalar(i).ValueOrDie()->ToString());
  return values;
}

TEST(Transform, AddsAColumnAndFilters) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto out,
                                RunSql("SELECT *, lower(country) AS cc FROM input WHERE latency_ms >= 0"));
  EXPECT_THAT(Names(*out.rows->schema()), ElementsAre("country", "latency_ms", "amount", "ts", "_topic", "_partition",
                                                      "_offset", "_timestamp", "cc"));
  EXPECT_THAT(Values(out, "cc"), ElementsAre("de", "null"));
  EXPECT_THAT(Values(out, "_offset"), ElementsAre("100", "102"));
  EXPECT_THAT(Values(out, "amount"), ElementsAre("1.50", "null"));
  EXPECT_EQ(out.filtered, 2);
  EXPECT_TRUE(out.failed.empty());
}

TEST(Transform, ProvenanceIsCarriedWhetherOrNotItIsSelected) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto out, RunSql("SELECT i.latency_ms * 2 AS twice FROM input AS i"));
  EXPECT_THAT(Names(*out.rows->schema()), ElementsAre("twice", "_topic", "_partition", "_offset", "_timestamp"));
  EXPECT_THAT(Values(out, "twice"), ElementsAre("24", "-2", "14", "null"));
  EXPECT_THAT(Values(out, "_offset"), ElementsAre("100", "101", "102", "105"));
  EXPECT_TRUE(out.rows->schema()->field(2)->type()->Equals(arrow::int32()));
}

TEST(Transform, ARowThatFailsIsTakenOutAndTheOthersGoOn) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto out, RunSql("SELECT country::INTEGER AS n FROM input"));
  EXPECT_THAT(Values(out, "n"), ElementsAre("12", "null"));
  EXPECT_THAT(Values(out, "_offset"), ElementsAre("101", "102"));
  ASSERT_EQ(out.failed.size(), 2u);
  EXPECT_EQ(out.failed[0].row, 0);
  EXPECT_THAT(out.failed[0].message, HasSubstr("'DE'"));
  EXPECT_EQ(out.failed[1].row, 3);
  EXPECT_EQ(out.filtered, 0);
}

TEST(Transform, FilteredAndFailedAddUp) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto out,
                                RunSql("SELECT country::INTEGER AS n FROM input WHERE latency_ms IS NOT NULL"));
  EXPECT_EQ(out.rows->num_rows() + out.filtered + static_cast<std::int64_t>(out.failed.size()), 4);
  EXPECT_EQ(out.filtered, 1);
  ASSERT_EQ(out.failed.size(), 1u);
  EXPECT_EQ(out.failed[0].row, 0);
}

TEST(Transform, AllRowsMayFail) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto out, RunSql("SELECT CAST('x' || country AS INTEGER) AS n FROM input "
                                                       "WHERE country IS NOT NULL"));
  EXPECT_EQ(out.rows->num_rows(), 0);
  EXPECT_EQ(out.failed.size(), 3u);
  EXPECT_EQ(out.filtered, 1);
}

TEST(Transform, EmptyBatchesKeepTheSchema) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto transform,
      Transform::Make(Session(), "t", "SELECT upper(country) AS c FROM input", "input", DecodedSchema()));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto out, transform->Apply(BatchFromJson(DecodedSchema(), "[]")));
  EXPECT_TRUE(out.rows->schema()->Equals(*transform->output_schema()));
  EXPECT_EQ(out.rows->num_rows(), 0);
  EXPECT_EQ(transform->name(), "t");
}

TEST(Transform, StarCanExcludeReplaceAndRename) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto out,
      RunSql("SELECT * EXCLUDE (ts, _topic) REPLACE (upper(country) AS country) RENAME (amount AS price) "
             "FROM input"));
  EXPECT_THAT(Names(*out.rows->schema()),
              ElementsAre("country", "latency_ms", "price", "_partition", "_offset", "_timestamp", "_topic"));
  EXPECT_THAT(Values(out, "country"), ElementsAre("DE", "12", "null", "X"));
  EXPECT_THAT(Values(out, "price"), ElementsAre("1.50", "2.00", "null", "0.01"));
}

TEST(Transform, NamesOfSelectCanBeUsedLaterAndInWhere) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto out,
                                RunSql("SELECT latency_ms AS l, l + 1 AS m, m * 2 AS k FROM input WHERE k > 0"));
  EXPECT_THAT(Values(out, "k"), ElementsAre("26", "16"));
  EXPECT_EQ(out.filtered, 2);
}

TEST(Transform, ColumnsThatAreOnlyPassedOnAreNotCopied) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto transform, Transform::Make(Session(), "t", "SELECT *, 1 AS one FROM input", "input", DecodedSchema()));
  const auto input = Input();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto out, transform->Apply(input));
  EXPECT_EQ(out.rows->column(0).get(), input->column(0).get());
}

TEST(Transform, DictionaryEncodedTopicsWorkAsInput) {
  arrow::StringDictionary32Builder builder;
  for (const char* topic : {"a", "b", "a"}) ASSERT_TRUE(builder.Append(topic).ok());
  const auto topics = builder.Finish().ValueOrDie();
  const auto schema = arrow::schema({arrow::field("_topic", topics->type(), false)});
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto transform,
      Transform::Make(Session(), "t", "SELECT _topic || '!' AS t FROM input WHERE _topic = 'a'", "input", schema));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto out, transform->Apply(arrow::RecordBatch::Make(schema, 3, {topics})));
  EXPECT_THAT(Values(out, "t"), ElementsAre("a!", "a!"));
  EXPECT_THAT(Names(*out.rows->schema()), ElementsAre("t", "_topic"));
}

TEST(Transform, OutputTypesAreThePlainOnes) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto out,
      RunSql("SELECT latency_ms::HUGEINT AS h, ts + INTERVAL 1 HOUR AS later, ts::DATE AS day, [1, 2] AS list, "
             "{'a': latency_ms} AS s, country = 'DE' AS b FROM input"));
  const auto& schema = *out.rows->schema();
  EXPECT_EQ(schema.field(0)->type()->ToString(), "decimal128(38, 0)");
  EXPECT_EQ(schema.field(1)->type()->ToString(), "timestamp[us, tz=UTC]");
  EXPECT_EQ(schema.field(2)->type()->ToString(), "date32[day]");
  EXPECT_EQ(schema.field(3)->type()->id(), arrow::Type::LIST);
  EXPECT_EQ(schema.field(4)->type()->id(), arrow::Type::STRUCT);
  EXPECT_EQ(schema.field(5)->type()->ToString(), "bool");
}

TEST(Transform, SourcesAreTheNamesAfterFrom) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sources,
                                Transform::SourcesOf(Session(), "t", "SELECT a FROM clean WHERE b"));
  EXPECT_EQ(sources.relation, "clean");
  EXPECT_TRUE(sources.joined.empty());
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, Transform::SourcesOf(Session(), "t", "SELECT a FROM x, y"));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, Transform::SourcesOf(Session(), "t", "SELECT 1"));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, Transform::SourcesOf(Session(), "t", "SELECT"));
}

TEST(Transform, ABatchOfAnotherSchemaIsRefused) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto transform,
                                Transform::Make(Session(), "t", "SELECT * FROM input", "input", DecodedSchema()));
  MILLRACE_ASSERT_KIND(ErrorKind::kInternal,
                       transform->Apply(BatchFromJson(arrow::schema({arrow::field("a", arrow::int64())}), "[]")));
}

TEST(Transform, WhatIsNotRowWiseOrNotTheSameOnReplayIsRefusedWithItsPlace) {
  struct Case {
    const char* sql;
    const char* want;
    const char* place = "line 1 column";
  };
  const Case cases[] = {
      {"SELECT now() AS n FROM input", "now() gives another value", "line 1 column 8"},
      {"SELECT *,\n  random() AS r FROM input", "random()", "line 2 column 3"},
      {"SELECT uuid() AS u FROM input", "uuid()"},
      {"SELECT current_timestamp AS t FROM input", "current_timestamp"},
      {"SELECT current_date AS t FROM input", "current_date"},
      {"SELECT today() AS t FROM input", "today()"},
      {"SELECT age(ts) AS a FROM input", "age()"},
      {"SELECT ago(INTERVAL 1 DAY) AS a FROM input", "ago()"},
      {"SELECT pg_sleep(1) AS a FROM input", "pg_sleep()"},
      {"SELECT getvariable('a') AS a FROM input", "getvariable()"},
      {"SELECT * FROM input WHERE random() < 0.5", "random()", "line 1 column 27"},
      {"SELECT * REPLACE (now() AS ts) FROM input", "now()"},
      {"SELECT count(*) AS n FROM input", "aggregate function count_star()"},
      {"SELECT sum(latency_ms) OVER () AS s FROM input", "window function"},
      {"SELECT unnest([1, 2]) AS u FROM input", "unnest()"},
      {"SELECT generate_subscripts([1, 2], 1) AS u FROM input", "generate_subscripts()"},
      {"SELECT (SELECT 1) AS s FROM input", "subquery"},
      {"SELECT * FROM input WHERE latency_ms IN (SELECT 1)", "subquery"},
      {"SELECT DISTINCT country FROM input", "DISTINCT", ""},
      {"SELECT * FROM input ORDER BY ts", "ORDER BY", ""},
      {"SELECT * FROM input LIMIT 3", "LIMIT", ""},
      {"SELECT * FROM input USING SAMPLE 10%", "SAMPLE"},
      {"SELECT * FROM input TABLESAMPLE 10%", "SAMPLE"},
      {"SELECT * FROM input QUALIFY row_number() OVER () = 1", "QUALIFY"},
      {"SELECT country FROM input GROUP BY country", "GROUP BY"},
      {"SELECT country FROM input GROUP BY ALL", "GROUP BY"},
      {"SELECT country FROM input HAVING country = 'DE'", "HAVING"},
      {"SELECT 1 AS a FROM input UNION ALL SELECT 2", "UNION", ""},
      {"WITH q AS (SELECT 1) SELECT * FROM input", "WITH", ""},
      {"SELECT a.country FROM input a JOIN input b ON true", "input is no lookup", ""},
      {"SELECT * FROM (SELECT * FROM input)", "FROM must be one name", ""},
      {"SELECT * FROM read_csv('x')", "FROM must be one name"},
      {"SELECT 1 AS a", "no FROM", ""},
      {"SELECT * FROM other", "FROM must be input, not other", "line 1 column 15"},
      {"SELECT * FROM main.input", "plain name"},
      {"SELECT COLUMNS('c.*') FROM input", "COLUMNS"},
      {"SELECT nope FROM input", "\"nope\" not found", "LINE 1"},
      {"SELECT nope(ts) FROM input", "nope", "LINE 1"},
      {"SELECT country +  FROM input", "syntax error"},
      {"SELECT country AS a, ts AS A FROM input", "two columns are named", ""},
      {"SELECT latency_ms AS _offset FROM input", "column _offset tells where a row came from", ""},
      {"SELECT * REPLACE (_offset + 1 AS _offset) FROM input", "column _offset", ""},
      {"SELECT INTERVAL 1 DAY AS d FROM input", "column d has type INTERVAL", ""},
      {"SELECT ts::TIME AS t FROM input", "column t has type TIME", ""},
      {"SELECT latency_ms::UBIGINT AS u FROM input", "column u has type UBIGINT", ""},
      {"SELECT $1 AS p FROM input", "parameter", ""},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.sql);
    const auto made = Transform::Make(Session(), "clean", c.sql, "input", DecodedSchema());
    ASSERT_FALSE(made.ok());
    EXPECT_TRUE(KindOf(made.status()) == ErrorKind::kInvalidInput || KindOf(made.status()) == ErrorKind::kUnsupported)
        << made.status().ToString();
    EXPECT_THAT(made.status().message(), HasSubstr(c.want));
    EXPECT_THAT(made.status().message(), HasSubstr(c.place));
    EXPECT_THAT(made.status().message(), HasSubstr("transform clean"));
  }
}

TEST(Transform, DeterministicSqlIsAccepted) {
  for (const char* sql : {
           "SELECT date_trunc('hour', ts) AS h FROM input",
           "SELECT nullif(country, 'DE') AS c FROM input",
           "SELECT list_sum([latency_ms, 1]) AS s FROM input",
           "SELECT list_transform([1, 2], lambda x: x + latency_ms) AS l FROM input",
           "SELECT CASE WHEN latency_ms > 3 THEN 'a' ELSE country END AS c FROM input",
           "SELECT age(ts, TIMESTAMPTZ '2020-01-01') > INTERVAL 1 DAY AS c FROM input",
           "SELECT split_part(country, ',', 1) AS c FROM input",
           "SELECT input.country FROM input",
           "SELECT json_extract_string('{\"a\":1}', '$.a') AS j, md5(country) AS m FROM input",
           "SELECT country FROM input WHERE country LIKE 'D%' OR regexp_matches(country, '^x')",
       }) {
    SCOPED_TRACE(sql);
    MILLRACE_ASSERT_OK(RunSql(sql));
  }
}

// More than one session has room for, used in turn, some of them with rows that fail: each gives what it would alone.
TEST(Transform, ManyShareSessions) {
  constexpr int kNum = 2 * EvaluatorSessions::kEvaluatorsMax + 3;
  const auto sql = [](int i) {
    return fmt::format("SELECT latency_ms + {} AS n FROM input WHERE CAST(coalesce(country, '{}') AS INTEGER) > {}", i,
                       i, i % 15);
  };
  EvaluatorSessions sessions;
  std::vector<std::unique_ptr<Transform>> sharing;
  std::vector<std::unique_ptr<Transform>> alone;
  for (int i = 0; i < kNum; ++i) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(sharing.emplace_back(),
                                  Transform::Make(Session(), "t", sql(i), "input", DecodedSchema(), {}, &sessions));
    MILLRACE_ASSERT_OK_AND_ASSIGN(alone.emplace_back(),
                                  Transform::Make(Session(), "t", sql(i), "input", DecodedSchema()));
  }
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < kNum; ++i) {
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto got, sharing[i]->Apply(Input()));
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto want, alone[i]->Apply(Input()));
      EXPECT_TRUE(got.rows->Equals(*want.rows)) << sql(i);
      EXPECT_EQ(got.filtered, want.filtered) << sql(i);
      EXPECT_EQ(got.failed.size(), 2u) << sql(i);
    }
  }
}

TEST(EvaluatorSessions, OneHasThirtyTwoEvaluatorsUnderNamesOfTheirOwn) {
  EvaluatorSessions sessions;
  std::set<const sql::SqlSession*> made;
  std::set<std::pair<const sql::SqlSession*, std::string>> places;
  std::vector<EvaluatorSessions::Place> kept;
  for (int i = 0; i < 3 * EvaluatorSessions::kEvaluatorsMax; ++i) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(kept.emplace_back(), sessions.Next());
    made.insert(kept.back().session.get());
    places.emplace(kept.back().session.get(), kept.back().relation);
  }
  EXPECT_EQ(made.size(), 3u);
  EXPECT_EQ(places.size(), kept.size());
}

}  // namespace
}  // namespace millrace::process
