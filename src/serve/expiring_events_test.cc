#include "serve/expiring_events.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <string>

#include "testing/manual_clock.h"

namespace millrace::serve {
namespace {

using ::testing::HasSubstr;

class Texts final : public http::BodySource {
 public:
  explicit Texts(std::deque<std::string> texts) : texts_(std::move(texts)) {}
  void Next(std::function<void(http::Chunk)> take) override {
    if (texts_.empty()) return take(std::optional<std::string>());
    std::string text = std::move(texts_.front());
    texts_.pop_front();
    take(std::move(text));
  }

 private:
  std::deque<std::string> texts_;
};

std::string NextTextOf(http::BodySource& source) {
  std::string text;
  source.Next([&text](http::Chunk chunk) { text = chunk->value_or("the end"); });
  return text;
}

TEST(ExpiringEvents, EndBetweenTwoEvents) {
  testing::ManualClock clock(1000);
  const auto source = EndingAt(
      2000, clock,
      std::make_unique<Texts>(std::deque<std::string>{"event: snapshot\n", "data: 1\n\n", ": \n\n", "data: 2\n\n"}));
  EXPECT_EQ(NextTextOf(*source), "event: snapshot\n");
  clock.Set(2000);
  EXPECT_EQ(NextTextOf(*source), "data: 1\n\n") << "the rest of an event that has begun";
  EXPECT_THAT(NextTextOf(*source), HasSubstr("event: error\ndata: {\"status\":401,\"code\":\"token_expired\""));
  EXPECT_EQ(NextTextOf(*source), "the end");
}

TEST(ExpiringEvents, GoOnUntilThen) {
  testing::ManualClock clock(1000);
  const auto source = EndingAt(2000, clock, std::make_unique<Texts>(std::deque<std::string>{"data: 1\n\n"}));
  clock.Set(1999);
  EXPECT_EQ(NextTextOf(*source), "data: 1\n\n");
  EXPECT_EQ(NextTextOf(*source), "the end");
}

}  // namespace
}  // namespace millrace::serve
