/// What a process answers about the pipeline's tables: aggregates, SQL, rows, commits and files. The API of a worker
/// and that of a process that only answers are both made of it.
#pragma once

#include <atomic>
#include <boost/json/value.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/memory_budget.h"
#include "base/status.h"
#include "objectstore/object_store.h"
#include "pipeline/plan.h"
#include "query/sql_engine.h"

namespace millrace::pipeline {

/// Any thread. What it is given outlives it.
class TableAnswers {
 public:
  struct Options {
    std::map<std::string, query::AggregateReader*> aggregates;  ///< By name.
    std::shared_ptr<query::AnswerMemory> memory;
    MemoryShare sql_sessions{};
    /// Of answers to SQL that name no aggregate; null: nobody here knows it.
    std::function<std::optional<UnixMicros>()> watermark{};
  };
  TableAnswers(const Plan& plan, std::shared_ptr<objectstore::ObjectStore> lake, Options options);

  /// As serve::Backend has them; rows are at most serve.limits.rows.
  Result<query::Answer> Query(const std::string& aggregate, query::AggregateRequest request,
                              const std::stop_token& stop);
  Result<query::Answer> Sql(query::SqlRequest request, const std::stop_token& stop);
  Result<sql::StatementShape> SqlShape(const std::string& sql, const std::stop_token& stop);
  Result<std::vector<query::SqlTableShape>> SqlTables(const std::stop_token& stop);
  Result<query::Answer> Rows(query::RowsRequest request, const std::stop_token& stop);
  Result<boost::json::value> History(const std::string& table, std::int64_t limit) const;
  Result<boost::json::value> Files(const std::string& table, std::optional<delta::TableVersion> version,
                                   const std::string& after, std::int64_t limit) const;
  /// LettersDocument() of the pipeline's dead letters. kTransient: no worker has made their table yet.
  Result<boost::json::value> DeadLetters(const std::string& reason, std::int64_t limit,
                                         const std::stop_token& stop) const;

  /// A question was answered elsewhere.
  void NoteQuestion() { ++num_questions_; }

  /// Questions so far.
  std::int64_t num_questions() const { return num_questions_; }

 private:
  Result<std::shared_ptr<objectstore::ObjectStore>> StoreOf(const std::string& table) const;

  const Plan& plan_;
  const std::shared_ptr<objectstore::ObjectStore> lake_;
  const std::map<std::string, query::AggregateReader*> aggregates_;
  const std::int64_t rows_max_;
  const std::function<Result<std::vector<query::SqlTable>>(const std::stop_token&)> routed_tables_;
  query::SqlEngine sql_;
  std::atomic<std::int64_t> num_questions_{0};
};

}  // namespace millrace::pipeline
