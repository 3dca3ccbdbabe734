// SQL over tables in memory: answers, what is read for them, from which version, and the end of everything that has
// one.
#include "query/sql_engine.h"

#include <arrow/scalar.h>
#include <arrow/table.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <map>
#include <thread>

#include "delta/append.h"
#include "objectstore/memory_store.h"
#include "testing/batch_from_json.h"
#include "testing/faulty_store.h"
#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

using testing::BatchFromJson;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr UnixMicros kOneMinute = 60'000'000;
const model::TopicPartition kSource{"clicks", 0};

class SteadyHotSource final : public HotSource {
 public:
  Result<HotRows> Hot(const std::shared_ptr<const model::AggregateDefinition>& coarser, const FoldRange& range,
                      const FoldLimits&) override {
    ranges.push_back(range);
    keys.push_back(std::ssize(coarser->keys));
    return HotRows{.segments = says, .watermark = 41, .begun = begun, .missing = missing};
  }
  HotRows Known() const override { return {.watermark = 41}; }

  std::vector<HotSegment> says;
  model::OffsetVector begun{{kSource, 22}};
  std::vector<MissingSource> missing;
  std::vector<FoldRange> ranges;
  std::vector<std::int64_t> keys;
};

// clicks: one file a day of January 2026, ten rows each. views: an aggregate of two committed rows.
class SqlEngineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    MILLRACE_ASSERT_OK_AND_ASSIGN(clicks_, delta::Table::OpenOrCreate(store_, {.schema = ClicksSchema()}));
    for (int day = 1; day <= 5; ++day) AppendDay(day);
    definition_.name = "views";
    definition_.sql = "-";
    definition_.window = model::Window::Tumbling(kOneMinute);
    definition_.keys = {{"country", arrow::utf8()}};
    definition_.states = {{"_s0", arrow::int64(), "count"}, {"_s1", arrow::decimal128(38, 2), "sum"}};
    definition_.measures = {{"n", "CAST(_s0 AS BIGINT)", "BIGINT"}, {"total", "_s1", "DECIMAL(38,2)"}};
    definition_.output_order = {"window_start", "country", "n", "total"};
    MILLRACE_ASSERT_OK_AND_ASSIGN(
        views_, delta::Table::OpenOrCreate(view_store_, {.schema = model::PartialSchema(definition_)}));
    AppendViews(R"([["2026-01-01 10:00:00", "2026-01-01 10:01:00", "de", 3, "1.50", 3],
                    ["2026-01-01 10:01:00", "2026-01-01 10:02:00", "fr", 1, "0.25", 1]])");
  }

  static std::shared_ptr<arrow::Schema> ClicksSchema() {
    return arrow::schema({arrow::field("id", arrow::int64()), arrow::field("country", arrow::utf8()),
                          arrow::field("ts", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")),
                          arrow::field("amount", arrow::decimal128(12, 2))});
  }
  void AppendDay(int day) {
    std::string rows;
    for (int i = 0; i < 10; ++i) {
      rows += fmt::format(R"({}[{}, "{}", "2026-01-{:02} 0{}:00:00", "{}.25"])", i == 0 ? "" : ",", day * 10 + i,
                          i % 2 == 0 ? "de" : "fr", day, i, i);
    }
    MILLRACE_ASSERT_OK(delta::Append(*clicks_, {BatchFromJson(ClicksSchema(), "[" + rows + "]")}));
  }
  void AppendViews(const std::string& rows) {
    MILLRACE_ASSERT_OK(delta::Append(*views_, {BatchFromJson(model::PartialSchema(definition_), rows)}));
  }

  SqlEngine& Engine() {
    if (engine_ != nullptr) return *engine_;
    const auto resources = ReaderResources::Make(limit_bytes_, *budget_);
    const auto offsets = [](const delta::Snapshot& snapshot) {
      return model::OffsetVector{{kSource, 10 * snapshot.version}};
    };
    reader_ = std::make_unique<AggregateReader>(
        AggregateReader::Options{.definition = definition_,
                                 .table = std::make_shared<FollowedTable>(
                                     [this] { return delta::Table::Open(view_store_); }, std::chrono::milliseconds(0)),
                                 .next_offsets = offsets,
                                 .reads = [](const std::string& topic) { return topic == "clicks"; },
                                 .hot = hot_.says.empty() ? nullptr : &hot_},
        resources);
    std::vector<SqlTable> tables;
    tables.push_back(
        {.name = "clicks", .open = [this] { return delta::Table::Open(store_); }, .next_offsets = offsets});
    tables.push_back({.name = "views", .aggregate = reader_.get()});
    tables.push_back({.name = "later", .open = [] { return delta::Table::Open(objectstore::MakeMemoryStore()); }});
    engine_ = std::make_unique<SqlEngine>(SqlEngine::Options{
        .tables = std::move(tables), .memory = resources.memory, .statements_max = statements_max_, .watermark = [] {
          return UnixMicros{42};
        }});
    return *engine_;
  }
  Result<Answer> Ask(const std::string& sql, std::vector<sql::Parameter> parameters = {}) {
    return Engine().Ask(
        {.sql = sql, .parameters = std::move(parameters), .rows_max = rows_max_, .freshness = freshness_}, {});
  }
  // The rows as text, values separated by '|'; or the error.
  std::vector<std::string> Rows(const std::string& sql, std::vector<sql::Parameter> parameters = {}) {
    const auto answer = Ask(sql, std::move(parameters));
    if (!answer.ok()) return {answer.status().ToString()};
    std::vector<std::string> rows;
    for (std::int64_t row = 0; row < answer->rows->num_rows(); ++row) {
      std::string text;
      for (const auto& column : answer->rows->columns()) {
        const auto cell = column->GetScalar(row).ValueOrDie();
        text += (text.empty() ? "" : "|") + (cell->is_valid ? cell->ToString() : "NULL");
      }
      rows.push_back(text);
    }
    return rows;
  }

  std::shared_ptr<testing::FaultyStore> store_ = std::make_shared<testing::FaultyStore>(objectstore::MakeMemoryStore());
  std::shared_ptr<objectstore::ObjectStore> view_store_ = objectstore::MakeMemoryStore();
  std::shared_ptr<delta::Table> clicks_;
  std::shared_ptr<delta::Table> views_;
  model::AggregateDefinition definition_;
  SteadyHotSource hot_;
  std::int64_t limit_bytes_ = 1 << 30;
  std::int64_t rows_max_ = 1000;
  int statements_max_ = 16;
  Freshness freshness_ = Freshness::kHot;
  std::shared_ptr<MemoryBudget> budget_ = MemoryBudget::Make(1 << 30);
  std::unique_ptr<AggregateReader> reader_;
  std::unique_ptr<SqlEngine> engine_;
};

