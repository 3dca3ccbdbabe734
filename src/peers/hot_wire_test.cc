// Questions and answers survive the way from one process to another, and what does not fit is refused.
#include "peers/hot_wire.h"

#include <arrow/array.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::peers {
namespace {

using ::testing::HasSubstr;

model::AggregateDefinition Definition() {
  model::AggregateDefinition definition;
  definition.name = "a";
  definition.window = model::Window::Tumbling(60'000'000);
  definition.keys = {{"country", arrow::utf8()}, {"page", arrow::utf8()}};
  definition.states = {{"_s0", arrow::int64(), "count"}};
  return definition;
}

HotAnswer Answer(const model::AggregateDefinition& coarser) {
  HotAnswer answer{.instance = "i", .rows = {.version = 7, .watermark = -5, .begun = {{{"clicks", 3}, 12}}}};
  answer.rows.segments.push_back(
      {{{{"clicks", 3}, {5, 9}}, {{"clicks", 11}, {0, 0}}},
       testing::BatchFromJson(model::PartialSchema(coarser),
                              R"([["2026-11-22 10:00:00", "2026-11-22 10:01:00", "de", 2, 2]])")});
  answer.rows.segments.push_back({{{{"views", 0}, {9, 12}}}, nullptr});
  answer.rows.segments.push_back(answer.rows.segments.front());
  answer.rows.segments.back().ranges = {{{"clicks", 3}, {9, 12}}};
  return answer;
}

TEST(HotWire, AQuestionComesAsItWasAsked) {
  HotQuestion question{.aggregate = "a",
                       .fingerprint = "f",
                       .table_id = "t",
                       .keys = {"country"},
                       .window = model::Window::Hopping(10, 60),
                       .range = {.from = -3, .to = std::nullopt},
                       .bytes_max = 1 << 20};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto read, HotQuestionFromJson(ToJson(question)));
  EXPECT_EQ(read.aggregate, "a");
  EXPECT_EQ(read.fingerprint, "f");
  EXPECT_EQ(read.table_id, "t");
  EXPECT_EQ(read.keys, question.keys);
  EXPECT_EQ(read.window, question.window);
  EXPECT_EQ(read.range.from, -3);
  EXPECT_EQ(read.range.to, std::nullopt);
  EXPECT_EQ(read.bytes_max, 1 << 20);
  for (const char* text : {"", "{", "[]", "{}", R"({"aggregate": 7})"}) {
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, HotQuestionFromJson(text));
  }
}

TEST(HotWire, WhatIsAskedForMustBeACoarserFormOfTheAggregate) {
  using model::Window;
  const auto berlin = TimeZone::Utc();
  struct Case {
    Window own;
    Window asked;
    bool is_good;
  };
  const std::vector<Case> cases = {
      {Window::Tumbling(60), Window::Tumbling(60), true},
      {Window::Tumbling(60), Window::Tumbling(120), true},
      {Window::Tumbling(60), Window::None(), true},
      {Window::Tumbling(60), Window::Tumbling(90), false},
      {Window::Tumbling(60), Window::Tumbling(30), false},
      {Window::Tumbling(60), Window::Hopping(60, 120), false},
      {Window::Tumbling(60), {.kind = Window::Kind::kTumbling}, false},
      {Window::Tumbling(60), {.kind = static_cast<Window::Kind>(77), .size_us = 60, .pane_us = 60}, false},
      {Window::Hopping(10, 60), Window::Tumbling(20), true},
      {Window::Hopping(10, 60), Window::Hopping(10, 60), true},
      {Window::Hopping(10, 60), Window::Hopping(10, 120), false},
      {Window::Session(60), Window::Session(60), true},
      {Window::None(), Window::None(), true},
      {Window::None(), Window::Tumbling(60), false},
      {Window::CalendarDays(1, berlin), Window::CalendarDays(7, berlin), true},
      {Window::CalendarDays(2, berlin), Window::CalendarDays(3, berlin), false},
      {Window::CalendarDays(1, berlin), Window::CalendarMonths(1, berlin), false},
      {Window::CalendarMonths(1, berlin), Window::CalendarMonths(3, berlin), true},
      {Window::CalendarDays(1, berlin), Window::Tumbling(60), false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(::testing::Message() << static_cast<int>(c.own.kind) << " " << c.asked.size_us);
    auto definition = Definition();
    definition.window = c.own;
    HotQuestion question{.keys = {"page"}, .window = c.asked};
    question.window.zone = nullptr;  // It does not travel.
    const auto coarser = CoarserOf(definition, question);
    ASSERT_EQ(coarser.ok(), c.is_good) << coarser.status().ToString();
    if (!c.is_good) {
      EXPECT_EQ(KindOf(coarser.status()), ErrorKind::kInvalidInput);
      continue;
    }
    EXPECT_EQ(coarser->window, c.asked);
    ASSERT_EQ(coarser->keys.size(), 1u);
    EXPECT_EQ(coarser->keys[0].name, "page");
  }
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput,
                       CoarserOf(Definition(), {.keys = {"city"}, .window = Definition().window}));
}

