#include <string_view>

#include "sketch/distinct_sketch.h"
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

// millrace_hll_estimate(sketch BLOB) BIGINT
void RunHllEstimate(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output) {
  const duckdb_vector sketches = duckdb_data_chunk_get_vector(input, 0);
  auto* const estimates = static_cast<std::int64_t*>(duckdb_vector_get_data(output));
  duckdb_vector_ensure_validity_writable(output);
  for (idx_t row = 0; row < duckdb_data_chunk_get_size(input); ++row) {
    if (IsNullAt(sketches, row)) {
      duckdb_validity_set_row_invalid(duckdb_vector_get_validity(output), row);
      continue;
    }
    const auto estimate = sketch::DistinctSketch::Estimate(BytesAt(sketches, row));
    if (!estimate.ok()) return duckdb_scalar_function_set_error(info, estimate.status().message().c_str());
    estimates[row] = *estimate;
  }
}

Status RegisterScalar(duckdb_connection connection, const char* name, std::initializer_list<duckdb_type> parameters,
                      duckdb_type result, duckdb_scalar_function_t run) {
  duckdb_scalar_function function = duckdb_create_scalar_function();
  duckdb_scalar_function_set_name(function, name);
  for (const duckdb_type parameter : parameters) {
    duckdb_logical_type type = duckdb_create_logical_type(parameter);
    duckdb_scalar_function_add_parameter(function, type);
    duckdb_destroy_logical_type(&type);
  }
  duckdb_logical_type type = duckdb_create_logical_type(result);
  duckdb_scalar_function_set_return_type(function, type);
  duckdb_destroy_logical_type(&type);
  duckdb_scalar_function_set_function(function, run);
  const duckdb_state state = duckdb_register_scalar_function(connection, function);
  duckdb_destroy_scalar_function(&function);
  return state == DuckDBSuccess ? Status::OK() : Internal("DuckDB: cannot register {}", name);
}

}  // namespace

Status RegisterSketchFunctions(duckdb_connection connection) {
  return RegisterScalar(connection, "millrace_hll_estimate", {DUCKDB_TYPE_BLOB}, DUCKDB_TYPE_BIGINT, RunHllEstimate);
}

}  // namespace millrace::sql