TEST_F(SqlEngineTest, ATableIsItsCommittedRows) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto answer,
      Ask("SELECT country, count(*) AS n, sum(amount) AS total, max(ts) FROM clicks GROUP BY 1 ORDER BY 1"));
  ASSERT_EQ(answer.columns.size(), 4u);
  EXPECT_EQ(answer.columns[2].name, "total");
  EXPECT_EQ(answer.columns[2].duckdb_type, "DECIMAL(38,2)");
  EXPECT_EQ(answer.columns[3].duckdb_type, "TIMESTAMP WITH TIME ZONE");
  EXPECT_THAT(Rows("SELECT country, count(*), sum(amount) FROM clicks GROUP BY 1 ORDER BY 1"),
              ElementsAre("de|25|106.25", "fr|25|131.25"));
  EXPECT_EQ(answer.rows_read, 50);
  EXPECT_GT(answer.bytes_read, 0);
  ASSERT_TRUE(answer.tables);
  ASSERT_EQ(answer.tables->size(), 1u);
  const auto& clicks = answer.tables->front();
  EXPECT_EQ(clicks.name, "clicks");
  EXPECT_EQ(clicks.as_of.version, 5);
  EXPECT_EQ(clicks.as_of.offsets.at(kSource), 50);
  EXPECT_FALSE(clicks.is_hot);
  EXPECT_EQ(answer.as_of.watermark, 42);
  // The table goes on, and the next statement sees it.
  AppendDay(6);
  EXPECT_THAT(Rows("SELECT count(*) FROM clicks"), ElementsAre("60"));
  EXPECT_THAT(Rows("SELECT 1"), ElementsAre("1"));
}

