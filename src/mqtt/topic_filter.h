/// Topic filters (section 4.7) and shared subscriptions (4.8.2), and what is made of the levels that wildcards match.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace millrace::mqtt {

/// "site/+/dev/+", "$share/GROUP/site/#". A value.
class TopicFilter {
 public:
  /// kInvalidInput: not a filter, and why.
  static Result<TopicFilter> Parse(std::string_view text);

  /// As it is subscribed to.
  const std::string& text() const { return text_; }
  /// Of "$share/GROUP/..."; empty: it is not shared.
  const std::string& group() const { return group_; }
  std::size_t wildcards() const { return wildcards_; }

  /// What each wildcard matched, of "#" all levels with their slashes; nullopt: the topic does not match. The views are
  /// of `topic`. What a server uses itself ("$SYS/...") matches no wildcard in front.
  std::optional<std::vector<std::string_view>> Match(std::string_view topic) const;

  /// Whether there are topics that match both: then a message may come in twice, or once for either.
  bool Overlaps(const TopicFilter& other) const;

  /// Whether every topic that matches `other` matches this one too.
  bool Covers(const TopicFilter& other) const;

 private:
  std::string text_;
  std::string group_;
  std::vector<std::string> levels_;
  std::size_t wildcards_ = 0;
};

/// A text with {1}, {2} and so on, which stand for what the first wildcard of a filter matched, the second, ...
class MatchTemplate {
 public:
  /// kInvalidInput: a brace that begins nothing, or the number of a wildcard that there is not.
  static Result<MatchTemplate> Parse(std::string_view text, std::size_t wildcards);

  /// `matched`: as Match() of a filter with so many wildcards gives it.
  std::string Of(const std::vector<std::string_view>& matched) const;

 private:
  struct Part {
    std::string text;
    std::size_t wildcard = 0;  ///< Behind the text, from 1; 0: none.
  };
  std::vector<Part> parts_;
};

}  // namespace millrace::mqtt
