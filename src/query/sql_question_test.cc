// What SQL from outside may be, and what it tells a scan: the first by a table of attempts to get out, the second
// beside DuckDB's own rules of names and joins.
#include "query/sql_question.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

class SqlQuestionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    MILLRACE_ASSERT_OK_AND_ASSIGN(session_, sql::SqlSession::Make());
    MILLRACE_ASSERT_OK_AND_ASSIGN(functions_, SqlQuestion::AllowedFunctions(*session_));
  }
  Result<SqlQuestion> Read(std::string_view text) { return SqlQuestion::Read(*session_, text, known_, functions_); }

  std::unique_ptr<sql::SqlSession> session_;
  std::set<std::string> functions_;
  const std::vector<std::string> known_ = {"clicks", "Devices", "clicks_1m"};
};

TEST_F(SqlQuestionTest, OneSelectGoesThroughAndSaysWhatItNames) {
  struct Case {
    const char* sql;
    std::vector<std::string> tables;
  };
  const std::vector<Case> cases = {
      {"SELECT 1", {}},
      {"  -- how many\n SELECT count(*) FROM clicks;", {"clicks"}},
      {"FROM CLICKS", {"clicks"}},
      {"TABLE clicks", {"clicks"}},
      {"VALUES (1), (2)", {}},
      {"SELECT * FROM clicks c JOIN devices USING (device_id) WHERE c.ts > now() - INTERVAL 1 HOUR",
       {"clicks", "Devices"}},
      {"SELECT * FROM clicks a, clicks b WHERE a.x = b.x", {"clicks"}},
      {"WITH big AS (SELECT * FROM clicks WHERE x > 1) SELECT country, sum(x) FROM big GROUP BY ALL", {"clicks"}},
      {"WITH clicks AS (SELECT 1 AS x) SELECT * FROM clicks", {"clicks"}},  // DuckDB takes the CTE.
      {"WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 9) SELECT sum(n) FROM r", {}},
      {"SELECT country, row_number() OVER (PARTITION BY country ORDER BY ts) FROM clicks QUALIFY 1 = 1", {"clicks"}},
      {"SELECT x FROM clicks WHERE y IN (SELECT y FROM devices) UNION ALL SELECT 1 ORDER BY 1 LIMIT 3",
       {"clicks", "Devices"}},
      {"SELECT i FROM range(3) t(i), generate_series(1, 2), unnest([1, 2])", {}},
      {"SELECT list_transform([1, 2], lambda x: x + 1), {'a': 1}.a, MAP {'k': 1}, x COLLATE NOCASE FROM clicks",
       {"clicks"}},
      {"SELECT approx_quantile(x, 0.5), count(DISTINCT y) FILTER (WHERE z), string_agg(y, ',') FROM clicks",
       {"clicks"}},
      {"SELECT extract(hour FROM ts), strftime(ts, '%H'), ts AT TIME ZONE 'Europe/Berlin', current_date FROM clicks",
       {"clicks"}},
      {"DESCRIBE clicks", {"clicks"}},
      {"SUMMARIZE clicks", {"clicks"}},
      {"EXPLAIN SELECT * FROM clicks", {"clicks"}},
      {"explain /* really */ ANALYZE\nSELECT * FROM clicks", {"clicks"}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.sql);
    const auto question = Read(c.sql);
    ASSERT_TRUE(question.ok()) << question.status().ToString();
    EXPECT_EQ(question->tables, c.tables);
  }
  EXPECT_EQ(Read("EXPLAIN SELECT 1")->explain, Explain::kPlan);
  EXPECT_EQ(Read("explain analyze SELECT 1")->explain, Explain::kAnalyze);
  EXPECT_EQ(Read("SELECT 1 AS explain")->explain, Explain::kNo);
  const auto columns = Read("SELECT c.Amount FROM clicks c JOIN devices USING (id) WHERE country = 'de'");
  ASSERT_TRUE(columns.ok());
  EXPECT_THAT(columns->columns, UnorderedElementsAre("c", "amount", "id", "country"));
  EXPECT_FALSE(columns->has_star);
  EXPECT_TRUE(columns->MayUse("AMOUNT"));
  EXPECT_FALSE(columns->MayUse("ts"));
  for (const char* whole :
       {"SELECT * EXCLUDE (x) FROM clicks", "SELECT c.* FROM clicks c", "SELECT COLUMNS('a.*') FROM clicks",
        "FROM clicks", "SELECT clicks FROM clicks", "SELECT to_json(C) FROM clicks c",
        "SELECT 1 FROM clicks NATURAL JOIN devices", "SELECT 1 FROM clicks c WHERE c IS NULL", "DESCRIBE clicks"}) {
    EXPECT_TRUE(Read(whole)->has_star) << whole;
  }
  EXPECT_FALSE(Read("SELECT c.x FROM clicks c")->has_star);
  EXPECT_FALSE(Read("SELECT count(*) FROM clicks")->has_star);
}

