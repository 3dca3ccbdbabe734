// The SQL inside the configuration: planned against the declared columns, with findings at their place in the file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "config/load.h"

namespace millrace::config {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

// Six lines; what is appended begins on line 7.
constexpr const char* kHead = R"yaml(version: 1
pipeline: clicks
source: {embedded: {path: ./log}, topics: [clicks]}
decode:
  columns: {ts: timestamp, country: string, amount: "decimal(12,2)", latency_ms: double}
lake: {uri: ./lake}
)yaml";

std::vector<std::string> FindingsOfSql(const std::string& rest) {
  std::vector<std::string> messages;
  for (const auto& finding : LoadConfigText(kHead + rest, "p.yaml").findings) messages.push_back(ToString(finding));
  return messages;
}

TEST(ConfigSql, TransformsMayStandInAnyOrderAndFeedTablesAndAggregates) {
  EXPECT_THAT(FindingsOfSql(R"yaml(transforms:
  - {name: second, sql: "SELECT * FROM first WHERE c <> 'x'"}
  - {name: first, sql: "SELECT *, lower(country) AS c FROM input"}
tables:
  - {name: t, from: second, partition_by: [c, "date(ts)"]}
aggregates:
  - name: a
    sql: SELECT window_start, c, sum(amount) AS s FROM TUMBLE(second, ts, INTERVAL 1 MINUTE) GROUP BY ALL
)yaml"),
              IsEmpty());
}

TEST(ConfigSql, AMistakeInABlockIsAtItsLineAndColumnOfTheFile) {
  EXPECT_THAT(FindingsOfSql(R"yaml(aggregates:
  - name: a
    sql: |
      SELECT window_start,
        sum(amunt) AS s
      FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
)yaml"),
              ElementsAre(AllOf(StartsWith("p.yaml:11:13: "), HasSubstr("amunt"), Not(HasSubstr("line 2")))));
}

TEST(ConfigSql, AMistakeOnOneLineIsAtItsColumnOfTheFile) {
  EXPECT_THAT(FindingsOfSql(R"yaml(transforms:
  - {name: t, sql: "SELECT cuntry FROM input"}
tables: [{name: x}]
)yaml"),
              ElementsAre(AllOf(StartsWith("p.yaml:8:28: "), HasSubstr("cuntry"))));
}

TEST(ConfigSql, AMistakeInALongLineThatDuckDbShowsInPart) {
  const std::string columns =
      "amount, country, latency_ms, amount AS a1, country AS c1, latency_ms AS l1, amount AS a2, ";
  const auto sql =
      "SELECT " + columns + "nope, country AS c2, latency_ms AS l2, amount AS a3, country AS c3 FROM input";
  const auto findings = FindingsOfSql("transforms:\n  - {name: t, sql: \"" + sql + "\"}\ntables: [{name: x}]\n");
  EXPECT_THAT(findings, ElementsAre(AllOf(StartsWith("p.yaml:8:" + std::to_string(21 + 7 + columns.size()) + ": "),
                                          HasSubstr("nope"), Not(HasSubstr("LINE")))));
}

// What YAML makes one line of stands on several in the file.
TEST(ConfigSql, AMistakeInLinesThatAreFoldedIsAtItsLineAndColumnOfTheFile) {
  for (const auto& [sql, place] : {std::pair{"sql: >\n      SELECT\n      cuntry FROM input", "p.yaml:11:7: "},
                                   {"sql: >-\n      SELECT country,\n\n        cuntry FROM input", "p.yaml:12:9: "},
                                   {"sql: SELECT country,\n      cuntry FROM input", "p.yaml:10:7: "},
                                   {"sql: \"SELECT country,\n      cuntry FROM input\"", "p.yaml:10:7: "},
                                   {"sql: 'SELECT cuntry\n      FROM input'", "p.yaml:9:18: "}}) {
    EXPECT_THAT(FindingsOfSql(std::string("transforms:\n  - name: t\n    ") + sql + "\ntables: [{name: x}]\n"),
                ElementsAre(AllOf(StartsWith(place), HasSubstr("cuntry"), Not(HasSubstr("line 1")))))
        << sql;
  }
}

