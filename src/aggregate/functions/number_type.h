/// DuckDB's types of numbers, by their names.
#pragma once

#include <optional>
#include <string>

namespace millrace::aggregate {

struct NumberType {
  enum class Kind { kInteger, kDecimal, kDouble };
  Kind kind = Kind::kInteger;
  int bits = 0;  ///< In which DuckDB keeps a value.
  bool is_unsigned = false;
  int scale = 0;  ///< Digits after the point of a decimal.
};

/// Absent: not a number, or one that DuckDB adds up as something else (UHUGEINT). BOOLEAN is a number of one bit.
std::optional<NumberType> ParseNumberType(const std::string& duckdb_type);

}  // namespace millrace::aggregate
