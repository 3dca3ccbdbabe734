// What texts could be the values of.
#include "ingest/values/text_shape.h"

#include <gtest/gtest.h>

#include <string>

namespace millrace::ingest {
namespace {

TEST(TextShape, UsualTimes) {
  const auto formats = [](std::string_view text) {
    std::string names;
    const auto bits = UsualTimeFormatsOf(text);
    for (std::size_t i = 0; i < kUsualTimeFormats.size(); ++i) {
      if ((bits >> i & 1) != 0) names += (names.empty() ? "" : "|") + std::string(kUsualTimeFormats[i]);
    }
    return names;
  };
  const std::pair<const char*, const char*> cases[] = {
      {"01/Nov/2026:17:30:00 +0530", "%d/%b/%Y:%H:%M:%S %z"},
      {"2026-11-01T17:30:00.25+0530", "%Y-%m-%dT%H:%M:%S.%f%z"},
      {"Sun, 01 Nov 2026 17:30:00 GMT", "%a, %d %b %Y %H:%M:%S %Z"},
      {"2026-11-01 17:30:00", "%Y-%m-%d %H:%M:%S"},
      {"01/11/2026 17:30:00", "%d/%m/%Y %H:%M:%S|%m/%d/%Y %H:%M:%S"},
      {"31/11/2026 17:30:00", ""},
      {"2026-11-01 17:30:00x", ""},
      {"", ""},
  };
  for (const auto& [text, names] : cases) EXPECT_EQ(formats(text), names) << text;
  EXPECT_EQ(UsualTimeFormatsOf(std::string(1000, '1')), 0U);
}

TEST(TextShape, Base64) {
  for (const char* const text : {"AAECAwQFBgcICQoLDA0ODw==", "aGVsbG8/d29ybGQ+Zm9vYmFy"})
    EXPECT_TRUE(CouldBeBase64(text)) << text;
  // Words, hexadecimal digits, short ones, other letters.
  for (const char* const text : {"internationalize", "0123456789abcdef", "YQ==", "a b c d e f g h=", ""}) {
    EXPECT_FALSE(CouldBeBase64(text)) << text;
  }
}

TEST(TextShape, KindOfText) {
  const std::pair<const char*, TextKind> cases[] = {
      {"", TextKind::kOther},
      {"0", TextKind::kWhole},
      {"-12", TextKind::kWhole},
      {"007", TextKind::kWhole},
      {"1.0", TextKind::kFraction},
      {"1e3", TextKind::kFraction},
      {"1.", TextKind::kOther},
      {".5", TextKind::kOther},
      {"1 2", TextKind::kOther},
      {"-", TextKind::kOther},
      {"1,5", TextKind::kOther},
      {"true", TextKind::kBool},
      {"FALSE", TextKind::kBool},
      {"truth", TextKind::kOther},
      {"2026-02-28", TextKind::kDate},
      {"2026-02-30", TextKind::kOther},
      {"2026-11-01T10:00:00Z", TextKind::kTimestamp},
      {"2026-11-01 10:00:00.123+05:30", TextKind::kTimestamp},
      {"2026-11-01T10:00:00", TextKind::kLocalTimestamp},
      {"2026-11-01T25:00:00Z", TextKind::kOther},
      {"1.2.3.4", TextKind::kOther},
      {"nan", TextKind::kOther},
      {"018F3A6E-7b1c-7abc-8def-0123456789ab", TextKind::kUuid},
      {"018f3a6e7b1c7abc8def0123456789ab", TextKind::kOther},  // Any hash has 32 such digits.
      {"018f3a6e-7b1c-7abc-8def-0123456789ag", TextKind::kOther},
  };
  for (const auto& [text, kind] : cases) EXPECT_EQ(ShapeOfText(text).kind, kind) << text;
  EXPECT_EQ(ShapeOfText(std::string(1000, '1')).kind, TextKind::kWhole);
  EXPECT_EQ(ShapeOfText(std::string(1000, '1') + "x").kind, TextKind::kOther);
}

TEST(TextShape, DigitsOfNumbers) {
  struct Case {
    const char* text;
    int before;
    int after;
  };
  for (const auto& [text, before, after] :
       {Case{"0", 0, 0}, Case{"12", 2, 0}, Case{"-12.50", 2, 2}, Case{"0.05", 0, 2}, Case{"007.5", 1, 1},
        Case{"1e3", 4, 0}, Case{"1.25e1", 2, 1}, Case{"1e-3", 0, 3}, Case{"0e9", 0, 0}, Case{"00", 0, 0}}) {
    EXPECT_EQ(ShapeOfText(text).digits_before_point, before) << text;
    EXPECT_EQ(ShapeOfText(text).digits_after_point, after) << text;
  }
  EXPECT_EQ(ShapeOfText("-9223372036854775808").whole, INT64_MIN);
  EXPECT_EQ(ShapeOfText("9223372036854775808").whole, std::nullopt);
  EXPECT_TRUE(ShapeOfText("-007").has_leading_zero);
  EXPECT_FALSE(ShapeOfText("0.7").has_leading_zero);
  EXPECT_FALSE(ShapeOfText("0").has_leading_zero);
}

}  // namespace
}  // namespace millrace::ingest
