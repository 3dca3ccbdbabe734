#include "serve/answer_feed.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/status.h"

namespace millrace::serve {
namespace {

constexpr std::size_t kChunkBytes = 64 << 10;

}  // namespace

class AnswerFeed::Listener final : public http::BodySource {
 public:
  Listener(std::shared_ptr<AnswerFeed> feed, std::optional<std::int64_t> after) : feed_(std::move(feed)) {
    const std::scoped_lock lock(feed_->mutex_);
    place_ = feed_->listeners_.insert(feed_->listeners_.end(), this);
    next_ = after ? *after + 1 : 0;
    if (!after) snapshots_ = -1;  // The first is no sign of being slow.
  }
  ~Listener() override {
    const std::scoped_lock lock(feed_->mutex_);
    feed_->listeners_.erase(place_);
  }

  void Next(Take take) override {
    std::optional<http::Chunk> chunk;
    {
      const std::scoped_lock lock(feed_->mutex_);
      chunk = feed_->NextOf(*this);
      if (!chunk) {
        snapshots_ = 0;
        take_ = std::move(take);
        return;
      }
    }
    take(*std::move(chunk));
  }

 private:
  friend class AnswerFeed;

  const std::shared_ptr<AnswerFeed> feed_;
  // All guarded by the feed's mutex.
  std::list<Listener*>::iterator place_;
  std::int64_t next_ = 0;                        // The event that comes next; 0: a snapshot.
  std::shared_ptr<const std::string> snapshot_;  // Being given.
  std::size_t snapshot_given_ = 0;               // Bytes of it.
  int snapshots_ = 0;                            // Since it had all that there was.
  bool said_problem_ = false;
  Take take_;                              // Empty: it does not wait.
  std::optional<SteadyTime> waits_since_;  // As KeepAlive() saw it.
};

std::string AnswerFeed::IdOf(std::int64_t number) const { return fmt::format("{}-{}", name_, number); }

std::optional<std::int64_t> AnswerFeed::NumberOf(std::string_view id) const {
  if (!id.starts_with(name_) || id.substr(name_.size(), 1) != "-") return std::nullopt;
  const std::string_view digits = id.substr(name_.size() + 1);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size() || number < 0 || number > number_) {
    return std::nullopt;
  }
  return number;
}

void AnswerFeed::Append(std::string_view event, std::string_view data) {
  ++number_;
  events_.push_back({number_, EventText(event, IdOf(number_), data)});
  events_bytes_ += std::ssize(events_.back().text);
  snapshot_ = nullptr;
  while (events_bytes_ > kKeptBytesMax && events_.size() > 1) {
    events_bytes_ -= std::ssize(events_.front().text);
    events_.pop_front();
  }
}

const std::shared_ptr<const std::string>& AnswerFeed::Snapshot() {
  if (snapshot_ == nullptr) {
    snapshot_ = std::make_shared<const std::string>(EventText("snapshot", IdOf(number_), SnapshotJson(*answer_)));
  }
  return snapshot_;
}

std::optional<http::Chunk> AnswerFeed::NextOf(Listener& listener) {
  if (listener.snapshot_ != nullptr) {
    std::string piece = listener.snapshot_->substr(listener.snapshot_given_, kChunkBytes);
    listener.snapshot_given_ += piece.size();
    if (listener.snapshot_given_ == listener.snapshot_->size()) listener.snapshot_ = nullptr;
    return http::Chunk(std::move(piece));
  }
  if (closed_) {
    if (listener.said_problem_ || !problem_) return http::Chunk(std::optional<std::string>());
    listener.said_problem_ = true;
    return http::Chunk(fmt::format("event: error\ndata: {}\n\n", *problem_));
  }
  if (listener.next_ > number_) return std::nullopt;
  if (listener.next_ < first_kept()) {
    if (++listener.snapshots_ > kSnapshotsMax) {
      if (listener.said_problem_) return http::Chunk(std::optional<std::string>());
      listener.said_problem_ = true;
      return http::Chunk(
          "event: error\ndata: {\"status\":429,\"code\":\"too_slow\",\"detail\":\"The answer changes faster than this "
          "connection takes the changes.\"}\n\n");
    }
    listener.next_ = number_ + 1;
    listener.snapshot_ = Snapshot();
    listener.snapshot_given_ = 0;
    return NextOf(listener);
  }
  std::string text;
  for (auto event = events_.begin() + (listener.next_ - events_.front().number); event != events_.end(); ++event) {
    if (!text.empty() && text.size() + event->text.size() > kChunkBytes) break;
    text += event->text;
    listener.next_ = event->number + 1;
  }
  return http::Chunk(std::move(text));
}

