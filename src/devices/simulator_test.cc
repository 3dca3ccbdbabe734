// Sending: what is counted, held and told of, whatever the sink does. The log is one that does what a test says.
#include "devices/simulator.h"

#include <arrow/io/file.h>
#include <arrow/scalar.h>
#include <arrow/table.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>

#include "devices/clickstream.h"
#include "devices/sensors.h"
#include "model/truth.h"
#include "testing/status_matchers.h"

namespace millrace::devices {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

constexpr UnixMicros kBegun = 1'700'000'000'000'000;

/// What became of what was sent to it; lives longer than the producer.
struct LogState {
  std::mutex mutex;
  std::vector<eventlog::OutgoingRecord> records;
  std::vector<eventlog::OnSettled> waiting;
  std::size_t room = std::numeric_limits<std::size_t>::max();  ///< Records that may wait.
  bool settles = true;                                         ///< At once; else when told, or at the end.
  std::optional<Status> append_error;
  std::function<Result<eventlog::Appended>(std::size_t)> outcome = [](std::size_t i) {
    return eventlog::Appended{0, static_cast<std::int64_t>(i)};
  };
};

class ScriptedProducer final : public eventlog::ConfirmingProducer {
 public:
  explicit ScriptedProducer(LogState& state) : state_(state) {}
  ~ScriptedProducer() override {
    for (auto& settled : state_.waiting) settled(Cancelled("given up"));
  }
  Status Append(eventlog::OutgoingRecord record, eventlog::OnSettled settled) override {
    if (state_.append_error) return *state_.append_error;
    const std::lock_guard lock(state_.mutex);
    if (state_.waiting.size() >= state_.room) return Transient("full");
    state_.records.push_back(std::move(record));
    if (state_.settles) {
      settled(state_.outcome(state_.records.size() - 1));
    } else {
      state_.waiting.push_back(std::move(settled));
    }
    return Status::OK();
  }

 private:
  LogState& state_;
};

MakeSink ToLog(LogState& state) {
  return [&state](OnOutcome on_outcome) -> Result<std::unique_ptr<Sink>> {
    return MakeLogSink(std::make_unique<ScriptedProducer>(state), "clicks", std::move(on_outcome));
  };
}

MakeSink ToStream(std::ostream& out, const Fleet& fleet) {
  return [&out, &fleet](OnOutcome on_outcome) -> Result<std::unique_ptr<Sink>> {
    return MakeStreamSink(out, fleet.shape(), fleet.format(), std::move(on_outcome));
  };
}

Fleet Visitors(const FleetOptions& options = {}) {
  return Fleet(options, std::make_unique<Clickstream>(ClickstreamOptions{.late = 0.1}));
}

SimulatorOptions AsFast(std::int64_t count) { return {.timetable = {.start = kBegun, .rate = 0}, .count = count}; }

TEST(Simulator, SendsAsManyAsItCounts) {
  LogState log;
  Fleet fleet = Visitors({.duplicates = 0.1, .malformed = 0.1});
  const auto result = RunSimulator(AsFast(2500), fleet, ToLog(log), nullptr, {});
  MILLRACE_ASSERT_OK(result.status);
  EXPECT_EQ(result.stats.sent, 2500);
  EXPECT_EQ(result.stats.acknowledged, 2500);
  ASSERT_EQ(log.records.size(), 2500u);
  EXPECT_EQ(log.records[0].topic, "clicks");
  EXPECT_TRUE(log.records[0].key && log.records[0].payload && log.records[0].timestamp);
  for (const std::int64_t count : {result.stats.late, result.stats.duplicates, result.stats.malformed}) {
    EXPECT_NEAR(static_cast<double>(count), 250, 60);
  }
}

TEST(Simulator, KeepsTheRate) {
  LogState log;
  Fleet fleet = Visitors();
  const auto begun = std::chrono::steady_clock::now();
  const auto result =
      RunSimulator({.timetable = {.start = kBegun, .rate = 2000}, .count = 401}, fleet, ToLog(log), nullptr, {});
  MILLRACE_ASSERT_OK(result.status);
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 200ms) << "not faster than asked; a loaded machine may be slower";
}

