// DuckDB behind our header: what goes in by Arrow comes out by Arrow, and every failure has its kind.
#include "sql/sql_session.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/scalar.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::sql {
namespace {

using millrace::testing::BatchFromJson;
using ::testing::HasSubstr;

class SqlSessionTest : public ::testing::Test {
 protected:
  void SetUp() override { MILLRACE_ASSERT_OK_AND_ASSIGN(session_, SqlSession::Make()); }
  void Register(const std::string& name, const std::shared_ptr<arrow::RecordBatch>& batch) {
    MILLRACE_ASSERT_OK(session_->Register(name, batch->schema(), {batch}));
  }
  std::string Cell(const std::string& sql) {
    const auto table = session_->Query(sql);
    if (!table.ok()) return table.status().ToString();
    if ((*table)->num_rows() == 0) return "no rows";
    return (*table)->column(0)->GetScalar(0).ValueOrDie()->ToString();
  }
  std::unique_ptr<SqlSession> session_;
  std::atomic<bool> done_ = false;
};

int NumYieldingThreads() {
  const int ordinary = ::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()));
  int yielding = 0;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    const auto id = static_cast<id_t>(std::stoul(thread.path().filename().string()));
    if (::getpriority(PRIO_PROCESS, id) > ordinary) ++yielding;
  }
  return yielding;
}

TEST_F(SqlSessionTest, TheThreadsThatHelpYieldToOthersAndTheCallerDoesNot) {
  const int before = NumYieldingThreads();
  MILLRACE_ASSERT_OK_AND_ASSIGN(session_, SqlSession::Make(64 << 20, 3));
  EXPECT_EQ(NumYieldingThreads(), before + 2);
  EXPECT_EQ(Cell("SELECT sum(i) FROM range(100000) AS r(i)"), "4999950000");
}

TEST_F(SqlSessionTest, EveryInputTypeGoesThroughAndBack) {
  const auto utc = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  const auto schema = arrow::schema({arrow::field("s", arrow::utf8()), arrow::field("b", arrow::boolean()),
                                     arrow::field("i", arrow::int32()), arrow::field("l", arrow::int64()),
                                     arrow::field("d", arrow::float64()), arrow::field("m", arrow::decimal128(12, 2)),
                                     arrow::field("w", arrow::decimal128(38, 4)), arrow::field("day", arrow::date32()),
                                     arrow::field("ts", utc),
                                     arrow::field("list", arrow::list(arrow::field("element", arrow::int64())))});
  const auto batch = BatchFromJson(schema, R"([
    ["a long string that is not inlined by DuckDB", true, -1, 9223372036854775807, 0.5, "1.25", "-99999999999.0001", 0, 0, [1, null]],
    [null, null, null, null, null, null, null, null, null, null],
    ["", false, 2, -5, -1e300, "-0.01", "0.0000", 19000, 1735689600000000, []]])");
  Register("t", batch);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, session_->Query("SELECT * FROM t"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto back, table->CombineChunksToBatch());
  for (int i = 0; i < batch->num_columns() - 1; ++i) {
    EXPECT_TRUE(back->column(i)->Equals(batch->column(i))) << schema->field(i)->name() << back->column(i)->ToString();
  }
  EXPECT_EQ(back->schema()->field(8)->type()->ToString(), "timestamp[us, tz=UTC]");
  EXPECT_EQ(back->column(9)->GetScalar(0).ValueOrDie()->ToString(),
            batch->column(9)->GetScalar(0).ValueOrDie()->ToString());
}

TEST_F(SqlSessionTest, DictionaryColumnsAndSlicesAreReadAtTheirOffset) {
  arrow::StringDictionaryBuilder builder;
  for (int i = 0; i < 5000; ++i)
    ASSERT_TRUE((i % 7 == 0 ? builder.AppendNull() : builder.Append(i % 2 ? "odd" : "even")).ok());
  const auto dictionary = builder.Finish().ValueOrDie();
  arrow::Int64Builder numbers;
  for (int i = 0; i < 5000; ++i) ASSERT_TRUE(numbers.Append(i).ok());
  const auto schema =
      arrow::schema({arrow::field("_topic", dictionary->type(), false), arrow::field("n", arrow::int64())});
  Register("t", arrow::RecordBatch::Make(schema, 5000, {dictionary, numbers.Finish().ValueOrDie()})->Slice(3, 4990));
  EXPECT_EQ(Cell("SELECT count(*) FROM t WHERE _topic IS DISTINCT FROM "
                 "CASE WHEN n % 7 = 0 THEN NULL WHEN n % 2 = 1 THEN 'odd' ELSE 'even' END"),
            "0");
  EXPECT_EQ(Cell("SELECT sum(n) FROM t"), std::to_string(4990LL * (3 + 4992) / 2));
  EXPECT_EQ(Cell("SELECT count(*) FROM t"), "4990");
}

