/// One question whose answer is told to many as it changes: what is published once is sent to all who listen.
///
/// Each listener has a place among the events. The last of them are kept, up to a number of bytes: one who comes back
/// with the id of an event goes on after it, one whose place is kept no more gets a snapshot, which says the same.
/// Rows in events are whole, so what a listener holds after the last event is the answer, whatever it missed.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "http/body.h"
#include "serve/live_answer.h"

namespace millrace::serve {

/// Any thread. Listeners keep it.
class AnswerFeed : public std::enable_shared_from_this<AnswerFeed> {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  static constexpr std::int64_t kKeptBytesMax = std::int64_t{1} << 20;
  /// A listener that is too far behind so often, without having caught up in between, is cut.
  static constexpr int kSnapshotsMax = 4;

  /// `name` makes its ids: no other feed, of this process or of another, may have it.
  explicit AnswerFeed(std::string name) : name_(std::move(name)) {}

  /// The first answer, or what changed since the last; listeners that wait are given it. Nothing changed: nothing is
  /// sent.
  void Publish(LiveAnswer answer);
  /// A comment to those who have been given nothing for `silence`: so clients, and proxies, know that it is there.
  void KeepAlive(SteadyTime now, std::chrono::milliseconds silence);
  /// No more comes: listeners get an event `error` with `problem` as its data, if there is one, and the end.
  void Close(std::optional<std::string> problem);

  /// After Publish(). `last_event_id`: of this feed, or any text.
  std::unique_ptr<http::BodySource> Listen(std::string_view last_event_id);

  int listeners() const;
  bool closed() const;
  std::int64_t bytes() const;

 private:
  class Listener;
  using Take = std::function<void(http::Chunk)>;
  struct Event {
    std::int64_t number = 0;
    std::string text;
  };

  void Append(std::string_view event, std::string_view data);
  std::string IdOf(std::int64_t number) const;
  std::optional<std::int64_t> NumberOf(std::string_view id) const;
  std::int64_t first_kept() const { return events_.empty() ? number_ + 1 : events_.front().number; }
  /// What `listener` is to be given, if there is something.
  std::optional<http::Chunk> NextOf(Listener& listener);
  /// With what NextOf() says; to be called without the lock.
  std::list<std::pair<Take, http::Chunk>> TakeWaiting();
  const std::shared_ptr<const std::string>& Snapshot();

  const std::string name_;
  mutable std::mutex mutex_;  // Guards all that follows, and the listeners' state.
  std::optional<LiveAnswer> answer_;
  std::int64_t answer_bytes_ = 0;
  std::int64_t number_ = 0;  // Of the last event.
  std::deque<Event> events_;
  std::int64_t events_bytes_ = 0;
  std::shared_ptr<const std::string> snapshot_;  // As an event, of number_; nullptr: nobody has needed it.
  bool closed_ = false;
  std::optional<std::string> problem_;
  std::list<Listener*> listeners_;
};

}  // namespace millrace::serve