std::list<std::pair<AnswerFeed::Take, http::Chunk>> AnswerFeed::TakeWaiting() {
  std::list<std::pair<Take, http::Chunk>> given;
  for (Listener* const listener : listeners_) {
    if (!listener->take_) continue;
    auto chunk = NextOf(*listener);
    if (!chunk) continue;
    listener->waits_since_.reset();
    given.emplace_back(std::exchange(listener->take_, nullptr), *std::move(chunk));
  }
  return given;
}

void AnswerFeed::Publish(LiveAnswer answer) {
  std::list<std::pair<Take, http::Chunk>> given;
  {
    const std::scoped_lock lock(mutex_);
    if (closed_) return;
    answer_bytes_ = answer.bytes();
    if (!answer_) {
      // Who begins gets it as a snapshot.
      answer_ = std::move(answer);
      return;
    }
    const AnswerChanges changes = Between(*answer_, answer);
    answer_ = std::move(answer);
    if (!changes.upserts.empty() || !changes.removed.empty() || changes.errors_changed || changes.partial_changed) {
      Append("upsert", UpsertJson(changes, *answer_));
    }
    if (!changes.completed.empty()) Append("final", FinalJson(changes, *answer_));
    if (changes.watermark_moved) Append("watermark", WatermarkJson(*answer_));
    given = TakeWaiting();
  }
  for (auto& [take, chunk] : given) take(std::move(chunk));
}

void AnswerFeed::KeepAlive(SteadyTime now, std::chrono::milliseconds silence) {
  std::list<Take> silent;
  {
    const std::scoped_lock lock(mutex_);
    for (Listener* const listener : listeners_) {
      if (!listener->take_) continue;
      if (!listener->waits_since_) listener->waits_since_ = now;
      if (now - *listener->waits_since_ < silence) continue;
      listener->waits_since_.reset();
      silent.push_back(std::exchange(listener->take_, nullptr));
    }
  }
  for (auto& take : silent) take(http::Chunk(std::string(": \n\n")));
}

void AnswerFeed::Close(std::optional<std::string> problem) {
  std::list<std::pair<Take, http::Chunk>> given;
  {
    const std::scoped_lock lock(mutex_);
    if (closed_) return;
    closed_ = true;
    problem_ = std::move(problem);
    given = TakeWaiting();
  }
  for (auto& [take, chunk] : given) take(std::move(chunk));
}

std::unique_ptr<http::BodySource> AnswerFeed::Listen(std::string_view last_event_id) {
  std::optional<std::int64_t> after;
  {
    const std::scoped_lock lock(mutex_);
    after = NumberOf(last_event_id);
  }
  return std::make_unique<Listener>(shared_from_this(), after);
}

int AnswerFeed::listeners() const {
  const std::scoped_lock lock(mutex_);
  return static_cast<int>(listeners_.size());
}

bool AnswerFeed::closed() const {
  const std::scoped_lock lock(mutex_);
  return closed_;
}

std::int64_t AnswerFeed::bytes() const {
  const std::scoped_lock lock(mutex_);
  return answer_bytes_ + events_bytes_ + (snapshot_ == nullptr ? 0 : std::ssize(*snapshot_));
}

}  // namespace millrace::serve
