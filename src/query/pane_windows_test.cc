// Windows that overlap, put together of panes: DuckDB assigns each row to all of its windows, and must come to the
// same.
#include "query/pane_windows.h"

#include <arrow/array.h>
#include <arrow/scalar.h>
#include <arrow/table.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "sql/sql_session.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

model::AggregateDefinition Definition(const model::Window& window) {
  model::AggregateDefinition d;
  d.name = "a";
  d.window = window;
  d.keys = {{"k", arrow::utf8()}};
  d.states = {{"n", arrow::int64(), "count"}, {"s", arrow::decimal128(38, 0), "sum"}, {"hi", arrow::int64(), "max"}};
  return d;
}

class PaneWindowsTest : public ::testing::Test {
 protected:
  void SetUp() override { MILLRACE_ASSERT_OK_AND_ASSIGN(session_, sql::SqlSession::Make()); }

  std::int64_t Below(std::int64_t n) { return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(n)); }

  // Partial rows of panes around 1970, several of one pane and key, as many epochs leave them.
  std::shared_ptr<arrow::RecordBatch> RandomPanes(const model::AggregateDefinition& d, int num_panes, int num_rows) {
    std::string rows;
    for (int r = 0; r < num_rows; ++r) {
      const UnixMicros pane = d.window.StartOf(d.window.pane_us * (Below(num_panes) - num_panes / 2));
      const std::string key = Below(4) == 0 ? "null" : fmt::format("\"{}\"", Below(3));
      const std::int64_t n = Below(5);
      rows += fmt::format(R"({}[{}, {}, {}, {}, {}, {}, {}])", r == 0 ? "" : ",", pane, d.window.EndOf(pane), key, n,
                          Below(6) == 0 ? "null" : fmt::format("\"{}\"", Below(100) - 50),
                          Below(6) == 0 ? "null" : std::to_string(Below(100)), n);
    }
    return testing::BatchFromJson(model::PartialSchema(d), "[" + rows + "]");
  }

  std::string Cell(const std::string& sql) {
    const auto table = session_->Query(sql);
    if (!table.ok()) return table.status().ToString();
    return (*table)->column(0)->GetScalar(0).ValueOrDie()->ToString();
  }

  std::mt19937_64 random_{1};
  std::unique_ptr<sql::SqlSession> session_;
};

TEST_F(PaneWindowsTest, AreThoseThatDuckDbAssignsEachRowTo) {
  struct Case {
    model::Window window;
    int num_panes;
  };
  int num_windows = 0;
  for (const Case& c : {Case{model::Window::Hopping(10, 60), 40}, Case{model::Window::Hopping(7, 7), 10},
                        Case{model::Window::Hopping(10, 10 * 37), 60}, Case{model::Window::Hopping(1, 1000), 50},
                        Case{model::Window::Cumulating(10, 60), 40}, Case{model::Window::Cumulating(7, 7), 10},
                        Case{model::Window::Cumulating(10, 10 * 24), 100}}) {
    for (int round = 0; round < 6; ++round) {
      const auto d = Definition(c.window);
      const auto all = RandomPanes(d, c.num_panes, 300);
      FoldRange range;
      const std::int64_t span = c.num_panes * c.window.pane_us;
      if (Below(3) > 0) range.from = Below(span) - span / 2;
      if (Below(3) > 0) range.to = range.from.value_or(-span / 4) + Below(span / 2);
      SCOPED_TRACE(fmt::format("{} round {} from {} to {}", c.window.ToText(), round, range.from.value_or(-1),
                               range.to.value_or(-1)));
      // Only the panes that are asked for: what lies beyond must not be needed.
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto panes, Fold(d, d, PanesOf(c.window, range), {all}));
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto named, WindowsOfPanes(d, range, panes));
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto windows, WithWindowBounds(d, named));
      MILLRACE_ASSERT_OK(session_->Register("panes", all->schema(), {all}));
      MILLRACE_ASSERT_OK(session_->Register("windows", windows->schema(), {windows}));
      const bool hops = c.window.kind == model::Window::Kind::kHopping;
      const std::string assigned =
          hops ? fmt::format("SELECT p - i * {0} AS w, p - i * {0} + {1} AS e, * FROM rows, range({2}) AS t(i)",
                             c.window.pane_us, c.window.size_us, c.window.size_us / c.window.pane_us)
               : fmt::format(
                     "SELECT f AS w, f + (i + 1) * {0} AS e, * FROM (SELECT *, p - ((p % {1}) + {1}) % {1} AS f "
                     "FROM rows), range({2}) AS t(i) WHERE f + i * {0} >= p",
                     c.window.pane_us, c.window.size_us, c.window.size_us / c.window.pane_us);
      const std::string want = fmt::format(
          "WITH rows AS (SELECT epoch_us(window_start) AS p, * FROM panes), assigned AS ({}) "
          "SELECT w, e, k, sum(n)::BIGINT AS n, sum(s)::HUGEINT AS s, max(hi) AS hi, sum(_rows)::BIGINT AS r "
          "FROM assigned WHERE w >= {} AND w < {} GROUP BY w, e, k",
          assigned, range.from.value_or(-1'000'000), range.to.value_or(1'000'000));
      const std::string got =
          "SELECT epoch_us(window_start) AS w, epoch_us(window_end) AS e, k, n, s::HUGEINT AS s, hi, _rows AS r FROM "
          "windows";
      EXPECT_EQ(Cell(fmt::format("SELECT count(*) FROM (({}) EXCEPT ALL ({}))", want, got)), "0");
      EXPECT_EQ(Cell(fmt::format("SELECT count(*) FROM (({}) EXCEPT ALL ({}))", got, want)), "0");
      num_windows += static_cast<int>(windows->num_rows());
    }
  }
  EXPECT_GT(num_windows, 1000);
}

// A window begins before its first event, and stands in the answer as soon as one of its panes has a row.
TEST_F(PaneWindowsTest, OneEventIsInEachOfItsWindows) {
  const auto d = Definition(model::Window::Hopping(10, 30));
  const auto one = testing::BatchFromJson(model::PartialSchema(d), R"([[20, 30, "a", 1, "5", 7, 1]])");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto named, WindowsOfPanes(d, {}, one));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto windows, WithWindowBounds(d, named));
  ASSERT_EQ(windows->num_rows(), 3);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto last, WindowsOfPanes(d, {.from = 11, .to = 21}, one));
  EXPECT_EQ(last->num_rows(), 1);
  const FoldRange any = PanesOf(d.window, {.from = INT64_MIN, .to = INT64_MAX});
  EXPECT_EQ(any.from, model::kWindowsBegin);
  EXPECT_GE(any.to, model::kWindowsEnd);
  const FoldRange panes = PanesOf(d.window, {.from = 11, .to = 21});
  EXPECT_EQ(panes.from, 11);
  EXPECT_EQ(panes.to, 41);
}

TEST_F(PaneWindowsTest, TakeNoMoreThanTheyMayAndEndWhenNobodyWaits) {
  const auto d = Definition(model::Window::Hopping(1, 1000));
  const auto panes = RandomPanes(d, 50, 300);
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, WindowsOfPanes(d, {}, panes, {.bytes_max = 4096}));
  std::stop_source stopped;
  stopped.request_stop();
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, WindowsOfPanes(d, {}, panes, {.stop = stopped.get_token()}));
}

}  // namespace
}  // namespace millrace::query
