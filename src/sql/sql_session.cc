#include "sql/sql_session.h"

#include <arrow/array.h>
#include <arrow/array/util.h>
#include <arrow/c/bridge.h>
#include <arrow/extension_type.h>
#include <arrow/scalar.h>
#include <arrow/util/byte_size.h>
#include <duckdb.h>

#include <algorithm>
#include <cmath>
#include <list>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/ascii_case.h"
#include "base/yield_to_others.h"
#include "sql/duckdb_handle_internal.h"
#include "sql/parquet_scans_internal.h"
#include "sql/sketch_functions_internal.h"
#include "sql/type_text_internal.h"

namespace millrace::sql {

namespace {

// Statements kept prepared. A shard runs a handful over and over; ad-hoc queries push the oldest out.
constexpr std::size_t kPreparedMax = 64;

using OwnedConfig = Owned<duckdb_config, duckdb_destroy_config>;
using OwnedDatabase = Owned<duckdb_database, duckdb_close>;
using OwnedConnection = Owned<duckdb_connection, duckdb_disconnect>;
using OwnedPrepared = Owned<duckdb_prepared_statement, duckdb_destroy_prepare>;
using OwnedPending = Owned<duckdb_pending_result, duckdb_destroy_pending>;
using OwnedChunk = Owned<duckdb_data_chunk, duckdb_destroy_data_chunk>;
using OwnedType = Owned<duckdb_logical_type, duckdb_destroy_logical_type>;
using OwnedArrowType = Owned<duckdb_arrow_converted_schema, duckdb_destroy_arrow_converted_schema>;
using OwnedArrowOptions = Owned<duckdb_arrow_options, duckdb_destroy_arrow_options>;
using OwnedError = Owned<duckdb_error_data, duckdb_destroy_error_data>;
using OwnedTableFunction = Owned<duckdb_table_function, duckdb_destroy_table_function>;
using OwnedScalarFunction = Owned<duckdb_scalar_function, duckdb_destroy_scalar_function>;
using OwnedValue = Owned<duckdb_value, duckdb_destroy_value>;

struct OwnedResult {
  duckdb_result result{};
  OwnedResult() = default;
  OwnedResult(const OwnedResult&) = delete;
  OwnedResult& operator=(const OwnedResult&) = delete;
  ~OwnedResult() { duckdb_destroy_result(&result); }
};

// DuckDB's identifiers compare without regard to ASCII case.
// The rest is advice for people who can change DuckDB's settings.
std::string_view FirstLine(std::string_view text) { return text.substr(0, text.find('\n')); }

Status FromDuckDb(duckdb_error_type type, const char* message) {
  const char* text = message == nullptr ? "DuckDB gave no message" : message;
  switch (type) {
    case DUCKDB_ERROR_INTERRUPT:
      return Cancelled("query interrupted");
    case DUCKDB_ERROR_OUT_OF_MEMORY:
      return TooLarge("the query needs more memory than it may: {}", FirstLine(text));
    case DUCKDB_ERROR_INTERNAL:
    case DUCKDB_ERROR_FATAL:
    case DUCKDB_ERROR_NULL_POINTER:
    case DUCKDB_ERROR_IO:
      return Internal("DuckDB: {}", text);
    default:
      return InvalidInput("{}", text);
  }
}

Status Check(const OwnedError& error) {
  if (error.get() == nullptr || !duckdb_error_data_has_error(error.get())) return Status::OK();
  return FromDuckDb(duckdb_error_data_error_type(error.get()), duckdb_error_data_message(error.get()));
}

struct Relation {
  struct Column {
    OwnedArrowType arrow;  // For duckdb_data_chunk_from_arrow on a struct of this column alone.
    OwnedType type;
    std::shared_ptr<arrow::Schema> schema;
  };
  std::shared_ptr<arrow::Schema> schema;
  std::vector<Column> columns;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  OpenRows open;                         // Of a stream, which has no batches; else null.
  bool is_parquet = false;               // Of which ParquetScans knows the rest.
  std::optional<std::int64_t> num_rows;  // For DuckDB's order of joins; nullopt: not known.
};

// What the callbacks of DuckDB see. Address is stable for the session's life.
struct Relations {
  duckdb_connection connection = nullptr;  // Owned by the session.
  std::map<std::string, Relation> by_folded_name;

  // The first one of a stream since the statement began: DuckDB keeps its text alone.
  void Fail(const Status& status) {
    const std::scoped_lock lock(mutex);
    failure &= status;
  }
  Status TakeFailure() {
    const std::scoped_lock lock(mutex);
    return std::exchange(failure, Status::OK());
  }

 private:
  std::mutex mutex;
  Status failure;
};

constexpr const char* kScanFunction = "millrace_relation";

// One scan of a relation: where it stands.
struct Scan {
  // A column that DuckDB wants, and where it is in the batches.
  struct Wanted {
    idx_t column = 0;
    int in_batch = 0;
  };
  const Relation* relation = nullptr;
  std::vector<Wanted> wanted;
  std::shared_ptr<arrow::RecordBatchReader> stream;
  std::size_t next_batch = 0;                   // Without a stream.
  std::shared_ptr<arrow::RecordBatch> current;  // nullptr: none yet.
  std::int64_t row = 0;                         // The next one of it.