TEST_F(SqlEngineTest, OnlyWhatAStatementNeedsIsRead) {
  struct Case {
    const char* sql;
    const char* row;  // table, version, columns, condition, files: all, read, skipped; row groups: all, read; rows.
  };
  const std::vector<Case> cases = {
      {"SELECT * FROM clicks", "clicks|5|amount, country, id, ts|NULL|5|5|0|5|5|50"},
      {"SELECT sum(amount) FROM clicks WHERE ts >= '2026-01-04'",
       "clicks|5|amount, ts|(ts >= '2026-01-04')|5|2|3|2|2|20"},
      {"SELECT id FROM clicks WHERE id BETWEEN 13 AND 14", "clicks|5|id|(id BETWEEN 13 AND 14)|5|1|4|1|1|2"},
      {"SELECT id FROM clicks WHERE id = 999", "clicks|5|id|(id = 999)|5|0|5|0|0|0"},
      {"SELECT count(*) FROM clicks", "clicks|5||NULL|5|0|5|0|0|50"},  // The log knows.
      {"SELECT 1 FROM clicks, (SELECT 2)", "clicks|5||NULL|5|0|5|0|0|50"},
      {"SELECT count(id) FROM clicks", "clicks|5|id|NULL|5|5|0|5|5|50"},
      {"SELECT count(*) FROM clicks WHERE id < 15", "clicks|5|id|(id < 15)|5|1|4|1|1|5"},
      {"SELECT a.id FROM clicks a JOIN clicks b ON a.id = b.id + 1 WHERE a.id < 12",
       "clicks|5|id|NULL|5|5|0|10|6|2"},  // DuckDB knows more as the join goes on.
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.sql);
    EXPECT_THAT(Rows(std::string("EXPLAIN ANALYZE ") + c.sql), ElementsAre(c.row));
  }
  EXPECT_THAT(Rows("EXPLAIN SELECT sum(amount) FROM clicks WHERE ts >= '2026-01-04'"),
              ElementsAre("clicks|5|NULL|(ts >= '2026-01-04')|5|2|3|NULL|NULL|NULL"));
  EXPECT_THAT(Rows("EXPLAIN SELECT nothing FROM clicks").front(), HasSubstr("\"nothing\" not found"));
}

TEST_F(SqlEngineTest, AnAggregateIsATableOfMergedRowsWithWhatIsHot) {
  hot_.says = {{{{kSource, {10, 12}}},
                BatchFromJson(model::PartialSchema(definition_),
                              R"([["2026-01-01 10:00:00", "2026-01-01 10:01:00", "de", 2, "1.00", 2]])")}};
  AppendViews(R"([["2026-01-01 10:00:00", "2026-01-01 10:01:00", "de", 1, "0.25", 1]])");
  hot_.says[0].ranges[kSource] = {20, 22};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, Ask("SELECT * FROM views ORDER BY window_start"));
  EXPECT_THAT(Rows("SELECT country, n, total FROM views ORDER BY window_start"), ElementsAre("de|6|2.75", "fr|1|0.25"));
  EXPECT_EQ(answer.columns[3].duckdb_type, "DECIMAL(38,2)");
  EXPECT_EQ(answer.tables->front().as_of.version, 2);
  EXPECT_EQ(answer.tables->front().as_of.offsets.at(kSource), 22);
  EXPECT_TRUE(answer.tables->front().is_hot);
  EXPECT_EQ(answer.as_of.watermark, 41) << "the aggregate's own";
  EXPECT_THAT(answer.missing, IsEmpty());
  freshness_ = Freshness::kCommitted;
  EXPECT_THAT(Rows("SELECT sum(n) FROM views"), ElementsAre("5"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto committed, Ask("SELECT n FROM views"));
  EXPECT_FALSE(committed.tables->front().is_hot);
  EXPECT_EQ(committed.tables->front().as_of.offsets.at(kSource), 20);
}

TEST_F(SqlEngineTest, WorkersWhoseRowsAreMissingAreNamedOnceAndNoWatermarkIsPromised) {
  hot_.says = {{{{kSource, {10, 10}}}, nullptr}};
  hot_.begun = {};
  hot_.missing = {{"http://worker-2:8080", "timed out"}};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, Ask("SELECT n FROM views JOIN clicks USING (country)"));
  EXPECT_EQ(answer.missing, hot_.missing);
  EXPECT_EQ(answer.as_of.watermark, std::nullopt);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto other, Ask("SELECT id FROM clicks"));
  EXPECT_THAT(other.missing, IsEmpty()) << "it asks no worker";
}

