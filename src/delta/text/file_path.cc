#include "delta/text/file_path.h"

#include <algorithm>
#include <cctype>

#include "base/percent_coding.h"

namespace millrace::delta {
namespace {

// `path`: as logged.
Result<std::string> UrlDecode(const std::string& path) {
  auto text = PercentDecode(path);
  if (!text.ok()) return Corrupt("the path of file '{}' is not URL-encoded", path);
  return text;
}

// Without "." segments. `path`: as logged, for the message.
Result<std::string> CleanKey(std::string_view key, const std::string& path) {
  std::string clean;
  std::size_t begin = 0;
  while (begin <= key.size()) {
    const std::size_t end = std::min(key.find('/', begin), key.size());
    const std::string_view segment = key.substr(begin, end - begin);
    // What ends in a dot is a folder.
    const bool is_dot = segment == "." && end < key.size();
    if (segment.empty() || (segment == "." && !is_dot) || segment == ".." ||
        segment.find('\0') != std::string_view::npos) {
      return Corrupt("the file '{}' is not a path below the table", path);
    }
    if (!is_dot) {
      if (!clean.empty()) clean += '/';
      clean += segment;
    }
    begin = end + 1;
  }
  return clean;
}

}  // namespace

std::string EncodePath(const std::string& key) {
  constexpr std::string_view kPlain = "-_.~/=+,!$&'()*@:";
  std::string path;
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte < 0x80 && (std::isalnum(byte) != 0 || kPlain.find(c) != std::string_view::npos);
    if (plain) {
      path += c;
    } else {
      AppendPercentEncoded(c, path);
    }
  }
  return path;
}

bool IsAbsolutePath(std::string_view path) {
  if (path.starts_with('/')) return true;
  const auto colon = path.find(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const bool is_scheme = std::all_of(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(colon), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '+' || c == '-' || c == '.';
  });
  if (!is_scheme) return false;
  // deltalake leaves the colon in the folder of a column "a:b".
  const auto slash = std::min(path.find('/'), path.size());
  return slash == colon + 1 || path.substr(colon, slash - colon).find('=') == std::string_view::npos;
}

Result<std::string> DecodeRelativePath(const std::string& path) {
  if (IsAbsolutePath(path)) return Unsupported("the file '{}' has an absolute path", path);
  ASSIGN_OR_RETURN(const std::string key, UrlDecode(path));
  return CleanKey(key, path);
}

Result<std::string> DecodePath(const std::string& path, const objectstore::ObjectStore& store) {
  if (!IsAbsolutePath(path)) return DecodeRelativePath(path);
  ASSIGN_OR_RETURN(const std::string location, UrlDecode(path));
  if ((location + "/").find("/../") != std::string::npos || location.find('\0') != std::string::npos) {
    return Corrupt("the file '{}' is not a path below the table", path);
  }
  const auto key = store.KeyOf(location);
  if (!key) {
    return Unsupported("the file '{}' has an absolute path that is not below {}; only the table's own files are read",
                       path, store.uri());
  }
  return CleanKey(*key, path);
}

}  // namespace millrace::delta
