// Filters as section 4.7 has them, what their wildcards match, and what is made of that.
#include "mqtt/topic_filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/status_matchers.h"

namespace millrace::mqtt {
namespace {

using ::testing::HasSubstr;

std::string Matched(const std::string& filter, const std::string& topic) {
  const auto matched = TopicFilter::Parse(filter).ValueOrDie().Match(topic);
  if (!matched) return "no";
  std::string text = "yes";
  for (const auto part : *matched) text += "|" + std::string(part);
  return text;
}

TEST(MqttTopicFilter, MatchesAsTheSpecificationSays) {
  struct Case {
    const char* filter;
    const char* topic;
    const char* want;
  };
  for (const auto& c : std::vector<Case>{
           {"a/b", "a/b", "yes"},
           {"a/b", "a/b/c", "no"},
           {"a/b", "a", "no"},
           {"a/b", "A/b", "no"},
           {"site/+/dev/+", "site/berlin/dev/7", "yes|berlin|7"},
           {"site/+/dev/+", "site/berlin/dev/", "yes|berlin|"},
           {"site/+/dev/+", "site/berlin/dev", "no"},
           {"site/+/dev/+", "site/berlin/dev/7/x", "no"},
           {"$share/millrace/site/+/dev/+", "site/a/dev/b", "yes|a|b"},
           {"#", "a/b/c", "yes|a/b/c"},
           {"#", "$SYS/uptime", "no"},
           {"+/uptime", "$SYS/uptime", "no"},
           {"$SYS/#", "$SYS/uptime", "yes|uptime"},
           {"sport/#", "sport", "yes|"},  // 4.7.1.2
           {"sport/#", "sport/", "yes|"},
           {"sport/#", "sports", "no"},
           {"sport/+/#", "sport/tennis", "yes|tennis|"},
           {"sport/+/#", "sport", "no"},
           {"+", "finance", "yes|finance"},
           {"+", "/finance", "no"},  // 4.7.1.3
           {"/+", "/finance", "yes|finance"},
           {"+/+", "/finance", "yes||finance"},
       }) {
    EXPECT_EQ(Matched(c.filter, c.topic), c.want) << c.filter << " " << c.topic;
  }
}

TEST(MqttTopicFilter, RefusesWhatIsNone) {
  for (const std::string text : {"", "a/#/b", "a+/b", "a/b#", "$share/g", "$share//a", "$share/g/", "$share/g+/a"}) {
    EXPECT_EQ(KindOf(TopicFilter::Parse(text).status()), ErrorKind::kInvalidInput) << text;
  }
  EXPECT_EQ(KindOf(TopicFilter::Parse(std::string("a\0b", 3)).status()), ErrorKind::kInvalidInput);
  EXPECT_TRUE(TopicFilter::Parse(std::string(65'535, 'a')).ok());
  EXPECT_EQ(KindOf(TopicFilter::Parse(std::string(65'536, 'a')).status()), ErrorKind::kInvalidInput);
}

TEST(MqttTopicFilter, KnowsWhichOthersMatchTheSameTopics) {
  struct Case {
    const char* one;
    const char* other;
    bool want;
  };
  for (const auto& c : std::vector<Case>{{"a/b", "a/b", true},
                                         {"a/b", "a/c", false},
                                         {"a/+", "a/c", true},
                                         {"a/+/c", "+/b/+", true},
                                         {"a/+", "a/b/c", false},
                                         {"a/#", "a", true},
                                         {"a/#", "a/b/c", true},
                                         {"a/#", "b/#", false},
                                         {"#", "$SYS/x", false},
                                         {"+/x", "$SYS/x", false},
                                         {"$share/g/a/+", "a/b", true}}) {
    const auto one = TopicFilter::Parse(c.one).ValueOrDie();
    const auto other = TopicFilter::Parse(c.other).ValueOrDie();
    EXPECT_EQ(one.Overlaps(other), c.want) << c.one << " " << c.other;
    EXPECT_EQ(other.Overlaps(one), c.want) << c.one << " " << c.other;
  }
}

TEST(MqttTopicFilter, OneCoversAnotherIfItMatchesAllThatTheOtherDoes) {
  struct Case {
    const char* one;
    const char* other;
    bool want;
  };
  for (const Case& c :
       std::vector<Case>{{"#", "a/b", true},      {"#", "+/#", true},  {"#", "#", true},      {"#", "$SYS/a", false},
                         {"+/a", "$x/a", false},  {"+", "#", false},   {"a/#", "a", true},    {"a/#", "a/+/c", true},
                         {"a/#", "b", false},     {"a/#", "#", false}, {"a/+", "a/b", true},  {"a/+", "a/+", true},
                         {"a/+", "a/#", false},   {"a/+", "a", false}, {"a/b", "a/+", false}, {"a/+/c", "a/b/c", true},
                         {"a/+/c", "a/b", false}, {"a", "a", true},    {"a", "a/b", false},   {"$SYS/#", "$SYS", true},
                         {"+/+", "a/", true}}) {
    EXPECT_EQ(TopicFilter::Parse(c.one)->Covers(*TopicFilter::Parse(c.other)), c.want) << c.one << " " << c.other;
  }
}

TEST(MqttTopicFilter, ATemplateIsFilledWithWhatMatched) {
  const std::vector<std::string_view> matched = {"berlin", "7"};
  EXPECT_EQ(MatchTemplate::Parse("{2}", 2)->Of(matched), "7");
  EXPECT_EQ(MatchTemplate::Parse("{1}-{2}/x", 2)->Of(matched), "berlin-7/x");
  EXPECT_EQ(MatchTemplate::Parse("fixed", 0)->Of({}), "fixed");
  EXPECT_EQ(MatchTemplate::Parse("", 0)->Of({}), "");
  for (const char* text : {"{", "}", "{}", "{x}", "{1", "a}b", "{{1}}", "{-1}", "{1 }"}) {
    EXPECT_EQ(KindOf(MatchTemplate::Parse(text, 2).status()), ErrorKind::kInvalidInput) << text;
  }
  EXPECT_THAT(MatchTemplate::Parse("{3}", 2).status().message(), HasSubstr("{3}: the filter has 2 wildcards"));
  EXPECT_EQ(KindOf(MatchTemplate::Parse("{0}", 2).status()), ErrorKind::kInvalidInput);
}

}  // namespace
}  // namespace millrace::mqtt
