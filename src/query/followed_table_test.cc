// How often a table's log is looked at, whoever asks.
#include "query/followed_table.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <future>
#include <thread>
#include <vector>

#include "objectstore/object_store.h"
#include "testing/faulty_store.h"
#include "testing/manual_clock.h"
#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

using namespace std::chrono_literals;

class FollowedTableTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) / ("followed_table_" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto store, objectstore::OpenStore(folder_.string()));
    store_ = std::make_shared<testing::FaultyStore>(std::move(store));
    delta::CreateOptions options;
    options.schema = arrow::schema({arrow::field("x", arrow::int64())});
    MILLRACE_ASSERT_OK_AND_ASSIGN(table_, delta::Table::OpenOrCreate(store_, options));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Commit() { MILLRACE_ASSERT_OK(table_->Commit({.txns = {{.app_id = "a", .version = ++committed_}}})); }
  delta::TableVersion Newest(delta::TableVersion at_least = -1) {
    return followed_.Newest(at_least, {}).ValueOrDie().snapshot->version;
  }

  std::filesystem::path folder_;
  std::shared_ptr<testing::FaultyStore> store_;
  std::shared_ptr<delta::Table> table_;
  std::int64_t committed_ = 0;
  testing::ManualClock clock_{1'000'000};
  FollowedTable followed_{[this] { return delta::Table::Open(store_); }, 1s, clock_};
};

TEST_F(FollowedTableTest, IsLookedAtOnceARestAndAtOnceForAVersionThatIsKnownToBeThere) {
  EXPECT_EQ(followed_.Known(), nullptr);
  EXPECT_EQ(Newest(), 0);
  Commit();
  EXPECT_EQ(Newest(), 0);
  EXPECT_EQ(Newest(1), 1);
  Commit();
  EXPECT_EQ(followed_.Known()->version, 1);
  clock_.Set(clock_.Now() + 1'000'000);
  EXPECT_EQ(Newest(), 2);
  Commit();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto again, followed_.LookAgain({}));
  EXPECT_EQ(again.snapshot->version, 3);
  EXPECT_EQ(Newest(9), 3) << "there is no more";
}

TEST_F(FollowedTableTest, WhatIsKnownIsToldWithoutALookForAsLongAsNewestWouldNotLook) {
  EXPECT_EQ(followed_.NewestKnown(-1), nullptr);
  Newest();
  EXPECT_EQ(followed_.NewestKnown(-1)->version, 0);
  EXPECT_EQ(followed_.NewestKnown(1), nullptr);
  Commit();
  EXPECT_EQ(followed_.NewestKnown(0)->version, 0);
  clock_.Set(clock_.Now() + 1'000'000);
  EXPECT_EQ(followed_.NewestKnown(0), nullptr);
  Newest();
  EXPECT_EQ(followed_.NewestKnown(1)->version, 1);
}

TEST_F(FollowedTableTest, ManyWhoAskCostOneLook) {
  EXPECT_EQ(Newest(), 0);
  clock_.Set(clock_.Now() + 1'000'000);
  std::atomic<int> requests = 0;
  store_->SetPolicy([&requests](auto, const auto&) -> std::optional<testing::StoreFault> {
    ++requests;
    return std::nullopt;
  });
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) threads.emplace_back([this] { EXPECT_EQ(Newest(), 0); });
  for (auto& thread : threads) thread.join();
  EXPECT_LE(requests, 2) << "one failed read and one Stat";
  EXPECT_GE(requests, 1);
}

TEST_F(FollowedTableTest, WhoLosesInterestDoesNotWait) {
  std::stop_source stop;
  stop.request_stop();
  std::promise<void> inside, leave;
  store_->Before(testing::StoreOperation::kRead, 1, [&] {
    inside.set_value();
    leave.get_future().wait();
  });
  std::thread first([this] { Newest(); });
  inside.get_future().wait();
  EXPECT_EQ(KindOf(followed_.Newest(-1, stop.get_token()).status()), ErrorKind::kCancelled);
  leave.set_value();
  first.join();
}

}  // namespace
}  // namespace millrace::query
