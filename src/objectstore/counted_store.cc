#include "objectstore/counted_store.h"

#include <array>
#include <atomic>
#include <utility>

namespace millrace::objectstore {

namespace {

class Counter {
 public:
  void Count(RequestKind kind) { ++requests_[static_cast<std::size_t>(kind)]; }
  void Sent(std::int64_t bytes) { bytes_sent_ += bytes; }
  void Received(std::int64_t bytes) { bytes_received_ += bytes; }

  StoreUsage Read() const {
    StoreUsage usage;
    for (std::size_t i = 0; i < kNumRequestKinds; ++i) usage.requests[i] = requests_[i];
    usage.bytes_sent = bytes_sent_;
    usage.bytes_received = bytes_received_;
    return usage;
  }

 private:
  std::array<std::atomic<std::int64_t>, kNumRequestKinds> requests_{};
  std::atomic<std::int64_t> bytes_sent_{0};
  std::atomic<std::int64_t> bytes_received_{0};
};

class CountedUpload final : public Upload {
 public:
  CountedUpload(std::shared_ptr<Upload> upload, std::shared_ptr<Counter> counter)
      : upload_(std::move(upload)), counter_(std::move(counter)) {}

  Status Finish() override {
    counter_->Count(RequestKind::kPut);
    return upload_->Finish();
  }
  Status Write(const void* data, std::int64_t num_bytes) override {
    counter_->Sent(num_bytes);
    return upload_->Write(data, num_bytes);
  }
  Status Close() override { return upload_->Close(); }
  Status Abort() override { return upload_->Abort(); }
  Result<std::int64_t> Tell() const override { return upload_->Tell(); }
  bool closed() const override { return upload_->closed(); }
  std::int64_t buffered_bytes() const override { return upload_->buffered_bytes(); }

 private:
  const std::shared_ptr<Upload> upload_;
  const std::shared_ptr<Counter> counter_;
};

class CountedFile final : public arrow::io::RandomAccessFile {
 public:
  CountedFile(std::shared_ptr<arrow::io::RandomAccessFile> file, std::shared_ptr<Counter> counter)
      : file_(std::move(file)), counter_(std::move(counter)) {}

  Result<std::int64_t> ReadAt(std::int64_t position, std::int64_t num_bytes, void* out) override {
    auto read = file_->ReadAt(position, num_bytes, out);
    Count(read.ok() ? *read : 0);
    return read;
  }
  Result<std::shared_ptr<arrow::Buffer>> ReadAt(std::int64_t position, std::int64_t num_bytes) override {
    auto read = file_->ReadAt(position, num_bytes);
    Count(read.ok() ? (*read)->size() : 0);
    return read;
  }
  Result<std::int64_t> Read(std::int64_t num_bytes, void* out) override {
    auto read = file_->Read(num_bytes, out);
    Count(read.ok() ? *read : 0);
    return read;
  }
  Result<std::shared_ptr<arrow::Buffer>> Read(std::int64_t num_bytes) override {
    auto read = file_->Read(num_bytes);
    Count(read.ok() ? (*read)->size() : 0);
    return read;
  }
  Status Seek(std::int64_t position) override { return file_->Seek(position); }
  Result<std::int64_t> Tell() const override { return file_->Tell(); }
  Result<std::int64_t> GetSize() override { return file_->GetSize(); }
  Status Close() override { return file_->Close(); }
  bool closed() const override { return file_->closed(); }

 private:
  void Count(std::int64_t num_bytes) {
    counter_->Count(RequestKind::kGet);
    counter_->Received(num_bytes);
  }

  const std::shared_ptr<arrow::io::RandomAccessFile> file_;
  const std::shared_ptr<Counter> counter_;
};

class CountedStore final : public ObjectStore {
 public:
  explicit CountedStore(std::shared_ptr<ObjectStore> store) : store_(std::move(store)) {}

  const std::string& uri() const override { return store_->uri(); }

  Result<PutOutcome> PutIfAbsent(const std::string& key, std::string_view bytes) override {
    CountPut(bytes);
    return store_->PutIfAbsent(key, bytes);
  }
  Status Put(const std::string& key, std::string_view bytes) override {
    CountPut(bytes);
    return store_->Put(key, bytes);
  }
  Result<std::shared_ptr<Upload>> StartUpload(const std::string& key) override {
    ASSIGN_OR_RETURN(auto upload, store_->StartUpload(key));
    return std::make_shared<CountedUpload>(std::move(upload), counter_);
  }
  Result<std::shared_ptr<arrow::Buffer>> Read(const std::string& key) override {
    counter_->Count(RequestKind::kGet);
    auto read = store_->Read(key);
    if (read.ok()) counter_->Received((*read)->size());
    return read;
  }
  /// Opening asks for the size.
  Result<std::shared_ptr<arrow::io::RandomAccessFile>> Open(const std::string& key) override {
    counter_->Count(RequestKind::kHead);
    ASSIGN_OR_RETURN(auto file, store_->Open(key));
    return std::make_shared<CountedFile>(std::move(file), counter_);
  }
  Result<std::optional<ObjectInfo>> Stat(const std::string& key) override {
    counter_->Count(RequestKind::kHead);
    return store_->Stat(key);
  }
  Result<std::vector<ObjectInfo>> List(const std::string& prefix, const std::string& start_after) override {
    counter_->Count(RequestKind::kList);
    return store_->List(prefix, start_after);
  }
  Status Delete(const std::string& key) override {
    counter_->Count(RequestKind::kDelete);
    return store_->Delete(key);
  }
  StoreUsage usage() const override { return counter_->Read(); }
  std::optional<std::string> KeyOf(const std::string& location) const override { return store_->KeyOf(location); }
  int requests_at_once() const override { return store_->requests_at_once(); }
  bool is_far() const override { return store_->is_far(); }
  void Interrupt() override { store_->Interrupt(); }

 private:
  void CountPut(std::string_view bytes) {
    counter_->Count(RequestKind::kPut);
    counter_->Sent(static_cast<std::int64_t>(bytes.size()));
  }

  const std::shared_ptr<ObjectStore> store_;
  const std::shared_ptr<Counter> counter_ = std::make_shared<Counter>();
};

}  // namespace

std::shared_ptr<ObjectStore> Counted(std::shared_ptr<ObjectStore> store) {
  return std::make_shared<CountedStore>(std::move(store));
}

}  // namespace millrace::objectstore
