#include "delta/compaction.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/kill_point.h"
#include "base/log.h"
#include "delta/file_path.h"
#include "delta/file_scan_internal.h"
#include "delta/log_replay.h"

namespace millrace::delta {
namespace {

// The group's rows in one new file. nullopt: they have none. kCancelled: `stop` said so; nothing is left of the file.
Result<std::optional<AddFile>> Rewrite(const Table& table, const SnapshotPtr& snapshot, const CompactionGroup& group,
                                       const DataFileOptions& options, const StopRequested& stop, std::int64_t& rows) {
  std::vector<std::string> columns;
  arrow::FieldVector fields;
  const auto& partition_columns = snapshot->metadata.partition_columns;
  for (const auto& field : snapshot->schema->fields()) {
    if (std::find(partition_columns.begin(), partition_columns.end(), field->name()) != partition_columns.end())
      continue;
    columns.push_back(field->name());
    fields.push_back(field);
  }
  ASSIGN_OR_RETURN(const auto plan, ScanPlan::Make(snapshot, columns, {}));
  ASSIGN_OR_RETURN(const auto writer, DataFileWriter::Make(table.store(), arrow::schema(std::move(fields)),
                                                           group.partition_values, options));
  for (const auto& file : group.files) {
    const std::int64_t before = writer->num_rows();
    ASSIGN_OR_RETURN(const auto scan, FileScan::Open(*table.store(), plan, file));
    for (int row_group = 0; row_group < scan->num_row_groups(); ++row_group) {
      if (stop && stop()) return Cancelled("compaction was stopped");
      RETURN_NOT_OK(scan->ReadRowGroup(
          row_group, [&](const std::shared_ptr<arrow::RecordBatch>& batch) { return writer->Append(*batch); }));
    }
    const auto expected = NumRecords(file);
    if (expected && *expected != writer->num_rows() - before) {
      return Corrupt("data file {} has {} rows, its statistics say {}", file.path, writer->num_rows() - before,
                     *expected);
    }
  }
  rows = writer->num_rows();
  if (rows == 0) return std::nullopt;
  KillPoint("compaction.rewritten");
  ASSIGN_OR_RETURN(const auto stats, StatsColumnsOf(*snapshot));
  ASSIGN_OR_RETURN(AddFile add, writer->Finish(stats));
  add.data_change = false;
  return add;
}

}  // namespace

RemoveFile RemoveOf(const AddFile& file, std::int64_t deletion_timestamp_ms, bool data_change) {
  return {.path = file.path,
          .deletion_timestamp_ms = deletion_timestamp_ms,
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
    if (file.size < small && !file.deletion_vector) by_partition[file.partition_values].push_back(file);
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
  CompactionResult result;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const auto& group = groups[i];
    std::int64_t rows = 0;
    auto output = Rewrite(table, snapshot, group, options.file, stop, rows);
    if (!output.ok()) {
      if (KindOf(output.status()) == ErrorKind::kCancelled && stop && stop()) break;
      // Vacuum may have taken the input of a group that somebody else has compacted meanwhile.
      ASSIGN_OR_RETURN(const auto now, table.Refresh());
      const bool lost = std::any_of(group.files.begin(), group.files.end(),
                                    [&](const AddFile& file) { return now->files.Find(FileKey(file.path, file.deletion_vector)) == nullptr; });
      if (!lost) return output.status();
      ++result.groups_lost;
      continue;
    }
    CommitRequest request;
    request.operation = "OPTIMIZE";
    request.operation_parameters = {{"targetSize", std::to_string(options.target_bytes)}, {"predicate", "[]"}};
    request.operation_metrics = {{"numRemovedFiles", std::to_string(group.files.size())},
                                 {"numAddedFiles", *output ? "1" : "0"}};
    request.is_blind_append = false;
    request.planned_schema = snapshot->metadata.schema_string;
    const std::int64_t now_ms = SystemClock().Now() / 1000;
    for (const auto& file : group.files) request.removes.push_back(RemoveOf(file, now_ms, false));
    if (*output) request.adds.push_back(**output);
    const auto outcome = table.Commit(request);
    if (outcome.ok()) {
      KillPoint("compaction.committed");
      result.files_removed += std::ssize(group.files);
      result.bytes_removed += group.num_bytes;
      result.files_added += *output ? 1 : 0;
      result.bytes_added += *output ? (*output)->size : 0;
      result.rows += rows;
    } else if (KindOf(outcome.status()) == ErrorKind::kConflict) {
      DropUncommitted(table, request.adds);
      ++result.groups_lost;
    } else {
      return outcome.status();
    }
    if (progress && !progress(i + 1, groups.size())) break;
  }
  return result;
}

}  // namespace millrace::delta
