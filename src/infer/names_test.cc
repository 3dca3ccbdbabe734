// Names of fields: what they hint at, and what becomes of them as columns, tables and SQL.
#include "infer/names.h"

#include <gtest/gtest.h>

namespace millrace::infer {
namespace {

TEST(NameHints, GoByWordsNotByLetters) {
  for (const char* const time :
       {"ts", "eventTime", "created_at", "@timestamp", "event-date", "ISODate", "start.time"}) {
    EXPECT_TRUE(HintsOf(time).time) << time;
  }
  for (const char* const other : {"status", "latitude", "category", "rate", "events", "timeoutless"}) {
    EXPECT_FALSE(HintsOf(other).time) << other;
  }
  EXPECT_TRUE(HintsOf("occurred_at").event);
  for (const char* const not_its_own : {"updated_at", "expiresAt", "birth_date", "received_ts"}) {
    EXPECT_TRUE(HintsOf(not_its_own).time) << not_its_own;
    EXPECT_FALSE(HintsOf(not_its_own).event) << not_its_own;
  }
  EXPECT_TRUE(HintsOf("unitPrice").money);
  EXPECT_FALSE(HintsOf("priceless").money);
  EXPECT_TRUE(HintsOf("userId").identity);
  EXPECT_TRUE(HintsOf("ID").identity);
  EXPECT_FALSE(HintsOf("video").identity);
  EXPECT_TRUE(HintsOf("geo.lat").place);
  EXPECT_FALSE(HintsOf("latency").place);
}

TEST(NameHints, KnowSecrets) {
  for (const char* const secret : {"password", "apiKey", "api_key", "access-key", "X-Auth-Token", "client_secret",
                                   "Authorization", "cardNumber", "private.key"}) {
    EXPECT_TRUE(HintsOf(secret).secret) << secret;
  }
  for (const char* const other : {"key", "device_key", "passenger", "secretary", "card_type"}) {
    EXPECT_FALSE(HintsOf(other).secret) << other;
  }
}

TEST(Secrets, AreKnownByTheirForm) {
  for (const char* const secret : {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "AKIAABCDEFGHIJKLMNOP", "Bearer abc",
                                   "-----BEGIN PRIVATE KEY-----"}) {
    EXPECT_TRUE(LooksSecret(secret)) << secret;
  }
  for (const char* const other : {"eyJ", "AKIA", "AKIAabcdefghijklmnop", "Bearer", "a.b.c", ""}) {
    EXPECT_FALSE(LooksSecret(other)) << other;
  }
}

TEST(ColumnNames, AreThoseThatDeltaTakesEachOnce) {
  ColumnNames names;
  EXPECT_EQ(names.Take("city"), "city");
  EXPECT_EQ(names.Take("City"), "City_2");
  EXPECT_EQ(names.Take("a b;c"), "a_b_c");
  EXPECT_EQ(names.Take("a_b_c"), "a_b_c_2");
  EXPECT_EQ(names.Take(""), "field");
  EXPECT_EQ(names.Take("_offset"), "payload_offset");
  EXPECT_EQ(names.Take("window_start"), "payload_window_start");
  EXPECT_EQ(names.Take("größe"), "größe");
  // Cut between letters: 200 bytes end within an ä.
  EXPECT_EQ(names.Take("x" + std::string(400, 'a')).size(), 200U);
  std::string umlauts = "x";
  for (int i = 0; i < 150; ++i) umlauts += "ä";
  EXPECT_EQ(names.Take(umlauts).size(), 199U);
}

TEST(TableNames, BeginWithALetter) {
  EXPECT_EQ(TableName("web.clicks-eu"), "web_clicks_eu");
  EXPECT_EQ(TableName("2026"), "t_2026");
  EXPECT_EQ(TableName("pg_class"), "t_pg_class") << "a view of DuckDB's";
  EXPECT_EQ(TableName(""), "t_");
}

TEST(SqlNames, AreInQuotesWhereTheyMustBe) {
  EXPECT_EQ(SqlName("city"), "city");
  EXPECT_EQ(SqlName("Order"), "\"Order\"");
  EXPECT_EQ(SqlName("a-b"), "\"a-b\"");
  EXPECT_EQ(SqlName("a\"b"), "\"a\"\"b\"");
  EXPECT_EQ(SqlName("1st"), "\"1st\"");
}

}  // namespace
}  // namespace millrace::infer
