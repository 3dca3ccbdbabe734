#include "delta/upkeep/compaction.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <utility>

#include "base/kill_point.h"
#include "base/log.h"
#include "delta/data/file_scan_internal.h"
#include "delta/log/log_replay.h"
#include "delta/text/column_name.h"
#include "delta/text/file_path.h"
#include "delta/upkeep/store_clock.h"
#include "delta/upkeep/vacuum.h"

namespace millrace::delta {
namespace {

using std::chrono::steady_clock;

// As the table spells its partition columns, whoever wrote the file.
PartitionValues PartitionOf(const AddFile& file, const std::vector<std::string>& partition_columns) {
  PartitionValues values;
  for (const auto& column : partition_columns) {
    const auto* const value = FindPartitionValue(file.partition_values, column);
    const bool is_null = value == nullptr || !*value || (*value)->empty();
    values.emplace(column, is_null ? std::nullopt : *value);
  }
  return values;
}

// One run: rewrites group after group and commits them together.
class Compactor {
 public:
  Compactor(Table& table, SnapshotPtr snapshot, const CompactionOptions& options, const StopRequested& stop)
      : table_(table),
        snapshot_(std::move(snapshot)),
        options_(options),
        uncommitted_max_(
            std::min(options.uncommitted_max, VacuumRetention(*snapshot_).ValueOr(std::chrono::hours(1)) / 2)),
        stop_(stop) {}

  const CompactionResult& result() const { return result_; }

  /// kCancelled: `stop` said so; nothing is left of this group's output.
  Status Add(const CompactionGroup& group) {
    Rewritten rewritten{.group = &group};
    const Status status = Rewrite(group, rewritten);
    if (!status.ok()) {
      if (KindOf(status) == ErrorKind::kCancelled) return status;
      // Vacuum may have taken the input of a group that somebody else has compacted meanwhile.
      ASSIGN_OR_RETURN(const auto now, table_.Refresh());
      if (IsLive(group, *now)) return status;
      ++result_.groups_lost;
      return Status::OK();
    }
    num_removes_ += group.files.size();
    if (pending_.empty()) first_output_ = table_.clock().SteadyNow();
    pending_.push_back(std::move(rewritten));
    return IsDue() ? Commit() : Status::OK();
  }

  /// What has been rewritten becomes one commit. Groups that a rival has changed meanwhile are left out of it.
  Status Commit() {
    while (!pending_.empty()) {
      const auto request = Request();
      if (!request.ok()) {
        DropOutputs(pending_.begin());
        return request.status();
      }
      const auto outcome = table_.Commit(*request, {}, first_output_ + uncommitted_max_);
      if (outcome.ok()) {
        KillPoint("compaction.committed");
        for (const auto& done : pending_) Count(done);
        Forget();
        return Status::OK();
      }
      if (KindOf(outcome.status()) != ErrorKind::kConflict) return outcome.status();
      ASSIGN_OR_RETURN(const auto now, table_.Refresh());
      const bool reshaped = now->metadata.schema_string != snapshot_->metadata.schema_string;
      const auto lost = std::stable_partition(pending_.begin(), pending_.end(), [&](const Rewritten& rewritten) {
        return !reshaped && IsLive(*rewritten.group, *now);
      });
      if (lost == pending_.end()) return outcome.status();
      result_.groups_lost += pending_.end() - lost;
      DropOutputs(lost);
    }
    Forget();
    return Status::OK();
  }

 private:
  struct Rewritten {
    const CompactionGroup* group;
    std::optional<AddFile> output{};  // nullopt: the group has no rows.
    std::int64_t rows = 0;
  };

  static bool IsLive(const CompactionGroup& group, const Snapshot& snapshot) {
    return std::all_of(group.files.begin(), group.files.end(), [&](const AddFile& file) {
      return snapshot.files.Find(FileKey(file.path, file.deletion_vector)) != nullptr;
    });
  }

  // Of the groups from this one on, which are not committed.
  void DropOutputs(std::vector<Rewritten>::iterator from) {
    std::vector<AddFile> outputs;
    for (auto it = from; it != pending_.end(); ++it) {
      if (it->output) outputs.push_back(std::move(*it->output));
    }
    DropUncommitted(table_, outputs);
    pending_.erase(from, pending_.end());
  }

  bool IsDue() const {
    return !pending_.empty() && (num_removes_ >= options_.files_per_commit_max ||
                                 table_.clock().SteadyNow() - first_output_ >= uncommitted_max_ / 2);
  }

  // The group's rows in one new file.
  Status Rewrite(const CompactionGroup& group, Rewritten& rewritten) {
    std::vector<std::string> columns;
    arrow::FieldVector fields;
    const auto& partition_columns = snapshot_->metadata.partition_columns;
    for (const auto& field : snapshot_->schema->fields()) {
      if (std::find(partition_columns.begin(), partition_columns.end(), field->name()) != partition_columns.end())
        continue;
      columns.push_back(field->name());
      fields.push_back(field);
    }
    ASSIGN_OR_RETURN(const auto plan, ScanPlan::Make(snapshot_, columns, {}));
    ASSIGN_OR_RETURN(const auto writer, DataFileWriter::Make(table_.store(), arrow::schema(std::move(fields)),
                                                             group.partition_values, options_.file));
    for (const auto& file : group.files) {
      const std::int64_t before = writer->num_rows();
      ASSIGN_OR_RETURN(const auto scan, FileScan::Open(*table_.store(), plan, file));
      for (int row_group = 0; row_group < scan->num_row_groups(); ++row_group) {
        if (stop_ && stop_()) return Cancelled("compaction was stopped");
        // A group may be large, and those before it must not wait for it too long.
        if (IsDue()) RETURN_NOT_OK(Commit());
        RETURN_NOT_OK(scan->ReadRowGroup(
            row_group, [&](const std::shared_ptr<arrow::RecordBatch>& batch) { return writer->Append(*batch); }));
      }
      const auto expected = NumRecords(file);
      if (expected && *expected != writer->num_rows() - before) {
        return Corrupt("data file {} has {} rows, its statistics say {}", file.path, writer->num_rows() - before,
                       *expected);
      }
    }
    rewritten.rows = writer->num_rows();
    if (rewritten.rows == 0) return Status::OK();
    KillPoint("compaction.rewritten");
    ASSIGN_OR_RETURN(const auto stats, StatsColumnsOf(*snapshot_));
    ASSIGN_OR_RETURN(rewritten.output, writer->Finish(stats));
    rewritten.output->data_change = false;
    return Status::OK();
  }