  // The next batch; nullptr: there is none.
  Status Next() {
    row = 0;
    if (stream != nullptr) return stream->ReadNext(&current);
    current = next_batch < relation->batches.size() ? relation->batches[next_batch++] : nullptr;
    return Status::OK();
  }
};

// Any table name that is a registered relation becomes a scan of it: no catalog entry is made or changed.
void ReplaceByScan(duckdb_replacement_scan_info info, const char* table_name, void* data) {
  const auto* relations = static_cast<const Relations*>(data);
  const std::string folded = AsciiLower(table_name);
  const auto found = relations->by_folded_name.find(folded);
  if (found == relations->by_folded_name.end()) return;
  duckdb_replacement_scan_set_function_name(info, found->second.is_parquet ? kParquetFunction : kScanFunction);
  const OwnedValue name(duckdb_create_varchar(folded.c_str()));
  duckdb_replacement_scan_add_parameter(info, name.get());
}

void BindScan(duckdb_bind_info info) {
  auto* relations = static_cast<Relations*>(duckdb_bind_get_extra_info(info));
  const OwnedValue parameter(duckdb_bind_get_parameter(info, 0));
  char* text = duckdb_get_varchar(parameter.get());
  const auto found = relations->by_folded_name.find(text == nullptr ? "" : text);
  duckdb_free(text);
  if (found == relations->by_folded_name.end()) {
    duckdb_bind_set_error(info, "no such relation");
    return;
  }
  const Relation& relation = found->second;
  for (std::size_t i = 0; i < relation.columns.size(); ++i) {
    duckdb_bind_add_result_column(info, relation.schema->field(static_cast<int>(i))->name().c_str(),
                                  relation.columns[i].type.get());
  }
  if (relation.num_rows) duckdb_bind_set_cardinality(info, static_cast<idx_t>(*relation.num_rows), false);
  duckdb_bind_set_bind_data(info, const_cast<Relation*>(&relation), nullptr);
}

void InitScan(duckdb_init_info info) {
  auto* relations = static_cast<Relations*>(duckdb_init_get_extra_info(info));
  auto scan = std::make_unique<Scan>();
  scan->relation = static_cast<const Relation*>(duckdb_init_get_bind_data(info));
  std::vector<int> columns;
  for (idx_t i = 0; i < duckdb_init_get_column_count(info); ++i) {
    const idx_t column = duckdb_init_get_column_index(info, i);
    // Those of a stream come in the order in which they are asked for. count(*) asks for a row id, and never looks at
    // it.
    const bool is_stream = scan->relation->open != nullptr;
    scan->wanted.push_back({column, is_stream ? static_cast<int>(columns.size()) : static_cast<int>(column)});
    if (column < scan->relation->columns.size()) columns.push_back(static_cast<int>(column));
  }
  if (scan->relation->open != nullptr) {
    auto opened = scan->relation->open(columns);
    if (!opened.ok()) {
      relations->Fail(opened.status());
      duckdb_init_set_error(info, opened.status().message().c_str());
      return;
    }
    scan->stream = *std::move(opened);
  }
  duckdb_init_set_max_threads(info, 1);
  duckdb_init_set_init_data(info, scan.release(), [](void* p) { delete static_cast<Scan*>(p); });
}

Status FillChunk(duckdb_connection connection, Scan* scan, duckdb_data_chunk output) {
  while (scan->current == nullptr || scan->row == scan->current->num_rows()) {
    RETURN_NOT_OK(scan->Next());
    if (scan->current != nullptr) continue;
    duckdb_data_chunk_set_size(output, 0);
    return Status::OK();
  }
  const arrow::RecordBatch& batch = *scan->current;
  const std::int64_t num_rows =
      std::min<std::int64_t>(batch.num_rows() - scan->row, static_cast<std::int64_t>(duckdb_vector_size()));
  for (std::size_t i = 0; i < scan->wanted.size(); ++i) {
    const auto& [column, in_batch] = scan->wanted[i];
    if (column >= scan->relation->columns.size()) continue;
    const Relation::Column& source = scan->relation->columns[column];
    const auto slice =
        arrow::RecordBatch::Make(source.schema, num_rows, {batch.column_data(in_batch)->Slice(scan->row, num_rows)});
    ArrowArray exported{};
    RETURN_NOT_OK(arrow::ExportRecordBatch(*slice, &exported));
    OwnedChunk chunk;
    const OwnedError error(duckdb_data_chunk_from_arrow(connection, &exported, source.arrow.get(), chunk.out()));
    if (exported.release != nullptr) exported.release(&exported);
    RETURN_NOT_OK(Check(error));
    duckdb_vector_reference_vector(duckdb_data_chunk_get_vector(output, i),
                                   duckdb_data_chunk_get_vector(chunk.get(), 0));
  }
  scan->row += num_rows;
  duckdb_data_chunk_set_size(output, static_cast<idx_t>(num_rows));
  return Status::OK();
}

void RunScan(duckdb_function_info info, duckdb_data_chunk output) {
  auto* relations = static_cast<Relations*>(duckdb_function_get_extra_info(info));
  auto* scan = static_cast<Scan*>(duckdb_function_get_init_data(info));
  const Status status = FillChunk(relations->connection, scan, output);
  if (status.ok()) return;
  relations->Fail(status);
  duckdb_function_set_error(info, status.message().c_str());
}

// As DuckDB casts HUGEINT to long double, which its avg() divides in.
long double ToLongDouble(duckdb_hugeint value) {
  constexpr auto kMax = static_cast<long double>(UINT64_MAX);
  if (value.upper == -1) return -static_cast<long double>(UINT64_MAX - value.lower) - 1;
  return static_cast<long double>(value.lower) + static_cast<long double>(value.upper) * kMax;
}

// millrace_avg(sum HUGEINT, count BIGINT, scale INTEGER): see sql_session.h.
void RunAverage(duckdb_function_info, duckdb_data_chunk input, duckdb_vector output) {
  const idx_t num_rows = duckdb_data_chunk_get_size(input);
  duckdb_vector vectors[3];
  std::uint64_t* validity[3];
  for (idx_t i = 0; i < 3; ++i) {
    vectors[i] = duckdb_data_chunk_get_vector(input, i);
    validity[i] = duckdb_vector_get_validity(vectors[i]);
  }
  const auto* sums = static_cast<const duckdb_hugeint*>(duckdb_vector_get_data(vectors[0]));
  const auto* counts = static_cast<const std::int64_t*>(duckdb_vector_get_data(vectors[1]));
  const auto* scales = static_cast<const std::int32_t*>(duckdb_vector_get_data(vectors[2]));
  auto* results = static_cast<double*>(duckdb_vector_get_data(output));
  duckdb_vector_ensure_validity_writable(output);
  std::uint64_t* result_validity = duckdb_vector_get_validity(output);
  for (idx_t row = 0; row < num_rows; ++row) {
    bool valid = true;
    for (const std::uint64_t* mask : validity)
      valid = valid && (mask == nullptr || duckdb_validity_row_is_valid(const_cast<std::uint64_t*>(mask), row));
    if (!valid || counts[row] == 0) {
      duckdb_validity_set_row_invalid(result_validity, row);
      continue;
    }
    long double divisor = static_cast<long double>(counts[row]);
    if (scales[row] != 0) divisor *= static_cast<long double>(std::pow(10.0, scales[row]));
    results[row] = static_cast<double>(ToLongDouble(sums[row]) / divisor);
  }
}

// The type as the rest of Millrace has it: extension types that DuckDB marks its text with (JSON) are what they are
// stored as, and the elements of lists are named "element".
std::shared_ptr<arrow::DataType> PlainType(const std::shared_ptr<arrow::DataType>& type) {
  switch (type->id()) {
    case arrow::Type::EXTENSION:
      return PlainType(static_cast<const arrow::ExtensionType&>(*type).storage_type());
    case arrow::Type::LIST:
      return arrow::list(arrow::field("element", PlainType(type->field(0)->type())));
    case arrow::Type::STRUCT: {
      arrow::FieldVector fields;
      for (const auto& field : type->fields()) fields.push_back(arrow::field(field->name(), PlainType(field->type())));
      return arrow::struct_(std::move(fields));
    }
    default:
      return type;
  }
}

// The same buffers under the plain type.
std::shared_ptr<arrow::ArrayData> Retyped(const arrow::ArrayData& data, const std::shared_ptr<arrow::DataType>& plain) {
  auto retyped = data.Copy();
  retyped->type = plain;
  if (plain->id() == arrow::Type::LIST || plain->id() == arrow::Type::STRUCT) {
    for (std::size_t i = 0; i < retyped->child_data.size(); ++i) {
      retyped->child_data[i] = Retyped(*retyped->child_data[i], plain->field(static_cast<int>(i))->type());
    }
  }
  return retyped;
}

std::shared_ptr<arrow::RecordBatch> WithPlainTypes(const arrow::RecordBatch& batch,
                                                   const std::shared_ptr<arrow::Schema>& plain) {
  std::vector<std::shared_ptr<arrow::ArrayData>> columns = batch.column_data();
  for (int i = 0; i < plain->num_fields(); ++i) columns[i] = Retyped(*columns[i], plain->field(i)->type());
  return arrow::RecordBatch::Make(plain, batch.num_rows(), std::move(columns));
}

std::shared_ptr<arrow::Schema> PlainSchema(const arrow::Schema& schema) {
  arrow::FieldVector fields;
  for (const auto& field : schema.fields()) fields.push_back(arrow::field(field->name(), PlainType(field->type())));
  return arrow::schema(std::move(fields));
}

}  // namespace

class SqlSession::Impl {
 public:
  Status Open(std::int64_t memory_bytes, int num_threads) {
    OwnedConfig config;
    if (duckdb_create_config(config.out()) != DuckDBSuccess) return Internal("DuckDB: cannot make a configuration");
    const std::string memory_limit = fmt::format("{}B", memory_bytes);
    const std::string threads = std::to_string(num_threads);
    const std::pair<const char*, const char*> settings[] = {
        {"threads", threads.c_str()},
        {"temp_directory", ""},  // Before external access is closed: after it DuckDB refuses.
        {"enable_external_access", "false"},
        {"autoload_known_extensions", "false"},
        {"autoinstall_known_extensions", "false"},
        {"memory_limit", memory_limit.c_str()},
    };
    for (const auto& [name, value] : settings) {
      if (duckdb_set_config(config.get(), name, value) != DuckDBSuccess) {
        return Internal("DuckDB: cannot set {} to {}", name, value);
      }
    }
    char* message = nullptr;
    duckdb_state opened = DuckDBError;
    const auto open = [&] { opened = duckdb_open_ext(nullptr, database_.out(), config.get(), &message); };
    if (num_threads > 1) {
      // The other threads of its statements are started here and have the priority of who starts them: they get the
      // processor after those who take events in.
      std::thread([&open] {
        YieldToOthers();
        open();
      }).join();
    } else {
      open();
    }
    if (opened != DuckDBSuccess) {
      const Status status = Internal("DuckDB: cannot open: {}", message == nullptr ? "" : message);
      duckdb_free(message);
      return status;
    }
    if (duckdb_connect(database_.get(), connection_.out()) != DuckDBSuccess) {
      return Internal("DuckDB: cannot connect");
    }
    relations_.connection = connection_.get();
    RETURN_NOT_OK(RegisterFunctions());
    RETURN_NOT_OK(parquet_.Install(connection_.get()));
    duckdb_add_replacement_scan(database_.get(), ReplaceByScan, &relations_, nullptr);
    RETURN_NOT_OK(Query("SET TimeZone = 'UTC'").status());
    return Query("SET lock_configuration = true").status();
  }

