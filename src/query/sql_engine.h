/// SQL over the tables of a pipeline: one SELECT, answered from one snapshot of each table that it names.
///
/// Tables of events, dead letters and whatever else is committed row by row are read as they lie in the lake: only the
/// columns that the statement uses, without the files and row groups that its conditions exclude, as a stream. An
/// aggregate is a table of merged rows, one per window and keys, with its measures; what is hot is in them as in any
/// other answer (aggregate_reader.h). Whoever speaks HTTP, or another protocol, stands on top of this.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/memory_budget.h"
#include "base/status.h"
#include "delta/table.h"
#include "model/topic_partition.h"
#include "query/aggregate_query.h"
#include "query/aggregate_reader.h"
#include "query/answer_memory.h"
#include "query/table_rows.h"
#include "sql/session_pool.h"

namespace millrace::query {

/// A table that SQL can name. Either an aggregate, or one whose rows are committed.
struct SqlTable {
  std::string name;
  AggregateReader* aggregate = nullptr;  ///< Outlives the engine; the rest is then not looked at.
  /// Called when the table is named and not open; the engine follows its log on its own.
  std::function<Result<std::shared_ptr<delta::Table>>()> open{};
  /// Next offset per partition that a snapshot of the table holds; null: it has none of its own.
  std::function<model::OffsetVector(const delta::Snapshot&)> next_offsets{};
};

struct SqlRequest {
  /// One SELECT, or EXPLAIN [ANALYZE] of one, as sql_question.h has it. EXPLAIN answers a row for each table: what
  /// would be read, or was.
  std::string sql;
  std::vector<sql::Parameter> parameters{};
  std::int64_t rows_max = 1'000'000;  ///< Beyond it is kTooLarge.
  Freshness freshness = Freshness::kHot;
};

/// A table as statements see it.
struct SqlTableShape {
  std::string name;
  bool is_aggregate = false;
  std::vector<sql::ResultColumn> columns;
};

/// Tables stay open from statement to statement, the last kOpenTablesMax that were asked for.
inline constexpr std::size_t kOpenTablesMax = 64;

/// Any thread. Two statements run at once (one, if answers have less than 32 MiB), others wait for their turn.
class SqlEngine {
 public:
  struct Options {
    std::vector<SqlTable> tables;  ///< No two of one name, case ignored.
    /// Those that came since, and may be missing in `tables`: asked when a statement names one that is not known. Those
    /// that are known by now may be among them. Its errors are the statement's. Null: none come. Any thread.
    std::function<Result<std::vector<SqlTable>>(const std::stop_token&)> more_tables{};
    std::shared_ptr<AnswerMemory> memory;  ///< A statement draws half of it, at least 16 MiB if there is so much.
    int num_threads = 1;                   ///< Of one statement.
    int statements_max = 16;               ///< That run or wait for their turn; one more is kTransient.
    MemoryShare sessions{};                ///< What idle sessions are drawn from.
    std::function<std::optional<UnixMicros>()> watermark{};  ///< Of answers that name no aggregate; null: none.
  };

  explicit SqlEngine(Options options);
  ~SqlEngine();

  /// Answer::tables says what was read of each table that the statement names; as_of.watermark is the lowest of its
  /// aggregates'. kInvalidInput: the statement, with its
  /// place. kNotFound: a table, by name, with those that there are. kTooLarge: more rows, or memory, than it may have.
  /// kCancelled soon after `stop` was requested. Errors of the store, and of aggregates, as they are.
  Result<Answer> Ask(const SqlRequest& request, const std::stop_token& stop);

  /// What the statement would take and give, without reading rows. Errors as of Ask().
  Result<sql::StatementShape> Describe(const std::string& sql, const std::stop_token& stop);

  /// The tables that there are, by name, with their columns. One that cannot be opened now is left out. A table that
  /// is not open is looked at once a minute at most. kCancelled soon after `stop` was requested: what was found until
  /// then is known the next time.
  Result<std::vector<SqlTableShape>> Tables(const std::stop_token& stop);

  /// A page of the committed rows of one table at one version. kNotFound: the table. kInvalidInput: a parameter, by
  /// name; a version that is not there; an aggregate. Else as Ask().
  Result<Answer> Rows(const RowsRequest& request, const std::stop_token& stop);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::query