TEST_F(SqlSessionTest, ManyBatchesAreOneRelationInOrder) {
  const auto schema = arrow::schema({arrow::field("n", arrow::int64())});
  MILLRACE_ASSERT_OK(session_->Register(
      "T", schema, {BatchFromJson(schema, "[[1],[2]]"), BatchFromJson(schema, "[]"), BatchFromJson(schema, "[[3]]")}));
  EXPECT_EQ(Cell("SELECT CAST(list(n) AS VARCHAR) FROM t"), "[1, 2, 3]");
  EXPECT_EQ(Cell("SELECT t.n FROM t WHERE n > 2"), "3");
}

TEST_F(SqlSessionTest, RegisteringAgainReplacesRowsAndSchema) {
  Register("t", BatchFromJson(arrow::schema({arrow::field("n", arrow::int64())}), "[[1]]"));
  EXPECT_EQ(Cell("SELECT n FROM t"), "1");
  Register("t", BatchFromJson(arrow::schema({arrow::field("n", arrow::int64())}), "[[2]]"));
  EXPECT_EQ(Cell("SELECT n FROM t"), "2");
  Register("t", BatchFromJson(arrow::schema({arrow::field("n", arrow::utf8())}), R"([["three"]])"));
  EXPECT_EQ(Cell("SELECT n FROM t"), "three");
  Register("t", BatchFromJson(arrow::schema({arrow::field("m", arrow::utf8())}), "[]"));
  EXPECT_THAT(Cell("SELECT n FROM t"), HasSubstr("Referenced column \"n\" not found"));
}

TEST_F(SqlSessionTest, ABatchOfAnotherSchemaIsRefused) {
  const auto batch = BatchFromJson(arrow::schema({arrow::field("n", arrow::int64())}), "[[1]]");
  MILLRACE_ASSERT_KIND(ErrorKind::kInternal,
                       session_->Register("t", arrow::schema({arrow::field("n", arrow::utf8())}), {batch}));
}

TEST_F(SqlSessionTest, OddNamesWork) {
  const std::string odd = "a \"quoted\" näme, with; everything";
  Register(odd, BatchFromJson(arrow::schema({arrow::field(odd, arrow::int64())}), "[[7]]"));
  EXPECT_EQ(Cell("SELECT " + QuoteIdentifier(odd) + " FROM " + QuoteIdentifier(odd)), "7");
  EXPECT_EQ(Cell("SELECT " + QuoteLiteral("it's")), "it's");
}

TEST_F(SqlSessionTest, ResultTypesAreThePlainOnes) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto table,
      session_->Query(
          "SELECT 1::HUGEINT AS h, '{\"a\":1}'::JSON AS j, 'x' AS s, now() AS t, 'ab'::BLOB AS b, 1.5 AS d"));
  EXPECT_EQ(table->schema()->field(0)->type()->ToString(), "decimal128(38, 0)");
  EXPECT_EQ(table->schema()->field(1)->type()->ToString(), "string");
  EXPECT_EQ(table->schema()->field(2)->type()->ToString(), "string");
  EXPECT_EQ(table->schema()->field(3)->type()->ToString(), "timestamp[us, tz=UTC]");
  EXPECT_EQ(table->schema()->field(4)->type()->ToString(), "binary");
  EXPECT_EQ(table->schema()->field(5)->type()->ToString(), "decimal128(2, 1)");
}

TEST_F(SqlSessionTest, DescribeNamesTheTypes) {
  Register("t",
           BatchFromJson(
               arrow::schema({arrow::field("n", arrow::int64()), arrow::field("m", arrow::decimal128(10, 2))}), "[]"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto columns, session_->Describe("SELECT sum(n) AS a, sum(m), avg(n) FROM t"));
  ASSERT_EQ(columns.size(), 3u);
  EXPECT_EQ(columns[0].name, "a");
  EXPECT_EQ(columns[0].duckdb_type, "HUGEINT");
  EXPECT_EQ(columns[1].duckdb_type, "DECIMAL(38,2)");
  EXPECT_EQ(columns[2].duckdb_type, "DOUBLE");
}

TEST_F(SqlSessionTest, FaultsInTheSqlNameTheirPlace) {
  struct Case {
    const char* sql;
    const char* want;
  };
  for (const Case& c :
       {Case{"SELECT 1 +", "syntax error at end of input"}, Case{"SELECT nope FROM (SELECT 1)", "LINE 1"},
        Case{"SELECT CAST('x' AS INTEGER)", "Could not convert string 'x'"}, Case{"SELECT * FROM missing", "missing"},
        Case{"SELECT 1; SELECT 2", "multiple statements"}}) {
    SCOPED_TRACE(c.sql);
    const auto result = session_->Query(c.sql);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, result);
    EXPECT_THAT(result.status().message(), HasSubstr(c.want));
  }
}

