// Transforms that join lookups: what a row gets, what is refused and where, and DuckDB's own joins as the oracle.
#include <arrow/array.h>
#include <arrow/scalar.h>
#include <arrow/table.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <random>

#include "process/session_testing_internal.h"
#include "process/transform.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::process {
namespace {

using millrace::testing::BatchFromJson;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const auto kLookupJoinMicros = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");

std::shared_ptr<arrow::Schema> Events() {
  return arrow::schema({arrow::field("device_id", arrow::utf8()), arrow::field("n", arrow::int64()),
                        arrow::field("ts", kLookupJoinMicros), arrow::field("_offset", arrow::int64(), false)});
}

const std::vector<LookupShape>& Lookups() {
  static const std::vector<LookupShape> lookups = {
      {"devices",
       arrow::schema({arrow::field("device_id", arrow::utf8()), arrow::field("site", arrow::int64()),
                      arrow::field("n", arrow::int64())}),
       {0}},
      {"sites", arrow::schema({arrow::field("site", arrow::int64()), arrow::field("city", arrow::utf8())}), {0}},
      {"prices",
       arrow::schema({arrow::field("device_id", arrow::utf8()), arrow::field("since", kLookupJoinMicros),
                      arrow::field("until", kLookupJoinMicros), arrow::field("price", arrow::int64())}),
       {0},
       1,
       2},
      {"rates",
       arrow::schema({arrow::field("device_id", arrow::utf8()), arrow::field("since", kLookupJoinMicros),
                      arrow::field("rate", arrow::int64())}),
       {0},
       1,
       -1},
      {"pairs",
       arrow::schema({arrow::field("device_id", arrow::utf8()), arrow::field("n", arrow::int64()),
                      arrow::field("what", arrow::utf8())}),
       {0, 1}},
  };
  return lookups;
}

std::vector<std::shared_ptr<arrow::RecordBatch>> LookupRows() {
  return {BatchFromJson(Lookups()[0].schema, R"([["a", 1, 100], ["b", 2, 200], ["c", null, 300]])"),
          BatchFromJson(Lookups()[1].schema, R"([[1, "Ulm"], [3, "Rom"]])"),
          BatchFromJson(Lookups()[2].schema, R"([["a", 0, 10, 7], ["a", 10, null, 8], ["b", 5, 6, 9]])"),
          BatchFromJson(Lookups()[3].schema, R"([["a", 0, 7], ["a", 10, 8], ["b", 5, 9]])"),
          BatchFromJson(Lookups()[4].schema, R"([["a", 1, "a1"], ["a", 2, "a2"]])")};
}

LookupVersions Versions(const std::vector<std::shared_ptr<arrow::RecordBatch>>& rows) {
  LookupVersions versions;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    versions.push_back(LookupTable::Make(Lookups()[i], "1", rows[i]).ValueOrDie());
  }
  return versions;
}

std::shared_ptr<arrow::RecordBatch> Input() {
  return BatchFromJson(Events(), R"([["a", 1, 5, 100], ["x", 2, 5, 101], ["b", 3, 5, 102], [null, 4, 5, 103],
                                     ["c", 5, 5, 104], ["a", 2, 10, 105]])");
}

Result<Transformed> RunSql(const std::string& sql) {
  ASSIGN_OR_RETURN(const auto transform, Transform::Make(Session(), "t", sql, "input", Events(), Lookups()));
  return transform->Apply(Input(), Versions(LookupRows()));
}

std::vector<std::string> Values(const Transformed& transformed, const std::string& column) {
  std::vector<std::string> values;
  const auto array = transformed.rows->GetColumnByName(column);
  if (array == nullptr) return {"no such column"};
  for (std::int64_t i = 0; i < array->length(); ++i) values.push_back(array->GetScalar(i).ValueOrDie()->ToString());
  return values;
}

TEST(LookupJoin, LeftGivesNullsWhereThereIsNoRow) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto out,
      RunSql("SELECT i.*, d.site, d.device_id AS known FROM input i LEFT JOIN devices d USING (device_id)"));
  EXPECT_THAT(out.rows->schema()->field_names(), ElementsAre("device_id", "n", "ts", "_offset", "site", "known"));
  EXPECT_THAT(Values(out, "device_id"), ElementsAre("a", "x", "b", "null", "c", "a"));
  EXPECT_THAT(Values(out, "site"), ElementsAre("1", "null", "2", "null", "null", "1"));
  EXPECT_THAT(Values(out, "known"), ElementsAre("a", "null", "b", "null", "c", "a"));
  EXPECT_EQ(out.filtered, 0);
}

