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
/// calling thread unless it is told to use more, in UTC, and holds no data but the relations registered in it.
#pragma once

#include <arrow/io/interfaces.h>
#include <arrow/record_batch.h>
#include <arrow/table.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
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
/// count(*) any one). Called once for each time that the statement reads the relation, on one of its threads, and so is
/// the reader, on one at a time.
using OpenRows = std::function<Result<std::shared_ptr<arrow::RecordBatchReader>>(const std::vector<int>& columns)>;

/// What has been read of a relation of Parquet files, which DuckDB's threads count: complete once the statement is.
struct ParquetCounts {
  std::mutex mutex;             ///< Guards the rest.
  std::set<int> columns;        ///< That were asked for, by number.
  std::int64_t files = 0;       ///< That were opened, each once.
  std::int64_t bytes = 0;       ///< Size of these files, whose columns need not all have been read.
  std::int64_t row_groups = 0;  ///< Of these files. What a statement reads twice counts twice, here and below.
  std::int64_t row_groups_read = 0;
  std::int64_t rows = 0;  ///< That were handed on: those that satisfy the conditions which reached the reader.
};

/// A relation that DuckDB reads from Parquet files itself, which is several times faster than a stream of batches:
/// texts stay indices into their dictionary, and conditions, joins and top-k that come up while it runs spare pages.
struct ParquetFiles {
  struct File {
    std::int64_t size = 0;                    ///< Bytes.
    std::vector<std::size_t> constants = {};  ///< Which of `constants` its rows have.
  };
  /// A column that has one value in all rows of a file, which is then not looked for in the file.
  struct Constant {
    int column = 0;
    std::shared_ptr<arrow::Array> value;  ///< Of the column's type, of one element.
  };

  std::shared_ptr<arrow::Schema> schema;
  /// What the files call each column, whatever the case. Of files that do not have one it is null.
  std::vector<std::string> stored_names;
  std::vector<File> files;
  std::vector<Constant> constants{};
  /// Opens a file, by number. Any thread, several at once; so is what it returns.
  std::function<Result<std::shared_ptr<arrow::io::RandomAccessFile>>(std::size_t file)> open;
  bool is_far = false;                     ///< Each read is a request over a network: few large ones are better.
  std::optional<std::int64_t> num_rows{};  ///< About how many, for the order of joins.
  std::shared_ptr<ParquetCounts> counts{};
};

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

/// Not thread-safe; may be moved between threads. A database of its own: takes 8 ms to make and 2.6 MB, so keep it.
class SqlSession {
 public:
  /// `memory_bytes`: what a query may sort or group; nothing spills to disk. DuckDB needs some 4 MiB to do anything.
  /// `num_threads`: that a statement runs on, the calling one among them.
  static Result<std::unique_ptr<SqlSession>> Make(std::int64_t memory_bytes = std::int64_t{1} << 30,
                                                  int num_threads = 1);
  ~SqlSession();

  /// `name` means these batches (all of `schema`) in every later query, until registered again.
  Status Register(const std::string& name, std::shared_ptr<arrow::Schema> schema,
                  std::vector<std::shared_ptr<arrow::RecordBatch>> batches);

  /// The same for rows that are not there yet. `num_rows`: about how many, for the order of joins; nullopt: not known.
  Status RegisterStream(const std::string& name, std::shared_ptr<arrow::Schema> schema, OpenRows open,
                        std::optional<std::int64_t> num_rows = std::nullopt);
  /// The same for rows of Parquet files. Columns are numbers, texts, bytes, times, dates, decimals, booleans; nested
  /// ones must not be read. What a statement does with files that are not as this says, or for which its memory does
  /// not do: it fails, and ReadingFailed() says so.
  Status RegisterParquet(const std::string& name, ParquetFiles files);
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

  /// Whether the last Run() failed while it read Parquet files, or by lack of memory: with streams in their place,
  /// which take less and can say what is wrong with a file, it may fare better.
  bool ReadingFailed() const;

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
