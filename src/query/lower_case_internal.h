/// ASCII lower case, as DuckDB compares names. Of the folder only.
#pragma once

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>

namespace millrace::query {

inline std::string Lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

}  // namespace millrace::query