TEST(HotWire, AnAnswerComesAsItWasGiven) {
  const auto coarser = query::Coarser(Definition(), {"country"}, Definition().window);
  const HotAnswer answer = Answer(coarser);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto bytes, ToArrowStream(answer, coarser, 1 << 20));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto read, FromArrowStream(std::move(bytes), coarser));
  EXPECT_EQ(read.instance, "i");
  EXPECT_EQ(read.rows.version, 7);
  EXPECT_EQ(read.rows.watermark, -5);
  EXPECT_EQ(read.rows.begun, answer.rows.begun);
  ASSERT_EQ(read.rows.segments.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(read.rows.segments[i].ranges, answer.rows.segments[i].ranges);
    ASSERT_EQ(read.rows.segments[i].rows == nullptr, i == 1);
    if (i != 1) {
      EXPECT_TRUE(read.rows.segments[i].rows->Equals(*answer.rows.segments[i].rows));
    }
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto nothing, ToArrowStream({.instance = "j", .rows = {}}, coarser, 0));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto none, FromArrowStream(std::move(nothing), coarser));
  EXPECT_EQ(none.rows.watermark, std::nullopt);
  EXPECT_TRUE(none.rows.segments.empty());
}

// Sums of decimals are read as __int128, which must not lie just anywhere.
TEST(HotWire, BuffersLieWhereTheirValuesMayBeRead) {
  model::AggregateDefinition definition = Definition();
  definition.keys = {{"country", arrow::utf8()}};
  definition.states = {{"_s0", arrow::decimal128(38, 2), "sum"}};
  for (int length = 0; length < 40; ++length) {
    HotAnswer answer{.instance = std::string(static_cast<std::size_t>(length), 'i'), .rows = {}};
    answer.rows.segments.push_back(
        {{{{"clicks", 3}, {5, 9}}},
         testing::BatchFromJson(model::PartialSchema(definition),
                                fmt::format(R"([["2026-11-22 10:00:00", "2026-11-22 10:01:00", "{}", "1.25", 2]])",
                                            std::string(static_cast<std::size_t>(length), 'c')))});
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto bytes, ToArrowStream(answer, definition, 1 << 20));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto read, FromArrowStream(std::move(bytes), definition));
    const auto& decimals = read.rows.segments[0].rows->column(3)->data()->buffers[1];
    EXPECT_EQ(decimals->address() % 16, 0u) << length;
  }
}

TEST(HotWire, RowsOfAnotherDefinitionAreRefused) {
  const auto coarser = query::Coarser(Definition(), {"country"}, Definition().window);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto bytes, ToArrowStream(Answer(coarser), coarser, 1 << 20));
  auto other = coarser;
  other.states[0].type = arrow::float64();
  const auto refused = FromArrowStream(bytes, other);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, refused);
  EXPECT_THAT(refused.status().message(), HasSubstr("its rows have the columns"));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, FromArrowStream(bytes, Definition()));
}

TEST(HotWire, AnAnswerBeyondItsLimitIsTooLarge) {
  const auto coarser = query::Coarser(Definition(), {"country"}, Definition().window);
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, ToArrowStream(Answer(coarser), coarser, 10));
}

// Cut anywhere, or with any byte changed: an answer that reads is one whose offsets could have been sent; most do not.
TEST(HotWire, BrokenBytesNeverCrash) {
  const auto coarser = query::Coarser(Definition(), {"country"}, Definition().window);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto bytes, ToArrowStream(Answer(coarser), coarser, 1 << 20));
  for (std::size_t length = 0; length + 8 < bytes.size(); length += 7) {
    const auto cut = FromArrowStream(bytes.substr(0, length), coarser);
    if (!cut.ok()) {
      EXPECT_EQ(KindOf(cut.status()), ErrorKind::kInvalidInput) << length;
    }
  }
  std::mt19937 random(7);
  for (int i = 0; i < 3000; ++i) {
    std::string broken = bytes;
    broken[random() % broken.size()] = static_cast<char>(random());
    const auto read = FromArrowStream(std::move(broken), coarser);
    if (!read.ok()) {
      EXPECT_EQ(KindOf(read.status()), ErrorKind::kInvalidInput);
    }
  }
}

TEST(HotWire, RangesThatEndBeforeTheyBeginAreRefused) {
  const auto coarser = query::Coarser(Definition(), {"country"}, Definition().window);
  HotAnswer answer = Answer(coarser);
  answer.rows.segments[1].ranges.begin()->second = {9, 8};
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto bytes, ToArrowStream(answer, coarser, 1 << 20));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, FromArrowStream(std::move(bytes), coarser));
}

}  // namespace
}  // namespace millrace::peers