TEST(ConfigSql, WhereThePlaceIsNotKnownTheMessageKeepsTheSqlsOwn) {
  // Escapes in quotes; an override has no lines at all.
  EXPECT_THAT(FindingsOfSql("transforms:\n  - name: t\n    sql: \"SELECT 'a\\x62', cuntry FROM input\"\n"
                            "tables: [{name: x}]\n"),
              ElementsAre(AllOf(StartsWith("p.yaml:9:10: "), HasSubstr("line 1 column 14 of the SQL"))));
}

TEST(ConfigSql, AMistakeBesideTumbleIsAtItsPlaceWithTheNearestName) {
  EXPECT_THAT(FindingsOfSql("aggregates:\n  - {name: a, sql: \"SELECT window_start, contry, count(*) AS n FROM "
                            "TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL\"}\n"),
              ElementsAre(AllOf(StartsWith("p.yaml:8:42: "), HasSubstr("\"contry\""), HasSubstr("\"country\""))));
  EXPECT_THAT(FindingsOfSql("aggregates:\n  - {name: a, sql: \"SELECT window_start, count(*) AS n FROM "
                            "TUMBLE(input, tss, INTERVAL 1 MINUTE) WHERE latency > 1 GROUP BY ALL\"}\n"),
              ElementsAre(AllOf(StartsWith("p.yaml:8:75: "), HasSubstr("no column tss; did you mean 'ts'?"))));
}

TEST(ConfigSql, ATimeThatTumbleDoesNotTakeSaysWhatToDo) {
  const auto over = [](const std::string& expression) {
    return FindingsOfSql("transforms: [{name: t, sql: \"SELECT country, " + expression +
                         " AS z FROM input\"}]\naggregates:\n  - {name: a, sql: \"SELECT window_start, count(*) AS n "
                         "FROM TUMBLE(t, z, INTERVAL 1 MINUTE) GROUP BY ALL\"}\n");
  };
  EXPECT_THAT(over("ts::TIMESTAMP"),
              ElementsAre(HasSubstr("TUMBLE needs a TIMESTAMP WITH TIME ZONE, and z is a TIMESTAMP without one: write "
                                    "AT TIME ZONE 'UTC' behind it")));
  EXPECT_THAT(over("(ts::TIMESTAMP) AT TIME ZONE 'UTC'"), IsEmpty());
  EXPECT_THAT(over("latency_ms"), ElementsAre(HasSubstr("z is a number: declare it as timestamp_s, timestamp_ms")));
  EXPECT_THAT(over("to_timestamp(latency_ms)"), IsEmpty());
  EXPECT_THAT(over("country"), ElementsAre(HasSubstr("z is string: declare it as timestamp in decode.columns")));
}

TEST(ConfigSql, ColumnsThatTheLakeCannotHold) {
  for (const auto& [expression, want] :
       {std::pair{"INTERVAL 1 DAY", "transform x: column z has type INTERVAL, which a table cannot hold; cast it"},
        {"latency_ms::UBIGINT", "transform x: column z has type UBIGINT, which a table cannot hold; cast it"}}) {
    EXPECT_THAT(FindingsOfSql(std::string("transforms: [{name: x, sql: \"SELECT country, ") + expression +
                              " AS z FROM input\"}]\ntables:\n  - {name: t, from: x}\n"),
                ElementsAre(HasSubstr(want)));
  }
  EXPECT_THAT(FindingsOfSql("transforms: [{name: x, sql: \"SELECT country, country::BLOB AS z FROM input\"}]\n"
                            "tables:\n  - {name: t, from: x, partition_by: [z]}\n"),
              ElementsAre(HasSubstr("partition_by: 'z' is binary; a table cannot be partitioned by it")));
}

