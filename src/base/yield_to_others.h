/// Threads that give way to the others of the machine.
#pragma once

#include <sys/types.h>

namespace millrace {

/// From now on this thread of the process gets a tenth of the share of an ordinary one where both want the processor:
/// what answers questions must not slow what takes events in. For good: on Linux a thread has a priority of its own,
/// and nobody but root may raise it again. Threads that it starts have it too. Where it cannot be had, nothing happens.
void YieldToOthers(pid_t thread);
/// The calling thread.
void YieldToOthers();

}  // namespace millrace
