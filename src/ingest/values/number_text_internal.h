/// The text of a JSON number, and its exact value in the types of the columns.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>

#include "ingest/value_form.h"

namespace millrace::ingest {

__extension__ using Int128 = __int128;

enum class NumberError : std::uint8_t {
  kNone,
  kOverflow,        ///< Larger than the type holds.
  kTooManyDecimals  ///< Digits beyond the scale that are not zeros.
};

/// value = digits * 10^exponent, negated if `negative`. `digits` is valid only if `exact`: at most 19 digits in the
/// text.
struct NumberText {
  const char* begin = nullptr;
  const char* end = nullptr;
  std::uint64_t digits = 0;
  std::int64_t exponent = 0;  ///< Saturates far outside of every type's range.
  bool negative = false;
  bool exact = true;
  bool integer = true;  ///< Written without a fraction or an exponent.
};

/// The number that begins at `p`, which ends with a byte that no number contains (the caller's buffer is padded).
/// False if the text there does not follow JSON's grammar of numbers; `number->end` is then where it failed.
inline bool ScanNumber(const char* p, NumberText* number) {
  const auto digit = [](const char* at) { return static_cast<unsigned char>(*at - '0'); };
  number->begin = p;
  number->negative = *p == '-';
  p += number->negative;
  std::uint64_t digits = digit(p);
  if (digits > 9) {
    number->end = p;
    return false;
  }
  const char* first_digit = p++;
  std::int64_t num_digits = 1;
  if (digits != 0) {
    while (digit(p) <= 9) digits = digits * 10 + digit(p++);
    num_digits = p - first_digit;
  }
  std::int64_t exponent = 0;
  bool integer = true;
  if (*p == '.') {
    integer = false;
    const char* fraction = ++p;
    while (digit(p) <= 9) digits = digits * 10 + digit(p++);
    exponent = fraction - p;
    if (exponent == 0) {
      number->end = p;
      return false;
    }
    num_digits -= exponent;
  }
  if ((*p | 0x20) == 'e') {
    integer = false;
    ++p;
    const bool below = *p == '-';
    if (below || *p == '+') ++p;
    if (digit(p) > 9) {
      number->end = p;
      return false;
    }
    std::int64_t power = 0;
    while (digit(p) <= 9) {
      // Beyond this every type is out of range, whatever the digits of a payload of bounded size.
      if (power < 1'000'000'000) power = power * 10 + digit(p);
      ++p;
    }
    exponent += below ? -power : power;
  }
  number->end = p;
  number->digits = digits;
  number->exponent = exponent;
  number->exact = num_digits <= 19;
  number->integer = integer;
  return true;
}

/// 10 to the power of each index.
inline constexpr std::array<std::int64_t, 19> kPowersOfTen = [] {
  std::array<std::int64_t, 19> powers{1};
  for (std::size_t i = 1; i < powers.size(); ++i) powers[i] = powers[i - 1] * 10;
  return powers;
}();

/// Whether the number has at most `precision` digits.
inline bool HasDigits(std::int64_t number, int precision) {
  if (precision >= std::ssize(kPowersOfTen)) return true;
  const std::int64_t limit = kPowersOfTen[static_cast<std::size_t>(precision)];
  return -limit < number && number < limit;
}

/// number * 10^scale of a text such as -12.50, where that is a whole number of at most `precision` digits and nothing
/// is out of the ordinary. False: read it in another way, which also tells what is wrong.
inline bool ReadShortDecimal(std::string_view text, int precision, int scale, std::int64_t* value) {
  constexpr std::ptrdiff_t kMaxBytes = 18;
  const char* p = text.data();
  const char* const end = p + text.size();
  const bool negative = p != end && *p == '-';
  p += negative;
  if (p == end || end - p > kMaxBytes) return false;
  const auto digit = [](const char* at) { return static_cast<unsigned char>(*at - '0'); };
  const char* const first = p;
  std::int64_t digits = 0;
  for (; p != end && digit(p) <= 9; ++p) digits = digits * 10 + digit(p);
  if (p == first || (*first == '0' && p - first > 1)) return false;
  int shift = scale;
  if (p != end) {
    if (*p != '.' || p + 1 == end) return false;
    shift -= static_cast<int>(end - p - 1);
    while (++p != end) {
      if (digit(p) > 9) return false;
      digits = digits * 10 + digit(p);
    }
  }
  const int most = std::min<int>(precision, std::ssize(kPowersOfTen) - 1);
  if (shift < 0 || shift > most || !HasDigits(digits, most - shift)) return false;
  digits *= kPowersOfTen[static_cast<std::size_t>(shift)];
  *value = negative ? -digits : digits;
  return true;
}

/// The double nearest to the number, ties to even. Too small to tell from zero: zero with the number's sign.
NumberError ToDouble(const NumberText& number, double* value);

/// number * 10^scale, rounded to an integer of at most `precision` (1 to 38) decimal digits. kTooManyDecimals:
/// `rounding` is kExact, and it is none.
NumberError ToScaledInteger(const NumberText& number, int precision, int scale, Rounding rounding, Int128* value);

/// Floor of number * 10^scale: with scale 6 seconds to microseconds, with -3 nanoseconds. kOverflow if it has more than
/// 18 digits, which is as many as the microseconds of the year 9999.
NumberError ToMicros(const NumberText& number, int scale, std::int64_t* value);

/// `value`, from ToDouble(), written in decimal with as many digits as the number has, is the number: nothing that was
/// written is lost. True of whatever a producer printed of a double, however many digits it prints; false of
/// 9007199254740993.5, which is 9007199254740994 as a double, and of what became zero.
bool HoldsAllDigits(const NumberText& number, double value);

}  // namespace millrace::ingest
