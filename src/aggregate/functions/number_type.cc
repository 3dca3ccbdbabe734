#include "aggregate/functions/number_type.h"

#include <cstdio>
#include <map>

namespace millrace::aggregate {

std::optional<NumberType> ParseNumberType(const std::string& duckdb_type) {
  using enum NumberType::Kind;
  static const std::map<std::string, NumberType> kByName = {
      {"BOOLEAN", {kInteger, 1}},         {"TINYINT", {kInteger, 8}},
      {"SMALLINT", {kInteger, 16}},       {"INTEGER", {kInteger, 32}},
      {"BIGINT", {kInteger, 64}},         {"HUGEINT", {kInteger, 128}},
      {"UTINYINT", {kInteger, 8, true}},  {"USMALLINT", {kInteger, 16, true}},
      {"UINTEGER", {kInteger, 32, true}}, {"UBIGINT", {kInteger, 64, true}},
      {"FLOAT", {kDouble, 32}},           {"DOUBLE", {kDouble, 64}},
  };
  if (const auto found = kByName.find(duckdb_type); found != kByName.end()) return found->second;
  int precision = 0;
  int scale = 0;
  if (std::sscanf(duckdb_type.c_str(), "DECIMAL(%d,%d)", &precision, &scale) != 2) return std::nullopt;
  const int bits = precision <= 4 ? 16 : precision <= 9 ? 32 : precision <= 18 ? 64 : 128;
  return NumberType{kDecimal, bits, false, scale};
}

}  // namespace millrace::aggregate
