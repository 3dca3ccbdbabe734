#include "http/handler_pool.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <optional>
#include <utility>

#include "base/yield_to_others.h"
#include "http/problem.h"

namespace millrace::http {
namespace {

namespace asio = boost::asio;

Response Overloaded(std::string detail) {
  return ToResponse({503, "overloaded", std::move(detail), "Ask again later, or ask less at once."});
}

}  // namespace

Response CallHandler(const Handler& handler, const Request& request) {
  return *CallAtOnce([&handler](const Request& r) { return std::optional(handler(r)); }, request);
}

std::optional<Response> CallAtOnce(const AtOnce& at_once, const Request& request) {
  try {
    return at_once(request);
  } catch (const std::exception& e) {
    spdlog::error("request failed target=\"{}\" error=\"{}\"", request.target, e.what());
    return ToResponse({500, "internal", "The request failed inside the server; its log says why.", {}});
  }
}

struct HandlerPool::Call {
  Call(asio::io_context& io, Request r) : request(std::move(r)), changed(io) {}
  const Request request;
  bool started = false;
  std::optional<Response> response;
  asio::steady_timer changed;  // Expires at the deadline, cancelled when there is a response or a stop.
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
    : io_(io), handler_(handler), options_(options), threads_(static_cast<std::size_t>(std::max(1, options.threads))) {}

void HandlerPool::Start(const std::shared_ptr<Call>& call) {
  ++running_;
  call->started = true;
  asio::post(threads_, [this, call] {
    if (options_.yields) YieldToOthers();
    Response response = CallHandler(handler_, call->request);
    asio::post(io_, [this, call, response = std::move(response)]() mutable {
      call->response = std::move(response);
      call->changed.cancel();
      Ended();
    });
  });
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
  call->changed.expires_after(options_.timeout);
  const std::stop_callback on_stop(stop.get_token(), [&changed = call->changed] { changed.cancel(); });
  co_await call->changed.async_wait(asio::as_tuple(asio::use_awaitable));
  if (call->response) co_return *std::move(call->response);
  if (!stop.request_stop()) {
    co_return ToResponse({503, "cancelled", "The client closed its side of the connection before the answer.", {}});
  }
  if (!call->started) {
    co_return Overloaded(fmt::format("The request had not had its turn within {} ms: {} others are being answered.",
                                     options_.timeout.count(), running_));
  }
  co_return ToResponse({504, "deadline_exceeded",
                        fmt::format("There is no answer within {} ms.", options_.timeout.count()),
                        "Ask for less at once."});
}

}  // namespace millrace::http
