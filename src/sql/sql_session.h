/// DuckDB behind one header: Arrow batches in, SQL, Arrow batches out. No type of DuckDB's leaves this folder.
///
/// Relations are scanned where they lie: numbers and strings are not copied, and only the columns that a query names
/// are looked at. Statements stay prepared, so running the same text over another batch skips parsing and planning.
///
/// Beside DuckDB's functions there is millrace_avg(sum HUGEINT, count BIGINT, scale INTEGER) -> DOUBLE: the average of
/// `count` values DECIMAL(p, scale) (integers: 0) whose unscaled sum is `sum`, bit for bit what DuckDB's avg() of
/// BIGINT, HUGEINT and wide DECIMAL gives (it divides in long double, which SQL cannot say). Null when count is 0.
///
/// Others read sketches, whose bytes they take as BLOB; bytes that are none fail the query:
///   millrace_hll_estimate(BLOB) -> BIGINT                of a sketch/distinct_sketch.h
///   millrace_frequent_top(BLOB, BIGINT) -> VARCHAR[]     of a sketch/frequent_items.h, the most frequent ones
///   millrace_kll_numbers(BLOB, DOUBLE[]) -> DOUBLE[]     of a sketch/quantile_sketch.h, the values at these shares
///   millrace_kll_instants(BLOB, DOUBLE[]) -> TIMESTAMPTZ[], millrace_kll_dates(BLOB, DOUBLE[]) -> DATE[]
/// These are for people too, in measures and transforms, over sets that are sketch/theta_sketch.h:
///   theta_estimate(BLOB) -> BIGINT                       how many values the set has
///   theta_union(BLOB, BLOB) -> BLOB, theta_intersect, theta_difference (in the first and not in the second)
/// theta_sketch(any) -> BLOB is an aggregate function by name and type, for planning; to run it fails the query.
///
/// Every session is closed to files and network (enable_external_access=false, lock_configuration=true), runs on the
/// calling thread (threads=1) in UTC, and holds no data but the relations registered in it.
#pragma once

#include <arrow/record_batch.h>
#include <arrow/table.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"

namespace millrace::sql {

/// One column of a query's result, with DuckDB's own name for its type ("DECIMAL(38,2)", "TIMESTAMP WITH TIME ZONE").
struct ResultColumn {
  std::string name;
  std::string duckdb_type;
};

/// The rows of a relation that are made when a statement reads them: those columns alone, by number, in that order (for
/// count(*) any one). Called on the thread of the
/// statement, once for each time that it reads the relation, and so is the reader.
using OpenRows = std::function<Result<std::shared_ptr<arrow::RecordBatchReader>>(const std::vector<int>& columns)>;

/// What stands for a parameter of a statement: NULL, or as the alternative says.
struct Parameter {
  std::string name;  ///< "1" for $1 and for the first ?, "country" for $country.
  std::variant<std::monostate, bool, std::int64_t, double, std::string> value{};
};

/// A result beyond these is kTooLarge, as soon as that is known.
struct ResultLimits {
  std::int64_t rows_max = std::numeric_limits<std::int64_t>::max();
  std::int64_t bytes_max = std::numeric_limits<std::int64_t>::max();
};

struct StatementResult {
  std::shared_ptr<arrow::Table> rows;
  std::vector<ResultColumn> columns;
};

/// What a statement takes and gives, as far as that is known before it has values: a type that is not is empty.
struct StatementShape {
  std::vector<ResultColumn> parameters;  ///< Named as Parameter::name is.
  std::vector<ResultColumn> columns;
};

/// Not thread-safe; may be moved between threads. A database of its own: costs some 15 ms to make, so keep it.
class SqlSession {
 public:
  /// `memory_bytes`: what a query may sort or group; nothing spills to disk. DuckDB needs some 4 MiB to do anything.
  static Result<std::unique_ptr<SqlSession>> Make(std::int64_t memory_bytes = std::int64_t{1} << 30);
  ~SqlSession();

  /// `name` means these batches (all of `schema`) in every later query, until registered again.
  Status Register(const std::string& name, std::shared_ptr<arrow::Schema> schema,
                  std::vector<std::shared_ptr<arrow::RecordBatch>> batches);

  /// The same for rows that are not there yet. `num_rows`: about how many, for the order of joins; nullopt: not known.
  Status RegisterStream(const std::string& name, std::shared_ptr<arrow::Schema> schema, OpenRows open,
                        std::optional<std::int64_t> num_rows = std::nullopt);
  /// `name` means nothing any more.
  void Forget(const std::string& name);

  /// Runs one statement. The result's Arrow types are DuckDB's export: HUGEINT becomes decimal128(38,0), timestamps
  /// are timestamp[us] (with "UTC" for TIMESTAMPTZ), strings utf8.
  /// kInvalidInput with DuckDB's message, which names the place, when the SQL or a value in it is at fault; kTooLarge
  /// when it needs more memory than it may; kCancelled soon after `stop` was requested, on whatever thread.
  Result<std::shared_ptr<arrow::Table>> Query(const std::string& sql, const std::stop_token& stop = {});

  /// Runs one SELECT of somebody else's: with parameters, within limits, and not kept prepared. Whether it may be run
  /// is the caller's to know. kInvalidInput also: a parameter without a value, or a value without a parameter. Errors
  /// of a stream that it reads come out as they are; else as Query().
  Result<StatementResult> Run(const std::string& select, const std::vector<Parameter>& parameters,
                              const ResultLimits& limits, const std::stop_token& stop = {});

  /// What one SELECT of somebody else's takes and gives, without running it; not kept prepared. Errors as of Run().
  Result<StatementShape> Shape(const std::string& select);

  /// Names and types of a SELECT's columns, without running it.
  Result<std::vector<ResultColumn>> Describe(const std::string& sql);

  /// DuckDB's parse tree as JSON (json_serialize_sql), for one SELECT. kInvalidInput names the place.
  Result<std::string> ParseToJson(const std::string& select);
  /// The SQL text of such a tree.
  Result<std::string> JsonToSql(const std::string& tree);

 private:
  class Impl;
  explicit SqlSession(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Where byte `offset` of `sql` is, for messages: "line 2 column 7", both from 1.
std::string PlaceOf(std::string_view sql, std::size_t offset);

/// "name" with its quotes doubled, as an SQL identifier; 'text' likewise as a string literal.
std::string QuoteIdentifier(std::string_view name);
std::string QuoteLiteral(std::string_view text);

}  // namespace millrace::sql
