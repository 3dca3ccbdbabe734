#include "sql/error_place.h"

#include <charconv>
#include <cstdio>
#include <regex>
#include <string_view>

namespace millrace::sql {
namespace {

std::string LineOf(const std::string& text, int line) {
  std::size_t start = 0;
  for (int i = 1; i < line; ++i) {
    start = text.find('\n', start);
    if (start == std::string::npos) return "";
    ++start;
  }
  return text.substr(start, text.find('\n', start) - start);
}

}  // namespace

std::optional<ErrorPlace> TakeErrorPlace(std::string& message, const std::string& sql) {
  static const std::regex kPicture(R"(\n+LINE (\d+): (.*)\n( *)\^\s*)");
  std::smatch match;
  if (!std::regex_search(message, match, kPicture)) return std::nullopt;
  int line = 0;
  std::from_chars(&*match[1].first, &*match[1].first + match[1].length(), line);
  std::string shown = match[2];
  const auto prefix = std::string_view("LINE : ").size() + static_cast<std::size_t>(match[1].length());
  auto caret = static_cast<std::size_t>(match[3].length());
  message = match.prefix().str() + match.suffix().str();
  if (caret < prefix) return std::nullopt;
  caret -= prefix;
  if (shown.starts_with("...") && caret >= 3) {
    shown.erase(0, 3);
    caret -= 3;
  }
  if (shown.ends_with("...")) shown.erase(shown.size() - 3);
  const auto at = LineOf(sql, line).find(shown);
  if (shown.empty() || at == std::string::npos) return std::nullopt;
  return ErrorPlace{line, static_cast<int>(at + caret) + 1};
}

std::optional<std::size_t> OffsetOfPlace(std::string_view message, std::string_view sql) {
  const auto at = message.rfind("at line ");
  if (at == std::string_view::npos) return std::nullopt;
  int line = 0;
  int column = 0;
  if (std::sscanf(std::string(message.substr(at)).c_str(), "at line %d column %d", &line, &column) != 2) {
    return std::nullopt;
  }
  std::size_t begin = 0;
  for (int i = 1; i < line; ++i) {
    begin = sql.find('\n', begin);
    if (begin == std::string_view::npos) return std::nullopt;
    ++begin;
  }
  const std::size_t offset = begin + static_cast<std::size_t>(column) - 1;
  if (column < 1 || offset > sql.size()) return std::nullopt;
  return offset;
}

}  // namespace millrace::sql
