// The embedded log keeps its promises: durable after Flush(), contiguous offsets for ever, clear errors. Each test has
// a folder of its own; time is a fake clock; consumers are read as the pipeline reads them, through their descriptor.
#include "eventlog/embedded/embedded_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <rocksdb/db.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "testing/status_matchers.h"

namespace millrace::eventlog {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

class ManualClock final : public Clock {
 public:
  UnixMicros Now() const override { return now; }
  std::chrono::steady_clock::time_point SteadyNow() const override { return {}; }
  std::atomic<UnixMicros> now{1'700'000'000'000'000};
};

struct Read {
  std::map<TopicPartition, std::vector<std::string>> payloads;
  std::map<TopicPartition, OffsetRange> ranges;
  std::map<TopicPartition, Offset> ends;
  std::vector<Status> failures;
};

class EmbeddedLogTest : public ::testing::Test {
 protected:
  EmbeddedLogTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "millrace-embedded-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~EmbeddedLogTest() override { std::filesystem::remove_all(path_); }

  EmbeddedOptions Options(int partitions = 2) { return {.path = path_, .partitions = partitions, .clock = &clock_}; }

  static OutgoingRecord Record(std::string payload, std::int32_t partition = 0) {
    OutgoingRecord record;
    record.topic = "clicks";
    record.partition = partition;
    record.payload = std::move(payload);
    return record;
  }

  static bool Readable(const Consumer& consumer, int timeout_ms) {
    pollfd fd{consumer.wake_fd(), POLLIN, 0};
    return poll(&fd, 1, timeout_ms) == 1;
  }

  // Polls while the descriptor says so. Checks on the way that ranges are contiguous and hold their records.
  static void ReadAll(Consumer& consumer, Read& read, std::size_t max_records = 1000) {
    while (Readable(consumer, 0)) {
      for (Event& event : consumer.Poll(max_records)) {
        if (auto* fetched = std::get_if<FetchedRecords>(&event)) {
          auto [at, first] = read.ranges.try_emplace(fetched->source, fetched->range);
          if (!first) {
            ASSERT_EQ(at->second.end, fetched->range.begin);
            at->second.end = fetched->range.end;
          }
          ASSERT_LE(fetched->records.size(), max_records);
          Offset offset = fetched->range.begin;
          for (const auto& record : fetched->records) {
            ASSERT_EQ(record.offset, offset++);
            read.payloads[fetched->source].emplace_back(record.payload.value_or("(none)"));
          }
        } else if (auto* end = std::get_if<ReachedEnd>(&event)) {
          read.ends[end->source] = end->end;
        } else if (auto* failed = std::get_if<Failed>(&event)) {
          read.failures.push_back(failed->status);
        }
      }
    }
  }

  // A consumer of "clicks" that reads from the given offsets.
  static void Begin(EmbeddedLog& log, OffsetVector next, std::unique_ptr<Consumer>& consumer) {
    consumer = log.NewConsumer();
    MILLRACE_ASSERT_OK(consumer->Subscribe({"clicks"}, 1s));
    const std::vector<Event> events = consumer->Poll(1);
    ASSERT_EQ(events.size(), 1u);
    ASSERT_TRUE(std::holds_alternative<Assigned>(events.front()));
    MILLRACE_ASSERT_OK(consumer->Start(next));
  }

  std::string path_;
  ManualClock clock_;
};

const TopicPartition kZero{"clicks", 0};
const TopicPartition kOne{"clicks", 1};

TEST_F(EmbeddedLogTest, DeliversWhatWasAppended) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  auto producer = log->NewProducer();
  OutgoingRecord record = Record("payload");
  record.key = "key";
  record.timestamp = 1'234'567'000'000;
  record.headers = {{"a", "1"}, {"a", ""}, {"n", std::nullopt}, {"z", "2"}};
  MILLRACE_ASSERT_OK(producer->Append(record));
  OutgoingRecord tombstone = Record("");
  tombstone.payload.reset();
  MILLRACE_ASSERT_OK(producer->Append(tombstone));
  MILLRACE_ASSERT_OK(producer->Append(Record("")));
  MILLRACE_ASSERT_OK(producer->Flush(10s));

