// The simulator's command line. A seed runs in a process of its own, so that what a killed worker leaves is gone with
// it; as many at once as there are processors.
#include <poll.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <numeric>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "base/log.h"
#include "databases.h"
#include "machine.h"
#include "memory.h"
#include "schedule.h"
#include "world.h"

namespace millrace::simulation {
namespace {

struct Arguments {
  std::optional<std::uint64_t> seed;
  std::uint64_t first = 1;
  std::uint64_t count = 20;
  std::vector<std::uint64_t> these;
  std::int64_t until = 0;
  bool print = false;
  bool twice = false;
  bool coverage = false;
  bool keep_going = false;
  bool shrink = false;
  std::vector<int> without;
  std::string lake;
  int jobs = 0;
  std::string log = "off";
};

/// What a seed has to say when it went well.
struct Outcome {
  std::string hash;
  double simulated_seconds = 0;
  std::int64_t happenings = 0;
  std::map<std::string, std::int64_t> counts;
};

/// What must have happened at least once in a run with --coverage: a fault that never comes, and a place of the
/// product that is never passed, is a defect of the simulator.
constexpr const char* kMustHappen[] = {
    "a clock is ahead for long",
    "a clock jumps",
    "a worker is asked to leave",
    "a worker is frozen",
    "a worker is frozen for long",
    "a worker is killed",
    "a worker is killed at a named place",
    "an answer is right",
    "an epoch is fenced",
    "commit: DELETE",
    "commit: OPTIMIZE",
    "commit: SET TBLPROPERTIES",
    "commit: STREAMING UPDATE",
    "commit: WRITE",
    "deleted: a commit",
    "deleted: a data file",
    "end: another topic",
    "end: another, longer topic",
    "end: retention has passed",
    "end: the topic is made anew while it is read",
    "foreign: a deletion vector",
    "foreign: append",
    "foreign: checkpoint",
    "foreign: optimize",
    "foreign: rows are deleted",
    "foreign: set properties",
    "foreign: vacuum",
    "group: a member is thrown out",
    "group: a static member comes back",
    "group: a zombie wakes",
    "group: cooperative rebalance",
    "group: eager rebalance",
    "log: a partition is added",
    "log: a question fails",
    "log: a transaction is aborted",
    "log: a transaction is committed",
    "log: compaction",
    "log: records are lost",
    "log: records of an old generation",
    "log: retention",
    "passed: checkpoint.before_last",
    "passed: checkpoint.mid",
    "passed: cleanup.mid",
    "passed: commit.after_put",
    "passed: commit.before_put",
    "passed: compaction.committed",
    "passed: compaction.rewritten",
    "passed: epoch.committed",
    "passed: epoch.prepared",
    "passed: epoch.sealed",
    "passed: fold.committed",
    "passed: fold.written",
    "passed: letters.committed",
    "passed: poll.after",
    "passed: vacuum.listed",
    "passed: vacuum.mid",
    "put if absent: 412",
    "put if absent: 412 after an own success",
    "store: late put if absent",
    "store: late upload",
    "store: lost reply to put if absent",
    "store: lost reply to upload",
    "store: no commits in an outage",
    "store: no space",
    "store: nothing in an outage",
    "store: throttled put if absent",
    "the pipeline is edited",
    "theme: a clock ahead",
    "theme: a patient group",
    "theme: commits away",
    "theme: short of memory",
    "worker: partitions are paused",
};

/// With --keep-going: so many say enough.
constexpr std::size_t kFailuresMax = 20;
constexpr std::int64_t kSeedsPerReport = 1000;

MachineOptions OptionsOf(const Arguments& arguments, std::uint64_t seed) {
  MachineOptions options{.seed = seed, .until = arguments.until, .print_all = arguments.print};
  // Shortly before midnight UTC, by which the log's cleanup goes.
  constexpr std::int64_t kMidnight = 1'767'225'600'000'000;
  options.unix_micros = kMidnight - static_cast<std::int64_t>(seed * 7919 % 60) * kSecond;
  options.preempt_one_in = seed % 3 == 0 ? 0 : 20 + seed % 200;
  return options;
}

/// What a seed prints last.
std::string Report() {
  std::string text = fmt::format("{:016x} {} {}\n", TraceHash(), Now(), Happenings());
  for (const auto& [what, count] : Counts()) text += fmt::format("{} {}\n", count, what);
  return text;
}

Outcome Parse(const std::string& text) {
  Outcome outcome;
  std::istringstream in(text);
  double micros = 0;
  in >> outcome.hash >> micros >> outcome.happenings;
  outcome.simulated_seconds = micros / 1e6;
  std::int64_t count = 0;
  while (in >> count) {
    std::string what;
    std::getline(in >> std::ws, what);
    outcome.counts[what] += count;
  }
  return outcome;
}

// Threads that take turns are handed over fastest on one processor.
void StayOn(int processor) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(processor, &one);
  ::sched_setaffinity(0, sizeof(one), &one);
}

std::vector<int> Processors() {
  cpu_set_t all;
  std::vector<int> found;
  if (::sched_getaffinity(0, sizeof(all), &all) != 0) return {0};
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &all)) found.push_back(cpu);
  }
  return found;
}

