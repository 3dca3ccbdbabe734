// Names of columns without their case: both ways to compare them agree, for every kind of letter.
#include "delta/text/column_name.h"

#include <gtest/gtest.h>

namespace millrace::delta {
namespace {

TEST(ColumnName, HasNoCase) {
  struct Case {
    const char* a;
    const char* b;
    bool same;
  };
  for (const auto& c : {Case{"", "", true},
                        {"a", "", false},
                        {"userid", "UserId", true},
                        {"userid", "user_id", false},
                        {"user", "userid", false},
                        {"[", "{", false},  // As far apart as 'A' and 'a'.
                        {"@", "`", false},
                        {"\u00C9t\u00E9", "\u00E9T\u00C9", true},
                        {"\u00C9", "E", false},
                        {"stra\u00DFe", "STRA\u00DFE", true},
                        {"\u0416", "\u0436", true},          // Cyrillic.
                        {"\u03A9x", "\u03C9X", true},        // Greek.
                        {"\U00010400", "\U00010428", true},  // Deseret, of four bytes.
                        {"\u00C9a", "\u00E9b", false},
                        {"a\u00C9", "a\u00E9x", false},
                        {"\u212A", "k", true},   // The Kelvin sign.
                        {"\xFF", "\xFF", true},  // Not UTF-8.
                        {"\xFF", "\xFE", false},
                        {"\xC3", "\xC3\x89", false},
                        {"x\xC3", "X\xC3", true}}) {
    SCOPED_TRACE(std::string(c.a) + " and " + c.b);
    EXPECT_EQ(IsSameName(c.a, c.b), c.same);
    EXPECT_EQ(IsSameName(c.b, c.a), c.same);
    EXPECT_EQ(FoldedName(c.a) == FoldedName(c.b), c.same);
  }
}

TEST(ColumnName, APartitionsOwnSpellingCountsBeforeOthers) {
  const PartitionValues values = {{"Day", "1"}, {"day", "2"}, {"n", std::nullopt}};
  EXPECT_EQ(*FindPartitionValue(values, "day"), "2");
  EXPECT_EQ(*FindPartitionValue(values, "Day"), "1");
  EXPECT_EQ(*FindPartitionValue(values, "N"), std::nullopt);
  EXPECT_EQ(FindPartitionValue(values, "x"), nullptr);
}

}  // namespace
}  // namespace millrace::delta
