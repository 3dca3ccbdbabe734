// Numbers from their text: exact where the type is exact, nearest where it is not. Oracles: strtod, and 128-bit
// integers that are printed here by the simplest means.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>

#include "ingest/values/number_text_internal.h"

namespace millrace::ingest {
namespace {

NumberText Scan(const std::string& text) {
  NumberText number;
  EXPECT_TRUE(ScanNumber(text.c_str(), &number)) << text;
  EXPECT_EQ(number.end, text.c_str() + text.size()) << text;
  return number;
}

std::string Digits(Int128 value) {
  std::string text;
  const bool negative = value < 0;
  do {
    const int digit = static_cast<int>(value % 10);
    text.insert(text.begin(), static_cast<char>('0' + (digit < 0 ? -digit : digit)));
    value /= 10;
  } while (value != 0);
  return negative ? "-" + text : text;
}

TEST(NumberText, FollowsTheGrammarOfJson) {
  for (const char* text : {"0", "-0", "10", "-1.5", "1e5", "1E+5", "0.0e-0", "123456789012345678901234567890"})
    Scan(text);
  for (const char* text : {"", "-", "+1", ".5", "1.", "1.e5", "1e", "1e+", "-a", "e5", "Infinity", "NaN"}) {
    NumberText number;
    EXPECT_FALSE(ScanNumber(text, &number)) << text;
  }
  // A leading zero ends the number; its caller then finds a digit where none may be.
  const std::string zero = "012";
  NumberText number;
  EXPECT_TRUE(ScanNumber(zero.c_str(), &number));
  EXPECT_EQ(number.end, zero.c_str() + 1);
}

// What the short way takes it takes as the long one does, and it takes what is ordinary.
TEST(NumberText, ShortDecimalsAreAsLongOnes) {
  std::mt19937_64 random(20260729);
  const auto check = [](const std::string& text, int precision, int scale) {
    std::int64_t value = 0;
    if (!ReadShortDecimal(text, precision, scale, &value)) return false;
    NumberText number;
    Int128 want = 0;
    EXPECT_TRUE(ScanNumber(text.c_str(), &number) && number.end == text.c_str() + text.size()) << text;
    EXPECT_EQ(ToScaledInteger(number, precision, scale, Rounding::kExact, &want), NumberError::kNone) << text;
    EXPECT_EQ(static_cast<Int128>(value), want) << text << " as decimal(" << precision << "," << scale << ")";
    return true;
  };
  int taken = 0;
  for (int i = 0; i < 200'000; ++i) {
    std::string text;
    for (std::size_t left = random() % 22; left > 0; --left)
      text += "00123456789.-e"[random() % (i % 2 == 0 ? 12 : 14)];
    const int precision = 1 + static_cast<int>(random() % 38);
    taken += check(text, precision, static_cast<int>(random() % static_cast<std::uint64_t>(precision + 1))) ? 1 : 0;
  }
  EXPECT_GT(taken, 10'000);
  struct Case {
    const char* text;
    int precision;
    int scale;
    bool taken;
  };
  for (const Case& c :
       {Case{"0", 1, 0, true}, Case{"-0", 12, 2, true}, Case{"12.5", 3, 1, true}, Case{"99.99", 4, 2, true},
        Case{"-99.99", 38, 2, true}, Case{"123456789012345678", 18, 0, true}, Case{"1.00", 12, 2, true},
        Case{"100.00", 4, 2, false}, Case{"1.000", 12, 2, false}, Case{"", 12, 2, false}, Case{"-", 12, 2, false},
        Case{".5", 12, 2, false}, Case{"1.", 12, 2, false}, Case{"01", 12, 2, false}, Case{"1e1", 12, 2, false},
        Case{"1.5x", 12, 2, false}, Case{" 1", 12, 2, false}, Case{"1234567890123456789", 38, 0, false},
        Case{"1", 38, 30, false}}) {
    EXPECT_EQ(check(c.text, c.precision, c.scale), c.taken) << c.text;
  }
}

TEST(NumberText, DoublesAreNearest) {
  const char* const texts[] = {"0",
                               "-0",
                               "0.1",
                               "1e22",
                               "1e23",
                               "9007199254740993",
                               "9007199254740993.0000000000000000000000000001",
                               "1.7976931348623157e308",
                               "4.9e-324",
                               "2.2250738585072011e-308",
                               "2.2250738585072014e-308",
                               "123456789012345678901234567890e-20",
                               "0.000000000000000000000000000000000000000000000000000000000000123e60",
                               "1e-400",
                               "-1e-400",
                               "0e999999999999"};
  for (const char* text : texts) {
    double value = 1;
    ASSERT_EQ(ToDouble(Scan(text), &value), NumberError::kNone) << text;
    const double want = std::strtod(text, nullptr);
    EXPECT_EQ(value, want) << text;
    EXPECT_EQ(std::signbit(value), std::signbit(want)) << text;
  }
  for (const char* text : {"1e309", "-1e400", "1.7976931348623159e308", "1e999999999999999999999", "123e307"}) {
    double value = 1;
    EXPECT_EQ(ToDouble(Scan(text), &value), NumberError::kOverflow) << text;
  }
}

TEST(NumberText, RandomDoublesAreNearest) {
  std::mt19937_64 random(11);
  for (int i = 0; i < 20000; ++i) {
    std::string text = std::to_string(random() >> (random() % 64));
    if (random() % 2 != 0) text += "." + std::to_string(random() >> (random() % 64));
    if (random() % 2 != 0) text += "e" + std::to_string(static_cast<int>(random() % 700) - 350);
    double value = 0;
    const NumberError error = ToDouble(Scan(text), &value);
    const double want = std::strtod(text.c_str(), nullptr);
    if (std::isinf(want)) {
      EXPECT_EQ(error, NumberError::kOverflow) << text;
    } else {
      ASSERT_EQ(error, NumberError::kNone) << text;
      ASSERT_EQ(value, want) << text;
    }
  }
}

TEST(NumberText, ScaledIntegersAreExact) {
  struct Case {
    const char* text;
    int precision;
    int scale;
    const char* want;  // Empty: overflow. "cut": more decimals than the scale.
  };
  const std::string nines(38, '9');
  const std::string many_zeros = "1." + std::string(60, '0');
  const std::string tiny_one = "1." + std::string(60, '0') + "1";
  const Case cases[] = {
      {"0", 12, 2, "0"},
      {"-0", 12, 2, "0"},
      {"12.5", 12, 2, "1250"},
      {"-12.34", 12, 2, "-1234"},
      {"12.340000", 12, 2, "1234"},
      {"12.345", 12, 2, "cut"},
      {"9999999999.99", 12, 2, "999999999999"},
      {"10000000000", 12, 2, ""},
      {"1e9", 12, 2, "100000000000"},
      {"1e10", 12, 2, ""},
      {"1234e-2", 12, 2, "1234"},
      {"12340e-3", 12, 2, "1234"},
      {"12345e-3", 12, 2, "cut"},
      {"0.00000000000000000001", 12, 2, "cut"},
      {"0e-999999999999", 12, 2, "0"},
      {"1e-999999999999", 12, 2, "cut"},
      {"1e999999999999", 12, 2, ""},
      {"0e999999999999", 12, 2, "0"},
      {"7", 1, 0, "7"},
      {"70", 1, 0, ""},
      {"0.7", 1, 1, "7"},
      {"1", 1, 1, ""},
      {nines.c_str(), 38, 0, nines.c_str()},
      {"100000000000000000000000000000000000000", 38, 0, ""},
      {"0.00000000000000000000000000000000000001", 38, 38, "1"},
      {"12345678901234567890.5", 38, 10, "123456789012345678905000000000"},
      {"18446744073709551615", 20, 0, "18446744073709551615"},
      {"18446744073709551616", 20, 0, "18446744073709551616"},
      {many_zeros.c_str(), 12, 2, "100"},
      {tiny_one.c_str(), 12, 2, "cut"},
      {"123456789012345678901234567890123456789012345678901234567890e-50", 38, 0, "cut"},
      {"123456789000000000000000000000000000000000000000000000000000e-51", 38, 0, "123456789"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.text);
    Int128 value = 0;
    const NumberError error = ToScaledInteger(Scan(c.text), c.precision, c.scale, Rounding::kExact, &value);
    const std::string want = c.want;
    if (want == "cut") {
      EXPECT_EQ(error, NumberError::kTooManyDecimals);
    } else if (want.empty()) {
      EXPECT_EQ(error, NumberError::kOverflow);
    } else {
      ASSERT_EQ(error, NumberError::kNone);
      EXPECT_EQ(Digits(value), want);
    }
  }
}

// tests/interop/column_values_test.py compares with Python's decimal.
TEST(NumberText, DigitsWithoutAPlaceAreRounded) {
  struct Case {
    std::string text;
    int precision;
    int scale;
    const char* half_up;
    const char* half_even;
    const char* down;
  };
  const std::string nines(38, '9');
  const std::string even = std::string(37, '1') + "2";
  const std::string odd = std::string(37, '1') + "3";
  const std::string after_odd = std::string(37, '1') + "4";
  const Case cases[] = {
      {"2.5", 3, 0, "3", "2", "2"},
      {"-2.5", 3, 0, "-3", "-2", "-2"},
      {"3.5", 3, 0, "4", "4", "3"},
      {"2.4999999999999999999999999999999999999999999999", 3, 0, "2", "2", "2"},
      {"2.5000000000000000000000000000000000000000000001", 3, 0, "3", "3", "2"},
      {"0.005", 3, 2, "1", "0", "0"},
      {"-0.005", 3, 2, "-1", "0", "0"},
      {"9.995", 3, 2, "", "", "999"},
      {"1e-99999", 3, 2, "0", "0", "0"},
      {"5e-1", 1, 0, "1", "0", "0"},
      {nines + ".5", 38, 0, "", "", nines.c_str()},
      {nines + ".4", 38, 0, nines.c_str(), nines.c_str(), nines.c_str()},
      {even + ".5", 38, 0, odd.c_str(), even.c_str(), even.c_str()},
      {odd + ".5", 38, 0, after_odd.c_str(), after_odd.c_str(), odd.c_str()},
      {even + ".50000000001", 38, 0, odd.c_str(), odd.c_str(), even.c_str()},
      {even + ".49999999999", 38, 0, even.c_str(), even.c_str(), even.c_str()},
      {even + ".05", 38, 0, even.c_str(), even.c_str(), even.c_str()},
      {even + "5e-1", 38, 0, odd.c_str(), even.c_str(), even.c_str()},
      {"1", 3, 2, "100", "100", "100"},
      {"1000", 3, 0, "", "", ""},
  };
  for (const Case& c : cases) {
    const std::pair<Rounding, const char*> wanted[] = {
        {Rounding::kHalfUp, c.half_up}, {Rounding::kHalfEven, c.half_even}, {Rounding::kDown, c.down}};
    for (const auto& [rounding, want] : wanted) {
      SCOPED_TRACE(c.text + " by " + std::to_string(static_cast<int>(rounding)));
      Int128 value = 0;
      const NumberError error = ToScaledInteger(Scan(c.text), c.precision, c.scale, rounding, &value);
      EXPECT_EQ(error, *want == '\0' ? NumberError::kOverflow : NumberError::kNone);
      if (error == NumberError::kNone) {
        EXPECT_EQ(Digits(value), want);
      }
    }
  }
}

TEST(NumberText, RandomScaledIntegersComeBack) {
  std::mt19937_64 random(13);
  for (int i = 0; i < 20000; ++i) {
    const int precision = 1 + static_cast<int>(random() % 38);
    const int scale = static_cast<int>(random() % static_cast<unsigned>(precision + 1));
    const std::size_t num_digits = 1 + random() % static_cast<unsigned>(precision);
    std::string digits;
    while (digits.size() < num_digits) digits += static_cast<char>('0' + random() % 10);
    digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
    std::string text;
    if (random() % 3 == 0) {
      text = digits + "e-" + std::to_string(scale);
    } else {
      std::string padded = digits;
      while (padded.size() <= static_cast<std::size_t>(scale)) padded.insert(padded.begin(), '0');
      text = padded.substr(0, padded.size() - static_cast<std::size_t>(scale));
      if (scale > 0) text += "." + padded.substr(padded.size() - static_cast<std::size_t>(scale));
      if (scale > 0 && random() % 4 == 0) text += "000";
    }
    if (digits != "0" && random() % 2 != 0) {
      text = "-" + text;
      digits = "-" + digits;
    }
    Int128 value = 0;
    ASSERT_EQ(ToScaledInteger(Scan(text), precision, scale, Rounding::kExact, &value), NumberError::kNone) << text;
    ASSERT_EQ(Digits(value), digits) << text << " in decimal(" << precision << "," << scale << ")";
  }
}

TEST(NumberText, SecondsToMicrosCutOffTowardsThePast) {
  struct Case {
    const char* text;
    std::int64_t want;
  };
  for (const Case& c :
       {Case{"1700000000", 1'700'000'000'000'000}, Case{"1.5", 1'500'000}, Case{"1.7e9", 1'700'000'000'000'000},
        Case{"1700000000.1234567", 1'700'000'000'123'456}, Case{"-0.0000001", -1}, Case{"-1.5", -1'500'000},
        Case{"-1.0000009", -1'000'001}, Case{"1e-400", 0}, Case{"-1e-400", -1},
        Case{"1700000000.12345678901234567890", 1'700'000'000'123'456}}) {
    std::int64_t value = 7;
    EXPECT_EQ(ToMicros(Scan(c.text), 6, &value), NumberError::kNone) << c.text;
    EXPECT_EQ(value, c.want) << c.text;
  }
  std::int64_t value = 0;
  EXPECT_EQ(ToMicros(Scan("1e12"), 6, &value), NumberError::kOverflow);
  EXPECT_EQ(ToMicros(Scan("1e400"), 6, &value), NumberError::kOverflow);
}

TEST(NumberText, DigitsThatADoubleDoesNotHold) {
  const auto holds = [](const std::string& text) {
    double value = 0;
    EXPECT_EQ(ToDouble(Scan(text), &value), NumberError::kNone) << text;
    return HoldsAllDigits(Scan(text), value);
  };
  for (const char* text :
       {"0.0", "-0.0", "0e400", "0.1", "1.10", "-2.5e-3", "9007199254740991.0", "9007199254740994.0", "1e22", "1e300",
        "0.30000000000000004", "0.30000000000000004441", "0.10000000000000001", "0.1000000000000000055511151231257827",
        "5e-324", "1e-323", "1.7976931348623157e308", "123456789012345000000000000000.0", "2.2250738585072014e-308"}) {
    EXPECT_TRUE(holds(text)) << text;
  }
  for (const char* text : {"9007199254740993.5", "-9007199254740993.5", "9007199254740993.0", "1e-400", "3e-324",
                           "1.2345e-320", "12345678901234567890.5", "0.10000000000000000001"}) {
    EXPECT_FALSE(holds(text)) << text;
  }
  EXPECT_FALSE(holds("0." + std::string(800, '1')));
  EXPECT_TRUE(holds("1." + std::string(2000, '0')));
}

TEST(NumberText, EveryDoubleHoldsWhatIsPrintedOfIt) {
  std::mt19937_64 random(14);
  for (int i = 0; i < 20000; ++i) {
    const double value = std::bit_cast<double>(random() >> 1);
    if (!std::isfinite(value)) continue;
    for (const std::string& text :
         {fmt::format("{:e}", value), fmt::format("{:.16e}", value), fmt::format("{:.40e}", value)}) {
      double read = 0;
      ASSERT_EQ(ToDouble(Scan(text), &read), NumberError::kNone) << text;
      if (read == value) {
        ASSERT_TRUE(HoldsAllDigits(Scan(text), read)) << text;
      }
    }
  }
}

}  // namespace
}  // namespace millrace::ingest
