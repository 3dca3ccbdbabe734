#include "http/handler_pool.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "base/yield_to_others.h"
#include "http/problem.h"

namespace millrace::http {
namespace {

namespace asio = boost::asio;

using std::chrono::steady_clock;

Response Overloaded(std::string detail) {
  return ToResponse({503, "overloaded", std::move(detail), "Ask again later, or ask less at once."});
}

Response Thrown(const Request& request, const std::exception& e) {
  spdlog::error("request failed target=\"{}\" error=\"{}\"", request.target, e.what());
  return ToResponse({500, "internal", "The request failed inside the server; its log says why.", {}});
}

}  // namespace

Response CallHandler(const Handler& handler, const Request& request) {
  try {
    return handler(request);
  } catch (const std::exception& e) {
    return Thrown(request, e);
  }
}

Early CallAtOnce(const AtOnce& at_once, Request& request) {
  try {
    return at_once(request);
  } catch (const std::exception& e) {
    return {Thrown(request, e)};
  }
}

Response TooLate(std::chrono::milliseconds timeout) {
  return ToResponse({504, "deadline_exceeded", fmt::format("There is no answer within {} ms.", timeout.count()),
                     "Ask for less at once."});
}

struct HandlerPool::Call {
  Call(asio::io_context& io, Request r) : request(std::move(r)), changed(io) {}
  // It has the processor after others from now on. False: no thread runs it, not yet or no more.
  bool Yield() {
    const std::scoped_lock lock(mutex);
    if (thread == 0) return false;
    YieldToOthers(thread);
    yields = true;
    return true;
  }

  const Request request;
  std::optional<steady_clock::time_point> started;
  std::optional<Response> response;
  asio::steady_timer changed;  // Cancelled when it has started or has a response, and at a stop.

  std::mutex mutex;     // Guards what follows.
  pid_t thread = 0;     // That runs it; 0: none does.
  bool yields = false;  // Its thread is of no use to others afterwards.
};

struct HandlerPool::Thread {
  std::condition_variable wake;
  std::shared_ptr<Call> next;
};

// The part of a call that lives in Run(): however that ends, it no longer waits for its turn.
class HandlerPool::Turn {
 public:
  Turn(HandlerPool& pool, std::shared_ptr<Call> call) : pool_(pool), call_(std::move(call)) {
    if (pool_.running_ < std::max(1, pool_.options_.threads)) {
      pool_.Start(call_);
    } else {
      pool_.waiting_.push_back(call_);
    }
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() {
    if (!call_->started) pool_.waiting_.remove(call_);
  }

 private:
  HandlerPool& pool_;
  const std::shared_ptr<Call> call_;
};

HandlerPool::HandlerPool(asio::io_context& io, const Handler& handler, const Options& options)
    : io_(io), handler_(handler), options_(options) {}

void HandlerPool::Start(const std::shared_ptr<Call>& call) {
  ++running_;
  call->started = steady_clock::now();
  call->changed.cancel();
  {
    const std::scoped_lock lock(mutex_);
    if (!idle_.empty()) {
      Thread* const thread = idle_.back();
      idle_.pop_back();
      thread->next = call;
      thread->wake.notify_one();
      return;
    }
    ++living_;
  }
  try {
    std::thread([this, call] { Work(call); }).detach();
  } catch (const std::system_error& e) {
    spdlog::error("http: cannot start a thread error=\"{}\"", e.what());
    call->response = Overloaded("The system gives the server no more threads.");
    --running_;
    const std::scoped_lock lock(mutex_);
    --living_;
  }
}

void HandlerPool::Work(std::shared_ptr<Call> call) {
  Thread self;
  bool stays = true;
  while (call != nullptr) {
    {
      const std::scoped_lock lock(call->mutex);
      call->thread = ::gettid();
    }
    Response response = CallHandler(handler_, call->request);
    {
      const std::scoped_lock lock(call->mutex);
      call->thread = 0;
      stays = !call->yields;
    }
    {
      // Before others know that it has ended: whoever comes next finds this thread, and not too few.
      const std::scoped_lock lock(mutex_);
      stays = stays && !joining_;
      if (stays) idle_.push_back(&self);
    }
    asio::post(io_, [this, call = std::move(call), response = std::move(response)]() mutable {
      call->response = std::move(response);
      call->changed.cancel();
      Ended();
    });
    if (!stays) break;
    std::unique_lock lock(mutex_);
    self.wake.wait(lock, [&] { return self.next != nullptr || joining_; });
    call = std::exchange(self.next, nullptr);
  }
  const std::scoped_lock lock(mutex_);
  --living_;
  gone_.notify_all();
}

void HandlerPool::Join() {
  std::unique_lock lock(mutex_);
  joining_ = true;
  for (Thread* const thread : idle_) thread->wake.notify_one();
  idle_.clear();
  gone_.wait(lock, [this] { return living_ == 0; });
}

void HandlerPool::Ended() {
  --running_;
  if (waiting_.empty()) return;
  const auto next = std::move(waiting_.front());
  waiting_.pop_front();
  Start(next);
}

asio::awaitable<Response> HandlerPool::Run(Request request, std::stop_source stop) {
  if (running_ >= options_.threads && std::ssize(waiting_) >= options_.waiting_max) {
    co_return Overloaded(fmt::format("{} requests of this kind are being answered and {} wait; no more are taken.",
                                     running_, waiting_.size()));
  }
  const auto call = std::make_shared<Call>(io_, std::move(request));
  const Turn turn(*this, call);
  const auto deadline = steady_clock::now() + options_.timeout;
  bool may_yield = options_.yields_after.has_value();
  std::optional<steady_clock::time_point> yields_at;
  bool goes_on = true;
  const std::stop_callback on_stop(stop.get_token(), [&changed = call->changed] { changed.cancel(); });
  while (goes_on && !call->response && !stop.stop_requested()) {
    const bool watches = may_yield && call->started;
    if (watches && !yields_at) yields_at = *call->started + *options_.yields_after;
    const auto until = watches ? std::min(deadline, *yields_at) : deadline;
    const bool had_started = call->started.has_value();
    call->changed.expires_at(until);
    co_await call->changed.async_wait(asio::as_tuple(asio::use_awaitable));
    const auto now = steady_clock::now();
    if (watches && now >= until) {
      may_yield = !call->Yield();
      // On a busy machine its thread may not have had its turn yet.
      yields_at = now + *options_.yields_after;
    }
    // Cancelled from outside, this coroutine waits for nothing any more.
    goes_on = now < deadline && (now >= until || call->started.has_value() != had_started);
  }
  if (call->response) co_return *std::move(call->response);
  if (!stop.request_stop()) {
    co_return ToResponse({503, "cancelled", "The client closed its side of the connection before the answer.", {}});
  }
  if (!call->started) {
    co_return Overloaded(fmt::format("The request had not had its turn within {} ms: {} others are being answered.",
                                     options_.timeout.count(), running_));
  }
  co_return TooLate(options_.timeout);
}

}  // namespace millrace::http
