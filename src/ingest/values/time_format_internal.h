/// Dates and times in a text of the user's own shape.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "ingest/value_form.h"
#include "ingest/values/time_text_internal.h"

namespace millrace::ingest {

/// A format of strptime's, made by ParseTimeFormat(). Immutable.
class TimeFormat {
 public:
  /// kShape: not of this format, to the last letter. kRange: of the format, but no such time.
  TimeError Read(std::string_view text, UnixMicros* micros) const;

  const std::string& text() const { return text_; }

 private:
  friend Result<std::shared_ptr<const TimeFormat>> ParseTimeFormat(std::string_view format);

  // What the text must say next.
  struct Part {
    char directive = '\0';  // 0: the literal. ' ': one space or several.
    char literal = '\0';
  };
  class Parser;
  class Reader;

  std::string text_;
  std::vector<Part> parts_;
};

}  // namespace millrace::ingest
