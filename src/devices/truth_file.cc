#include "devices/truth_file.h"

#include <arrow/builder.h>
#include <arrow/io/file.h>
#include <arrow/record_batch.h>
#include <arrow/table.h>
#include <arrow/table_builder.h>
#include <arrow/util/key_value_metadata.h>
#include <parquet/arrow/writer.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <deque>
#include <iterator>
#include <mutex>
#include <utility>
#include <vector>

#include "model/truth.h"

namespace millrace::devices {
namespace {

constexpr std::size_t kRowGroup = 1 << 16;

struct Row {
  std::int64_t number = 0;
  std::string event_id;
  std::string key;
  UnixMicros event_time = 0;
  UnixMicros sent_at = 0;
  std::int64_t late_us = 0;
  std::int64_t clock_error_us = 0;
  Fate fate = Fate::kValid;
  std::int64_t duplicate_of = -1;
  std::optional<Malformation> malformation;
  SensorFault fault = SensorFault::kNone;
  std::optional<Outcome> outcome;  // nullopt: not known yet.
  std::string refusal;
  std::string payload;
};

// Columns of TruthSchema(), filled row by row.
class Columns {
 public:
  explicit Columns(Delivery delivery) : delivery_(delivery) {
    MILLRACE_CHECK(
        arrow::RecordBatchBuilder::Make(model::TruthSchema(), arrow::default_memory_pool()).Value(&builder_).ok());
  }

  Status Append(const Row& row) {
    column_ = 0;
    RETURN_NOT_OK(Number(row.number));
    RETURN_NOT_OK(Text(row.event_id));
    RETURN_NOT_OK(Text(row.key));
    RETURN_NOT_OK(Time(row.event_time));
    RETURN_NOT_OK(Time(row.sent_at));
    RETURN_NOT_OK(Number(row.late_us));
    RETURN_NOT_OK(Number(row.clock_error_us));
    RETURN_NOT_OK(Text(FateName(row.fate)));
    RETURN_NOT_OK(row.duplicate_of < 0 ? Null() : Number(row.duplicate_of));
    RETURN_NOT_OK(row.malformation ? Text(MalformationName(*row.malformation)) : Null());
    RETURN_NOT_OK(row.fault == SensorFault::kNone ? Null() : Text(SensorFaultName(row.fault)));
    RETURN_NOT_OK(Text(OutcomeName(*row.outcome)));
    RETURN_NOT_OK(row.refusal.empty() ? Null() : Text(row.refusal));
    RETURN_NOT_OK(Text(delivery_ == Delivery::kOnce ? "once" : "at_least_once"));
    return row.payload.empty() ? Null() : Bytes(row.payload);
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Flush() { return builder_->Flush(); }

 private:
  Status Number(std::int64_t value) { return builder_->GetFieldAs<arrow::Int64Builder>(column_++)->Append(value); }
  Status Time(UnixMicros value) { return builder_->GetFieldAs<arrow::TimestampBuilder>(column_++)->Append(value); }
  Status Text(std::string_view value) { return builder_->GetFieldAs<arrow::StringBuilder>(column_++)->Append(value); }
  Status Bytes(std::string_view value) { return builder_->GetFieldAs<arrow::BinaryBuilder>(column_++)->Append(value); }
  Status Null() { return builder_->GetField(column_++)->AppendNull(); }

  const Delivery delivery_;
  std::unique_ptr<arrow::RecordBatchBuilder> builder_;
  int column_ = 0;
};

}  // namespace

class TruthFile::Impl {
 public:
  explicit Impl(Delivery delivery) : columns_(delivery) {}

  static Result<std::unique_ptr<Impl>> Make(std::string path, const std::optional<std::string>& topic,
                                            Delivery delivery) {
    auto impl = std::make_unique<Impl>(delivery);
    impl->path_ = std::move(path);
    auto file = arrow::io::FileOutputStream::Open(impl->partial_path());
    if (!file.ok()) return InvalidInput("{} cannot be written", impl->path_);
    impl->file_ = *file;
    auto metadata = arrow::key_value_metadata({std::string(model::kTruthVersion)}, {"2"});
    if (topic) metadata->Append(std::string(model::kTruthTopic), *topic);
    ASSIGN_OR_RETURN(impl->writer_,
                     parquet::arrow::FileWriter::Open(
                         *model::TruthSchema(), arrow::default_memory_pool(), impl->file_,
                         parquet::WriterProperties::Builder().compression(parquet::Compression::ZSTD)->build()));
    RETURN_NOT_OK(impl->writer_->AddKeyValueMetadata(metadata));
    return impl;
  }

