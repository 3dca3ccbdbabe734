/// Memory for threads that take turns: no locks, and what was freed is what is given next. A fifth of a seed's time
/// went into glibc's. Of an executable alone: its malloc() comes before the C library's for every shared library, as in
/// libc.cc.
#pragma once

namespace millrace::simulation {

/// From now on one thread runs at a time, and what is allocated is near each other: what the program allocated before
/// is left as it is, which spares a forked process to copy its pages.
void BeginTakingTurns();

}  // namespace millrace::simulation
