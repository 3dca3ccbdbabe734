/// Money and quantities as whole numbers: USD in nano-dollars, amounts of things in millionths. Nothing drifts.
///
/// Plain values; any thread.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace millrace::cost {

/// US dollars in nano-dollars (10^-9): the smallest unit price in use, 0.0004 USD per thousand requests, is 400 of
/// them.
class Money {
 public:
  constexpr Money() = default;
  static constexpr Money FromNanos(std::int64_t nanos) { return Money(nanos); }
  static constexpr Money FromCents(std::int64_t cents) { return Money(cents * 10'000'000); }
  /// "0.023", "12", "-1.5": at most nine decimals. kInvalidInput says what is wrong.
  static Result<Money> Parse(std::string_view text);

  constexpr std::int64_t nanos() const { return nanos_; }
  /// For charts and ratios alone.
  double dollars() const { return static_cast<double>(nanos_) / 1e9; }
  /// Rounded half away from zero.
  std::int64_t cents() const;

  constexpr auto operator<=>(const Money&) const = default;
  constexpr Money operator+(Money other) const { return Money(nanos_ + other.nanos_); }
  constexpr Money operator-(Money other) const { return Money(nanos_ - other.nanos_); }
  constexpr Money& operator+=(Money other) { return *this = *this + other; }

 private:
  explicit constexpr Money(std::int64_t nanos) : nanos_(nanos) {}
  std::int64_t nanos_ = 0;
};

/// One line may cost this much a month at most, so that sums of lines cannot overflow.
inline constexpr Money kLineMoneyMax = Money::FromCents(100'000'000'00);

/// "1,104.09": cents, thousands separated.
std::string ToCents(Money money);
/// "0.000005", "12", "0.1": exact, without zeros at the end.
std::string ToDecimal(Money money);

/// How much of something, in millionths of its unit.
class Quantity {
 public:
  constexpr Quantity() = default;
  static constexpr Quantity FromMicros(std::int64_t micros) { return Quantity(micros); }
  /// Rounded to a millionth. kInvalidInput: negative, not a number, or more than 9*10^12.
  static Result<Quantity> FromDouble(double value);
  /// Not negative, at most six decimals.
  static Result<Quantity> Parse(std::string_view text);

  constexpr std::int64_t micros() const { return micros_; }
  double value() const { return static_cast<double>(micros_) / 1e6; }
  constexpr auto operator<=>(const Quantity&) const = default;
  constexpr Quantity operator+(Quantity other) const { return Quantity(micros_ + other.micros_); }
  constexpr Quantity operator-(Quantity other) const { return Quantity(micros_ - other.micros_); }

 private:
  explicit constexpr Quantity(std::int64_t micros) : micros_(micros) {}
  std::int64_t micros_ = 0;
};

/// "1555.2": exact, without zeros at the end.
std::string ToDecimal(Quantity quantity);
/// "1,555.2", "455,520": for people, three significant decimals at most.
std::string ToPeople(Quantity quantity);

/// `quantity` at `price` for every `per` units, rounded half up to a nano-dollar; nullopt: more than kLineMoneyMax.
/// `price` is not negative, `per` is positive.
std::optional<Money> Multiply(Quantity quantity, Money price, std::int64_t per);

}  // namespace millrace::cost
