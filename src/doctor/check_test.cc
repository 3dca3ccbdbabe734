// How findings are told.
#include "doctor/check.h"

#include <gtest/gtest.h>

namespace millrace::doctor {
namespace {

const Checks kChecks = {Ok("broker", "1 brokers"), Warning("limits.memory", "tight", "raise it"),
                        Failed("lake.put", "full", "make room"), Skipped("lake.clock", "no time")};

TEST(Check, ATableHasWhatToDoBelowWhatIsWrong) {
  EXPECT_EQ(ToText(kChecks),
            "ok       broker         1 brokers\n"
            "warning  limits.memory  tight\n"
            "                        -> raise it\n"
            "failed   lake.put       full\n"
            "                        -> make room\n"
            "skipped  lake.clock     no time\n"
            "1 ok, 1 warnings, 1 failed, 1 skipped\n");
}

TEST(Check, JsonHasTheSame) {
  EXPECT_EQ(
      ToJson({kChecks[2]}),
      R"({"ok":false,"failed":1,"warnings":0,"checks":[{"check":"lake.put","verdict":"failed","found":"full","mend":"make room"}]})");
}

TEST(Check, WarningsAreHealthy) {
  EXPECT_FALSE(IsHealthy(kChecks));
  EXPECT_TRUE(IsHealthy({kChecks[0], kChecks[1], kChecks[3]}));
}

}  // namespace
}  // namespace millrace::doctor
