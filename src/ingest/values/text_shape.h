/// What a text could be the value of, as decoders read texts: for who guesses types from values.
#pragma once

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
  kLocalTimestamp,  ///< The same without an offset: no column reads it as a time.
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

}  // namespace millrace::ingest
