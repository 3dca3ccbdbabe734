#include "config/route_pattern.h"

#include <gtest/gtest.h>

namespace millrace::config {
namespace {

RoutePattern Pattern(std::string_view name) { return RoutePattern::Parse(name).value(); }

TEST(RoutePattern, HasOneColumnInANamesMiddleOrAtAnEnd) {
  EXPECT_EQ(Pattern("ev_{type}").prefix, "ev_");
  EXPECT_EQ(Pattern("ev_{type}").column, "type");
  EXPECT_EQ(Pattern("{type}_events").suffix, "_events");
  EXPECT_EQ(Pattern("{_topic}").column, "_topic");
  EXPECT_EQ(Pattern("ev_{type}_v2").TableOf("click"), "ev_click_v2");
  EXPECT_EQ(Pattern("ev_{type}_v2").IndexTable(), "ev_routes_v2");
  for (const char* bad : {"ev", "ev_{}", "ev_}type{", "ev_{type", "9_{type}", "_{type}", "ev {type}", "ev_{a}_{b}"}) {
    EXPECT_FALSE(RoutePattern::Parse(bad)) << bad;
  }
  EXPECT_TRUE(RoutePattern::Parse(std::string(64, 'x') + "{type}"));
  EXPECT_FALSE(RoutePattern::Parse(std::string(65, 'x') + "{type}"));
}

TEST(RoutePattern, AValueFitsIfItsTableHasATablesName) {
  const auto prefixed = Pattern("ev_{type}");
  for (const char* good : {"click", "Click", "page-view", "7", "-", "_"}) EXPECT_TRUE(prefixed.Fits(good)) << good;
  for (const char* bad : {"", "a b", "a/b", "..", "a.b", "\xC3\xA4", "a\n"}) EXPECT_FALSE(prefixed.Fits(bad)) << bad;
  EXPECT_TRUE(prefixed.Fits(std::string(125, 'x')));
  EXPECT_FALSE(prefixed.Fits(std::string(126, 'x')));
  EXPECT_FALSE(Pattern("{type}_events").Fits("7"));
  EXPECT_TRUE(Pattern("{type}_events").Fits("a7"));
}

TEST(RoutePattern, TwoThatCouldCallATableByOneNameOverlap) {
  EXPECT_TRUE(Pattern("ev_{a}").Overlaps(Pattern("EV_x_{b}")));
  EXPECT_TRUE(Pattern("{a}_x").Overlaps(Pattern("y_{b}")));
  EXPECT_FALSE(Pattern("ev_{a}").Overlaps(Pattern("iot_{a}")));
  EXPECT_FALSE(Pattern("ev_{a}_x").Overlaps(Pattern("ev_{a}_y")));
  EXPECT_TRUE(Pattern("ev_{a}").CanName("EV_all"));
  EXPECT_FALSE(Pattern("ev_{a}").CanName("ev_"));
}

}  // namespace
}  // namespace millrace::config
