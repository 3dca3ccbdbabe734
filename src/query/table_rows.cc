#include "query/table_rows.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <string_view>

#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "query/condition_tree_internal.h"
#include "query/pages_internal.h"

namespace millrace::query {
namespace {

namespace json = boost::json;

std::uint64_t HashOf(const RowsRequest& request) {
  QuestionHash hash;
  hash.Add(request.table);
  hash.Add(request.where);
  hash.Add(request.columns);
  hash.Add(request.order_by);
  return hash.value();
}

Result<std::string> ColumnNamed(const char* parameter, std::string_view name, const arrow::Schema& schema,
                                const std::string& table) {
  for (const auto& field : schema.fields()) {
    if (EqualsIgnoringAsciiCase(field->name(), name)) return field->name();
  }
  return InvalidInput("{}: no column '{}' in {}{}", parameter, name, table,
                      DidYouMean(std::string(name), schema.field_names()));
}

bool HasSubquery(const json::value& value) {
  if (const auto* array = value.if_array()) return std::any_of(array->begin(), array->end(), HasSubquery);
  const auto* object = value.if_object();
  if (object == nullptr) return false;
  if (TextMember(*object, "class") == "SUBQUERY") return true;
  return std::any_of(object->begin(), object->end(), [](const auto& member) { return HasSubquery(member.value()); });
}

}  // namespace

std::string CursorText(const RowsRequest& request, const RowsCursor& cursor) {
  return fmt::format("{}-{}-{:016x}", cursor.version, cursor.rows, HashOf(request));
}

Result<RowsCursor> ParseCursor(const RowsRequest& request) {
  const std::string& text = request.cursor;
  const auto number = [](std::string_view digits, std::int64_t* out) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), *out);
    return !digits.empty() && error == std::errc() && end == digits.data() + digits.size() && *out >= 0;
  };
  const auto first = text.find('-');
  const auto second = first == std::string::npos ? first : text.find('-', first + 1);
  RowsCursor cursor;
  std::int64_t version = 0;
  if (second == std::string::npos || !number(std::string_view(text).substr(0, first), &version) ||
      !number(std::string_view(text).substr(first + 1, second - first - 1), &cursor.rows)) {
    return InvalidInput("cursor: '{}' is none: it is what 'next' of the page before says", text);
  }
  cursor.version = version;
  if (text != CursorText(request, cursor)) {
    return InvalidInput("cursor: it belongs to a request with other columns, where, order_by or another table");
  }
  return cursor;
}

Result<std::string> RowsSql(sql::SqlSession& session, const RowsRequest& request, const arrow::Schema& schema,
                            std::int64_t rows_before) {
  std::vector<std::string> columns;
  for (const auto& name : request.columns) {
    ASSIGN_OR_RETURN(const auto column, ColumnNamed("columns", name, schema, request.table));
    columns.push_back(sql::QuoteIdentifier(column));
  }
  if (columns.empty()) {
    for (const auto& field : schema.fields()) columns.push_back(sql::QuoteIdentifier(field->name()));
  }
  std::string sql = fmt::format("SELECT {} FROM {}", fmt::join(columns, ", "), sql::QuoteIdentifier(request.table));
  if (!request.where.empty()) {
    const auto tree = ParseCondition(session, request.where);
    if (!tree.ok()) return WithContext(tree.status(), "where");
    if (HasSubquery(tree->condition())) return InvalidInput("where: subqueries are not allowed");
    sql += " WHERE " + tree->sql;
  }
  if (!request.order_by.empty()) {
    std::vector<std::string> terms;
    for (const auto& item : request.order_by) {
      const auto blank = item.find_last_of(' ');
      const std::string last = blank == std::string::npos ? "" : AsciiLower(item.substr(blank + 1));
      const bool has_direction = last == "asc" || last == "desc";
      const std::string name = has_direction ? item.substr(0, item.find_last_not_of(' ', blank) + 1) : item;
      ASSIGN_OR_RETURN(const auto column, ColumnNamed("order_by", name, schema, request.table));
      terms.push_back(sql::QuoteIdentifier(column) + (last == "desc" ? " DESC" : ""));
    }
    // Rows that are the same in these too cannot be told apart, so it is all one which page has which of them.
    terms.insert(terms.end(), columns.begin(), columns.end());
    sql += fmt::format(" ORDER BY {}", fmt::join(terms, ", "));
  }
  return sql + fmt::format(" LIMIT {} OFFSET {}", request.limit + 1, rows_before);
}

}  // namespace millrace::query
