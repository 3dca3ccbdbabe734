#include "objectstore/prefixed_store.h"

#include <utility>

namespace millrace::objectstore {

PrefixedStore::PrefixedStore(std::shared_ptr<ObjectStore> store, const std::string& prefix)
    : store_(std::move(store)), prefix_(prefix + "/"), uri_(store_->uri() + "/" + prefix) {}

Result<PutOutcome> PrefixedStore::PutIfAbsent(const std::string& key, std::string_view bytes) {
  return store_->PutIfAbsent(prefix_ + key, bytes);
}

Status PrefixedStore::Put(const std::string& key, std::string_view bytes) { return store_->Put(prefix_ + key, bytes); }

Result<std::shared_ptr<Upload>> PrefixedStore::StartUpload(const std::string& key) {
  return store_->StartUpload(prefix_ + key);
}

Result<std::shared_ptr<arrow::Buffer>> PrefixedStore::Read(const std::string& key) {
  return store_->Read(prefix_ + key);
}

Result<std::shared_ptr<arrow::io::RandomAccessFile>> PrefixedStore::Open(const std::string& key) {
  return store_->Open(prefix_ + key);
}

Result<std::optional<ObjectInfo>> PrefixedStore::Stat(const std::string& key) {
  ASSIGN_OR_RETURN(auto info, store_->Stat(prefix_ + key));
  if (info) info->key = key;
  return info;
}

Result<std::vector<ObjectInfo>> PrefixedStore::List(const std::string& prefix, const std::string& start_after) {
  ASSIGN_OR_RETURN(auto found, store_->List(prefix_ + prefix, start_after.empty() ? "" : prefix_ + start_after));
  for (auto& info : found) info.key.erase(0, prefix_.size());
  return found;
}

Status PrefixedStore::Delete(const std::string& key) { return store_->Delete(prefix_ + key); }

Status PrefixedStore::DeleteMany(const std::vector<std::string>& keys) {
  std::vector<std::string> full;
  full.reserve(keys.size());
  for (const auto& key : keys) full.push_back(prefix_ + key);
  return store_->DeleteMany(full);
}

std::optional<std::string> PrefixedStore::KeyOf(const std::string& location) const {
  // The prefix may itself be a link to another folder of the store.
  const auto root = store_->KeyOf(uri_);
  auto key = store_->KeyOf(location);
  if (!root || !key || !key->starts_with(*root + "/")) return std::nullopt;
  return key->substr(root->size() + 1);
}

}  // namespace millrace::objectstore