  std::unique_ptr<Consumer> consumer;
  ASSERT_NO_FATAL_FAILURE(Begin(*log, {{kZero, 0}}, consumer));
  const std::vector<Event> events = consumer->Poll(100);
  ASSERT_EQ(events.size(), 2u);
  const auto& fetched = std::get<FetchedRecords>(events[0]);
  EXPECT_EQ(fetched.source, kZero);
  EXPECT_EQ(fetched.range, (OffsetRange{0, 3}));
  EXPECT_EQ(fetched.generation, 1);
  EXPECT_EQ(fetched.bytes, 10u);
  ASSERT_EQ(fetched.records.size(), 3u);
  EXPECT_EQ(fetched.records[0].key, "key");
  EXPECT_EQ(fetched.records[0].payload, "payload");
  EXPECT_EQ(fetched.records[0].timestamp, 1'234'567'000'000);
  EXPECT_EQ(fetched.records[0].Headers(),
            (model::RecordHeaders{{"a", "1"}, {"a", ""}, {"n", std::nullopt}, {"z", "2"}}));
  EXPECT_EQ(fetched.records[1].payload, std::nullopt);
  EXPECT_EQ(fetched.records[1].key, std::nullopt);
  EXPECT_EQ(fetched.records[1].timestamp, clock_.now);
  EXPECT_EQ(fetched.records[2].payload, "");
  EXPECT_EQ(std::get<ReachedEnd>(events[1]).end, 3);
}

TEST_F(EmbeddedLogTest, RecordsOutliveConsumerAndLog) {
  FetchedRecords kept;
  {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
    auto producer = log->NewProducer();
    MILLRACE_ASSERT_OK(producer->Append(Record("still here")));
    MILLRACE_ASSERT_OK(producer->Flush(10s));
    std::unique_ptr<Consumer> consumer;
    ASSERT_NO_FATAL_FAILURE(Begin(*log, {{kZero, 0}}, consumer));
    kept = std::get<FetchedRecords>(consumer->Poll(10).front());
  }
  EXPECT_EQ(kept.records.at(0).payload, "still here");
}

TEST_F(EmbeddedLogTest, OffsetsGoOnAfterReopening) {
  for (int run = 0; run < 3; ++run) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
    auto producer = log->NewProducer();
    for (int i = 0; i < 10; ++i) MILLRACE_ASSERT_OK(producer->Append(Record(std::to_string(run * 10 + i))));
    MILLRACE_ASSERT_OK(producer->Flush(10s));
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  std::unique_ptr<Consumer> consumer;
  ASSERT_NO_FATAL_FAILURE(Begin(*log, {{kZero, 0}, {kOne, 0}}, consumer));
  Read read;
  ReadAll(*consumer, read, 7);
  ASSERT_EQ(read.payloads[kZero].size(), 30u);
  for (int i = 0; i < 30; ++i) EXPECT_EQ(read.payloads[kZero][static_cast<std::size_t>(i)], std::to_string(i));
  EXPECT_EQ(read.ends[kZero], 30);
  EXPECT_EQ(read.ends[kOne], 0);
}

TEST_F(EmbeddedLogTest, AcknowledgedRecordsSurviveAKill) {
  int acknowledged[2];
  ASSERT_EQ(pipe(acknowledged), 0);
  const pid_t child = fork();
  if (child == 0) {
    auto log = EmbeddedLog::Open(Options()).ValueOrDie();
    auto producer = log->NewProducer();
    for (int i = 0;; ++i) {
      if (!producer->Append(Record(std::to_string(i))).ok()) _exit(1);
      if (i % 50 != 49) continue;
      if (!producer->Flush(10s).ok()) _exit(1);
      const int count = i + 1;
      if (write(acknowledged[1], &count, sizeof(count)) != sizeof(count)) _exit(1);
    }
  }
  close(acknowledged[1]);
  int count = 0;
  for (int i = 0; i < 20; ++i)
    ASSERT_EQ(read(acknowledged[0], &count, sizeof(count)), static_cast<ssize_t>(sizeof(count)));
  kill(child, SIGKILL);
  while (read(acknowledged[0], &count, sizeof(count)) == static_cast<ssize_t>(sizeof(count))) {
  }
  close(acknowledged[0]);
  waitpid(child, nullptr, 0);

  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  std::unique_ptr<Consumer> consumer;
  ASSERT_NO_FATAL_FAILURE(Begin(*log, {{kZero, 0}}, consumer));
  Read read;
  ReadAll(*consumer, read);
  ASSERT_GE(count, 1000);
  ASSERT_GE(read.payloads[kZero].size(), static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < read.payloads[kZero].size(); ++i) ASSERT_EQ(read.payloads[kZero][i], std::to_string(i));
}

// As a death in the middle of a write leaves it: what was acknowledged before is there, of the rest a beginning, and
// the log goes on behind that.
TEST_F(EmbeddedLogTest, ALogThatEndsAtAnyByteOfAWriteOpensWithWhatWasAcknowledged) {
  namespace fs = std::filesystem;
  constexpr std::size_t kBefore = 20, kCut = 2;
  const fs::path copy = path_ + "-cut";
  const auto wal = [](const fs::path& folder) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() == ".log") return entry.path();
    }
    return fs::path();
  };
  std::uintmax_t safe = 0, end = 0;
  const fs::path whole = path_ + "-whole";
  {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
    const auto producer = log->NewProducer();
    for (std::size_t i = 0; i < kBefore; ++i) MILLRACE_ASSERT_OK(producer->Append(Record(std::to_string(i))));
    MILLRACE_ASSERT_OK(producer->Flush(10s));
    safe = fs::file_size(wal(path_));
    for (std::size_t i = kBefore; i < kBefore + kCut; ++i) {
      MILLRACE_ASSERT_OK(producer->Append(Record(std::to_string(i))));
      MILLRACE_ASSERT_OK(producer->Flush(10s));
    }
    end = fs::file_size(wal(path_));
    fs::copy(path_, whole);
  }
  ASSERT_GT(end, safe);
  std::size_t fewest = kBefore + kCut, most = 0;
  for (std::uintmax_t at = safe; at <= end; ++at) {
    fs::copy(whole, copy);
    fs::resize_file(wal(copy), at);
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open({.path = copy, .clock = &clock_}));
    const auto producer = log->NewProducer();
    MILLRACE_ASSERT_OK(producer->Append(Record("after")));
    MILLRACE_ASSERT_OK(producer->Flush(10s));
    std::unique_ptr<Consumer> consumer;
    ASSERT_NO_FATAL_FAILURE(Begin(*log, {{kZero, 0}}, consumer));
    Read read;
    ReadAll(*consumer, read);
    auto& payloads = read.payloads[kZero];
    ASSERT_GT(payloads.size(), kBefore) << "cut at " << at << " of " << end;
    EXPECT_EQ(payloads.back(), "after");
    payloads.pop_back();
    for (std::size_t i = 0; i < payloads.size(); ++i) ASSERT_EQ(payloads[i], std::to_string(i)) << "cut at " << at;
    fewest = std::min(fewest, payloads.size());
    most = std::max(most, payloads.size());
    consumer.reset();
    log.reset();
    fs::remove_all(copy);
  }
  fs::remove_all(whole);
  EXPECT_EQ(fewest, kBefore);
  EXPECT_EQ(most, kBefore + kCut);
}

