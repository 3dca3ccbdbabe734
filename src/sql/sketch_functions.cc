#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "sketch/distinct_sketch.h"
#include "sketch/frequent_items.h"
#include "sketch/quantile_sketch.h"
#include "sketch/theta_sketch.h"
#include "sql/sketch_functions_internal.h"

namespace millrace::sql {
namespace {

std::string_view BytesAt(duckdb_vector vector, idx_t row) {
  auto& text = static_cast<duckdb_string_t*>(duckdb_vector_get_data(vector))[row];
  return {duckdb_string_t_data(&text), duckdb_string_t_length(text)};
}

bool IsNullAt(duckdb_vector vector, idx_t row) {
  std::uint64_t* const validity = duckdb_vector_get_validity(vector);
  return validity != nullptr && !duckdb_validity_row_is_valid(validity, row);
}

// compute(row) -> Status for each row of which no input is NULL; the others are NULL. The first error is the query's.
template <typename Compute>
void ForValidRows(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output, Compute compute) {
  duckdb_vector_ensure_validity_writable(output);
  for (idx_t row = 0; row < duckdb_data_chunk_get_size(input); ++row) {
    bool null = false;
    for (idx_t c = 0; c < duckdb_data_chunk_get_column_count(input); ++c) {
      null = null || IsNullAt(duckdb_data_chunk_get_vector(input, c), row);
    }
    if (null) {
      duckdb_validity_set_row_invalid(duckdb_vector_get_validity(output), row);
      continue;
    }
    const Status status = compute(row);
    if (!status.ok()) return duckdb_scalar_function_set_error(info, status.message().c_str());
  }
}

// Makes room for `count` elements of the list in `row`, and returns the index of the first.
idx_t AddList(duckdb_vector output, idx_t row, idx_t count) {
  const idx_t begin = duckdb_list_vector_get_size(output);
  duckdb_list_vector_reserve(output, begin + count);
  duckdb_list_vector_set_size(output, begin + count);
  static_cast<duckdb_list_entry*>(duckdb_vector_get_data(output))[row] = {begin, count};
  return begin;
}

void RunHllEstimate(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output) {
  const duckdb_vector sketches = duckdb_data_chunk_get_vector(input, 0);
  auto* const estimates = static_cast<std::int64_t*>(duckdb_vector_get_data(output));
  ForValidRows(info, input, output, [&](idx_t row) -> Status {
    ASSIGN_OR_RETURN(estimates[row], sketch::DistinctSketch::Estimate(BytesAt(sketches, row)));
    return Status::OK();
  });
}

// DuckDB would make NULL of what is none.
Status CheckUtf8(std::string_view text) {
  duckdb_error_data error = duckdb_valid_utf8_check(text.data(), text.size());
  const bool broken = error != nullptr && duckdb_error_data_has_error(error);
  if (error != nullptr) duckdb_destroy_error_data(&error);
  return broken ? Corrupt("the frequent items sketch has an item that is not UTF-8") : Status::OK();
}

// T: what DuckDB keeps a value of the list in.
template <typename T>
void RunKll(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output) {
  const duckdb_vector sketches = duckdb_data_chunk_get_vector(input, 0);
  const duckdb_vector shares = duckdb_data_chunk_get_vector(input, 1);
  ForValidRows(info, input, output, [&](idx_t row) -> Status {
    const auto wanted = static_cast<duckdb_list_entry*>(duckdb_vector_get_data(shares))[row];
    const auto* const first =
        static_cast<const double*>(duckdb_vector_get_data(duckdb_list_vector_get_child(shares))) + wanted.offset;
    ASSIGN_OR_RETURN(const auto values,
                     sketch::QuantileSketch::Quantiles(BytesAt(sketches, row), {first, wanted.length}));
    const idx_t begin = AddList(output, row, values.size());
    auto* const out = static_cast<T*>(duckdb_vector_get_data(duckdb_list_vector_get_child(output))) + begin;
    for (std::size_t i = 0; i < values.size(); ++i) out[i] = static_cast<T>(values[i]);
    return Status::OK();
  });
}

void RunTop(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output) {
  const duckdb_vector sketches = duckdb_data_chunk_get_vector(input, 0);
  const auto* const counts =
      static_cast<const std::int64_t*>(duckdb_vector_get_data(duckdb_data_chunk_get_vector(input, 1)));
  ForValidRows(info, input, output, [&](idx_t row) -> Status {
    const auto count = static_cast<std::size_t>(std::max<std::int64_t>(0, counts[row]));
    ASSIGN_OR_RETURN(const auto top, sketch::FrequentItems::Top(BytesAt(sketches, row), count));
    for (const std::string& item : top) RETURN_NOT_OK(CheckUtf8(item));
    const idx_t begin = AddList(output, row, top.size());
    const duckdb_vector items = duckdb_list_vector_get_child(output);
    for (std::size_t i = 0; i < top.size(); ++i) {
      duckdb_vector_assign_string_element_len(items, begin + i, top[i].data(), top[i].size());
    }
    return Status::OK();
  });
}

void RunThetaEstimate(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output) {
  const duckdb_vector sketches = duckdb_data_chunk_get_vector(input, 0);
  auto* const estimates = static_cast<std::int64_t*>(duckdb_vector_get_data(output));
  ForValidRows(info, input, output, [&](idx_t row) -> Status {
    ASSIGN_OR_RETURN(estimates[row], sketch::ThetaSketch::Estimate(BytesAt(sketches, row)));
    return Status::OK();
  });
}

template <sketch::ThetaSketch::Operation kOperation>
void RunThetaCombine(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output) {
  const duckdb_vector left = duckdb_data_chunk_get_vector(input, 0);
  const duckdb_vector right = duckdb_data_chunk_get_vector(input, 1);
  ForValidRows(info, input, output, [&](idx_t row) -> Status {
    ASSIGN_OR_RETURN(const auto bytes,
                     sketch::ThetaSketch::Combine(kOperation, BytesAt(left, row), BytesAt(right, row)));
    duckdb_vector_assign_string_element_len(output, row, bytes.data(), bytes.size());
    return Status::OK();
  });
}

// A type with its life: lists hold another.
class LogicalType {
 public:
  LogicalType(duckdb_type type) : type_(duckdb_create_logical_type(type)) {}  // NOLINT(google-explicit-constructor)
  static LogicalType ListOf(duckdb_type element) {
    const LogicalType inner(element);
    return {duckdb_create_list_type(inner.type_), Owned{}};
  }
  LogicalType(const LogicalType&) = delete;
  LogicalType& operator=(const LogicalType&) = delete;
  ~LogicalType() { duckdb_destroy_logical_type(&type_); }
  duckdb_logical_type get() const { return type_; }