TEST_F(SqlEngineTest, ConditionsReachTheFoldingOfAnAggregate) {
  hot_.says = {{{{kSource, {10, 10}}}, nullptr}};
  EXPECT_THAT(Rows("SELECT country FROM views WHERE window_start > '2026-01-01 10:00:00+00'"), ElementsAre("fr"));
  ASSERT_FALSE(hot_.ranges.empty());
  EXPECT_EQ(hot_.ranges.back().from, 1767261600000001);
  EXPECT_EQ(hot_.ranges.back().to, std::nullopt);
  EXPECT_THAT(Rows("SELECT n FROM views WHERE window_start = '2026-01-01 10:00:00+00' AND country IN ('de', 'it''s')"),
              ElementsAre("3"));
  EXPECT_EQ(hot_.ranges.back().from, 1767261600000000);
  EXPECT_EQ(hot_.ranges.back().to, 1767261600000001);
  EXPECT_THAT(Rows("SELECT count(*) FROM views WHERE window_start < '2026-01-01 10:01:00+00'"), ElementsAre("1"));
  EXPECT_THAT(Rows("SELECT count(*) FROM views WHERE country > 'e'"), ElementsAre("1"));
  // A row is a value too, with all that it has.
  EXPECT_THAT(Rows("SELECT v.total FROM (SELECT views AS v FROM views) ORDER BY 1"), ElementsAre("0.25", "1.50"));
  // Twice in one statement is one question, so both are of one moment.
  const auto asked = hot_.ranges.size();
  EXPECT_THAT(Rows("SELECT a.n, b.total FROM views a JOIN views b USING (country) ORDER BY 1"),
              ElementsAre("1|0.25", "3|1.50"));
  EXPECT_EQ(hot_.ranges.size(), asked + 1);
}

TEST_F(SqlEngineTest, TablesAndAggregatesJoin) {
  EXPECT_THAT(Rows("WITH perday AS (SELECT country, sum(amount) AS s FROM clicks WHERE id < 20 GROUP BY ALL) "
                   "SELECT v.country, v.n, p.s FROM views v JOIN perday p USING (country) ORDER BY ALL"),
              ElementsAre("de|3|21.25", "fr|1|26.25"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, Ask("SELECT c.*, v.* FROM clicks c, views v LIMIT 1"));
  EXPECT_THAT(answer.rows->ColumnNames(),
              ElementsAre("id", "country", "ts", "amount", "window_start", "country_1", "n", "total"));
  EXPECT_EQ(answer.columns[5].name, "country_1");
}

TEST_F(SqlEngineTest, ParametersAreValues) {
  EXPECT_THAT(
      Rows("SELECT count(*) FROM clicks WHERE country = $1 AND id >= $2", {{"1", "de"}, {"2", std::int64_t{50}}}),
      ElementsAre("5"));
  EXPECT_THAT(
      Rows("SELECT count(*) FROM clicks WHERE ts >= ? AND amount > ?", {{"1", "2026-01-05T00:00:00Z"}, {"2", 4.5}}),
      ElementsAre("5"));
  EXPECT_THAT(Rows("SELECT $country, $n IS NULL, $yes", {{"country", "'; DROP TABLE x"}, {"n", {}}, {"yes", true}}),
              ElementsAre("'; DROP TABLE x|true|true"));
  EXPECT_THAT(Rows("EXPLAIN ANALYZE SELECT id FROM clicks WHERE ts >= $1", {{"1", "2026-01-05T00:00:00Z"}}),
              ElementsAre("clicks|5|id, ts|(ts >= $1)|5|1|4|1|1|10"));
  EXPECT_THAT(Rows("SELECT $1").front(), HasSubstr("there is no value for parameter $1"));
  EXPECT_THAT(Rows("SELECT 1", {{"1", "x"}}).front(), HasSubstr("the SQL has no parameter $1"));
  EXPECT_THAT(Rows("SELECT count(*) FROM clicks WHERE id = $1", {{"1", "x"}}).front(),
              HasSubstr("Could not convert string 'x'"));
}

TEST_F(SqlEngineTest, MistakesAreNamedWithTheirPlace) {
  const auto kind_of = [&](const std::string& sql) { return KindOf(Ask(sql).status()); };
  EXPECT_EQ(kind_of("SELECT contry FROM clicks"), ErrorKind::kInvalidInput);
  EXPECT_THAT(Rows("SELECT contry FROM clicks").front(), HasSubstr("at line 1 column 8"));
  EXPECT_THAT(Rows("SELECT\n  1 +").front(), HasSubstr("line 2"));
  EXPECT_EQ(kind_of("SELECT 1 FROM click"), ErrorKind::kNotFound);
  EXPECT_EQ(kind_of("SELECT 1 FROM later"), ErrorKind::kNotFound);
  EXPECT_THAT(Rows("SELECT 1 FROM later").front(), HasSubstr("table later: "));
  EXPECT_EQ(kind_of("SELECT CAST(country AS INTEGER) FROM clicks"), ErrorKind::kInvalidInput);
  // After each of these the next statement is as if nothing had been.
  EXPECT_THAT(Rows("SELECT count(*) FROM clicks"), ElementsAre("50"));
}

TEST_F(SqlEngineTest, WhatTheStoreSaysComesOutAsItIs) {
  EXPECT_THAT(Rows("SELECT count(*) FROM clicks"), ElementsAre("50"));
  const auto fail = [](auto operation, const std::string& key) {
    const bool is_data = operation == testing::StoreOperation::kOpen && key.starts_with("part-");
    return is_data ? std::optional(testing::StoreFault::kFail) : std::nullopt;
  };
  store_->SetPolicy(fail);
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, Ask("SELECT id FROM clicks"));
  store_->SetPolicy(nullptr);
  EXPECT_THAT(Rows("SELECT sum(id) FROM clicks"), ElementsAre("1725"));
}

