/// How rows find the stretch of event time that they are aggregated in.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/time_zone.h"

namespace millrace::model {

/// Windows lie within the years 0001 to 9999, which every reader of the tables can show.
inline constexpr UnixMicros kWindowsBegin = -62'135'596'800'000'000;
inline constexpr UnixMicros kWindowsEnd = 253'402'300'800'000'000;

/// A value. Windows are [start, end) in UTC microseconds.
///
/// A row is aggregated once, in a *pane*: the stretch in which all rows are in the same windows. A pane of tumbling
/// windows is the window itself; other windows are put together from their panes when an answer is made
/// (query/pane_windows.h). Partial rows have the start and the end of their pane, and panes lie side by side.
struct Window {
  enum class Kind {
    kNone,        ///< All of time is one, from kWindowsBegin to the last microsecond before kWindowsEnd.
    kTumbling,    ///< Side by side, each of `size_us`, aligned to 1970-01-01T00:00:00Z (as DuckDB's time_bucket with
                  ///< that origin), also before it.
    kCalendar,    ///< Side by side, each of `days` or `months` on the clocks of `zone`; aligned as DuckDB's time_bucket
                  ///< with that zone does: days to Monday 2000-01-03, months to 2000-01-01.
    kHopping,     ///< One of `size_us` begins every `pane_us`, aligned as tumbling ones.
    kCumulating,  ///< Of a tumbling window of `size_us`, what has come by each `pane_us` of it: all begin with it, and
                  ///< the last ends with it.
    kSession,  ///< Of the events of some keys those that are less than `size_us` apart, until as long after the last.
               ///< Panes are of the gap's length: the events of one are in the same session whatever else comes.
  };
  Kind kind = Kind::kNone;
  std::int64_t size_us = 0;  ///< More than 0 unless kNone or kCalendar. kSession: the gap.
  std::int64_t pane_us = 0;  ///< Divides size_us.
  int days = 0;              ///< kCalendar: either of the two is more than 0.
  int months = 0;
  std::shared_ptr<const TimeZone> zone{};  ///< kCalendar only.

  static Window None() { return {}; }
  static Window Tumbling(std::int64_t size_us) { return {Kind::kTumbling, size_us, size_us}; }
  static Window CalendarDays(int days, std::shared_ptr<const TimeZone> zone);
  static Window CalendarMonths(int months, std::shared_ptr<const TimeZone> zone);
  /// `size_us`: a multiple of `slide_us`.
  static Window Hopping(std::int64_t slide_us, std::int64_t size_us) { return {Kind::kHopping, size_us, slide_us}; }
  /// `longest_us`: a multiple of `step_us`.
  static Window Cumulating(std::int64_t step_us, std::int64_t longest_us) {
    return {Kind::kCumulating, longest_us, step_us};
  }

  static Window Session(std::int64_t gap_us) { return {Kind::kSession, gap_us, gap_us}; }

  bool has_windows() const { return kind != Kind::kNone; }
  bool overlap() const { return kind == Kind::kHopping || kind == Kind::kCumulating; }
  /// A pane is not a window: answers put windows together.
  bool of_panes() const { return overlap() || kind == Kind::kSession; }

  /// Of the pane that `time` is in; kCalendar: within the years 0001 to 9999, give or take some.
  UnixMicros StartOf(UnixMicros time) const;
  /// Of the pane that begins at `start`.
  UnixMicros EndOf(UnixMicros start) const;

  /// The start of the first window, and the end of the last, that the pane is in. kSession: as if nothing came before
  /// or after the pane.
  UnixMicros FirstStartOf(UnixMicros pane) const;
  UnixMicros LastEndOf(UnixMicros pane) const;

  /// About how long a window, and a pane, is: to see how many a day has, and not when one ends. kNone: 0.
  std::int64_t UsualSizeUs() const;
  std::int64_t UsualPaneUs() const;

  /// As people say it: "1m", "1d Europe/Berlin", "3mo UTC", "1m every 10s", "up to 1d every 1h", "none".
  std::string ToText() const;

  bool operator==(const Window& other) const;

  /// The multiple of `step` that is not after `time`.
  static std::int64_t Floor(std::int64_t time, std::int64_t step) {
    const std::int64_t remainder = time % step;
    return time - (remainder < 0 ? remainder + step : remainder);
  }
};

/// StartOf() and EndOf() of a calendar window.
UnixMicros CalendarStartOf(const Window& window, UnixMicros time);
UnixMicros CalendarEndOf(const Window& window, UnixMicros start);

inline UnixMicros Window::StartOf(UnixMicros time) const {
  switch (kind) {
    case Kind::kNone:
      return kWindowsBegin;
    case Kind::kCalendar:
      return CalendarStartOf(*this, time);
    default:
      return Floor(time, pane_us);
  }
}

inline UnixMicros Window::EndOf(UnixMicros start) const {
  switch (kind) {
    case Kind::kNone:
      return kWindowsEnd - 1;
    case Kind::kCalendar:
      return CalendarEndOf(*this, start);
    default:
      return start + pane_us;
  }
}

}  // namespace millrace::model
