/// Topics by a regular expression, as an input may name them: `^clicks-.+`.
#pragma once

#include <regex.h>

#include <memory>
#include <string>

#include "base/status.h"

namespace millrace::config {

/// A POSIX extended regular expression (regex(7)) over whole names. A value; any thread.
class TopicPattern {
 public:
  static constexpr std::size_t kLengthMax = 1000;

  /// What is written for a topic is a pattern: no topic's name begins so.
  static bool IsPattern(const std::string& written) { return written.starts_with('^'); }
  /// kInvalidInput: it is no such expression, or longer than kLengthMax; escapes of other kinds of expressions, such as
  /// `\d`, are refused rather than taken for a letter.
  static Result<TopicPattern> Parse(const std::string& written);

  /// Of a topic's whole name. Those that begin with `__` are the log's own, and no pattern's.
  bool Matches(const std::string& topic) const;
  /// As it was written.
  const std::string& text() const { return text_; }

 private:
  TopicPattern(std::string text, std::shared_ptr<const regex_t> compiled)
      : text_(std::move(text)), compiled_(std::move(compiled)) {}

  std::string text_;
  std::shared_ptr<const regex_t> compiled_;
};

}  // namespace millrace::config