TEST_F(EmbeddedLogTest, WakesTheConsumerWhenRecordsAreDurable) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  std::unique_ptr<Consumer> consumer;
  ASSERT_NO_FATAL_FAILURE(Begin(*log, {{kZero, 0}}, consumer));
  Read read;
  ReadAll(*consumer, read);
  EXPECT_FALSE(Readable(*consumer, 0));
  MILLRACE_ASSERT_OK(log->NewProducer()->Append(Record("x")));
  EXPECT_TRUE(Readable(*consumer, 10'000));
  ReadAll(*consumer, read);
  EXPECT_EQ(read.payloads[kZero], std::vector<std::string>{"x"});
}

TEST_F(EmbeddedLogTest, ManyProducersAndOneConsumerMeetExactlyOnce) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options(4)));
  OffsetVector next;
  for (int p = 0; p < 4; ++p) next[{"clicks", p}] = 0;
  std::unique_ptr<Consumer> consumer;
  ASSERT_NO_FATAL_FAILURE(Begin(*log, next, consumer));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      auto producer = log->NewProducer();
      for (int i = 0; i < 500; ++i) EXPECT_TRUE(producer->Append(Record(fmt::format("{}-{}", t, i), -1)).ok());
      EXPECT_TRUE(producer->Flush(30s).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  Read read;
  ReadAll(*consumer, read, 64);
  std::set<std::string> distinct;
  std::size_t total = 0;
  for (const auto& [tp, payloads] : read.payloads) {
    EXPECT_GT(payloads.size(), 0u) << "records without a key are spread";
    total += payloads.size();
    distinct.insert(payloads.begin(), payloads.end());
  }
  EXPECT_EQ(total, 2000u);
  EXPECT_EQ(distinct.size(), 2000u);
}

TEST_F(EmbeddedLogTest, EqualKeysShareAPartition) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options(4)));
  auto producer = log->NewProducer();
  for (int i = 0; i < 20; ++i) {
    OutgoingRecord record = Record("x", -1);
    record.key = "device-7";
    MILLRACE_ASSERT_OK(producer->Append(record));
  }
  MILLRACE_ASSERT_OK(producer->Flush(10s));
  auto consumer = log->NewConsumer();
  MILLRACE_ASSERT_OK(consumer->Subscribe({"clicks"}, 1s));
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto partitions, consumer->Partitions({"clicks"}, 1s));
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto bounds, consumer->Bounds(partitions, 1s));
  std::vector<Offset> ends;
  for (const auto& [tp, range] : bounds) ends.push_back(range.end);
  EXPECT_THAT(ends, ::testing::UnorderedElementsAre(20, 0, 0, 0));
}

TEST_F(EmbeddedLogTest, PausedPartitionKeepsItsPlace) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  auto producer = log->NewProducer();
  std::unique_ptr<Consumer> consumer;
  ASSERT_NO_FATAL_FAILURE(Begin(*log, {{kZero, 0}, {kOne, 0}}, consumer));
  MILLRACE_ASSERT_OK(consumer->Pause({kZero}));
  for (int p : {0, 1}) MILLRACE_ASSERT_OK(producer->Append(Record("x", p)));
  MILLRACE_ASSERT_OK(producer->Flush(10s));
  Read read;
  ReadAll(*consumer, read);
  EXPECT_EQ(read.payloads[kZero].size(), 0u);
  EXPECT_EQ(read.payloads[kOne].size(), 1u);
  MILLRACE_ASSERT_OK(consumer->Resume({kZero}));
  ReadAll(*consumer, read);
  EXPECT_EQ(read.payloads[kZero].size(), 1u);
}

TEST_F(EmbeddedLogTest, StartMovesAndRaisesTheGeneration) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  auto producer = log->NewProducer();
  for (int i = 0; i < 10; ++i) MILLRACE_ASSERT_OK(producer->Append(Record(std::to_string(i))));
  MILLRACE_ASSERT_OK(producer->Flush(10s));
  std::unique_ptr<Consumer> consumer;
  ASSERT_NO_FATAL_FAILURE(Begin(*log, {{kZero, 0}}, consumer));
  EXPECT_EQ(std::get<FetchedRecords>(consumer->Poll(100).front()).generation, 1);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto generation, consumer->Start({{kZero, 8}}));
  EXPECT_EQ(generation, 2);
  const auto events = consumer->Poll(100);
  const auto& fetched = std::get<FetchedRecords>(events.front());
  EXPECT_EQ(fetched.generation, 2);
  EXPECT_EQ(fetched.range, (OffsetRange{8, 10}));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, consumer->Start({{TopicPartition{"other", 0}, 0}}));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, consumer->Start({{kZero, -1}}));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, consumer->Pause({TopicPartition{"other", 0}}));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, consumer->Release({kZero}));
}

