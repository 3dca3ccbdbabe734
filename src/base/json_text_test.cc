#include "base/json_text.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cmath>

namespace millrace {
namespace {

TEST(JsonText, WritesPlainNumbersAndOnlyJson) {
  boost::json::value value =
      boost::json::object{{"a", 5000.5}, {"b", INFINITY}, {"c", {1, -2, nullptr, true}}, {"d\n", "é\""}};
  EXPECT_EQ(JsonText(value), R"({"a":5000.5,"b":"inf","c":[1,-2,null,true],"d\n":"é\""})");
}

}  // namespace
}  // namespace millrace
