/// How upkeep that takes long is asked to end early.
#pragma once

#include <functional>

namespace millrace::delta {

/// Asked now and then, on the thread that works: true says that what is not done yet shall not be. Must not throw.
/// Empty: never.
using StopRequested = std::function<bool()>;

}  // namespace millrace::delta
