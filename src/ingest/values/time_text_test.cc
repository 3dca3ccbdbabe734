// Dates and timestamps from text, against the calendar of <chrono>.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "ingest/values/time_text_internal.h"

namespace millrace::ingest {
namespace {

namespace chrono = std::chrono;

UnixMicros Utc(int year, unsigned month, unsigned day, int hour = 0, int minute = 0, int second = 0, int micros = 0) {
  const auto date = chrono::sys_days(chrono::year(year) / static_cast<int>(month) / static_cast<int>(day));
  return (static_cast<UnixMicros>(date.time_since_epoch().count()) * 86'400 + hour * 3600 + minute * 60 + second) *
             1'000'000 +
         micros;
}

TEST(TimeText, EveryDayOfTheYears1To9999) {
  const auto first = chrono::sys_days(chrono::year(1) / 1 / 1);
  const auto last = chrono::sys_days(chrono::year(9999) / 12 / 31);
  for (auto day = first; day <= last; day += chrono::days(1)) {
    const chrono::year_month_day date(day);
    const auto year = static_cast<int>(date.year());
    const auto month = static_cast<int>(static_cast<unsigned>(date.month()));
    const auto day_of_month = static_cast<int>(static_cast<unsigned>(date.day()));
    ASSERT_EQ(DaysFromCivil(year, month, day_of_month), day.time_since_epoch().count());
  }
}

TEST(TimeText, EveryDateTextIsADayOrNot) {
  for (int year : {0, 1, 4, 1900, 1970, 2000, 2023, 2024, 9999}) {
    for (int month = 0; month <= 13; ++month) {
      for (int day = 0; day <= 32; ++day) {
        const std::string text = fmt::format("{:04}-{:02}-{:02}", year, month, day);
        const chrono::year_month_day date(chrono::year(year), chrono::month(static_cast<unsigned>(month)),
                                          chrono::day(static_cast<unsigned>(day)));
        std::int32_t days = 0;
        if (year != 0 && date.ok()) {
          ASSERT_EQ(ParseDate(text, &days), TimeError::kNone) << text;
          ASSERT_EQ(days, chrono::sys_days(date).time_since_epoch().count()) << text;
        } else {
          ASSERT_EQ(ParseDate(text, &days), TimeError::kRange) << text;
        }
      }
    }
  }
  std::int32_t days = 0;
  for (const char* text : {"", "2024", "2024-1-01", "2024-01-1", "24-01-01", "2024/01/01", "2024-01-01 ", " 2024-01-01",
                           "2024-01-01T00:00:00Z", "+2024-01-01", "-024-01-01", "2024-0a-01", "12024-01-01"}) {
    EXPECT_EQ(ParseDate(text, &days), TimeError::kShape) << text;
  }
}

TEST(TimeText, FractionsOfUpToSixDigits) {
  for (int digits = 0; digits <= 8; ++digits) {
    for (int value : {0, 1, 9, 12, 345, 999, 6789, 40506, 123456, 999999, 7654321, 12345678, 99999999}) {
      const std::string written = fmt::format("{:08}", value).substr(8 - static_cast<std::size_t>(digits));
      for (const char* behind :
           {"Z\"}      ", "+02:00   ", "/        ", ":        ", "\xFF\x39\x39      ", "        9"}) {
        const Fraction fraction = ScanFraction((written + behind).c_str());
        const std::string six = (written + "000000").substr(0, 6);
        ASSERT_EQ(fraction.num_digits, std::min(digits, 6)) << written << behind;
        ASSERT_EQ(fraction.micros, std::stoi(six)) << written << behind;
      }
    }
  }
}

TEST(TimeText, TimestampsThatAreTaken) {
  struct Case {
    const char* text;
    UnixMicros want;
  };
  const Case cases[] = {
      {"1970-01-01T00:00:00Z", 0},
      {"2026-03-01T12:34:56.789Z", Utc(2026, 3, 1, 12, 34, 56, 789'000)},
      {"2026-03-01t12:34:56z", Utc(2026, 3, 1, 12, 34, 56)},
      {"2026-03-01 12:34:56.5Z", Utc(2026, 3, 1, 12, 34, 56, 500'000)},
      {"2026-03-01T12:34:56.123456Z", Utc(2026, 3, 1, 12, 34, 56, 123'456)},
      {"2026-03-01T12:34:56.123456999Z", Utc(2026, 3, 1, 12, 34, 56, 123'456)},
      {"1969-12-31T23:59:59.999999999Z", -1},
      {"2026-03-01T00:30:00+01:00", Utc(2026, 2, 28, 23, 30)},
      {"2026-03-01T00:30:00-05:30", Utc(2026, 3, 1, 6, 0)},
      {"2026-03-01T00:30:00+00:00", Utc(2026, 3, 1, 0, 30)},
      {"2026-03-01T00:30:00-00:00", Utc(2026, 3, 1, 0, 30)},
      {"2024-02-29T23:59:59Z", Utc(2024, 2, 29, 23, 59, 59)},
      {"2016-12-31T23:59:60Z", Utc(2017, 1, 1)},
      {"2016-12-31T23:59:60.25Z", Utc(2017, 1, 1, 0, 0, 0, 250'000)},
      {"2017-01-01T00:59:60+01:00", Utc(2017, 1, 1)},
      {"0001-01-01T00:00:00Z", kMinTimestamp},
      {"9999-12-31T23:59:59.999999Z", kMaxTimestamp},
      {"9999-12-31T23:59:59.999999999Z", kMaxTimestamp},
  };
  for (const Case& c : cases) {
    UnixMicros micros = 0;
    ASSERT_EQ(ParseTimestamp(c.text, &micros), TimeError::kNone) << c.text;
    EXPECT_EQ(micros, c.want) << c.text;
  }
}

TEST(TimeText, TimestampsThatAreNot) {
  UnixMicros micros = 0;
  for (const char* text :
       {"", "now", "2026-03-01", "2026-03-01T12:34", "2026-03-01T12:34Z", "2026-03-01T12:34:56",
        "2026-03-01T12:34:56.Z", "2026-03-01T12:34:56.1234567890Z", "2026-03-01_12:34:56Z", "2026-03-01T12:34:56+0100",
        "2026-03-01T12:34:56+01", "2026-03-01T12:34:56Z ", "2026-03-01T12:34:56ZZ", "2026-03-01T12:34:5Z",
        "2026-3-01T12:34:56Z", "2026-03-01T12-34-56Z", "2026-03-01T12:34:56,5Z", "1700000000"}) {
    EXPECT_EQ(ParseTimestamp(text, &micros), TimeError::kShape) << text;
  }
  for (const char* text :
       {"2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-03-01T24:00:00Z",
        "2026-03-01T12:60:00Z", "2026-03-01T12:00:61Z", "2026-03-01T12:34:60Z", "2016-12-31T23:59:60+01:00",
        "2026-03-01T00:00:00+24:00", "2026-03-01T00:00:00+00:60", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01", "9999-12-31T23:59:60Z"}) {
    EXPECT_EQ(ParseTimestamp(text, &micros), TimeError::kRange) << text;
  }
}

}  // namespace
}  // namespace millrace::ingest
