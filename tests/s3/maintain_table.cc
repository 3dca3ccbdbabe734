// Upkeep beside the processes of many_writers_test.py, by the functions that a pipeline's own upkeep calls.
//
//   maintain_table URI run RETENTION_MS SEED TASK...   TASKs (optimize, checkpoint, cleanup, vacuum) by chance, until
//                                                      standard input ends; a line of JSON for each that did something
//   maintain_table URI optimize                        once
//   maintain_table URI vacuum CUTOFF_MS                once: what has not been needed since then and is older goes
//
// Failures of the store and lost races are expected; exit 1 and a message on anything else.
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "delta/table.h"
#include "delta/upkeep/compaction.h"
#include "delta/upkeep/vacuum.h"
#include "objectstore/object_store.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;

class FixedClock : public Clock {
 public:
  explicit FixedClock(UnixMicros now) : now_(now) {}
  UnixMicros Now() const override { return now_; }
  std::chrono::steady_clock::time_point SteadyNow() const override { return SystemClock().SteadyNow(); }

 private:
  UnixMicros now_;
};

// The wall clock, less all times at which the whole test stood still or got no processor. A retention of seconds is a
// promise about how long a commit takes, and a machine that sleeps for minutes in the midst of one must not break it.
class WorkingClock : public Clock {
 public:
  WorkingClock() : start_(SystemClock().Now()), ticker_([this](const std::stop_token& stop) { Tick(stop); }) {}

  UnixMicros Now() const override { return start_ + worked_; }
  std::chrono::steady_clock::time_point SteadyNow() const override { return SystemClock().SteadyNow(); }
  milliseconds worked() const { return milliseconds(worked_ / 1000); }

 private:
  void Tick(const std::stop_token& stop) {
    constexpr UnixMicros kTick = 50'000;
    UnixMicros last = SystemClock().Now();
    while (!stop.stop_requested()) {
      std::this_thread::sleep_for(std::chrono::microseconds(kTick));
      const UnixMicros now = SystemClock().Now();
      worked_ += std::clamp<UnixMicros>(now - last, 0, 5 * kTick);
      last = now;
    }
  }

  const UnixMicros start_;
  std::atomic<UnixMicros> worked_{0};
  std::jthread ticker_;  // Last: it ends before what it writes to.
};

bool IsExpected(const Status& status) {
  const ErrorKind kind = KindOf(status);
  return kind == ErrorKind::kTransient || kind == ErrorKind::kUnknownOutcome || kind == ErrorKind::kConflict;
}

// After a pause in which the others get on.
bool InputEnded() {
  constexpr int kPauseMs = 50;
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  return poll(&input, 1, kPauseMs) > 0;
}

template <typename... Arguments>
void Say(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
  std::printf("%s\n", fmt::format(text, std::forward<Arguments>(arguments)...).c_str());
  std::fflush(stdout);
}

Status Do(const std::string& task, delta::Table& table, milliseconds retention, const Clock& clock) {
  if (task == "optimize") {
    ASSIGN_OR_RETURN(const auto result, delta::Compact(table));
    if (result.files_removed > 0) Say(R"({{"compacted":{}}})", result.files_removed);
    return Status::OK();
  }
  if (task == "checkpoint") {
    RETURN_NOT_OK(table.Refresh());
    RETURN_NOT_OK(table.WriteCheckpoint());
    Say(R"({{"checkpoints":1}})");
    return Status::OK();
  }
  if (task == "cleanup") {
    ASSIGN_OR_RETURN(const auto result, delta::CleanUpLog(table, retention, clock.Now()));
    if (result.files_deleted > 0) Say(R"({{"log_files":{}}})", result.files_deleted);
    return Status::OK();
  }
  if (task == "vacuum") {
    ASSIGN_OR_RETURN(const auto result, delta::Vacuum(table, {.retention = retention}, clock.Now()));
    Say(R"({{"vacuums":1,"vacuumed":{},"kept_young":{}}})", result.deleted.size(), result.kept_young);
    return Status::OK();
  }
  return InvalidInput("unknown task {}", task);
}

Result<std::shared_ptr<delta::Table>> Open(const std::string& uri) {
  ASSIGN_OR_RETURN(const auto store, objectstore::OpenStore(uri));
  return delta::Table::Open(store);
}

Status Run(const std::string& uri, milliseconds retention, unsigned seed, const std::vector<std::string>& tasks) {
  const WorkingClock clock;
  std::minstd_rand random(seed);
  std::shared_ptr<delta::Table> table;
  while (!InputEnded()) {
    if (table == nullptr) {
      auto opened = Open(uri);
      if (!opened.ok() && !IsExpected(opened.status())) return opened.status();
      if (!opened.ok()) continue;
      table = *opened;
    }
    const std::string& task = tasks[std::uniform_int_distribution<std::size_t>(0, tasks.size() - 1)(random)];
    // What was under way when this process began is older than the retention only now.
    if ((task == "vacuum" || task == "cleanup") && clock.worked() < retention) continue;
    const Status done = Do(task, *table, retention, clock);
    if (!done.ok() && !IsExpected(done)) return WithContext(done, "{}", task);
    if (!done.ok()) Say(R"({{"failed_{}":1}})", task);
  }
  return Status::OK();
}

Status RunOnce(const std::string& uri, const std::string& task, std::int64_t now_ms) {
  ASSIGN_OR_RETURN(const auto table, Open(uri));
  return Do(task, *table, milliseconds(0), FixedClock(now_ms * 1000));
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  millrace::Status status;
  if (arguments.size() == 2 && arguments[1] == "optimize") {
    status = millrace::RunOnce(arguments[0], arguments[1], 0);
  } else if (arguments.size() == 3 && arguments[1] == "vacuum") {
    status = millrace::RunOnce(arguments[0], arguments[1], std::atoll(arguments[2].c_str()));
  } else if (arguments.size() > 4 && arguments[1] == "run") {
    status =
        millrace::Run(arguments[0], std::chrono::milliseconds(std::atoll(arguments[2].c_str())),
                      static_cast<unsigned>(std::atoi(arguments[3].c_str())), {arguments.begin() + 4, arguments.end()});
  } else {
    std::fprintf(stderr, "usage: maintain_table URI run RETENTION_MS SEED TASK... | optimize | vacuum CUTOFF_MS\n");
    return 2;
  }
  if (status.ok()) return 0;
  std::fprintf(stderr, "maintain_table: %s\n", status.ToString().c_str());
  return 1;
}
