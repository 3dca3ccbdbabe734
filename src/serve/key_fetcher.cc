#include "serve/key_fetcher.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace millrace::serve {
namespace {

constexpr std::chrono::milliseconds kWaitMax{2'000};
constexpr int kWaitersMax = 2;

}  // namespace

std::shared_ptr<KeyFetcher> KeyFetcher::Of(const KeyPlace& place) {
  return std::make_shared<KeyFetcher>(place.jwks, TimesFor(place),
                                      [place](const std::stop_token& stop) { return ReadKeyDocument(place, stop); });
}

KeyFetcher::KeyFetcher(std::string name, const KeyCacheTimes& times,
                       std::function<Result<std::string>(const std::stop_token&)> read, const Clock& clock)
    : name_(std::move(name)),
      read_(std::move(read)),
      clock_(clock),
      cache_(times, clock.SteadyNow()),
      thread_([this](const std::stop_token& stop) { Run(stop); }) {}

KeyFetcher::~KeyFetcher() = default;

void KeyFetcher::Run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    const auto now = clock_.SteadyNow();
    if (now < cache_.next()) {
      changed_.wait_for(lock, stop, cache_.next() - now, [&] { return clock_.SteadyNow() >= cache_.next(); });
      continue;
    }
    reading_ = true;
    lock.unlock();
    auto keys = ReadOnce(stop);
    lock.lock();
    reading_ = false;
    ++readings_;
    cache_.Took(std::move(keys), clock_.SteadyNow());
    changed_.notify_all();
  }
}

std::shared_ptr<const JwkSet> KeyFetcher::ReadOnce(const std::stop_token& stop) {
  auto text = read_(stop);
  auto keys = text.ok() ? ParseJwkSet(*text) : Result<JwkSet>(text.status());
  if (stop.stop_requested()) return nullptr;
  const std::string failure = keys.ok() ? "" : keys.status().message();
  if (failure != last_failure_) {
    if (failure.empty()) {
      spdlog::info("serve: the tokens' keys can be read again jwks={}", name_);
    } else {
      spdlog::warn(
          "serve: the tokens' keys cannot be read; those that are known go on for a while jwks={} error=\"{}\"", name_,
          failure);
    }
    last_failure_ = failure;
  }
  if (!keys.ok()) return nullptr;
  return std::make_shared<const JwkSet>(*std::move(keys));
}

std::shared_ptr<const JwkSet> KeyFetcher::Keys() {
  const std::lock_guard lock(mutex_);
  return cache_.Keys(clock_.SteadyNow());
}

std::shared_ptr<const JwkSet> KeyFetcher::KeysAskedAnew() {
  std::unique_lock lock(mutex_);
  cache_.WantNewer();
  const bool will_be_read = reading_ || cache_.next() <= clock_.SteadyNow();
  if (will_be_read && waiting_ < kWaitersMax) {
    ++waiting_;
    changed_.notify_all();
    const std::uint64_t before = readings_;
    changed_.wait_for(lock, kWaitMax, [&] { return readings_ > before; });
    --waiting_;
  }
  return cache_.Keys(clock_.SteadyNow());
}

}  // namespace millrace::serve