TEST_F(SqlSessionTest, TheWorldOutsideIsClosed) {
  for (const char* sql :
       {"SELECT * FROM '/etc/passwd'", "SELECT * FROM read_csv('/etc/passwd')",
        "COPY (SELECT 1) TO '/tmp/millrace_must_not_exist.csv'", "ATTACH '/tmp/millrace_must_not_exist.db'",
        "INSTALL httpfs", "SET enable_external_access = true", "SET TimeZone = 'Europe/Berlin'"}) {
    SCOPED_TRACE(sql);
    ASSERT_FALSE(session_->Query(sql).ok());
  }
}

TEST_F(SqlSessionTest, ParsesToATreeAndBack) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto tree, session_->ParseToJson("SELECT a, 'it''s' FROM t WHERE b > 1"));
  EXPECT_THAT(tree, HasSubstr("SELECT_NODE"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sql, session_->JsonToSql(tree));
  EXPECT_EQ(sql, "SELECT a, 'it''s' FROM t WHERE (b > 1)");
  const auto broken = session_->ParseToJson("SELECT a,\n  FROM WHERE");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, broken);
  EXPECT_THAT(broken.status().message(), HasSubstr("line 2 column"));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, session_->ParseToJson("DROP TABLE t"));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, session_->ParseToJson("SELECT 1; SELECT 2"));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, session_->JsonToSql("{\"no\": \"tree\"}"));
}

TEST_F(SqlSessionTest, AnInterruptedQueryIsCancelled) {
  const std::string endless =
      "SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE (a.range * b.range) % 7 = 3";
  // Whenever the stop is requested: before, just when it begins, or while it runs.
  std::stop_source before;
  before.request_stop();
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, session_->Query(endless, before.get_token()));
  for (const int delay_us : {0, 10, 100, 1000, 20000}) {
    SCOPED_TRACE(delay_us);
    std::stop_source stop;
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(delay_us));
      stop.request_stop();
    });
    const auto result = session_->Query(endless, stop.get_token());
    other.join();
    MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, result);
    EXPECT_EQ(Cell("SELECT 1"), "1");
  }
}

TEST_F(SqlSessionTest, AQueryHasABoundOnItsMemory) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(session_, SqlSession::Make(16 << 20));
  const std::string sorted =
      "SELECT count(*) FROM (SELECT hash(range) AS h, range::VARCHAR AS t FROM range({}) "
      "ORDER BY h, t DESC LIMIT {} OFFSET 1)";
  const auto too_much = session_->Query(fmt::format(fmt::runtime(sorted), 5'000'000, 4'000'000));
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, too_much);
  EXPECT_THAT(too_much.status().message(), HasSubstr("more memory than it may"));
  EXPECT_EQ(Cell(fmt::format(fmt::runtime(sorted), 20'000, 10'000)), "10000");
}

TEST_F(SqlSessionTest, MillraceAvgIsDuckDbsOwn) {
  EXPECT_EQ(Cell("SELECT count(*) FROM (SELECT avg(v) AS a, millrace_avg(sum(v), count(v), 0) AS b, "
                 "avg(v::DECIMAL(20,3)/1) AS x FROM (SELECT g, hash(g, i)::HUGEINT::HUGEINT - 9223372036854775808 AS v "
                 "FROM range(200) g(g), "
                 "range(3000) i(i) WHERE i % (g + 1) < 7) GROUP BY g) WHERE a IS DISTINCT FROM b"),
            "0");
  EXPECT_EQ(Cell("SELECT millrace_avg(5, 0, 0) IS NULL AND millrace_avg(NULL, 3, 0) IS NULL"), "true");
  EXPECT_EQ(Cell("SELECT millrace_avg(-125, 2, 2)"), "-0.625");
}

// Hands out rows in batches of two, and remembers what it was asked for.
class Numbers {
 public:
  static std::shared_ptr<arrow::Schema> Schema() {
    return arrow::schema({arrow::field("n", arrow::int64()), arrow::field("text", arrow::utf8())});
  }
  Result<std::shared_ptr<arrow::RecordBatchReader>> Open(const std::vector<int>& columns) {
    asked.push_back(columns);
    if (!fails_to_open.ok()) return fails_to_open;
    std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
    for (const char* rows : {R"([[1, "a"], [2, "b"]])", "[]", R"([[3, "c"]])"}) {
      const auto batch = BatchFromJson(Schema(), rows);
      batches.push_back(batch->SelectColumns(columns).ValueOrDie());
    }
    return arrow::RecordBatchReader::Make(batches, batches[0]->schema());
  }

  std::vector<std::vector<int>> asked;
  Status fails_to_open;
};

