// Goal: what a process does not know of a partition is null, and what it says is of every table.
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "pipeline/worker_documents.h"

namespace millrace::pipeline {
namespace {

namespace json = boost::json;

WorkerView::Table TableAt(model::OffsetVector committed) { return {.uri = "", .committed = std::move(committed)}; }

// Of one input for each list of topics, and a table for each of `inputs`, before the dead letters'.
Plan PlanOfTopics(const std::vector<std::string>& topics, const std::vector<int>& inputs) {
  Plan plan;
  for (std::size_t i = 0; i < topics.size(); ++i) {
    plan.inputs.push_back({.name = topics[i], .topics = {topics[i]}, .patterns = {}, .decode = {}});
    plan.relations.push_back({.name = topics[i], .input = static_cast<int>(i), .schema = nullptr, .origin = {}});
  }
  for (const int input : inputs) plan.tables.push_back({.name = "t", .relation = input, .schema = nullptr});
  plan.tables.push_back({.name = "letters", .kind = config::TableKind::kDeadLetters, .schema = nullptr});
  return plan;
}

TEST(LagDocumentTest, SaysHowFarEachPartitionIsReadAndInEveryTable) {
  const model::TopicPartition read{"clicks", 0};
  const model::TopicPartition others{"clicks", 1};
  const model::TopicPartition begun{"clicks", 2};
  const Plan plan = PlanOfTopics({"clicks"}, {0, 0});
  WorkerView view{.plan = &plan};
  view.status.state = "running";
  view.status.partitions = {{.source = read, .next = 90, .end = 100},
                            {.source = begun, .next = 5, .end = std::nullopt}};
  view.status.tables = {{.name = "a"}, {.name = "b"}, {.name = "letters", .kind = config::TableKind::kDeadLetters}};
  view.tables = {TableAt({{read, 80}, {others, 7}}), TableAt({{read, 70}, {others, 9}, {begun, 3}}),
                 TableAt({{read, 1}})};
  const auto document = LagDocument(view);
  EXPECT_EQ(document.at("state"), "running");
  EXPECT_EQ(document.at("lag"), 10) << "of what is known";
  const auto& partitions = document.at("partitions").as_array();
  ASSERT_EQ(partitions.size(), 3u);
  EXPECT_EQ(json::serialize(partitions[0]),
            R"({"topic":"clicks","partition":0,"position":90,"log_end":100,"lag":10,"committed":70,"committed_lag":30,)"
            R"("watermark":null,"paused":false,"waits_for":null})");
  EXPECT_EQ(json::serialize(partitions[1]),
            R"({"topic":"clicks","partition":1,"position":null,"log_end":null,"lag":null,"committed":7,)"
            R"("committed_lag":null,"watermark":null,"paused":null,"waits_for":null})")
      << "another process reads it";
  EXPECT_EQ(json::serialize(partitions[2]),
            R"({"topic":"clicks","partition":2,"position":5,"log_end":null,"lag":null,"committed":null,)"
            R"("committed_lag":null,"watermark":null,"paused":false,"waits_for":null})")
      << "one table has nothing of it, and the log has not said where it ends";
}

TEST(LagDocumentTest, OfAProcessThatReadsNothingWhatIsCommittedIsKnown) {
  const Plan plan = PlanOfTopics({"clicks"}, {0});
  WorkerView view{.plan = &plan};
  view.status.state = "serving";
  view.status.tables = {{.name = "a"}};
  view.tables = {TableAt({{{"clicks", 0}, 80}})};
  const auto document = LagDocument(view);
  EXPECT_TRUE(document.at("lag").is_null());
  EXPECT_EQ(document.at("partitions").at(0).at("committed"), 80);
}

TEST(LagDocumentTest, OfAPartitionCountTheTablesThatItsInputFeeds) {
  const model::TopicPartition click{"clicks", 0};
  const model::TopicPartition reading{"readings", 0};
  const model::TopicPartition gone{"gone", 0};
  const Plan plan = PlanOfTopics({"clicks", "readings"}, {0, 1});
  WorkerView view{.plan = &plan};
  view.status.state = "running";
  view.status.tables = {{.name = "a"}, {.name = "b"}, {.name = "letters", .kind = config::TableKind::kDeadLetters}};
  view.tables = {TableAt({{click, 80}, {gone, 5}}), TableAt({{reading, 70}}), TableAt({})};
  const auto document = LagDocument(view);
  const auto& partitions = document.at("partitions").as_array();
  ASSERT_EQ(partitions.size(), 3u);
  EXPECT_EQ(partitions[0].at("committed"), 80);
  EXPECT_TRUE(partitions[1].at("committed").is_null()) << "of a topic that nobody reads any more";
  EXPECT_EQ(partitions[2].at("committed"), 70);
}

}  // namespace
}  // namespace millrace::pipeline