TEST_F(EmbeddedLogTest, PollStopsAtItsLimitAndStaysReadable) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  auto producer = log->NewProducer();
  for (int i = 0; i < 10; ++i) {
    for (int p : {0, 1}) MILLRACE_ASSERT_OK(producer->Append(Record("x", p)));
  }
  MILLRACE_ASSERT_OK(producer->Flush(10s));
  std::unique_ptr<Consumer> consumer;
  ASSERT_NO_FATAL_FAILURE(Begin(*log, {{kZero, 0}, {kOne, 0}}, consumer));
  std::set<TopicPartition> seen;
  for (int i = 0; i < 2; ++i) {
    const auto events = consumer->Poll(4);
    ASSERT_EQ(events.size(), 1u);
    const auto& fetched = std::get<FetchedRecords>(events.front());
    EXPECT_EQ(fetched.records.size(), 4u);
    seen.insert(fetched.source);
    EXPECT_TRUE(Readable(*consumer, 0));
  }
  EXPECT_EQ(seen.size(), 2u) << "no partition starves another";
}

TEST_F(EmbeddedLogTest, PollStopsAtItsBytesWithAtLeastOneRecord) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  auto producer = log->NewProducer();
  for (const int size : {100, 100, 100, 5000, 100, 100}) {
    for (const int p : {0, 1}) {
      OutgoingRecord record = Record(std::string(static_cast<std::size_t>(size) / 2, 'x'), p);
      record.headers = {{"h", std::string(static_cast<std::size_t>(size) / 2, 'y')}};
      MILLRACE_ASSERT_OK(producer->Append(record));
    }
  }
  MILLRACE_ASSERT_OK(producer->Flush(10s));
  // By its bytes a poll holds: exactly reached, not reached by one record more than reached, less than one record.
  for (const std::size_t bytes : {1, 101, 300, 1000, 1 << 20}) {
    SCOPED_TRACE(bytes);
    std::unique_ptr<Consumer> consumer;
    ASSERT_NO_FATAL_FAILURE(Begin(*log, {{kZero, 0}, {kOne, 0}}, consumer));
    std::map<TopicPartition, Offset> next;
    int polls = 0;
    while (next[kZero] + next[kOne] < 12) {
      ASSERT_TRUE(Readable(*consumer, 0)) << "what a limit has left is announced";
      std::size_t taken = 0;
      std::size_t last = 0;
      ++polls;
      for (const Event& event : consumer->Poll(1000, bytes)) {
        const auto* fetched = std::get_if<FetchedRecords>(&event);
        if (fetched == nullptr) continue;
        ASSERT_FALSE(fetched->records.empty());
        EXPECT_EQ(fetched->range.begin, next[fetched->source]);
        EXPECT_EQ(fetched->range.end, fetched->range.begin + std::ssize(fetched->records));
        next[fetched->source] = fetched->range.end;
        for (const auto& record : fetched->records) {
          last = record.payload->size() + record.Headers()[0].second->size();
          taken += last;
        }
      }
      EXPECT_LT(taken - last, bytes) << "no record is taken when the bytes are reached";
    }
    EXPECT_EQ(next, (std::map<TopicPartition, Offset>{{kZero, 6}, {kOne, 6}}));
    EXPECT_TRUE(bytes != 1 || polls == 12) << polls;
    EXPECT_TRUE(bytes != 1 << 20 || polls == 1) << polls;
  }
}

TEST_F(EmbeddedLogTest, ARecordBeyondTheLimitIsRefusedAndHarmsNoOther) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  auto producer = log->NewProducer();
  const Status refused = producer->Append(Record(std::string(kEmbeddedRecordBytesMax, 'x')));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, refused);
  EXPECT_THAT(refused.message(), HasSubstr("at most 67108864"));
  MILLRACE_ASSERT_OK(producer->Append(Record("small")));
  MILLRACE_ASSERT_OK(producer->Flush(10s));
  std::unique_ptr<Consumer> consumer;
  ASSERT_NO_FATAL_FAILURE(Begin(*log, {{kZero, 0}}, consumer));
  Read read;
  ReadAll(*consumer, read);
  EXPECT_EQ(read.payloads[kZero], std::vector<std::string>{"small"});
}