TEST_F(SqlSessionTest, AStreamIsReadAsOftenAsAStatementNamesItAndOnlyItsColumns) {
  Numbers numbers;
  const auto open = [&](const std::vector<int>& columns) { return numbers.Open(columns); };
  MILLRACE_ASSERT_OK(session_->RegisterStream("numbers", Numbers::Schema(), open, 3));
  const auto run = [&](const std::string& sql) { return session_->Run(sql, {}, {}); };
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto texts, run("SELECT text FROM numbers WHERE n <> 2 ORDER BY n DESC"));
  EXPECT_EQ(texts.rows->num_rows(), 2);
  EXPECT_EQ(texts.rows->column(0)->GetScalar(0).ValueOrDie()->ToString(), "c");
  ASSERT_EQ(numbers.asked.size(), 1u);
  EXPECT_THAT(numbers.asked[0], ::testing::UnorderedElementsAre(0, 1));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto count, run("SELECT count(*) FROM numbers"));
  EXPECT_EQ(count.rows->column(0)->GetScalar(0).ValueOrDie()->ToString(), "3");
  EXPECT_EQ(numbers.asked[1].size(), 1u);
  MILLRACE_ASSERT_OK(run("SELECT a.n FROM numbers a JOIN numbers b ON a.n = b.n + 1"));
  EXPECT_EQ(numbers.asked.size(), 4u);
  // What fails keeps its kind, and takes nothing with it.
  numbers.fails_to_open = Transient("the store is away");
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, run("SELECT n FROM numbers"));
  numbers.fails_to_open = Status::OK();
  MILLRACE_ASSERT_OK(run("SELECT n FROM numbers"));
  session_->Forget("numbers");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, run("SELECT n FROM numbers"));
}

TEST_F(SqlSessionTest, AStatementOfSomebodyElsesHasParametersLimitsAndTypes) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto result, session_->Run("SELECT $a AS a, $b + 1 AS b, $c IS NULL AS c, $d AS d, $e AS e",
                                       {{"a", "x"}, {"b", std::int64_t{41}}, {"c", {}}, {"d", 0.5}, {"e", true}}, {}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto row, result.rows->CombineChunksToBatch());
  EXPECT_EQ(row->column(0)->GetScalar(0).ValueOrDie()->ToString(), "x");
  EXPECT_EQ(row->column(1)->GetScalar(0).ValueOrDie()->ToString(), "42");
  EXPECT_EQ(row->column(2)->GetScalar(0).ValueOrDie()->ToString(), "true");
  EXPECT_EQ(result.columns[3].duckdb_type, "DOUBLE");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, session_->Run("SELECT $1", {}, {}));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, session_->Run("SELECT 1", {{"1", true}}, {}));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, session_->Run("CREATE TABLE t AS SELECT 1", {}, {}));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, session_->Run("SELECT 1; SELECT 2", {}, {}));
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, session_->Run("FROM range(11)", {}, {.rows_max = 10}));
  MILLRACE_ASSERT_OK(session_->Run("FROM range(10)", {}, {.rows_max = 10}));
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, session_->Run("FROM range(1000000)", {}, {.bytes_max = 1 << 20}));
  // An error in the middle of the rows is not their end.
  MILLRACE_ASSERT_KIND(
      ErrorKind::kInvalidInput,
      session_->Run("SELECT CAST(CASE WHEN i = 100000 THEN 'x' ELSE '1' END AS INTEGER) FROM range(200000) t(i)", {},
                    {}));
}

TEST_F(SqlSessionTest, TypesAreNamedAsDuckDbNamesThem) {
  const std::vector<std::string> types = {"BOOLEAN",
                                          "TINYINT",
                                          "UBIGINT",
                                          "HUGEINT",
                                          "FLOAT",
                                          "DECIMAL(12,2)",
                                          "VARCHAR",
                                          "BLOB",
                                          "DATE",
                                          "TIME",
                                          "TIMESTAMP",
                                          "TIMESTAMP WITH TIME ZONE",
                                          "TIMESTAMP_NS",
                                          "INTERVAL",
                                          "UUID",
                                          "JSON",
                                          "INTEGER[]",
                                          "INTEGER[3]",
                                          "MAP(VARCHAR, DOUBLE[])",
                                          "STRUCT(a INTEGER, \"b c\" VARCHAR[])",
                                          "ENUM('x', 'it''s')"};
  for (const auto& type : types) {
    SCOPED_TRACE(type);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto described, session_->Describe("SELECT CAST(NULL AS " + type + ") AS x"));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto result, session_->Run("SELECT CAST(NULL AS " + type + ") AS x", {}, {}));
    EXPECT_EQ(result.columns[0].duckdb_type, described[0].duckdb_type);
  }
}

}  // namespace
}  // namespace millrace::sql