  Status Add(Row row) {
    {
      const std::lock_guard lock(mutex_);
      rows_.push_back(std::move(row));
    }
    return num_settled_first_ >= kRowGroup ? Write() : Status::OK();
  }

  void Settle(std::int64_t first, std::int64_t end, Outcome outcome, std::string_view detail) {
    const std::lock_guard lock(mutex_);
    for (std::int64_t number = first; number < end; ++number) {
      Row& row = rows_[static_cast<std::size_t>(number - first_)];
      row.outcome = outcome;
      row.refusal = detail;
    }
    std::size_t settled = num_settled_first_;
    while (settled < rows_.size() && rows_[settled].outcome) ++settled;
    num_settled_first_ = settled;
  }

  Status Close() {
    // An event that Send() did not take is the last one.
    RETURN_NOT_OK(Write());
    RETURN_NOT_OK(writer_->Close());
    RETURN_NOT_OK(file_->Close());
    if (std::rename(partial_path().c_str(), path_.c_str()) != 0) {
      return Internal("{} cannot be written: {}", path_, std::strerror(errno));
    }
    return Status::OK();
  }

 private:
  std::string partial_path() const { return path_ + ".partial"; }

  // The settled rows up to the first that is not.
  Status Write() {
    std::vector<Row> settled;
    {
      const std::lock_guard lock(mutex_);
      const auto end = rows_.begin() + static_cast<std::ptrdiff_t>(num_settled_first_.load());
      settled.assign(std::make_move_iterator(rows_.begin()), std::make_move_iterator(end));
      rows_.erase(rows_.begin(), end);
      first_ += static_cast<std::int64_t>(settled.size());
      num_settled_first_ = 0;
    }
    for (const Row& row : settled) RETURN_NOT_OK(columns_.Append(row));
    ASSIGN_OR_RETURN(const auto batch, columns_.Flush());
    if (batch->num_rows() == 0) return Status::OK();
    ASSIGN_OR_RETURN(const auto table, arrow::Table::FromRecordBatches({batch}));
    return WithContext(writer_->WriteTable(*table, batch->num_rows()), "{}", path_);
  }

  std::string path_;
  std::shared_ptr<arrow::io::FileOutputStream> file_;
  std::unique_ptr<parquet::arrow::FileWriter> writer_;
  Columns columns_;
  std::mutex mutex_;
  std::deque<Row> rows_;                           // Guarded by mutex_, as is the next.
  std::int64_t first_ = 0;                         // Number of the first row.
  std::atomic<std::size_t> num_settled_first_{0};  // Rows up to the first that is not settled.
};

TruthFile::TruthFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TruthFile::~TruthFile() = default;

Result<std::unique_ptr<TruthFile>> TruthFile::Create(std::string path, std::optional<std::string> topic,
                                                     Delivery delivery) {
  ASSIGN_OR_RETURN(auto impl, Impl::Make(std::move(path), topic, delivery));
  return std::unique_ptr<TruthFile>(new TruthFile(std::move(impl)));
}

Status TruthFile::Add(const FleetEvent& event, UnixMicros sent_at) {
  Row row{.number = event.number,
          .event_id = std::string(event.event_id),
          .key = std::string(event.key),
          .event_time = event.event_time,
          .sent_at = sent_at,
          .late_us = event.late_us,
          .clock_error_us = event.clock_error_us,
          .fate = event.fate,
          .duplicate_of = event.duplicate_of,
          .malformation = event.malformation,
          .fault = event.fault};
  if (event.fate == Fate::kMalformed || event.event_time > sent_at) row.payload = event.payload;
  return impl_->Add(std::move(row));
}

void TruthFile::Settle(std::int64_t first, std::int64_t end, Outcome outcome, std::string_view detail) {
  impl_->Settle(first, end, outcome, detail);
}

Status TruthFile::Close() { return impl_->Close(); }

}  // namespace millrace::devices
