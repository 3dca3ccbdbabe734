/// How the values of a column are read, beside what its Arrow type says.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace millrace::ingest {

/// How the value of a timestamp column reads.
enum class TimestampForm {
  kRfc3339,
  kRfc3339OrMicros,  ///< A number counts microseconds. In code only.
  kSeconds,
  kMillis,
  kMicros,
  kNanos,
  kFormat  ///< Text as ValueForm::time_format says.
};

/// What the texts of a column of texts are.
enum class TextForm {
  kPlain,
  kUuid,  ///< 8-4-4-4-12 hexadecimal digits in lower case, however it came.
  kJson   ///< JSON, of a value of any shape.
};

/// What becomes of digits that an integer or decimal column has no place for.
enum class Rounding {
  kExact,     ///< The value does not fit.
  kHalfUp,    ///< To the nearest; halves away from zero, as SQL's ROUND.
  kHalfEven,  ///< To the nearest; halves to the even digit.
  kDown       ///< Towards zero.
};

/// Dates and times in a text of the user's own shape, such as "%d/%b/%Y:%H:%M:%S %z".
class TimeFormat;

/// kInvalidInput, naming the directive and its place: one that there is not, one twice, or a format that does not say
/// which day it is. Directives: docs/configuration.md.
Result<std::shared_ptr<const TimeFormat>> ParseTimeFormat(std::string_view format);
/// As the user wrote it.
std::string_view TextOf(const TimeFormat& format);

/// Of a list that of its elements, of a map that of its values.
struct ValueForm {
  ValueForm(TimestampForm form = TimestampForm::kRfc3339) : timestamp(form) {}

  TimestampForm timestamp;                                  ///< Of timestamp columns.
  std::shared_ptr<const TimeFormat> time_format = nullptr;  ///< kFormat only.
  TextForm text = TextForm::kPlain;                         ///< Of utf8 columns.
  Rounding rounding = Rounding::kExact;                     ///< Of integer and decimal columns.
  /// Values of another type are read as the text that they are or are written as: "5" in an integer column, 5 in one of
  /// texts.
  bool coerce = false;
  std::vector<ValueForm> members;  ///< Of a struct, one for each; empty: all as they are by themselves.
};

}  // namespace millrace::ingest
