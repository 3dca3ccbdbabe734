/// A lake's store, tried with an object of our own that is deleted again.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/clock.h"
#include "doctor/check.h"
#include "objectstore/object_store.h"

namespace millrace::doctor {

/// Between our clock and the store's; S3 refuses requests from 15 minutes on, and vacuum and retention go by both.
inline constexpr std::chrono::seconds kClockSkewMax{30};

/// Why the lake at `uri` could not be opened.
Check CheckUnopened(const Status& opened, const std::string& uri);

/// Puts an object if absent, twice, of which the second must be refused; reads it, lists it, deletes it: "lake.put",
/// "lake.conditional_put", "lake.read", "lake.list", "lake.delete", and "lake.clock" by the time that the store gives
/// it. Its name is one that no table has and that lists of folders leave out. Blocks for as many requests. If deleting
/// fails, that is a failed check with its name.
Checks CheckStore(objectstore::ObjectStore& store, const Clock& clock);

/// `skew`: how much the store's clock is ahead of ours.
Check CheckClock(std::chrono::microseconds skew);

}  // namespace millrace::doctor
