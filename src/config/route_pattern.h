/// How the tables of a family are called. `ev_{type}` with `route: type` is one table for each value of the column
/// `type`: `ev_click`, `ev_view`, and an index of them, `ev_routes`.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace millrace::config {

/// Tables of one family, at most, whatever `max` says: each has files, a log and a commit of its own.
inline constexpr int kRoutesMax = 1000;

struct RoutePattern {
  std::string prefix;
  std::string column;
  std::string suffix;

  /// nullopt: not text with exactly one `{column}`, or one that no table could be called by.
  static std::optional<RoutePattern> Parse(std::string_view name);

  std::string TableOf(std::string_view value) const { return prefix + std::string(value) + suffix; }
  /// The index is called as the table of this value would be, which therefore has none.
  std::string IndexTable() const { return TableOf("routes"); }

  /// Whether TableOf(value) is a table's name: a letter, then letters, digits, _ and -, 128 at most. The value itself
  /// must not be empty.
  bool Fits(std::string_view value) const;
  /// Whether some value's table can be called `name`, in any case of letters.
  bool CanName(std::string_view name) const;
  /// Whether both can call a table by one name, in any case of letters.
  bool Overlaps(const RoutePattern& other) const;
};

}  // namespace millrace::config