[[noreturn]] void RunHere(const Arguments& arguments, std::uint64_t seed, const std::vector<int>& without,
                          const BasePlans& base) {
  BeginTakingTurns();
  Begin(OptionsOf(arguments, seed));
  Play(base, {.seed = seed, .without = {without.begin(), without.end()}, .lake = arguments.lake});
  std::fputs(Report().c_str(), stdout);
  std::fflush(stdout);
  std::_Exit(0);
}

/// One seed in a process of its own, and what that has printed so far.
struct Run {
  std::uint64_t seed = 0;
  int place = 0;  ///< Of the processors.
  pid_t child = 0;
  int output = -1;
  std::string text{};
  int status = 0;

  bool ok() const { return WIFEXITED(status) && WEXITSTATUS(status) == 0; }
};

Run StartRun(const Arguments& arguments, std::uint64_t seed, const std::vector<int>& without, const BasePlans& base,
             int place, int processor) {
  Run run{.seed = seed, .place = place};
  int ends[2];
  if (::pipe(ends) != 0) std::abort();
  std::fflush(stdout);
  run.child = ::fork();
  if (run.child < 0) std::abort();
  if (run.child == 0) {
    ::close(ends[0]);
    ::dup2(ends[1], STDOUT_FILENO);
    ::close(ends[1]);
    StayOn(processor);
    RunHere(arguments, seed, without, base);
  }
  ::close(ends[1]);
  run.output = ends[0];
  return run;
}

/// Whether the run has ended.
bool ReadMore(Run& run) {
  char buffer[65536];
  const ssize_t n = ::read(run.output, buffer, sizeof(buffer));
  if (n > 0) {
    run.text.append(buffer, static_cast<std::size_t>(n));
    return false;
  }
  ::close(run.output);
  ::waitpid(run.child, &run.status, 0);
  return true;
}

Run RunAlone(const Arguments& arguments, std::uint64_t seed, const std::vector<int>& without, const BasePlans& base) {
  Run run = StartRun(arguments, seed, without, base, 0, Processors().front());
  while (!ReadMore(run)) {
  }
  return run;
}

std::string Again(std::uint64_t seed, const std::vector<int>& without) {
  std::string command = fmt::format("simulation --seed {}", seed);
  if (!without.empty()) command += fmt::format(" --without {}", fmt::join(without, " "));
  return command;
}

std::string HowItFailed(const Run& run) {
  return fmt::format("{}seed {} failed ({} {}); again: {}\n", run.text, run.seed,
                     WIFEXITED(run.status) ? "exit" : "signal",
                     WIFEXITED(run.status) ? WEXITSTATUS(run.status) : WTERMSIG(run.status), Again(run.seed, {}));
}

