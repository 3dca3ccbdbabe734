/// What Below() returns. Any thread. Its errors are those of the store below, and name the whole key.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "objectstore/object_store.h"

namespace millrace::objectstore {

class PrefixedStore final : public ObjectStore {
 public:
  PrefixedStore(std::shared_ptr<ObjectStore> store, const std::string& prefix);

  const std::string& uri() const override { return uri_; }
  Result<PutOutcome> PutIfAbsent(const std::string& key, std::string_view bytes) override;
  Status Put(const std::string& key, std::string_view bytes) override;
  Result<std::shared_ptr<Upload>> StartUpload(const std::string& key) override;
  Result<std::shared_ptr<arrow::Buffer>> Read(const std::string& key) override;
  Result<std::shared_ptr<arrow::io::RandomAccessFile>> Open(const std::string& key) override;
  Result<std::optional<ObjectInfo>> Stat(const std::string& key) override;
  Result<std::vector<ObjectInfo>> List(const std::string& prefix, const std::string& start_after) override;
  Status Delete(const std::string& key) override;
  Status DeleteMany(const std::vector<std::string>& keys) override;
  std::optional<std::string> KeyOf(const std::string& location) const override;
  int requests_at_once() const override { return store_->requests_at_once(); }
  bool is_far() const override { return store_->is_far(); }
  StoreUsage usage() const override { return store_->usage(); }
  void Interrupt() override { store_->Interrupt(); }

 private:
  const std::shared_ptr<ObjectStore> store_;
  const std::string prefix_;  // With the slash.
  const std::string uri_;
};

}  // namespace millrace::objectstore