TEST_F(SqlQuestionTest, NothingGetsOut) {
  struct Case {
    const char* sql;
    const char* says;
  };
  const std::vector<Case> cases = {
      // Statements.
      {"", "there is no SQL"},
      {"-- nothing", "there is no SQL"},
      {"EXPLAIN", "there is no SQL"},
      {"SELECT 1; SELECT 2", "one SELECT"},
      {"SELECT 1; DROP TABLE clicks", "only SELECT"},
      {"INSERT INTO clicks VALUES (1)", "only SELECT"},
      {"CREATE TABLE x AS SELECT 1", "only SELECT"},
      {"CREATE MACRO f() AS 1", "only SELECT"},
      {"COPY clicks TO '/tmp/x.csv'", "only SELECT"},
      {"COPY (SELECT 1) TO '/tmp/x.csv'", "only SELECT"},
      {"ATTACH '/tmp/x.db'", "only SELECT"},
      {"INSTALL httpfs", "only SELECT"},
      {"LOAD httpfs", "only SELECT"},
      {"SET memory_limit = '100GB'", "only SELECT"},
      {"RESET ALL", "RESET a variable"},
      {"PRAGMA database_list", "only SELECT"},
      {"CALL pragma_version()", "only SELECT"},
      {"EXPORT DATABASE '/tmp/x'", "only SELECT"},
      {"PREPARE p AS SELECT 1", "only SELECT"},
      {"EXECUTE p", "only SELECT"},
      {"BEGIN", "only SELECT"},
      {"CHECKPOINT", "only SELECT"},
      {"USE memory", "only SELECT"},
      {"EXPLAIN EXPLAIN SELECT 1", "only SELECT"},
      {"EXPLAIN COPY clicks TO '/tmp/x'", "only SELECT"},
      {"SHOW TABLES", "SHOW is not allowed: tables are clicks"},
      {"SHOW ALL TABLES", "SHOW is not allowed"},
      {"SELEC 1", "syntax error"},
      // Files and other places.
      {"SELECT * FROM read_csv('/etc/passwd')", "the table function read_csv() is not allowed at line 1 column 15"},
      {"SELECT * FROM read_parquet('s3://b/x.parquet')", "read_parquet() is not allowed"},
      {"SELECT * FROM read_text('/etc/passwd')", "read_text() is not allowed"},
      {"SELECT * FROM glob('/*')", "glob() is not allowed"},
      {"SELECT * FROM '/etc/passwd'", "there is no table '/etc/passwd'"},
      {"SELECT * FROM 'x.parquet'", "there is no table"},
      {"FROM 'https://example.com/x.csv'", "there is no table"},
      {"SELECT * FROM sniff_csv('/etc/passwd')", "not allowed"},
      {"SELECT * FROM parquet_metadata('x')", "not allowed"},
      {"SELECT * FROM arrow_scan(1, 2, 3)", "not allowed"},
      {"SELECT * FROM millrace_relation('clicks')", "millrace_relation() is not allowed"},
      {"SELECT * FROM millrace_parquet('clicks')", "millrace_parquet() is not allowed"},
      {"SELECT * FROM parquet_scan('millrace://0/0')", "parquet_scan() is not allowed"},
      {"SELECT * FROM read_blob('millrace://0/0')", "read_blob() is not allowed"},
      {"SELECT * FROM 'millrace://0/0'", "there is no table 'millrace://0/0'"},
      {"SELECT * FROM 'millrace://0/0.parquet'", "there is no table"},
      {"SELECT * FROM query('SELECT 1')", "query() is not allowed"},
      {"SELECT * FROM query_table('clicks')", "query_table() is not allowed"},
      {"SELECT * FROM json_execute_serialized_sql('{}')", "not allowed"},
      {"SELECT x FROM (SELECT * FROM (SELECT * FROM glob('*')))", "glob() is not allowed"},
      {"SELECT (SELECT count(*) FROM glob('*'))", "glob() is not allowed"},
      {"WITH x AS (FROM glob('*')) SELECT 1", "glob() is not allowed"},
      {"SELECT 1 UNION ALL SELECT file FROM glob('*')", "glob() is not allowed"},
      {"SELECT * FROM clicks JOIN LATERAL (SELECT * FROM glob(x)) ON true", "glob() is not allowed"},
      {"SELECT 1 ORDER BY (SELECT count(*) FROM glob('*'))", "glob() is not allowed"},
      {"SELECT 1 LIMIT (SELECT count(*) FROM glob('*'))", "glob() is not allowed"},
      {"DESCRIBE SELECT * FROM glob('*')", "glob() is not allowed"},
      {"SELECT * FROM (PIVOT clicks ON a IN (1) USING sum(b))", "pivot in FROM is not allowed"},
      // The catalog and the settings.
      {"SELECT * FROM duckdb_settings()", "duckdb_settings() is not allowed"},
      {"SELECT * FROM duckdb_secrets()", "not allowed"},
      {"SELECT * FROM pragma_database_list()", "not allowed"},
      {"SELECT * FROM sqlite_master", "there is no table 'sqlite_master'"},
      {"SELECT * FROM duckdb_tables", "there is no table"},
      {"SELECT * FROM (WITH duckdb_tables AS (SELECT 1) SELECT 1), duckdb_tables", "may not be called 'duckdb_tables'"},
      {"SELECT * FROM information_schema.tables", "'information_schema' before the table 'tables' is not allowed"},
      {"SELECT * FROM pg_catalog.pg_class", "not allowed"},
      {"SELECT * FROM main.clicks", "'main' before the table 'clicks' is not allowed at line 1 column 15"},
      {"SELECT * FROM clicks AT (VERSION => 3)", "AT of the table 'clicks' is not allowed"},
      {"SELECT current_setting('memory_limit')", "the function current_setting() is not allowed at line 1 column 8"},
      {"SELECT getenv('HOME')", "getenv() is not allowed"},
      {"SELECT getvariable('x')", "not allowed"},
      {"SELECT pg_catalog.pg_get_viewdef(1)", "not allowed"},
      {"SELECT get_block_size('memory')", "not allowed"},
      // Effects.
      {"SELECT nextval('s')", "not allowed"},
      {"SELECT setseed(0.5)", "not allowed"},
      {"SELECT write_log('x')", "not allowed"},
      {"SELECT sleep_ms(100000)", "not allowed"},
      {"SELECT pg_sleep(100)", "not allowed"},
      // SQL as text.
      {"SELECT json_serialize_plan('SELECT 1')", "not allowed"},
      {"SELECT json_serialize_sql('SELECT 1')", "not allowed"},
      // Much of little.
      {"SELECT repeat('x', 1000000000)", "repeat() is not allowed"},
      {"SELECT lpad('x', 1000000000, 'x')", "not allowed"},
      {"SELECT range(1000000000)", "range() is not allowed"},
      {"SELECT * FROM unnest(generate_series(1, 1000000000))", "generate_series() is not allowed"},
      {"SELECT printf('%1000000000d', 1)", "not allowed"},
      {"SELECT format('{:>1000000000}', 1)", "not allowed"},
      {"SELECT bitstring_agg(x, 0, 100000000000) FROM clicks", "not allowed"},
      {"SELECT list_resize([1], 1000000000)", "not allowed"},
      // Aggregates and windows are functions too.
      {"SELECT nothing(x) FROM clicks", "nothing() is not allowed"},
      {"SELECT pg_typeof(x) OVER () FROM clicks", "not allowed"},
      {"SELECT other.sum(x) FROM clicks", "sum() is not allowed"},
      {"SELECT x FROM clicks WHERE getenv('HOME') = 'x'", "not allowed"},
      {"SELECT x FROM clicks GROUP BY getenv('HOME')", "not allowed"},
      {"SELECT x FROM clicks HAVING getenv('HOME') = 'x'", "not allowed"},
      {"SELECT x FROM clicks QUALIFY getenv('HOME') = 'x'", "not allowed"},
      // Names.
      {"SELECT * FROM click",
       "there is no table 'click' at line 1 column 15; did you mean 'clicks'?; there are: clicks, "},
      {"SELECT * FROM nowhere, clicks", "there is no table 'nowhere'"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.sql);
    const auto question = Read(c.sql);
    ASSERT_FALSE(question.ok());
    EXPECT_TRUE(KindOf(question.status()) == ErrorKind::kInvalidInput ||
                KindOf(question.status()) == ErrorKind::kNotFound)
        << question.status().ToString();
    EXPECT_THAT(question.status().message(), HasSubstr(c.says));
  }
  const std::string nul("SELECT 1\0; SELECT 2", 19);
  EXPECT_THAT(Read(nul).status().message(), HasSubstr("NUL"));
  EXPECT_THAT(Read("SELECT '" + std::string(kSqlBytesMax, 'x') + "'").status().message(), HasSubstr("at most 65536"));
  std::string deep = "1";
  for (int i = 0; i < 900; ++i) deep = "(SELECT " + deep + ")";
  EXPECT_FALSE(Read("SELECT " + deep).ok());
  std::string wide = "SELECT 1 FROM clicks";
  for (int i = 0; i < 64; ++i) wide += fmt::format(", clicks c{}", i);
  EXPECT_THAT(Read(wide).status().message(), HasSubstr("more than 64 tables"));
}

