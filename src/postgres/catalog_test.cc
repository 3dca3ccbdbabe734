#include "postgres/catalog.h"

#include <arrow/scalar.h>
#include <arrow/table.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "postgres/catalog_relations_internal.h"
#include "testing/status_matchers.h"

namespace millrace::postgres {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using AnswerRows = std::vector<std::string>;

class CatalogTest : public ::testing::Test {
 protected:
  // The rows as text, values separated by '|'; or the error.
  AnswerRows Ask(const std::string& sql, std::vector<sql::Parameter> parameters = {}) {
    const Catalog::Caller caller{.names = {.user = "me", .database = "lake"}, .process = 7, .settings = &settings_};
    const auto read = ReadCatalogSql(sql, caller.names);
    EXPECT_TRUE(read.asks_catalog) << sql;
    const auto answer = catalog_.Ask(read.sql, parameters, caller, stop_.get_token());
    if (!answer.ok()) return {answer.status().ToString()};
    columns_.clear();
    for (const auto& column : answer->columns) columns_ += (columns_.empty() ? "" : ",") + column.name;
    AnswerRows rows;
    for (std::int64_t row = 0; row < answer->rows->num_rows(); ++row) {
      std::string text;
      for (const auto& column : answer->rows->columns()) {
        const auto value = column->GetScalar(row).ValueOrDie();
        text += (text.empty() ? "" : "|") + (value->is_valid ? value->ToString() : "-");
      }
      rows.push_back(std::move(text));
    }
    return rows;
  }