  Status Register(const std::string& name, std::shared_ptr<arrow::Schema> schema,
                  std::vector<std::shared_ptr<arrow::RecordBatch>> batches) {
    for (const auto& batch : batches) {
      if (batch->schema() != schema && !batch->schema()->Equals(*schema, false)) {
        return Internal("register relation {}: a batch has schema {} instead of {}", name, batch->schema()->ToString(),
                        schema->ToString());
      }
    }
    ASSIGN_OR_RETURN(Relation* const relation, Shaped(name, schema));
    relation->batches = std::move(batches);
    return Status::OK();
  }

  Status RegisterStream(const std::string& name, const std::shared_ptr<arrow::Schema>& schema, OpenRows open,
                        std::optional<std::int64_t> num_rows) {
    ASSIGN_OR_RETURN(Relation* const relation, Shaped(name, schema));
    relation->open = std::move(open);
    relation->num_rows = num_rows;
    return Status::OK();
  }

  Status RegisterParquet(const std::string& name, ParquetFiles files) {
    ASSIGN_OR_RETURN(Relation* const relation, Shaped(name, files.schema));
    std::vector<duckdb_logical_type> types;
    for (const auto& column : relation->columns) types.push_back(column.type.get());
    std::vector<OwnedChunk> chunks;
    std::vector<duckdb_vector> constants;
    for (const auto& [column, value] : files.constants) {
      ASSIGN_OR_RETURN(auto chunk, Imported(relation->columns[static_cast<std::size_t>(column)], value));
      constants.push_back(duckdb_data_chunk_get_vector(chunk.get(), 0));
      chunks.push_back(std::move(chunk));
    }
    ForgetPlans();  // They hold the files.
    relation->is_parquet = true;
    parquet_.Set(name, std::move(files), types, constants);
    return Status::OK();
  }

