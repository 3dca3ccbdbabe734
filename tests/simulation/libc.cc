// The calls of the C library that a simulated thread waits in, asks the time of, or gets chance from. An executable's
// own functions come before those of every shared library, so this reaches Asio, libstdc++, Arrow and DuckDB alike, and
// no source of the product knows of it. A thread that is no task gets the real thing.
#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>

#include "task_internal.h"

namespace millrace::simulation {
namespace {

constexpr int kAll = std::numeric_limits<int>::max();
/// The steady clock at Begin(): not 0, from which deadlines in the past would be negative.
constexpr Micros kSteadyAtBegin = 1'000'000 * kSecond;

template <typename Function>
Function Real(const char* name, const char* version) {
  void* const found = ::dlvsym(RTLD_NEXT, name, version);
  if (found == nullptr) {
    static_cast<void>(::write(2, "the C library is another one than this simulator was made for\n", 62));
    ::_exit(4);
  }
  return reinterpret_cast<Function>(found);
}
// One look-up each. A macro, because each has a type of its own.
#define REAL(name, version)                                                               \
  ([] {                                                                                   \
    static const auto real = millrace::simulation::Real<decltype(&name)>(#name, version); \
    return real;                                                                          \
  }())

long Raw(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

long WithErrno(long result) {
  if (result >= 0 || result < -4095) return result;
  errno = static_cast<int>(-result);
  return -1;
}

Micros ToMicros(const timespec& time) {
  // Rounded up: nobody wakes before his time.
  return time.tv_sec * kSecond + (time.tv_nsec + 999) / 1000;
}

bool IsSteady(clockid_t clock) { return clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE; }

/// A moment of one of the task's clocks, in the machine's time.
Micros FromClock(clockid_t clock, const timespec& time) {
  const Micros moment = ToMicros(time);
  return IsSteady(clock) ? moment - kSteadyAtBegin : moment - UnixAtBegin() - ClockError();
}

timespec ClockNow(clockid_t clock) {
  const Micros now = IsSteady(clock) ? Now() + kSteadyAtBegin : WallClock();
  return {.tv_sec = now / kSecond, .tv_nsec = now % kSecond * 1000};
}

// glibc's own name for them, which nobody else defines: the first calls come before dlvsym() may be used.
__asm__(".symver MutexLock, __pthread_mutex_lock@GLIBC_2.2.5");
__asm__(".symver MutexTryLock, __pthread_mutex_trylock@GLIBC_2.2.5");
__asm__(".symver MutexUnlock, __pthread_mutex_unlock@GLIBC_2.2.5");
extern "C" int MutexLock(pthread_mutex_t* mutex);
extern "C" int MutexTryLock(pthread_mutex_t* mutex);
extern "C" int MutexUnlock(pthread_mutex_t* mutex);

int LockAsTask(pthread_mutex_t* mutex, Micros deadline) {
  for (;;) {
    const int result = MutexTryLock(mutex);
    if (result != EBUSY) return result;
    if (!WaitFor(mutex, deadline, "waits for a mutex")) return ETIMEDOUT;
  }
}

int UnlockAsTask(pthread_mutex_t* mutex) {
  const int result = MutexUnlock(mutex);
  Wake(mutex, 1);
  return result;
}

int WaitOnCondition(pthread_cond_t* condition, pthread_mutex_t* mutex, Micros deadline) {
  UnlockAsTask(mutex);
  const bool woken = WaitFor(condition, deadline, "waits for a condition");
  LockAsTask(mutex, kNever);
  return woken ? 0 : ETIMEDOUT;
}

void FillByDice(void* bytes, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) static_cast<unsigned char*>(bytes)[i] = static_cast<unsigned char>(Dice(256));
}

long Futex(const std::uint32_t* word, int operation, std::uint32_t value, const timespec* timeout) {
  switch (operation & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET: {
      if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != value) return -EAGAIN;
      Micros deadline = kNever;
      if (timeout != nullptr && (operation & FUTEX_CMD_MASK) == FUTEX_WAIT) deadline = Now() + ToMicros(*timeout);
      if (timeout != nullptr && (operation & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET) {
        const bool is_wall = (operation & FUTEX_CLOCK_REALTIME) != 0;
        deadline = FromClock(is_wall ? CLOCK_REALTIME : CLOCK_MONOTONIC, *timeout);
      }
      return WaitFor(word, deadline, "waits for a futex") ? 0 : -ETIMEDOUT;
    }
    case FUTEX_WAKE:
    case FUTEX_WAKE_BITSET:
      return Wake(word, static_cast<int>(value));
    default:
      return -ENOSYS;
  }
}

const void* PollersOf(int epoll) { return reinterpret_cast<const void*>(static_cast<std::intptr_t>(epoll) + 1); }

}  // namespace

long RealSyscall(long number, const void* a, long b, long c, const void* d, const void* e, long f) {
  return Raw(number, reinterpret_cast<long>(a), b, c, reinterpret_cast<long>(d), reinterpret_cast<long>(e), f);
}
int RealCreate(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument) {
  return REAL(pthread_create, "GLIBC_2.34")(thread, attributes, start, argument);
}
int RealJoin(pthread_t thread) { return REAL(pthread_join, "GLIBC_2.34")(thread, nullptr); }

}  // namespace millrace::simulation

namespace sim = millrace::simulation;

extern "C" {

// ---- Threads --------------------------------------------------------------------------------------------------------

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument) {
  if (!sim::IsTask()) return sim::RealCreate(thread, attributes, start, argument);
  // A handle of ours: it is asked for by join and detach alone.
  sim::Task* const task = sim::MakeTask(sim::CurrentProcess(), "thread", start, argument, nullptr);
  task->name += " " + std::to_string(task->id);
  *thread = reinterpret_cast<pthread_t>(task);
  return 0;
}

int pthread_join(pthread_t thread, void** result) {
  if (!sim::IsTask()) return REAL(pthread_join, "GLIBC_2.34")(thread, result);
  auto* const task = reinterpret_cast<sim::Task*>(thread);
  while (!task->has_ended) sim::WaitFor(task, sim::kNever, "waits for a thread to end");
  if (result != nullptr) *result = task->result;
  return 0;
}

int pthread_detach(pthread_t thread) {
  if (!sim::IsTask()) return REAL(pthread_detach, "GLIBC_2.34")(thread);
  return 0;
}

int sched_yield() {
  if (sim::IsTask()) sim::Yield();
  return 0;
}

int get_nprocs() { return 2; }

int setpriority(__priority_which_t which, id_t who, int priority) {
  if (sim::IsTask()) return 0;
  return static_cast<int>(sim::WithErrno(sim::Raw(SYS_setpriority, which, static_cast<long>(who), priority, 0, 0, 0)));
}

// ---- What threads wait in -------------------------------------------------------------------------------------------

int pthread_mutex_lock(pthread_mutex_t* mutex) {
  if (!sim::IsTask()) return sim::MutexLock(mutex);
  return sim::LockAsTask(mutex, sim::kNever);
}
int pthread_mutex_trylock(pthread_mutex_t* mutex) { return sim::MutexTryLock(mutex); }
int pthread_mutex_unlock(pthread_mutex_t* mutex) {
  if (!sim::IsTask()) return sim::MutexUnlock(mutex);
  return sim::UnlockAsTask(mutex);
}
int pthread_mutex_timedlock(pthread_mutex_t* mutex, const timespec* until) {
  if (!sim::IsTask()) return REAL(pthread_mutex_timedlock, "GLIBC_2.34")(mutex, until);
  return sim::LockAsTask(mutex, sim::FromClock(CLOCK_REALTIME, *until));
}
int pthread_mutex_clocklock(pthread_mutex_t* mutex, clockid_t clock, const timespec* until) {
  if (!sim::IsTask()) return REAL(pthread_mutex_clocklock, "GLIBC_2.34")(mutex, clock, until);
  return sim::LockAsTask(mutex, sim::FromClock(clock, *until));
}

int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) {
  if (!sim::IsTask()) return REAL(pthread_cond_wait, "GLIBC_2.3.2")(condition, mutex);
  return sim::WaitOnCondition(condition, mutex, sim::kNever);
}
int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex, const timespec* until) {
  if (!sim::IsTask()) return REAL(pthread_cond_timedwait, "GLIBC_2.3.2")(condition, mutex, until);
  // glibc keeps the clock that the condition was made for in this bit.
  const clockid_t clock = (condition->__data.__wrefs & 2) != 0 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
  return sim::WaitOnCondition(condition, mutex, sim::FromClock(clock, *until));
}
int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock, const timespec* until) {
  if (!sim::IsTask()) return REAL(pthread_cond_clockwait, "GLIBC_2.34")(condition, mutex, clock, until);
  return sim::WaitOnCondition(condition, mutex, sim::FromClock(clock, *until));
}
int pthread_cond_signal(pthread_cond_t* condition) {
  if (!sim::IsTask()) return REAL(pthread_cond_signal, "GLIBC_2.3.2")(condition);
  sim::Wake(condition, 1);
  return 0;
}
int pthread_cond_broadcast(pthread_cond_t* condition) {
  if (!sim::IsTask()) return REAL(pthread_cond_broadcast, "GLIBC_2.3.2")(condition);
  sim::Wake(condition, sim::kAll);
  return 0;
}

