// Calls on the pool's threads. What a server makes of them is in server_test.cc.
#include "http/handler_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <chrono>
#include <string>
#include <thread>

namespace millrace::http {
namespace {

using namespace std::chrono_literals;

TEST(HandlerPool, ACallYieldsToOthersHoweverLateItsThreadBegins) {
  const auto niceness = [] { return ::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid())); };
  const Handler handler = [&, ordinary = niceness()](const Request& request) {
    while (niceness() == ordinary && !request.stop.stop_requested()) std::this_thread::yield();
    return Response{200, "text/plain", std::to_string(niceness() - ordinary), {}};
  };
  boost::asio::io_context io;
  // At once: before the thread has had its turn.
  HandlerPool pool(io, handler, {.threads = 1, .timeout = 20s, .yields_after = 0ms});
  for (int i = 0; i < 20; ++i) {
    std::stop_source stop;
    Request request;
    request.stop = stop.get_token();
    Response response;
    boost::asio::co_spawn(
        io, [&]() -> boost::asio::awaitable<void> { response = co_await pool.Run(std::move(request), stop); },
        boost::asio::detached);
    io.run();
    io.restart();
    ASSERT_EQ(response.status, 200);
    EXPECT_EQ(response.body.Text(), "10");
  }
  pool.Join();
}

}  // namespace
}  // namespace millrace::http