  void Forget(const std::string& name) {
    ForgetPlans();
    relations_.by_folded_name.erase(AsciiLower(name));
    parquet_.Erase(name);
  }

  bool ReadingFailed() const { return reading_failed_; }

  Result<std::shared_ptr<arrow::Table>> Query(const std::string& sql, const std::stop_token& stop = {}) {
    ASSIGN_OR_RETURN(const duckdb_prepared_statement statement, Prepare(sql));
    OwnedResult owned;
    RETURN_NOT_OK(Execute(statement, stop, &owned.result));
    return Take(&owned.result, {}, nullptr);
  }

  Result<StatementResult> Run(const std::string& select, const std::vector<Parameter>& parameters,
                              const ResultLimits& limits, const std::stop_token& stop) {
    (void)relations_.TakeFailure();
    parquet_.failed() = false;
    reading_failed_ = out_of_memory_ = false;
    ASSIGN_OR_RETURN(auto statement, PrepareNew(select));
    if (duckdb_prepared_statement_type(statement.get()) != DUCKDB_STATEMENT_TYPE_SELECT) {
      return InvalidInput("only a SELECT can be run");
    }
    RETURN_NOT_OK(Bind(statement.get(), parameters));
    auto result = Stream(statement.get(), limits, stop);
    if (result.ok()) return result;
    reading_failed_ = parquet_.failed() || out_of_memory_;
    if (const Status failure = relations_.TakeFailure(); !failure.ok()) return failure;
    return result;
  }

