// Versions of lookups: read at start, swapped whole, kept when their source is gone; limits.
#include "lookup/lookup_set.h"

#include <arrow/array.h>
#include <arrow/scalar.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "base/uuid.h"
#include "testing/manual_clock.h"
#include "testing/status_matchers.h"

namespace millrace::lookup {
namespace {

using ::testing::HasSubstr;

class LookupSetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::path(::testing::TempDir()) / (RandomUuid() + ".csv");
    spec_ = {.name = "devices",
             .kind = SourceKind::kCsv,
             .uri = path_.string(),
             .columns = {{.name = "id", .type = arrow::utf8(), .path = {"id"}},
                         {.name = "n", .type = arrow::int64(), .path = {"n"}}},
             .key = {"id"}};
    Write("id,n\na,1\n");
  }
  void TearDown() override { std::filesystem::remove(path_); }

  void Write(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }

  Result<std::shared_ptr<LookupSet>> Load(std::int64_t bytes_max = 1 << 20) {
    ASSIGN_OR_RETURN(const auto source, OpenSource(spec_, {}));
    ASSIGN_OR_RETURN(const auto shape, source->Shape());
    return LookupSet::Load({spec_}, {shape}, {.bytes_max = bytes_max, .memory = budget_->NewShare("lookups")}, clock_);
  }

  std::filesystem::path path_;
  LookupSpec spec_;
  std::shared_ptr<MemoryBudget> budget_ = MemoryBudget::Make(1 << 30);
  millrace::testing::ManualClock clock_{1'000'000};
};

TEST_F(LookupSetTest, ARefreshSwapsTheWholeVersion) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto set, Load());
  const auto before = set->current();
  EXPECT_EQ((*before)[0]->rows()->num_rows(), 1);
  EXPECT_EQ(budget_->used(), (*before)[0]->bytes());
  MILLRACE_ASSERT_OK(set->Refresh(0));
  EXPECT_EQ(set->current(), before) << "the rows are the same";
  Write("id,n\na,1\nb,2\n");
  MILLRACE_ASSERT_OK(set->Refresh(0));
  const auto after = set->current();
  EXPECT_EQ((*after)[0]->rows()->num_rows(), 2);
  EXPECT_EQ((*before)[0]->rows()->num_rows(), 1) << "whoever has it keeps it";
  EXPECT_NE((*after)[0]->version(), (*before)[0]->version());
  EXPECT_EQ(budget_->used(), (*after)[0]->bytes());
  const auto state = set->states()[0];
  EXPECT_EQ(state.name, "devices");
  EXPECT_EQ(state.version, (*after)[0]->version());
  EXPECT_EQ(state.rows, 2);
}

TEST_F(LookupSetTest, WhatIsGoneOrBrokenLeavesTheRowsOfBefore) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto set, Load());
  const auto before = set->current();
  const auto read = set->states()[0].read;
  clock_.Set(8'000'000);
  std::filesystem::remove(path_);
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, set->Refresh(0));
  EXPECT_THAT(set->states()[0].error, HasSubstr("there is no such file"));
  Write("id,n\na,1\na,2\n");
  const Status twice = set->Refresh(0);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, twice);
  EXPECT_EQ(twice.message(), "lookup devices: two rows have the key id = a");
  EXPECT_EQ(set->current(), before);
  EXPECT_EQ(set->states()[0].read, read);
  Write("id,n\na,3\n");
  MILLRACE_ASSERT_OK(set->Refresh(0));
  EXPECT_EQ(set->states()[0].error, "");
  EXPECT_GT(set->states()[0].read, read);
}

TEST_F(LookupSetTest, AtStartWhatIsGoneBrokenOrTooLargeIsAnError) {
  Write("id,n\na,1\na,2\n");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, Load());
  std::string many = "id,n\n";
  for (int i = 0; i < 1000; ++i) many += fmt::format("device-{},{}\n", i, i);
  Write(many);
  const auto large = Load(30'000);  // The file and its rows are smaller than that, the index is not.
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, large);
  EXPECT_THAT(large.status().message(), HasSubstr("lookup devices: its rows and their index take"));
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, Load(1000));
  std::filesystem::remove(path_);
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, Load());
}

}  // namespace
}  // namespace millrace::lookup