TEST(LookupJoin, InnerLeavesRowsOutAndCountsThem) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto out,
      RunSql("SELECT d.site + i.n AS s FROM input i JOIN devices d ON d.device_id = i.device_id WHERE i.n < 5"));
  EXPECT_THAT(Values(out, "s"), ElementsAre("2", "5", "3"));
  EXPECT_THAT(Values(out, "_offset"), ElementsAre("100", "102", "105"));
  EXPECT_EQ(out.filtered, 3);
}

TEST(LookupJoin, ARowThatFailsAfterAJoinIsNamedByItsPlaceInTheInput) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto out,
      RunSql("SELECT (d.n * 50000000000000000)::BIGINT AS big FROM input i JOIN devices d USING (device_id)"));
  ASSERT_EQ(out.failed.size(), 2u);
  EXPECT_EQ(out.failed[0].row, 2);  // b
  EXPECT_EQ(out.failed[1].row, 4);  // c
  EXPECT_EQ(out.filtered, 2);
  EXPECT_EQ(out.rows->num_rows(), 2);
}

TEST(LookupJoin, StarIsWhatDuckDbMakesOfIt) {
  struct Case {
    std::string sql;
    std::vector<std::string> names;
  };
  const Case cases[] = {
      {"SELECT * EXCLUDE (d.n) FROM input LEFT JOIN devices d USING (device_id)",
       {"device_id", "n", "ts", "_offset", "site"}},
      {"SELECT d.* EXCLUDE (n) FROM input LEFT JOIN devices d USING (device_id)", {"device_id", "site", "_offset"}},
      {"SELECT input.*, devices.site FROM input LEFT JOIN devices USING (device_id)",
       {"device_id", "n", "ts", "_offset", "site"}},
      {"SELECT * EXCLUDE (n) REPLACE (coalesce(site, -1) AS site) RENAME (ts AS stamp) FROM input i LEFT JOIN devices "
       "d "
       "USING "
       "(device_id)",
       {"device_id", "stamp", "_offset", "site"}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.sql);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto out, RunSql(c.sql));
    EXPECT_EQ(out.rows->schema()->field_names(), c.names);
  }
}

TEST(LookupJoin, OneLookupMayLeadToTheNext) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto out,
                                RunSql("SELECT i.n, s.city FROM input i LEFT JOIN devices d USING (device_id) "
                                       "LEFT JOIN sites s ON d.site = s.site"));
  EXPECT_THAT(Values(out, "city"), ElementsAre("Ulm", "null", "null", "null", "null", "Ulm"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto inner,
                                RunSql("SELECT s.city, i.n FROM input i JOIN devices d USING (device_id) JOIN "
                                       "sites s ON d.site = s.site"));
  EXPECT_THAT(Values(inner, "n"), ElementsAre("1", "2"));
  EXPECT_EQ(inner.filtered, 4);
}

TEST(LookupJoin, AsOfTakesTheRowThatIsValidAtTheTime) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto closed, RunSql("SELECT i.n, p.price FROM input i LEFT JOIN prices p ON i.device_id = p.device_id AND "
                                "i.ts >= p.since AND i.ts < p.until"));
  EXPECT_THAT(Values(closed, "price"), ElementsAre("7", "null", "9", "null", "null", "null"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto open, RunSql("SELECT i.n, p.price FROM input i JOIN prices p ON i.device_id = p.device_id AND "
                              "p.since <= i.ts AND (p.until IS NULL OR p.until > i.ts)"));
  EXPECT_THAT(Values(open, "price"), ElementsAre("7", "9", "8"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto as_of,
      RunSql("SELECT i.n, r.rate FROM input i ASOF LEFT JOIN rates r ON i.device_id = r.device_id AND "
             "i.ts >= r.since"));
  EXPECT_THAT(Values(as_of, "rate"), ElementsAre("7", "null", "9", "null", "null", "8"));
}

TEST(LookupJoin, AnotherVersionIsAnotherAnswerOfTheSameTransform) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto transform,
      Transform::Make(Session(), "t", "SELECT i.n, d.site FROM input i LEFT JOIN devices d USING (device_id)", "input",
                      Events(), Lookups()));
  EXPECT_THAT(transform->lookups(), ElementsAre(0));
  auto rows = LookupRows();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto before, transform->Apply(Input(), Versions(rows)));
  rows[0] = BatchFromJson(Lookups()[0].schema, R"([["x", 9, 0]])");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto after, transform->Apply(Input(), Versions(rows)));
  EXPECT_THAT(Values(before, "site"), ElementsAre("1", "null", "2", "null", "null", "1"));
  EXPECT_THAT(Values(after, "site"), ElementsAre("null", "9", "null", "null", "null", "null"));
}

