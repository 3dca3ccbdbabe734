// The simulator's command line. A seed runs in a process of its own, so that what a killed worker leaves is gone with
// it.
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "base/log.h"
#include "machine.h"
#include "world.h"

namespace millrace::simulation {
namespace {

struct Arguments {
  std::optional<std::uint64_t> seed;
  std::uint64_t first = 1;
  std::uint64_t count = 20;
  std::int64_t until = 0;
  bool print = false;
  bool twice = false;
  bool coverage = false;
  bool keep_going = false;
  std::string log = "off";
};

/// What a seed has to say when it went well.
struct Outcome {
  std::string hash;
  double simulated_seconds = 0;
  std::int64_t turns = 0;
  std::map<std::string, std::int64_t> counts;
};

/// What must have happened at least once in a run with --coverage: a fault that never comes is a defect of the
/// simulator.
constexpr const char* kMustHappen[] = {
    "a clock jumps",
    "a worker is asked to leave",
    "a worker is frozen",
    "a worker is killed",
    "commit: OPTIMIZE",
    "commit: STREAMING UPDATE",
    "deleted: a commit",
    "deleted: a data file",
    "group: a member is thrown out",
    "group: a zombie wakes",
    "group: cooperative rebalance",
    "group: eager rebalance",
    "log: a partition is added",
    "log: a question fails",
    "log: a transaction is aborted",
    "log: a transaction is committed",
    "log: compaction",
    "log: records of an old generation",
    "log: retention",
    "put if absent: 412",
    "put if absent: 412 after an own success",
    "store: late put if absent",
    "store: late upload",
    "store: lost reply to put if absent",
    "store: lost reply to upload",
    "store: throttled put if absent",
};

MachineOptions OptionsOf(const Arguments& arguments, std::uint64_t seed) {
  MachineOptions options{.seed = seed, .until = arguments.until, .print_all = arguments.print};
  // Shortly before midnight UTC, by which the log's cleanup goes.
  constexpr std::int64_t kMidnight = 1'767'225'600'000'000;
  options.unix_micros = kMidnight - static_cast<std::int64_t>(seed * 7919 % 60) * kSecond;
  options.preempt_one_in = seed % 3 == 0 ? 0 : 20 + seed % 200;
  return options;
}

std::string Report() {
  std::string text = fmt::format("{:016x} {} {}\n", TraceHash(), Now(), Happenings());
  for (const auto& [what, count] : Counts()) text += fmt::format("{} {}\n", count, what);
  return text;
}

Outcome Parse(const std::string& text) {
  Outcome outcome;
  std::istringstream in(text);
  double micros = 0;
  in >> outcome.hash >> micros >> outcome.turns;
  outcome.simulated_seconds = micros / 1e6;
  std::int64_t count = 0;
  while (in >> count) {
    std::string what;
    std::getline(in >> std::ws, what);
    outcome.counts[what] += count;
  }
  return outcome;
}

[[noreturn]] void RunHere(const Arguments& arguments, std::uint64_t seed, const pipeline::Plan& base, int report_to) {
  Begin(OptionsOf(arguments, seed));
  Play(base);
  const std::string report = Report();
  std::fflush(stdout);
  static_cast<void>(!::write(report_to, report.data(), report.size()));
  std::_Exit(0);
}

/// nullopt: it failed, and has said why.
std::optional<Outcome> RunApart(const Arguments& arguments, std::uint64_t seed, const pipeline::Plan& base) {
  int ends[2];
  if (::pipe(ends) != 0) return std::nullopt;
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    RunHere(arguments, seed, base, ends[1]);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof(buffer))) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return Parse(text);
  std::printf("seed %lu failed (%s %d); again: simulation --seed %lu\n", static_cast<unsigned long>(seed),
              WIFEXITED(status) ? "exit" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
              static_cast<unsigned long>(seed));
  return std::nullopt;
}

int RunMany(const Arguments& arguments, const pipeline::Plan& base) {
  const auto begun = std::chrono::steady_clock::now();
  Outcome sum;
  std::vector<std::uint64_t> failed;
  for (std::uint64_t seed = arguments.first; seed < arguments.first + arguments.count; ++seed) {
    const auto outcome = RunApart(arguments, seed, base);
    if (!outcome) failed.push_back(seed);
    if (!outcome && !arguments.keep_going) return 1;
    if (!outcome) continue;
    if (arguments.twice) {
      const auto again = RunApart(arguments, seed, base);
      if (!again) return 1;
      if (again->hash != outcome->hash) {
        std::printf("seed %lu is not the same twice: %s and %s\n", static_cast<unsigned long>(seed),
                    outcome->hash.c_str(), again->hash.c_str());
        return 1;
      }
    }
    sum.simulated_seconds += outcome->simulated_seconds;
    sum.turns += outcome->turns;
    for (const auto& [what, count] : outcome->counts) sum.counts[what] += count;
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  for (const auto& [what, count] : sum.counts) {
    std::printf("%9ld  %s\n", static_cast<long>(count), what.c_str());
  }
  std::printf("%lu seeds in %.1f s, %.1f a second; %.1f simulated hours, %ld happenings\n",
              static_cast<unsigned long>(arguments.count), seconds, static_cast<double>(arguments.count) / seconds,
              sum.simulated_seconds / 3600, static_cast<long>(sum.turns));
  if (!failed.empty())
    std::printf("%zu failed: %s\n", failed.size(), fmt::format("{}", fmt::join(failed, " ")).c_str());
  if (!failed.empty() || !arguments.coverage) return failed.empty() ? 0 : 1;
  int missing = 0;
  for (const char* what : kMustHappen) {
    if (sum.counts[what] > 0) continue;
    std::printf("never happened: %s\n", what);
    ++missing;
  }
  return missing == 0 ? 0 : 1;
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Workers, log and lake on simulated time, from a seed");
  app.add_option("--seed", arguments.seed, "Run this one alone, in this process");
  app.add_option("--first", arguments.first, "The first of many");
  app.add_option("--seeds", arguments.count, "How many");
  app.add_option("--until", arguments.until, "With --seed: stop for a debugger at this happening");
  app.add_flag("--print", arguments.print, "Every happening");
  app.add_flag("--twice", arguments.twice, "Each seed twice: both must be the same");
  app.add_flag("--coverage", arguments.coverage, "Fail if a kind of fault never happened");
  app.add_flag("--keep-going", arguments.keep_going, "Go on after a seed that fails");
  app.add_option("--log", arguments.log, "The workers' log: debug, info, warn, off");
  CLI11_PARSE(app, argc, argv);

  InitLogging(arguments.log, LogFormat::kText);
  // Threads that take turns are handed over fastest on one processor.
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(::sched_getcpu(), &one);
  ::sched_setaffinity(0, sizeof(one), &one);
  const auto base = BasePlan();
  if (!base.ok()) {
    std::printf("%s\n", base.status().ToString().c_str());
    return 2;
  }
  if (!arguments.seed) return RunMany(arguments, **base);
  RunHere(arguments, *arguments.seed, **base, STDOUT_FILENO);
}

}  // namespace
}  // namespace millrace::simulation

int main(int argc, char** argv) { return millrace::simulation::Main(argc, argv); }
