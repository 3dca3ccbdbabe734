#include "pipeline/table_answers.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "base/nearest_name.h"
#include "delta/log/log_replay.h"
#include "pipeline/letter_document.h"
#include "pipeline/sql_tables.h"
#include "pipeline/table_documents.h"

namespace millrace::pipeline {

TableAnswers::TableAnswers(const Plan& plan, std::shared_ptr<objectstore::ObjectStore> lake, Options options)
    : plan_(plan),
      lake_(std::move(lake)),
      aggregates_(std::move(options.aggregates)),
      rows_max_(plan.config.serve ? plan.config.serve->answer_rows_max : std::numeric_limits<std::int64_t>::max()),
      routed_tables_(RoutedSqlTables(plan, lake_)),
      sql_({.tables = pipeline::SqlTables(plan, lake_, aggregates_),
            .more_tables = routed_tables_,
            .memory = std::move(options.memory),
            .num_threads = plan.config.limits.num_threads(),
            // They wait on the threads that answer other questions too.
            .statements_max = plan.config.serve ? std::max(1, plan.config.serve->concurrent_queries / 2) : 1,
            .sessions = std::move(options.sql_sessions),
            .watermark = std::move(options.watermark)}) {}

Result<query::Answer> TableAnswers::Query(const std::string& aggregate, query::AggregateRequest request,
                                          const std::stop_token& stop) {
  ++num_questions_;
  const auto found = aggregates_.find(aggregate);
  if (found == aggregates_.end()) {
    std::vector<std::string> names;
    for (const auto& [name, known] : aggregates_) names.push_back(name);
    return NotFound("no aggregate '{}'; there are: {}", aggregate, fmt::join(names, ", "));
  }
  if (plan_.config.serve) request.rows_max = rows_max_;
  return found->second->Ask(request, stop);
}

Result<query::Answer> TableAnswers::Sql(query::SqlRequest request, const std::stop_token& stop) {
  ++num_questions_;
  if (plan_.config.serve) request.rows_max = rows_max_;
  return sql_.Ask(request, stop);
}

Result<sql::StatementShape> TableAnswers::SqlShape(const std::string& sql, const std::stop_token& stop) {
  return sql_.Describe(sql, stop);
}

Result<std::vector<query::SqlTableShape>> TableAnswers::SqlTables(const std::stop_token& stop) {
  return sql_.Tables(stop);
}

Result<query::Answer> TableAnswers::Rows(query::RowsRequest request, const std::stop_token& stop) {
  ++num_questions_;
  request.limit = std::min(request.limit, rows_max_);
  return sql_.Rows(request, stop);
}

Result<boost::json::value> TableAnswers::History(const std::string& table, std::int64_t limit) const {
  ASSIGN_OR_RETURN(auto store, StoreOf(table));
  ASSIGN_OR_RETURN(const auto opened, delta::Table::Open(std::move(store)));
  return HistoryDocument(*opened, limit);
}

Result<boost::json::value> TableAnswers::Files(const std::string& table, std::optional<delta::TableVersion> version,
                                               const std::string& after, std::int64_t limit) const {
  ASSIGN_OR_RETURN(const auto store, StoreOf(table));
  delta::SnapshotPtr snapshot;
  if (version) {
    auto loaded = delta::LoadVersion(*store, *version);
    if (!loaded.ok()) return WithContext(loaded.status(), "version");
    snapshot = *std::move(loaded);
  } else {
    ASSIGN_OR_RETURN(snapshot, delta::LoadLatest(*store));
  }
  return FilesDocument(*snapshot, after, limit);
}

Result<boost::json::value> TableAnswers::DeadLetters(const std::string& reason, std::int64_t limit,
                                                     const std::stop_token& stop) const {
  const auto& tables = plan_.tables;
  const auto letters = std::find_if(tables.begin(), tables.end(),
                                    [](const auto& table) { return table.kind == config::TableKind::kDeadLetters; });
  MILLRACE_CHECK(letters != tables.end(), "a plan without a table of dead letters");
  ASSIGN_OR_RETURN(auto store, StoreOf(letters->name));
  const auto opened = delta::Table::Open(std::move(store));
  if (!opened.ok() && KindOf(opened.status()) == ErrorKind::kNotFound) {
    return Transient("table {} is not there yet: the first worker makes it", letters->name);
  }
  RETURN_NOT_OK(opened.status());
  ASSIGN_OR_RETURN(auto document, LettersDocument(**opened, reason, limit, stop));
  return document;
}

Result<std::shared_ptr<objectstore::ObjectStore>> TableAnswers::StoreOf(const std::string& table) const {
  std::vector<std::string> names;
  for (int t = 0; t < plan_.num_tables(); ++t) {
    const auto& known = plan_.tables[t];
    if (known.name == table) return OpenTableStore(plan_, t, lake_);
    if (known.final_table && known.final_table->name == table) return OpenFinalStore(plan_, t, lake_);
    names.push_back(known.name);
  }
  if (routed_tables_) {
    ASSIGN_OR_RETURN(const auto routed, routed_tables_({}));
    for (const auto& known : routed) {
      if (known.name != table) continue;
      ASSIGN_OR_RETURN(const auto opened, known.open());
      return opened->store();
    }
  }
  return NotFound("no table '{}'{}; there are: {}", table, DidYouMean(table, names), fmt::join(names, ", "));
}

}  // namespace millrace::pipeline