TEST(LookupJoin, NothingElseThanAWholeKeyJoins) {
  struct Case {
    std::string from;
    std::string message;
  };
  const std::string prices = "prices has validity and is joined by ON its key AND ts >= since AND ts < until";
  const Case cases[] = {
      {"input i RIGHT JOIN devices d USING (device_id)", "a join with a lookup is INNER or LEFT, not RIGHT"},
      {"input i FULL JOIN devices d USING (device_id)", "not FULL"},
      {"input i SEMI JOIN devices d USING (device_id)", "not SEMI"},
      {"input i CROSS JOIN devices d", "USING or ON; this one is CROSS"},
      {"input i, devices d", "this one is CROSS"},
      {"input i NATURAL JOIN devices d", "this one is NATURAL"},
      {"input i JOIN input j USING (device_id)", "input is no lookup; only a lookup can be joined at line 1 column"},
      {"input i JOIN (SELECT 1 AS device_id) d USING (device_id)", "FROM must be one name"},
      {"input i JOIN devices d ON true", "devices is joined by its whole key, (device_id)"},
      {"input i JOIN devices d ON i.n = d.n", "devices is joined by its whole key, (device_id)"},
      {"input i JOIN devices d ON i.device_id = d.device_id OR i.n = d.n", "devices is joined by its whole key"},
      {"input i JOIN devices d ON lower(i.device_id) = d.device_id", "equals a column of events"},
      {"input i JOIN devices d ON d.device_id = d.device_id", "devices is joined by its whole key"},
      {"input i JOIN devices d ON i.device_id > d.device_id", "devices is joined by its whole key"},
      {"input i JOIN devices d ON i.device_id = d.device_id AND i.n < d.n",
       "devices is joined by its key, (device_id), and nothing else: put other conditions into WHERE"},
      {"input i ASOF JOIN devices d ON i.device_id = d.device_id AND i.n >= d.n", "and nothing else"},
      {"input i JOIN pairs p USING (device_id)", "pairs is joined by its whole key, (device_id, n)"},
      {"input i JOIN sites s ON i.device_id = s.site", "site is int64 in sites and device_id is string: cast it"},
      {"input i JOIN prices p USING (device_id)", prices},
      {"input i JOIN prices p ON i.device_id = p.device_id AND i.ts >= p.since", prices},
      {"input i JOIN prices p ON i.device_id = p.device_id AND i.ts > p.since AND i.ts < p.until", prices},
      {"input i JOIN prices p ON i.device_id = p.device_id AND i.ts >= p.since AND i.ts <= p.until", prices},
      {"input i ASOF JOIN prices p ON i.device_id = p.device_id AND i.ts >= p.since", prices},
      {"input i JOIN rates p ON i.device_id = p.device_id AND i.ts >= p.since", "joined by ASOF JOIN"},
      {"input i JOIN devices d USING (nothing)", "nothing"},  // DuckDB's own words.
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.from);
    const auto made = RunSql("SELECT 1 AS one FROM " + c.from);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, made);
    EXPECT_THAT(made.status().message(), HasSubstr(c.message));
  }
}

TEST(LookupJoin, SourcesNameWhatIsJoined) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto sources,
      Transform::SourcesOf(Session(), "t", "SELECT 1 FROM a x LEFT JOIN b USING (k) JOIN c y ON x.k = y.k"));
  EXPECT_EQ(sources.relation, "a");
  EXPECT_THAT(sources.joined, ElementsAre("b", "c"));
}

TEST(LookupJoin, AnOriginNamesTheLookupAndWhatItsRowIsFoundBy) {
  RowOrigin events{{"device", "n", "ts", "_offset"}, {}};
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto transform,
      Transform::Make(
          Session(), "t",
          "SELECT d.site, p.price + 1 AS more FROM input i JOIN devices d USING (device_id) LEFT JOIN prices p ON "
          "p.device_id = i.device_id AND i.ts >= p.since AND i.ts < p.until WHERE d.n > 1",
          "input", Events(), Lookups()));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto origin, transform->OriginOf(Session(), events));
  EXPECT_THAT(origin.columns,
              ElementsAre("\"lookup devices/site\"(device)", "(\"lookup prices/price\"(device, ts) + 1)", "_offset"));
  EXPECT_THAT(origin.conditions, ElementsAre("\"lookup devices\"(device)", "(\"lookup devices/n\"(device) > 1)"));
}

