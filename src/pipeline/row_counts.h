/// Live rows of a process' tables. Counted by what has changed since the last snapshot: the page asks each second, and
/// there may be many files.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "delta/table.h"

namespace millrace::pipeline {

/// Any thread.
class RowCounts {
 public:
  /// By the files' statistics; those of a file without any count as none. `table`: its name.
  std::int64_t Of(const std::string& table, const delta::SnapshotPtr& snapshot);

 private:
  std::mutex mutex_;
  std::map<std::string, std::pair<delta::SnapshotPtr, std::int64_t>> counts_;  // Of a table as last seen.
};

}  // namespace millrace::pipeline
