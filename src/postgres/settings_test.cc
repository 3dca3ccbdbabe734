#include "postgres/settings.h"

#include <gtest/gtest.h>

#include <string>

namespace millrace::postgres {
namespace {

TEST(SettingsTest, WhatIsFixedTakesWhatMeansTheSame) {
  Settings settings;
  for (const auto& [name, value] : {std::pair{"TimeZone", "utc"},
                                    {"client_encoding", "'UTF-8'"},
                                    {"DateStyle", "ISO"},
                                    {"standard_conforming_strings", "true"},
                                    {"INTERVALSTYLE", "Postgres"}}) {
    EXPECT_FALSE(settings.Set(name, value)) << name;
  }
  for (const auto& [name, value] : {std::pair{"TimeZone", "Europe/Berlin"},
                                    {"client_encoding", "LATIN1"},
                                    {"DateStyle", "German"},
                                    {"transaction_read_only", "off"},
                                    {"is_superuser", "on"}}) {
    const auto failure = settings.Set(name, value);
    ASSERT_TRUE(failure) << name;
    EXPECT_EQ(failure->code, sql_state::kInvalidParameterValue) << name;
    EXPECT_NE(failure->message.find(value), std::string::npos) << failure->message;
  }
  EXPECT_EQ(*settings.Get("timezone"), "UTC");
}

TEST(SettingsTest, OthersAreKeptUntilTheyAreReset) {
  Settings settings;
  EXPECT_FALSE(settings.Set("Application_Name", "a"));
  EXPECT_EQ(*settings.Get("APPLICATION_NAME"), "a");
  EXPECT_FALSE(settings.Set("application_name", "DEFAULT"));
  EXPECT_EQ(*settings.Get("application_name"), "");
  EXPECT_FALSE(settings.Set("millrace.freshness", "committed"));
  EXPECT_EQ(settings.freshness(), query::Freshness::kCommitted);
  settings.SetFixed("session_authorization", "me");
  settings.Reset();
  EXPECT_EQ(settings.freshness(), query::Freshness::kHot);
  EXPECT_EQ(*settings.Get("session_authorization"), "me");
  EXPECT_TRUE(settings.Set("millrace.freshness", "cold"));
  EXPECT_TRUE(settings.Set("application_name", std::string(257, 'x')));
  EXPECT_EQ(settings.Set("nothing", "1")->code, sql_state::kUndefinedObject);
}

TEST(SettingsTest, MessagesHaveLevels) {
  Settings settings;
  EXPECT_TRUE(settings.hears_warnings());
  for (const char* level : {"error", "FATAL", "panic"}) {
    EXPECT_FALSE(settings.Set("client_min_messages", level)) << level;
    EXPECT_FALSE(settings.hears_warnings()) << level;
  }
  for (const char* level : {"debug5", "Log", "notice", "WARNING", "default"}) {
    EXPECT_FALSE(settings.Set("client_min_messages", level)) << level;
    EXPECT_TRUE(settings.hears_warnings()) << level;
  }
  const auto refused = settings.Set("client_min_messages", "loud");
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code, sql_state::kInvalidParameterValue);
  EXPECT_NE(refused->hint.find("notice, warning, error"), std::string::npos) << refused->hint;
}

TEST(SettingsTest, TimeoutsHaveUnits) {
  using std::chrono::milliseconds;
  Settings settings;
  EXPECT_FALSE(settings.timeout());
  for (const auto& [text, wanted] :
       {std::pair{"250", 250}, {"5s", 5000}, {"1min", 60'000}, {"2 h", 7'200'000}, {"7ms", 7}}) {
    EXPECT_FALSE(settings.Set("statement_timeout", text)) << text;
    EXPECT_EQ(settings.timeout(), milliseconds(wanted)) << text;
  }
  for (const char* text : {"-1", "x", "", "5 days", "1000000001"}) {
    EXPECT_TRUE(settings.Set("statement_timeout", text)) << text;
  }
  EXPECT_FALSE(settings.Set("statement_timeout", "0"));
  EXPECT_FALSE(settings.timeout());
}

TEST(SettingsTest, OptionsAreThoseOfACommandLine) {
  using Options = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(ReadOptions(R"(-c a=1 -cb=2 --c=x\ y)"), (Options{{"a", "1"}, {"b", "2"}, {"c", "x y"}}));
  EXPECT_EQ(ReadOptions("-c"), Options{});
  EXPECT_EQ(ReadOptions(" -B 7 -c nothing "), Options{});
}

}  // namespace
}  // namespace millrace::postgres