// What DuckDB makes of the same rows and SQL, in input order.
std::vector<std::string> DuckDbs(const std::string& sql, const std::shared_ptr<arrow::RecordBatch>& input,
                                 const std::vector<std::shared_ptr<arrow::RecordBatch>>& rows) {
  auto session = sql::SqlSession::Make().ValueOrDie();
  EXPECT_TRUE(session->Register("input", input->schema(), {input}).ok());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_TRUE(session->Register(Lookups()[i].name, rows[i]->schema(), {rows[i]}).ok());
  }
  const auto table = session->Query(sql + " ORDER BY i._offset").ValueOrDie();
  std::vector<std::string> lines;
  for (std::int64_t r = 0; r < table->num_rows(); ++r) {
    std::string line;
    for (const auto& column : table->columns()) line += column->GetScalar(r).ValueOrDie()->ToString() + "|";
    lines.push_back(line);
  }
  return lines;
}

TEST(LookupJoin, EqualsDuckDbsOwnJoins) {
  const std::string joins[] = {
      "SELECT i._offset, d.site, i.n, d.n AS m FROM input i LEFT JOIN devices d USING (device_id)",
      "SELECT i._offset, d.device_id AS k, d.site * 2 AS s FROM input i JOIN devices d ON i.device_id = d.device_id "
      "WHERE "
      "d.site > 1 OR d.n IS NULL",
      "SELECT i._offset, s.city FROM input i LEFT JOIN devices d USING (device_id) LEFT JOIN sites s ON d.site = "
      "s.site",
      "SELECT i._offset, s.city FROM input i JOIN devices d USING (device_id) JOIN sites s ON d.site = s.site",
      "SELECT i._offset, p.what FROM input i LEFT JOIN pairs p ON i.n = p.n AND p.device_id = i.device_id",
      "SELECT i._offset, p.price FROM input i LEFT JOIN prices p ON i.device_id = p.device_id AND i.ts >= p.since AND "
      "i.ts < "
      "p.until",
      "SELECT i._offset, p.price FROM input i JOIN prices p ON i.device_id = p.device_id AND i.ts >= p.since AND (i.ts "
      "< "
      "p.until OR p.until IS NULL)",
      "SELECT i._offset, r.rate FROM input i ASOF JOIN rates r ON i.device_id = r.device_id AND i.ts >= r.since",
      "SELECT i._offset, r.rate FROM input i ASOF LEFT JOIN rates r ON i.device_id = r.device_id AND i.ts >= r.since",
  };
  for (int seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(static_cast<std::uint64_t>(seed));
    const auto below = [&](int n) { return static_cast<int>(random() % static_cast<std::uint64_t>(n)); };
    const auto id = [&](int n) { return below(8) == 0 ? std::string("null") : fmt::format(R"("device-{}")", n); };
    const auto number = [&](int n) { return below(8) == 0 ? std::string("null") : std::to_string(n); };
    const auto json = [](const std::vector<std::string>& rows) { return fmt::format("[{}]", fmt::join(rows, ",")); };
    std::vector<std::string> events;
    for (int i = 0; i < 100; ++i) {
      events.push_back(fmt::format("[{}, {}, {}, {}]", id(below(12)), number(below(4)), number(below(60) - 30), i));
    }
    std::vector<std::vector<std::string>> rows(5);
    for (int d = 0; d < 10; ++d) {
      rows[0].push_back(fmt::format("[{}, {}, {}]", id(d), number(below(5)), number(below(3))));
      for (int n = 0; n < 3; ++n) rows[4].push_back(fmt::format(R"([{}, {}, "{}/{}"])", id(d), number(n), d, n));
      int at = -40;
      while (at < 30) {
        const int end = at + 1 + below(15);
        const bool last = end > 25;
        rows[2].push_back(fmt::format("[{}, {}, {}, {}]", id(d), at, last ? "null" : std::to_string(end), below(100)));
        rows[3].push_back(fmt::format("[{}, {}, {}]", id(d), at, below(100)));
        if (last) break;
        at = end + below(3);
      }
    }
    for (int s = 0; s < 4; ++s) rows[1].push_back(fmt::format(R"([{}, "city {}"])", s, s));
    std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      std::shuffle(rows[i].begin(), rows[i].end(), random);
      batches.push_back(BatchFromJson(Lookups()[i].schema, json(rows[i])));
    }
    const auto input = BatchFromJson(Events(), json(events));
    for (const auto& sql : joins) {
      SCOPED_TRACE(sql);
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto transform,
                                    Transform::Make(Session(), "t", sql, "input", Events(), Lookups()));
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto out, transform->Apply(input, Versions(batches)));
      EXPECT_EQ(input->num_rows(), out.rows->num_rows() + out.filtered);
      std::vector<std::string> lines;
      for (std::int64_t r = 0; r < out.rows->num_rows(); ++r) {
        std::string line;
        for (const auto& column : out.rows->columns()) line += column->GetScalar(r).ValueOrDie()->ToString() + "|";
        lines.push_back(line);
      }
      EXPECT_EQ(lines, DuckDbs(sql, input, batches));
    }
  }
}

}  // namespace
}  // namespace millrace::process
