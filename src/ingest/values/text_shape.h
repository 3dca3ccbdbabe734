/// What a text could be the value of, as decoders read texts: for who guesses types from values.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace millrace::ingest {

enum class TextKind : std::uint8_t {
  kOther,
  kWhole,           ///< A number without fraction and exponent.
  kFraction,        ///< Another number.
  kBool,            ///< true, false, in any case of letters.
  kDate,            ///< YYYY-MM-DD.
  kTimestamp,       ///< RFC 3339, with its offset.
  kLocalTimestamp,  ///< The same without an offset: a column needs a format to read it as a time.
  kUuid,            ///< 8-4-4-4-12 hexadecimal digits.
};

struct TextShape {
  TextKind kind = TextKind::kOther;
  // Of numbers:
  int digits_before_point = 0;             ///< Leading zeros do not count; 1e3 has four.
  int digits_after_point = 0;              ///< Trailing zeros count where they are written; 1e-3 has three.
  std::optional<std::int64_t> whole = {};  ///< Of kWhole, if 64 bits hold it.
  bool has_leading_zero = false;           ///< 007, as codes have it and counts have not.
};

/// Of the whole text, without blanks around it.
TextShape ShapeOfText(std::string_view text);

/// How people and programs write times beside RFC 3339, as ParseTimeFormat() takes it.
inline constexpr std::array kUsualTimeFormats = {
    "%Y-%m-%dT%H:%M:%S%z",  "%Y-%m-%dT%H:%M:%S.%f%z",   "%Y-%m-%d %H:%M:%S %z",     "%Y-%m-%d %H:%M:%S.%f %z",
    "%d/%b/%Y:%H:%M:%S %z", "%a, %d %b %Y %H:%M:%S %z", "%a, %d %b %Y %H:%M:%S %Z", "%Y-%m-%d %H:%M:%S %Z",
    "%Y-%m-%dT%H:%M:%S",    "%Y-%m-%dT%H:%M:%S.%f",     "%Y-%m-%d %H:%M:%S",        "%Y-%m-%d %H:%M:%S.%f",
    "%a %b %d %H:%M:%S %Y", "%Y/%m/%d %H:%M:%S",        "%d.%m.%Y %H:%M:%S",        "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S"};
/// Bit i: the whole text is of kUsualTimeFormats[i].
std::uint32_t UsualTimeFormatsOf(std::string_view text);

/// It is base64 (RFC 4648) of 12 bytes or more, with a letter that words and hexadecimal digits have not.
bool CouldBeBase64(std::string_view text);

}  // namespace millrace::ingest
