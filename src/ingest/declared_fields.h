/// What the schemas of writers say of fields that no column takes.
#pragma once

#include <arrow/type.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace millrace::ingest {

/// Shared by the decoders of an input, which fill it before a row has such a field, and by who gives them columns. Any
/// thread.
class DeclaredFields {
 public:
  /// `type`: as ColumnSpec has them. The first type of a name stays.
  void Add(const std::string& name, std::shared_ptr<arrow::DataType> type);
  /// Null: no schema has said.
  std::shared_ptr<arrow::DataType> Find(const std::string& name) const;
  /// Rises with each name.
  std::uint64_t num_fields() const { return num_fields_.load(std::memory_order_acquire); }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<arrow::DataType>> types_;  // By name.
  std::atomic<std::uint64_t> num_fields_{0};
};

}  // namespace millrace::ingest
