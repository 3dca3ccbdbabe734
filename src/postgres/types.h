/// DuckDB's types as PostgreSQL's: numbers (OIDs), sizes and names.
///
/// What PostgreSQL does not have becomes what holds it: small and unsigned integers the next wider one (UBIGINT and
/// HUGEINT numeric), ENUM and BIT text, a list of one of these its array, and STRUCT, MAP, UNION, lists of lists and
/// whatever else there is json.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace millrace::postgres {

namespace oid {
inline constexpr std::uint32_t kBool = 16;
inline constexpr std::uint32_t kBytea = 17;
inline constexpr std::uint32_t kChar = 18;
inline constexpr std::uint32_t kName = 19;
inline constexpr std::uint32_t kInt8 = 20;
inline constexpr std::uint32_t kInt2 = 21;
inline constexpr std::uint32_t kInt4 = 23;
inline constexpr std::uint32_t kText = 25;
inline constexpr std::uint32_t kOid = 26;
inline constexpr std::uint32_t kJson = 114;
inline constexpr std::uint32_t kFloat4 = 700;
inline constexpr std::uint32_t kFloat8 = 701;
inline constexpr std::uint32_t kUnknown = 705;
inline constexpr std::uint32_t kBpchar = 1042;
inline constexpr std::uint32_t kVarchar = 1043;
inline constexpr std::uint32_t kDate = 1082;
inline constexpr std::uint32_t kTime = 1083;
inline constexpr std::uint32_t kTimestamp = 1114;
inline constexpr std::uint32_t kTimestampTz = 1184;
inline constexpr std::uint32_t kInterval = 1186;
inline constexpr std::uint32_t kNumeric = 1700;
inline constexpr std::uint32_t kUuid = 2950;
inline constexpr std::uint32_t kJsonb = 3802;
}  // namespace oid

/// A type that values and parameters here may have.
struct TypeEntry {
  std::uint32_t oid;
  std::uint32_t array;        ///< Its array's.
  std::int16_t bytes;         ///< Of a value in binary; -1: any number.
  std::string_view name;      ///< In pg_type.
  std::string_view sql_name;  ///< As format_type() has it.
  char category;              ///< pg_type.typcategory.
  std::string_view duckdb;    ///< What DuckDB casts a text of it to.
};

/// All of them, arrays left out.
std::span<const TypeEntry> Types();
/// nullptr: there is none. Of an array, FindElement() finds what it holds.
const TypeEntry* FindType(std::uint32_t oid);
const TypeEntry* FindElement(std::uint32_t array_oid);

/// What a column is told to be.
struct PgType {
  std::uint32_t oid = oid::kText;
  std::int16_t bytes = -1;
  std::int32_t modifier = -1;  ///< Of numeric(p, s): ((p << 16) | s) + 4.
  std::uint32_t element = 0;   ///< Of an array; 0: none is.
};

/// By DuckDB's name; empty (it is not known yet): text.
PgType TypeOf(std::string_view duckdb_type);

/// "numeric(12,2)[]", "timestamp with time zone".
std::string SqlNameOf(const PgType& type);

}  // namespace millrace::postgres