TEST_F(EmbeddedLogTest, RetentionMovesTheBeginningAndNothingElse) {
  EmbeddedOptions options = Options();
  options.retention = 1h;
  {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(options));
    auto producer = log->NewProducer();
    for (int i = 0; i < 5; ++i) MILLRACE_ASSERT_OK(producer->Append(Record("old")));
    MILLRACE_ASSERT_OK(producer->Flush(10s));
    clock_.now += 2'000'000LL * 3600;
    for (int i = 0; i < 3; ++i) MILLRACE_ASSERT_OK(producer->Append(Record("new")));
    MILLRACE_ASSERT_OK(producer->Flush(10s));
    MILLRACE_ASSERT_OK(log->EnforceRetention());
    std::unique_ptr<Consumer> consumer;
    ASSERT_NO_FATAL_FAILURE(Begin(*log, {{kZero, 5}}, consumer));
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto bounds, consumer->Bounds({kZero}, 1s));
    EXPECT_EQ(bounds[kZero], (OffsetRange{5, 8}));
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto gone, consumer->FingerprintAt(kZero, 4, 1s));
    EXPECT_EQ(gone, std::nullopt);
    Read read;
    ReadAll(*consumer, read);
    EXPECT_EQ(read.payloads[kZero], (std::vector<std::string>(3, "new")));

    MILLRACE_ASSERT_OK(consumer->Start({{kZero, 2}}));
    Read failing;
    ReadAll(*consumer, failing);
    ASSERT_EQ(failing.failures.size(), 1u);
    EXPECT_EQ(KindOf(failing.failures[0]), ErrorKind::kCorrupt);
    EXPECT_EQ(failing.failures[0].message(), "offset 2 of clicks[0] is out of range: the log holds [5, 8)");

    clock_.now += 2'000'000LL * 3600;
    MILLRACE_ASSERT_OK(log->EnforceRetention());
  }
  // With every record gone the offsets still go on where they were.
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(options));
  auto producer = log->NewProducer();
  MILLRACE_ASSERT_OK(producer->Append(Record("later")));
  MILLRACE_ASSERT_OK(producer->Flush(10s));
  std::unique_ptr<Consumer> consumer;
  ASSERT_NO_FATAL_FAILURE(Begin(*log, {{kZero, 8}}, consumer));
  EXPECT_EQ(consumer->KnownEnd(kZero), 9);
  Read read;
  ReadAll(*consumer, read);
  EXPECT_EQ(read.ranges[kZero], (OffsetRange{8, 9}));
}

TEST_F(EmbeddedLogTest, OffsetsAtFindsTheFirstRecordAtOrAfterATime) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options(1)));
  auto producer = log->NewProducer();
  std::mt19937_64 random(7);
  std::vector<UnixMicros> times;
  for (int i = 0; i < 200; ++i) {
    OutgoingRecord record = Record("x");
    record.timestamp = static_cast<UnixMicros>(random() % 100);  // Not in order.
    times.push_back(*record.timestamp);
    MILLRACE_ASSERT_OK(producer->Append(record));
  }
  MILLRACE_ASSERT_OK(producer->Flush(10s));
  auto consumer = log->NewConsumer();
  for (UnixMicros time = -1; time <= 101; ++time) {
    const auto at = std::find_if(times.begin(), times.end(), [&](UnixMicros t) { return t >= time; });
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto offsets, consumer->OffsetsAt(time, {kZero}, 1s));
    EXPECT_EQ(offsets[kZero], at - times.begin()) << time;
  }
}

TEST_F(EmbeddedLogTest, FingerprintTellsRecordsApart) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  auto producer = log->NewProducer();
  // All different, and the first repeated at last.
  std::vector<OutgoingRecord> records(6, Record("b"));
  for (OutgoingRecord& record : records) record.timestamp = 5'000;
  records[0].key = "a";
  records[1].key = "ab";
  records[1].payload = "";
  records[2].key = "";
  records[4].timestamp = 6'000;
  records[5].key = "a";
  std::set<std::uint32_t> sums;
  auto consumer = log->NewConsumer();
  for (std::size_t i = 0; i < records.size(); ++i) {
    MILLRACE_ASSERT_OK(producer->Append(records[i]));
    MILLRACE_ASSERT_OK(producer->Flush(10s));
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto sum, consumer->FingerprintAt(kZero, static_cast<Offset>(i), 1s));
    ASSERT_TRUE(sum.has_value());
    sums.insert(*sum);
  }
  EXPECT_EQ(sums.size(), 5u);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto none, consumer->FingerprintAt(kZero, 6, 1s));
  EXPECT_EQ(none, std::nullopt);
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, consumer->FingerprintAt({"clicks", 9}, 0, 1s));
}

TEST_F(EmbeddedLogTest, SecondOpenIsRefusedByName) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  const auto second = EmbeddedLog::Open(Options());
  MILLRACE_ASSERT_KIND(ErrorKind::kConflict, second);
  EXPECT_EQ(second.status().message(), "embedded log " + path_ + " is in use by another process");
}

TEST_F(EmbeddedLogTest, PartitionsMayGrowAndNotShrink) {
  { MILLRACE_ASSERT_OK(EmbeddedLog::Open(Options(2))); }
  {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options(3)));
    MILLRACE_ASSERT_OK(log->NewProducer()->Append(Record("x", 2)));
  }
  const auto shrunk = EmbeddedLog::Open(Options(2));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, shrunk);
  EXPECT_THAT(shrunk.status().message(),
              HasSubstr("has 3 partitions and cannot shrink to 2: set source.embedded.partitions to 3 or more"));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, EmbeddedLog::Open(Options(0)));
  EmbeddedOptions as_it_is = Options();
  as_it_is.partitions.reset();
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(as_it_is));
  MILLRACE_ASSERT_OK(log->NewProducer()->Append(Record("x", 2)));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, log->NewProducer()->Append(Record("x", 3)));
}

