// What expressions give, by the specification's rules; what is refused, and where. (tests/interop/jmespath_test.py asks
// another implementation.)
#include "ingest/jmespath/jmespath.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "testing/status_matchers.h"

namespace millrace::ingest {
namespace {

using ::testing::HasSubstr;

constexpr const char* kDocument = R"({
  "a": {"b": {"c": [1, 2, 3, 4, 5]}, "with space": true},
  "people": [{"name": "ann", "age": 31, "tags": ["x", "y"]}, {"name": "bob", "age": 22, "tags": []},
             {"name": "cid", "tags": ["z"]}],
  "matrix": [[1, 2], [3, [4]], 5],
  "zero": 0, "none": null, "empty": "", "half": 0.5, "big": 9223372036854775807, "text": "grüße",
  "seconds": 1626823098.51995, "millis": 1626823098519, "micros": -1
})";

Result<std::string> Search(const std::string& expression) {
  ASSIGN_OR_RETURN(const auto path, JmesPath::Parse(expression));
  ASSIGN_OR_RETURN(const auto found, path.Search(boost::json::parse(kDocument)));
  return ToJsonText(found);
}

TEST(JmesPath, Gives) {
  const std::pair<const char*, const char*> cases[] = {
      {"a.b.c[0]", "1"},
      {"a.b.c[-1]", "5"},
      {"a.b.c[7]", "null"},
      {"a.\"with space\"", "true"},
      {"a.none.deeper", "null"},
      {"zero.deeper", "null"},
      {"@.zero", "0"},
      // Slices, as Python's.
      {"a.b.c[1:3]", "[2,3]"},
      {"a.b.c[::-2]", "[5,3,1]"},
      {"a.b.c[-2:]", "[4,5]"},
      {"a.b.c[10:]", "[]"},
      {"a.b.c[::9223372036854775807]", "[1]"},
      {"a.b.c[:-9:-1]", "[5,4,3,2,1]"},
      {"zero[1:]", "null"},
      // Projections leave nulls out and go on to their right.
      {"people[*].age", "[31,22]"},
      {"people[*].tags[0]", R"(["x","z"])"},
      {"people[].tags[]", R"(["x","y","z"])"},
      {"people[*].tags | [0]", R"(["x","y"])"},
      {"people[?age > `25`].name", R"(["ann"])"},
      {"people[?!age].name", R"(["cid"])"},
      {"people[?age > `25` || name == 'cid'].name", R"(["ann","cid"])"},
      {"people[?contains(tags, 'x') && age].name | [0]", R"("ann")"},
      {"matrix[]", "[1,2,3,[4],5]"},
      {"matrix[][]", "[1,2,3,4,5]"},
      {"a.b.*", "[[1,2,3,4,5]]"},
      {"a.b.*[0]", "[1]"},
      {"people[*].*", R"([[31,"ann",["x","y"]],[22,"bob",[]],["cid",["z"]]])"},
      {"none[*].x", "null"},
      // Making lists and objects.
      {"people[*].[name, age]", R"([["ann",31],["bob",22],["cid",null]])"},
      {"people[0].{n: name, \"a b\": age}", R"({"n":"ann","a b":31})"},
      {"[zero, none]", "[0,null]"},
      {"none.[a]", "null"},
      // Comparing: numbers have an order, everything has equality.
      {"zero == `0.0`", "true"},
      {"a == a", "true"},
      {"zero < half", "true"},
      {"half >= `0.5`", "true"},
      {"'a' < 'b'", "null"},
      {"people[0] != people[1]", "true"},
      {"zero && 'yes'", R"("yes")"},
      {"empty || none || 'last'", R"("last")"},
      {"(zero || none) && half", "0.5"},
      {"!empty", "true"},
      // Literals.
      {"`{\"a\": [1, 2.50, \"\\`\"]}`", R"({"a":[1,2.5,"`"]})"},
      {R"('it\'s')", R"("it's")"},
      {R"('back\slash')", R"("back\\slash")"},
      // Functions.
      {"abs(`-3`)", "3"},
      {"avg(a.b.c)", "3.0"},
      {"avg(`[]`)", "null"},
      {"ceil(half)", "1"},
      {"floor(`-0.5`)", "-1"},
      {"sum(a.b.c)", "15"},
      {"sum(`[1, 0.5]`)", "1.5"},
      {"sum(`[]`)", "0"},
      {"contains(text, 'üß')", "true"},
      {"contains(a.b.c, `3.0`)", "true"},
      {"ends_with(text, 'e')", "true"},
      {"starts_with(text, 'x')", "false"},
      {"join(', ', people[*].name)", R"("ann, bob, cid")"},
      {"keys(a)", R"(["b","with space"])"},
      {"values(people[0])", R"([31,"ann",["x","y"]])"},
      {"length(text)", "5"},
      {"length(people)", "3"},
      {"map(&age, people)", "[31,22,null]"},
      {"max(a.b.c)", "5"},
      {"min(people[*].name)", R"("ann")"},
      {"max(`[]`)", "null"},
      {"max_by(people[?age], &age).name", R"("ann")"},
      {"min_by(people[?age], &age).name", R"("bob")"},
      {"merge(people[0], {age: `1`})", R"({"name":"ann","age":1,"tags":["x","y"]})"},
      {"not_null(none, zero)", "0"},
      {"reverse(text)", R"("eßürg")"},
      {"reverse(a.b.c)", "[5,4,3,2,1]"},
      {"sort(`[3, 1, 2]`)", "[1,2,3]"},
      {"sort_by(people[?age], &age)[*].name", R"(["bob","ann"])"},
      {"to_array(zero)", "[0]"},
      {"to_number('1e3')", "1000.0"},
      {"to_number('x')", "null"},
      {"to_string(a.b)", R"("{\"c\":[1,2,3,4,5]}")"},
      {"to_string(`1.0`)", R"("1.0")"},
      {"type(half)", R"("number")"},
      {"type(none)", R"("null")"},
      {"type(a)", R"("object")"},
      {"big", "9223372036854775807"},
      // kafka-delta-ingest's.
      {"substr(text, `2`, `2`)", R"("üß")"},
      {"substr(text, `9`, `2`)", R"("")"},
      {"substr(text, `0`, `100`)", R"("grüße")"},
      {"epoch_seconds_to_iso8601(seconds)", R"("2021-07-20T23:18:18Z")"},
      {"epoch_seconds_to_iso8601(to_number('1626823098'))", R"("2021-07-20T23:18:18Z")"},
      {"epoch_millis_to_iso8601(millis)", R"("2021-07-20T23:18:18.519Z")"},
      {"epoch_micros_to_iso8601(micros)", R"("1969-12-31T23:59:59.999999Z")"},
      {"epoch_millis_to_micro(millis)", "1626823098519000"},
  };
  for (const auto& [expression, wanted] : cases) {
    SCOPED_TRACE(expression);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto found, Search(expression));
    EXPECT_EQ(found, wanted);
  }
}

TEST(JmesPath, WhatIsNoExpressionIsToldWithItsPlace) {
  const std::pair<std::string, const char*> cases[] = {
      {"", "at character 1 of '': the expression is not complete"},
      {"a.", "at character 3 of 'a.': the expression is not complete"},
      {"a..b", "at character 3"},
      {"a b", "at character 3 of 'a b': this does not belong here"},
      {"a[", "at character 3 of 'a[': "},
      {"a[x]", "at character 3"},
      {"a[1:2:0]", "the step of a slice cannot be 0"},
      {"a[99999999999999999999]", "the number is too large"},
      {"'open", "at character 1 of ''open': ' is not closed"},
      {"`{`", "'{' is not JSON"},
      {"abs(3)", "at character 5 of 'abs(3)': numbers stand in backticks: `3`"},
      {"a # b", "'#' has no meaning here"},
      {"{a b}", ": is expected here"},
      {"foo(", "there is no function foo()"},
      {"lenght(a)", "there is no function lenght(); did you mean 'length'?"},
      {"length()", "length() takes 1 argument(s), not 0"},
      {"&a", "this does not belong here"},
      {std::string(JmesPath::kDepthMax + 1, '('), "nested too deeply"},
      {"a" + std::string(2 * JmesPath::kDepthMax + 2, '.'), "at character 3"},
  };
  for (const auto& [expression, message] : cases) {
    SCOPED_TRACE(expression);
    const auto parsed = JmesPath::Parse(expression);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, parsed.status());
    EXPECT_THAT(parsed.status().message(), HasSubstr(message));
  }
  std::string steps = "a";
  for (int i = 0; i < JmesPath::kDepthMax; ++i) steps += ".a";
  MILLRACE_ASSERT_OK(JmesPath::Parse(steps).status());
  EXPECT_THAT(JmesPath::Parse(steps + ".a").status().message(), HasSubstr("too many steps"));
}

TEST(JmesPath, WhatAFunctionDoesNotTakeIsToldWhenItIsAsked) {
  const std::pair<const char*, const char*> cases[] = {
      {"abs(text)", "abs() takes a number as argument 1, not a string"},
      {"length(zero)", "length() takes a string or an array or an object as argument 1, not a number"},
      {"sort(`[1, \"a\"]`)", "sort() takes numbers or strings, all of one kind"},
      {"sum(people)", "sum() takes an array of numbers"},
      {"join(',', a.b.c)", "join() takes an array of strings"},
      {"map(a, people)", "map() takes a reference (&) as argument 1, not an object"},
      {"sort_by(people, &tags)", "sort_by() takes numbers or strings"},
      {"to_string(&a)", "to_string() takes a value as argument 1, not a reference (&)"},
      {"epoch_seconds_to_iso8601(`1e15`)", "is no time between the years 0001 and 9999"},
      {"epoch_millis_to_iso8601(`1e300`)", "is no time between the years 0001 and 9999"},
  };
  for (const auto& [expression, message] : cases) {
    SCOPED_TRACE(expression);
    const auto found = Search(expression);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, found.status());
    EXPECT_THAT(found.status().message(), HasSubstr(message));
  }
}

TEST(JmesPath, WhatGrowsWithoutEndIsEnded) {
  std::string doubling = "@";
  for (int i = 0; i < 60; ++i) doubling += " | [@, @]";
  const auto found = Search(doubling);
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, found.status());
}

}  // namespace
}  // namespace millrace::ingest
