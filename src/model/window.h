/// How rows find the stretch of event time that they are aggregated in.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace millrace::model {

/// A value. Windows are [start, end) in UTC microseconds, and a partial row belongs to one by its start.
struct Window {
  enum class Kind {
    kTumbling,  ///< Side by side, each of `size_us`, aligned to 1970-01-01T00:00:00Z (as DuckDB's time_bucket with that
                ///< origin), also before it.
    kNone,      ///< All of time is one, whose start and end are 0 and mean nothing.
  };
  Kind kind = Kind::kNone;
  std::int64_t size_us = 0;  ///< More than 0 for kTumbling, else 0.

  static Window Tumbling(std::int64_t size_us) { return {Kind::kTumbling, size_us}; }
  static Window None() { return {}; }

  /// Of the window that `time` is in. Asked per row: inlined.
  UnixMicros StartOf(UnixMicros time) const {
    if (kind == Kind::kNone) return 0;
    const std::int64_t remainder = time % size_us;
    return time - (remainder < 0 ? remainder + size_us : remainder);
  }
  UnixMicros EndOf(UnixMicros start) const { return start + size_us; }

  bool operator==(const Window&) const = default;
};

}  // namespace millrace::model
