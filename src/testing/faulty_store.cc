#include "testing/faulty_store.h"

#include <utility>

namespace millrace::testing {

using objectstore::ObjectInfo;
using objectstore::PutOutcome;
using objectstore::Upload;

class FaultyStore::FaultyUpload final : public Upload {
 public:
  FaultyUpload(FaultyStore* owner, std::shared_ptr<Upload> upload, std::string key)
      : owner_(owner), upload_(std::move(upload)), key_(std::move(key)) {}

  Status Write(const void* data, std::int64_t size) override {
    return owner_->Run(StoreOperation::kUploadWrite, key_, [&] { return upload_->Write(data, size); });
  }
  Result<std::int64_t> Tell() const override { return upload_->Tell(); }
  bool closed() const override { return upload_->closed(); }
  Status Finish() override {
    return owner_->Run(StoreOperation::kFinish, key_, [&] { return upload_->Finish(); });
  }
  Status Close() override { return upload_->Close(); }
  Status Abort() override { return upload_->Abort(); }

 private:
  FaultyStore* owner_;  // Outlives its uploads.
  std::shared_ptr<Upload> upload_;
  std::string key_;
};

void FaultyStore::Inject(StoreOperation operation, int nth, StoreFault fault, const std::string& key_part) {
  const std::lock_guard lock(mutex_);
  plans_.push_back({operation, nth, key_part, fault, nullptr});
}

void FaultyStore::Before(StoreOperation operation, int nth, std::function<void()> action, const std::string& key_part) {
  const std::lock_guard lock(mutex_);
  plans_.push_back({operation, nth, key_part, std::nullopt, std::move(action)});
}

void FaultyStore::SetPolicy(std::function<std::optional<StoreFault>(StoreOperation, const std::string&)> policy) {
  const std::lock_guard lock(mutex_);
  policy_ = std::move(policy);
}

int FaultyStore::calls(StoreOperation operation) const {
  const std::lock_guard lock(mutex_);
  return calls_[static_cast<std::size_t>(operation)];
}

std::optional<StoreFault> FaultyStore::Enter(StoreOperation operation, const std::string& key) {
  std::optional<StoreFault> fault;
  std::vector<std::function<void()>> actions;
  {
    const std::lock_guard lock(mutex_);
    ++calls_[static_cast<std::size_t>(operation)];
    bool planned = false;
    for (auto it = plans_.begin(); it != plans_.end();) {
      const bool concerns = it->operation == operation && key.find(it->key_part) != std::string::npos;
      if (!concerns || --it->remaining > 0) {
        ++it;
        continue;
      }
      planned = true;
      if (it->fault) fault = it->fault;
      if (it->action) actions.push_back(std::move(it->action));
      it = plans_.erase(it);
    }
    if (!planned && policy_) fault = policy_(operation, key);
  }
  for (const auto& action : actions) action();
  return fault;
}

template <typename Call>
auto FaultyStore::Run(StoreOperation operation, const std::string& key, Call call) -> decltype(call()) {
  const auto fault = Enter(operation, key);
  if (fault == StoreFault::kFail) return Transient("injected failure: {}", key);
  if (fault == StoreFault::kLoseRequest) return UnknownOutcome("injected loss of the request: {}", key);
  if (fault == StoreFault::kCrash) return Internal("injected crash before: {}", key);
  auto result = call();
  if (fault == StoreFault::kCrashAfter) return Internal("injected crash after: {}", key);
  if (fault == StoreFault::kLoseReply) return UnknownOutcome("injected loss of the reply: {}", key);
  return result;
}

Result<PutOutcome> FaultyStore::PutIfAbsent(const std::string& key, std::string_view bytes) {
  return Run(StoreOperation::kPutIfAbsent, key, [&] { return store_->PutIfAbsent(key, bytes); });
}

Status FaultyStore::Put(const std::string& key, std::string_view bytes) {
  return Run(StoreOperation::kPut, key, [&] { return store_->Put(key, bytes); });
}

Result<std::shared_ptr<Upload>> FaultyStore::StartUpload(const std::string& key) {
  return Run(StoreOperation::kStartUpload, key, [&]() -> Result<std::shared_ptr<Upload>> {
    ASSIGN_OR_RETURN(auto upload, store_->StartUpload(key));
    return std::make_shared<FaultyUpload>(this, std::move(upload), key);
  });
}

Result<std::shared_ptr<arrow::Buffer>> FaultyStore::Read(const std::string& key) {
  return Run(StoreOperation::kRead, key, [&] { return store_->Read(key); });
}

Result<std::shared_ptr<arrow::io::RandomAccessFile>> FaultyStore::Open(const std::string& key) {
  return Run(StoreOperation::kOpen, key, [&] { return store_->Open(key); });
}

Result<std::optional<ObjectInfo>> FaultyStore::Stat(const std::string& key) {
  return Run(StoreOperation::kStat, key, [&] { return store_->Stat(key); });
}

Result<std::vector<ObjectInfo>> FaultyStore::List(const std::string& prefix, const std::string& start_after) {
  return Run(StoreOperation::kList, prefix, [&] { return store_->List(prefix, start_after); });
}

Status FaultyStore::Delete(const std::string& key) {
  return Run(StoreOperation::kDelete, key, [&] { return store_->Delete(key); });
}

Status FaultyStore::DeleteMany(const std::vector<std::string>& keys) {
  for (auto key = keys.rbegin(); key != keys.rend(); ++key) RETURN_NOT_OK(Delete(*key));
  return Status::OK();
}

}  // namespace millrace::testing
