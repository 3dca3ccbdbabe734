// A statement as JSON, and the time that it may take.
#include "serve/sql_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/status_matchers.h"

namespace millrace::serve {
namespace {

using ::testing::HasSubstr;

TEST(SqlApi, AStatementComesWithItsParameters) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto call,
      ParseSqlCall(
          R"({"sql": "SELECT $1", "params": ["de", 5, 2.5, true, null], "timeout_ms": 250, "freshness": "committed"})"));
  EXPECT_EQ(call.request.sql, "SELECT $1");
  ASSERT_EQ(call.request.parameters.size(), 5u);
  EXPECT_EQ(call.request.parameters[0].name, "1");
  EXPECT_EQ(std::get<std::string>(call.request.parameters[0].value), "de");
  EXPECT_EQ(std::get<std::int64_t>(call.request.parameters[1].value), 5);
  EXPECT_EQ(std::get<double>(call.request.parameters[2].value), 2.5);
  EXPECT_EQ(std::get<bool>(call.request.parameters[3].value), true);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(call.request.parameters[4].value));
  EXPECT_EQ(call.timeout, std::chrono::milliseconds(250));
  EXPECT_EQ(call.request.freshness, query::Freshness::kCommitted);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto named, ParseSqlCall(R"({"sql": "SELECT $a", "params": {"a": 1}})"));
  EXPECT_EQ(named.request.parameters[0].name, "a");
  EXPECT_EQ(named.timeout, std::nullopt);
  EXPECT_EQ(named.request.freshness, query::Freshness::kHot);
}

TEST(SqlApi, WhatDoesNotFitIsNamed) {
  struct Case {
    const char* body;
    const char* says;
  };
  const std::vector<Case> cases = {
      {"", "not JSON"},
      {"SELECT 1", "not JSON"},
      {"[]", "must be a JSON object"},
      {"{}", "'sql' is missing"},
      {R"({"sql": 1})", "sql: a text"},
      {R"({"sq": "x"})", "unknown member 'sq'; did you mean 'sql'?"},
      {R"({"sql": "x", "params": 1})", "params: a list"},
      {R"({"sql": "x", "params": [[1]]})", "params: $1 is a list or an object"},
      {R"({"sql": "x", "params": {"a": {}}})", "params: $a is a list or an object"},
      {R"({"sql": "x", "params": [18446744073709551615]})", "params: 18446744073709551615 is beyond BIGINT"},
      {R"({"sql": "x", "timeout_ms": 0})", "timeout_ms: a whole number"},
      {R"({"sql": "x", "timeout_ms": 1.5})", "timeout_ms: a whole number"},
      {R"({"sql": "x", "timeout_ms": "5s"})", "timeout_ms: a whole number"},
      {R"({"sql": "x", "freshness": "warm"})", "freshness: hot or committed"},
      {R"({"sql": "x", "freshness": 1})", "freshness: hot or committed"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.body);
    const auto call = ParseSqlCall(c.body);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, call);
    EXPECT_THAT(call.status().message(), HasSubstr(c.says));
  }
  std::string many = "0";
  for (int i = 0; i < 1000; ++i) many += ",0";
  EXPECT_THAT(ParseSqlCall(R"({"sql": "x", "params": [)" + many + "]}").status().message(),
              HasSubstr("more than 1000"));
}

TEST(SqlApi, ADeadlineIsEitherStop) {
  std::stop_source outer;
  const Deadline waits(outer.get_token(), std::chrono::hours(1));
  EXPECT_FALSE(waits.token().stop_requested());
  outer.request_stop();
  EXPECT_TRUE(waits.token().stop_requested());
  EXPECT_FALSE(waits.passed());
  const Deadline passes({}, std::chrono::milliseconds(1));
  while (!passes.token().stop_requested()) std::this_thread::yield();
  EXPECT_TRUE(passes.passed());
  const Deadline none({}, std::nullopt);
  EXPECT_FALSE(none.token().stop_requested());
}

}  // namespace
}  // namespace millrace::serve
