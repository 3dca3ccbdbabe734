#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <charconv>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/backoff.h"
#include "base/uuid.h"
#include "devices/sink.h"
#include "http/client.h"

namespace millrace::devices {
namespace {

namespace json = boost::json;
using std::chrono::steady_clock;

constexpr std::int64_t kBatchEvents = 500;
constexpr std::size_t kBatchBytes = 1 << 20;
constexpr std::size_t kQueuedBatches = 8;
constexpr int kConnections = 4;
constexpr std::chrono::seconds kGiveUpAfter{60};
constexpr std::chrono::seconds kRetryAfterMax{30};
constexpr BackoffRange kBackoff{std::chrono::milliseconds(100), std::chrono::seconds(5)};
constexpr std::size_t kReplyBytesMax = 4 << 20;

struct Batch {
  std::int64_t first = 0;
  std::int64_t end = 0;
  std::string key;
  std::string lines;
};

/// What a gateway said of some events of a batch.
struct Rejection {
  std::int64_t index = 0;
  std::string why;
};

std::string TextOf(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

/// nullopt: it is not the answer of a gateway.
std::optional<std::vector<Rejection>> ParseRejections(const std::string& body) {
  boost::system::error_code error;
  const auto document = json::parse(body, error);
  const auto* object = error ? nullptr : document.if_object();
  if (object == nullptr || !object->contains("accepted")) return std::nullopt;
  std::vector<Rejection> rejections;
  const auto* rejected = object->if_contains("rejected");
  if (rejected == nullptr || !rejected->is_array()) return rejections;
  for (const auto& entry : rejected->get_array()) {
    const auto* one = entry.if_object();
    const auto* index = one == nullptr ? nullptr : one->if_contains("index");
    if (index == nullptr || !index->is_int64()) return std::nullopt;
    const std::string detail = TextOf(*one, "detail");  // Not of each.
    rejections.push_back({index->get_int64(), TextOf(*one, "code") + (detail.empty() ? "" : ": " + detail)});
  }
  return rejections;
}

class HttpSink final : public Sink {
 public:
  HttpSink(HttpTarget target, OnOutcome on_outcome)
      : url_(std::move(target.url)),
        token_(std::move(target.token)),
        on_outcome_(std::move(on_outcome)),
        run_(RandomUuid()),
        client_({.reply_bytes_max = kReplyBytesMax}) {
    for (int i = 0; i < kConnections; ++i) senders_.emplace_back([this] { SendBatches(); });
  }

  ~HttpSink() override {
    client_.Interrupt();
    {
      const std::lock_guard lock(mutex_);
      is_closing_ = true;
    }
    news_.notify_all();
    for (auto& sender : senders_) sender.join();
    for (const auto& batch : queue_) on_outcome_(batch.first, batch.end, Outcome::kUnknown, {});
    if (!gathered_.lines.empty()) on_outcome_(gathered_.first, gathered_.end, Outcome::kUnknown, {});
  }

  Status Send(const SinkEvent& event, const std::stop_token& stop) override {
    const bool is_full =
        gathered_.end - gathered_.first >= kBatchEvents || gathered_.lines.size() + event.payload.size() > kBatchBytes;
    if (is_full) {
      ASSIGN_OR_RETURN(bool queued, Enqueue());
      while (!queued) {
        if (stop.stop_requested()) return Cancelled("stopped while the gateway had no room");
        std::unique_lock lock(mutex_);
        news_.wait_for(lock, kLookAgain);
        lock.unlock();
        ASSIGN_OR_RETURN(queued, Enqueue());
      }
    }
    if (gathered_.lines.empty()) gathered_.first = event.number;
    gathered_.lines += event.payload;
    gathered_.lines += '\n';
    gathered_.end = event.number + 1;
    return Status::OK();
  }

  Status Push() override { return Enqueue().status(); }

  Status Finish(std::chrono::milliseconds patience) override {
    const auto until = steady_clock::now() + patience;
    for (;;) {
      ASSIGN_OR_RETURN(const bool queued, Enqueue());
      std::unique_lock lock(mutex_);
      if (!failure_.ok()) return failure_;
      if (queued && queue_.empty() && num_sending_ == 0) return Status::OK();
      if (steady_clock::now() >= until) {
        return Transient("{}: not all events acknowledged after {} ms", url_, patience.count());
      }
      news_.wait_for(lock, kLookAgain);
    }
  }

 private:
  // False: the queue is full. The first failure of a batch.
  Result<bool> Enqueue() {
    const std::lock_guard lock(mutex_);
    if (!failure_.ok()) return failure_;
    if (gathered_.lines.empty()) return true;
    if (queue_.size() >= kQueuedBatches) return false;
    // Sent again after a lost answer it is the same request, and taken once.
    gathered_.key = fmt::format("{}-{}", run_, gathered_.first);
    queue_.push_back(std::exchange(gathered_, {}));
    news_.notify_all();
    return true;
  }

  void SendBatches() {
    std::unique_lock lock(mutex_);
    for (;;) {
      news_.wait(lock, [this] { return is_closing_ || !queue_.empty(); });
      if (is_closing_) return;
      const Batch batch = std::move(queue_.front());
      queue_.pop_front();
      ++num_sending_;
      lock.unlock();
      const Status sent = SendBatch(batch);
      lock.lock();
      if (!sent.ok() && failure_.ok()) failure_ = sent;
      --num_sending_;
      news_.notify_all();
    }
  }

  // Whatever it returns, everything is told of.
  Status SendBatch(const Batch& batch) {
    const auto reply = Answered(batch);
    const bool is_taken = reply.ok() && (reply->status == 200 || reply->status == 202);
    const auto rejections = is_taken ? ParseRejections(reply->body) : std::nullopt;
    if (rejections) return Tell(batch, *rejections);
    if (reply.ok() && IsOfTheBatch(reply->status)) {
      on_outcome_(batch.first, batch.end, Outcome::kRefused, fmt::format("HTTP {}", reply->status));
      return Status::OK();
    }
    on_outcome_(batch.first, batch.end, Outcome::kUnknown, {});
    if (!reply.ok()) return reply.status();
    return InvalidInput("{} is no gateway's: it answered {}: {}", url_, reply->status, reply->body.substr(0, 200));
  }

  // The first answer that is not "later". kTransient: there was none in time; kCancelled: the sink is closing.
  Result<http::ClientReply> Answered(const Batch& batch) {
    http::ClientRequest request{.method = "POST", .url = url_, .body = batch.lines};
    request.headers = {{"Content-Type", "application/x-ndjson"}, {"Idempotency-Key", batch.key}};
    if (!token_.empty()) request.headers.emplace_back("Authorization", "Bearer " + token_);
    const auto give_up_at = steady_clock::now() + kGiveUpAfter;
    for (int attempt = 0;; ++attempt) {
      http::ClientReply reply;
      http::ClientError error;
      std::string why;
      std::chrono::milliseconds pause = EqualJitter(attempt, kBackoff);
      if (client_.Send(request, reply, error)) {
        if (reply.status != 408 && reply.status != 429 && reply.status < 500) return reply;
        why = fmt::format("it answered {}: {}", reply.status, reply.body.substr(0, 200));
        int seconds = 0;
        const std::string& after = reply.Header("retry-after");
        std::from_chars(after.data(), after.data() + after.size(), seconds);
        pause = std::max<std::chrono::milliseconds>(
            pause, std::clamp(std::chrono::seconds(seconds), std::chrono::seconds(0), kRetryAfterMax));
      } else {
        why = error.message;
        if (error.failure == http::ClientFailure::kCancelled) return Cancelled("{}: given up", url_);
        if (error.failure == http::ClientFailure::kUntrusted) return InvalidInput("{}: {}", url_, why);
      }
      if (steady_clock::now() + pause > give_up_at) {
        return Transient("{}: not accepted for {} s: {}", url_, kGiveUpAfter.count(), why);
      }
      std::unique_lock lock(mutex_);
      if (news_.wait_for(lock, pause, [this] { return is_closing_; })) return Cancelled("{}: given up", url_);
    }
  }

  // A body that the gateway cannot take, sent again, stays one.
  static bool IsOfTheBatch(int status) { return status == 400 || status == 413 || status == 422; }

  Status Tell(const Batch& batch, std::vector<Rejection> rejections) {
    std::sort(rejections.begin(), rejections.end(), [](const auto& a, const auto& b) { return a.index < b.index; });
    std::int64_t next = batch.first;
    for (const auto& [index, why] : rejections) {
      const std::int64_t number = batch.first + index;
      if (number < next || number >= batch.end) {
        if (next < batch.end) on_outcome_(next, batch.end, Outcome::kUnknown, {});
        return Internal("{} rejected event {} of a batch of {}", url_, index, batch.end - batch.first);
      }
      if (number > next) on_outcome_(next, number, Outcome::kAcknowledged, {});
      on_outcome_(number, number + 1, Outcome::kRefused, why);
      next = number + 1;
    }
    if (next < batch.end) on_outcome_(next, batch.end, Outcome::kAcknowledged, {});
    return Status::OK();
  }

  const std::string url_;
  const std::string token_;
  const OnOutcome on_outcome_;
  const std::string run_;
  http::Client client_;
  Batch gathered_;  // The caller's thread.
  std::mutex mutex_;
  std::condition_variable news_;
  // Guarded by mutex_.
  std::deque<Batch> queue_;
  int num_sending_ = 0;
  bool is_closing_ = false;
  Status failure_;
  std::vector<std::thread> senders_;  // Last: use all of the above.
};

}  // namespace

std::unique_ptr<Sink> MakeHttpSink(HttpTarget target, OnOutcome on_outcome) {
  return std::make_unique<HttpSink>(std::move(target), std::move(on_outcome));
}

}  // namespace millrace::devices