TEST_F(SqlEngineTest, WhatDuckDbCannotReadWeRead) {
  const int before = store_->calls(testing::StoreOperation::kOpen);
  store_->Inject(testing::StoreOperation::kOpen, 1, testing::StoreFault::kFail, "part-");
  EXPECT_THAT(Rows("EXPLAIN ANALYZE SELECT sum(id) FROM clicks"), ElementsAre("clicks|5|id|NULL|5|5|0|5|5|50"));
  EXPECT_EQ(store_->calls(testing::StoreOperation::kOpen), before + 1 + 5);
  // A file that is not what the log says is named, by the reader that can.
  MILLRACE_ASSERT_OK(store_->Put(clicks_->snapshot()->files.begin()->second.path, std::string_view("no Parquet")));
  const auto corrupt = Ask("SELECT sum(id) FROM clicks");
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, corrupt);
  EXPECT_THAT(corrupt.status().message(), HasSubstr("it has 10 bytes, the log says"));
}

TEST_F(SqlEngineTest, WhatIsReadTwiceForThatCountsOnce) {
  // We read the one, DuckDB the other, which fails at first.
  std::map<std::string, std::shared_ptr<objectstore::ObjectStore>> stores;
  const auto add = [&](const std::string& name, const std::shared_ptr<arrow::Schema>& schema, const char* rows) {
    stores[name] = objectstore::MakeMemoryStore();
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, delta::Table::OpenOrCreate(stores[name], {.schema = schema}));
    MILLRACE_ASSERT_OK(delta::Append(*table, {BatchFromJson(schema, rows)}));
  };
  add("nested", arrow::schema({arrow::field("id", arrow::int64()), arrow::field("l", arrow::list(arrow::int64()))}),
      "[[1, [1]], [2, [2]]]");
  add("plain", arrow::schema({arrow::field("id", arrow::int64())}), "[[1], [2], [3]]");
  const auto resources = ReaderResources::Make(limit_bytes_, *budget_);
  std::vector<SqlTable> tables;
  for (const auto& [name, store] : stores) {
    tables.push_back({.name = name, .open = [store] { return delta::Table::Open(store); }});
  }
  auto faulty = std::make_shared<testing::FaultyStore>(stores["plain"]);
  tables.back().open = [faulty] { return delta::Table::Open(faulty); };
  SqlEngine engine({.tables = std::move(tables), .memory = resources.memory});
  faulty->Inject(testing::StoreOperation::kOpen, 1, testing::StoreFault::kFail, "part-");
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto answer,
      engine.Ask({.sql = "SELECT count(l) AS n FROM plain JOIN nested ON plain.id = nested.id"}, {}));
  EXPECT_EQ(answer.rows->column(0)->GetScalar(0).ValueOrDie()->ToString(), "2");
  EXPECT_EQ(answer.rows_read, 2 + 3);
}

TEST_F(SqlEngineTest, TablesThatComeLaterAreThere) {
  const auto resources = ReaderResources::Make(limit_bytes_, *budget_);
  const auto table = [&](const std::string& name) {
    return SqlTable{.name = name, .open = [this] { return delta::Table::Open(store_); }};
  };
  std::vector<SqlTable> more;
  int asked = 0;
  Status failure;
  SqlEngine engine({.tables = {table("clicks")},
                    .more_tables = [&](const std::stop_token&) -> Result<std::vector<SqlTable>> {
                      ++asked;
                      RETURN_NOT_OK(failure);
                      return more;
                    },
                    .memory = resources.memory});
  const auto count = [&](const std::string& name) -> Result<std::string> {
    ASSIGN_OR_RETURN(const auto answer, engine.Ask({.sql = "SELECT count(*) AS n FROM " + name}, {}));
    return answer.rows->column(0)->GetScalar(0).ValueOrDie()->ToString();
  };
  EXPECT_EQ(count("clicks").ValueOrDie(), "50");
  EXPECT_EQ(asked, 0);
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, count("in_de"));
  EXPECT_EQ(asked, 1);
  more = {table("in_de"), table("Clicks")};
  EXPECT_EQ(count("IN_DE").ValueOrDie(), "50");
  EXPECT_EQ(count("in_de JOIN clicks ON clicks.id = in_de.id").ValueOrDie(), "50");
  EXPECT_EQ(asked, 2);
  const auto mistaken = count("in_dee");
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, mistaken);
  EXPECT_THAT(mistaken.status().message(), HasSubstr("did you mean 'in_de'?; there are: clicks, in_de"));
  failure = Transient("the store is away");
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, count("in_fr"));
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, engine.Rows({.table = "in_fr"}, {}));
  failure = Status::OK();
  more.push_back(table("in_fr"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto page, engine.Rows({.table = "in_fr", .limit = 3}, {}));
  EXPECT_EQ(page.rows->num_rows(), 3);
}

