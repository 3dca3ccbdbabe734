#include "objectstore/memory_store.h"

#include <arrow/io/memory.h>

#include <map>
#include <mutex>
#include <utility>

#include "objectstore/object_key.h"

namespace millrace::objectstore {
namespace {

struct Object {
  std::shared_ptr<arrow::Buffer> bytes;  // Never changed: who reads it may go on when it is replaced.
  UnixMicros modified = 0;
};

struct Objects {
  std::mutex mutex;
  std::map<std::string, Object> by_key;

  void Put(const std::string& key, std::shared_ptr<arrow::Buffer> bytes) {
    const std::scoped_lock lock(mutex);
    by_key.insert_or_assign(key, Object{std::move(bytes), SystemClock().Now()});
  }
};

class MemoryUpload final : public Upload {
 public:
  MemoryUpload(std::shared_ptr<Objects> objects, std::string key, std::shared_ptr<arrow::io::BufferOutputStream> bytes)
      : objects_(std::move(objects)), key_(std::move(key)), bytes_(std::move(bytes)) {}
  ~MemoryUpload() override { static_cast<void>(Close()); }

  Status Write(const void* data, std::int64_t size) override { return bytes_->Write(data, size); }
  Result<std::int64_t> Tell() const override { return bytes_->Tell(); }
  Status Close() override { return bytes_->Close(); }
  bool closed() const override { return bytes_->closed(); }
  Status Finish() override {
    if (closed()) return InvalidInput("finish {}: the upload is closed", key_);
    ASSIGN_OR_RETURN(auto bytes, bytes_->Finish());
    objects_->Put(key_, std::move(bytes));
    return Status::OK();
  }
  std::int64_t buffered_bytes() const override { return closed() ? 0 : bytes_->Tell().ValueOr(0); }

 private:
  const std::shared_ptr<Objects> objects_;
  const std::string key_;
  const std::shared_ptr<arrow::io::BufferOutputStream> bytes_;
};

class MemoryStore final : public ObjectStore {
 public:
  const std::string& uri() const override {
    static const std::string kUri = "memory:";
    return kUri;
  }

  Result<PutOutcome> PutIfAbsent(const std::string& key, std::string_view bytes) override {
    RETURN_NOT_OK(CheckKey(key));
    const std::scoped_lock lock(objects_->mutex);
    const bool is_new =
        objects_->by_key.try_emplace(key, Object{arrow::Buffer::FromString(std::string(bytes)), SystemClock().Now()})
            .second;
    return is_new ? PutOutcome::kCreated : PutOutcome::kExists;
  }

  Status Put(const std::string& key, std::string_view bytes) override {
    RETURN_NOT_OK(CheckKey(key));
    objects_->Put(key, arrow::Buffer::FromString(std::string(bytes)));
    return Status::OK();
  }

  Result<std::shared_ptr<Upload>> StartUpload(const std::string& key) override {
    RETURN_NOT_OK(CheckKey(key));
    ASSIGN_OR_RETURN(auto bytes, arrow::io::BufferOutputStream::Create());
    return std::make_shared<MemoryUpload>(objects_, key, std::move(bytes));
  }

  Result<std::shared_ptr<arrow::Buffer>> Read(const std::string& key) override {
    RETURN_NOT_OK(CheckKey(key));
    const std::scoped_lock lock(objects_->mutex);
    const auto found = objects_->by_key.find(key);
    if (found == objects_->by_key.end()) return NotFound("{}: there is no such object in memory", key);
    return found->second.bytes;
  }

  Result<std::shared_ptr<arrow::io::RandomAccessFile>> Open(const std::string& key) override {
    ASSIGN_OR_RETURN(auto bytes, Read(key));
    return std::make_shared<arrow::io::BufferReader>(std::move(bytes));
  }

  Result<std::optional<ObjectInfo>> Stat(const std::string& key) override {
    RETURN_NOT_OK(CheckKey(key));
    const std::scoped_lock lock(objects_->mutex);
    const auto found = objects_->by_key.find(key);
    if (found == objects_->by_key.end()) return std::nullopt;
    return ObjectInfo{key, found->second.bytes->size(), found->second.modified};
  }

  Result<std::vector<ObjectInfo>> List(const std::string& prefix, const std::string& start_after) override {
    const std::scoped_lock lock(objects_->mutex);
    std::vector<ObjectInfo> found;
    for (auto it = objects_->by_key.lower_bound(prefix); it != objects_->by_key.end() && it->first.starts_with(prefix);
         ++it) {
      if (it->first > start_after) found.push_back({it->first, it->second.bytes->size(), it->second.modified});
    }
    return found;
  }

  Status Delete(const std::string& key) override {
    RETURN_NOT_OK(CheckKey(key));
    const std::scoped_lock lock(objects_->mutex);
    objects_->by_key.erase(key);
    return Status::OK();
  }

 private:
  const std::shared_ptr<Objects> objects_ = std::make_shared<Objects>();
};

}  // namespace

std::shared_ptr<ObjectStore> MakeMemoryStore() { return std::make_shared<MemoryStore>(); }

}  // namespace millrace::objectstore
