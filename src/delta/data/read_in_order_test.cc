// Reading ahead: whatever is ready first, what comes out is in order; no more at once than allowed, no more kept than
// allowed, and no thread left behind.
#include <gtest/gtest.h>

#include <atomic>
#include <latch>

#include "delta/data/read_in_order_internal.h"
#include "testing/status_matchers.h"

namespace millrace::delta {
namespace {

using Ints = std::vector<int>;

TEST(ReadInOrder, TheLastToBeReadyComesFirstIfItIsFirst) {
  constexpr int kThreads = 4;
  std::latch others(kThreads - 1);
  Ints got;
  MILLRACE_ASSERT_OK(ReadInOrder<int>(
      100, kThreads,
      [&](std::size_t item, const Emit<int>& emit) {
        // Passes only if the other three are read at the same time.
        if (item == 0) others.wait();
        const int first = static_cast<int>(item) * 2;
        RETURN_NOT_OK(emit(first, 1));
        RETURN_NOT_OK(emit(first + 1, 1));
        if (item > 0 && item < kThreads) others.count_down();
        return Status::OK();
      },
      [&](int piece) {
        got.push_back(piece);
        return Status::OK();
      }));
  Ints want;
  for (int i = 0; i < 200; ++i) want.push_back(i);
  EXPECT_EQ(got, want);
}

TEST(ReadInOrder, NoMoreAtOnceThanAllowed) {
  constexpr int kThreads = 3;
  std::atomic<int> at_once = 0;
  std::atomic<int> most = 0;
  MILLRACE_ASSERT_OK(ReadInOrder<int>(
      200, kThreads,
      [&](std::size_t, const Emit<int>& emit) {
        const int now = ++at_once;
        for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) continue;
        const Status status = emit(0, 1);
        --at_once;
        return status;
      },
      [](int) { return Status::OK(); }));
  EXPECT_LE(most, kThreads);
}

TEST(ReadInOrder, NothingIsBegunWhileTooMuchWaitsForItsTurn) {
  constexpr int kThreads = 4;
  std::atomic<int> begun = 0;
  int consumed = 0;
  MILLRACE_ASSERT_OK(ReadInOrder<int>(
      50, kThreads,
      [&](std::size_t, const Emit<int>& emit) {
        ++begun;
        return emit(0, kReadAheadBytesMax);
      },
      [&](int) {
        ++consumed;
        EXPECT_LE(begun, consumed + kThreads);
        return Status::OK();
      }));
  EXPECT_EQ(consumed, 50);
}

TEST(ReadInOrder, ThePiecesOfOneLargeItemPassEvenWhenOthersFillTheBuffer) {
  int consumed = 0;
  MILLRACE_ASSERT_OK(ReadInOrder<int>(
      8, 8,
      [](std::size_t, const Emit<int>& emit) {
        for (int piece = 0; piece < 5; ++piece) RETURN_NOT_OK(emit(piece, kReadAheadBytesMax / 2));
        return Status::OK();
      },
      [&](int piece) {
        EXPECT_EQ(piece, consumed++ % 5);
        return Status::OK();
      }));
  EXPECT_EQ(consumed, 40);
}

TEST(ReadInOrder, TheFirstFailureInOrderIsTheOneThatIsReported) {
  for (const int threads : {1, 4}) {
    SCOPED_TRACE(threads);
    std::latch later(threads > 1 ? 1 : 0);
    int consumed = 0;
    const Status status = ReadInOrder<int>(
        20, threads,
        [&](std::size_t item, const Emit<int>& emit) -> Status {
          if (item == 3) {
            later.count_down(threads > 1 ? 1 : 0);
            return Corrupt("item 3");
          }
          // Fails after item 3 has.
          if (item == 2) {
            later.wait();
            return NotFound("item 2");
          }
          return emit(static_cast<int>(item), 1);
        },
        [&](int) {
          ++consumed;
          return Status::OK();
        });
    EXPECT_EQ(status.message(), "item 2");
    EXPECT_EQ(consumed, 2);
  }
}

TEST(ReadInOrder, AConsumerThatHasEnoughEndsIt) {
  std::atomic<int> begun = 0;
  int consumed = 0;
  const Status status = ReadInOrder<int>(
      1'000'000, 4,
      [&](std::size_t, const Emit<int>& emit) {
        ++begun;
        return emit(0, kReadAheadBytesMax / 4);
      },
      [&](int) -> Status { return ++consumed < 10 ? Status::OK() : Cancelled("enough"); });
  EXPECT_EQ(status.message(), "enough");
  EXPECT_EQ(consumed, 10);
  EXPECT_LT(begun, 100);
}

TEST(ReadInOrder, NoItemsAreNoWork) {
  MILLRACE_ASSERT_OK(ReadInOrder<int>(
      0, 4, [](std::size_t, const Emit<int>&) { return Internal("asked"); }, [](int) { return Status::OK(); }));
}

}  // namespace
}  // namespace millrace::delta
