#include <array>
#include <charconv>
#include <cmath>
#include <string>

#include "ingest/values/number_text_internal.h"

namespace millrace::ingest {
namespace {

__extension__ using Uint128 = unsigned __int128;

constexpr std::size_t kMaxDoubleDigits = 767;  // No double has more of them that count.
constexpr int kMaxDigits = 38;                 // 10^38 is the largest power of ten below 2^128.

constexpr std::array<Uint128, kMaxDigits + 1> MakePowers() {
  std::array<Uint128, kMaxDigits + 1> powers{};
  powers[0] = 1;
  for (std::size_t i = 1; i < powers.size(); ++i) powers[i] = powers[i - 1] * 10;
  return powers;
}
constexpr auto kPowers = MakePowers();

constexpr double kExactPowers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

// What is cut off of a number, in units of the last digit that is not.
enum class Tail { kNone, kBelowHalf, kHalf, kAboveHalf };

// digits * 10^exponent, plus the tail of 10^exponent.
struct Significant {
  Uint128 digits = 0;
  std::int64_t exponent = 0;
  Tail tail = Tail::kNone;
};

Tail TailOf(unsigned digit) {
  if (digit == 0) return Tail::kNone;
  return digit < 5 ? Tail::kBelowHalf : digit == 5 ? Tail::kHalf : Tail::kAboveHalf;
}

// Digits follow that are not all zeros, if `more`.
Tail WithMore(Tail tail, bool more) {
  if (!more) return tail;
  return tail == Tail::kNone ? Tail::kBelowHalf : tail == Tail::kHalf ? Tail::kAboveHalf : tail;
}

// The leading 38 digits that are not leading zeros.
Significant ReadSignificant(const NumberText& number) {
  if (number.exact) return {.digits = number.digits, .exponent = number.exponent};
  Significant result{.exponent = number.exponent};
  std::int64_t num_cut = 0;
  for (const char* p = number.begin + number.negative; p != number.end && (*p | 0x20) != 'e'; ++p) {
    if (*p == '.') continue;
    const auto digit = static_cast<unsigned>(*p - '0');
    if (result.digits < kPowers[kMaxDigits - 1]) {
      result.digits = result.digits * 10 + digit;
    } else {
      result.tail = num_cut++ == 0 ? TailOf(digit) : WithMore(result.tail, digit != 0);
      ++result.exponent;
    }
  }
  return result;
}

// floor(magnitude * 10^scale) in at most `precision` digits; `*cut`: what was cut off.
NumberError Scale(const Significant& number, int precision, int scale, Uint128* value, Tail* cut) {
  *value = 0;
  *cut = Tail::kNone;
  if (number.digits == 0) return NumberError::kNone;
  const std::int64_t shift = number.exponent + scale;
  *cut = number.tail;
  if (shift >= 0) {
    if (shift >= precision || number.digits >= kPowers[precision - shift]) return NumberError::kOverflow;
    *value = number.digits * kPowers[shift];
    return NumberError::kNone;
  }
  if (shift < -kMaxDigits) {
    *cut = Tail::kBelowHalf;
    return NumberError::kNone;
  }
  const Uint128 divisor = kPowers[-shift];
  *value = number.digits / divisor;
  const Uint128 rest = number.digits - *value * divisor;
  if (rest == 0) {
    *cut = Tail::kNone;
  } else {
    *cut = rest * 2 < divisor ? Tail::kBelowHalf : rest * 2 == divisor ? Tail::kHalf : Tail::kAboveHalf;
  }
  *cut = WithMore(*cut, number.tail != Tail::kNone);
  return *value >= kPowers[precision] ? NumberError::kOverflow : NumberError::kNone;
}

}  // namespace

NumberError ToDouble(const NumberText& number, double* value) {
  // Clinger's fast path: both operands are exact doubles, so one operation rounds once.
  if (number.exact && number.digits <= (1ULL << 53) && number.exponent >= -22 && number.exponent <= 22) {
    const auto digits = static_cast<double>(number.digits);
    const double magnitude = number.exponent < 0 ? digits / kExactPowers[-number.exponent]  //
                                                 : digits * kExactPowers[number.exponent];
    *value = number.negative ? -magnitude : magnitude;
    return NumberError::kNone;
  }
  const auto [end, error] = std::from_chars(number.begin, number.end, *value);
  if (error == std::errc() && !std::isinf(*value)) return NumberError::kNone;
  // from_chars reports one and the same error for both ends of the range.
  const Significant significant = ReadSignificant(number);
  if (significant.digits != 0 && significant.exponent > -kMaxDigits) return NumberError::kOverflow;
  *value = number.negative ? -0.0 : 0.0;
  return NumberError::kNone;
}

NumberError ToScaledInteger(const NumberText& number, int precision, int scale, Rounding rounding, Int128* value) {
  const std::int64_t shift = number.exponent + scale;
  if (shift == 0 && number.exact && precision >= 20) {
    *value = number.negative ? -static_cast<Int128>(number.digits) : static_cast<Int128>(number.digits);
    return NumberError::kNone;
  }
  if (number.exact && shift >= 0 && shift < precision && precision <= 18) {
    const auto limit = static_cast<std::uint64_t>(kPowers[precision - shift]);
    if (number.digits >= limit) return NumberError::kOverflow;
    const auto scaled = static_cast<std::int64_t>(number.digits * static_cast<std::uint64_t>(kPowers[shift]));
    *value = number.negative ? -scaled : scaled;
    return NumberError::kNone;
  }
  Uint128 magnitude = 0;
  Tail cut = Tail::kNone;
  const NumberError error = Scale(ReadSignificant(number), precision, scale, &magnitude, &cut);
  if (error != NumberError::kNone) return error;
  if (cut != Tail::kNone && rounding == Rounding::kExact) return NumberError::kTooManyDecimals;
  const bool is_half_up = rounding == Rounding::kHalfUp || (rounding == Rounding::kHalfEven && magnitude % 2 == 1);
  if (rounding != Rounding::kDown && (cut == Tail::kAboveHalf || (cut == Tail::kHalf && is_half_up))) ++magnitude;
  if (magnitude >= kPowers[precision]) return NumberError::kOverflow;
  *value = number.negative ? -static_cast<Int128>(magnitude) : static_cast<Int128>(magnitude);
  return NumberError::kNone;
}

NumberError ToMicros(const NumberText& number, int scale, std::int64_t* value) {
  Uint128 magnitude = 0;
  Tail cut = Tail::kNone;
  const NumberError error = Scale(ReadSignificant(number), 18, scale, &magnitude, &cut);
  if (error != NumberError::kNone) return error;
  const auto whole = static_cast<std::int64_t>(magnitude);
  *value = number.negative ? -whole - (cut != Tail::kNone ? 1 : 0) : whole;
  return NumberError::kNone;
}

bool HoldsAllDigits(const NumberText& number, double value) {
  // Any 15 digits are held, where doubles are not subnormal.
  if (number.exact && number.digits < 1'000'000'000'000'000 && number.exponent > -290) return true;
  std::string digits;
  for (const char* p = number.begin + number.negative; p != number.end && (*p | 0x20) != 'e'; ++p) {
    if (*p != '.' && (*p != '0' || !digits.empty())) digits += *p;
  }
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.empty()) return true;
  if (digits.size() > kMaxDoubleDigits) return false;
  std::array<char, kMaxDoubleDigits + 16> buffer;
  const auto written = std::to_chars(buffer.data(), buffer.data() + buffer.size(), std::fabs(value),
                                     std::chars_format::scientific, static_cast<int>(digits.size()) - 1);
  std::string held;
  for (const char* p = buffer.data(); p != written.ptr && *p != 'e'; ++p) {
    if (*p != '.') held += *p;
  }
  return held == digits;
}

}  // namespace millrace::ingest
