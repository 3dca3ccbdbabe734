#include "aggregate/functions/doubles.h"

#include "aggregate/functions/number_type.h"

namespace millrace::aggregate {

std::optional<std::string> CastToDoubles(const Call& call) {
  std::string cast;
  for (const auto& argument : call.arguments) {
    const auto number = ParseNumberType(argument.duckdb_type);
    if (!number) return std::nullopt;
    const bool is_signed = number->kind == NumberType::Kind::kInteger && !number->is_unsigned && number->bits <= 64;
    if (number->kind != NumberType::Kind::kDouble && !is_signed) cast = "DOUBLE";
  }
  return cast;
}

std::string FiniteOrFail(const std::string& condition, std::span<const std::string> finite, const std::string& reason,
                         const std::string& value) {
  std::string checked = value;
  for (const std::string& column : finite) {
    // error() is volatile, and could not be tried; a cast that cannot succeed can.
    checked = fmt::format("CASE WHEN isfinite({}) THEN {} ELSE CAST('{}' AS DOUBLE) END", column, checked, reason);
  }
  return fmt::format("(CASE WHEN {} THEN {} END)", condition, checked);
}

}  // namespace millrace::aggregate