  Result<StatementShape> Shape(const std::string& select) {
    ASSIGN_OR_RETURN(auto statement, PrepareNew(select));
    StatementShape shape;
    for (idx_t i = 1; i <= duckdb_nparams(statement.get()); ++i) {
      shape.parameters.push_back(
          {ParameterName(statement.get(), i), KnownTypeText(duckdb_param_logical_type(statement.get(), i))});
    }
    for (idx_t i = 0; i < duckdb_prepared_statement_column_count(statement.get()); ++i) {
      const char* const taken = duckdb_prepared_statement_column_name(statement.get(), i);
      shape.columns.push_back({taken == nullptr ? "" : taken,
                               KnownTypeText(duckdb_prepared_statement_column_logical_type(statement.get(), i))});
      duckdb_free(const_cast<char*>(taken));
    }
    return shape;
  }

  // Fails as the statement itself would, so that places in messages are places in `sql`.
  Result<duckdb_prepared_statement> Prepare(const std::string& sql) {
    const auto found = prepared_.find(sql);
    if (found != prepared_.end()) {
      by_use_.splice(by_use_.begin(), by_use_, found->second.use);
      return found->second.statement.get();
    }
    ASSIGN_OR_RETURN(auto statement, PrepareNew(sql));
    if (by_use_.size() == kPreparedMax) {
      prepared_.erase(by_use_.back());
      by_use_.pop_back();
    }
    by_use_.push_front(sql);
    auto& kept = prepared_[sql];
    kept.statement = std::move(statement);
    kept.use = by_use_.begin();
    return kept.statement.get();
  }

 private:
  Status Execute(duckdb_prepared_statement statement, const std::stop_token& stop, duckdb_result* result) {
    // Getting ready takes earlier interrupts away, and running does not: an interrupt after this point is never lost.
    OwnedPending pending;
    if (duckdb_pending_prepared(statement, pending.out()) != DuckDBSuccess) {
      return InvalidInput("{}", duckdb_pending_error(pending.get()));
    }
    const std::stop_callback interrupt(stop, [this] { duckdb_interrupt(connection_.get()); });
    if (duckdb_execute_pending(pending.get(), result) == DuckDBSuccess) return Status::OK();
    return FailureOf(result);
  }

  Status FailureOf(duckdb_result* result) {
    const auto type = duckdb_result_error_type(result);
    if (type == DUCKDB_ERROR_OUT_OF_MEMORY) out_of_memory_ = true;
    return FromDuckDb(type, duckdb_result_error(result));
  }

  void ForgetPlans() {
    prepared_.clear();
    by_use_.clear();
  }

  Result<OwnedPrepared> PrepareNew(const std::string& sql) {
    OwnedPrepared statement;
    if (duckdb_prepare(connection_.get(), sql.c_str(), statement.out()) == DuckDBSuccess) return statement;
    const char* message = duckdb_prepare_error(statement.get());
    // The C interface gives no type for these, but each message begins with its name.
    const std::string_view text = message == nullptr ? "" : message;
    const auto type = text.starts_with("INTERRUPT Error")  ? DUCKDB_ERROR_INTERRUPT
                      : text.starts_with("INTERNAL Error") ? DUCKDB_ERROR_INTERNAL
                                                           : DUCKDB_ERROR_BINDER;
    return FromDuckDb(type, message);
  }

  static Status Bind(duckdb_prepared_statement statement, const std::vector<Parameter>& parameters) {
    for (const auto& parameter : parameters) {
      idx_t index = 0;
      if (duckdb_bind_parameter_index(statement, &index, parameter.name.c_str()) != DuckDBSuccess) {
        return InvalidInput("the SQL has no parameter ${}, which a value is given for", parameter.name);
      }
      if (std::visit([&](const auto& value) { return BindValue(statement, index, value); }, parameter.value) !=
          DuckDBSuccess) {
        return InvalidInput("the value of parameter ${} does not fit", parameter.name);
      }
    }
    for (idx_t i = 1; i <= duckdb_nparams(statement); ++i) {
      const std::string name = ParameterName(statement, i);
      const bool is_given = std::any_of(parameters.begin(), parameters.end(), [&](const Parameter& parameter) {
        return AsciiLower(parameter.name) == AsciiLower(name);
      });
      if (!is_given) return InvalidInput("there is no value for parameter ${}", name);
    }
    return Status::OK();
  }

  static std::string ParameterName(duckdb_prepared_statement statement, idx_t index) {
    const char* const taken = duckdb_parameter_name(statement, index);
    std::string name = taken == nullptr ? "" : taken;
    duckdb_free(const_cast<char*>(taken));
    return name;
  }