int sem_wait(sem_t* semaphore) {
  if (!sim::IsTask()) return REAL(sem_wait, "GLIBC_2.34")(semaphore);
  while (::sem_trywait(semaphore) != 0) sim::WaitFor(semaphore, sim::kNever, "waits for a semaphore");
  return 0;
}
int sem_timedwait(sem_t* semaphore, const timespec* until) {
  if (!sim::IsTask()) return REAL(sem_timedwait, "GLIBC_2.34")(semaphore, until);
  const sim::Micros deadline = sim::FromClock(CLOCK_REALTIME, *until);
  while (::sem_trywait(semaphore) != 0) {
    if (sim::WaitFor(semaphore, deadline, "waits for a semaphore")) continue;
    errno = ETIMEDOUT;
    return -1;
  }
  return 0;
}
int sem_post(sem_t* semaphore) {
  const int result = REAL(sem_post, "GLIBC_2.34")(semaphore);
  if (sim::IsTask()) sim::Wake(semaphore, 1);
  return result;
}

int epoll_wait(int epoll, epoll_event* events, int events_max, int timeout_ms) {
  if (!sim::IsTask()) {
    return static_cast<int>(
        sim::WithErrno(sim::Raw(SYS_epoll_wait, epoll, reinterpret_cast<long>(events), events_max, timeout_ms, 0, 0)));
  }
  const sim::Micros deadline = timeout_ms < 0 ? sim::kNever : sim::Now() + timeout_ms * sim::kMillisecond;
  for (;;) {
    const long found = sim::Raw(SYS_epoll_wait, epoll, reinterpret_cast<long>(events), events_max, 0, 0, 0);
    // Time passes between turns alone: a loop that looks and never waits would find that none has passed, for ever.
    constexpr int kLooksInATurn = 100;
    if (timeout_ms == 0 && ++sim::Self()->looks_in_a_row % kLooksInATurn == 0) sim::Yield();
    if (found != 0 || timeout_ms == 0) return static_cast<int>(sim::WithErrno(found));
    sim::Self()->polls = true;
    const bool woken = sim::WaitFor(sim::PollersOf(epoll), deadline, "waits in epoll");
    sim::Self()->polls = false;
    if (!woken) return 0;
  }
}
int epoll_ctl(int epoll, int operation, int descriptor, epoll_event* event) {
  const long result = sim::Raw(SYS_epoll_ctl, epoll, operation, descriptor, reinterpret_cast<long>(event), 0, 0);
  if (sim::IsTask()) sim::Wake(sim::PollersOf(epoll), sim::kAll);
  return static_cast<int>(sim::WithErrno(result));
}
// Asio does without, and then tells epoll_wait() how long.
int timerfd_create(clockid_t clock, int flags) {
  if (!sim::IsTask()) return static_cast<int>(sim::WithErrno(sim::Raw(SYS_timerfd_create, clock, flags, 0, 0, 0, 0)));
  errno = ENOSYS;
  return -1;
}

