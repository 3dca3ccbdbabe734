// Expected rows find their found ones whatever the order, and what is left over is told by row.
#include "trial/row_match.h"

#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace millrace::trial {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

config::TestValue Row(const std::vector<std::pair<std::string, std::string>>& cells, int line = 1) {
  config::TestValue row;
  row.kind = config::TestValue::Kind::kMapping;
  row.place = {line, 1};
  for (const auto& [name, text] : cells) {
    config::TestValue value;
    value.kind = config::TestValue::Kind::kScalar;
    value.place = {line, 5};
    value.text = text;
    row.entries.emplace_back(name, std::move(value));
  }
  return row;
}

TextRows Found(std::vector<std::vector<std::string>> rows) {
  return {.columns = {{"a", arrow::int64()}, {"b", arrow::int64()}, {"text", arrow::utf8(), true}},
          .rows = std::move(rows)};
}

/// "differs 3", "unexpected": kind and, of an expected row, its line.
std::vector<std::string> Told(const std::vector<Difference>& differences) {
  std::vector<std::string> told;
  for (const auto& d : differences) {
    switch (d.kind) {
      case Difference::Kind::kDiffers:
        told.push_back("differs " + std::to_string(d.place.line));
        break;
      case Difference::Kind::kMissing:
        told.push_back("missing " + std::to_string(d.place.line));
        break;
      case Difference::Kind::kUnexpected:
        told.push_back("unexpected " + *d.cells[0].found);
        break;
      case Difference::Kind::kOther:
        told.push_back(d.detail);
    }
  }
  return told;
}

TEST(RowMatch, FindsAWayToMatchAllRows) {
  // Whoever takes the first row that fits, one after the other, is left with {a: 1, b: 3} for a row with b = 2.
  std::vector<Misfit> misfits;
  const config::ExpectedRows expected{
      .rows = {Row({{"a", "1"}}, 1), Row({{"a", "1"}, {"b", "2"}}, 2), Row({{"b", "3"}}, 3)}};
  EXPECT_THAT(
      Told(MatchRows(expected, Found({{"1", "2", "null"}, {"1", "3", "null"}, {"1", "3", "null"}}), "t", misfits)),
      IsEmpty());
  EXPECT_THAT(misfits, IsEmpty());
}

TEST(RowMatch, RowsInAnyOrderMatchAndOneTooManyDoesNot) {
  std::minstd_rand random(7);
  for (int round = 0; round < 50; ++round) {
    std::vector<std::vector<std::string>> found;
    config::ExpectedRows expected;
    for (int i = 0; i < 20; ++i) {
      const auto a = std::to_string(random() % 3);
      const auto b = std::to_string(random() % 3);
      found.push_back({a, b, "null"});
      auto cells = std::vector<std::pair<std::string, std::string>>{{"a", a}, {"b", b}};
      if (random() % 2 == 0) cells.erase(cells.begin() + static_cast<std::ptrdiff_t>(random() % 2));
      expected.rows.push_back(Row(cells));
    }
    std::shuffle(found.begin(), found.end(), random);
    std::vector<Misfit> misfits;
    ASSERT_THAT(MatchRows(expected, Found(found), "t", misfits), IsEmpty()) << "round " << round;
    found.push_back({"9", "9", "null"});
    ASSERT_THAT(Told(MatchRows(expected, Found(found), "t", misfits)), ElementsAre("unexpected 9"));
    expected.contains = true;
    ASSERT_THAT(MatchRows(expected, Found(found), "t", misfits), IsEmpty());
    expected.rows.push_back(Row({{"a", "8"}}, 4));
    ASSERT_THAT(Told(MatchRows(expected, Found(found), "t", misfits)), ElementsAre("missing 4"));
  }
}

TEST(RowMatch, TellsTheNearestRow) {
  std::vector<Misfit> misfits;
  const config::ExpectedRows expected{.rows = {Row({{"a", "1"}, {"b", "2"}}, 7), Row({{"a", "5"}}, 8)}};
  const auto differences = MatchRows(expected, Found({{"3", "3", "null"}, {"1", "9", "null"}}), "tables.t", misfits);
  ASSERT_THAT(Told(differences), ElementsAre("differs 7", "missing 8", "unexpected 3"));
  const auto& cells = differences[0].cells;
  ASSERT_THAT(cells, SizeIs(2));
  EXPECT_EQ(differences[0].where, "tables.t");
  EXPECT_TRUE(cells[0].fits);
  EXPECT_FALSE(cells[1].fits);
  EXPECT_EQ(cells[1].expected, "2");
  EXPECT_EQ(cells[1].found, "9");
}

TEST(RowMatch, NoRowsMustBeNoRows) {
  std::vector<Misfit> misfits;
  EXPECT_THAT(MatchRows({}, Found({}), "t", misfits), IsEmpty());
  EXPECT_THAT(Told(MatchRows({}, Found({{"1", "2", "null"}}), "t", misfits)), ElementsAre("unexpected 1"));
}

TEST(RowMatch, SomeTextsNeedOnlyBeAPart) {
  std::vector<Misfit> misfits;
  const config::ExpectedRows expected{.rows = {Row({{"text", "not \"a"}})}};
  EXPECT_THAT(MatchRows(expected, Found({{"1", "2", R"("this is not \"a date\"")"}}), "t", misfits), IsEmpty());
  EXPECT_THAT(MatchRows(expected, Found({{"1", "2", R"("this is a date")"}}), "t", misfits), SizeIs(2));
  EXPECT_THAT(MatchRows(expected, Found({{"1", "2", "null"}}), "t", misfits), SizeIs(2));
}

TEST(RowMatch, RefusesUnknownColumnsAndValuesThatDoNotFit) {
  std::vector<Misfit> misfits;
  const config::ExpectedRows expected{.rows = {Row({{"txt", "1"}, {"b", "x"}, {"a", "1"}}, 3)}};
  EXPECT_THAT(MatchRows(expected, Found({{"1", "2", "null"}}), "tables.t", misfits), IsEmpty());
  ASSERT_THAT(misfits, SizeIs(2));
  EXPECT_EQ(misfits[0].message, "tables.t has no column 'txt'; did you mean 'text'?");
  EXPECT_EQ(misfits[0].place.line, 3);
  EXPECT_EQ(misfits[1].message, "tables.t.b: 'x' is not a value of int64");
}

}  // namespace
}  // namespace millrace::trial
