#include "config/topic_pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/status_matchers.h"

namespace millrace::config {
namespace {

using ::testing::HasSubstr;

TEST(TopicPattern, TakesWholeNames) {
  struct Case {
    const char* pattern;
    const char* topic;
    bool matches;
  };
  const Case cases[] = {
      {"^clicks-.+", "clicks-eu", true},
      {"^clicks-.+", "clicks-", false},
      {"^clicks-.+", "my-clicks-eu", false},
      {"^clicks", "clicks-eu", false},  // Not the whole of it.
      {"^clicks$", "clicks", true},
      {"^a|b", "a", true},
      {"^a|b", "b", true},
      {"^a|b", "ab", false},
      {"^(a|ab)(c|bcd)$", "abcd", true},  // The longest, not the first.
      {"^[a-z]+-[0-9]{4}", "readings-2026", true},
      {"^[a-z]+-[0-9]{4}", "readings-20261", false},
      {"^Clicks", "clicks", false},
      {"^a\\.b", "a.b", true},
      {"^a\\.b", "axb", false},
      {"^\\w+", "a_1", true},
      {"^.*", "__consumer_offsets", false},  // The log's own.
      {"^.*", "_schemas", true},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(c.pattern) + " " + c.topic);
    ASSERT_TRUE(TopicPattern::IsPattern(c.pattern));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto pattern, TopicPattern::Parse(c.pattern));
    EXPECT_EQ(pattern.Matches(c.topic), c.matches);
    EXPECT_EQ(pattern.text(), c.pattern);
  }
  EXPECT_FALSE(TopicPattern::IsPattern("clicks"));
}

TEST(TopicPattern, WhatIsNoneIsRefused) {
  struct Case {
    std::string pattern;
    const char* want;
  };
  const Case cases[] = {
      {"^a(", "'^a(' is not a regular expression: "},
      {"^[a", "is not a regular expression: "},
      {"^a\\d+", "has '\\d', which POSIX's regular expressions do not know; write [0-9]"},
      {"^(a)\\1", "has '\\1', which POSIX's regular expressions do not know"},
      {"^" + std::string(TopicPattern::kLengthMax, 'a'), "a regular expression of 1001 characters; 1000 is the most"},
  };
  for (const auto& c : cases) {
    const auto pattern = TopicPattern::Parse(c.pattern);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, pattern.status());
    EXPECT_THAT(pattern.status().message(), HasSubstr(c.want));
  }
  MILLRACE_ASSERT_OK(TopicPattern::Parse("^" + std::string(TopicPattern::kLengthMax - 1, 'a')));
}

}  // namespace
}  // namespace millrace::config