long syscall(long number, ...) {
  va_list arguments;
  va_start(arguments, number);
  long a[6];
  for (long& argument : a) argument = va_arg(arguments, long);
  va_end(arguments);
  if (number == SYS_futex && sim::IsTask()) {
    return sim::WithErrno(sim::Futex(reinterpret_cast<const std::uint32_t*>(a[0]), static_cast<int>(a[1]),
                                     static_cast<std::uint32_t>(a[2]), reinterpret_cast<const timespec*>(a[3])));
  }
  return sim::WithErrno(sim::Raw(number, a[0], a[1], a[2], a[3], a[4], a[5]));
}

// ---- Time -----------------------------------------------------------------------------------------------------------

int clock_gettime(clockid_t clock, timespec* now) {
  const bool is_simulated = sim::IsTask() && clock != CLOCK_PROCESS_CPUTIME_ID && clock != CLOCK_THREAD_CPUTIME_ID;
  if (!is_simulated) {
    return static_cast<int>(
        sim::WithErrno(sim::Raw(SYS_clock_gettime, clock, reinterpret_cast<long>(now), 0, 0, 0, 0)));
  }
  *now = sim::ClockNow(clock);
  return 0;
}
int gettimeofday(timeval* now, void* /*zone*/) {
  timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  *now = {.tv_sec = time.tv_sec, .tv_usec = time.tv_nsec / 1000};
  return 0;
}
time_t time(time_t* now) {
  timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  if (now != nullptr) *now = time.tv_sec;
  return time.tv_sec;
}
int clock_nanosleep(clockid_t clock, int flags, const timespec* duration, timespec* rest) {
  if (!sim::IsTask()) {
    return static_cast<int>(-sim::Raw(SYS_clock_nanosleep, clock, flags, reinterpret_cast<long>(duration),
                                      reinterpret_cast<long>(rest), 0, 0));
  }
  const bool is_moment = (flags & TIMER_ABSTIME) != 0;
  sim::Sleep(is_moment ? sim::FromClock(clock, *duration) - sim::Now() : sim::ToMicros(*duration));
  return 0;
}
int nanosleep(const timespec* duration, timespec* rest) {
  errno = clock_nanosleep(CLOCK_MONOTONIC, 0, duration, rest);
  return errno == 0 ? 0 : -1;
}
int usleep(useconds_t micros) {
  const timespec duration = {.tv_sec = micros / 1'000'000, .tv_nsec = micros % 1'000'000 * 1000L};
  return nanosleep(&duration, nullptr);
}