TEST_F(EmbeddedLogTest, ALogOfANewerFormatIsRefusedByNameAndLeftAlone) {
  MILLRACE_ASSERT_OK(EmbeddedLog::Open(Options()).status());
  const auto change = [this](const std::string* format) {
    rocksdb::DB* db = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open({}, path_, &db).ok());
    std::string now;
    ASSERT_TRUE(db->Get({}, "mformat", &now).ok());
    EXPECT_EQ(now, std::string("\x01\0\0\0", 4)) << "a new log says its format";
    EXPECT_TRUE(format == nullptr ? db->Delete({}, "mformat").ok() : db->Put({}, "mformat", *format).ok());
    delete db;
  };
  change(nullptr);
  MILLRACE_ASSERT_OK(EmbeddedLog::Open(Options()).status());  // As logs are that were made before it was said.
  // Such a log says nothing until it grows.
  MILLRACE_ASSERT_OK(EmbeddedLog::Open(Options(3)).status());
  const std::string newer("\x02\0\0\0", 4);
  change(&newer);
  for (const Status& refused : {EmbeddedLog::Open(Options(3)).status(), EmbeddedLog::OpenToRead(path_).status()}) {
    MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, refused);
    EXPECT_THAT(refused.message(),
                ::testing::AllOf(HasSubstr(path_), HasSubstr("is of format 2"), HasSubstr("up to 1")));
  }
}

TEST_F(EmbeddedLogTest, SubscribedAgainAConsumerHasTheNewTopicsToo) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options(1)));
  std::unique_ptr<Consumer> consumer;
  Begin(*log, {}, consumer);
  MILLRACE_ASSERT_OK(consumer->Start({{kZero, 0}}));
  auto producer = log->NewProducer();
  OutgoingRecord record = Record("a");
  record.topic = "clicks-eu";
  MILLRACE_ASSERT_OK(producer->Append(std::move(record)));
  MILLRACE_ASSERT_OK(producer->Flush(5s));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto topics, consumer->Topics(1s));
  EXPECT_EQ(topics, (std::vector<std::string>{"clicks", "clicks-eu"}));
  static_cast<void>(consumer->Poll(1));
  MILLRACE_ASSERT_OK(consumer->Subscribe(topics, 1s));
  std::vector<TopicPartition> assigned;
  for (const Event& event : consumer->Poll(1)) {
    if (const auto* more = std::get_if<Assigned>(&event)) assigned = more->partitions;
  }
  const TopicPartition added{"clicks-eu", 0};
  EXPECT_EQ(assigned, std::vector{added}) << "the others go on";
  MILLRACE_ASSERT_OK(consumer->Start({{added, 0}}));
  MILLRACE_ASSERT_OK(producer->Append(Record("b")));
  MILLRACE_ASSERT_OK(producer->Flush(5s));
  Read read;
  ReadAll(*consumer, read);
  EXPECT_EQ(read.payloads[added], std::vector<std::string>{"a"});
  EXPECT_EQ(read.payloads[kZero], std::vector<std::string>{"b"});
}

TEST_F(EmbeddedLogTest, BadArgumentsAreNamed) {
  EmbeddedOptions options = Options();
  options.path = path_ + "/file/below";
  std::ofstream(path_ + "/file") << "x";
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, EmbeddedLog::Open(options));
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  auto producer = log->NewProducer();
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, producer->Append(Record("x", 2)));
  OutgoingRecord nameless = Record("x");
  nameless.topic = "";
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, producer->Append(nameless));
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, log->NewConsumer()->Bounds({kZero}, 1s));
}

// What ConfirmingProducer says of its records, by their payloads.
class Settled {
 public:
  OnSettled Of(std::string payload) {
    return [this, payload = std::move(payload)](const Result<Appended>& fate) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return !held_; });
      EXPECT_TRUE(fates_.emplace(payload, fate).second) << payload << " is settled twice";
      changed_.notify_all();
    };
  }
  void Hold(bool held) {
    const std::scoped_lock lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  const std::map<std::string, Result<Appended>>& Wait(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return fates_.size() >= count; });
    return fates_;
  }
  std::size_t count() {
    const std::scoped_lock lock(mutex_);
    return fates_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  std::map<std::string, Result<Appended>> fates_;
};

TEST_F(EmbeddedLogTest, EachRecordHearsWhereItLies) {
  Settled settled;
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  const auto producer = log->NewConfirmingProducer();
  for (int i = 0; i < 200; ++i) {
    const std::string payload = std::to_string(i);
    MILLRACE_ASSERT_OK(producer->Append(Record(payload, i % 2), settled.Of(payload)));
  }
  const auto& fates = settled.Wait(200);
  std::unique_ptr<Consumer> consumer;
  ASSERT_NO_FATAL_FAILURE(Begin(*log, {{kZero, 0}, {kOne, 0}}, consumer));
  Read read;
  ReadAll(*consumer, read);
  for (int i = 0; i < 200; ++i) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const Appended at, fates.at(std::to_string(i)));
    EXPECT_EQ(at.partition, i % 2);
    const auto& payloads = read.payloads[{"clicks", at.partition}];
    ASSERT_LT(static_cast<std::size_t>(at.offset), payloads.size()) << "it was not durable yet";
    EXPECT_EQ(payloads[static_cast<std::size_t>(at.offset)], std::to_string(i));
  }
}