TEST(Simulator, EndsAfterItsTime) {
  LogState log;
  Fleet fleet = Visitors();
  SimulatorOptions options{.timetable = {.start = kBegun, .rate = 100}, .duration = 100ms};
  const auto result = RunSimulator(options, fleet, ToLog(log), nullptr, {});
  MILLRACE_ASSERT_OK(result.status);
  EXPECT_EQ(result.stats.sent, 11) << "the first at once, then one each 10 ms";
}

TEST(Simulator, OneSeedIsOneStreamWhateverTheRateAndTheSink) {
  const auto options = [](double rate, double speed) {
    return SimulatorOptions{
        .timetable = {.start = kBegun, .rate = rate, .simulated = SimulatedTime{.step = 1ms, .speed = speed}},
        .count = 600};
  };
  for (const auto format :
       {PayloadFormat::kJson, PayloadFormat::kCsv, PayloadFormat::kAvro, PayloadFormat::kProtobuf}) {
    std::vector<std::string> streams;
    for (const auto& [rate, speed] : std::vector<std::pair<double, double>>{{0, 0}, {20'000, 0}, {0, 10}}) {
      std::ostringstream out;
      Fleet fleet = Visitors({.duplicates = 0.1, .format = format});
      MILLRACE_ASSERT_OK(RunSimulator(options(rate, speed), fleet, ToStream(out, fleet), nullptr, {}).status);
      streams.push_back(out.str());
    }
    EXPECT_EQ(streams[0], streams[1]);
    EXPECT_EQ(streams[0], streams[2]);
  }
  LogState log;
  std::ostringstream out;
  Fleet a = Visitors(), b = Visitors();
  MILLRACE_ASSERT_OK(RunSimulator(options(0, 0), a, ToLog(log), nullptr, {}).status);
  MILLRACE_ASSERT_OK(RunSimulator(options(0, 0), b, ToStream(out, b), nullptr, {}).status);
  std::string lines;
  for (const auto& record : log.records) lines += *record.payload + '\n';
  EXPECT_EQ(lines, out.str());
}

TEST(Simulator, AFullLogIsWaitedForAndCaughtUpWith) {
  LogState log;
  log.room = 10;
  log.settles = false;
  std::atomic<bool> done{false};
  std::thread broker([&] {
    while (!done) {
      std::vector<eventlog::OnSettled> taken;
      {
        const std::lock_guard lock(log.mutex);
        std::swap(taken, log.waiting);
      }
      for (auto& settled : taken) settled(eventlog::Appended{});
      std::this_thread::yield();
    }
  });
  Fleet fleet = Visitors();
  const auto result = RunSimulator(AsFast(300), fleet, ToLog(log), nullptr, {});
  done = true;
  broker.join();
  MILLRACE_ASSERT_OK(result.status);
  EXPECT_EQ(result.stats.acknowledged, 300);
  EXPECT_EQ(log.records.size(), 300u);
}

TEST(Simulator, StopsWhenTold) {
  LogState log;
  Fleet fleet = Visitors();
  std::stop_source stop;
  SimulatorResult result;
  {
    std::jthread runner([&] {
      result =
          RunSimulator({.timetable = {.start = kBegun, .rate = 0.001}}, fleet, ToLog(log), nullptr, stop.get_token());
    });
    stop.request_stop();
  }
  MILLRACE_ASSERT_OK(result.status);
  EXPECT_EQ(result.stats.acknowledged, result.stats.sent);
}

TEST(Simulator, AStopEndsTheWaitForALogThatIsFull) {
  LogState log;
  log.room = 5;
  log.settles = false;
  Fleet fleet = Visitors();
  std::stop_source stop;
  SimulatorResult result;
  {
    std::jthread runner([&] { result = RunSimulator(AsFast(0), fleet, ToLog(log), nullptr, stop.get_token()); });
    while (true) {
      const std::lock_guard lock(log.mutex);
      if (log.waiting.size() == 5) break;
    }
    stop.request_stop();
  }
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, result.status);
  EXPECT_THAT(result.status.message(), HasSubstr("topic clicks: 5 records not acknowledged"));
  EXPECT_EQ(result.stats.sent, 5);
  EXPECT_EQ(result.stats.unknown, 5);
}

TEST(Simulator, ErrorsOfTheLogEndIt) {
  LogState log;
  Fleet fleet = Visitors();
  log.append_error = InvalidInput("no such topic");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, RunSimulator(AsFast(1), fleet, ToLog(log), nullptr, {}).status);
  log.append_error = std::nullopt;
  log.outcome = [](std::size_t i) -> Result<eventlog::Appended> {
    if (i == 3) return UnknownOutcome("the broker died");
    return eventlog::Appended{};
  };
  const auto result = RunSimulator(AsFast(1000), fleet, ToLog(log), nullptr, {});
  MILLRACE_ASSERT_KIND(ErrorKind::kUnknownOutcome, result.status);
  EXPECT_EQ(result.stats.sent, 4);
  EXPECT_EQ(result.stats.acknowledged, 3);
  EXPECT_EQ(result.stats.unknown, 1);
}

