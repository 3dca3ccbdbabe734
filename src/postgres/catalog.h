/// What clients ask about tables instead of asking the tables: pg_catalog, information_schema and the functions beside
/// them, over the tables that SQL can name.
///
/// It is a database of DuckDB's that holds the shapes of the tables and nothing of their rows. Statements go through
/// the same gate as all SQL here, with the catalog's relations and functions let through beside DuckDB's.
///
/// A table's number (oid) is a hash of its name, from 16384 to 2^31: the same in each process, and as long as the name.
/// Of two names with one hash the later in the alphabet has the next number that is free.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/memory_budget.h"
#include "base/status.h"
#include "postgres/catalog_sql.h"
#include "query/aggregate_query.h"
#include "query/sql_engine.h"
#include "sql/session_pool.h"

namespace millrace::postgres {

/// The numbers of tables, in the order of their names.
std::vector<std::uint32_t> TableOids(const std::vector<std::string>& names);

/// Any thread. Two statements run at once, others wait for their turn.
class Catalog {
 public:
  struct Options {
    /// The tables that there are, by name: asked again after a second. Its errors are the statement's.
    std::function<Result<std::vector<query::SqlTableShape>>(const std::stop_token&)> tables;
    std::shared_ptr<MemoryBudget> memory{};  ///< What its sessions are drawn from; null: nothing.
  };
  using Settings = std::map<std::string, std::string, std::less<>>;

  explicit Catalog(Options options);
  ~Catalog();

  /// Who asks, as far as answers have it in them.
  struct Caller {
    CatalogCaller names;
    std::uint32_t process = 0;
    const Settings* settings = nullptr;  ///< Outlives the call.
  };

  /// `sql` as ReadCatalogSql() has made it. Errors as of query::SqlEngine::Ask().
  Result<query::Answer> Ask(const std::string& sql, const std::vector<sql::Parameter>& parameters, const Caller& caller,
                            const std::stop_token& stop);
  /// What it would take and give.
  Result<sql::StatementShape> Shape(const std::string& sql, const Caller& caller, const std::stop_token& stop);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::postgres
