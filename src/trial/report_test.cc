// What a person and a program read of tests that failed.
#include "trial/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

namespace millrace::trial {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Trial SomeTrial() {
  using Kind = Difference::Kind;
  return {.file = "t.yaml",
          .verdicts =
              {{"good", {3, 5}, {}},
               {"bad",
                {8, 5},
                {{Kind::kDiffers, "tables.t", {14, 9}, {{"id", "1", "1", true}, {"amount", "2.50", "2.05", false}}, ""},
                 {Kind::kMissing, "tables.t", {15, 9}, {{"id", "2", std::nullopt, false}}, ""},
                 {Kind::kUnexpected,
                  "tables.t",
                  {13, 9},
                  {{"id", std::nullopt, "3", false},
                   {"_topic", std::nullopt, "\"events\"", false},
                   {"_offset", std::nullopt, "0", false}},
                  ""},
                 {Kind::kOther, "error", {8, 5}, {}, "the pipeline stops: \"x\""}}}},
          .findings = {}};
}

TEST(Report, IsADiffForPeople) {
  const auto trial = SomeTrial();
  EXPECT_EQ(ReportText({&trial, 1}, false), R"(t.yaml
  ok    good
  FAIL  bad (line 8)
        tables.t: the row of line 14 differs
            id      1
          - amount  2.50
          + amount  2.05
        tables.t: the row of line 15 is missing
          - id  2
        tables.t: a row that is not expected
          + id       3
          + _offset  0
        error: the pipeline stops: "x"
1 passed, 1 failed
)");
}

TEST(Report, HasColorsOnlyWhenAsked) {
  const auto trial = SomeTrial();
  EXPECT_THAT(ReportText({&trial, 1}, false), Not(HasSubstr("\x1b")));
  const std::string colored = ReportText({&trial, 1}, true);
  EXPECT_THAT(colored, HasSubstr("\x1b[31mFAIL\x1b[0m"));
  EXPECT_THAT(colored, HasSubstr("\x1b[31m- amount  2.50\x1b[0m"));
  EXPECT_THAT(colored, HasSubstr("\x1b[32m+ amount  2.05\x1b[0m"));
}

TEST(Report, ShowsPeopleSoMuchAndProgramsAll) {
  auto trial = SomeTrial();
  auto& differences = trial.verdicts[1].differences;
  const std::string text = "\"" + std::string(398, 'a') + "ä" + std::string(100, 'b') + "\"";
  differences.assign(kShownDifferencesMax + 5,
                     {Difference::Kind::kMissing, "tables.t", {15, 9}, {{"id", text, std::nullopt, false}}, ""});
  const std::string report = ReportText({&trial, 1}, false);
  EXPECT_THAT(report, HasSubstr("… and 5 more\n"));
  EXPECT_THAT(report, HasSubstr(std::string(398, 'a') + "…\n")) << "cut before the letter that does not fit";
  const auto json = boost::json::parse(ReportJson({&trial, 1}));
  const auto& shown = json.at("files").at(0).at("tests").at(1).at("differences").as_array();
  EXPECT_EQ(shown.size(), kShownDifferencesMax + 5);
  EXPECT_EQ(shown[0].at("columns").at(0).at("expected").as_string().size(), text.size() - 2);
}

TEST(Report, IsJsonForPrograms) {
  const auto trial = SomeTrial();
  EXPECT_EQ(boost::json::parse(ReportJson({&trial, 1})), boost::json::parse(R"({
    "files": [{"file": "t.yaml", "tests": [
      {"name": "good", "line": 3, "passed": true, "differences": []},
      {"name": "bad", "line": 8, "passed": false, "differences": [
        {"kind": "differs", "where": "tables.t", "line": 14, "columns": [
          {"name": "id", "expected": 1, "found": 1}, {"name": "amount", "expected": 2.50, "found": 2.05}]},
        {"kind": "missing", "where": "tables.t", "line": 15, "columns": [{"name": "id", "expected": 2}]},
        {"kind": "unexpected", "where": "tables.t", "line": 13, "columns": [
          {"name": "id", "found": 3}, {"name": "_topic", "found": "events"}, {"name": "_offset", "found": 0}]},
        {"kind": "other", "where": "error", "line": 8, "detail": "the pipeline stops: \"x\""}]}]}],
    "passed": 1, "failed": 1})"));
}

}  // namespace
}  // namespace millrace::trial
