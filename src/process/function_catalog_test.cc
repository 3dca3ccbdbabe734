#include "process/function_catalog.h"

#include <gtest/gtest.h>

#include "testing/status_matchers.h"

namespace millrace::process {
namespace {

TEST(FunctionCatalogTest, WellKnownFunctionsAreWhatDuckDbSays) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  for (const auto name : WellKnownFunctions()) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto* known, FactsOf(*session, name));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto* said, FactsByDuckDb(*session, name));
    ASSERT_NE(said, nullptr) << name;
    EXPECT_EQ(*known, *said) << name;
    EXPECT_NE(known, said) << name;
  }
}

TEST(FunctionCatalogTest, OthersAreAskedFor) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto* now, FactsOf(*session, "now"));
  EXPECT_TRUE(now->scalar);
  EXPECT_FALSE(now->consistent);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto* range, FactsOf(*session, "range"));
  EXPECT_TRUE(range->set_returning);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto* nobody, FactsOf(*session, "no_such_function"));
  EXPECT_EQ(nobody, nullptr);
}

}  // namespace
}  // namespace millrace::process
