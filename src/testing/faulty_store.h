/// A store that fails on demand: the nth call of an operation fails, loses its request or its reply, or lets a rival
/// run first. For tests of everything that stands on an object store.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "objectstore/object_store.h"

namespace millrace::testing {

enum class StoreOperation {
  kPutIfAbsent,
  kPut,
  kStartUpload,
  kUploadWrite,
  kFinish,
  kRead,
  kOpen,
  kStat,
  kList,
  kDelete
};

enum class StoreFault {
  kFail,         ///< Nothing is done; kTransient.
  kLoseRequest,  ///< Nothing is done; kUnknownOutcome.
  kLoseReply,    ///< It is done; kUnknownOutcome.
  kCrash,  ///< Nothing is done; kInternal, which nobody retries: for the caller the process ends before the call …
  kCrashAfter,  ///< … or just after it.
};

/// Any thread.
class FaultyStore final : public objectstore::ObjectStore {
 public:
  explicit FaultyStore(std::shared_ptr<objectstore::ObjectStore> store) : store_(std::move(store)) {}

  /// The `nth` call of `operation` from now on (1: the next) whose key contains `key_part` has this fault.
  void Inject(StoreOperation operation, int nth, StoreFault fault, const std::string& key_part = "");
  /// Before the `nth` such call goes through, `action` runs: a rival's commit, or a wait.
  void Before(StoreOperation operation, int nth, std::function<void()> action, const std::string& key_part = "");
  /// Asked at every call that no Inject() names; for random faults.
  void SetPolicy(std::function<std::optional<StoreFault>(StoreOperation, const std::string& key)> policy);
  int calls(StoreOperation operation) const;

  const std::string& uri() const override { return store_->uri(); }
  Result<objectstore::PutOutcome> PutIfAbsent(const std::string& key, std::string_view bytes) override;
  Status Put(const std::string& key, std::string_view bytes) override;
  Result<std::shared_ptr<objectstore::Upload>> StartUpload(const std::string& key) override;
  Result<std::shared_ptr<arrow::Buffer>> Read(const std::string& key) override;
  Result<std::shared_ptr<arrow::io::RandomAccessFile>> Open(const std::string& key) override;
  Result<std::optional<objectstore::ObjectInfo>> Stat(const std::string& key) override;
  Result<std::vector<objectstore::ObjectInfo>> List(const std::string& prefix, const std::string& start_after) override;
  Status Delete(const std::string& key) override;
  /// One kDelete a key, the last first: a store owes nobody an order.
  Status DeleteMany(const std::vector<std::string>& keys) override;
  std::optional<std::string> KeyOf(const std::string& location) const override { return store_->KeyOf(location); }
  objectstore::StoreUsage usage() const override { return store_->usage(); }
  void Interrupt() override { store_->Interrupt(); }

 private:
  class FaultyUpload;

  struct Plan {
    StoreOperation operation;
    int remaining;
    std::string key_part;
    std::optional<StoreFault> fault;
    std::function<void()> action;
  };

  // The fault of this call, if any; runs actions without holding the mutex.
  std::optional<StoreFault> Enter(StoreOperation operation, const std::string& key);
  // Runs `call` under the fault of this call. Makes a Result or a Status alike.
  template <typename Call>
  auto Run(StoreOperation operation, const std::string& key, Call call) -> decltype(call());

  const std::shared_ptr<objectstore::ObjectStore> store_;
  mutable std::mutex mutex_;
  std::vector<Plan> plans_;
  std::function<std::optional<StoreFault>(StoreOperation, const std::string&)> policy_;
  std::array<int, 10> calls_{};
};

}  // namespace millrace::testing
