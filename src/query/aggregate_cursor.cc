#include "query/aggregate_cursor.h"

#include <fmt/format.h>

#include <charconv>
#include <string_view>
#include <vector>

#include "query/pages_internal.h"

namespace millrace::query {
namespace {

std::uint64_t HashOf(const std::string& aggregate, const AggregateRequest& request) {
  QuestionHash hash;
  hash.Add(aggregate);
  hash.Add(request.range_text.first);
  hash.Add(request.range_text.second);
  hash.Add(request.step_us ? std::to_string(*request.step_us) : "");
  hash.Add(request.group_by ? "groups" : "");
  hash.Add(request.group_by.value_or(std::vector<std::string>{}));
  hash.Add(request.where);
  hash.Add(request.measures);
  hash.Add(request.order_by);
  hash.Add(std::to_string(static_cast<int>(request.fill)));
  return hash.value();
}

std::string Number(const std::optional<std::int64_t>& number) { return number ? std::to_string(*number) : ""; }

// What stands between dots; nothing: none.
bool TakeNumber(std::string_view* text, std::optional<std::int64_t>* number) {
  const auto dot = text->find('.');
  if (dot == std::string_view::npos) return false;
  const std::string_view digits = text->substr(0, dot);
  text->remove_prefix(dot + 1);
  number->reset();
  if (digits.empty()) return true;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number->emplace());
  return error == std::errc() && end == digits.data() + digits.size();
}

}  // namespace

std::string CursorText(const std::string& aggregate, const AggregateRequest& request, const AggregateCursor& cursor) {
  return fmt::format("{}.{}.{}.{}.{}.{:016x}", cursor.version, cursor.rows, Number(cursor.range.from),
                     Number(cursor.range.to), Number(cursor.watermark), HashOf(aggregate, request));
}

Result<AggregateCursor> ParseCursor(const std::string& aggregate, const AggregateRequest& request) {
  std::string_view rest = request.cursor;
  AggregateCursor cursor;
  std::optional<std::int64_t> version;
  std::optional<std::int64_t> rows;
  if (!TakeNumber(&rest, &version) || !TakeNumber(&rest, &rows) || !TakeNumber(&rest, &cursor.range.from) ||
      !TakeNumber(&rest, &cursor.range.to) || !TakeNumber(&rest, &cursor.watermark) || !version || !rows ||
      *version < 0 || *rows < 0) {
    return InvalidInput("cursor: '{}' is none: it is what 'next' of the page before says", request.cursor);
  }
  cursor.version = *version;
  cursor.rows = *rows;
  if (request.cursor != CursorText(aggregate, request, cursor)) {
    return InvalidInput("cursor: it belongs to another question: all parameters but limit must be as they were");
  }
  return cursor;
}

}  // namespace millrace::query
