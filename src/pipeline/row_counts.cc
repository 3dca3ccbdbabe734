#include "pipeline/row_counts.h"

#include "delta/data/data_file.h"

namespace millrace::pipeline {

std::int64_t RowCounts::Of(const std::string& table, const delta::SnapshotPtr& snapshot) {
  using Files = delta::PersistentMap<delta::AddFile>;
  const std::scoped_lock lock(mutex_);
  auto& [counted, rows] = counts_[table];
  const auto count = [&rows](const Files::value_type* before, const Files::value_type* after) {
    if (before != nullptr) rows -= delta::NumLiveRecords(before->second).value_or(0);
    if (after != nullptr) rows += delta::NumLiveRecords(after->second).value_or(0);
  };
  Files::ForEachDifference(counted == nullptr ? Files() : counted->files, snapshot->files, count);
  counted = snapshot;
  return rows;
}

}  // namespace millrace::pipeline