  // Empty: DuckDB will know when there are values.
  static std::string KnownTypeText(duckdb_logical_type type) {
    const OwnedType owned(type);
    const auto id = type == nullptr ? DUCKDB_TYPE_INVALID : duckdb_get_type_id(type);
    if (id == DUCKDB_TYPE_INVALID || id == DUCKDB_TYPE_ANY || id == DUCKDB_TYPE_SQLNULL) return "";
    return TypeText(type);
  }

  static duckdb_state BindValue(duckdb_prepared_statement statement, idx_t index, std::monostate) {
    return duckdb_bind_null(statement, index);
  }
  static duckdb_state BindValue(duckdb_prepared_statement statement, idx_t index, bool value) {
    return duckdb_bind_boolean(statement, index, value);
  }
  static duckdb_state BindValue(duckdb_prepared_statement statement, idx_t index, std::int64_t value) {
    return duckdb_bind_int64(statement, index, value);
  }
  static duckdb_state BindValue(duckdb_prepared_statement statement, idx_t index, double value) {
    return duckdb_bind_double(statement, index, value);
  }
  static duckdb_state BindValue(duckdb_prepared_statement statement, idx_t index, const std::string& value) {
    return duckdb_bind_varchar_length(statement, index, value.data(), value.size());
  }

  // The rows are made while they are taken, so DuckDB never holds all of them beside ours.
  Result<StatementResult> Stream(duckdb_prepared_statement statement, const ResultLimits& limits,
                                 const std::stop_token& stop) {
    OwnedPending pending;
    if (duckdb_pending_prepared_streaming(statement, pending.out()) != DuckDBSuccess) {
      return InvalidInput("{}", duckdb_pending_error(pending.get()));
    }
    const std::stop_callback interrupt(stop, [this] { duckdb_interrupt(connection_.get()); });
    OwnedResult owned;
    if (duckdb_execute_pending(pending.get(), &owned.result) != DuckDBSuccess) return FailureOf(&owned.result);
    StatementResult taken;
    ASSIGN_OR_RETURN(taken.rows, Take(&owned.result, limits, &taken.columns));
    return taken;
  }

  // `described`: what its columns are, unless nullptr.
  Result<std::shared_ptr<arrow::Table>> Take(duckdb_result* result, const ResultLimits& limits,
                                             std::vector<ResultColumn>* described) {
    const OwnedArrowOptions options(duckdb_result_get_arrow_options(result));
    const idx_t num_columns = duckdb_column_count(result);
    std::vector<OwnedType> types;
    std::vector<duckdb_logical_type> raw_types;
    std::vector<const char*> names;
    for (idx_t i = 0; i < num_columns; ++i) {
      types.emplace_back(duckdb_column_logical_type(result, i));
      raw_types.push_back(types.back().get());
      names.push_back(duckdb_column_name(result, i));
      if (described != nullptr) described->push_back({names.back(), TypeText(raw_types.back())});
    }
    ArrowSchema exported_schema{};
    const OwnedError schema_error(
        duckdb_to_arrow_schema(options.get(), raw_types.data(), names.data(), num_columns, &exported_schema));
    RETURN_NOT_OK(Check(schema_error));
    ASSIGN_OR_RETURN(const auto schema, arrow::ImportSchema(&exported_schema));
    const auto plain = PlainSchema(*schema);
    std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
    std::int64_t num_rows = 0;
    std::int64_t num_bytes = 0;
    while (true) {
      const OwnedChunk chunk(duckdb_fetch_chunk(*result));
      if (chunk.get() == nullptr || duckdb_data_chunk_get_size(chunk.get()) == 0) break;
      ArrowArray exported{};
      const OwnedError error(duckdb_data_chunk_to_arrow(options.get(), chunk.get(), &exported));
      RETURN_NOT_OK(Check(error));
      ASSIGN_OR_RETURN(const auto batch, arrow::ImportRecordBatch(&exported, schema));
      batches.push_back(WithPlainTypes(*batch, plain));
      num_rows += batch->num_rows();
      if (num_rows > limits.rows_max) return TooLarge("the result has more than {} rows", limits.rows_max);
      if (limits.bytes_max < std::numeric_limits<std::int64_t>::max())
        num_bytes += arrow::util::TotalBufferSize(*batch);
      if (num_bytes > limits.bytes_max) return TooLarge("the result takes more than {} bytes", limits.bytes_max);
    }
    if (const char* message = duckdb_result_error(result); message != nullptr && *message != '\0') {
      return FailureOf(result);
    }
    return arrow::Table::FromRecordBatches(plain, batches);
  }

