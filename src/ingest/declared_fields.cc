#include "ingest/declared_fields.h"

#include <utility>

namespace millrace::ingest {
namespace {

// Columns that are added have a limit of their own, far below.
constexpr std::size_t kFieldsMax = 10'000;

}  // namespace

void DeclaredFields::Add(const std::string& name, std::shared_ptr<arrow::DataType> type) {
  const std::scoped_lock lock(mutex_);
  if (types_.size() >= kFieldsMax) return;
  if (types_.emplace(name, std::move(type)).second) num_fields_.store(types_.size(), std::memory_order_release);
}

std::shared_ptr<arrow::DataType> DeclaredFields::Find(const std::string& name) const {
  const std::scoped_lock lock(mutex_);
  const auto found = types_.find(name);
  return found == types_.end() ? nullptr : found->second;
}

}  // namespace millrace::ingest
