#include <fmt/format.h>

#include "sql/duckdb_handle_internal.h"
#include "sql/sql_session.h"
#include "sql/type_text_internal.h"

namespace millrace::sql {
namespace {

using OwnedType = Owned<duckdb_logical_type, duckdb_destroy_logical_type>;

std::string TakeText(char* text) {
  std::string taken = text == nullptr ? "" : text;
  duckdb_free(text);
  return taken;
}

std::string TakeTypeText(duckdb_logical_type type) { return TypeText(OwnedType(type).get()); }

bool IsPlainName(const std::string& name) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  return name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
}

std::string StructText(duckdb_logical_type type) {
  std::string text = "STRUCT(";
  for (idx_t i = 0; i < duckdb_struct_type_child_count(type); ++i) {
    const std::string name = TakeText(duckdb_struct_type_child_name(type, i));
    text += fmt::format("{}{} {}", i == 0 ? "" : ", ", IsPlainName(name) ? name : QuoteIdentifier(name),
                        TakeTypeText(duckdb_struct_type_child_type(type, i)));
  }
  return text + ")";
}

std::string UnionText(duckdb_logical_type type) {
  std::string text = "UNION(";
  for (idx_t i = 0; i < duckdb_union_type_member_count(type); ++i) {
    text +=
        fmt::format("{}{} {}", i == 0 ? "" : ", ", QuoteIdentifier(TakeText(duckdb_union_type_member_name(type, i))),
                    TakeTypeText(duckdb_union_type_member_type(type, i)));
  }
  return text + ")";
}

std::string EnumText(duckdb_logical_type type) {
  std::string text = "ENUM(";
  for (idx_t i = 0; i < duckdb_enum_dictionary_size(type); ++i) {
    text += (i == 0 ? "" : ", ") + QuoteLiteral(TakeText(duckdb_enum_dictionary_value(type, i)));
  }
  return text + ")";
}

}  // namespace

std::string TypeText(duckdb_logical_type type) {
  if (std::string alias = TakeText(duckdb_logical_type_get_alias(type)); !alias.empty()) return alias;
  switch (duckdb_get_type_id(type)) {
    case DUCKDB_TYPE_BOOLEAN:
      return "BOOLEAN";
    case DUCKDB_TYPE_TINYINT:
      return "TINYINT";
    case DUCKDB_TYPE_SMALLINT:
      return "SMALLINT";
    case DUCKDB_TYPE_INTEGER:
      return "INTEGER";
    case DUCKDB_TYPE_BIGINT:
      return "BIGINT";
    case DUCKDB_TYPE_UTINYINT:
      return "UTINYINT";
    case DUCKDB_TYPE_USMALLINT:
      return "USMALLINT";
    case DUCKDB_TYPE_UINTEGER:
      return "UINTEGER";
    case DUCKDB_TYPE_UBIGINT:
      return "UBIGINT";
    case DUCKDB_TYPE_FLOAT:
      return "FLOAT";
    case DUCKDB_TYPE_DOUBLE:
      return "DOUBLE";
    case DUCKDB_TYPE_TIMESTAMP:
      return "TIMESTAMP";
    case DUCKDB_TYPE_DATE:
      return "DATE";
    case DUCKDB_TYPE_TIME:
      return "TIME";
    case DUCKDB_TYPE_INTERVAL:
      return "INTERVAL";
    case DUCKDB_TYPE_HUGEINT:
      return "HUGEINT";
    case DUCKDB_TYPE_UHUGEINT:
      return "UHUGEINT";
    case DUCKDB_TYPE_VARCHAR:
      return "VARCHAR";
    case DUCKDB_TYPE_BLOB:
      return "BLOB";
    case DUCKDB_TYPE_TIMESTAMP_S:
      return "TIMESTAMP_S";
    case DUCKDB_TYPE_TIMESTAMP_MS:
      return "TIMESTAMP_MS";
    case DUCKDB_TYPE_TIMESTAMP_NS:
      return "TIMESTAMP_NS";
    case DUCKDB_TYPE_UUID:
      return "UUID";
    case DUCKDB_TYPE_BIT:
      return "BIT";
    case DUCKDB_TYPE_TIME_TZ:
      return "TIME WITH TIME ZONE";
    case DUCKDB_TYPE_TIMESTAMP_TZ:
      return "TIMESTAMP WITH TIME ZONE";
    case DUCKDB_TYPE_BIGNUM:
      return "BIGNUM";
    case DUCKDB_TYPE_TIME_NS:
      return "TIME_NS";
    case DUCKDB_TYPE_SQLNULL:
      return "\"NULL\"";
    case DUCKDB_TYPE_DECIMAL:
      return fmt::format("DECIMAL({},{})", duckdb_decimal_width(type), duckdb_decimal_scale(type));
    case DUCKDB_TYPE_LIST:
      return TakeTypeText(duckdb_list_type_child_type(type)) + "[]";
    case DUCKDB_TYPE_ARRAY:
      return fmt::format("{}[{}]", TakeTypeText(duckdb_array_type_child_type(type)),
                         duckdb_array_type_array_size(type));
    case DUCKDB_TYPE_MAP:
      return fmt::format("MAP({}, {})", TakeTypeText(duckdb_map_type_key_type(type)),
                         TakeTypeText(duckdb_map_type_value_type(type)));
    case DUCKDB_TYPE_STRUCT:
      return StructText(type);
    case DUCKDB_TYPE_UNION:
      return UnionText(type);
    case DUCKDB_TYPE_ENUM:
      return EnumText(type);
    default:
      return "UNKNOWN";
  }
}

}  // namespace millrace::sql