  // The relation of this name, with these columns and no rows.
  Result<Relation*> Shaped(const std::string& name, const std::shared_ptr<arrow::Schema>& schema) {
    const std::string folded = AsciiLower(name);
    const auto found = relations_.by_folded_name.find(folded);
    if (found == relations_.by_folded_name.end() || !SameSchema(*found->second.schema, *schema)) {
      Relation relation;
      relation.schema = schema;
      for (const auto& field : schema->fields()) {
        auto column = MakeColumn(field);
        if (!column.ok()) return WithContext(column.status(), "column {} of relation {}", field->name(), name);
        relation.columns.push_back(std::move(column).ValueUnsafe());
      }
      ForgetPlans();  // They hold the relation's address and column types.
      relations_.by_folded_name[folded] = std::move(relation);
    }
    Relation& relation = relations_.by_folded_name[folded];
    if (std::exchange(relation.is_parquet, false)) {
      ForgetPlans();
      parquet_.Erase(name);
    }
    relation.batches.clear();
    relation.open = nullptr;
    relation.num_rows.reset();
    return &relation;
  }

  static bool SameSchema(const arrow::Schema& a, const arrow::Schema& b) { return a.Equals(b, false); }

  Result<Relation::Column> MakeColumn(const std::shared_ptr<arrow::Field>& field) {
    Relation::Column column;
    // Nullability is no part of DuckDB's types, and a slice of a batch may not repeat the batch's promise.
    column.schema = arrow::schema({field->WithNullable(true)});
    ArrowSchema exported_schema{};
    RETURN_NOT_OK(arrow::ExportSchema(*column.schema, &exported_schema));
    const OwnedError error(duckdb_schema_from_arrow(connection_.get(), &exported_schema, column.arrow.out()));
    if (exported_schema.release != nullptr) exported_schema.release(&exported_schema);
    RETURN_NOT_OK(Check(error));
    // The converted schema is opaque; an empty chunk of it tells the type.
    ASSIGN_OR_RETURN(const auto empty, arrow::MakeEmptyArray(field->type()));
    ASSIGN_OR_RETURN(const auto chunk, Imported(column, empty));
    column.type = OwnedType(duckdb_vector_get_column_type(duckdb_data_chunk_get_vector(chunk.get(), 0)));
    return column;
  }

  // Values of the column as the only vector of a chunk.
  Result<OwnedChunk> Imported(const Relation::Column& column, const std::shared_ptr<arrow::Array>& values) {
    const auto rows = arrow::RecordBatch::Make(column.schema, values->length(), {values});
    ArrowArray exported{};
    RETURN_NOT_OK(arrow::ExportRecordBatch(*rows, &exported));
    OwnedChunk chunk;
    const OwnedError error(duckdb_data_chunk_from_arrow(connection_.get(), &exported, column.arrow.get(), chunk.out()));
    if (exported.release != nullptr) exported.release(&exported);
    RETURN_NOT_OK(Check(error));
    return chunk;
  }

  Status RegisterFunctions() {
    const OwnedType text(duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR));
    const OwnedTableFunction scan(duckdb_create_table_function());
    duckdb_table_function_set_name(scan.get(), kScanFunction);
    duckdb_table_function_add_parameter(scan.get(), text.get());
    duckdb_table_function_set_extra_info(scan.get(), &relations_, nullptr);
    duckdb_table_function_set_bind(scan.get(), BindScan);
    duckdb_table_function_set_init(scan.get(), InitScan);
    duckdb_table_function_set_function(scan.get(), RunScan);
    duckdb_table_function_supports_projection_pushdown(scan.get(), true);
    if (duckdb_register_table_function(connection_.get(), scan.get()) != DuckDBSuccess) {
      return Internal("DuckDB: cannot register {}", kScanFunction);
    }
    const OwnedType hugeint(duckdb_create_logical_type(DUCKDB_TYPE_HUGEINT));
    const OwnedType bigint(duckdb_create_logical_type(DUCKDB_TYPE_BIGINT));
    const OwnedType integer(duckdb_create_logical_type(DUCKDB_TYPE_INTEGER));
    const OwnedType number(duckdb_create_logical_type(DUCKDB_TYPE_DOUBLE));
    const OwnedScalarFunction average(duckdb_create_scalar_function());
    duckdb_scalar_function_set_name(average.get(), "millrace_avg");
    duckdb_scalar_function_add_parameter(average.get(), hugeint.get());
    duckdb_scalar_function_add_parameter(average.get(), bigint.get());
    duckdb_scalar_function_add_parameter(average.get(), integer.get());
    duckdb_scalar_function_set_return_type(average.get(), number.get());
    duckdb_scalar_function_set_function(average.get(), RunAverage);
    if (duckdb_register_scalar_function(connection_.get(), average.get()) != DuckDBSuccess) {
      return Internal("DuckDB: cannot register millrace_avg");
    }
    return RegisterSketchFunctions(connection_.get());
  }

  struct Prepared {
    OwnedPrepared statement;
    std::list<std::string>::iterator use;
  };

  // Of the statement that Run() ran last.
  bool reading_failed_ = false;
  bool out_of_memory_ = false;

  // Destroyed from the last to the first: statements before the connection, the connection before what it reads.
  Relations relations_;
  ParquetScans parquet_;
  OwnedDatabase database_;
  OwnedConnection connection_;
  std::list<std::string> by_use_;  // The SQL of prepared_, latest use first.
  std::unordered_map<std::string, Prepared> prepared_;
};

