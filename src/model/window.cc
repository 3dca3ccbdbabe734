#include "model/window.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/quantity_text.h"

namespace millrace::model {
namespace {

constexpr std::int64_t kDayUs = std::int64_t{86'400} * 1'000'000;
constexpr std::int64_t kOriginDay = 10'959;  // 2000-01-03, a Monday.
constexpr int kOriginYear = 2000;

std::int64_t FloorDivide(std::int64_t value, std::int64_t by) { return Window::Floor(value, by) / by; }

// Calendar windows are numbered from the one that begins at the origin.
std::int64_t NumberOf(const Window& window, std::int64_t local) {
  const std::int64_t day = FloorDivide(local, kDayUs);
  if (window.days > 0) return FloorDivide(day - kOriginDay, window.days);
  const std::chrono::year_month_day date{std::chrono::sys_days(std::chrono::days(day))};
  const std::int64_t month =
      (static_cast<int>(date.year()) - kOriginYear) * std::int64_t{12} + static_cast<unsigned>(date.month()) - 1;
  return FloorDivide(month, window.months);
}

UnixMicros StartOfNumber(const Window& window, std::int64_t number) {
  if (window.days > 0) return window.zone->ToUtc((kOriginDay + number * window.days) * kDayUs);
  const std::int64_t month = number * window.months;
  const auto year = std::chrono::year(static_cast<int>(kOriginYear + FloorDivide(month, 12)));
  const auto of_year = std::chrono::month(static_cast<unsigned>(month - Window::Floor(month, 12) + 1));
  const std::chrono::sys_days first = year / of_year / 1;
  return window.zone->ToUtc(first.time_since_epoch().count() * kDayUs);
}

// The last window that begins at or before `time`. The clocks' date is near it and may be another: when they are set
// back over midnight a date begins twice, and its second beginning counts.
std::int64_t NumberAt(const Window& window, UnixMicros any_time) {
  // A question may name any time. Beyond the years that there are no row is, and no date could be calculated.
  constexpr std::int64_t kMargin = 200 * 366 * kDayUs;
  const UnixMicros time = std::clamp(any_time, kWindowsBegin - kMargin, kWindowsEnd + kMargin);
  std::int64_t number = NumberOf(window, time + window.zone->OffsetAt(time));
  while (StartOfNumber(window, number) > time) --number;
  while (StartOfNumber(window, number + 1) <= time) ++number;
  return number;
}

std::string NameOf(const std::shared_ptr<const TimeZone>& zone) { return zone == nullptr ? "" : zone->name(); }

std::string Text(std::int64_t us) { return DurationText(std::chrono::microseconds(us)); }

}  // namespace

Window Window::CalendarDays(int days, std::shared_ptr<const TimeZone> zone) {
  return {.kind = Kind::kCalendar, .days = days, .zone = std::move(zone)};
}

Window Window::CalendarMonths(int months, std::shared_ptr<const TimeZone> zone) {
  return {.kind = Kind::kCalendar, .months = months, .zone = std::move(zone)};
}

UnixMicros CalendarStartOf(const Window& window, UnixMicros time) {
  return StartOfNumber(window, NumberAt(window, time));
}

UnixMicros CalendarEndOf(const Window& window, UnixMicros start) {
  return StartOfNumber(window, NumberAt(window, start) + 1);
}

UnixMicros Window::FirstStartOf(UnixMicros pane) const {
  if (kind == Kind::kHopping) return pane - (size_us - pane_us);
  if (kind == Kind::kCumulating) return Floor(pane, size_us);
  return pane;
}

UnixMicros Window::LastEndOf(UnixMicros pane) const {
  if (kind == Kind::kHopping) return pane + size_us;
  if (kind == Kind::kCumulating) return Floor(pane, size_us) + size_us;
  if (kind == Kind::kSession) return EndOf(pane) + size_us;
  return EndOf(pane);
}

std::int64_t Window::UsualSizeUs() const {
  if (kind != Kind::kCalendar) return size_us;
  return days > 0 ? days * kDayUs : months * 30 * kDayUs;
}

std::int64_t Window::UsualPaneUs() const { return overlap() ? pane_us : UsualSizeUs(); }

std::string Window::ToText() const {
  switch (kind) {
    case Kind::kNone:
      return "none";
    case Kind::kTumbling:
      return Text(size_us);
    case Kind::kCalendar:
      return fmt::format("{}{} {}", days > 0 ? days : months, days > 0 ? "d" : "mo", zone->name());
    case Kind::kHopping:
      return fmt::format("{} every {}", Text(size_us), Text(pane_us));
    case Kind::kSession:
      return fmt::format("sessions {} apart", Text(size_us));
    case Kind::kCumulating:
      return fmt::format("up to {} every {}", Text(size_us), Text(pane_us));
  }
  return "";
}

bool Window::operator==(const Window& other) const {
  return kind == other.kind && size_us == other.size_us && pane_us == other.pane_us && days == other.days &&
         months == other.months && NameOf(zone) == NameOf(other.zone);
}

}  // namespace millrace::model
