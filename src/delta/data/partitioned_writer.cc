#include "delta/data/partitioned_writer.h"

#include <arrow/util/byte_size.h>

#include <algorithm>
#include <span>
#include <utility>

#include "base/run_each.h"
#include "delta/data/partition_values.h"

namespace millrace::delta {
namespace {

// A file at once for the partitions that have this share of a batch's rows. Most batches have one date.
constexpr std::int64_t kManyRowsShare = 64;
// Rows are sorted when so many bytes wait; for a moment it takes as much again, twice.
constexpr std::int64_t kRunBytes = 4 << 20;
// Small batches are joined when so many wait: a batch of one row takes kilobytes.
constexpr std::size_t kWaitingBatchesMax = 64;
// Arrow's bytes for one of a file's, roughly.
constexpr std::int64_t kBytesPerFileByte = 3;
// What a partition's values take in `numbers_` besides their text.
constexpr std::int64_t kNumberBytes = 200;

// Of the files that Finish() writes.
constexpr int kFilesAtOnceMax = 8;

}  // namespace

PartitionedWriter::PartitionedWriter(std::shared_ptr<objectstore::ObjectStore> store,
                                     std::shared_ptr<arrow::Schema> schema, std::vector<std::string> partition_columns,
                                     const PartitionedWriterOptions& options, const Clock& clock)
    : store_(std::move(store)),
      schema_(std::move(schema)),
      partition_columns_(std::move(partition_columns)),
      options_(options),
      clock_(clock) {
  arrow::FieldVector fields;
  for (const auto& field : schema_->fields()) {
    const bool is_partition =
        std::find(partition_columns_.begin(), partition_columns_.end(), field->name()) != partition_columns_.end();
    if (!is_partition) fields.push_back(field);
  }
  file_schema_ = arrow::schema(std::move(fields));
}

PartitionedWriter::~PartitionedWriter() = default;

std::unique_ptr<PartitionedWriter> PartitionedWriter::Make(std::shared_ptr<objectstore::ObjectStore> store,
                                                           std::shared_ptr<arrow::Schema> schema,
                                                           std::vector<std::string> partition_columns,
                                                           const PartitionedWriterOptions& options,
                                                           const Clock& clock) {
  return std::unique_ptr<PartitionedWriter>(
      new PartitionedWriter(std::move(store), std::move(schema), std::move(partition_columns), options, clock));
}

Status PartitionedWriter::Append(const std::shared_ptr<arrow::RecordBatch>& rows) {
  if (failed_) return InvalidInput("data files: an earlier append failed");
  const Status status = AppendChecked(rows);
  failed_ = !status.ok();
  return status;
}

Status PartitionedWriter::AppendChecked(const std::shared_ptr<arrow::RecordBatch>& rows) {
  if (rows->num_rows() == 0) return Status::OK();
  num_rows_ += rows->num_rows();
  if (partition_columns_.empty()) {
    ASSIGN_OR_RETURN(DataFileWriter* const writer, WriterFor({}));
    return writer->Append(*rows);
  }
  ASSIGN_OR_RETURN(const auto groups, PartitionGroups::Make(*rows, partition_columns_));
  ASSIGN_OR_RETURN(const auto file_rows, WithoutColumns(rows, partition_columns_));
  std::vector<DataFileWriter*> writer_of(groups.size(), nullptr);
  bool any_writer = false;
  for (std::size_t group = 0; group < groups.size(); ++group) {
    if (groups.num_rows(group) * kManyRowsShare < rows->num_rows()) continue;
    ASSIGN_OR_RETURN(const auto values, groups.ValuesOf(group));
    ASSIGN_OR_RETURN(writer_of[group], WriterFor(values));
    any_writer |= writer_of[group] != nullptr;
  }
  if (!any_writer) return Wait(rows);
  if (groups.size() == 1) return writer_of[0]->Append(*file_rows);

  std::map<DataFileWriter*, std::vector<std::int64_t>> rows_of;  // nullptr: those that wait.
  std::vector<std::vector<std::int64_t>*> rows_of_group;
  for (DataFileWriter* const writer : writer_of) rows_of_group.push_back(&rows_of[writer]);
  for (std::int64_t row = 0; row < rows->num_rows(); ++row) {
    rows_of_group[groups.of_row()[static_cast<std::size_t>(row)]]->push_back(row);
  }
  for (const auto& [writer, indexes] : rows_of) {
    ASSIGN_OR_RETURN(auto taken, TakeRows(writer == nullptr ? rows : file_rows, indexes));
    RETURN_NOT_OK(writer == nullptr ? Wait(std::move(taken)) : writer->Append(*taken));
  }
  return Status::OK();
}

Result<DataFileWriter*> PartitionedWriter::WriterFor(const PartitionValues& values) {
  auto found = open_.find(values);
  if (found == open_.end()) {
    if (std::ssize(open_) >= options_.open_files_max) return nullptr;
    ASSIGN_OR_RETURN(auto writer, NewFile(values));
    found = open_.emplace(values, std::move(writer)).first;
  }
  return found->second.get();
}

Result<std::unique_ptr<DataFileWriter>> PartitionedWriter::NewFile(PartitionValues values) const {
  auto store = store_;
  if (const auto place = values.find(options_.place_column); place != values.end()) {
    store = options_.store_of(place->second.value_or(""));
    values.erase(place);
  }
  return DataFileWriter::Make(std::move(store), file_schema_, std::move(values), options_.file, clock_);
}

Result<AddFile> PartitionedWriter::FinishFile(DataFileWriter& writer, const PartitionValues& values,
                                              const StatsColumns& stats) const {
  ASSIGN_OR_RETURN(auto file, writer.Finish(stats));
  if (const auto place = values.find(options_.place_column); place != values.end())
    file.partition_values.insert(*place);
  return file;
}

Status PartitionedWriter::Wait(std::shared_ptr<arrow::RecordBatch> rows) {
  waiting_bytes_ += arrow::util::TotalBufferSize(*rows);
  waiting_.push_back(std::move(rows));
  if (waiting_bytes_ >= kRunBytes) return SortWaiting();
  return waiting_.size() >= kWaitingBatchesMax ? JoinWaiting() : Status::OK();
}

Status PartitionedWriter::JoinWaiting() {
  if (waiting_.size() > 1) {
    ASSIGN_OR_RETURN(auto joined, arrow::ConcatenateRecordBatches(std::exchange(waiting_, {})));
    waiting_.push_back(std::move(joined));
  }
  waiting_bytes_ = waiting_.empty() ? 0 : arrow::util::TotalBufferSize(*waiting_.front());
  return Status::OK();
}

Status PartitionedWriter::SortWaiting() {
  if (waiting_.empty()) return Status::OK();
  RETURN_NOT_OK(JoinWaiting());
  const auto rows = std::exchange(waiting_, {}).front();
  waiting_bytes_ = 0;
  ASSIGN_OR_RETURN(const auto groups, PartitionGroups::Make(*rows, partition_columns_));
  std::vector<std::int64_t> next(groups.size());  // Where the next row of a group goes.
  std::int64_t begin = 0;
  for (std::size_t group = 0; group < groups.size(); ++group) {
    ASSIGN_OR_RETURN(auto values, groups.ValuesOf(group));
    pieces_.push_back(
        {NumberOf(std::move(values)), static_cast<std::uint32_t>(runs_.size()), begin, groups.num_rows(group)});
    next[group] = begin;
    begin += groups.num_rows(group);
  }
  std::vector<std::int64_t> order(static_cast<std::size_t>(rows->num_rows()));
  for (std::int64_t row = 0; row < rows->num_rows(); ++row) {
    order[static_cast<std::size_t>(next[groups.of_row()[static_cast<std::size_t>(row)]]++)] = row;
  }
  ASSIGN_OR_RETURN(const auto file_rows, WithoutColumns(rows, partition_columns_));
  ASSIGN_OR_RETURN(auto sorted, TakeRows(file_rows, order));
  run_bytes_ += arrow::util::TotalBufferSize(*sorted);
  runs_.push_back(std::move(sorted));
  return Status::OK();
}

std::uint32_t PartitionedWriter::NumberOf(PartitionValues values) {
  const auto [entry, is_new] = numbers_.try_emplace(std::move(values), static_cast<std::uint32_t>(numbers_.size()));
  if (is_new) {
    number_bytes_ += kNumberBytes;
    for (const auto& [column, value] : entry->first) {
      number_bytes_ += kNumberBytes + static_cast<std::int64_t>(column.size() + value.value_or("").size());
    }
  }
  return entry->second;
}

std::int64_t PartitionedWriter::num_bytes() const {
  std::int64_t bytes = (waiting_bytes_ + run_bytes_) / kBytesPerFileByte;
  for (const auto& [values, writer] : open_) bytes += writer->num_bytes();
  return bytes;
}

std::int64_t PartitionedWriter::memory_bytes() const {
  std::int64_t bytes =
      waiting_bytes_ + run_bytes_ + number_bytes_ + static_cast<std::int64_t>(pieces_.capacity() * sizeof(Piece));
  for (const auto& [values, writer] : open_) bytes += writer->memory_bytes();
  return bytes;
}

Status PartitionedWriter::Close() {
  if (failed_) return InvalidInput("data files: an earlier append failed");
  failed_ = true;
  for (const auto& [values, writer] : open_) RETURN_NOT_OK(writer->Close());
  is_closed_ = true;
  return Status::OK();
}

Result<std::vector<AddFile>> PartitionedWriter::Finish(const StatsColumns& stats) {
  if (failed_ && !is_closed_) return InvalidInput("data files: an earlier append failed");
  failed_ = true;
  RETURN_NOT_OK(SortWaiting());
  std::sort(pieces_.begin(), pieces_.end(), [](const Piece& a, const Piece& b) {
    return std::pair(a.partition, a.run) < std::pair(b.partition, b.run);
  });
  std::vector<const PartitionValues*> values_of(numbers_.size());
  for (const auto& [values, number] : numbers_) values_of[number] = &values;

  // Those with a file of their own first: they hold descriptors.
  std::vector<AddFile> files;
  for (auto& [values, writer] : open_) {
    const auto number = numbers_.find(values);
    if (number != numbers_.end() && !is_closed_) {
      const auto [first, last] =
          std::equal_range(pieces_.begin(), pieces_.end(), Piece{number->second, 0, 0, 0},
                           [](const Piece& a, const Piece& b) { return a.partition < b.partition; });
      for (auto piece = first; piece != last; ++piece) {
        RETURN_NOT_OK(writer->Append(*runs_[piece->run]->Slice(piece->begin, std::exchange(piece->length, 0))));
      }
    }
    ASSIGN_OR_RETURN(auto file, FinishFile(*writer, values, stats));
    files.push_back(std::move(file));
    writer.reset();
  }
  open_.clear();

  std::vector<std::span<const Piece>> waiting;  // By partition.
  for (std::size_t begin = 0, end = 0; begin < pieces_.size(); begin = end) {
    while (end < pieces_.size() && pieces_[end].partition == pieces_[begin].partition) ++end;
    if (pieces_[begin].length > 0) waiting.push_back(std::span(pieces_).subspan(begin, end - begin));
  }
  const std::size_t num_files = files.size();
  files.resize(num_files + waiting.size());
  const auto write = [&](std::size_t index) -> Status {
    const auto& values = *values_of[waiting[index].front().partition];
    ASSIGN_OR_RETURN(const auto writer, NewFile(values));
    for (const Piece& piece : waiting[index]) {
      RETURN_NOT_OK(writer->Append(*runs_[piece.run]->Slice(piece.begin, piece.length)));
    }
    ASSIGN_OR_RETURN(files[num_files + index], FinishFile(*writer, values, stats));
    return Status::OK();
  };
  // Each waits for the disk or the network most of its time.
  RETURN_NOT_OK(RunEach(waiting.size(), std::clamp(store_->requests_at_once(), 1, kFilesAtOnceMax), write));
  runs_.clear();
  return files;
}

}  // namespace millrace::delta