TEST(Simulator, ASinkThatIsNotToBeHadIsAnError) {
  Fleet fleet = Visitors();
  const MakeSink none = [](OnOutcome) -> Result<std::unique_ptr<Sink>> { return InvalidInput("no such property"); };
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, RunSimulator(AsFast(1), fleet, none, nullptr, {}).status);
}

TEST(Simulator, WritesLines) {
  std::ostringstream out;
  Fleet fleet = Visitors();
  const auto result = RunSimulator(AsFast(3), fleet, ToStream(out, fleet), nullptr, {});
  MILLRACE_ASSERT_OK(result.status);
  EXPECT_EQ(result.stats.acknowledged, 3);
  const std::string text = out.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
  out.setstate(std::ios::badbit);
  const auto failed = RunSimulator(AsFast(3), fleet, ToStream(out, fleet), nullptr, {});
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, failed.status);
  EXPECT_EQ(failed.stats.unknown, 3);
}

TEST(Simulator, SaysHowItGoes) {
  LogState log;
  Fleet fleet = Visitors();
  std::vector<SimulatorProgress> reports;
  SimulatorOptions options{.timetable = {.start = kBegun, .rate = 2000}, .duration = 2100ms};
  options.on_progress = [&](const auto& progress) { reports.push_back(progress); };
  MILLRACE_ASSERT_OK(RunSimulator(options, fleet, ToLog(log), nullptr, {}).status);
  ASSERT_GE(reports.size(), 1u);
  EXPECT_GT(reports[0].stats.acknowledged, 0);
  EXPECT_GT(reports[0].rate, 0);
}

class TruthTest : public ::testing::Test {
 protected:
  ~TruthTest() override { std::filesystem::remove_all(folder_); }

  std::shared_ptr<arrow::Table> ReadBack() const {
    std::unique_ptr<parquet::arrow::FileReader> reader;
    const auto file = arrow::io::ReadableFile::Open(path_).ValueOrDie();
    EXPECT_TRUE(parquet::arrow::OpenFile(file, arrow::default_memory_pool()).Value(&reader).ok());
    return reader->ReadTable().ValueOrDie()->CombineChunks().ValueOrDie();
  }
  static std::string At(const arrow::Table& table, const std::string& column, std::int64_t row) {
    return table.GetColumnByName(column)->GetScalar(row).ValueOrDie()->ToString();
  }

  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("millrace-truth-" + std::to_string(::getpid()));
  const std::string path_ = (std::filesystem::create_directories(folder_), folder_ / "truth.parquet");
};

