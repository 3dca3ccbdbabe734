#include "objectstore/object_key.h"

#include <algorithm>
#include <string_view>

namespace millrace::objectstore {

Status CheckKey(const std::string& key) {
  if (key.empty() || key.front() == '/' || key.back() == '/') return InvalidInput("not a key: '{}'", key);
  if (key.find('\0') != std::string::npos) return InvalidInput("a key must not contain NUL");
  std::size_t begin = 0;
  while (begin <= key.size()) {
    const std::size_t end = std::min(key.find('/', begin), key.size());
    const std::string_view segment = std::string_view(key).substr(begin, end - begin);
    if (segment.empty() || segment == "." || segment == "..") {
      return InvalidInput("a key must not contain the segment '{}': '{}'", segment, key);
    }
    begin = end + 1;
  }
  return Status::OK();
}

}  // namespace millrace::objectstore
