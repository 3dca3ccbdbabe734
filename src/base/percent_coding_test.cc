#include "base/percent_coding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(PercentCoding, EveryByteComesBackAndInBothCasesOfItsDigits) {
  std::string bytes, encoded, lower;
  for (int byte = 0; byte < 256; ++byte) {
    bytes += static_cast<char>(byte);
    AppendPercentEncoded(static_cast<char>(byte), encoded);
  }
  ASSERT_EQ(encoded.substr(0, 6), "%00%01");
  ASSERT_EQ(encoded.substr(encoded.size() - 6), "%FE%FF");
  for (const char c : encoded) lower += c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
  EXPECT_EQ(PercentDecode(encoded).ValueOrDie(), bytes);
  EXPECT_EQ(PercentDecode(lower).ValueOrDie(), bytes);
  EXPECT_EQ(FormDecode(encoded).ValueOrDie(), bytes);
}

TEST(PercentCoding, OnlyOnceAndOnlyAFormsPlusIsABlank) {
  EXPECT_EQ(PercentDecode("a+b/%2525?=&").ValueOrDie(), "a+b/%25?=&");
  EXPECT_EQ(FormDecode("a+b/%2525%2B").ValueOrDie(), "a b/%25+");
  EXPECT_EQ(PercentDecode("").ValueOrDie(), "");
}

TEST(PercentCoding, AnEscapeWithoutTwoHexDigitsIsRefused) {
  for (const char* text : {"%", "a%", "%4", "%4g", "%g4", "%%41", "% 41", "%-1", "%+1", "%0x41", "a%41%4"}) {
    SCOPED_TRACE(text);
    EXPECT_EQ(KindOf(PercentDecode(text).status()), ErrorKind::kInvalidInput);
    EXPECT_EQ(KindOf(FormDecode(text).status()), ErrorKind::kInvalidInput);
  }
  EXPECT_THAT(PercentDecode("a%41%4gh").status().message(), ::testing::HasSubstr("'%4g'"));
}

}  // namespace
}  // namespace millrace
