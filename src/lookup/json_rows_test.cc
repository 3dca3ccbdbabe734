// JSON files of lookups: objects one after the other or in an array; what is wrong is named with its line.
#include "lookup/json_rows.h"

#include <arrow/array.h>
#include <arrow/scalar.h>
#include <gmock/gmock.h>

#include "testing/status_matchers.h"

namespace millrace::lookup {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(JsonObjects, ComeOneAfterTheOtherOrInAnArray) {
  for (const char* text :
       {"{\"a\": 1}\n{\"b\": [\"}\", {\"c\": \"\\\"}\"}]}\n", "[{\"a\": 1}, {\"b\": [\"}\", {\"c\": \"\\\"}\"}]}]",
        "\xEF\xBB\xBF {\"a\": 1}{\"b\": [\"}\", {\"c\": \"\\\"}\"}]}"}) {
    SCOPED_TRACE(text);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto objects, JsonObjects(text));
    EXPECT_THAT(objects, ElementsAre("{\"a\": 1}", "{\"b\": [\"}\", {\"c\": \"\\\"}\"}]}"));
  }
  for (const char* text : {"", " \n", "[]", " [ ] \n"}) {
    SCOPED_TRACE(text);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto none, JsonObjects(text));
    EXPECT_TRUE(none.empty());
  }
}

TEST(JsonObjects, AnythingElseIsRefusedWithItsLine) {
  struct Case {
    const char* text;
    const char* message;
  };
  for (const Case& c : {Case{"{\"a\": 1}\n17", "line 2: expected an object"},
                        {"{\"a\": 1}\n\n{\"b\": \"}\n", "line 3: the object that begins here does not end"},
                        {"[{\"a\": 1}\n{\"b\": 2}]", "line 2: a comma is missing between two objects"},
                        {"[{\"a\": 1},\n]", "line 2: expected an object"},
                        {"[{\"a\": 1}\n", "line 2: the array does not end"},
                        {"[{\"a\": 1},", "line 1: expected an object"},
                        {"[]\n{}", "line 2: something comes after the array"},
                        {"{\"a\": 1},{\"a\": 2}", "line 1: expected an object"}}) {
    SCOPED_TRACE(c.text);
    const auto objects = JsonObjects(c.text);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, objects);
    EXPECT_EQ(objects.status().message(), c.message);
  }
}

TEST(JsonRows, ReadAsEventsDo) {
  const std::vector<ingest::ColumnSpec> columns = {{.name = "id", .type = arrow::utf8(), .path = {"id"}},
                                                   {.name = "site", .type = arrow::int64(), .path = {"geo", "site"}},
                                                   {.name = "since",
                                                    .type = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"),
                                                    .form = ingest::TimestampForm::kMillis,
                                                    .path = {"since"}}};
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto rows,
      JsonRows("{\"id\": \"a\", \"geo\": {\"site\": 7}, \"since\": 1500}\n{\"id\": null, \"more\": [1]}", columns));
  ASSERT_EQ(rows->num_rows(), 2);
  EXPECT_EQ(rows->column(1)->GetScalar(0).ValueOrDie()->ToString(), "7");
  EXPECT_EQ(static_cast<const arrow::TimestampArray&>(*rows->column(2)).Value(0), 1'500'000);
  EXPECT_TRUE(rows->column(0)->IsNull(1));

  const auto wrong = JsonRows("{\"id\": \"a\"}\n{\"id\": \"b\", \"geo\": {\"site\": \"x\"}}\n", columns);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, wrong);
  EXPECT_THAT(wrong.status().message(), HasSubstr("line 2: "));
  EXPECT_THAT(wrong.status().message(), HasSubstr("site"));
}

}  // namespace
}  // namespace millrace::lookup
