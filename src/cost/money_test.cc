// Goal: money never drifts. Method: exact decimals in and out, rounding at the half, tiers and products against
// __int128.
#include "cost/money.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "testing/status_matchers.h"

namespace millrace::cost {
namespace {

TEST(Money, ReadsAndWritesExactDecimals) {
  for (const char* text : {"0", "12", "0.1", "0.000000001", "0.023", "-1.5", "9223372036.854775807"}) {
    SCOPED_TRACE(text);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const Money money, Money::Parse(text));
    EXPECT_EQ(ToDecimal(money), text);
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const Money padded, Money::Parse("00.1000"));
  EXPECT_EQ(ToDecimal(padded), "0.1");
}

TEST(Money, RefusesWhatIsNoDecimal) {
  for (const char* text : {"", ".", "1.", "-", "1e3", "0x1", "1,000", "0.0000000001", "9223372036.854775808", " 1"}) {
    SCOPED_TRACE(text);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, Money::Parse(text).status());
  }
}

TEST(Money, RoundsToCentsHalfAwayFromZero) {
  EXPECT_EQ(ToCents(Money::FromNanos(16'425'000'000)), "16.43");
  EXPECT_EQ(ToCents(Money::FromNanos(16'424'999'999)), "16.42");
  EXPECT_EQ(ToCents(Money::FromNanos(-16'425'000'000)), "-16.43");
  EXPECT_EQ(ToCents(Money::FromNanos(-1)), "0.00");
  EXPECT_EQ(ToCents(Money::FromNanos(1'104'087'400'000)), "1,104.09");
  EXPECT_EQ(ToCents(Money::FromCents(123'456'789'05)), "123,456,789.05");
}

TEST(Quantity, IsWholeMillionths) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const Quantity gb, Quantity::FromDouble(1555.2));
  EXPECT_EQ(gb.micros(), 1'555'200'000);
  EXPECT_EQ(ToDecimal(gb), "1555.2");
  EXPECT_EQ(ToPeople(gb), "1,555");
  EXPECT_EQ(ToPeople(Quantity::FromMicros(455'520'000'000)), "455,520");
  EXPECT_EQ(ToPeople(Quantity::FromMicros(1'800'000)), "1.8");
  EXPECT_EQ(ToPeople(Quantity::FromMicros(7)), "0.000007");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, Quantity::FromDouble(-0.1).status());
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, Quantity::FromDouble(1e13).status());
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput,
                       Quantity::FromDouble(std::numeric_limits<double>::quiet_NaN()).status());
}

TEST(Multiply, RoundsOnceAndAtTheHalf) {
  const Money price = Money::FromNanos(5'000'000);  // 0.005 a thousand.
  EXPECT_EQ(Multiply(Quantity::FromMicros(455'520'000'000), price, 1000)->nanos(), 2'277'600'000);
  EXPECT_EQ(Multiply(Quantity::FromMicros(1), Money::FromNanos(500'000), 1)->nanos(), 1);  // Half a nano-dollar.
  EXPECT_EQ(Multiply(Quantity::FromMicros(1), Money::FromNanos(499'999), 1)->nanos(), 0);
}

TEST(Multiply, SaysWhenItIsTooMuch) {
  EXPECT_EQ(Multiply(Quantity::FromMicros(100'000'000'000'000), Money::FromCents(100), 1), kLineMoneyMax);
  EXPECT_EQ(Multiply(Quantity::FromMicros(100'000'001'000'000), Money::FromCents(100), 1), std::nullopt);
  EXPECT_EQ(Multiply(Quantity::FromMicros(INT64_MAX), Money::FromNanos(INT64_MAX), 1), std::nullopt);
}

// Cutting a quantity into pieces moves a product by less than half a nano-dollar a piece: nothing else can drift.
TEST(Multiply, PiecesAddUp) {
  std::mt19937_64 random(5);
  for (int round = 0; round < 1000; ++round) {
    const Money price = Money::FromNanos(std::uniform_int_distribution<std::int64_t>(0, 1'000'000'000)(random));
    const std::int64_t whole = std::uniform_int_distribution<std::int64_t>(0, 1'000'000'000'000)(random);
    const std::int64_t part = std::uniform_int_distribution<std::int64_t>(0, whole)(random);
    const auto together = Multiply(Quantity::FromMicros(whole), price, 1);
    const auto one = Multiply(Quantity::FromMicros(part), price, 1);
    const auto other = Multiply(Quantity::FromMicros(whole - part), price, 1);
    ASSERT_TRUE(together && one && other);
    EXPECT_LE(std::abs((*one + *other - *together).nanos()), 1);
  }
}

}  // namespace
}  // namespace millrace::cost
