#include "base/run_each.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace millrace {
namespace {

TEST(RunEach, EachTaskRunsOnceOnHoweverManyThreads) {
  for (const int threads : {1, 3, 64}) {
    std::vector<std::atomic<int>> runs(20);
    EXPECT_TRUE(RunEach(runs.size(), threads, [&](std::size_t i) {
                  ++runs[i];
                  return Status::OK();
                }).ok());
    for (const auto& count : runs) EXPECT_EQ(count, 1);
  }
  EXPECT_TRUE(RunEach(0, 4, [](std::size_t) { return Transient("there is none"); }).ok());
}

TEST(RunEach, AfterAFailureNoneIsBegun) {
  int runs = 0;
  const Status status = RunEach(100, 1, [&](std::size_t i) {
    ++runs;
    return i == 3 ? Transient("task {}", i) : Status::OK();
  });
  EXPECT_EQ(status.message(), "task 3");
  EXPECT_EQ(runs, 4);
}

}  // namespace
}  // namespace millrace
