// Which statements a text has, and what they are.
#include "postgres/statement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace::postgres {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(PostgresStatement, SemicolonsInTextsAndCommentsEndNothing) {
  EXPECT_THAT(SplitStatements("SELECT ';' ; SELECT $$;$$;-- ;\n/* ; /* ; */ ; */ SELECT \";\", e'\\';', $a$;$a$;;"),
              ElementsAre("SELECT ';'", "SELECT $$;$$", "SELECT \";\", e'\\';', $a$;$a$"));
  EXPECT_THAT(SplitStatements(" ; /* nothing */ ; -- nothing"), IsEmpty());
  EXPECT_THAT(SplitStatements("SELECT 'it''s; one'"), ElementsAre("SELECT 'it''s; one'"));
  EXPECT_THAT(SplitStatements("SELECT 'without an end; "), ElementsAre("SELECT 'without an end; "));
}

TEST(PostgresStatement, ParametersAreNotDollarTexts) {
  std::vector<std::string> parameters;
  for (const auto& token : Tokens("SELECT $1, '$2', $tag$ $3 $tag$, $12::int4 -- $4")) {
    if (token.kind == Token::Kind::kParameter) parameters.emplace_back(token.text);
  }
  EXPECT_THAT(parameters, ElementsAre("$1", "$12"));
}

TEST(PostgresStatement, EachIsKnownByItsFirstWords) {
  struct Case {
    const char* sql;
    Command command;
    const char* tag;
    const char* name = "";
    const char* value = "";
  };
  const Case cases[] = {
      {"select 1", Command::kAsk, "SELECT"},
      {"/* a */ WITH x AS (SELECT 1) FROM x", Command::kAsk, "SELECT"},
      {"(SELECT 1)", Command::kAsk, "SELECT"},
      {"", Command::kEmpty, ""},
      {"Begin isolation level serializable", Command::kBegin, "BEGIN"},
      {"START TRANSACTION READ ONLY", Command::kBegin, "START TRANSACTION"},
      {"END", Command::kCommit, "COMMIT"},
      {"ABORT", Command::kRollback, "ROLLBACK"},
      {"ROLLBACK TO SAVEPOINT a", Command::kSavepoint, "ROLLBACK"},
      {"ROLLBACK WORK TO a", Command::kSavepoint, "ROLLBACK"},
      {"SAVEPOINT a", Command::kSavepoint, "SAVEPOINT"},
      {"SET extra_float_digits = 3", Command::kSet, "SET", "extra_float_digits", "3"},
      {"SET SESSION application_name TO 'it''s'", Command::kSet, "SET", "application_name", "it's"},
      {"set local millrace.freshness = committed", Command::kSet, "SET", "millrace.freshness", "committed"},
      {"SET TIME ZONE 'UTC'", Command::kSet, "SET", "timezone", "UTC"},
      {"SET DateStyle = ISO, MDY", Command::kSet, "SET", "datestyle", "ISO,MDY"},
      {"SHOW transaction isolation level", Command::kShow, "SHOW", "transaction_isolation"},
      {"SHOW server_version", Command::kShow, "SHOW", "server_version"},
      {"RESET ALL", Command::kReset, "RESET", "all"},
      {"DISCARD ALL", Command::kDiscard, "DISCARD ALL"},
      {"DEALLOCATE PREPARE \"S_1\"", Command::kDeallocate, "DEALLOCATE", "S_1"},
      {"DEALLOCATE ALL", Command::kDeallocate, "DEALLOCATE ALL", "", "all"},
      {"UNLISTEN *", Command::kNothing, "UNLISTEN"},
      {"INSERT INTO t VALUES (1)", Command::kWrite, "INSERT"},
      {"COPY t TO STDOUT", Command::kUnsupported, "COPY"},
      {"LISTEN x", Command::kUnsupported, "LISTEN"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.sql);
    const auto statement = ReadStatement(c.sql);
    EXPECT_EQ(statement.command, c.command);
    EXPECT_EQ(statement.tag, c.tag);
    EXPECT_EQ(statement.name, c.name);
    EXPECT_EQ(statement.value, c.value);
  }
}

}  // namespace
}  // namespace millrace::postgres