TEST(ConfigSql, AfterASubstitutionTheLineIsStillKnown) {
  setenv("MILLRACE_TEST_UNIT", "MINUTE", 1);
  EXPECT_THAT(FindingsOfSql(R"yaml(aggregates:
  - name: a
    sql: |
      SELECT window_start, sum(amunt) AS s
      FROM TUMBLE(input, ts, INTERVAL 1 ${MILLRACE_TEST_UNIT}) GROUP BY ALL
)yaml"),
              ElementsAre(AllOf(StartsWith("p.yaml:10:"), HasSubstr("amunt"))));
  unsetenv("MILLRACE_TEST_UNIT");
}

TEST(ConfigSql, RelationsThatAreNotThere) {
  EXPECT_THAT(FindingsOfSql(R"yaml(transforms:
  - {name: clean, sql: "SELECT * FROM inpt"}
tables:
  - {name: t, from: claen}
aggregates:
  - {name: a, sql: "SELECT window_start, count(*) AS n FROM TUMBLE(cleen, ts, INTERVAL 1 MINUTE) GROUP BY ALL"}
)yaml"),
              UnorderedElementsAre(
                  "p.yaml:8:24: transform 'clean' reads from 'inpt', which is neither 'input' nor a transform; did you "
                  "mean 'input'?",
                  "p.yaml:10:21: table 't' reads from 'claen', which is neither 'input' nor a transform; did you mean "
                  "'clean'?",
                  "p.yaml:12:20: aggregate 'a' reads from 'cleen', which is neither 'input' nor a transform; did you "
                  "mean 'clean'?"));
}

TEST(ConfigSql, TransformsThatReadFromEachOther) {
  EXPECT_THAT(FindingsOfSql(R"yaml(transforms:
  - {name: a, sql: "SELECT * FROM b"}
  - {name: b, sql: "SELECT * FROM a"}
  - {name: c, sql: "SELECT * FROM b"}
  - {name: d, sql: "SELECT * FROM d"}
tables: [{name: t, from: c}]
)yaml"),
              ElementsAre(HasSubstr("p.yaml:8:20: transform 'a' reads from 'b', which reads from it in turn"),
                          HasSubstr("p.yaml:9:20: transform 'b' reads from 'a', which reads from it in turn"),
                          HasSubstr("p.yaml:11:20: transform 'd' reads from 'd', which reads from it in turn")));
}

TEST(ConfigSql, WhatReadsFromABrokenTransformHasNoFindingOfItsOwn) {
  EXPECT_THAT(FindingsOfSql(R"yaml(transforms:
  - {name: a, sql: "SELECT nope FROM input"}
  - {name: b, sql: "SELECT also_nope FROM a"}
tables: [{name: t, from: b, partition_by: [x]}]
)yaml"),
              ElementsAre(StartsWith("p.yaml:8:")));
}

// At run the first row would be refused, and the next start's again.
TEST(ConfigSql, TypesThatCannotPartitionATable) {
  for (const auto& [expression, type] :
       {std::pair{"encode(country)", "binary"}, {"[country]", "list<"}, {"{'c': country}", "struct<"}}) {
    SCOPED_TRACE(expression);
    EXPECT_THAT(FindingsOfSql(fmt::format(R"yaml(transforms:
  - {{name: a, sql: "SELECT {} AS x, ts FROM input"}}
tables: [{{name: t, from: a, partition_by: [x]}}]
)yaml",
                                          expression)),
                ElementsAre(AllOf(HasSubstr(fmt::format("'x' is {}", type)),
                                  HasSubstr("a table cannot be partitioned by it"))));
  }
}

