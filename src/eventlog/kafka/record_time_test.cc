#include "eventlog/kafka/record_time.h"

#include <gtest/gtest.h>

namespace millrace::eventlog {
namespace {

TEST(RecordTime, IsInMicrosecondsAndNeverWraps) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  constexpr UnixMicros kEnd = kMost / 2 / 1000 * 1000;
  struct Case {
    std::int64_t millis;
    UnixMicros want;
  };
  for (const auto& [millis, want] : {
           Case{0, 0},
           {-1, 0},
           {std::numeric_limits<std::int64_t>::min(), 0},
           {1'764'352'800'123, 1'764'352'800'123'000},
           {1'764'352'800'123'456, 1'764'352'800'123'456'000},  // Microseconds for milliseconds: as they are.
           {1'764'352'800'123'456'789, kEnd},                   // Nanoseconds.
           {kEnd / 1000, kEnd},
           {kEnd / 1000 + 1, kEnd},
           {kMost / 1000 + 1, kEnd},
           {kMost, kEnd},
       }) {
    EXPECT_EQ(RecordTime(millis), want) << millis;
  }
}

}  // namespace
}  // namespace millrace::eventlog
