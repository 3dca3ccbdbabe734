// What a look at a relation shows is what the running pipeline makes of the same records.
#include "pipeline/relation_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/uuid.h"
#include "pipeline/test_pipeline_internal.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::map<model::Offset, std::optional<std::string>> kMixedRecords = {
    {0, Row(1)}, {1, "not json"}, {2, std::nullopt}, {3, Row(-1)}, {5, Row(5, "five")}, {6, Row(6)}};

std::vector<std::string> Told(const std::vector<model::DeadLetter>& letters) {
  std::vector<std::string> told;
  for (const auto& letter : letters) told.push_back(fmt::format("{} {}", letter.stage, letter.offset));
  return told;
}

TEST(RelationReader, ShowsTheEventsOfAnInput) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto plan, MakePlan(TestConfig()));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto reader, RelationReader::Make(plan, 0));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto made, reader->Read(Fetched({0, 7}, kMixedRecords)));
  EXPECT_EQ(made.rows->num_rows(), 4);
  EXPECT_TRUE(made.rows->schema()->Equals(*reader->schema()));
  EXPECT_THAT(Told(made.letters), ElementsAre("decode 1"));
  EXPECT_EQ(made.tombstones, 1);
  EXPECT_EQ(made.filtered, 0);
}

TEST(RelationReader, ShowsWhatTheShardMakesOfATransform) {
  TestPipeline pipeline;
  pipeline.Start();
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 7}, kMixedRecords)));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sealed, pipeline.shard().Seal(kCleaned, 1));
  const auto& ledger = sealed.partitions.at(kSource).ledger;

  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto reader, RelationReader::Make(pipeline.shared_plan(), 1));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto made, reader->Read(Fetched({0, 7}, kMixedRecords)));
  EXPECT_EQ(made.rows->num_rows(), ledger.written);
  EXPECT_EQ(made.filtered, ledger.filtered);
  EXPECT_EQ(made.tombstones, ledger.tombstones);
  EXPECT_EQ(std::ssize(made.letters), ledger.dead_lettered);
  EXPECT_THAT(Told(made.letters), ElementsAre("decode 1", "transform:clean 5"));
  const auto letters = pipeline.shard().TakeLetters();
  ASSERT_EQ(letters.size(), made.letters.size());
  for (std::size_t i = 0; i < letters.size(); ++i) {
    EXPECT_EQ(letters[i].detail, made.letters[i].detail);
    EXPECT_EQ(letters[i].payload, made.letters[i].payload);
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto nothing, reader->Read(Fetched({7, 9}, {})));
  EXPECT_EQ(nothing.rows->num_rows(), 0);
  EXPECT_THAT(nothing.letters, IsEmpty());
}

TEST(RelationReader, ShowsWhatATransformMakesWithItsLookups) {
  const auto file = std::filesystem::temp_directory_path() / ("millrace_reader_" + RandomUuid() + ".csv");
  std::ofstream(file) << "txt,num\nfive,55\n";
  auto config = TestConfig();
  config.lookups = {NumsOf(file.string())};
  config.transforms[0].sql =
      "SELECT i.id, coalesce(n.num, -1)::INTEGER AS num, i.ts FROM input i LEFT JOIN nums n USING (txt)";
  config.transforms.push_back({"behind", "SELECT id, num + 1 AS more, ts FROM clean"});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, MakePlan(config));
  for (int relation : {1, 2}) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto reader, RelationReader::Make(plan, relation));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto made, reader->Read(Fetched({5, 7}, {{5, Row(5, "five")}, {6, Row(6)}})));
    EXPECT_EQ(made.rows->column(1)->ToString(), relation == 1 ? "[\n  55,\n  -1\n]" : "[\n  56,\n  0\n]");
  }
  std::filesystem::remove(file);
  const auto gone = RelationReader::Make(plan, 1);
  EXPECT_FALSE(gone.ok());
  EXPECT_THAT(gone.status().message(), HasSubstr("nums"));
  MILLRACE_ASSERT_OK(RelationReader::Make(plan, 0).status());
}

}  // namespace
}  // namespace millrace::pipeline