TEST_F(TruthTest, HasARowForEachEventInItsOrder) {
  LogState log;
  Fleet fleet({.duplicates = 0.1, .malformed = 0.1},
              std::make_unique<Sensors>(SensorOptions{.late = 0.1, .faults = 0.1, .wrong_clocks = 0.3}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto truth, TruthFile::Create(path_, "clicks"));
  // More than a row group.
  constexpr std::int64_t kEvents = 70'000;
  // Of an hour ago, so that only wrong clocks are ahead of the one by which events are sent.
  constexpr UnixMicros kHour = 3'600'000'000;
  const SimulatorOptions options{.timetable = {.start = SystemClock().Now() - kHour, .rate = 0}, .count = kEvents};
  const auto result = RunSimulator(options, fleet, ToLog(log), truth.get(), {});
  MILLRACE_ASSERT_OK(result.status);
  const auto table = ReadBack();
  ASSERT_EQ(table->num_rows(), kEvents);
  EXPECT_TRUE(table->schema()->Equals(*model::TruthSchema(), /*check_metadata=*/false)) << table->schema()->ToString();
  std::int64_t duplicates = 0, malformed = 0, late = 0, with_bytes = 0;
  for (std::int64_t row = 0; row < kEvents; ++row) {
    EXPECT_EQ(At(*table, "number", row), std::to_string(row));
    EXPECT_EQ(At(*table, "outcome", row), "acknowledged");
    EXPECT_EQ(At(*table, "delivery", row), "once");
    const std::string fate = At(*table, "fate", row);
    duplicates += fate == "duplicate";
    malformed += fate == "malformed";
    late += fate == "valid" && std::stoll(At(*table, "late_us", row)) >= kLateMicros;
    EXPECT_EQ(fate == "malformed", At(*table, "malformation", row) != "null");
    EXPECT_EQ(fate == "duplicate", At(*table, "duplicate_of", row) != "null");
    with_bytes += At(*table, "payload", row) != "null";
    if (fate == "malformed") {
      EXPECT_NE(At(*table, "payload", row), "null");
    }
    if (std::stoll(At(*table, "clock_error_us", row)) > 300 * 86'400'000'000) {
      EXPECT_NE(At(*table, "payload", row), "null");
    }
  }
  EXPECT_EQ(duplicates, result.stats.duplicates);
  EXPECT_EQ(malformed, result.stats.malformed);
  EXPECT_EQ(late, result.stats.late);
  EXPECT_LT(with_bytes, kEvents / 3) << "bytes are kept of few";
}

TEST_F(TruthTest, SaysWhatTheSinkSaid) {
  LogState log;
  log.outcome = [](std::size_t i) -> Result<eventlog::Appended> {
    if (i == 3) return UnknownOutcome("the broker died");
    return eventlog::Appended{};
  };
  Fleet fleet = Visitors();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto truth, TruthFile::Create(path_, "clicks"));
  EXPECT_FALSE(RunSimulator(AsFast(1000), fleet, ToLog(log), truth.get(), {}).status.ok());
  const auto table = ReadBack();
  ASSERT_EQ(table->num_rows(), 4) << "what was never sent is nothing";
  EXPECT_EQ(At(*table, "outcome", 2), "acknowledged");
  EXPECT_EQ(At(*table, "outcome", 3), "unknown");
}

TEST_F(TruthTest, OutcomesMayComeInAnyOrder) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto truth, TruthFile::Create(path_, std::nullopt, Delivery::kAtLeastOnce));
  Fleet fleet = Visitors();
  for (int i = 0; i < 10; ++i) MILLRACE_ASSERT_OK(truth->Add(fleet.Next(kBegun), kBegun));
  truth->Settle(5, 10, Outcome::kRefused, "too large");
  truth->Settle(0, 3, Outcome::kAcknowledged, {});
  truth->Settle(3, 5, Outcome::kUnknown, {});
  MILLRACE_ASSERT_OK(truth->Close());
  const auto table = ReadBack();
  ASSERT_EQ(table->num_rows(), 10);
  EXPECT_EQ(At(*table, "outcome", 0), "acknowledged");
  EXPECT_EQ(At(*table, "outcome", 4), "unknown");
  EXPECT_EQ(At(*table, "refusal", 4), "null");
  EXPECT_EQ(At(*table, "refusal", 9), "too large");
}

TEST_F(TruthTest, AFileThatCannotBeWrittenIsNamed) {
  const auto truth = TruthFile::Create((folder_ / "none" / "truth.parquet").string(), std::nullopt);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, truth);
  EXPECT_THAT(truth.status().message(), HasSubstr("none/truth.parquet cannot be written"));
}

TEST_F(TruthTest, TheFileIsThereOnceItIsWhole) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto truth, TruthFile::Create(path_, std::nullopt));
  EXPECT_FALSE(std::filesystem::exists(path_));
  MILLRACE_ASSERT_OK(truth->Close());
  EXPECT_TRUE(std::filesystem::exists(path_));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

}  // namespace
}  // namespace millrace::devices
