#include "delta/file_path.h"

#include <algorithm>
#include <cctype>
#include <string_view>

namespace millrace::delta {
namespace {

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// "s3:", "file:" and the like. A '=' before the colon is a partition folder such as ts=12:00.
bool HasScheme(std::string_view path) {
  const auto colon = path.find(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  return std::all_of(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(colon),
                     [](unsigned char c) { return std::isalnum(c) != 0 || c == '+' || c == '-' || c == '.'; });
}

std::string_view WithoutFileScheme(std::string_view uri) {
  constexpr std::string_view kScheme = "file:";
  if (!uri.starts_with(kScheme)) return uri;
  uri.remove_prefix(kScheme.size());
  while (uri.starts_with("//")) uri.remove_prefix(1);
  return uri;
}

}  // namespace

std::string EncodePath(const std::string& key) {
  constexpr std::string_view kPlain = "-_.~/=+,!$&'()*@:";
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string path;
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte < 0x80 && (std::isalnum(byte) != 0 || kPlain.find(c) != std::string_view::npos);
    if (plain) {
      path += c;
    } else {
      path += '%';
      path += kHex[byte >> 4];
      path += kHex[byte & 0xF];
    }
  }
  return path;
}

Result<std::string> DecodePath(const std::string& path, const std::string& table_uri) {
  if (path.starts_with('/') || HasScheme(path)) {
    // "/data/t/x", "file:/data/t/x" and "file:///data/t/x" are one file; what follows the root is judged as ever.
    const std::string_view root = WithoutFileScheme(table_uri);
    const std::string_view absolute = WithoutFileScheme(path);
    if (!root.empty() && absolute.size() > root.size() && absolute.starts_with(root) && absolute[root.size()] == '/') {
      return DecodePath(std::string(absolute.substr(root.size() + 1)));
    }
    return Unsupported("the file '{}' has an absolute path; only files below the table are read", path);
  }
  std::string key;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] != '%') {
      key += path[i];
      continue;
    }
    const int high = i + 2 < path.size() ? HexValue(path[i + 1]) : -1;
    const int low = i + 2 < path.size() ? HexValue(path[i + 2]) : -1;
    if (high < 0 || low < 0) return Corrupt("the path of file '{}' is not URL-encoded", path);
    key += static_cast<char>(high * 16 + low);
    i += 2;
  }
  std::size_t begin = 0;
  while (begin <= key.size()) {
    const std::size_t end = std::min(key.find('/', begin), key.size());
    const std::string_view segment = std::string_view(key).substr(begin, end - begin);
    if (segment.empty() || segment == "." || segment == ".." || segment.find('\0') != std::string_view::npos) {
      return Corrupt("the file '{}' is not a path below the table", path);
    }
    begin = end + 1;
  }
  return key;
}

}  // namespace millrace::delta
