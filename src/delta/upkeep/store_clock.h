/// What time it is where the objects are.
#pragma once

#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "objectstore/object_store.h"

namespace millrace::delta {

/// What the names of the objects begin with; one that a process left when it died goes with the next vacuum that finds
/// it old.
inline constexpr std::string_view kClockPrefix = "_millrace_clock_";

/// The store's clock, which a small object that is written and deleted tells: three requests. By it upkeep judges what
/// is old enough to go: a machine whose own clock is ahead would take for old what is needed. Of a bucket to the
/// second, rounded down. Errors as the store's.
Result<UnixMicros> StoreNow(objectstore::ObjectStore& store);

}  // namespace millrace::delta
