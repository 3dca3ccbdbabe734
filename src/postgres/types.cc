#include "postgres/types.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace millrace::postgres {
namespace {

constexpr std::array kTypes = {
    TypeEntry{oid::kBool, 1000, 1, "bool", "boolean", 'B', "BOOLEAN"},
    TypeEntry{oid::kBytea, 1001, -1, "bytea", "bytea", 'U', "BLOB"},
    TypeEntry{oid::kChar, 1002, 1, "char", "\"char\"", 'Z', "VARCHAR"},
    TypeEntry{oid::kName, 1003, 64, "name", "name", 'S', "VARCHAR"},
    TypeEntry{oid::kInt8, 1016, 8, "int8", "bigint", 'N', "BIGINT"},
    TypeEntry{oid::kInt2, 1005, 2, "int2", "smallint", 'N', "SMALLINT"},
    TypeEntry{oid::kInt4, 1007, 4, "int4", "integer", 'N', "INTEGER"},
    TypeEntry{oid::kText, 1009, -1, "text", "text", 'S', "VARCHAR"},
    TypeEntry{oid::kOid, 1028, 4, "oid", "oid", 'N', "BIGINT"},
    TypeEntry{oid::kJson, 199, -1, "json", "json", 'U', "JSON"},
    TypeEntry{oid::kFloat4, 1021, 4, "float4", "real", 'N', "FLOAT"},
    TypeEntry{oid::kFloat8, 1022, 8, "float8", "double precision", 'N', "DOUBLE"},
    TypeEntry{oid::kBpchar, 1014, -1, "bpchar", "character", 'S', "VARCHAR"},
    TypeEntry{oid::kVarchar, 1015, -1, "varchar", "character varying", 'S', "VARCHAR"},
    TypeEntry{oid::kDate, 1182, 4, "date", "date", 'D', "DATE"},
    TypeEntry{oid::kTime, 1183, 8, "time", "time without time zone", 'D', "TIME"},
    TypeEntry{oid::kTimestamp, 1115, 8, "timestamp", "timestamp without time zone", 'D', "TIMESTAMP"},
    TypeEntry{oid::kTimestampTz, 1185, 8, "timestamptz", "timestamp with time zone", 'D', "TIMESTAMPTZ"},
    TypeEntry{oid::kInterval, 1187, 16, "interval", "interval", 'T', "INTERVAL"},
    TypeEntry{oid::kNumeric, 1231, -1, "numeric", "numeric", 'N', "DECIMAL"},
    TypeEntry{oid::kUuid, 2951, 16, "uuid", "uuid", 'U', "UUID"},
    TypeEntry{oid::kJsonb, 3807, -1, "jsonb", "jsonb", 'U', "JSON"},
};

struct Named {
  std::string_view duckdb;
  std::uint32_t type;
};

constexpr Named kNamed[] = {
    {"BOOLEAN", oid::kBool},
    {"TINYINT", oid::kInt2},
    {"SMALLINT", oid::kInt2},
    {"UTINYINT", oid::kInt2},
    {"INTEGER", oid::kInt4},
    {"USMALLINT", oid::kInt4},
    {"BIGINT", oid::kInt8},
    {"UINTEGER", oid::kInt8},
    {"UBIGINT", oid::kNumeric},
    {"HUGEINT", oid::kNumeric},
    {"UHUGEINT", oid::kNumeric},
    {"FLOAT", oid::kFloat4},
    {"DOUBLE", oid::kFloat8},
    {"VARCHAR", oid::kText},
    {"BLOB", oid::kBytea},
    {"DATE", oid::kDate},
    {"TIME", oid::kTime},
    {"TIMESTAMP", oid::kTimestamp},
    {"TIMESTAMP_S", oid::kTimestamp},
    {"TIMESTAMP_MS", oid::kTimestamp},
    {"TIMESTAMP_NS", oid::kTimestamp},
    {"TIMESTAMP WITH TIME ZONE", oid::kTimestampTz},
    {"INTERVAL", oid::kInterval},
    {"UUID", oid::kUuid},
    {"JSON", oid::kJson},
    {"BIT", oid::kText},
    {"\"NULL\"", oid::kText},
    // Those of the catalog that clients cast to.
    {"name", oid::kName},
    {"regclass", oid::kInt8},
    {"regnamespace", oid::kInt8},
    {"regproc", oid::kText},
    {"regrole", oid::kInt8},
    {"regtype", oid::kInt8},
    {"aclitem", oid::kText},
    {"cardinal_number", oid::kInt4},
    {"character_data", oid::kText},
    {"cid", oid::kInt8},
    {"pg_node_tree", oid::kText},
    {"sql_identifier", oid::kText},
    {"xid", oid::kInt8},
    {"yes_or_no", oid::kText},
};

std::int32_t NumericModifier(std::string_view duckdb_type) {
  int precision = 0;
  int scale = 0;
  const char* const end = duckdb_type.data() + duckdb_type.size();
  const auto [comma, error] = std::from_chars(duckdb_type.data() + std::string_view("DECIMAL(").size(), end, precision);
  if (error != std::errc() || comma == end) return -1;
  std::from_chars(comma + 1, end, scale);
  return ((precision << 16) | scale) + 4;
}

}  // namespace

std::span<const TypeEntry> Types() { return kTypes; }

const TypeEntry* FindType(std::uint32_t type) {
  const auto found = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeEntry& one) { return one.oid == type; });
  return found == kTypes.end() ? nullptr : &*found;
}

const TypeEntry* FindElement(std::uint32_t array) {
  const auto found =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeEntry& one) { return one.array == array; });
  return found == kTypes.end() ? nullptr : &*found;
}

PgType TypeOf(std::string_view duckdb_type) {
  const PgType json{.oid = oid::kJson};
  if (duckdb_type.empty()) return {};
  if (duckdb_type.ends_with(']')) {  // INTEGER[], or INTEGER[3].
    const PgType element = TypeOf(duckdb_type.substr(0, duckdb_type.rfind('[')));
    const auto* entry = FindType(element.oid);
    if (element.element != 0 || element.oid == oid::kJson || entry == nullptr) return json;
    return {.oid = entry->array, .bytes = -1, .modifier = element.modifier, .element = element.oid};
  }
  if (duckdb_type.starts_with("DECIMAL(")) return {.oid = oid::kNumeric, .modifier = NumericModifier(duckdb_type)};
  if (duckdb_type.starts_with("ENUM(")) return {};
  const auto named =
      std::find_if(std::begin(kNamed), std::end(kNamed), [&](const Named& one) { return one.duckdb == duckdb_type; });
  if (named == std::end(kNamed)) return json;
  return {.oid = named->type, .bytes = FindType(named->type)->bytes};
}

std::string SqlNameOf(const PgType& type) {
  const auto* entry = FindType(type.element != 0 ? type.element : type.oid);
  std::string name(entry == nullptr ? "text" : entry->sql_name);
  if (type.modifier >= 4) {
    const std::int32_t bits = type.modifier - 4;
    name += fmt::format("({},{})", bits >> 16, bits & 0xFFFF);
  }
  if (type.element != 0) name += "[]";
  return name;
}

}  // namespace millrace::postgres
