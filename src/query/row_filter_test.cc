// Conditions over rows: what is taken out for the scan says the same as DuckDB, and never more than the condition.
#include "query/row_filter.h"

#include <arrow/array.h>
#include <gtest/gtest.h>

#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

using arrow::field;

std::shared_ptr<arrow::Schema> TheSchema() {
  return arrow::schema({field("id", arrow::int64()), field("Name", arrow::utf8()), field("d", arrow::float64()),
                        field("f", arrow::float32()), field("ts", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")),
                        field("day", arrow::date32()), field("m", arrow::decimal128(9, 2)),
                        field("st", arrow::struct_({field("x", arrow::int64())}))});
}

TEST(RowFilterTest, FindsTheSameRowsAsDuckDb) {
  const auto batch = testing::BatchFromJson(TheSchema(), R"([
    [1, "a", 1.5, 1.5, 1704067200000000, 19723, "1.50", {"x": 1}],
    [2, "b", NaN, 2.5, 1704153600000000, 19724, "2.50", {"x": 2}],
    [3, null, 3.5, null, null, null, "3.50", null],
    [4, "5", -1.0, 4.5, 1704369600000000, 19726, null, {"x": 4}]])");
  struct Case {
    std::string where;
    std::vector<std::int64_t> ids;
    std::size_t implied;  // Comparisons for the scan.
    bool whole;
  };
  const std::vector<Case> cases = {
      {"id > 2", {3, 4}, 1, true},
      {"2 < ID", {3, 4}, 1, true},
      {"id >= 2 AND id <> 3", {2, 4}, 2, true},
      {"id BETWEEN 2 AND 1 + 2", {2, 3}, 2, true},
      {"id IN (1, 4, 9)", {1, 4}, 1, true},
      {"id > 1.5", {2, 3, 4}, 0, false},  // Compared as decimals.
      {"id > 1.0", {2, 3, 4}, 1, true},
      {"name = 'a'", {1}, 1, true},
      {"name = 5", {4}, 0, false},  // The column is cast, not the constant … and fails on 'a'.
      {"name IS NULL", {3}, 1, true},
      {"NOT name IS NOT NULL", {3}, 0, false},
      {"d > 2", {2, 3}, 1, true},  // NaN is above every number.
      {"d < 0 OR id = 1", {1, 4}, 0, false},
      {"f = 2.5", {2}, 0, false},
      {"ts >= '2024-01-02'", {2, 4}, 1, true},
      {"ts > TIMESTAMP '2024-01-02' - INTERVAL 1 DAY AND length(name) = 1", {2, 4}, 1, false},
      {"day = DATE '2024-01-04'", {4}, 1, true},
      {"day < TIMESTAMP '2024-01-01 12:00:00'", {1}, 0, false},
      {"m >= 2.5", {2, 3}, 1, true},
      {"m = 2.505", {}, 0, false},
      {"id = NULL", {}, 0, false},
      {"st.x = 2", {2}, 0, false},
      {"true", {1, 2, 3, 4}, 0, false},
      {"id = id AND id > 3 -- a comment", {4}, 1, false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.where);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto filter, RowFilter::Make(c.where, TheSchema()));
    EXPECT_EQ(filter->implied().size(), c.implied);
    EXPECT_EQ(filter->is_implied_whole(), c.whole);
    const auto kept = filter->Apply(batch);
    if (c.where == "name = 5") {
      MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, kept);
      continue;
    }
    MILLRACE_ASSERT_OK(kept);
    std::vector<std::int64_t> ids;
    for (std::int64_t i = 0; i < (*kept)->num_rows(); ++i) {
      ids.push_back(static_cast<const arrow::Int64Array&>(*(*kept)->column(0)).Value(i));
    }
    EXPECT_EQ(ids, c.ids);
    // The scan's reading of its part keeps every one of those rows, and no others if it is the whole.
    std::vector<std::int64_t> scanned;
    for (std::int64_t i = 0; i < batch->num_rows(); ++i) {
      bool all = true;
      for (const auto& comparison : filter->implied()) {
        MILLRACE_ASSERT_OK_AND_ASSIGN(const auto matches,
                                      delta::Matches(batch->GetColumnByName(comparison.column), comparison));
        all &= matches->Value(i);
      }
      if (all) scanned.push_back(i + 1);
    }
    if (c.whole) {
      EXPECT_EQ(scanned, ids);
    }
    EXPECT_TRUE(std::includes(scanned.begin(), scanned.end(), ids.begin(), ids.end()));
  }
}

TEST(RowFilterTest, SaysWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> cases = {{"nmae = 'a'", "did you mean 'Name'"},
                                                                  {"id >", "syntax error"},
                                                                  {"id = 1; DROP TABLE x", "syntax error"},
                                                                  {"id IN (SELECT 1)", "subqueries"},
                                                                  {"st > 5", "where"},
                                                                  {"nofunction(id)", "nofunction"},
                                                                  {"count(*) > 1", "where"},
                                                                  {"id = 1) OR (id = 2", "where"}};
  for (const auto& [where, want] : cases) {
    const auto filter = RowFilter::Make(where, TheSchema());
    if (where == "id = 1) OR (id = 2" && filter.ok()) continue;  // Means what it says: one or the other.
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, filter);
    EXPECT_NE(filter.status().message().find(want), std::string::npos) << where << ": " << filter.status();
  }
}

}  // namespace
}  // namespace millrace::query
