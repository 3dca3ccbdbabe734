#include "postgres/sql_state.h"

#include <algorithm>
#include <utility>

#include "sql/error_place.h"

namespace millrace::postgres {
namespace {

// DuckDB's messages about SQL begin with the class of the error.
constexpr std::pair<std::string_view, std::string_view> kClasses[] = {
    {"Parser Error", sql_state::kSyntax},
    {"Conversion Error", sql_state::kInvalidTextRepresentation},
    {"Out of Range Error", sql_state::kNumericValueOutOfRange},
    {"Binder Error: Referenced column", sql_state::kUndefinedColumn},
    {"syntax error", sql_state::kSyntax},
    {"Not implemented Error", sql_state::kFeatureNotSupported},
};

std::string_view CodeOf(const Status& status) {
  switch (KindOf(status)) {
    case ErrorKind::kNotFound:
      return sql_state::kUndefinedTable;
    case ErrorKind::kInvalidInput: {
      const auto found = std::find_if(std::begin(kClasses), std::end(kClasses),
                                      [&](const auto& one) { return status.message().starts_with(one.first); });
      return found == std::end(kClasses) ? sql_state::kSyntaxOrAccess : found->second;
    }
    case ErrorKind::kTooLarge:
      return sql_state::kProgramLimitExceeded;
    case ErrorKind::kUnsupported:
      return sql_state::kFeatureNotSupported;
    case ErrorKind::kTransient:
      return sql_state::kLimitExceeded;
    case ErrorKind::kCancelled:
      return sql_state::kQueryCanceled;
    default:
      return sql_state::kInternal;
  }
}

}  // namespace

SqlError ErrorOf(const Status& status, std::string_view sql) {
  SqlError error{.code = CodeOf(status), .message = status.message()};
  if (const auto offset = sql::OffsetOfPlace(error.message, sql)) {
    // In characters: bytes that go on with one do not count.
    const auto before = sql.substr(0, *offset);
    error.position =
        1 + static_cast<int>(std::count_if(before.begin(), before.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  }
  if (KindOf(status) == ErrorKind::kTooLarge)
    error.hint = "Ask for less: a condition, a LIMIT, fewer groups or columns.";
  if (KindOf(status) == ErrorKind::kTransient) error.hint = "Ask again.";
  return error;
}

}  // namespace millrace::postgres