TEST_F(SqlEngineTest, OfManyTablesThoseAskedForLastStayOpen) {
  const auto resources = ReaderResources::Make(limit_bytes_, *budget_);
  std::vector<int> opened(2 * kOpenTablesMax);
  std::vector<SqlTable> tables;
  for (std::size_t i = 0; i < opened.size(); ++i) {
    tables.push_back({.name = fmt::format("t{}", i), .open = [this, &opened, i] {
                        ++opened[i];
                        return delta::Table::Open(store_);
                      }});
  }
  SqlEngine engine({.tables = std::move(tables), .memory = resources.memory});
  const auto ask = [&](std::size_t i) {
    EXPECT_TRUE(engine.Ask({.sql = fmt::format("SELECT count(*) AS n FROM t{}", i)}, {}).ok());
  };
  for (std::size_t i = 0; i < opened.size(); ++i) {
    ask(i);
    ask(0);
  }
  ask(opened.size() - 2);
  EXPECT_EQ(opened[0], 1);
  EXPECT_EQ(opened[opened.size() - 2], 1);
  ask(1);
  EXPECT_EQ(opened[1], 2);
  // What is said of a table that is not there does not name all.
  const auto missing = engine.Ask({.sql = "SELECT 1 FROM nowhere"}, {});
  EXPECT_THAT(missing.status().message(), HasSubstr("t28, t29 and 98 more"));
}

TEST_F(SqlEngineTest, TablesAreListedWithTheirColumns) {
  const auto listed = [this] {
    std::string text;
    for (const auto& table : Engine().Tables({}).ValueOrDie()) {
      text += fmt::format("{}{}:", table.name, table.is_aggregate ? "*" : "");
      for (const auto& column : table.columns) text += fmt::format(" {} {}", column.name, column.duckdb_type);
      text += "; ";
    }
    return text;
  };
  constexpr const char* kViews =
      "views*: window_start TIMESTAMP WITH TIME ZONE country VARCHAR n BIGINT total DECIMAL(38,2); ";
  constexpr const char* kClicks =
      "clicks: id BIGINT country VARCHAR ts TIMESTAMP WITH TIME ZONE amount DECIMAL(12,2); ";
  // `later` is not there yet.
  EXPECT_EQ(listed(), std::string(kClicks) + kViews);
  EXPECT_EQ(Rows("SELECT count(*) AS n FROM clicks"), std::vector<std::string>{"50"});
  EXPECT_EQ(listed(), std::string(kClicks) + kViews);  // Now it is open.
  std::stop_source stopped;
  stopped.request_stop();
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, Engine().Tables(stopped.get_token()));
}

TEST_F(SqlEngineTest, ListingManyTablesOpensEachOnceAndClosesNone) {
  const auto resources = ReaderResources::Make(limit_bytes_, *budget_);
  std::vector<int> opened(2 * kOpenTablesMax);
  std::vector<SqlTable> tables;
  for (std::size_t i = 0; i < opened.size(); ++i) {
    tables.push_back({.name = fmt::format("t{:03}", i), .open = [this, &opened, i] {
                        ++opened[i];
                        return delta::Table::Open(store_);
                      }});
  }
  SqlEngine engine({.tables = {},
                    .more_tables = [&](const std::stop_token&) -> Result<std::vector<SqlTable>> { return tables; },
                    .memory = resources.memory});
  EXPECT_TRUE(engine.Ask({.sql = "SELECT count(*) AS n FROM t000"}, {}).ok());
  for (int i = 0; i < 2; ++i) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto listed, engine.Tables({}));
    EXPECT_EQ(listed.size(), opened.size());
  }
  EXPECT_TRUE(engine.Ask({.sql = "SELECT count(*) AS n FROM t000"}, {}).ok());
  EXPECT_EQ(opened, std::vector<int>(opened.size(), 1));
}

