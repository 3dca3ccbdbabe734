#include "config/topic_pattern.h"

#include <array>
#include <cctype>
#include <string_view>
#include <utility>

namespace millrace::config {

Result<TopicPattern> TopicPattern::Parse(const std::string& written) {
  if (written.size() > kLengthMax) {
    return InvalidInput("a regular expression of {} characters; {} is the most", written.size(), kLengthMax);
  }
  for (std::size_t i = 0; i + 1 < written.size(); ++i) {
    if (written[i] != '\\') continue;
    const char escaped = written[++i];
    if (std::isalnum(static_cast<unsigned char>(escaped)) == 0) continue;
    if (std::string_view("wWsSbB").find(escaped) != std::string_view::npos) continue;
    return InvalidInput("'{}' has '\\{}', which POSIX's regular expressions do not know{}", written, escaped,
                        escaped == 'd' ? "; write [0-9]" : "");
  }
  auto compiled = std::make_unique<regex_t>();
  const int error = regcomp(compiled.get(), written.c_str(), REG_EXTENDED);
  if (error != 0) {
    std::array<char, 256> why{};
    regerror(error, compiled.get(), why.data(), why.size());
    return InvalidInput("'{}' is not a regular expression: {}", written, why.data());
  }
  const auto free = [](regex_t* expression) {
    regfree(expression);
    delete expression;
  };
  return TopicPattern(written, std::shared_ptr<const regex_t>(compiled.release(), free));
}

bool TopicPattern::Matches(const std::string& topic) const {
  if (topic.starts_with("__")) return false;
  // Of all matches the first is found, and of those that begin there the longest.
  regmatch_t match{};
  return regexec(compiled_.get(), topic.c_str(), 1, &match, 0) == 0 && match.rm_so == 0 &&
         match.rm_eo == static_cast<regoff_t>(topic.size());
}

}  // namespace millrace::config
