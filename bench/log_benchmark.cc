// The embedded log, beside `db_bench` of RocksDB, which it is made of (bench/embedded_log.py runs both):
//
//   log_benchmark append FOLDER BYTES IN_FLIGHT SECONDS    prints {"records", "seconds", "cpu_s"}
//   log_benchmark until-killed FOLDER BYTES IN_FLIGHT      prints how many are acknowledged, a line each time
//   log_benchmark open FOLDER TOPIC                        prints {"open_s", "records"}
//
// Records of one topic, "bench", with four partitions, a key of 16 bytes and a payload of BYTES; IN_FLIGHT of them are
// on their way at a time. One counts when the log has said that it is durable.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>

#include "base/status.h"
#include "cpu_seconds.h"
#include "eventlog/embedded/embedded_log.h"

namespace millrace::eventlog {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

/// Half of it is incompressible, as db_bench has it.
std::string Payload(std::size_t bytes) {
  std::string payload(bytes, 'x');
  std::uint64_t state = 42;
  for (std::size_t i = 0; i < bytes / 2; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    payload[i] = static_cast<char>(state >> 56);
  }
  return payload;
}

Status Append(const std::string& folder, std::size_t bytes, std::int64_t in_flight, double seconds) {
  ASSIGN_OR_RETURN(const auto log, EmbeddedLog::Open({.path = folder, .partitions = 4}));
  const std::string payload = Payload(bytes);
  std::mutex mutex;
  std::condition_variable news;
  std::int64_t acknowledged = 0;
  Status failure;
  const double cpu = CpuSeconds();
  const auto begun = Clock::now();
  {
    const auto producer = log->NewConfirmingProducer();
    auto told_at = begun;
    for (std::int64_t sent = 0; seconds == 0 || Clock::now() - begun < std::chrono::duration<double>(seconds); ++sent) {
      {
        std::unique_lock lock(mutex);
        news.wait(lock, [&] { return sent - acknowledged < in_flight || !failure.ok(); });
        if (!failure.ok()) return failure;
        if (seconds == 0 && Clock::now() - told_at > 10ms) {
          std::printf("%lld\n", static_cast<long long>(acknowledged));
          std::fflush(stdout);
          told_at = Clock::now();
        }
      }
      OutgoingRecord record;
      record.topic = "bench";
      record.partition = static_cast<std::int32_t>(sent % 4);
      record.key = "0123456789abcdef";
      record.payload = payload;
      RETURN_NOT_OK(producer->Append(std::move(record), [&](const Result<Appended>& place) {
        const std::lock_guard lock(mutex);
        ++acknowledged;
        if (!place.ok()) failure = place.status();
        news.notify_one();
      }));
    }
  }
  const double wall = std::chrono::duration<double>(Clock::now() - begun).count();
  RETURN_NOT_OK(failure);
  std::printf("{\"records\": %lld, \"seconds\": %.3f, \"cpu_s\": %.3f}\n", static_cast<long long>(acknowledged), wall,
              CpuSeconds() - cpu);
  return Status::OK();
}

Status Open(const std::string& folder, const std::string& topic) {
  const auto begun = Clock::now();
  ASSIGN_OR_RETURN(const auto log, EmbeddedLog::Open({.path = folder}));
  const double wall = std::chrono::duration<double>(Clock::now() - begun).count();
  const auto consumer = log->NewConsumer();
  ASSIGN_OR_RETURN(const auto partitions, consumer->Partitions({topic}, 10s));
  ASSIGN_OR_RETURN(const auto bounds, consumer->Bounds(partitions, 10s));
  std::int64_t records = 0;
  for (const auto& [partition, range] : bounds) records += range.end - range.begin;
  std::printf("{\"open_s\": %.4f, \"records\": %lld}\n", wall, static_cast<long long>(records));
  return Status::OK();
}

int Main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  Status done;
  if (verb == "open" && argc == 4) {
    done = Open(argv[2], argv[3]);
  } else if ((verb == "append" && argc == 6) || (verb == "until-killed" && argc == 5)) {
    done =
        Append(argv[2], std::strtoull(argv[3], nullptr, 10), std::atoll(argv[4]), argc == 6 ? std::atof(argv[5]) : 0);
  } else {
    std::fprintf(stderr, "usage: log_benchmark append|until-killed|open FOLDER ...: see its source\n");
    return 2;
  }
  if (!done.ok()) std::fprintf(stderr, "log_benchmark: %s\n", done.message().c_str());
  return done.ok() ? 0 : 1;
}

}  // namespace
}  // namespace millrace::eventlog

int main(int argc, char** argv) { return millrace::eventlog::Main(argc, argv); }
