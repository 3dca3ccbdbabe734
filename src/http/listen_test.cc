#include "http/listen.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <chrono>
#include <utility>

#include "testing/status_matchers.h"

namespace millrace::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using namespace std::chrono_literals;

// No descriptor more than there are now.
class NoMoreDescriptors {
 public:
  NoMoreDescriptors() {
    const int next = dup(0);
    EXPECT_GE(next, 0);
    close(next);
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    const rlimit none{static_cast<rlim_t>(next), before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  }
  ~NoMoreDescriptors() { EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before_), 0); }

 private:
  rlimit before_{};
};

class ListenerTest : public testing::Test {
 protected:
  void SetUp() override {
    MILLRACE_ASSERT_OK(listener_.Open("127.0.0.1", 0));
    client_.connect({asio::ip::make_address("127.0.0.1"), listener_.port()});
    asio::co_spawn(io_, Take(), asio::detached);
  }

  asio::awaitable<void> Take() {
    while (const auto socket = co_await listener_.Next()) ++taken_;
    is_over_ = true;
  }

  asio::io_context io_{1};
  Listener listener_{io_, "test"};
  asio::io_context others_;
  tcp::socket client_{others_};
  int taken_ = 0;
  bool is_over_ = false;
};

TEST_F(ListenerTest, TriesAgainWhenThereAreDescriptors) {
  {
    const NoMoreDescriptors none;
    io_.run_for(250ms);
    EXPECT_EQ(taken_, 0);
    EXPECT_FALSE(is_over_);
  }
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  while (taken_ == 0 && std::chrono::steady_clock::now() < deadline) io_.run_for(10ms);
  EXPECT_EQ(taken_, 1);
  listener_.Close();
  io_.run();
  EXPECT_TRUE(is_over_);
}

TEST_F(ListenerTest, CloseEndsThePauseToo) {
  const NoMoreDescriptors none;
  io_.run_for(20ms);
  listener_.Close();
  io_.run();
  EXPECT_TRUE(is_over_);
  EXPECT_EQ(taken_, 0);
}

}  // namespace
}  // namespace millrace::http
