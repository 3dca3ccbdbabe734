/// The text of a JSON number, and its exact value in the types of the columns.
#pragma once

#include <cstdint>

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
