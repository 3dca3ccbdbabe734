// Formats that users write. tests/interop/column_values_test.py compares with Python's strptime.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "ingest/values/time_format_internal.h"
#include "testing/status_matchers.h"

namespace millrace::ingest {
namespace {

using ::testing::HasSubstr;

constexpr UnixMicros kNovember = 1'762'012'800'000'000;  // 2025-11-01T16:00:00Z

std::string Read(std::string_view format, std::string_view text) {
  const auto parsed = ParseTimeFormat(format);
  if (!parsed.ok()) return parsed.status().message();
  UnixMicros micros = 0;
  switch ((*parsed)->Read(text, &micros)) {
    case TimeError::kNone:
      return std::to_string(micros);
    case TimeError::kShape:
      return "shape";
    case TimeError::kRange:
      return "range";
  }
  return "";
}

TEST(TimeFormat, TextsThatAreTaken) {
  struct Case {
    const char* format;
    const char* text;
    UnixMicros want;
  };
  const Case cases[] = {
      {"%d/%b/%Y:%H:%M:%S %z", "01/Nov/2025:21:30:00 +0530", kNovember},
      {"%d/%b/%Y:%H:%M:%S %z", "1/NOV/2025:16:00:00  +00:00", kNovember},
      {"%d/%b/%Y:%H:%M:%S %z", "01/Nov/2025:12:00:00 -04", kNovember},
      {"%d/%b/%Y:%H:%M:%S %z", "01/Nov/2025:16:00:00 Z", kNovember},
      {"%a, %d %B %Y %I:%M:%S %p", "Sat, 01 November 2025 04:00:00 pm", kNovember},
      {"%A %e %h %Y %I %p", "saturday  1 nov 2025 4 PM", kNovember},
      {"%Y-%m-%d %I%p", "2025-11-01 12AM", kNovember - 16 * 3600 * kSecond},
      {"%FT%T.%fZ", "2025-11-01T16:00:00.123456789Z", kNovember + 123'456},
      {"%FT%T.%f", "1969-12-31T23:59:59.9999999", -1},
      {"%y%m%d%H%M%S", "251101160000", kNovember},
      {"%D %R", "11/01/25 16:00", kNovember},
      {"%Y %j", "2024 366", 1'735'603'200'000'000},
      {"%s", "-1", -kSecond},
      {"%s.%f", "-0.5", -500'000},
      {"at %s s", "at 1762012800 s", kNovember},
      {"%Y%%%m%%%d %Z", "2025%11%1 utc", kNovember - 16 * 3600 * kSecond},
      {"%F %T", "2016-12-31 23:59:60", 1'483'228'800'000'000},
      {"%F", "0001-01-01", kMinTimestamp},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Read(c.format, c.text), std::to_string(c.want)) << c.format << " " << c.text;
  }
}

TEST(TimeFormat, TextsThatAreNot) {
  struct Case {
    const char* format;
    const char* text;
    const char* want;
  };
  const Case cases[] = {
      {"%F", "2025-11-01 ", "shape"},
      {"%F", "2025-11", "shape"},
      {"%F", "25-11-01", "shape"},
      {"%F", "", "shape"},
      {"%d %b %Y", "01Nov2025", "shape"},
      {"%d %b %Y", "01 Nav 2025", "shape"},
      {"%F %I %p", "2025-11-01 4 xm", "shape"},
      {"%F %z", "2025-11-01 0530", "shape"},
      {"%F %z", "2025-11-01 +053", "shape"},
      {"%F %z", "2025-11-01 +05:", "shape"},
      {"%F %Z", "2025-11-01 CET", "shape"},
      {"%F %T.%f", "2025-11-01 16:00:00.", "shape"},
      {"%F %T.%f", "2025-11-01 16:00:00.1234567890", "shape"},
      {"%F", "2025-02-29", "range"},
      {"%F", "2025-13-01", "range"},
      {"%F", "0000-01-01", "range"},
      {"%F %H", "2025-11-01 24", "range"},
      {"%F %I %p", "2025-11-01 13 am", "range"},
      {"%F %I %p", "2025-11-01 0 am", "range"},
      {"%F %T", "2025-11-01 16:00:60", "range"},
      {"%F %z", "2025-11-01 +24:00", "range"},
      {"%F %z", "2025-11-01 +05:60", "range"},
      {"%F %z", "0001-01-01 +01:00", "range"},
      {"%Y %j", "2025 366", "range"},
      {"%Y %j", "2025 0", "range"},
      {"%Y %j", "0000 1", "range"},
      {"%s", "999999999999999999999999", "range"},
      {"%s", "253402300800", "range"},
      {"%s", "-", "shape"},
  };
  for (const Case& c : cases) EXPECT_EQ(Read(c.format, c.text), c.want) << c.format << " " << c.text;
}

TEST(TimeFormat, FormatsThatSayNoTimeAreRefused) {
  struct Case {
    const char* format;
    const char* want;
  };
  const Case cases[] = {
      {"", "does not say which day it is"},
      {"%H:%M", "does not say which day it is"},
      {"%m-%d", "does not say which day it is"},
      {"%Y-%d", "does not say which day it is"},
      {"%Y-%m-%d %Y", "says the year twice"},
      {"%Y-%y-%m-%d", "says the year twice"},
      {"%F %d", "says the day of the month twice"},
      {"%F %j", "says the day twice, by %j and by the month"},
      {"%F %I", "has %I, hours up to 12, and no %p"},
      {"%F %H %p", "has %p and no %I"},
      {"%F %Q", "there is no directive '%Q' (at character 4)"},
      {"%F %", "ends in the middle of a directive"},
      {"%s %H", "%s says the hour already"},
  };
  for (const Case& c : cases) {
    const auto made = ParseTimeFormat(c.format);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, made);
    EXPECT_THAT(made.status().message(), HasSubstr(c.want)) << c.format;
  }
}

}  // namespace
}  // namespace millrace::ingest
