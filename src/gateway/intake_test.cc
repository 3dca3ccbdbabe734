// The bounds of what is on its way to the log.
#include "gateway/intake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <memory>

#include "base/uuid.h"
#include "eventlog/embedded/embedded_log.h"
#include "gateway/test_log.h"
#include "testing/status_matchers.h"

namespace millrace::gateway {
namespace {

std::vector<eventlog::OutgoingRecord> Records(std::size_t count, std::size_t bytes, std::size_t headers = 0) {
  eventlog::OutgoingRecord record{.topic = "clicks", .payload = std::string(bytes, 'x'), .headers = {}};
  record.headers.assign(headers, {"", std::string()});
  return std::vector<eventlog::OutgoingRecord>(count, record);
}

TEST(GatewayIntake, LargeBatchesDoNotKeepSmallOnesOut) {
  TestLog log;
  Metrics metrics;
  constexpr std::size_t kMiB = 1 << 20;
  Intake intake(log.NewProducer(), {.bytes_max = 4 * kMiB, .records_max = 40}, metrics, "http");
  log.Hold();
  std::atomic<int> settled{0};
  const auto append = [&](std::vector<eventlog::OutgoingRecord> records) {
    return intake.Append(std::move(records), [&](const Settled&) { ++settled; });
  };
  for (int i = 0; i < 4; ++i) MILLRACE_ASSERT_OK(append(Records(1, kMiB)));
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, append(Records(1, Intake::kSmallBatchBytes + 1)));
  for (int i = 0; i < 16; ++i) MILLRACE_ASSERT_OK(append(Records(1, Intake::kSmallBatchBytes)));
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, append(Records(1, 1)));  // They have their limit too.
  log.Release();
  EXPECT_EQ(settled, 20);
  // Likewise of records.
  log.Hold();
  MILLRACE_ASSERT_OK(append(Records(40, Intake::kSmallBatchBytes / 39)));
  MILLRACE_ASSERT_OK(append(Records(10, 1)));
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, append(Records(1, 1)));
  log.Release();
}

// Its queue refuses nothing of what two doors may have on its way, while its thread writes nothing at all.
TEST(GatewayIntake, TwoDoorsAtTheirLimitsFindRoomInTheQueueOfAnEmbeddedLog) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / ("intake_" + RandomUuid());
  auto log = eventlog::EmbeddedLog::Open({.path = folder.string(), .partitions = 4});
  MILLRACE_ASSERT_OK(log);
  Metrics metrics;
  for (const bool is_large : {false, true}) {
    std::promise<void> stalled, go_on;
    const auto first = (*log)->NewConfirmingProducer();
    MILLRACE_ASSERT_OK(first->Append({.topic = "clicks", .payload = "first"}, [&](const auto&) {
      stalled.set_value();
      go_on.get_future().wait();
    }));
    stalled.get_future().wait();

    std::atomic<std::size_t> taken{0}, durable{0};
    const auto then = [&](const Settled& settled) {
      for (const auto& one : settled) durable += one.ok();
    };
    {
      Intake http((*log)->NewConfirmingProducer(), kSharedEmbeddedLimits, metrics, "http");
      Intake mqtt((*log)->NewConfirmingProducer(), kSharedEmbeddedLimits, metrics, "mqtt");
      const auto fill = [&](Intake& intake, std::size_t records, std::size_t bytes, std::size_t headers) {
        Status last;
        while (last.ok()) {
          last = intake.Append(Records(records, bytes, headers), then);
          if (last.ok()) taken += records;
        }
        EXPECT_EQ(KindOf(last), ErrorKind::kTransient) << last.message();
      };
      // As many records as may be, whose headers the limits do not count in full; and the largest batch.
      if (is_large) {
        MILLRACE_ASSERT_OK(http.Append(Records(10'000, (9 << 20) / 10'000, 4), then));
        taken += 10'000;
      }
      fill(mqtt, 1, 120, 1);
      fill(http, 100, 120, 4);
      go_on.set_value();
    }
    EXPECT_GT(taken, 50'000U);
    EXPECT_EQ(durable, taken) << (is_large ? "with the largest batch" : "with many small ones");
  }
  *log = nullptr;
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace millrace::gateway
