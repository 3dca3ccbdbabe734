/// Case of ASCII letters only, whatever the process's locale: how SQL identifiers, HTTP headers and configuration words
/// compare. Every other byte, so UTF-8 beyond ASCII as well, stays as it is. (Columns of Delta tables have Unicode's
/// letters: delta/column_name.h.)
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace millrace {

constexpr char AsciiLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

inline std::string AsciiLower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = AsciiLower(c);
  return lower;
}

/// Without allocation.
inline bool EqualsIgnoringAsciiCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return AsciiLower(x) == AsciiLower(y); });
}

}  // namespace millrace
