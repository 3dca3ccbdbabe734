/// What a tap sees, as server-sent events for one client: so many a second, so many bytes waiting, and the rest
/// counted.
///
///     event: start        data: {"columns": [name], "from": {topic: {partition: offset}}}
///     event: row          data: {column: value}, as in NDJSON
///     event: dead_letter  data: {"topic", "partition", "offset", "timestamp", "key", "payload", "headers", "stage",
///                                "reason", "detail"}
///     event: skipped      data: {"records": n}: not shown since the last such event, which come a second apart at
///     least event: trouble      data: {"detail"}: what keeps events from coming, and passes event: error        data:
///     a problem, and the end
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "http/body.h"
#include "serve/tap_source.h"

namespace millrace::serve {

/// Two threads: one looks (Begin, Look, End), one sends (what Listen() gives). The client never keeps the one that
/// looks waiting: what does not fit is counted as skipped.
class TapStream : public std::enable_shared_from_this<TapStream> {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;
  struct Options {
    std::int64_t shown_per_second = 200;           ///< More is nothing that people could read.
    std::int64_t looked_at_per_second = 100'000;   ///< Records, of which `where` may leave few.
    std::int64_t queued_bytes_max = 1 << 20;       ///< Of events that the client has not taken yet.
    std::chrono::milliseconds keep_alive{15'000};  ///< Silence, after which a comment is sent.
  };

  TapStream(const Options& options, SteadyTime now);

  void Begin(const TapSource& source);
  /// Looks once. The source's errors, after which there is no more to see.
  Status Look(TapSource& source, SteadyTime now, std::chrono::milliseconds wait);
  /// What waits is still sent, then an event `error` with `problem` as its data, if there is one, and the end.
  void End(std::optional<std::string> problem);
  /// Whether somebody is still there to take the events.
  bool is_wanted() const;

  /// Once.
  std::unique_ptr<http::BodySource> Listen();

 private:
  using Take = std::function<void(http::Chunk)>;
  class Listener;

  /// So much a second, and what is left of one second at once.
  class Allowance {
   public:
    Allowance(std::int64_t per_second, SteadyTime now)
        : per_second_(static_cast<double>(per_second)), left_(per_second_), since_(now) {}
    std::int64_t LeftAt(SteadyTime now);
    void Spend(std::int64_t count) { left_ -= static_cast<double>(count); }

   private:
    const double per_second_;
    double left_;
    SteadyTime since_;
  };

  // All with mutex_ held.
  bool HasRoomFor(std::size_t bytes) const;
  void Append(std::string event);
  /// What the client is to be given, if there is something.
  std::optional<http::Chunk> Next();

  /// For a client that waits; to be called without the lock.
  void Give();

  const Options options_;
  // Of the thread that looks.
  Allowance shown_;
  Allowance looked_at_;
  mutable std::mutex mutex_;  // Guards all that follows.
  std::deque<std::string> events_;
  std::int64_t events_bytes_ = 0;
  std::int64_t skipped_ = 0;  // Not told yet.
  std::optional<SteadyTime> told_skipped_at_;
  SteadyTime given_at_;  // When the client was given something, as far as Look() knows.
  bool ended_ = false;
  std::optional<std::string> problem_;  // To be told.
  bool left_ = false;                   // The client.
  Take take_;                           // Empty: the client does not wait.
};

}  // namespace millrace::serve