SqlSession::SqlSession(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SqlSession::~SqlSession() = default;

Result<std::unique_ptr<SqlSession>> SqlSession::Make(std::int64_t memory_bytes, int num_threads) {
  auto impl = std::make_unique<Impl>();
  RETURN_NOT_OK(impl->Open(memory_bytes, num_threads));
  return std::unique_ptr<SqlSession>(new SqlSession(std::move(impl)));
}

Status SqlSession::Register(const std::string& name, std::shared_ptr<arrow::Schema> schema,
                            std::vector<std::shared_ptr<arrow::RecordBatch>> batches) {
  return impl_->Register(name, std::move(schema), std::move(batches));
}

Status SqlSession::RegisterStream(const std::string& name, std::shared_ptr<arrow::Schema> schema, OpenRows open,
                                  std::optional<std::int64_t> num_rows) {
  return impl_->RegisterStream(name, schema, std::move(open), num_rows);
}

Status SqlSession::RegisterParquet(const std::string& name, ParquetFiles files) {
  return impl_->RegisterParquet(name, std::move(files));
}

void SqlSession::Forget(const std::string& name) { impl_->Forget(name); }

bool SqlSession::ReadingFailed() const { return impl_->ReadingFailed(); }

Result<StatementResult> SqlSession::Run(const std::string& select, const std::vector<Parameter>& parameters,
                                        const ResultLimits& limits, const std::stop_token& stop) {
  return impl_->Run(select, parameters, limits, stop);
}

Result<std::shared_ptr<arrow::Table>> SqlSession::Query(const std::string& sql, const std::stop_token& stop) {
  return impl_->Query(sql, stop);
}

Result<StatementShape> SqlSession::Shape(const std::string& select) { return impl_->Shape(select); }

Result<std::vector<ResultColumn>> SqlSession::Describe(const std::string& sql) {
  RETURN_NOT_OK(impl_->Prepare(sql).status());
  ASSIGN_OR_RETURN(const auto table, impl_->Query("DESCRIBE " + sql));
  std::vector<ResultColumn> columns;
  for (std::int64_t row = 0; row < table->num_rows(); ++row) {
    ASSIGN_OR_RETURN(const auto name, table->GetColumnByName("column_name")->GetScalar(row));
    ASSIGN_OR_RETURN(const auto type, table->GetColumnByName("column_type")->GetScalar(row));
    columns.push_back({name->ToString(), type->ToString()});
  }
  return columns;
}

Result<std::string> SqlSession::ParseToJson(const std::string& select) {
  ASSIGN_OR_RETURN(
      const auto table,
      impl_->Query("SELECT CAST(tree AS VARCHAR), tree->>'error_message', CAST(tree->>'position' AS BIGINT), "
                   "json_array_length(tree->'statements') FROM (SELECT json_serialize_sql(CAST(" +
                   QuoteLiteral(select) + " AS VARCHAR), skip_null := false) AS tree)"));
  std::vector<std::shared_ptr<arrow::Scalar>> cells;
  for (const auto& column : table->columns()) {
    ASSIGN_OR_RETURN(auto cell, column->GetScalar(0));
    cells.push_back(std::move(cell));
  }
  if (cells[1]->is_valid) {
    if (!cells[2]->is_valid) return InvalidInput("{}", cells[1]->ToString());
    const auto position = static_cast<std::size_t>(std::stoll(cells[2]->ToString()));
    return InvalidInput("{} at {}", cells[1]->ToString(), PlaceOf(select, position));
  }
  if (cells[3]->ToString() != "1") return InvalidInput("one SELECT is needed, there are {}", cells[3]->ToString());
  return cells[0]->ToString();
}

Result<std::string> SqlSession::JsonToSql(const std::string& tree) {
  ASSIGN_OR_RETURN(const auto table,
                   impl_->Query("SELECT json_deserialize_sql(CAST(" + QuoteLiteral(tree) + " AS JSON))"));
  ASSIGN_OR_RETURN(const auto text, table->column(0)->GetScalar(0));
  return text->ToString();
}

namespace {

std::string Quoted(std::string_view text, char quote) {
  std::string quoted(1, quote);
  for (const char c : text) {
    if (c == quote) quoted += quote;
    quoted += c;
  }
  quoted += quote;
  return quoted;
}

}  // namespace

std::string QuoteIdentifier(std::string_view name) { return Quoted(name, '"'); }
std::string QuoteLiteral(std::string_view text) { return Quoted(text, '\''); }

std::string PlaceOf(std::string_view sql, std::size_t offset) {
  const std::string_view before = sql.substr(0, std::min(offset, sql.size()));
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const auto line_start = before.rfind('\n');
  const auto column = before.size() - (line_start == std::string_view::npos ? 0 : line_start + 1) + 1;
  return fmt::format("line {} column {}", line, column);
}

}  // namespace millrace::sql
