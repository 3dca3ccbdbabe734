#include "base/nearest_name.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(NearestName, FindsWhatWasMeantAndNothingElse) {
  const std::vector<std::string> names = {"country", "page", "window_start", "a"};
  struct Case {
    std::string typed;
    std::optional<std::string> want;
  };
  const std::vector<Case> cases = {
      {"contry", "country"},
      {"COUNTRY", "country"},
      {"cuontry", "country"},  // A swap is one edit.
      {"pgae", "page"},
      {"window", std::nullopt},
      {"windowstart", "window_start"},
      {"zebra", std::nullopt},
      {"", std::nullopt},
      {"b", std::nullopt},  // Replacing every letter is not a typing error.
      {std::string(100000, 'x'), std::nullopt},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.typed.substr(0, 40));
    EXPECT_EQ(NearestName(c.typed, names), c.want);
  }
  EXPECT_EQ(DidYouMean("contry", names), "; did you mean 'country'?");
  EXPECT_EQ(DidYouMean("zebra", names), "");
  EXPECT_EQ(NamesInstead("contry", names), "; did you mean 'country'?");
  EXPECT_EQ(NamesInstead("zebra", names), "; there are: country, page, window_start, a");
  EXPECT_EQ(NamesInstead("zebra", {}), "; there are none");
}

}  // namespace
}  // namespace millrace