TEST_F(EmbeddedLogTest, RecordsAppendedTogetherHearTogether) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  const auto producer = log->NewConfirmingProducer();
  const auto append_all = [&producer](std::vector<OutgoingRecord> records) {
    std::promise<std::vector<Result<Appended>>> settled;
    producer->AppendAll(std::move(records), [&settled](auto outcomes) { settled.set_value(std::move(outcomes)); });
    return settled.get_future().get();
  };
  EXPECT_TRUE(append_all({}).empty());
  std::vector<OutgoingRecord> records;
  for (int i = 0; i < 200; ++i) records.push_back(Record(std::to_string(i), i % 2));
  records[100].partition = 2;
  const auto outcomes = append_all(records);
  ASSERT_EQ(outcomes.size(), records.size());
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, outcomes[100]);
  std::unique_ptr<Consumer> consumer;
  ASSERT_NO_FATAL_FAILURE(Begin(*log, {{kZero, 0}, {kOne, 0}}, consumer));
  Read read;
  ReadAll(*consumer, read);
  for (int i = 0; i < 200; ++i) {
    if (i == 100) continue;
    MILLRACE_ASSERT_OK_AND_ASSIGN(const Appended at, outcomes[static_cast<std::size_t>(i)]);
    const auto& payloads = read.payloads[{"clicks", i % 2}];
    ASSERT_LT(static_cast<std::size_t>(at.offset), payloads.size());
    EXPECT_EQ(payloads[static_cast<std::size_t>(at.offset)], std::to_string(i));
  }
  // None is taken, and it is said of each.
  for (const auto& outcome : append_all(std::vector<OutgoingRecord>(3, Record("x", 2)))) {
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, outcome);
  }
}

TEST_F(EmbeddedLogTest, AFullQueueIsSaidAtOnce) {
  constexpr std::size_t kBytes = 1 << 20;
  Settled settled;
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  const auto producer = log->NewConfirmingProducer();
  settled.Hold(true);
  std::size_t taken = 0;
  Status full;
  while (taken < 100) {
    full = producer->Append(Record(std::string(kBytes, 'x')), settled.Of(std::to_string(taken)));
    if (!full.ok()) break;
    ++taken;
  }
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, full);
  EXPECT_THAT(full.message(), HasSubstr("no more are taken"));
  EXPECT_EQ(taken, 20u) << "20 MiB";
  EXPECT_EQ(settled.count(), 0u);
  settled.Hold(false);
  for (const auto& [payload, fate] : settled.Wait(taken)) MILLRACE_ASSERT_OK(fate);
  // The room is given back just after the last of them has heard.
  while (!(full = producer->Append(Record("after"), settled.Of("after"))).ok()) std::this_thread::yield();
  MILLRACE_ASSERT_OK(settled.Wait(taken + 1).at("after"));
}

TEST_F(EmbeddedLogTest, AProducerThatEndsHasSettledEverything) {
  Settled settled;
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  auto producer = log->NewConfirmingProducer();
  for (int i = 0; i < 100; ++i) MILLRACE_ASSERT_OK(producer->Append(Record("x"), settled.Of(std::to_string(i))));
  producer = nullptr;
  EXPECT_EQ(settled.count(), 100u);
}

TEST_F(EmbeddedLogTest, WhatIsRefusedIsNotSettled) {
  Settled settled;
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  auto producer = log->NewConfirmingProducer();
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, producer->Append(Record("x", 2), settled.Of("x")));
  producer = nullptr;
  EXPECT_EQ(settled.count(), 0u);
}

// A limit on the size of files stands for a full disk: both fail the write of RocksDB's log.
TEST_F(EmbeddedLogTest, FailedWriteIsReportedAndLaterOnesWork) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  auto producer = log->NewProducer();
  MILLRACE_ASSERT_OK(producer->Append(Record("before")));
  MILLRACE_ASSERT_OK(producer->Flush(10s));

  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  signal(SIGXFSZ, SIG_IGN);
  const rlimit small{64 * 1024, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  MILLRACE_ASSERT_OK(producer->Append(Record(std::string(256 * 1024, 'x'))));
  const Status failed = producer->Flush(10s);
  Settled settled;
  const auto confirming = log->NewConfirmingProducer();
  const Status taken = confirming->Append(Record(std::string(256 * 1024, 'y')), settled.Of("y"));
  const bool has_fate = taken.ok() && !settled.Wait(1).empty();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  ASSERT_TRUE(has_fate);
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, settled.Wait(1).at("y"));
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, failed);
  EXPECT_THAT(failed.message(), HasSubstr(path_));

  MILLRACE_ASSERT_OK(producer->Append(Record("after")));
  MILLRACE_ASSERT_OK(producer->Flush(10s));
  std::unique_ptr<Consumer> consumer;
  ASSERT_NO_FATAL_FAILURE(Begin(*log, {{kZero, 0}}, consumer));
  Read read;
  ReadAll(*consumer, read);
  EXPECT_EQ(read.payloads[kZero], (std::vector<std::string>{"before", "after"}));
}

// Bytes flipped in RocksDB's files must not come out as records.
TEST_F(EmbeddedLogTest, DamageIsNoticed) {
  {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
    auto producer = log->NewProducer();
    // More than the write buffer, so that records are in table files.
    for (int i = 0; i < 20; ++i)
      MILLRACE_ASSERT_OK(producer->Append(Record(std::string(1 << 20, static_cast<char>('a' + i)))));
    MILLRACE_ASSERT_OK(producer->Flush(30s));
    for (int i = 0; i < 20; ++i)
      MILLRACE_ASSERT_OK(producer->Append(Record(std::string(1 << 20, static_cast<char>('a' + i)))));
    MILLRACE_ASSERT_OK(producer->Flush(30s));
  }
  // Reopening flushes what was replayed from the write-ahead log.
  { MILLRACE_ASSERT_OK(EmbeddedLog::Open(Options())); }
  int tables = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path_)) {
    if (entry.path().extension() != ".sst") continue;
    ++tables;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    for (std::uintmax_t at = 10; at + 2000 < entry.file_size(); at += 500) {
      file.seekp(static_cast<std::streamoff>(at));
      file.put('#');
    }
  }
  ASSERT_GT(tables, 0);
  auto log = EmbeddedLog::Open(Options());
  if (!log.ok()) {
    EXPECT_EQ(KindOf(log.status()), ErrorKind::kCorrupt) << log.status().ToString();
    return;
  }
  std::unique_ptr<Consumer> consumer;
  ASSERT_NO_FATAL_FAILURE(Begin(**log, {{kZero, 0}}, consumer));
  Read read;
  ReadAll(*consumer, read);
  ASSERT_EQ(read.failures.size(), 1u);
  EXPECT_EQ(KindOf(read.failures[0]), ErrorKind::kCorrupt) << read.failures[0].ToString();
}