// The conditions that scans of "clicks" and "Devices" are told, as column and comparator.
TEST_F(SqlQuestionTest, OnlyConditionsThatLoseNoRowOfTheAnswerReachAScan) {
  const auto utc = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  const std::map<std::string, std::shared_ptr<arrow::Schema>> schemas = {
      {"clicks", arrow::schema({arrow::field("id", arrow::int64()), arrow::field("country", arrow::utf8()),
                                arrow::field("ts", utc), arrow::field("x", arrow::float64())})},
      {"Devices", arrow::schema({arrow::field("id", arrow::int64()), arrow::field("Site", arrow::utf8())})}};
  struct Case {
    const char* sql;
    std::string clicks;
    std::string devices = "";
  };
  const std::vector<Case> cases = {
      {"SELECT 1 FROM clicks WHERE id > 5 AND country = 'de'", "(id > 5) AND (country = 'de')"},
      {"SELECT 1 FROM clicks c WHERE c.id > 5", "(c.id > 5)"},
      {"SELECT 1 FROM clicks c WHERE clicks.id > 5", ""},  // DuckDB has its own words for this.
      {"SELECT 1 FROM clicks WHERE id > 5 OR country = 'de'", ""},
      {"SELECT 1 FROM clicks WHERE country IN ('de', 'fr') AND x IS NOT NULL",
       "(country IN ('de', 'fr')) AND (x IS NOT NULL)"},
      {"SELECT 1 FROM clicks WHERE ts >= '2026-01-01' AND ts < TIMESTAMPTZ '2026-02-01 00:00:00+00'",
       "(ts >= '2026-01-01') AND (ts < CAST('2026-02-01 00:00:00+00' AS TIMESTAMP WITH TIME ZONE))"},
      {"SELECT 1 FROM clicks WHERE id > random()", ""},
      {"SELECT 1 FROM clicks WHERE id > (SELECT max(id) FROM devices)", ""},
      {"SELECT 1 FROM clicks WHERE ts < now()", ""},  // It goes on while the statement is read.
      // Joins.
      {"SELECT 1 FROM clicks c JOIN devices d ON c.id = d.id WHERE c.id > 5 AND site = 'a'", "(c.id > 5)",
       "(site = 'a')"},
      {"SELECT 1 FROM clicks c, devices d WHERE d.site = 'a'", "", "(d.site = 'a')"},
      {"SELECT 1 FROM clicks c LEFT JOIN devices d USING (id) WHERE c.x > 5.0 AND d.site IS NULL", "(c.x > 5.0)"},
      {"SELECT 1 FROM clicks c RIGHT JOIN devices d USING (id) WHERE c.x > 5.0 AND site = 'a'", ""},
      {"SELECT 1 FROM clicks c FULL JOIN devices d USING (id) WHERE c.x > 5.0 AND site = 'a'", ""},
      {"SELECT 1 FROM clicks c JOIN devices d USING (id) WHERE id > 5", ""},  // Whose id?
      {"SELECT 1 FROM clicks c POSITIONAL JOIN devices d WHERE c.x > 5.0", ""},
      {"SELECT 1 FROM clicks c SEMI JOIN devices d USING (id) WHERE c.x > 5.0", "(c.x > 5.0)"},
      // More than one reading, or another meaning of the name.
      {"SELECT 1 FROM clicks a, clicks b WHERE a.id > 5", ""},
      {"SELECT 1 FROM clicks WHERE id > 5 UNION ALL SELECT 1 FROM clicks", ""},
      {"WITH clicks AS (SELECT * FROM clicks) SELECT 1 FROM clicks WHERE id > 5", ""},
      {"SELECT 1 FROM (SELECT * FROM clicks WHERE id > 5) WHERE x = 1.0", "(id > 5)"},
      {"WITH b AS (SELECT * FROM clicks WHERE id > 5) SELECT 1 FROM b, b c", "(id > 5)"},
      {"SELECT 1 FROM clicks TABLESAMPLE 10% WHERE id > 5", ""},
      {"SELECT 1 FROM clicks t(a, b) WHERE id > 5", ""},
      {"SELECT 1 FROM clicks WHERE id > 5 GROUP BY country HAVING country = 'de'", "(id > 5)"},
      // Values for parameters.
      {"SELECT 1 FROM clicks WHERE id > $1 AND country = $2", "(id > $1) AND (country = $2)"},
      {"SELECT 1 FROM clicks WHERE ts = $2", ""},  // Not a time.
  };
  const std::vector<sql::Parameter> parameters = {{"1", std::int64_t{5}}, {"2", "de"}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.sql);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto question, Read(c.sql));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto needs, ScanNeeds(*session_, question, schemas, parameters));
    const auto sql_of = [&](const char* name) { return needs.contains(name) ? needs.at(name).sql : ""; };
    EXPECT_EQ(sql_of("clicks"), c.clicks);
    EXPECT_EQ(sql_of("Devices"), c.devices);
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto hour, Read("SELECT 1 FROM clicks WHERE ts > now() - INTERVAL 1 HOUR"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto needs, ScanNeeds(*session_, hour, schemas, {}));
  ASSERT_EQ(needs.at("clicks").where.size(), 1u);
  EXPECT_EQ(needs.at("clicks").where[0].comparator, delta::Comparator::kGreater);
}

}  // namespace
}  // namespace millrace::query
