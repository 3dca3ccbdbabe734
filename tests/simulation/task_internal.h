/// What machine.cc and libc.cc share. Of the folder only.
#pragma once

#include <pthread.h>
#include <sys/syscall.h>

#include <atomic>
#include <string>

#include "machine.h"

namespace millrace::simulation {

struct Task {
  int id = 0;
  int process = 0;
  std::string name;
  std::atomic<int> turn{0};  // A futex: it is this task's turn.
  bool is_ready = true;
  bool timed_out = false;
  bool polls = false;          // It waits in epoll.
  int looks_in_a_row = 0;      // Into epoll, without waiting.
  const void* what = nullptr;  // What it waits for.
  Micros deadline = kNever;
  Micros not_before = 0;  // It has lost the processor until then.
  const char* why = "begins";
  void* (*start)(void*) = nullptr;
  void* argument = nullptr;
  void* result = nullptr;
  bool has_ended = false;
  pthread_t thread{};
};

/// nullptr: the calling thread is none.
Task* Self();
/// The thread behind it waits for its first turn.
Task* MakeTask(int process, std::string name, void* (*start)(void*), void* argument, const pthread_attr_t* attributes);
/// Of the calling task's process.
Micros ClockError();
std::int64_t UnixAtBegin();

// The real calls, of libc.cc.
long RealSyscall(long number, const void* a, long b, long c, const void* d, const void* e, long f);
int RealCreate(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument);
int RealJoin(pthread_t thread);

}  // namespace millrace::simulation
