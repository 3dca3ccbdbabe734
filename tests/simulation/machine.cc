#include "machine.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <utility>

#include "task_internal.h"

namespace millrace::simulation {
namespace {

constexpr std::size_t kStoryLength = 100;

struct Process {
  std::string name;
  bool alive = true;
  bool ended = false;
  Micros frozen_until = 0;
  Micros clock_error = 0;
  std::int64_t turns = 0;
  std::int64_t turns_left = -1;   // Until it is killed; negative: nobody wants that.
  std::int64_t points_left = -1;  // Likewise.
};

struct Happening {
  std::int64_t number = 0;
  Micros time = 0;
  int process = 0;
  std::string text;
};

struct Effect {
  Micros when;
  std::int64_t order;
  std::function<void()> what;
};
bool Later(const Effect& a, const Effect& b) { return std::pair(a.when, a.order) > std::pair(b.when, b.order); }

struct Machine {
  MachineOptions options;
  Micros now = 0;
  std::mt19937_64 dice;
  std::vector<Process> processes;
  std::vector<Task*> tasks;  // That have not ended, of processes that live; in the order of their making.
  int next_task = 0;
  std::vector<Effect> effects;  // A heap, the earliest first.
  std::int64_t next_effect = 0;
  std::int64_t turns = 0;
  std::uint64_t hash = 1469598103934665603ULL;
  std::deque<Happening> story;
  std::int64_t happenings = 0;
  std::map<std::string, std::int64_t> counts;
  bool in_effect = false;
};

Machine* machine = nullptr;  // Made once, and never destroyed: tasks of killed processes look at it for ever.
thread_local Task* self = nullptr;
Task* to_join = nullptr;  // It has ended, and whoever has the next turn waits until the thread is gone.

void Hash(std::uint64_t value) {
  for (int i = 0; i < 8; ++i) {
    machine->hash = (machine->hash ^ ((value >> (8 * i)) & 0xFF)) * 1099511628211ULL;
  }
}

void Hash(const std::string& text) {
  for (const char c : text) machine->hash = (machine->hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
}

void Hand(Task* to) {
  to->turn.store(1, std::memory_order_release);
  RealSyscall(SYS_futex, &to->turn, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

void AwaitTurn(Task* task) {
  while (task->turn.load(std::memory_order_acquire) == 0) {
    RealSyscall(SYS_futex, &task->turn, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
  }
  task->turn.store(0, std::memory_order_relaxed);
  if (to_join != nullptr) {
    // What a thread does while it ends (destructors of its thread-local objects) is over before anybody goes on.
    RealJoin(std::exchange(to_join, nullptr)->thread);
  }
}

void KillNow(int process) {
  machine->processes[process].alive = false;
  std::erase_if(machine->tasks, [process](const Task* task) { return task->process == process; });
}

void RunEffects() {
  auto& effects = machine->effects;
  while (!effects.empty() && effects.front().when <= machine->now) {
    std::pop_heap(effects.begin(), effects.end(), Later);
    const Effect effect = std::move(effects.back());
    effects.pop_back();
    machine->in_effect = true;
    effect.what();
    machine->in_effect = false;
  }
}

std::string WhoWaits() {
  std::string text;
  for (const Task* task : machine->tasks) {
    const auto& process = machine->processes[task->process];
    text += fmt::format("  {} {}: {}", process.name, task->name, task->is_ready ? "could run" : task->why);
    if (!task->is_ready && task->deadline != kNever)
      text += fmt::format(", until {:.6f}", static_cast<double>(task->deadline) / 1e6);
    if (process.frozen_until > machine->now) text += " (frozen)";
    text += '\n';
  }
  return text;
}

// Whose turn it is now. Time passes here and nowhere else.
Task* Choose() {
  Machine& m = *machine;
  for (;;) {
    RunEffects();
    std::vector<Task*>& tasks = m.tasks;
    Micros soonest = m.effects.empty() ? kNever : m.effects.front().when;
    static std::vector<Task*> ready;  // One caller at a time.
    ready.clear();
    for (Task* task : tasks) {
      if (!task->is_ready) {
        if (task->deadline > m.now) {
          soonest = std::min(soonest, std::max(task->deadline, m.processes[task->process].frozen_until));
          continue;
        }
        task->is_ready = true;
        task->timed_out = true;
        task->what = nullptr;
      }
      const Micros from = std::max(task->not_before, m.processes[task->process].frozen_until);
      if (from > m.now) {
        soonest = std::min(soonest, from);
      } else {
        ready.push_back(task);
      }
    }
    if (ready.empty()) {
      if (soonest == kNever) Fail("nobody can go on, and nothing is on its way");
      m.now = std::max(m.now, soonest);
      continue;
    }
    Task* const next = ready[ready.size() == 1 ? 0 : m.dice() % ready.size()];
    if (m.options.preempt_one_in != 0 && m.dice() % m.options.preempt_one_in == 0) {
      next->not_before = m.now + static_cast<Micros>(m.dice() % (20 * kMillisecond));
      continue;
    }
    Process& process = m.processes[next->process];
    if (process.turns_left >= 0 && --process.turns_left < 0) {
      Tell(fmt::format("{} is killed, in {} ({})", process.name, next->name, next->why));
      Count("a worker is killed");
      KillNow(next->process);
      continue;
    }
    if (++m.turns > m.options.turns_max) Fail("so many turns without an end: somebody is in a loop");
    ++process.turns;
    m.now += 1 + static_cast<Micros>(m.dice() % 20);
    Hash(static_cast<std::uint64_t>(next->id));
    Hash(static_cast<std::uint64_t>(m.now));
    return next;
  }
}

void TakeTurns() {
  Task* const me = self;
  Task* const next = Choose();
  if (next == me) return;
  Hand(next);
  AwaitTurn(me);
}

void OnAbort(int signal) {
  ::signal(signal, SIG_DFL);
  if (machine != nullptr && self != nullptr) {
    Fail(fmt::format("{} in {} {}", signal == SIGABRT ? "abort" : "a crash", machine->processes[self->process].name,
                     self->name));
  }
}

void OnAlarm(int) {
  constexpr char kText[] = "a task waits for something that is not simulated\n";
  static_cast<void>(::write(1, kText, sizeof(kText) - 1));
  std::_Exit(3);
}

}  // namespace

void Begin(const MachineOptions& options) {
  machine = new Machine{.options = options, .dice = std::mt19937_64(options.seed)};
  machine->processes.push_back({.name = "world"});
  self = new Task{.id = machine->next_task++, .process = 0, .name = "main"};
  machine->tasks.push_back(self);
  ::signal(SIGABRT, OnAbort);
  ::signal(SIGSEGV, OnAbort);
  ::signal(SIGALRM, OnAlarm);
  ::alarm(600);
}

bool IsTask() { return self != nullptr; }
Task* Self() { return self; }

Micros Now() { return machine->now; }
std::int64_t WallClock() {
  return machine->options.unix_micros + machine->now + machine->processes[self->process].clock_error;
}
Micros ClockError() { return machine->processes[self->process].clock_error; }
std::int64_t UnixAtBegin() { return machine->options.unix_micros; }
void SetClockError(int process, Micros error) { machine->processes[process].clock_error = error; }

std::uint64_t Dice(std::uint64_t n) { return n <= 1 ? 0 : machine->dice() % n; }
std::int64_t Between(std::int64_t low, std::int64_t high) {
  return low + static_cast<std::int64_t>(Dice(static_cast<std::uint64_t>(high - low) + 1));
}
bool OneIn(std::uint64_t n) { return Dice(n) == 0; }

int NewProcess(const std::string& name) {
  machine->processes.push_back({.name = name});
  return static_cast<int>(machine->processes.size()) - 1;
}
const std::string& NameOf(int process) { return machine->processes[process].name; }
int CurrentProcess() { return self->process; }

Task* MakeTask(int process, std::string name, void* (*start)(void*), void* argument, const pthread_attr_t* attributes) {
  auto* const task = new Task{.id = machine->next_task++, .process = process, .name = std::move(name)};
  task->start = start;
  task->argument = argument;
  const auto run = [](void* given) -> void* {
    auto* const mine = static_cast<Task*>(given);
    AwaitTurn(mine);
    self = mine;
    void* const result = mine->start(mine->argument);
    // The turn goes on before the thread is gone; AwaitTurn() waits for that.
    mine->result = result;
    mine->has_ended = true;
    std::erase(machine->tasks, mine);
    Wake(mine, std::numeric_limits<int>::max());
    Task* const next = Choose();
    to_join = mine;
    self = nullptr;
    Hand(next);
    return result;
  };
  if (RealCreate(&task->thread, attributes, run, task) != 0) Fail("no more threads");
  machine->tasks.push_back(task);
  return task;
}

void Spawn(int process, const std::string& name, std::function<void()> body) {
  struct Start {
    int process;
    std::function<void()> body;
  };
  const auto run = [](void* given) -> void* {
    const std::unique_ptr<Start> start(static_cast<Start*>(given));
    start->body();
    machine->processes[start->process].ended = true;
    return nullptr;
  };
  MakeTask(process, name, run, new Start{process, std::move(body)}, nullptr);
}

void Kill(int process) {
  Tell(fmt::format("{} is killed", machine->processes[process].name));
  Count("a worker is killed");
  KillNow(process);
}
void KillAfter(int process, std::int64_t turns) { machine->processes[process].turns_left = turns; }
void KillAtPoint(int process, std::int64_t points) { machine->processes[process].points_left = points; }
void PassPoint(const std::string& name) {
  Count("passed: " + name);
  Process& process = machine->processes[self->process];
  if (process.points_left < 0 || --process.points_left >= 0) return;
  Tell(fmt::format("{} is killed at {}", process.name, name));
  Count("a worker is killed at a named place");
  KillNow(self->process);
  TakeTurns();  // For ever.
}
void Freeze(int process, Micros until) {
  auto& frozen = machine->processes[process].frozen_until;
  frozen = std::max(frozen, until);
}
void Thaw(int process) { machine->processes[process].frozen_until = machine->now; }
bool IsAlive(int process) { return machine->processes[process].alive; }
bool IsFrozen(int process) { return machine->processes[process].frozen_until > machine->now; }
bool HasEnded(int process) { return !machine->processes[process].alive || machine->processes[process].ended; }
std::int64_t TurnsOf(int process) { return machine->processes[process].turns; }

void Sleep(Micros duration) { WaitFor(nullptr, machine->now + std::max<Micros>(duration, 0), "sleeps"); }

void Yield() {
  self->why = "gives way";
  TakeTurns();
}

void At(Micros when, std::function<void()> effect) {
  machine->effects.push_back({when, machine->next_effect++, std::move(effect)});
  std::push_heap(machine->effects.begin(), machine->effects.end(), Later);
}

bool WaitFor(const void* what, Micros deadline, const char* why) {
  Task* const me = self;
  me->is_ready = false;
  me->timed_out = false;
  me->what = what;
  me->deadline = deadline;
  me->why = why;
  me->looks_in_a_row = 0;
  TakeTurns();
  me->deadline = kNever;
  return !me->timed_out;
}

int Wake(const void* what, int count) {
  static std::vector<Task*> waiting;  // One caller at a time.
  waiting.clear();
  for (Task* task : machine->tasks) {
    if (!task->is_ready && task->what == what) waiting.push_back(task);
  }
  const int woken = std::min<int>(count, static_cast<int>(waiting.size()));
  for (int i = 0; i < woken; ++i) {
    const auto place = static_cast<std::ptrdiff_t>(waiting.size() == 1 ? 0 : Dice(waiting.size()));
    Task* const task = waiting[place];
    waiting.erase(waiting.begin() + place);
    task->is_ready = true;
    task->what = nullptr;
  }
  return woken;
}

void WakePollers(int process) {
  for (Task* task : machine->tasks) {
    if (task->process != process || !task->polls || task->is_ready) continue;
    task->is_ready = true;
    task->what = nullptr;
  }
}

void Tell(const std::string& text) {
  Machine& m = *machine;
  const int process = self == nullptr || m.in_effect ? 0 : self->process;
  m.story.push_back({++m.happenings, m.now, process, text});
  if (m.story.size() > kStoryLength) m.story.pop_front();
  Hash(text);
  if (m.options.print_all) {
    std::printf("%7ld %12.6f %-10s %s\n", static_cast<long>(m.happenings), static_cast<double>(m.now) / 1e6,
                m.processes[process].name.c_str(), text.c_str());
  }
  if (m.happenings == m.options.until) {
    if (!m.options.print_all) std::fputs(Story().c_str(), stdout);
    std::fflush(stdout);
    ::raise(SIGTRAP);
  }
}

std::int64_t Happenings() { return machine->happenings; }
std::uint64_t TraceHash() { return machine->hash; }
void Count(const std::string& what) { ++machine->counts[what]; }
std::vector<std::pair<std::string, std::int64_t>> Counts() { return {machine->counts.begin(), machine->counts.end()}; }

std::string Story() {
  std::string text;
  for (const auto& happening : machine->story) {
    text += fmt::format("{:7} {:12.6f} {:<10} {}\n", happening.number, static_cast<double>(happening.time) / 1e6,
                        machine->processes[happening.process].name, happening.text);
  }
  return text + "who waits for what:\n" + WhoWaits();
}

void Fail(const std::string& what) {
  static bool failing = false;
  if (!std::exchange(failing, true)) {
    std::printf("%sseed %lu: at %.6f s, after %ld happenings: %s\n", Story().c_str(),
                static_cast<unsigned long>(machine->options.seed), static_cast<double>(machine->now) / 1e6,
                static_cast<long>(machine->happenings), what.c_str());
    std::fflush(stdout);
  }
  std::_Exit(1);
}

}  // namespace millrace::simulation
