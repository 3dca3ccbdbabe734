// What a process without an Api answers those who watch over it.
#include "serve/health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace::serve {
namespace {

using ::testing::HasSubstr;

std::optional<http::Response> Ask(const std::string& target, const Health& health, const std::string& method = "GET") {
  http::Request request;
  request.method = method;
  request.target = target;
  return AnswerHealth(request, health);
}

TEST(Health, AProcessThatWaitsIsAliveAndNotReady) {
  const Health waiting{.waits_for = http::Problem{503, "starting", "It opens its log.", {}}};
  EXPECT_EQ(Ask("/livez", waiting)->status, 200);
  const auto ready = Ask("/readyz?verbose", waiting);
  EXPECT_EQ(ready->status, 503);
  EXPECT_THAT(ready->body.Text(), HasSubstr("It opens its log."));
  EXPECT_EQ(Ask("/readyz", {})->status, 200);
}

TEST(Health, MetricsAreWhereTheyAreSaidToBe) {
  EXPECT_FALSE(Ask("/metrics", {}));
  const auto answer = Ask("/metrics", {.metrics = [] { return std::string("up 1\n"); }});
  EXPECT_THAT(answer->content_type, HasSubstr("version=0.0.4"));
  EXPECT_EQ(answer->body.Text(), "up 1\n");
}

TEST(Health, OthersHaveOtherTargetsAndOtherMethods) {
  EXPECT_FALSE(Ask("/livezz", {}));
  EXPECT_FALSE(Ask("/", {}));
  for (const char* target : {"/livez", "/readyz"}) {
    EXPECT_EQ(Ask(target, {}, "HEAD")->status, 200);
    const auto refused = Ask(target, {}, "POST");
    EXPECT_EQ(refused->status, 405);
    EXPECT_EQ(refused->headers.back(), (std::pair<std::string, std::string>("Allow", "GET, HEAD")));
  }
}

}  // namespace
}  // namespace millrace::serve
