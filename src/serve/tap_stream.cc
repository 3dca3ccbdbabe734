#include "serve/tap_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>
#include <vector>

#include "serve/answer_writer.h"

namespace millrace::serve {
namespace {

namespace json = boost::json;
constexpr std::size_t kChunkBytesMax = 64 << 10;
constexpr std::chrono::seconds kBetweenSkipped{1};

std::string TapEvent(std::string_view name, std::string_view data) {
  return fmt::format("event: {}\ndata: {}\n\n", name, data);
}

Status AppendEach(std::string_view name, const arrow::RecordBatch& batch, std::vector<std::string>& events) {
  std::string lines;
  RETURN_NOT_OK(AppendNdjson(batch, lines));
  for (std::string_view rest = lines; !rest.empty();) {
    const auto end = rest.find('\n');
    events.push_back(TapEvent(name, rest.substr(0, end)));
    rest.remove_prefix(end + 1);
  }
  return Status::OK();
}

}  // namespace

class TapStream::Listener final : public http::BodySource {
 public:
  explicit Listener(std::shared_ptr<TapStream> stream) : stream_(std::move(stream)) {}
  ~Listener() override {
    const std::scoped_lock lock(stream_->mutex_);
    stream_->left_ = true;
    stream_->take_ = nullptr;
  }

  void Next(Take take) override {
    std::optional<http::Chunk> chunk;
    {
      const std::scoped_lock lock(stream_->mutex_);
      chunk = stream_->Next();
      if (!chunk) {
        stream_->take_ = std::move(take);
        return;
      }
    }
    take(*std::move(chunk));
  }

 private:
  const std::shared_ptr<TapStream> stream_;
};

std::int64_t TapStream::Allowance::LeftAt(SteadyTime now) {
  left_ = std::min(per_second_, left_ + per_second_ * std::chrono::duration<double>(now - since_).count());
  since_ = now;
  return std::max<std::int64_t>(0, static_cast<std::int64_t>(left_));
}

TapStream::TapStream(const Options& options, SteadyTime now)
    : options_(options),
      shown_(options.shown_per_second, now),
      looked_at_(options.looked_at_per_second, now),
      given_at_(now) {}

bool TapStream::HasRoomFor(std::size_t bytes) const {
  return events_bytes_ + static_cast<std::int64_t>(bytes) <= options_.queued_bytes_max;
}

void TapStream::Append(std::string event) {
  events_bytes_ += std::ssize(event);
  events_.push_back(std::move(event));
}

void TapStream::Begin(const TapSource& source) {
  json::array columns;
  for (const auto& name : source.schema()->field_names()) columns.emplace_back(name);
  json::object from;
  for (const auto& [partition, offset] : source.start()) {
    auto& of_topic = from[partition.topic];
    if (of_topic.is_null()) of_topic.emplace_object();
    of_topic.as_object()[std::to_string(partition.partition)] = offset;
  }
  {
    const std::scoped_lock lock(mutex_);
    Append(
        TapEvent("start", json::serialize(json::object{{"columns", std::move(columns)}, {"from", std::move(from)}})));
  }
  Give();
}

Status TapStream::Look(TapSource& source, SteadyTime now, std::chrono::milliseconds wait) {
  bool has_room = false;
  {
    const std::scoped_lock lock(mutex_);
    has_room = HasRoomFor(0);
  }
  ASSIGN_OR_RETURN(const auto seen, source.Look(wait, {.shown = has_room ? shown_.LeftAt(now) : 0,
                                                       .looked_at = looked_at_.LeftAt(now)}));
  looked_at_.Spend(seen.looked_at);
  std::vector<std::string> events;
  for (const auto& rows : seen.rows) RETURN_NOT_OK(AppendEach("row", *rows, events));
  for (const auto& letters : seen.letters) RETURN_NOT_OK(AppendEach("dead_letter", *letters, events));
  shown_.Spend(std::ssize(events));
  {
    const std::scoped_lock lock(mutex_);
    skipped_ += seen.skipped;
    for (auto& event : events) {
      if (HasRoomFor(event.size())) {
        Append(std::move(event));
      } else {
        ++skipped_;
      }
    }
    for (const auto& trouble : seen.troubles) {
      std::string event = TapEvent("trouble", json::serialize(json::object{{"detail", trouble}}));
      if (HasRoomFor(event.size())) Append(std::move(event));
    }
    if (skipped_ > 0 && HasRoomFor(0) && (!told_skipped_at_ || now - *told_skipped_at_ >= kBetweenSkipped)) {
      Append(TapEvent("skipped", fmt::format("{{\"records\":{}}}", std::exchange(skipped_, 0))));
      told_skipped_at_ = now;
    }
    if (!events_.empty()) {
      given_at_ = now;
    } else if (take_ && now - given_at_ >= options_.keep_alive) {
      Append(": \n\n");
      given_at_ = now;
    }
  }
  Give();
  return Status::OK();
}

void TapStream::End(std::optional<std::string> problem) {
  {
    const std::scoped_lock lock(mutex_);
    if (ended_) return;
    ended_ = true;
    problem_ = std::move(problem);
  }
  Give();
}

bool TapStream::is_wanted() const {
  const std::scoped_lock lock(mutex_);
  return !left_;
}

std::optional<http::Chunk> TapStream::Next() {
  if (!events_.empty()) {
    std::string chunk;
    while (!events_.empty() && (chunk.empty() || chunk.size() + events_.front().size() <= kChunkBytesMax)) {
      events_bytes_ -= std::ssize(events_.front());
      chunk += events_.front();
      events_.pop_front();
    }
    return http::Chunk(std::move(chunk));
  }
  if (!ended_) return std::nullopt;
  if (!problem_) return http::Chunk(std::optional<std::string>());
  return http::Chunk(TapEvent("error", *std::exchange(problem_, std::nullopt)));
}

void TapStream::Give() {
  Take take;
  std::optional<http::Chunk> chunk;
  {
    const std::scoped_lock lock(mutex_);
    if (!take_) return;
    chunk = Next();
    if (!chunk) return;
    take = std::exchange(take_, nullptr);
  }
  take(*std::move(chunk));
}

std::unique_ptr<http::BodySource> TapStream::Listen() { return std::make_unique<Listener>(shared_from_this()); }

}  // namespace millrace::serve
