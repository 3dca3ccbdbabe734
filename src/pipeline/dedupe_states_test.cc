#include "pipeline/dedupe_states.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/uuid.h"
#include "pipeline/test_pipeline_internal.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::BatchFromJson;
using ::testing::HasSubstr;

const model::TopicPartition kPartition{"a", 0};

class DedupeStatesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    config_ = TestConfig();
    config_.inputs[0].topics = {"a"};
    config_.inputs[0].dedupe = config::DedupeConfig{.by = {"id"}, .within = std::chrono::hours(1)};
  }
  void TearDown() override { fs::remove_all(folder_); }

  Result<DedupeStates> Make() {
    ASSIGN_OR_RETURN(plan_, MakePlan(config_));
    return DedupeStates::Make(*plan_, {.folder = folder_, .share = nullptr, .all = nullptr});
  }
  /// The log has records with this fingerprint everywhere.
  Result<std::unique_ptr<process::Deduplicator>> Open(model::OffsetRange read_again,
                                                      std::optional<std::uint32_t> fingerprint) {
    ASSIGN_OR_RETURN(auto states, Make());
    return states.Open(kPartition, read_again,
                       [fingerprint](model::Offset) -> Result<std::optional<std::uint32_t>> { return fingerprint; });
  }
  /// Has read ten offsets whose last record has the fingerprint 77.
  void ReadTen() {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto dedupe, Open({0, 0}, std::nullopt));
    const auto rows = BatchFromJson(plan_->relations[0].schema, "[]");
    MILLRACE_ASSERT_OK(dedupe->FindRepeats(*rows, {0, 10}, 77).status());
  }

  const fs::path folder_ = fs::temp_directory_path() / ("millrace_states_" + RandomUuid());
  config::PipelineConfig config_;
  std::shared_ptr<const Plan> plan_;
};

TEST_F(DedupeStatesTest, AStateOfTheSameLogIsGoneOnFrom) {
  ReadTen();
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto dedupe, Open({0, 10}, 77));
  EXPECT_EQ(dedupe->next(), 10);
  dedupe.reset();
  MILLRACE_ASSERT_OK_AND_ASSIGN(dedupe, Open({0, 10}, std::nullopt));  // Compaction has removed the record.
  EXPECT_EQ(dedupe->next(), 10);
}

TEST_F(DedupeStatesTest, AStateOfAnotherLogIsThrownAway) {
  ReadTen();
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto dedupe, Open({0, 10}, 78));
  EXPECT_EQ(dedupe->next(), 0);
  dedupe.reset();
  MILLRACE_ASSERT_OK_AND_ASSIGN(dedupe, Open({0, 10}, 77));
  EXPECT_EQ(dedupe->next(), 0);
}

TEST_F(DedupeStatesTest, AnEditThatMakesOtherKeysThrowsTheStateAway) {
  const auto original = config_;
  const auto expect_next = [&](model::Offset expected, const char* edit) {
    SCOPED_TRACE(edit);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto dedupe, Open({0, 10}, 77));
    EXPECT_EQ(dedupe->next(), expected);
  };
  ReadTen();
  config_.tables.pop_back();
  config_.limits.memory *= 2;
  expect_next(10, "a table less, and more memory");
  config_.inputs[0].dedupe->within = std::chrono::hours(2);
  expect_next(0, "within");
  config_ = original;
  ReadTen();
  config_.inputs[0].dedupe->by = {"txt"};
  expect_next(0, "by");
  config_ = original;
  ReadTen();
  for (auto& column : config_.inputs[0].decode.columns) {
    if (column.name == "id") column.path = {"identity"};
  }
  expect_next(0, "where the key is read");
  config_ = original;
  ReadTen();
  config_.inputs[0].event_time->column = "_timestamp";
  expect_next(0, "which time");
}

TEST_F(DedupeStatesTest, AFolderThatCannotBeWrittenIsAnErrorIfItWasAskedFor) {
  std::ofstream(folder_) << "a file";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto dedupe, Open({3, 5}, std::nullopt));
  EXPECT_EQ(dedupe->next(), 3) << "in memory alone";
  EXPECT_FALSE(dedupe->can_spill());
  config_.inputs[0].dedupe->path = folder_.string();
  const auto states = Make();
  EXPECT_EQ(KindOf(states.status()), ErrorKind::kInvalidInput);
  EXPECT_THAT(states.status().message(),
              AllOf(HasSubstr("dedupe.path: " + folder_.string()), HasSubstr("may write to")));
}

TEST_F(DedupeStatesTest, WhatIsOldIsRemovedAtTheStart) {
  ReadTen();
  const fs::path partition = folder_ / "test" / "dedupe" / "a-0";
  ASSERT_TRUE(fs::exists(partition));
  for (const auto& entry : fs::directory_iterator(partition)) {
    fs::last_write_time(entry.path(), fs::file_time_type::clock::now() - std::chrono::minutes(59));
  }
  MILLRACE_ASSERT_OK(Make().status());
  EXPECT_TRUE(fs::exists(partition));
  for (const auto& entry : fs::directory_iterator(partition)) {
    fs::last_write_time(entry.path(), fs::file_time_type::clock::now() - std::chrono::minutes(61));
  }
  MILLRACE_ASSERT_OK(Make().status());
  EXPECT_FALSE(fs::exists(partition));
}

TEST_F(DedupeStatesTest, WithoutDedupeNothingIsMade) {
  config_.inputs[0].dedupe.reset();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto dedupe, Open({0, 0}, std::nullopt));
  EXPECT_EQ(dedupe, nullptr);
  EXPECT_FALSE(fs::exists(folder_));
}

}  // namespace
}  // namespace millrace::pipeline