// Without waiting for the descriptor, which says nothing of another process's records.
void PollUntil(Consumer& consumer, std::map<TopicPartition, std::vector<std::string>>& payloads, std::size_t count) {
  std::size_t read = 0;
  const auto deadline = std::chrono::steady_clock::now() + 120s;
  while (read < count && std::chrono::steady_clock::now() < deadline) {
    for (const Event& event : consumer.Poll(1000)) {
      if (const auto* failed = std::get_if<Failed>(&event)) FAIL() << failed->status.message();
      const auto* fetched = std::get_if<FetchedRecords>(&event);
      if (fetched == nullptr) continue;
      for (const auto& record : fetched->records) payloads[fetched->source].emplace_back(record.payload.value_or(""));
      read += fetched->records.size();
    }
  }
  EXPECT_EQ(read, count);
}

TEST_F(EmbeddedLogTest, AReaderSeesWhatTheOwnerWritesAndTouchesNothing) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(Options()));
  auto producer = log->NewProducer();
  MILLRACE_ASSERT_OK(producer->Append(Record("a", 0)));
  MILLRACE_ASSERT_OK(producer->Append(Record("b", 1)));
  MILLRACE_ASSERT_OK(producer->Flush(10s));

  MILLRACE_ASSERT_OK_AND_ASSIGN(auto view, EmbeddedLog::OpenToRead(path_));
  std::unique_ptr<Consumer> consumer;
  ASSERT_NO_FATAL_FAILURE(Begin(*view, {{kZero, 0}, {kOne, 1}}, consumer));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto bounds, consumer->Bounds({kZero, kOne}, 1s));
  EXPECT_EQ(bounds.at(kZero), (OffsetRange{0, 1}));
  std::map<TopicPartition, std::vector<std::string>> payloads;
  ASSERT_NO_FATAL_FAILURE(PollUntil(*consumer, payloads, 1));
  EXPECT_THAT(payloads[kZero], ::testing::ElementsAre("a"));

  // Through several of the owner's tables and journals: its write buffer is 16 MiB.
  const std::string large(1 << 20, 'x');
  std::map<TopicPartition, std::vector<std::string>> more;
  for (int round = 0; round < 8; ++round) {
    for (int i = 0; i < 8; ++i)
      MILLRACE_ASSERT_OK(producer->Append(Record(std::to_string(round * 8 + i) + large, i % 2)));
    MILLRACE_ASSERT_OK(producer->Flush(10s));
    ASSERT_NO_FATAL_FAILURE(PollUntil(*consumer, more, 8));
  }
  for (int i = 0; i < 64; ++i) {
    const auto& of_partition = more[i % 2 == 0 ? kZero : kOne];
    ASSERT_EQ(of_partition.at(static_cast<std::size_t>(i / 2)), std::to_string(i) + large);
  }
  EXPECT_FALSE(consumer->Bounds({{"clicks", 9}}, 1s).ok());

  // The owner goes, another comes: the reader was in nobody's way.
  consumer.reset();
  producer.reset();
  log.reset();
  MILLRACE_ASSERT_OK(EmbeddedLog::Open(Options()));
}

TEST_F(EmbeddedLogTest, AReaderIsNotInTheWayOfRetention) {
  auto options = Options();
  options.retention = 1h;
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto log, EmbeddedLog::Open(options));
  auto producer = log->NewProducer();
  MILLRACE_ASSERT_OK(producer->Append(Record("old")));
  MILLRACE_ASSERT_OK(producer->Flush(10s));
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto view, EmbeddedLog::OpenToRead(path_));
  std::unique_ptr<Consumer> consumer;
  ASSERT_NO_FATAL_FAILURE(Begin(*view, {{kZero, 0}}, consumer));
  clock_.now += 7'200'000'000;
  MILLRACE_ASSERT_OK(log->EnforceRetention());
  bool told = false;
  for (const Event& event : consumer->Poll(1000)) {
    const auto* failed = std::get_if<Failed>(&event);
    if (failed == nullptr) continue;
    EXPECT_EQ(KindOf(failed->status), ErrorKind::kCorrupt);
    EXPECT_THAT(failed->status.message(), HasSubstr("offset 0 of clicks[0] is out of range: the log holds [1, 1)"));
    told = true;
  }
  EXPECT_TRUE(told);
}

TEST_F(EmbeddedLogTest, AReaderMakesNoLog) {
  const std::string nowhere = path_ + "/nowhere";
  const auto view = EmbeddedLog::OpenToRead(nowhere);
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, view);
  EXPECT_THAT(view.status().message(), HasSubstr("there is no embedded log at " + nowhere));
  EXPECT_FALSE(std::filesystem::exists(nowhere));
}

}  // namespace
}  // namespace millrace::eventlog
