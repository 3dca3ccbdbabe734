// Hot rows of several workers as one, and the watermark that an answer with them may state.
#include "query/hot_rows.h"

#include <gtest/gtest.h>

namespace millrace::query {
namespace {

const model::TopicPartition kP0{"clicks", 0};
const model::TopicPartition kP1{"clicks", 1};
const model::TopicPartition kOld{"gone", 0};

TEST(HotRows, OfSeveralWorkersAreOne) {
  HotRows rows;
  Add({.segments = {{{{kP0, {1, 2}}}, nullptr}}, .version = 7, .watermark = 50, .begun = {{kP0, 2}}}, rows);
  Add({.segments = {}, .version = 5, .watermark = {}, .begun = {}, .missing = {{"w2", "gone"}}}, rows);
  Add({.segments = {{{{kP1, {3, 4}}}, nullptr}}, .version = 6, .watermark = 40, .begun = {{kP0, 1}, {kP1, 4}}}, rows);
  EXPECT_EQ(rows.segments.size(), 2u);
  EXPECT_EQ(rows.version, 7);
  EXPECT_EQ(rows.watermark, 40);
  EXPECT_EQ(rows.begun, (model::OffsetVector{{kP0, 2}, {kP1, 4}}));
  EXPECT_EQ(rows.missing, (std::vector<MissingSource>{{"w2", "gone"}}));
}

TEST(HotRows, AWatermarkIsStatedWhereAllThatItRestsOnIsInTheAnswer) {
  const HotRows rows{.watermark = 40, .begun = {{kP0, 10}, {kP1, 20}}};
  const auto topics = [](const std::string& topic) { return topic == "clicks"; };
  EXPECT_EQ(WatermarkOf(rows, {{kP0, 10}, {kP1, 25}}, topics), 40);
  EXPECT_EQ(WatermarkOf(rows, {{kP0, 9}, {kP1, 25}}, topics), std::nullopt) << "a record that it rests on is not in it";
  EXPECT_EQ(WatermarkOf(rows, {{kP0, 10}, {{"clicks", 2}, 5}}, topics), std::nullopt) << "nobody reads clicks[2]";
  EXPECT_EQ(WatermarkOf(rows, {{kP0, 10}, {kOld, 5}}, topics), 40) << "a topic that is not read any more";
  EXPECT_EQ(WatermarkOf(rows, {{kP0, 10}}, topics), 40) << "a partition without a record for this table";
}

}  // namespace
}  // namespace millrace::query
