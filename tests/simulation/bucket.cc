#include "bucket.h"

#include <arrow/io/memory.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "task_internal.h"

namespace millrace::simulation {

using objectstore::ObjectInfo;
using objectstore::PutOutcome;
using objectstore::Upload;

namespace {

constexpr std::size_t kKeysPerPage = 50;

bool Happens(std::uint64_t of_a_hundred_thousand) { return Dice(100'000) < of_a_hundred_thousand; }

std::int64_t BucketClock() { return UnixAtBegin() + Now(); }

}  // namespace

/// Any number of them. The bucket outlives all of a run.
class Client final : public objectstore::ObjectStore, public std::enable_shared_from_this<Client> {
 public:
  explicit Client(Bucket& bucket) : bucket_(bucket) {}

  const std::string& uri() const override {
    static const std::string kUri = "s3://simulated/lake";
    return kUri;
  }

  Result<PutOutcome> PutIfAbsent(const std::string& key, std::string_view bytes) override {
    auto outcome = std::make_shared<PutOutcome>(PutOutcome::kExists);
    const auto arrive = [this, key, outcome, copy = std::string(bytes)](Sender sender) {
      if (bucket_.objects_.contains(key)) {
        Count("put if absent: 412");
        return;
      }
      *outcome = PutOutcome::kCreated;
      Create(key, copy, sender);
    };
    RETURN_NOT_OK(Send("put if absent", key, kUnknown, arrive));
    if (*outcome == PutOutcome::kCreated && Happens(bucket_.weather.seen_twice)) {
      Tell("the reply to " + key + " was lost, its repetition met itself: 412");
      Count("put if absent: 412 after an own success");
      return PutOutcome::kExists;
    }
    if (*outcome == PutOutcome::kExists) Tell(key + ": 412");
    return *outcome;
  }

  Status Put(const std::string& key, std::string_view bytes) override {
    return Send("put", key, kRepeatable,
                [this, key, copy = std::string(bytes)](Sender sender) { Create(key, copy, sender); });
  }

  Result<std::shared_ptr<Upload>> StartUpload(const std::string& key) override;

  Result<std::shared_ptr<arrow::Buffer>> Read(const std::string& key) override {
    auto found = std::make_shared<std::shared_ptr<arrow::Buffer>>();
    RETURN_NOT_OK(Send("get", key, kReads, [this, key, found](Sender) {
      const auto object = bucket_.objects_.find(key);
      if (object != bucket_.objects_.end()) *found = object->second.bytes;
    }));
    if (*found == nullptr) return NotFound("{}: no such key", key);
    return *found;
  }

  Result<std::shared_ptr<arrow::io::RandomAccessFile>> Open(const std::string& key) override;

  Result<std::optional<ObjectInfo>> Stat(const std::string& key) override {
    auto found = std::make_shared<std::optional<ObjectInfo>>();
    RETURN_NOT_OK(Send("head", key, kReads, [this, key, found](Sender) {
      const auto object = bucket_.objects_.find(key);
      if (object != bucket_.objects_.end()) *found = InfoOf(*object);
    }));
    return *found;
  }

  // Page by page, and between two of them time passes.
  Result<std::vector<ObjectInfo>> List(const std::string& prefix, const std::string& start_after) override {
    std::vector<ObjectInfo> all;
    std::string after = start_after;
    for (;;) {
      auto page = std::make_shared<std::vector<ObjectInfo>>();
      RETURN_NOT_OK(Send("list", prefix, kReads, [this, prefix, after, page](Sender) {
        auto it = bucket_.objects_.lower_bound(prefix);
        if (after >= prefix) it = bucket_.objects_.upper_bound(after);
        for (; it != bucket_.objects_.end() && it->first.starts_with(prefix) && page->size() < kKeysPerPage; ++it) {
          page->push_back(InfoOf(*it));
        }
      }));
      all.insert(all.end(), page->begin(), page->end());
      if (page->size() < kKeysPerPage) return all;
      after = page->back().key;
      Sleep(Between(0, bucket_.weather.list_latency_max));
    }
  }

  Status Delete(const std::string& key) override {
    return Send("delete", key, kDeletes, [this, key](Sender) {
      if (bucket_.objects_.erase(key) > 0) bucket_.on_delete(key);
    });
  }

  int requests_at_once() const override { return bucket_.requests_at_once; }
  bool is_far() const override { return bucket_.is_far; }
  void Interrupt() override { interrupted_ = true; }

 private:
  friend class SimulatedUpload;
  friend class SimulatedFile;
  enum Kind { kReads, kDeletes, kRepeatable, kUnknown };

  static ObjectInfo InfoOf(const std::pair<const std::string, Object>& object) {
    return {.key = object.first, .size = object.second.bytes->size(), .modified = object.second.modified};
  }

  void Create(const std::string& key, const std::string& bytes, Sender sender) {
    const bool is_new = !bucket_.objects_.contains(key);
    bucket_.objects_[key] = {arrow::Buffer::FromString(bytes), BucketClock()};
    if (is_new) bucket_.on_create(key, bytes, sender);
  }

  static bool IsAway(Outage::Of of, Kind kind) {
    switch (of) {
      case Outage::Of::kEverything:
        return true;
      case Outage::Of::kCommits:
        return kind == kUnknown;
      case Outage::Of::kSpace:
        return kind == kUnknown || kind == kRepeatable;
    }
    return false;
  }

  // On its way, done, and on the way back.
  Status Send(const char* what, const std::string& key, Kind kind, std::function<void(Sender)> arrive) {
    const Weather& weather = bucket_.weather;
    if (interrupted_) return Cancelled("{} {}: interrupted", what, key);
    // What arrives may find that its sender has ended.
    arrive = [self = shared_from_this(), arrive = std::move(arrive)](Sender sender) { arrive(sender); };
    Sender sender{.process = CurrentProcess()};
    Tell(std::string(what) + " " + key);
    const bool is_list = std::strcmp(what, "list") == 0;
    const Micros latency = Between(weather.latency_min, is_list ? weather.list_latency_max : weather.latency_max);
    const Outage& outage = bucket_.outage;
    if (Now() < outage.until && key.starts_with(outage.below) && IsAway(outage.of, kind)) {
      Count(outage.of == Outage::Of::kCommits ? "store: no commits in an outage"
            : outage.of == Outage::Of::kSpace ? "store: no space"
                                              : "store: nothing in an outage");
      if (kind == kUnknown) bucket_.last_refused = Now();
      Sleep(Between(latency, 2 * kSecond));
      return Transient("{} {}: {}", what, key,
                       outage.of == Outage::Of::kSpace ? "no space left on device" : "503 Service Unavailable");
    }
    if (Happens(weather.throttled)) {
      Count(std::string("store: throttled ") + what);
      // The client has backed off and tried again before it says so.
      Sleep(Between(latency, 2 * kSecond));
      return Transient("{} {}: 503 SlowDown", what, key);
    }
    if (kind != kReads && Happens(weather.late)) {
      Count(std::string("store: late ") + what);
      sender.has_given_up = true;
      At(Now() + Between(kSecond, 30 * kSecond), [arrive = std::move(arrive), what, key, sender] {
        Tell(std::string(what) + " " + key + " arrives late");
        arrive(sender);
      });
      Sleep(Between(kMillisecond, 3 * kSecond));
      Tell(std::string("no reply to ") + what + " " + key);
      if (kind == kUnknown) return UnknownOutcome("{} {}: no reply", what, key);
      return Transient("{} {}: no reply", what, key);
    }
    auto arrived = std::make_shared<bool>(false);
    At(Now() + latency / 2, [arrive = std::move(arrive), arrived, sender] {
      *arrived = true;
      arrive(sender);
    });
    Sleep(latency);
    if (!*arrived) Sleep(1);
    if (Happens(weather.lost_replies)) {
      Count(std::string("store: lost reply to ") + what);
      Sleep(Between(0, kSecond));
      Tell(std::string("the reply to ") + what + " " + key + " is lost");
      if (kind == kUnknown) return UnknownOutcome("{} {}: connection reset", what, key);
      return Transient("{} {}: connection reset", what, key);
    }
    if (interrupted_) return Cancelled("{} {}: interrupted", what, key);
    return Status::OK();
  }

  Bucket& bucket_;
  bool interrupted_ = false;
};

class SimulatedUpload final : public Upload {
 public:
  SimulatedUpload(std::shared_ptr<Client> client, std::string key) : client_(std::move(client)), key_(std::move(key)) {}

  Status Write(const void* data, std::int64_t size) override {
    if (closed_) return InvalidInput("{}: the upload is closed", key_);
    bytes_.append(static_cast<const char*>(data), static_cast<std::size_t>(size));
    return Status::OK();
  }
  Result<std::int64_t> Tell() const override { return static_cast<std::int64_t>(bytes_.size()); }
  Status Close() override {
    closed_ = true;
    return Status::OK();
  }
  bool closed() const override { return closed_; }
  Status Finish() override {
    if (closed_) return InvalidInput("{}: the upload is closed", key_);
    closed_ = true;
    return client_->Send("upload", key_, Client::kRepeatable,
                         [client = client_, key = key_, bytes = std::move(bytes_)](Sender sender) {
                           client->Create(key, bytes, sender);
                         });
  }
  std::int64_t buffered_bytes() const override { return static_cast<std::int64_t>(bytes_.size()); }

 private:
  const std::shared_ptr<Client> client_;
  const std::string key_;
  std::string bytes_;
  bool closed_ = false;
};

class SimulatedFile final : public arrow::io::RandomAccessFile {
 public:
  SimulatedFile(std::shared_ptr<Client> client, std::string key, std::int64_t size)
      : client_(std::move(client)), key_(std::move(key)), size_(size) {}

  Result<std::int64_t> GetSize() override { return size_; }
  Result<std::shared_ptr<arrow::Buffer>> ReadAt(std::int64_t position, std::int64_t count) override {
    auto found = std::make_shared<std::shared_ptr<arrow::Buffer>>();
    RETURN_NOT_OK(client_->Send("get a range of", key_, Client::kReads, [this, found](Sender) {
      const auto object = client_->bucket_.objects().find(key_);
      if (object != client_->bucket_.objects().end()) *found = object->second.bytes;
    }));
    if (*found == nullptr) return NotFound("{}: no such key", key_);
    const std::int64_t begin = std::min(position, size_);
    return arrow::SliceBuffer(*found, begin, std::min(count, size_ - begin));
  }
  Result<std::int64_t> ReadAt(std::int64_t position, std::int64_t count, void* out) override {
    ASSIGN_OR_RETURN(const auto bytes, ReadAt(position, count));
    std::memcpy(out, bytes->data(), static_cast<std::size_t>(bytes->size()));
    return bytes->size();
  }
  Result<std::int64_t> Read(std::int64_t count, void* out) override {
    ASSIGN_OR_RETURN(const auto read, ReadAt(position_, count, out));
    position_ += read;
    return read;
  }
  Result<std::shared_ptr<arrow::Buffer>> Read(std::int64_t count) override {
    ASSIGN_OR_RETURN(auto bytes, ReadAt(position_, count));
    position_ += bytes->size();
    return bytes;
  }
  Status Seek(std::int64_t position) override {
    position_ = position;
    return Status::OK();
  }
  Result<std::int64_t> Tell() const override { return position_; }
  Status Close() override {
    closed_ = true;
    return Status::OK();
  }
  bool closed() const override { return closed_; }

 private:
  const std::shared_ptr<Client> client_;
  const std::string key_;
  const std::int64_t size_;
  std::int64_t position_ = 0;
  bool closed_ = false;
};

Result<std::shared_ptr<Upload>> Client::StartUpload(const std::string& key) {
  return std::make_shared<SimulatedUpload>(shared_from_this(), key);
}

Result<std::shared_ptr<arrow::io::RandomAccessFile>> Client::Open(const std::string& key) {
  ASSIGN_OR_RETURN(const auto info, Stat(key));
  if (!info) return NotFound("{}: no such key", key);
  return std::make_shared<SimulatedFile>(shared_from_this(), key, info->size);
}

std::shared_ptr<objectstore::ObjectStore> Bucket::NewClient() { return std::make_shared<Client>(*this); }

}  // namespace millrace::simulation
