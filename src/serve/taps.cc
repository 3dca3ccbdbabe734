#include "serve/taps.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <utility>

#include "base/yield_to_others.h"
#include "http/problem.h"
#include "serve/problem.h"

namespace millrace::serve {
namespace {

// So soon a tap sees that its client has left, or that it is to end.
constexpr std::chrono::milliseconds kLookMax{100};

}  // namespace

struct Taps::Tap {
  std::shared_ptr<TapStream> stream;
  std::unique_ptr<TapSource> source;
  MemoryShare memory;
  std::atomic<bool> closing = false;
  std::atomic<bool> ended = false;
  std::jthread thread{};  // The last: it uses the others.
};

Taps::Taps(Backend& backend, const Clock& clock, const Options& options, std::shared_ptr<MemoryBudget> memory)
    : backend_(backend), clock_(clock), options_(options), memory_(std::move(memory)) {}

Taps::~Taps() { Close(); }

Taps::OwnedTaps Taps::TakeEnded() {
  OwnedTaps ended;
  for (auto at = taps_.begin(); at != taps_.end();) {
    const auto next = std::next(at);
    if ((*at)->ended) ended.splice(ended.end(), taps_, at);
    at = next;
  }
  return ended;
}

Result<std::unique_ptr<http::BodySource>> Taps::Open(const TapRequest& request) {
  MemoryShare memory = memory_ == nullptr ? MemoryShare() : memory_->NewShare("taps");
  OwnedTaps ended;
  {
    const std::scoped_lock lock(mutex_);
    ended = TakeEnded();
    if (closed_) return Transient("the server is stopping");
    const auto taps = opening_ + std::ssize(taps_);
    if (taps >= options_.taps_max) {
      return Transient("{} taps are open, which is the limit; close one, or try again later", taps);
    }
    if (!memory.TryAdd(options_.tap_bytes)) {
      return Transient("limits.memory is spent: there are no {} bytes left for a tap", options_.tap_bytes);
    }
    ++opening_;
  }
  ended.clear();
  auto source = backend_.Tap(request);
  const std::scoped_lock lock(mutex_);
  --opening_;
  if (!source.ok()) return source.status();
  if (closed_) return Transient("the server is stopping");
  auto tap = std::make_unique<Tap>(std::make_shared<TapStream>(options_.stream, clock_.SteadyNow()), *std::move(source),
                                   std::move(memory));
  auto events = tap->stream->Listen();
  tap->stream->Begin(*tap->source);
  tap->thread = std::jthread([this, &tap = *tap] { Run(tap); });
  taps_.push_back(std::move(tap));
  return events;
}

void Taps::Run(Tap& tap) {
  YieldToOthers();
  while (!tap.closing && tap.stream->is_wanted()) {
    const Status looked = tap.stream->Look(*tap.source, clock_.SteadyNow(), kLookMax);
    if (looked.ok()) continue;
    tap.stream->End(http::ToJson(ToProblem(looked)));
    break;
  }
  tap.source = nullptr;
  tap.memory.Set(0);
  tap.ended = true;
}

void Taps::Close() {
  const std::scoped_lock lock(mutex_);
  closed_ = true;
  for (const auto& tap : taps_) {
    tap->closing = true;
    tap->stream->End(std::nullopt);
  }
}

int Taps::open() const {
  const std::scoped_lock lock(mutex_);
  return static_cast<int>(std::count_if(taps_.begin(), taps_.end(), [](const auto& tap) { return !tap->ended; }));
}

}  // namespace millrace::serve