  Result<CommitRequest> Request() const {
    ASSIGN_OR_RETURN(const UnixMicros now, StoreNow(*table_.store()));
    CommitRequest request;
    request.operation = "OPTIMIZE";
    request.operation_parameters = {{"targetSize", std::to_string(options_.target_bytes)}, {"predicate", "[]"}};
    request.is_blind_append = false;
    request.planned_schema = snapshot_->metadata.schema_string;
    for (const auto& rewritten : pending_) {
      for (const auto& file : rewritten.group->files) request.removes.push_back(RemoveOf(file, now, false));
      if (rewritten.output) request.adds.push_back(*rewritten.output);
    }
    request.operation_metrics = {{"numRemovedFiles", std::to_string(request.removes.size())},
                                 {"numAddedFiles", std::to_string(request.adds.size())}};
    return request;
  }

  void Count(const Rewritten& done) {
    result_.files_removed += std::ssize(done.group->files);
    result_.bytes_removed += done.group->num_bytes;
    result_.files_added += done.output ? 1 : 0;
    result_.bytes_added += done.output ? done.output->size : 0;
    result_.rows += done.rows;
  }

  void Forget() {
    pending_.clear();
    num_removes_ = 0;
  }

  Table& table_;
  const SnapshotPtr snapshot_;
  const CompactionOptions& options_;
  const std::chrono::milliseconds uncommitted_max_;
  const StopRequested& stop_;
  std::vector<Rewritten> pending_;  // Not committed yet.
  std::size_t num_removes_ = 0;     // Of these.
  steady_clock::time_point first_output_;
  CompactionResult result_;
};

}  // namespace

RemoveFile RemoveOf(const AddFile& file, UnixMicros store_now, bool data_change) {
  return {.path = file.path,
          .deletion_timestamp_ms = store_now / 1000,
          .data_change = data_change,
          .extended_file_metadata = true,
          .partition_values = file.partition_values,
          .size = file.size,
          .deletion_vector = file.deletion_vector};
}

void DropUncommitted(const Table& table, const std::vector<AddFile>& files) {
  const auto snapshot = table.snapshot();
  for (const auto& file : files) {
    if (snapshot->files.Find(FileKey(file.path, file.deletion_vector)) != nullptr) continue;
    const auto key = DecodePath(file.path, *table.store());
    const Status deleted = key.ok() ? table.store()->Delete(*key) : key.status();
    if (!deleted.ok()) spdlog::debug("delta orphan left file={} error=\"{}\"", file.path, deleted.message());
  }
}

std::vector<CompactionGroup> PlanCompaction(const Snapshot& snapshot, const CompactionOptions& options) {
  const std::int64_t small = options.small_bytes > 0 ? options.small_bytes : options.target_bytes / 4 * 3;
  std::map<PartitionValues, std::vector<AddFile>> by_partition;
  for (const auto& [key, file] : snapshot.files) {
    if (file.size >= small || file.deletion_vector) continue;
    by_partition[PartitionOf(file, snapshot.metadata.partition_columns)].push_back(file);
  }
  std::vector<CompactionGroup> groups;
  for (auto& [values, files] : by_partition) {
    std::stable_sort(files.begin(), files.end(), [](const AddFile& a, const AddFile& b) {
      return a.modification_time_ms < b.modification_time_ms;
    });
    CompactionGroup group{.partition_values = values};
    const auto close = [&] {
      std::size_t skipped = 0;
      while (options.tiered && skipped < group.files.size() && group.files[skipped].size > group.num_bytes / 2) {
        group.num_bytes -= group.files[skipped++].size;
      }
      group.files.erase(group.files.begin(), group.files.begin() + static_cast<std::ptrdiff_t>(skipped));
      if (group.files.size() >= std::max<std::size_t>(2, options.min_files)) groups.push_back(group);
      group.files.clear();
      group.num_bytes = 0;
    };
    for (auto& file : files) {
      if (group.num_bytes > 0 && group.num_bytes + file.size > options.target_bytes) close();
      group.num_bytes += file.size;
      group.files.push_back(std::move(file));
    }
    close();
  }
  return groups;
}

Result<CompactionResult> Compact(Table& table, const CompactionOptions& options, const CompactionProgress& progress,
                                 const StopRequested& stop) {
  ASSIGN_OR_RETURN(SnapshotPtr snapshot, table.Refresh());
  RETURN_NOT_OK(table.CheckWritable());
  const auto groups = PlanCompaction(*snapshot, options);
  Compactor compactor(table, std::move(snapshot), options, stop);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const Status added = compactor.Add(groups[i]);
    if (!added.ok()) {
      if (KindOf(added) == ErrorKind::kCancelled && stop && stop()) break;
      // What is done is not done again because something else is broken. The first failure is the one to tell.
      (void)compactor.Commit();
      return added;
    }
    if (progress && !progress(i + 1, groups.size())) break;
  }
  RETURN_NOT_OK(compactor.Commit());
  return compactor.result();
}

}  // namespace millrace::delta
