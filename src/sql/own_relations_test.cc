#include "sql/own_relations.h"

#include <arrow/scalar.h>
#include <gtest/gtest.h>

#include "sql/sql_session.h"
#include "testing/status_matchers.h"

namespace millrace::sql {
namespace {

TEST(OwnRelations, AreTheViewsThatDuckDbFindsWithoutASchema) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, SqlSession::Make());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto views,
                                session->Query("SELECT view_name, schema_name IN ('main', 'pg_catalog') AS found "
                                               "FROM duckdb_views() WHERE internal ORDER BY ALL"));
  int found = 0;
  for (std::int64_t i = 0; i < views->num_rows(); ++i) {
    const auto name = views->column(0)->GetScalar(i).ValueOrDie()->ToString();
    const bool is_found = views->column(1)->GetScalar(i).ValueOrDie()->ToString() == "true";
    EXPECT_EQ(IsOwnRelation(name), is_found) << name;
    EXPECT_EQ(session->Describe("SELECT * FROM " + name).ok(), is_found) << name;
    found += is_found ? 1 : 0;
  }
  EXPECT_EQ(found, 36);
}

TEST(OwnRelations, AreTheSameInAnyCaseAndNoOthers) {
  EXPECT_TRUE(IsOwnRelation("PG_Class"));
  EXPECT_FALSE(IsOwnRelation("pg_orders"));
  EXPECT_FALSE(IsOwnRelation(""));
}

}  // namespace
}  // namespace millrace::sql
