#include "serve/expiring_events.h"

#include <optional>
#include <string>
#include <utility>

namespace millrace::serve {
namespace {

class ExpiringEvents final : public http::BodySource {
 public:
  ExpiringEvents(UnixMicros end, const Clock& clock, std::unique_ptr<http::BodySource> events)
      : end_(end), clock_(clock), events_(std::move(events)) {}

  void Next(std::function<void(http::Chunk)> take) override {
    if (!between_events_ || (!expired_ && clock_.Now() < end_)) {
      events_->Next([this, take = std::move(take)](http::Chunk chunk) {
        between_events_ = !chunk.ok() || !*chunk || (*chunk)->empty() || (*chunk)->ends_with("\n\n");
        take(std::move(chunk));
      });
    } else if (!std::exchange(expired_, true)) {
      take(http::Chunk(
          "event: error\ndata: {\"status\":401,\"code\":\"token_expired\",\"detail\":\"The token has expired.\","
          "\"hint\":\"Come back with a new one, and with the last event's id, if it has one, in "
          "Last-Event-ID.\"}\n\n"));
    } else {
      take(http::Chunk(std::optional<std::string>()));
    }
  }

 private:
  const UnixMicros end_;
  const Clock& clock_;
  const std::unique_ptr<http::BodySource> events_;
  // Never touched by two threads at a time: Next() is called once `take` has been.
  bool between_events_ = true;
  bool expired_ = false;
};

}  // namespace

std::unique_ptr<http::BodySource> EndingAt(UnixMicros end, const Clock& clock,
                                           std::unique_ptr<http::BodySource> events) {
  return std::make_unique<ExpiringEvents>(end, clock, std::move(events));
}

}  // namespace millrace::serve
