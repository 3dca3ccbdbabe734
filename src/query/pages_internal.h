/// What the pages of rows and of aggregates' answers have in common: a cursor belongs to one question, and to one
/// version of a table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "delta/log/log_replay.h"

namespace millrace::query {

/// A number that tells questions apart by their parts (FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv/).
class QuestionHash {
 public:
  void Add(const std::string& part);
  void Add(const std::vector<std::string>& parts);
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 14695981039346656037u;
};

/// The version that a cursor names. kNotFound: the log has it no more. kInvalidInput: it never had.
Result<delta::SnapshotPtr> LoadVersionOfCursor(objectstore::ObjectStore& store, delta::TableVersion version);

}  // namespace millrace::query