  std::vector<query::SqlTableShape> tables_ = {
      {"clicks",
       false,
       {{"id", "BIGINT"}, {"amount", "DECIMAL(12,2)"}, {"ts", "TIMESTAMP WITH TIME ZONE"}, {"tags", "VARCHAR[]"}}},
      {"clicks_1m", true, {{"window_start", "TIMESTAMP WITH TIME ZONE"}, {"views", "BIGINT"}}}};
  Status failure_;
  int asked_ = 0;
  std::stop_source stop_;
  Catalog::Settings settings_ = {{"timezone", "UTC"}};
  std::shared_ptr<MemoryBudget> memory_ = MemoryBudget::Make(1 << 30);
  std::string columns_;
  Catalog catalog_{{.tables = [this](const std::stop_token&) -> Result<std::vector<query::SqlTableShape>> {
                      ++asked_;
                      RETURN_NOT_OK(failure_);
                      return tables_;
                    },
                    .memory = memory_}};
};

TEST_F(CatalogTest, ListsTablesAsTablesAndAggregatesAsViews) {
  EXPECT_THAT(Ask("SELECT table_catalog, table_schema, table_name, table_type FROM information_schema.tables "
                  "WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY table_name"),
              ElementsAre("lake|public|clicks|BASE TABLE", "lake|public|clicks_1m|VIEW"));
  EXPECT_THAT(
      Ask("SELECT c.relname, c.relkind, n.nspname, pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c "
          "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE pg_catalog.pg_table_is_visible(c.oid) "
          "AND n.nspname !~ '^pg_' ORDER BY 1"),
      ElementsAre("clicks|r|public|millrace", "clicks_1m|v|public|millrace"));
  EXPECT_THAT(
      Ask("SELECT column_name, data_type, numeric_precision, numeric_scale, udt_name FROM information_schema.columns "
          "WHERE table_name = 'clicks' ORDER BY ordinal_position"),
      ElementsAre("id|bigint|64|0|int8", "amount|numeric|12|2|numeric", "ts|timestamp with time zone|-|-|timestamptz",
                  "tags|ARRAY|-|-|_text"));
  EXPECT_THAT(Ask("SELECT attname, format_type(atttypid, atttypmod), attnum FROM pg_attribute WHERE attrelid = "
                  "'public.clicks'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"),
              ElementsAre("id|bigint|1", "amount|numeric(12,2)|2", "ts|timestamp with time zone|3", "tags|text[]|4"));
}

TEST_F(CatalogTest, TellsWhoAsksAndWhatIsSet) {
  EXPECT_THAT(Ask("SELECT version(), current_user, session_user, user, current_database(), current_catalog, "
                  "current_schema, current_schema(), pg_backend_pid()"),
              ElementsAre("PostgreSQL 15.0 (Millrace)|me|me|me|lake|lake|public|public|7"));
  EXPECT_EQ(columns_.substr(0, 8), "version,");
  EXPECT_THAT(
      Ask("SELECT current_setting('TimeZone'), set_config('timezone', 'x', false), current_setting('no', true)"),
      ElementsAre("UTC|x|-"));
  EXPECT_EQ(asked_, 0);  // Tables are looked at for what names relations.
  EXPECT_THAT(Ask("SELECT name, setting FROM pg_settings"), ElementsAre("timezone|UTC"));
  EXPECT_THAT(Ask("SELECT datname, pg_encoding_to_char(encoding) FROM pg_database"), ElementsAre("lake|UTF8"));
  EXPECT_THAT(Ask("SELECT rolname FROM pg_roles ORDER BY oid"), ElementsAre("millrace", "me"));
  EXPECT_GE(asked_, 1);
}

TEST_F(CatalogTest, MayReadAndNothingElse) {
  EXPECT_THAT(Ask("SELECT has_table_privilege('clicks', 'SELECT'), has_table_privilege('me', 'clicks', 'INSERT'), "
                  "has_schema_privilege('public', 'CREATE'), has_database_privilege('lake', 'CONNECT')"),
              ElementsAre("true|false|false|true"));
  EXPECT_THAT(Ask("SELECT quote_ident('a'), quote_ident('A b'), quote_literal('o''x'), pg_size_pretty(20480::BIGINT)"),
              ElementsAre("a|\"A b\"|'o''x'|20 kB"));
}

TEST_F(CatalogTest, EveryRelationCanBeReadAndIsListed) {
  for (const auto& relation : CatalogRelations()) {
    const auto dot = relation.name.find('.');
    const std::string name =
        dot == std::string_view::npos ? "pg_catalog." + std::string(relation.name) : std::string(relation.name);
    const auto rows = Ask("SELECT * FROM " + name);
    for (const auto& row : rows) EXPECT_FALSE(row.starts_with("Invalid")) << name << ": " << row;
    EXPECT_THAT(Ask("SELECT count(*) FROM pg_attribute WHERE attrelid = '" + name + "'::regclass"),
                ElementsAre(std::to_string(ColumnsOf(relation).size())))
        << name;
    std::string columns;
    for (const auto& [column, type] : ColumnsOf(relation))
      columns += (columns.empty() ? "" : ",") + std::string(column);
    Ask("SELECT * FROM " + name);
    EXPECT_EQ(columns_, columns) << name;
  }
}

TEST_F(CatalogTest, ATypeIsKnownByNumberAndByName) {
  EXPECT_THAT(
      Ask("SELECT t.typname, t.typinput = 'pg_catalog.array_in'::regproc, e.typname FROM pg_type t LEFT JOIN pg_type e "
          "ON e.oid = t.typelem WHERE t.oid IN (20, 1016) ORDER BY t.oid"),
      ElementsAre("int8|false|-", "_int8|true|int8"));
  EXPECT_THAT(
      Ask("SELECT 'bigint'::regtype, 'int8'::regtype, 1231::regtype, format_type(1700, 655366), format_type(9, NULL), "
          "format_type(NULL, NULL)"),
      ElementsAre("20|20|numeric[]|numeric(10,2)|???|-"));
  EXPECT_THAT(Ask("SELECT 'nowhere'::regclass, 'public'::regnamespace, c.oid::regclass FROM pg_class c WHERE c.oid = "
                  "'clicks'::regclass"),
              ElementsAre("-|2200|clicks"));
}

TEST_F(CatalogTest, NumbersOfTablesStay) {
  const auto oids = TableOids({"a", "clicks", "clicks_1m"});
  EXPECT_EQ(TableOids({"clicks"})[0], oids[1]);
  EXPECT_GE(*std::min_element(oids.begin(), oids.end()), 16384U);
  // Two names with one hash (found by search): the later one has the next number.
  const auto both = TableOids({"t439599", "t622382"});
  EXPECT_EQ(both[1], both[0] + 1);
}

TEST_F(CatalogTest, OnlyTheCatalogCanBeAsked) {
  EXPECT_THAT(Ask("SELECT * FROM pg_class, clicks")[0], HasSubstr("not both"));
  EXPECT_THAT(Ask("SELECT * FROM pg_class, door_caller")[0], HasSubstr("there is no table 'door_caller'"));
  EXPECT_THAT(Ask("SELECT * FROM pg_class, duckdb_settings()")[0], HasSubstr("not allowed"));
  EXPECT_THAT(Ask("SELECT pg_read_file('/etc/passwd') FROM pg_class")[0], HasSubstr("not allowed"));
  EXPECT_THAT(Ask("SELECT repeat('x', 1000000000) FROM pg_class")[0], HasSubstr("not allowed"));
  EXPECT_THAT(Ask("SELECT getenv('HOME') FROM pg_class")[0], HasSubstr("not allowed"));
  EXPECT_THAT(Ask("EXPLAIN SELECT 1 FROM pg_class")[0], HasSubstr("EXPLAIN"));
  EXPECT_THAT(Ask("SELECT nothing FROM pg_class")[0], HasSubstr("nothing"));
}

TEST_F(CatalogTest, EverythingHasALimit) {
  EXPECT_THAT(Ask("SELECT a.attrelid FROM pg_attribute a, pg_attribute b")[0], HasSubstr("more than 200000 rows"));
  EXPECT_THAT(
      Ask("SELECT string_agg(a.attname || b.attname || c.attname) FROM pg_attribute a, pg_attribute b, pg_attribute c")
          [0],
      HasSubstr("memory"));
  EXPECT_THAT(Ask("SELECT count(*) FROM pg_am"), ElementsAre("1"));
  EXPECT_EQ(memory_->ByName().at("PostgreSQL's catalog"), sql::kIdleSessionBytes);
  EXPECT_GT(memory_->peak(), 32 << 20);
  stop_.request_stop();
  EXPECT_THAT(Ask("SELECT sum(range) FROM pg_am, range(1000000000000)")[0], HasSubstr("interrupted"));
}

TEST_F(CatalogTest, WhatTheTablesSayComesOutAsItIs) {
  failure_ = Transient("the store is away");
  EXPECT_THAT(Ask("SELECT * FROM pg_class")[0], HasSubstr("the store is away"));
  EXPECT_THAT(Ask("SELECT version()"), ElementsAre("PostgreSQL 15.0 (Millrace)"));
  failure_ = Status::OK();
  EXPECT_THAT(Ask("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), ElementsAre("1"));
}

}  // namespace
}  // namespace millrace::postgres