TEST(ConfigSql, IsNotPlannedAgainstBrokenColumns) {
  EXPECT_THAT(FindingsOfSql("transforms:\n  - {name: a, sql: SELECT b FROM input}\ntables: [{name: t}]\n").size(), 1u);
  std::string text = std::string(kHead) + "transforms:\n  - {name: a, sql: SELECT b FROM input}\ntables: [{name: t}]\n";
  text.replace(text.find("latency_ms: double"), 18, "b: nosuchtype");
  const auto findings = LoadConfigText(text, "p.yaml").findings;
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_THAT(findings[0].message, HasSubstr("unknown type 'nosuchtype'"));
}

TEST(ConfigSql, WhatIsRefusedInTransformsAndAggregates) {
  struct Case {
    const char* rest;
    const char* want;
  };
  const Case cases[] = {
      {"transforms: [{name: a, sql: \"SELECT FROM WHERE\"}]\ntables: [{name: t}]\n", "p.yaml:7:"},
      {"transforms: [{name: a, sql: \"SELECT count(*) FROM input\"}]\ntables: [{name: t}]\n", "count"},
      {"transforms: [{name: a, sql: \"SELECT random() AS r FROM input\"}]\ntables: [{name: t}]\n", "random"},
      {"transforms: [{name: input, sql: \"SELECT * FROM input\"}]\ntables: [{name: t}]\n",
       "the name 'input' is taken by the decoded events"},
      {"transforms: [{name: a, sql: \"\"}]\ntables: [{name: t}]\n", "transforms.a.sql is empty"},
      {"transforms: [{name: a}]\ntables: [{name: t}]\n", "transforms.a: the key 'sql' is missing"},
      {"aggregates: [{name: a, sql: \"SELECT country FROM input\"}]\n", "needs GROUP BY or an aggregate function"},
      {"aggregates: [{name: a, sql: \"SELECT window_start, count(*) AS n FROM TUMBLE(input, country, INTERVAL 1 "
       "MINUTE) "
       "GROUP BY ALL\"}]\n",
       "country"},
      {"tables: [{name: x}]\naggregates: [{name: X, sql: \"SELECT window_start, count(*) AS n FROM TUMBLE(input, ts, "
       "INTERVAL 1 MINUTE) GROUP BY ALL\"}]\n",
       "the name 'X' is taken by a table"},
      {"aggregates: [{name: x, retention: 7m, sql: \"SELECT window_start, count(*) AS n FROM TUMBLE(input, ts, "
       "INTERVAL "
       "1 MINUTE) GROUP BY ALL\"}]\n",
       "aggregates.x.retention must be at least 1h, not 7m"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.rest);
    EXPECT_THAT(FindingsOfSql(c.rest), ElementsAre(HasSubstr(c.want)));
  }
}

// An aggregate `a` with a final table.
std::vector<std::string> FindingsOfFinal(const std::string& selected, const std::string& rest = "",
                                         const std::string& table = "a_final",
                                         const std::string& event_time = "event_time: {column: ts}\n") {
  return FindingsOfSql(event_time + "aggregates:\n  - name: a\n    sql: SELECT window_start, " + selected +
                       " FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL" + rest +
                       "\n    final: {table: " + table + "}\n");
}

TEST(ConfigFinal, ATableOfPlainValuesIsPlanned) {
  const auto loaded = LoadConfigText(
      std::string(kHead) +
          "event_time: {column: ts}\naggregates:\n  - name: a\n    sql: SELECT country, count(*) AS n, sum(n_bytes) AS "
          "total, sum(amount) AS money, max(ts) AS last, [count(*), 2] AS list FROM TUMBLE(input, ts, INTERVAL 1 "
          "MINUTE) GROUP BY window_start, country, latency_ms\n    final: {table: a_final}\n",
      "p.yaml", {.overrides = {{"decode.columns.n_bytes", "int32"}}});
  ASSERT_THAT(loaded.findings, IsEmpty()) << ToString(loaded.findings.front());
  const auto& final_table = loaded.flow.tables.front().final_table;
  ASSERT_TRUE(final_table);
  EXPECT_EQ(final_table->name, "a_final");
  EXPECT_EQ(final_table->schema->ToString(),
            "window_start: timestamp[us, tz=UTC] not null\nwindow_end: timestamp[us, tz=UTC] not null\n"
            "country: string\nlatency_ms: double\nn: int64\ntotal: decimal128(38, 0)\nmoney: decimal128(38, 2)\n"
            "last: timestamp[us, tz=UTC]\nlist: list<element: int64>\nrevision: int64 not null\n"
            "final_at: timestamp[us, tz=UTC] not null");
}