TEST_F(SqlEngineTest, AMeasureWithoutAValueIsAnErrorOfTheStatementsThatNameIt) {
  const std::string nines(36, '9');
  AppendViews(fmt::format(R"([["2026-01-02 10:00:00", "2026-01-02 10:01:00", "de", 1, "{0}.00", 1],
                              ["2026-01-02 10:00:00", "2026-01-02 10:01:00", "de", 1, "{0}.00", 1]])",
                          nines));
  EXPECT_THAT(Rows("SELECT sum(n) FROM views"), ElementsAre("6"));
  EXPECT_THAT(Rows("SELECT total FROM views").front(), HasSubstr("views: total has no value in 1 of its groups"));
  EXPECT_THAT(Rows("SELECT total FROM views WHERE window_start < '2026-01-02' ORDER BY 1"),
              ElementsAre("0.25", "1.50"));
}

TEST_F(SqlEngineTest, EverythingHasALimit) {
  rows_max_ = 49;
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, Ask("SELECT id FROM clicks"));
  EXPECT_THAT(Rows("SELECT id FROM clicks").front(), HasSubstr("more than 49 rows"));
  rows_max_ = 50;
  EXPECT_EQ(Rows("SELECT id FROM clicks").size(), 50u);
  rows_max_ = 1'000'000'000;
  limit_bytes_ = 64 << 20;
  engine_.reset();
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge,
                       Ask("SELECT i::VARCHAR || 'some more text', count(*) FROM range(10000000) t(i) GROUP BY ALL"));
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, Ask("SELECT i FROM range(10000000) t(i)"));
  EXPECT_THAT(Rows("SELECT count(*) FROM clicks"), ElementsAre("50"));
}

TEST_F(SqlEngineTest, AStatementEndsWhenNobodyWaitsForIt) {
  Engine();
  std::stop_source stop;
  auto endless = std::async(std::launch::async, [&] {
    return Engine().Ask({.sql = "SELECT sum(i) FROM range(1000000000000000) t(i)"}, stop.get_token());
  });
  std::this_thread::yield();
  stop.request_stop();
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, endless.get());
  EXPECT_THAT(Rows("SELECT count(*) FROM clicks"), ElementsAre("50"));
}

TEST_F(SqlEngineTest, MoreThanMayWaitAreToldToComeBack) {
  statements_max_ = 1;
  Engine();
  std::stop_source stop;
  // Until it is the one.
  auto endless = std::async(std::launch::async, [&] {
    for (;;) {
      const auto answer = Engine().Ask({.sql = "SELECT sum(i) FROM range(1000000000000000) t(i)"}, stop.get_token());
      if (KindOf(answer.status()) != ErrorKind::kTransient) return answer.status();
    }
  });
  while (Rows("SELECT 1").front() == "1") std::this_thread::yield();
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, Ask("SELECT 1"));
  stop.request_stop();
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, endless.get());
  EXPECT_THAT(Rows("SELECT 1"), ElementsAre("1"));
}

TEST_F(SqlEngineTest, ManyAtOnceTakeTurns) {
  limit_bytes_ = 64 << 20;
  Engine();
  std::vector<std::future<std::vector<std::string>>> all;
  for (int i = 0; i < 12; ++i) {
    all.push_back(std::async(std::launch::async,
                             [&] { return Rows("SELECT (SELECT sum(id) FROM clicks), (SELECT sum(n) FROM views)"); }));
  }
  for (auto& one : all) EXPECT_THAT(one.get(), ElementsAre("1725|4"));
}

// All pages of a request, one row a text; or the error.
std::vector<std::string> Pages(SqlEngine& engine, RowsRequest request, int* num_pages = nullptr) {
  std::vector<std::string> rows;
  for (int page = 1;; ++page) {
    const auto answer = engine.Rows(request, {});
    if (!answer.ok()) return {answer.status().ToString()};
    for (std::int64_t row = 0; row < answer->rows->num_rows(); ++row) {
      rows.push_back(answer->rows->column(0)->GetScalar(row).ValueOrDie()->ToString());
    }
    if (num_pages != nullptr) *num_pages = page;
    if (!answer->next) return rows;
    request.cursor = *answer->next;
    request.version.reset();
    request.timestamp_ms.reset();
  }
}

