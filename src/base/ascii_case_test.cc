#include "base/ascii_case.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(AsciiCase, FoldsTheEnglishLettersAndNoOtherByte) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool is_upper = byte >= 'A' && byte <= 'Z';
    EXPECT_EQ(AsciiLower(c), static_cast<char>(is_upper ? byte + 32 : byte)) << byte;
  }
  EXPECT_EQ(AsciiLower("Straße ÄÖ_Z9[@"), "straße ÄÖ_z9[@");
  EXPECT_EQ(AsciiLower(std::string_view("A\0B", 3)), std::string("a\0b", 3));
  EXPECT_EQ(AsciiLower(""), "");
}

TEST(AsciiCase, EqualityIsThatOfTheLowerCase) {
  struct Case {
    std::string_view a;
    std::string_view b;
    bool equal;
  };
  for (const auto& [a, b, equal] : {
           Case{"", "", true},
           {"Bearer", "bEARER", true},
           {"a", "ab", false},
           {"ab", "a", false},
           {"@", "`", false},  // 32 apart, as A and a are.
           {"[", "{", false},
           {"Ä", "ä", false},
       }) {
    SCOPED_TRACE(a);
    EXPECT_EQ(EqualsIgnoringAsciiCase(a, b), equal);
    EXPECT_EQ(AsciiLower(a) == AsciiLower(b), equal);
  }
}

}  // namespace
}  // namespace millrace
