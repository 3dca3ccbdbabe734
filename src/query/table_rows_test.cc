// The SELECT of a page, and cursors that fit one request alone.
#include "query/table_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

using ::testing::HasSubstr;

TEST(TableRows, APageIsASelect) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  const auto schema = arrow::schema({arrow::field("id", arrow::int64()), arrow::field("Country", arrow::utf8())});
  const auto sql = [&](const RowsRequest& request, std::int64_t rows_before = 0) {
    const auto text = RowsSql(*session, request, *schema, rows_before);
    return text.ok() ? *text : text.status().message();
  };
  EXPECT_EQ(sql({.table = "clicks"}), R"(SELECT "id", "Country" FROM "clicks" LIMIT 1001 OFFSET 0)");
  EXPECT_EQ(sql({.table = "clicks", .columns = {"country"}, .where = "id > 5 OR id < 2", .limit = 10}, 20),
            R"(SELECT "Country" FROM "clicks" WHERE (((id > 5) OR (id < 2))) LIMIT 11 OFFSET 20)");
  // Ties come in the order of what is shown.
  EXPECT_EQ(sql({.table = "clicks", .columns = {"id"}, .order_by = {"country desc", "ID"}}),
            R"(SELECT "id" FROM "clicks" ORDER BY "Country" DESC, "id", "id" LIMIT 1001 OFFSET 0)");
  struct Case {
    RowsRequest request;
    const char* says;
  };
  const std::vector<Case> cases = {
      {{.table = "clicks", .columns = {"contry"}}, "columns: no column 'contry' in clicks; did you mean 'Country'?"},
      {{.table = "clicks", .order_by = {"contry desc"}}, "order_by: no column 'contry' in clicks"},
      {{.table = "clicks", .order_by = {"id down"}}, "order_by: no column 'id down'"},
      {{.table = "clicks", .where = "id >"}, "where: "},
      {{.table = "clicks", .where = "true) UNION ALL SELECT 1, 'x' --"}, "where: "},
      {{.table = "clicks", .where = "id IN (SELECT 1)"}, "where: subqueries are not allowed"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.says);
    EXPECT_THAT(sql(c.request), HasSubstr(c.says));
  }
  // Two halves of a condition stay one.
  EXPECT_THAT(sql({.table = "clicks", .where = "id = 1) OR (id = 2"}),
              HasSubstr("WHERE (((id = 1) OR (id = 2))) LIMIT"));
}

TEST(TableRows, ACursorBelongsToOneRequest) {
  RowsRequest request{.table = "clicks", .columns = {"a", "b"}, .where = "a > 1", .order_by = {"a"}};
  request.cursor = CursorText(request, {.version = 41, .rows = 2000});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto cursor, ParseCursor(request));
  EXPECT_EQ(cursor.version, 41);
  EXPECT_EQ(cursor.rows, 2000);
  request.limit = 5;
  EXPECT_TRUE(ParseCursor(request).ok()) << "pages may differ in size";
  for (const auto& change : std::vector<std::function<void(RowsRequest&)>>{
           [](RowsRequest& r) { r.table = "click"; }, [](RowsRequest& r) { r.columns = {"ab"}; },
           [](RowsRequest& r) {
             r.columns = {"b", "a"};
           },
           [](RowsRequest& r) { r.where = "a > 2"; }, [](RowsRequest& r) { r.order_by = {"a desc"}; },
           [](RowsRequest& r) { r.order_by.clear(); }}) {
    RowsRequest other = request;
    change(other);
    EXPECT_THAT(ParseCursor(other).status().message(), HasSubstr("belongs to a request with other"));
  }
  for (const char* wrong : {"x", "-", "--", "1-2", "1-x-0", "-1-2-0", "1--2-0", "99999999999999999999-1-0", "1-2-0 "}) {
    SCOPED_TRACE(wrong);
    request.cursor = wrong;
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, ParseCursor(request));
  }
}

}  // namespace
}  // namespace millrace::query