/// Leaves out one fault after the other as long as the seed fails all the same: what is left is needed. A world without
/// a fault is another world from there on, so that it may also fail for another reason; the last story says which.
int Shrink(const Arguments& arguments, std::uint64_t seed, const BasePlans& base) {
  std::vector<int> without = arguments.without;
  Run last = RunAlone(arguments, seed, without, base);
  if (last.ok()) {
    std::printf("seed %lu does not fail\n", static_cast<unsigned long>(seed));
    return 2;
  }
  std::vector<int> left(ScheduleOf(seed).faults.size());
  std::iota(left.begin(), left.end(), 1);
  std::erase_if(left, [&](int fault) { return std::count(without.begin(), without.end(), fault) > 0; });
  // Halves first, then smaller pieces, as long as a piece could be left out.
  for (std::size_t piece = std::max<std::size_t>(left.size() / 2, 1);; piece = std::max<std::size_t>(piece / 2, 1)) {
    bool some_went = false;
    for (std::size_t from = 0; from < left.size();) {
      const auto begin = left.begin() + static_cast<std::ptrdiff_t>(from);
      const auto end = left.begin() + static_cast<std::ptrdiff_t>(std::min(from + piece, left.size()));
      std::vector<int> tried = without;
      tried.insert(tried.end(), begin, end);
      Run run = RunAlone(arguments, seed, tried, base);
      if (run.ok()) {
        from += piece;
        continue;
      }
      last = std::move(run);
      without = std::move(tried);
      left.erase(begin, end);
      some_went = true;
    }
    if (piece == 1 && !some_went) break;
  }
  std::sort(without.begin(), without.end());
  std::fputs(last.text.c_str(), stdout);
  std::printf("%zu of %zu faults are needed: %s\nagain: %s\n", left.size(), ScheduleOf(seed).faults.size(),
              fmt::format("{}", fmt::join(left, " ")).c_str(), Again(seed, without).c_str());
  return 1;
}

void Add(const Outcome& outcome, Outcome& sum) {
  sum.simulated_seconds += outcome.simulated_seconds;
  sum.happenings += outcome.happenings;
  for (const auto& [what, count] : outcome.counts) sum.counts[what] += count;
}

/// Each seed, or with --twice each two times one after the other; what has ended is given to `visit`, which says
/// whether to go on.
void RunSideBySide(const Arguments& arguments, const BasePlans& base, const std::function<bool(const Run&)>& visit) {
  const auto processors = Processors();
  const int jobs = arguments.jobs > 0 ? arguments.jobs : static_cast<int>(processors.size());
  const std::uint64_t times = arguments.twice ? 2 : 1;
  const std::uint64_t count = arguments.these.empty() ? arguments.count : arguments.these.size();
  std::uint64_t started = 0;
  std::vector<Run> running;
  bool goes_on = true;
  const auto start = [&](int place) {
    const int processor = processors[static_cast<std::size_t>(place) % processors.size()];
    const std::uint64_t nth = started++ / times;
    const std::uint64_t seed = arguments.these.empty() ? arguments.first + nth : arguments.these[nth];
    running.push_back(StartRun(arguments, seed, arguments.without, base, place, processor));
  };
  for (int place = 0; place < jobs && started < count * times; ++place) start(place);
  while (!running.empty()) {
    std::vector<pollfd> waiting;
    for (const auto& run : running) waiting.push_back({.fd = run.output, .events = POLLIN, .revents = 0});
    ::poll(waiting.data(), waiting.size(), -1);
    std::vector<int> free;
    for (std::size_t i = running.size(); i-- > 0;) {
      if (waiting[i].revents == 0 || !ReadMore(running[i])) continue;
      goes_on = visit(running[i]) && goes_on;
      free.push_back(running[i].place);
      running.erase(running.begin() + static_cast<std::ptrdiff_t>(i));
    }
    for (const int place : free) {
      if (goes_on && started < count * times) start(place);
    }
  }
}

