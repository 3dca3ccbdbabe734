/// The few pieces that coroutines need here beyond Asio: work on another thread, and a lock that waits without
/// blocking.
#pragma once

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <type_traits>
#include <utility>

namespace millrace {

namespace asio = boost::asio;

/// Name a `work` that captures anything with a destructor before the co_await: GCC 12 would destroy it twice.
/// Runs `work` on `executor` and gives its (non-void) result to the awaiting coroutine, back on the coroutine's own
/// executor.
template <typename Executor, typename Work>
asio::awaitable<std::invoke_result_t<Work>> RunOn(Executor executor, Work work) {
  using Outcome = std::invoke_result_t<Work>;
  // Named, because GCC 12 destroys a capturing lambda twice when it is written inside a co_await expression.
  auto initiate = [executor](auto handler, Work body) {
    asio::post(executor, [handler = std::move(handler), body = std::move(body)]() mutable {
      Outcome outcome = body();
      const auto home = asio::get_associated_executor(handler);
      asio::post(home, [handler = std::move(handler), outcome = std::move(outcome)]() mutable {
        std::move(handler)(std::move(outcome));
      });
    });
  };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(Outcome)>(
      std::move(initiate), asio::use_awaitable, std::move(work));
}

/// First come, first served. All calls on one strand. Unlock by destroying the guard.
class AsyncMutex {
 public:
  class Guard {
   public:
    explicit Guard(AsyncMutex* mutex) : mutex_(mutex) {}
    Guard(Guard&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)) {}
    Guard& operator=(Guard&&) = delete;
    ~Guard() {
      if (mutex_ != nullptr) mutex_->slot_.try_receive([](const boost::system::error_code&) {});
    }

   private:
    AsyncMutex* mutex_;
  };

  explicit AsyncMutex(const asio::any_io_executor& executor) : slot_(executor, 1) {}

  asio::awaitable<Guard> Lock() {
    co_await slot_.async_send(boost::system::error_code(), asio::use_awaitable);
    co_return Guard(this);
  }

 private:
  asio::experimental::channel<void(boost::system::error_code)> slot_;
};

}  // namespace millrace
