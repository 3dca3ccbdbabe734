/// The simulated machine: threads that take turns, time that jumps, and one seed that decides everything.
///
/// A program that calls Begin() becomes its first task. From then on every thread that it (or any library) starts is a
/// task too, and one task runs at a time: it goes on until it waits for something, and then the seed says who is next.
/// When nobody can go on, time jumps to the next moment at which somebody can. libc.cc puts this behind the calls that
/// threads wait in (mutexes, condition variables, futexes, epoll, sleep), behind the clocks and behind random numbers:
/// the code that runs here is the one that ships, compiled as it ships.
///
/// A task belongs to a process; process 0 is the world. A process that is killed is never given a turn again: none of
/// its destructors runs, and what it had sent is on its way. One that is frozen gets its turns later.
///
/// Everything here is called by tasks, and needs no lock: whoever runs is alone.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace millrace::simulation {

/// Microseconds since Begin().
using Micros = std::int64_t;
inline constexpr Micros kNever = std::numeric_limits<Micros>::max();
inline constexpr Micros kMillisecond = 1000;
inline constexpr Micros kSecond = 1000 * kMillisecond;

struct MachineOptions {
  std::uint64_t seed = 1;
  /// UTC of the moment of Begin().
  std::int64_t unix_micros = 0;
  /// One in so many turns, whoever would be next loses the processor for up to 20 ms; 0: never.
  std::uint64_t preempt_one_in = 0;
  /// Turns that the whole run may take; more is a loop that nobody waits in.
  std::int64_t turns_max = 20'000'000;
  /// The happening at which a debugger is called (SIGTRAP); 0: none.
  std::int64_t until = 0;
  bool print_all = false;  ///< Every happening as it comes.
};

/// The calling thread becomes the first task, of process 0. Once in the life of a real process.
void Begin(const MachineOptions& options);
/// Whether the calling thread is a task.
bool IsTask();

Micros Now();
/// What the calling task's process takes for the time: Now() and what its clock is wrong by.
std::int64_t WallClock();
/// From now on the process's clock is wrong by so much. Its steady clock never is.
void SetClockError(int process, Micros error);

/// The dice: 0 <= result < n.
std::uint64_t Dice(std::uint64_t n);
/// low <= result <= high.
std::int64_t Between(std::int64_t low, std::int64_t high);
bool OneIn(std::uint64_t n);

// ---- Tasks and processes --------------------------------------------------------------------------------------------

int NewProcess(const std::string& name);
const std::string& NameOf(int process);
int CurrentProcess();
/// A task of the process; the process has ended when this one has.
void Spawn(int process, const std::string& name, std::function<void()> body);
void Kill(int process);
/// At the `turns`th turn that it gets from now on, before it.
void KillAfter(int process, std::int64_t turns);
/// At the `points`th named place (base/kill_point.h) that it passes from now on.
void KillAtPoint(int process, std::int64_t points);
void Freeze(int process, Micros until);
void Thaw(int process);
bool IsAlive(int process);
bool IsFrozen(int process);
/// Killed, or what Spawn() was given has returned.
bool HasEnded(int process);
std::int64_t TurnsOf(int process);

void Sleep(Micros duration);
/// Others may go first.
void Yield();
/// At that time `effect` happens, whoever has a turn then; it must not wait. For what is on its way: a request whose
/// sender may be dead by then.
void At(Micros when, std::function<void()> effect);

// ---- What libc.cc is made of ----------------------------------------------------------------------------------------

/// The task waits until somebody wakes `what`, or until `deadline`: then false.
bool WaitFor(const void* what, Micros deadline, const char* why);
/// Up to `count` that wait for `what`, chosen by the seed; how many there were.
int Wake(const void* what, int count);
/// The calling task is at a named place of the product.
void PassPoint(const std::string& name);
/// All tasks of the process that wait in epoll.
void WakePollers(int process);

// ---- What happened --------------------------------------------------------------------------------------------------

/// Notes a happening; its text is part of the hash.
void Tell(const std::string& text);
std::int64_t Happenings();
/// Of all turns and happenings so far: the same for the same seed.
std::uint64_t TraceHash();
/// Counted for the coverage report.
void Count(const std::string& what);

/// Something that must hold does not: prints what, the last hundred happenings and who waits for what, and ends the
/// real process with code 1.
[[noreturn]] void Fail(const std::string& what);
/// The last hundred happenings, and who waits for what.
std::string Story();
std::vector<std::pair<std::string, std::int64_t>> Counts();

}  // namespace millrace::simulation
