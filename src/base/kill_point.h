/// Named places where a fault test may kill this process.
///
/// MILLRACE_KILL_AT="name" or "name:N" (the Nth time the place is passed, from 1) in the environment makes the process
/// send itself SIGKILL there: as sudden as a power cut to everything above the operating system. Costs one relaxed
/// load when the variable is not set.
#pragma once

#include <string_view>

namespace millrace {

void KillPoint(std::string_view name);

}  // namespace millrace