// ---- Chance ---------------------------------------------------------------------------------------------------------

ssize_t getrandom(void* bytes, size_t size, unsigned flags) {
  if (!sim::IsTask()) {
    return sim::WithErrno(
        sim::Raw(SYS_getrandom, reinterpret_cast<long>(bytes), static_cast<long>(size), flags, 0, 0, 0));
  }
  sim::FillByDice(bytes, size);
  return static_cast<ssize_t>(size);
}
int getentropy(void* bytes, size_t size) { return getrandom(bytes, size, 0) < 0 ? -1 : 0; }

// ---- Named places ---------------------------------------------------------------------------------------------------

// Put before the product's by the linker (--wrap).
void WrappedKillPoint(std::string_view name) __asm__(
    "__wrap__ZN8millrace9KillPointESt17basic_string_viewIcSt11char_traitsIcEE");
void WrappedKillPoint(std::string_view name) {
  if (sim::IsTask()) sim::PassPoint(std::string(name));
}

// std::random_device::operator(), which asks the processor.
unsigned RandomDeviceValue(void* /*device*/) __asm__("_ZNSt13random_device9_M_getvalEv");
unsigned RandomDeviceValue(void* /*device*/) {
  unsigned value = 0;
  getrandom(&value, sizeof(value), 0);
  return value;
}

}  // extern "C"
