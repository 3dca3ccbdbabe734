/// What time it is where the objects are.
#pragma once

#include "base/clock.h"
#include "base/status.h"
#include "objectstore/object_store.h"

namespace millrace::delta {

/// The store's clock, which a small object that is written and deleted tells: three requests. By it upkeep judges what
/// is old enough to go: a machine whose own clock is ahead would take for old what is needed. Of a bucket to the
/// second, rounded down. Errors as the store's.
Result<UnixMicros> StoreNow(objectstore::ObjectStore& store);

}  // namespace millrace::delta
