#include "postgres/catalog_sql.h"

#include <gtest/gtest.h>

#include "postgres/statement.h"

namespace millrace::postgres {
namespace {

const CatalogCaller kCaller{.user = "o'me", .database = "lake"};

std::string Asked(std::string_view sql) {
  const auto read = ReadCatalogSql(sql, kCaller);
  return (read.asks_catalog ? "catalog: " : "engine: ") + read.sql;
}

TEST(CatalogSql, OnlyStatementsWithAWordOfTheCatalogAreLookedAt) {
  for (const char* sql : {"SELECT * FROM clicks", "SELECT 'pg_class', 1", "SELECT 1 -- pg_class", "SELECT $$pg_class$$",
                          "SELECT sum(x) FROM t WHERE page ~ 'a'"}) {
    EXPECT_FALSE(ReadStatement(sql).may_name_catalog) << sql;
  }
  for (const char* sql : {"SELECT 1 FROM pg_class", "SELECT version()", "SELECT * FROM public.clicks",
                          "SELECT * FROM \"public\".\"clicks\"", "SELECT CURRENT_USER", "SELECT 'x'::regclass",
                          "SELECT 1 FROM information_schema.tables"}) {
    EXPECT_TRUE(ReadStatement(sql).may_name_catalog) << sql;
  }
}

TEST(CatalogSql, AStatementIsAboutTheCatalogByItsFromOrItsFunctions) {
  for (const char* sql : {"SELECT 1 FROM pg_class", "SELECT 1 FROM x JOIN pg_catalog.pg_type t ON true",
                          "SELECT version()", "SELECT a FROM (SELECT 1 FROM ((\"pg_class\")))",
                          "SELECT 1 FROM f(1) s, pg_class", "SELECT 1 FROM lake.pg_catalog.pg_class",
                          "SELECT 1 FROM x a LEFT JOIN (y b JOIN pg_class c ON b.i = (c.i)) ON true",
                          "SELECT 'a'::regclass", "SELECT current_schemas(true)"}) {
    EXPECT_TRUE(ReadCatalogSql(sql, kCaller).asks_catalog) << sql;
  }
  for (const char* sql : {"SELECT pg_class FROM clicks", "SELECT version() FROM clicks", "SELECT 'FROM pg_class'",
                          "SELECT 1 FROM public.clicks", "SELECT 1 FROM t WHERE f(1, pg_class)",
                          "SELECT extract(day FROM pg_type), pg_class FROM t", "SELECT t.pg_type, 1 FROM public.t"}) {
    EXPECT_FALSE(ReadCatalogSql(sql, kCaller).asks_catalog) << sql;
  }
}

TEST(CatalogSql, WhatSaysWhereAThingIsGoesAndPlacesStay) {
  const auto read =
      ReadCatalogSql("SELECT public.clicks.id FROM \"public\" . clicks -- public.x\n, 'public.y'", kCaller);
  EXPECT_EQ(read.sql, "SELECT        clicks.id FROM            clicks -- public.x\n, 'public.y'");
  EXPECT_TRUE(read.keeps_places);
  EXPECT_EQ(Asked("SELECT * FROM lake.public.clicks"), "engine: SELECT * FROM             clicks");
  EXPECT_EQ(Asked("SELECT * FROM other.public.clicks"), "engine: SELECT * FROM other.public.clicks");
  // An alias of that name is meant.
  EXPECT_EQ(Asked("SELECT public.id FROM clicks AS public"), "engine: SELECT public.id FROM clicks AS public");
  EXPECT_EQ(Asked("SELECT a FROM pg_class c WHERE c.relname OPERATOR(pg_catalog.=) 'x' COLLATE pg_catalog.default"),
            "catalog: SELECT a FROM pg_class c WHERE c.relname                     =  'x'                           ");
  EXPECT_EQ(Asked("SELECT a COLLATE \"C\" FROM pg_catalog.pg_class"),
            "catalog: SELECT a             FROM            pg_class");
}

TEST(CatalogSql, TheEngineIsToldWhoAsks) {
  EXPECT_EQ(Asked("SELECT current_user, version(), current_database ( ), x.current_user FROM t"),
            "engine: SELECT 'o''me', 'PostgreSQL 15.0 (Millrace)'  , 'lake'    , x.current_user FROM t");
  EXPECT_EQ(Asked("SELECT current_schema(), current_schema, current_catalog FROM public.t"),
            "engine: SELECT 'public'  , 'public', 'lake' FROM        t");
  EXPECT_FALSE(ReadCatalogSql("SELECT version() FROM t", kCaller).keeps_places);
}

TEST(CatalogSql, InformationSchemaIsOneNameWithAnAlias) {
  EXPECT_EQ(
      Asked("SELECT tables.table_name FROM information_schema.tables WHERE 1=1"),
      "catalog: SELECT tables.table_name FROM                    \"information_schema.tables\" AS tables WHERE 1=1");
  EXPECT_EQ(Asked("SELECT 1 FROM INFORMATION_SCHEMA.TABLES t"),
            "catalog: SELECT 1 FROM                    \"information_schema.tables\" t");
  EXPECT_EQ(
      Asked("SELECT information_schema.columns.x FROM information_schema.columns"),
      "catalog: SELECT                    columns.x FROM                    \"information_schema.columns\" AS columns");
}

TEST(CatalogSql, PatternsAreFoundAnywhereAndBackslashesEscape) {
  const std::string from = " FROM pg_class";
  const auto where = [&](const std::string& condition) {
    const std::string asked = Asked("SELECT a" + from + " WHERE " + condition);
    return asked.substr(asked.find("WHERE ") + 6);
  };
  EXPECT_EQ(where("a ~ '^x'"), "a ~ ('(?s:.*)(?:' || '^x' || ')(?s:.*)')");
  EXPECT_EQ(where("a !~* $1"), "a !~  ('(?i)(?s:.*)(?:' || $1 || ')(?s:.*)')");
  EXPECT_EQ(where("a OPERATOR(pg_catalog.~) '^(x)$' COLLATE pg_catalog.default"),
            "a                     ~  ('(?s:.*)(?:' || '^(x)$' || ')(?s:.*)')                           ");
  EXPECT_EQ(where("a ~~ 'x' AND a ~~* 'y'"), "a ~~ 'x' AND a ~~* 'y'");
  EXPECT_EQ(where("a LIKE 'x\\_y'"), "a LIKE 'x\\_y' ESCAPE '\\'");
  EXPECT_EQ(where("a LIKE 'x_y'"), "a LIKE 'x_y'");
  EXPECT_EQ(where("a LIKE 'x\\_y' ESCAPE '!'"), "a LIKE 'x\\_y' ESCAPE '!'");
  EXPECT_EQ(where("a ILIKE $1 || '%'"), "a ILIKE $1 || '%'");
  EXPECT_EQ(where("a NOT LIKE $1"), "a NOT LIKE $1 ESCAPE '\\'");
}

TEST(CatalogSql, NamesOfThingsAndTheirNumbersGoBothWays) {
  EXPECT_EQ(Asked("SELECT 'a.b'::pg_catalog.regclass::oid"),
            "catalog: SELECT millrace_regclass('a.b')                     ::oid");
  EXPECT_EQ(Asked("SELECT $1::text::regclass"), "catalog: SELECT millrace_regclass($1::text)          ");
  const auto selected = [](const std::string& expression) {
    const std::string asked = Asked("SELECT " + expression + " FROM pg_class c");
    return asked.substr(16, asked.find(" FROM") - 16);
  };
  EXPECT_EQ(selected("c.oid::regclass"), "millrace_regclass_name(c.oid)          ");
  EXPECT_EQ(selected("f(a, (b))[1]::regtype"), "millrace_regtype_name(f(a, (b))[1])         ");
  EXPECT_EQ(selected("(x)::regtype"), "millrace_regtype_name((x))         ");
  EXPECT_EQ(selected("1 + (x)::regtype"), "1 + millrace_regtype_name((x))         ");
  EXPECT_EQ(selected("'{a,b}'::text[]"), "'[a,b]'::text[]");
  EXPECT_EQ(selected("'{a,b}'"), "'{a,b}'");
}

TEST(CatalogSql, ColumnsThatOnlyPostgresqlHasAreZero) {
  EXPECT_EQ(Asked("SELECT c.tableoid, xmin FROM pg_class c"), "catalog: SELECT   0, xmin FROM pg_class c");
}

TEST(CatalogSql, AnAliasOfRowsNamesTheirColumn) {
  EXPECT_EQ(Asked("SELECT x[s] FROM pg_catalog.generate_series(0, array_upper(x, 1)) s, pg_class"),
            "catalog: SELECT x[s] FROM            generate_series(0, array_upper(x, 1)) s(s), pg_class");
  EXPECT_EQ(Asked("SELECT s[i], g(1) t FROM pg_class, string_to_array('a', f(1)) s, h(2) WHERE g(1)"),
            "catalog: SELECT s[i], g(1) t FROM pg_class, (SELECT string_to_array('a', f(1))) s(s), "
            "(SELECT h(2)) AS h(h) WHERE g(1)");
  EXPECT_EQ(Asked("SELECT extract(year FROM f(x)) FROM pg_class"),
            "catalog: SELECT extract(year FROM f(x)) FROM pg_class");
  EXPECT_EQ(Asked("SELECT s.r FROM generate_series(0, 1) AS s(r), pg_class"),
            "catalog: SELECT s.r FROM generate_series(0, 1) AS s(r), pg_class");
  EXPECT_EQ(Asked("SELECT word FROM pg_catalog.pg_get_keywords() WHERE word <> ALL ('{a}'::text[])"),
            "catalog: SELECT word FROM            pg_get_keywords   WHERE word <> ALL ('[a]'::text[])");
}

TEST(CatalogSql, TakesWhateverComes) {
  for (const char* sql : {"pg_class",
                          "pg_catalog.",
                          "SELECT ::",
                          "::regclass",
                          "FROM pg_class ~",
                          "FROM pg_class LIKE",
                          "FROM pg_class OPERATOR(",
                          "FROM pg_class OPERATOR(pg_catalog.~",
                          "FROM pg_class COLLATE",
                          "FROM pg_class )::regclass",
                          "FROM pg_class generate_series(",
                          "FROM pg_get_keywords(",
                          "information_schema.",
                          "FROM information_schema.tables.",
                          "lake.public",
                          "'x",
                          "\"",
                          "FROM pg_class ]::regtype::regtype",
                          "FROM pg_class x::regclass[",
                          "version("}) {
    ReadCatalogSql(sql, kCaller);
  }
}

}  // namespace
}  // namespace millrace::postgres
