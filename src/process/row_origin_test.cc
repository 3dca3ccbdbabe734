// What rows are in terms of the events: the same however transforms are cut, named and worded; another as soon as a
// value or a condition is another.
#include "process/row_origin.h"

#include <gmock/gmock.h>

#include "process/session_testing_internal.h"
#include "process/transform.h"
#include "testing/status_matchers.h"

namespace millrace::process {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

std::shared_ptr<arrow::Schema> EventFields() {
  return arrow::schema({arrow::field("country", arrow::utf8()), arrow::field("amount", arrow::int64()),
                        arrow::field("geo", arrow::struct_({arrow::field("city", arrow::utf8())})),
                        arrow::field("tags", arrow::list(arrow::utf8()))});
}

// Of the rows after all of these, each reading from the one before.
Result<RowOrigin> After(const std::vector<std::string>& transforms) {
  RowOrigin origin{.columns = {"country", "\"payment/total in ms\"", "geo", "tags"}, .conditions = {}};
  auto schema = EventFields();
  std::string relation = "input";
  for (std::size_t i = 0; i < transforms.size(); ++i) {
    const std::string name = "t" + std::to_string(i);
    ASSIGN_OR_RETURN(const auto made, Transform::Make(Session(), name, transforms[i], relation, schema));
    ASSIGN_OR_RETURN(origin, made->OriginOf(Session(), origin));
    schema = made->output_schema();
    relation = name;
  }
  return origin;
}

TEST(RowOrigin, OfTheEventsThemselvesAndOfWhatIsPassedOn) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto origin, After({"SELECT *, amount AS again FROM input", "SELECT * FROM t0"}));
  EXPECT_THAT(origin.columns,
              ElementsAre("country", "\"payment/total in ms\"", "geo", "tags", "\"payment/total in ms\""));
  EXPECT_THAT(origin.conditions, IsEmpty());
}

TEST(RowOrigin, NamesAndCutsOfTransformsDoNotMatter) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto one, After({"SELECT lower(country) || '!' AS c, amount * 2 + 1 AS d FROM input WHERE amount > 0 "}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto three,
      After({"select Amount as \"My Name\", i.Country from input i where i.AMOUNT > 0", "SELECT * FROM t0",
             "SELECT LOWER(country) || '!' AS c2, \"my name\" * 2 + 1 AS d2 FROM t1 where \"My Name\" > 0"}));
  EXPECT_EQ(one.columns, three.columns);
  EXPECT_EQ(one.conditions, three.conditions);
  EXPECT_THAT(one.conditions, ElementsAre("(\"payment/total in ms\" > 0)"));
}

TEST(RowOrigin, AnotherValueOrConditionIsAnother) {
  const auto of = [](const std::string& first, const std::string& second) {
    return After({first, second}).ValueOrDie();
  };
  const std::string last = "SELECT x + 1 AS y FROM t0 WHERE x < 5";
  const auto origin = of("SELECT amount AS x FROM input", last);
  EXPECT_NE(origin.columns, of("SELECT -amount AS x FROM input", last).columns);
  EXPECT_NE(origin.conditions, of("SELECT -amount AS x FROM input", last).conditions);
  const auto fewer = of("SELECT amount AS x FROM input WHERE country = 'DE'", last);
  EXPECT_EQ(origin.columns, fewer.columns);
  EXPECT_NE(origin.conditions, fewer.conditions);
  EXPECT_NE(fewer.conditions, of("SELECT amount AS x FROM input WHERE country = 'de'", last).conditions)
      << "the case of a value matters";
}

TEST(RowOrigin, PartsOfAColumnAndParametersOfLambdas) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto origin, After({"SELECT {'inner': geo} AS s, tags AS l FROM input",
                                "SELECT s.inner.city AS c, list_transform(l, lambda x: x || '!') AS m FROM t0"}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto same, After({"SELECT {'inner': geo} AS s FROM input",
                                                        "SELECT s.inner AS g FROM t0", "SELECT g.city AS c FROM t1"}));
  EXPECT_EQ(origin.columns[0], same.columns[0]);
  EXPECT_THAT(origin.columns[1], StartsWith("list_transform(tags,"));
}

TEST(RowOrigin, WhatDoublesEachTimeStaysShort) {
  std::vector<std::string> transforms = {"SELECT country || amount AS x FROM input"};
  for (int i = 0; i < 40; ++i) transforms.push_back("SELECT x || x AS x FROM t" + std::to_string(i));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto origin, After(transforms));
  EXPECT_LE(origin.columns[0].size(), kOriginBytesMax);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto again, After(transforms));
  EXPECT_EQ(origin.columns, again.columns);
  transforms[0] = "SELECT country || -amount AS x FROM input";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto other, After(transforms));
  EXPECT_NE(origin.columns, other.columns);
}

}  // namespace
}  // namespace millrace::process
