/// What the tests of sessions and of the server ask.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "serve/backend.h"
#include "sql/sql_session.h"

namespace millrace::postgres {

// Answers SQL with DuckDB alone; all else is not asked for.
class SqlBackend : public serve::Backend {
 public:
  SqlBackend() : sql_(*sql::SqlSession::Make()) {}

  Result<query::Answer> Sql(const query::SqlRequest& request, const std::stop_token& stop) override {
    asked.push_back(request);
    if (stop.stop_requested()) return Cancelled("stopped");
    ASSIGN_OR_RETURN(auto result, sql_->Run(request.sql, request.parameters, {}, stop));
    query::Answer answer;
    answer.rows = std::move(result.rows);
    answer.columns = std::move(result.columns);
    answer.tables.emplace();
    answer.held = std::make_shared<int>();
    answer.missing = missing;
    return answer;
  }
  Result<sql::StatementShape> SqlShape(const std::string& sql, const std::stop_token&) override {
    return sql_->Shape(sql);
  }
  Result<std::vector<query::SqlTableShape>> SqlTables(const std::stop_token&) override { return tables; }
  Result<boost::json::value> Tables() override { return NotFound("not asked for"); }
  Result<boost::json::value> Table(const std::string&) override { return NotFound("not asked for"); }
  Result<boost::json::value> Aggregates() override { return NotFound("not asked for"); }
  Result<query::Answer> Query(const std::string&, const query::AggregateRequest&, const std::stop_token&) override {
    return NotFound("not asked for");
  }
  Result<query::Answer> Rows(const query::RowsRequest&, const std::stop_token&) override {
    return NotFound("not asked for");
  }
  Result<boost::json::value> History(const std::string&, std::int64_t) override { return NotFound("not asked for"); }
  Result<boost::json::value> Files(const std::string&, std::optional<delta::TableVersion>, const std::string&,
                                   std::int64_t) override {
    return NotFound("not asked for");
  }
  Result<boost::json::value> Pipeline() override { return NotFound("not asked for"); }
  Result<boost::json::value> Lag() override { return NotFound("not asked for"); }
  Result<boost::json::value> DeadLetters(const std::string&, std::int64_t, const std::stop_token&) override {
    return NotFound("not asked for");
  }
  Result<boost::json::value> CostUsage() override { return NotFound("not asked for"); }
  std::string Metrics() override { return {}; }
  bool Ready() override { return true; }
  Pulse Feel() override { return {}; }

  std::vector<query::SqlRequest> asked;
  std::vector<query::SqlTableShape> tables;
  std::vector<query::MissingSource> missing;  // Of its answers.

 private:
  std::unique_ptr<sql::SqlSession> sql_;
};

}  // namespace millrace::postgres
