/// A thread that gives way to the others of the machine.
#pragma once

namespace millrace {

/// From now on the calling thread gets a tenth of the share of an ordinary one where both want the processor: what
/// answers questions must not slow what takes events in. On Linux a thread has a priority of its own; where it cannot
/// be had, nothing happens.
void YieldToOthers();

}  // namespace millrace
