#include "cost/money.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace millrace::cost {
namespace {

__extension__ using Int128 = __int128;

// A decimal number with at most `decimals` decimals, as a multiple of 10^-decimals.
Result<std::int64_t> ParseFixed(std::string_view text, int decimals) {
  std::string_view rest = text;
  const bool negative = rest.starts_with('-');
  if (negative) rest.remove_prefix(1);
  Int128 value = 0;
  int digits = 0;
  int decimals_seen = -1;  // Before the point.
  for (const char c : rest) {
    if (c == '.' && decimals_seen < 0) {
      decimals_seen = 0;
      continue;
    }
    if (c < '0' || c > '9') return InvalidInput("'{}' is not a decimal number", text);
    if (decimals_seen >= 0 && ++decimals_seen > decimals) {
      return InvalidInput("'{}' has more than {} decimals", text, decimals);
    }
    value = value * 10 + (c - '0');
    ++digits;
    if (value > INT64_MAX) return InvalidInput("'{}' is too large", text);
  }
  if (digits == 0 || decimals_seen == 0) return InvalidInput("'{}' is not a decimal number", text);
  for (int i = std::max(decimals_seen, 0); i < decimals; ++i) value *= 10;
  if (value > INT64_MAX) return InvalidInput("'{}' is too large", text);
  return static_cast<std::int64_t>(negative ? -value : value);
}

std::string WithThousands(std::string digits) {
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), 1, ',');
  }
  return digits;
}

std::string FixedToText(std::int64_t value, int decimals, bool thousands) {
  const bool negative = value < 0;
  std::string digits = std::to_string(std::abs(value));
  const auto width = static_cast<std::size_t>(decimals) + 1;
  if (digits.size() < width) digits.insert(0, width - digits.size(), '0');
  std::string whole = digits.substr(0, digits.size() - static_cast<std::size_t>(decimals));
  std::string fraction = digits.substr(whole.size());
  fraction.erase(fraction.find_last_not_of('0') + 1);
  if (thousands) whole = WithThousands(std::move(whole));
  return (negative ? "-" : "") + whole + (fraction.empty() ? "" : "." + fraction);
}

}  // namespace

Result<Money> Money::Parse(std::string_view text) {
  ASSIGN_OR_RETURN(const auto nanos, ParseFixed(text, 9));
  return FromNanos(nanos);
}

std::int64_t Money::cents() const {
  constexpr std::int64_t kNanosPerCent = 10'000'000;
  const std::int64_t half = nanos_ < 0 ? -kNanosPerCent / 2 : kNanosPerCent / 2;
  return nanos_ / kNanosPerCent + (nanos_ % kNanosPerCent + half) / kNanosPerCent;
}

std::string ToCents(Money money) {
  const std::int64_t cents = money.cents();
  const std::int64_t absolute = std::abs(cents);
  return fmt::format("{}{}.{:02}", cents < 0 ? "-" : "", WithThousands(std::to_string(absolute / 100)), absolute % 100);
}

std::string ToDecimal(Money money) { return FixedToText(money.nanos(), 9, false); }

Result<Quantity> Quantity::FromDouble(double value) {
  if (!(value >= 0)) return InvalidInput("a quantity of {} makes no sense", value);
  if (value > 9e12) return InvalidInput("a quantity of {:.3g} is more than can be counted here (9e12)", value);
  return FromMicros(std::llround(value * 1e6));
}

Result<Quantity> Quantity::Parse(std::string_view text) {
  ASSIGN_OR_RETURN(const auto micros, ParseFixed(text, 6));
  if (micros < 0) return InvalidInput("'{}' is negative", text);
  return FromMicros(micros);
}

std::string ToDecimal(Quantity quantity) { return FixedToText(quantity.micros(), 6, false); }

std::string ToPeople(Quantity quantity) {
  const std::int64_t micros = quantity.micros();
  // 455,520 but 67.4 and 1.8 and 0.043: what a reader can use.
  const std::int64_t step = micros >= 1'000'000'000 ? 1'000'000 : micros >= 10'000'000 ? 100'000 : 1'000;
  const std::int64_t rounded = (micros + step / 2) / step * step;
  return FixedToText(rounded == 0 ? micros : rounded, 6, true);
}

std::optional<Money> Multiply(Quantity quantity, Money price, std::int64_t per) {
  const Int128 product = static_cast<Int128>(quantity.micros()) * price.nanos();
  const Int128 divisor = static_cast<Int128>(per) * 1'000'000;
  const Int128 nanos = (product + divisor / 2) / divisor;
  if (nanos > kLineMoneyMax.nanos()) return std::nullopt;
  return Money::FromNanos(static_cast<std::int64_t>(nanos));
}

}  // namespace millrace::cost