TEST(ConfigFinal, EachWindowThatIsOverForGoodHasOne) {
  const auto findings = [](const std::string& sql) {
    return FindingsOfSql("event_time: {column: ts}\naggregates:\n  - name: a\n    sql: SELECT " + sql +
                         " GROUP BY ALL\n    final: {table: a_final}\n");
  };
  for (const char* const window :
       {"TUMBLE(input, ts, INTERVAL 1 MONTH)", "TUMBLE(input, ts, INTERVAL 1 DAY, 'Europe/Berlin')",
        "HOP(input, ts, INTERVAL 1 MINUTE, INTERVAL 1 HOUR)", "CUMULATE(input, ts, INTERVAL 1 HOUR, INTERVAL 1 DAY)"}) {
    EXPECT_THAT(findings(std::string("window_start, window_end, count(*) AS n FROM ") + window), IsEmpty());
  }
  EXPECT_THAT(findings("window_start, window_end, country, count(*) AS n FROM SESSION(input, ts, INTERVAL 1 HOUR)"),
              ElementsAre(HasSubstr("two sessions that a late event makes one could not be taken back")));
  EXPECT_THAT(findings("country, count(*) AS n FROM input"),
              ElementsAre(HasSubstr("without windows no row is ever final")));
}

TEST(ConfigFinal, WhatCannotBeAFinalTableIsSaidAtItsPlace) {
  const auto n = [](const std::string& rest) { return FindingsOfFinal("count(*) AS n", rest); };
  EXPECT_THAT(n(""), IsEmpty());
  EXPECT_THAT(n(" HAVING count(*) > 1"),
              ElementsAre(AllOf(StartsWith("p.yaml:11:20: "), HasSubstr("aggregate 'a': final: rows are only appended"),
                                HasSubstr("leave HAVING out"))));
  EXPECT_THAT(FindingsOfFinal("max(ts) - min(ts) AS span"),
              ElementsAre(AllOf(HasSubstr("'span' is INTERVAL"), HasSubstr("cast it"))));
  EXPECT_THAT(FindingsOfFinal("country AS Revision, count(*) AS n"),
              ElementsAre(AllOf(HasSubstr("the key 'Revision'"), HasSubstr("with AS"))));
  EXPECT_THAT(FindingsOfFinal("count(*) AS final_at"), ElementsAre(HasSubstr("the measure 'final_at'")));
  EXPECT_THAT(FindingsOfFinal("count(*) AS n", "", "A"), ElementsAre(HasSubstr("'A' is taken by an aggregate")));
  EXPECT_THAT(FindingsOfFinal("count(*) AS n", "", "clicks_dead_letters"),
              ElementsAre(HasSubstr("is taken by the dead letters of this pipeline")));
  EXPECT_THAT(FindingsOfFinal("count(*) AS n", "", "a/b"), ElementsAre(HasSubstr("a final table's name")));
  EXPECT_THAT(FindingsOfFinal("count(*) AS n", "", "f", ""), ElementsAre(HasSubstr("give event_time.column")));
  EXPECT_THAT(
      FindingsOfSql("event_time: {column: ts}\naggregates:\n  - name: a\n    sql: SELECT window_start, count(*) "
                    "AS n FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL\n    final: {tabel: x}\n"),
      UnorderedElementsAre(HasSubstr("aggregates.a.final: the key 'table' is missing"),
                           HasSubstr("did you mean 'table'")));
}

}  // namespace
}  // namespace millrace::config