 private:
  struct Owned {};
  LogicalType(duckdb_logical_type type, Owned) : type_(type) {}
  duckdb_logical_type type_;
};

Status RegisterScalar(duckdb_connection connection, const char* name,
                      std::initializer_list<const LogicalType*> parameters, const LogicalType& result,
                      duckdb_scalar_function_t run) {
  duckdb_scalar_function function = duckdb_create_scalar_function();
  duckdb_scalar_function_set_name(function, name);
  for (const LogicalType* parameter : parameters) duckdb_scalar_function_add_parameter(function, parameter->get());
  duckdb_scalar_function_set_return_type(function, result.get());
  duckdb_scalar_function_set_function(function, run);
  const duckdb_state state = duckdb_register_scalar_function(connection, function);
  duckdb_destroy_scalar_function(&function);
  return state == DuckDBSuccess ? Status::OK() : Internal("DuckDB: cannot register {}", name);
}

// An aggregate function that has a name and types, and no rows: what is planned over it is computed elsewhere.
Status DeclareAggregate(duckdb_connection connection, const char* name, const LogicalType& parameter,
                        const LogicalType& result) {
  duckdb_aggregate_function function = duckdb_create_aggregate_function();
  duckdb_aggregate_function_set_name(function, name);
  duckdb_aggregate_function_add_parameter(function, parameter.get());
  duckdb_aggregate_function_set_return_type(function, result.get());
  duckdb_aggregate_function_set_functions(
      function, [](duckdb_function_info) -> idx_t { return 1; }, [](duckdb_function_info, duckdb_aggregate_state) {},
      [](duckdb_function_info info, duckdb_data_chunk, duckdb_aggregate_state*) {
        duckdb_aggregate_function_set_error(info, "theta_sketch() is for the SQL of an aggregate of a pipeline");
      },
      [](duckdb_function_info, duckdb_aggregate_state*, duckdb_aggregate_state*, idx_t) {},
      [](duckdb_function_info info, duckdb_aggregate_state*, duckdb_vector, idx_t, idx_t) {
        duckdb_aggregate_function_set_error(info, "theta_sketch() is for the SQL of an aggregate of a pipeline");
      });
  const duckdb_state state = duckdb_register_aggregate_function(connection, function);
  duckdb_destroy_aggregate_function(&function);
  return state == DuckDBSuccess ? Status::OK() : Internal("DuckDB: cannot register {}", name);
}

}  // namespace

Status RegisterSketchFunctions(duckdb_connection connection) {
  const LogicalType bytes(DUCKDB_TYPE_BLOB);
  const auto numbers = LogicalType::ListOf(DUCKDB_TYPE_DOUBLE);
  const LogicalType count(DUCKDB_TYPE_BIGINT);
  const auto texts = LogicalType::ListOf(DUCKDB_TYPE_VARCHAR);
  const auto instants = LogicalType::ListOf(DUCKDB_TYPE_TIMESTAMP_TZ);
  const auto dates = LogicalType::ListOf(DUCKDB_TYPE_DATE);
  RETURN_NOT_OK(RegisterScalar(connection, "millrace_hll_estimate", {&bytes}, DUCKDB_TYPE_BIGINT, RunHllEstimate));
  RETURN_NOT_OK(RegisterScalar(connection, "theta_estimate", {&bytes}, DUCKDB_TYPE_BIGINT, RunThetaEstimate));
  using enum sketch::ThetaSketch::Operation;
  const std::pair<const char*, duckdb_scalar_function_t> combine[] = {
      {"theta_union", RunThetaCombine<kUnion>},
      {"theta_intersect", RunThetaCombine<kIntersection>},
      {"theta_difference", RunThetaCombine<kDifference>}};
  for (const auto& [name, run] : combine) {
    RETURN_NOT_OK(RegisterScalar(connection, name, {&bytes, &bytes}, bytes, run));
  }
  RETURN_NOT_OK(DeclareAggregate(connection, "theta_sketch", DUCKDB_TYPE_ANY, bytes));
  RETURN_NOT_OK(RegisterScalar(connection, "millrace_frequent_top", {&bytes, &count}, texts, RunTop));
  RETURN_NOT_OK(RegisterScalar(connection, "millrace_kll_numbers", {&bytes, &numbers}, numbers, RunKll<double>));
  RETURN_NOT_OK(
      RegisterScalar(connection, "millrace_kll_instants", {&bytes, &numbers}, instants, RunKll<std::int64_t>));
  return RegisterScalar(connection, "millrace_kll_dates", {&bytes, &numbers}, dates, RunKll<std::int32_t>);
}

}  // namespace millrace::sql