TEST_F(SqlEngineTest, PagesAreOfOneVersionAndHoldEachRowOnce) {
  std::vector<std::string> all;
  for (int day = 1; day <= 5; ++day) {
    for (int i = 0; i < 10; ++i) all.push_back(std::to_string(day * 10 + i));
  }
  int pages = 0;
  EXPECT_THAT(Pages(Engine(), {.table = "clicks", .columns = {"id"}, .limit = 7}, &pages),
              ::testing::UnorderedElementsAreArray(all));
  EXPECT_EQ(pages, 8);
  EXPECT_THAT(Pages(Engine(), {.table = "clicks", .columns = {"id"}, .limit = 25}, &pages),
              ::testing::UnorderedElementsAreArray(all));
  EXPECT_EQ(pages, 2) << "a page that is full to the last row has none after it";
  EXPECT_THAT(
      Pages(Engine(), {.table = "clicks", .columns = {"id"}, .order_by = {"country desc", "amount desc"}, .limit = 4}),
      ::testing::UnorderedElementsAreArray(all));
  EXPECT_THAT(Pages(Engine(), {.table = "clicks",
                               .columns = {"id"},
                               .where = "country = 'de' AND id >= 54",
                               .order_by = {"id desc"},
                               .limit = 1}),
              ElementsAre("58", "56", "54"));
  // A page does not read the files before it, unless their rows must be looked at to be counted.
  RowsRequest last{.table = "clicks", .columns = {"id"}, .limit = 10};
  last.cursor = CursorText(last, {.version = 5, .rows = 45});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto fifth, Engine().Rows(last, {}));
  EXPECT_EQ(fifth.rows->num_rows(), 5);
  EXPECT_EQ(fifth.rows_read, 10);
  EXPECT_EQ(fifth.as_of.version, 5);
  last.cursor = CursorText(last, {.version = 5, .rows = 50});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto beyond, Engine().Rows(last, {}));
  EXPECT_EQ(beyond.rows->num_rows(), 0);
  EXPECT_EQ(beyond.next, std::nullopt);
  // What comes in between pages is not in them.
  RowsRequest request{.table = "clicks", .columns = {"id"}, .limit = 30};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto first, Engine().Rows(request, {}));
  EXPECT_EQ(first.as_of.version, 5);
  EXPECT_EQ(first.as_of.offsets.at(kSource), 50);
  EXPECT_FALSE(first.tables);
  AppendDay(6);
  request.cursor = first.next.value();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto second, Engine().Rows(request, {}));
  EXPECT_EQ(second.rows->num_rows(), 20);
  EXPECT_EQ(second.as_of.version, 5);
  EXPECT_EQ(Pages(Engine(), {.table = "clicks"}).size(), 60u);
  EXPECT_EQ(Pages(Engine(), {.table = "clicks", .version = 2}).size(), 20u);
  EXPECT_EQ(Pages(Engine(), {.table = "clicks", .limit = 9, .version = 2}).size(), 20u);
}

TEST_F(SqlEngineTest, APageThatCannotBeSaysWhy) {
  struct Case {
    RowsRequest request;
    const char* says;
  };
  const RowsRequest paged{.table = "clicks"};
  const std::string cursor = CursorText(paged, {.version = 5, .rows = 10});
  const std::vector<Case> cases = {
      {{.table = "click"}, "there is no table 'click'; did you mean 'clicks'?"},
      {{.table = "views"}, "views is an aggregate: its merged rows are at /v1/aggregates/views"},
      {{.table = "later"}, "table later: "},
      {{.table = "clicks", .columns = {"x"}}, "columns: no column 'x'"},
      {{.table = "clicks", .where = "getenv('HOME') = 'x'"}, "getenv() is not allowed"},
      {{.table = "clicks", .where = "nothing = 1"}, "nothing"},
      {{.table = "clicks", .limit = 0}, "limit: "},
      {{.table = "clicks", .version = 99}, "99"},
      {{.table = "clicks", .timestamp_ms = 1000}, "no version as old as that"},
      {{.table = "clicks", .version = 1, .timestamp_ms = 1000}, "version: it cannot stand beside timestamp"},
      {{.table = "clicks", .cursor = cursor, .version = 1}, "cursor: it has its version"},
      {{.table = "clicks", .cursor = "x"}, "cursor: 'x' is none"},
      {{.table = "clicks", .where = "id = 1", .cursor = cursor}, "cursor: it belongs to a request with other"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.says);
    EXPECT_THAT(Pages(Engine(), c.request).front(), HasSubstr(c.says));
  }
}

}  // namespace
}  // namespace millrace::query