int RunMany(const Arguments& arguments, const BasePlans& base) {
  const auto begun = std::chrono::steady_clock::now();
  Outcome sum;
  std::int64_t seeds = 0;
  std::map<std::uint64_t, std::string> failed;  // And how.
  std::map<std::uint64_t, std::string> hashes;  // Of seeds that have run once of two times.
  const auto goes_on = [&] { return failed.empty() || (arguments.keep_going && failed.size() < kFailuresMax); };
  RunSideBySide(arguments, base, [&](const Run& run) {
    if (!run.ok()) {
      failed[run.seed] = HowItFailed(run);
      return goes_on();
    }
    const Outcome outcome = Parse(run.text);
    Add(outcome, sum);
    if (++seeds % kSeedsPerReport == 0) {
      std::printf("%ld runs, %zu failed\n", static_cast<long>(seeds), failed.size());
      std::fflush(stdout);
    }
    if (!arguments.twice) return true;
    const auto [first, is_first] = hashes.emplace(run.seed, outcome.hash);
    if (is_first || first->second == outcome.hash) return true;
    failed[run.seed] = fmt::format("seed {} is not the same twice: {} and {}\n", run.seed, first->second, outcome.hash);
    return goes_on();
  });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  for (const auto& [what, count] : sum.counts) {
    std::printf("%9ld  %s\n", static_cast<long>(count), what.c_str());
  }
  std::printf("%ld runs in %.1f s, %.1f a second; %.1f simulated hours, %ld happenings\n", static_cast<long>(seeds),
              seconds, static_cast<double>(seeds) / seconds, sum.simulated_seconds / 3600,
              static_cast<long>(sum.happenings));
  for (const auto& [seed, how] : failed) std::fputs(how.c_str(), stdout);
  if (!failed.empty()) {
    std::vector<std::uint64_t> numbers;
    for (const auto& [seed, how] : failed) numbers.push_back(seed);
    std::printf("FAILED: %zu seeds: %s%s\n", failed.size(), fmt::format("{}", fmt::join(numbers, " ")).c_str(),
                goes_on() ? "" : "; the rest was not tried");
    return 1;
  }
  int missing = 0;
  for (const char* what : kMustHappen) {
    if (!arguments.coverage || sum.counts[what] > 0) continue;
    std::printf("never happened: %s\n", what);
    ++missing;
  }
  if (missing > 0) {
    std::printf("FAILED: no seed did, but %d things never happened\n", missing);
    return 1;
  }
  std::printf("PASSED: %ld runs%s\n", static_cast<long>(seeds),
              arguments.coverage ? ", and everything that must happen did" : "");
  return 0;
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Workers, log and lake on simulated time, from a seed");
  app.add_option("--seed", arguments.seed, "Run this one alone, in this process");
  app.add_option("--first", arguments.first, "The first of many");
  app.add_option("--seeds", arguments.count, "How many");
  app.add_option("--these", arguments.these, "These seeds instead");
  app.add_option("--until", arguments.until, "With --seed: stop for a debugger at this happening");
  app.add_flag("--print", arguments.print, "Every happening");
  app.add_flag("--twice", arguments.twice, "Each seed twice: both must be the same");
  app.add_flag("--coverage", arguments.coverage, "Fail if a kind of fault never happened");
  app.add_flag("--keep-going", arguments.keep_going, "Go on after a seed that fails");
  app.add_option("--without", arguments.without, "Numbers of faults that are left out");
  app.add_option("--lake", arguments.lake, "With --seed: write its tables into this folder in the end");
  app.add_flag("--shrink", arguments.shrink, "With --seed, which fails: leave out the faults that it fails without");
  app.add_option("--jobs", arguments.jobs, "Seeds at once; 0: as many as there are processors");
  app.add_option("--log", arguments.log, "The workers' log: debug, info, warn, off");
  CLI11_PARSE(app, argc, argv);

  // Through malloc(), which is this program's own: memory.cc.
  ::setenv("ARROW_DEFAULT_MEMORY_POOL", "system", 1);
  InitLogging(arguments.log, LogFormat::kText);
  const auto base = MakeBasePlans();
  if (!base.ok()) {
    std::printf("%s\n", base.status().ToString().c_str());
    return 2;
  }
  constexpr int kDatabases = 8;  // As many workers as are asked in most worlds.
  Status opened;
  StockDatabases(kDatabases, [&opened] { opened = OpenSessions(); });
  if (!opened.ok()) {
    std::printf("%s\n", opened.ToString().c_str());
    return 2;
  }
  if (!arguments.seed) return RunMany(arguments, *base);
  if (arguments.shrink) return Shrink(arguments, *arguments.seed, *base);
  StayOn(::sched_getcpu());
  RunHere(arguments, *arguments.seed, arguments.without, *base);
}

}  // namespace
}  // namespace millrace::simulation

int main(int argc, char** argv) { return millrace::simulation::Main(argc, argv); }
