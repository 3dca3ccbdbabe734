#include "pipeline/sink.h"

#include <arrow/array.h>
#include <arrow/builder.h>

#include <utility>

namespace millrace::pipeline {
namespace {

constexpr std::int64_t kMicrosPerDay = 86'400'000'000;

/// date(ts): days since 1970-01-01, floored; null where the time is null.
Result<std::shared_ptr<arrow::Array>> DateOf(const arrow::Array& timestamps) {
  const auto& times = static_cast<const arrow::TimestampArray&>(timestamps);
  arrow::Date32Builder days;
  RETURN_NOT_OK(days.Reserve(times.length()));
  for (std::int64_t i = 0; i < times.length(); ++i) {
    if (times.IsNull(i)) {
      days.UnsafeAppendNull();
      continue;
    }
    const std::int64_t value = times.Value(i);
    std::int64_t day = value / kMicrosPerDay;
    if (value % kMicrosPerDay < 0) --day;
    days.UnsafeAppend(static_cast<std::int32_t>(day));
  }
  return days.Finish();
}

}  // namespace

Result<std::unique_ptr<Sink>> Sink::Make(const TablePlan& plan, std::shared_ptr<objectstore::ObjectStore> store) {
  auto sink = std::unique_ptr<Sink>(new Sink(plan, std::move(store)));
  if (plan.kind == TableKind::kAggregate) {
    ASSIGN_OR_RETURN(sink->aggregator_, process::WindowedAggregator::Make(*plan.aggregate));
  } else {
    sink->SetFileSchema(*plan.schema);
    if (plan.adds_columns) sink->adder_ = std::make_unique<ColumnAdder>(plan, sink->store_);
  }
  return sink;
}

/// Files are open with the columns that there were when they began: readers see null in the others.
void Sink::SetFileSchema(const arrow::Schema& schema) {
  arrow::FieldVector fields;
  for (const auto& field : schema.fields()) {
    bool is_partition = false;
    for (const auto& name : plan_.partition_columns) is_partition |= name == field->name();
    if (!is_partition) fields.push_back(field);
  }
  file_schema_ = arrow::schema(std::move(fields));
  for (auto& [values, writer] : writers_) narrow_files_.push_back(std::move(writer));
  writers_.clear();
}

void Sink::Start(const model::TopicPartition& source, const SinkStart& start) {
  positions_[source] = {start.next, start.covered_from, start.fence};
}

void Sink::Stop(const model::TopicPartition& source) { positions_.erase(source); }

std::optional<model::Offset> Sink::Next(const model::TopicPartition& source) const {
  const auto it = positions_.find(source);
  if (it == positions_.end()) return std::nullopt;
  return it->second.next;
}

Result<std::vector<process::FailedRow>> Sink::Take(const model::TopicPartition& source, model::OffsetRange range,
                                                   const std::shared_ptr<arrow::RecordBatch>& rows,
                                                   const Counts& counts, std::uint32_t fingerprint) {
  auto& position = positions_.at(source);
  MILLRACE_CHECK(range.begin == position.next, "table {}: {} continues at {}, but {} comes next", plan_.name,
                 model::ToString(source), range.begin, position.next);
  std::vector<process::FailedRow> failed;
  model::Ledger ledger{.read = counts.read,
                       .dead_lettered = counts.dead_lettered,
                       .filtered = counts.filtered,
                       .tombstones = counts.tombstones};
  if (rows != nullptr && rows->num_rows() > 0) {
    if (aggregator_ != nullptr) {
      ASSIGN_OR_RETURN(auto added, aggregator_->Add(rows));
      ledger.written = added.aggregated;
      ledger.filtered += added.filtered;
      ledger.dead_lettered += static_cast<std::int64_t>(added.failed.size());
      failed = std::move(added.failed);
    } else {
      RETURN_NOT_OK(AppendEvents(rows));
      ledger.written = rows->num_rows();
    }
    num_rows_ += ledger.written;
  }
  MILLRACE_CHECK(
      ledger.Balances(),
      "table {}: the books of {} [{}, {}) do not balance: read {}, written {}, dead {}, filtered {}, tombstones {}",
      plan_.name, model::ToString(source), range.begin, range.end, ledger.read, ledger.written, ledger.dead_lettered,
      ledger.filtered, ledger.tombstones);
  auto [part, is_new] = parts_.try_emplace(source);
  if (is_new) {
    part->second.range.begin = position.covered_from;
    part->second.fence = position.fence;
  }
  part->second.range.end = range.end;
  part->second.ledger += ledger;
  part->second.fingerprint = fingerprint;
  position.next = range.end;
  return failed;
}

Status Sink::AppendEvents(const std::shared_ptr<arrow::RecordBatch>& rows) {
  std::vector<std::shared_ptr<arrow::Array>> columns;
  columns.reserve(plan_.schema->num_fields());
  if (plan_.kind == TableKind::kDeadLetters) {
    columns = rows->columns();
  } else {
    for (const int column : plan_.columns) columns.push_back(rows->column(column));
    for (const auto& time : plan_.derived_dates) {
      ASSIGN_OR_RETURN(auto days, DateOf(*rows->GetColumnByName(time)));
      columns.push_back(std::move(days));
    }
  }
  auto batch = arrow::RecordBatch::Make(plan_.schema, rows->num_rows(), std::move(columns));
  if (adder_ != nullptr) {
    const auto num_columns = adder_->num_added();
    ASSIGN_OR_RETURN(batch, adder_->Spread(batch));
    if (adder_->num_added() != num_columns) SetFileSchema(*batch->schema());
  }
  if (plan_.rescued_column >= 0) {
    rescued_rows_ += batch->num_rows() - batch->column(plan_.rescued_column)->null_count();
  }
  if (plan_.partition_columns.empty()) {
    ASSIGN_OR_RETURN(auto* const writer, WriterFor({}));
    return writer->Append(*batch);
  }
  ASSIGN_OR_RETURN(const auto split, delta::SplitByPartition(batch, plan_.partition_columns));
  for (const auto& piece : split) {
    ASSIGN_OR_RETURN(auto* const writer, WriterFor(piece.values));
    RETURN_NOT_OK(writer->Append(*piece.rows));
  }
  return Status::OK();
}

Result<delta::DataFileWriter*> Sink::WriterFor(const delta::PartitionValues& values) {
  auto it = writers_.find(values);
  if (it == writers_.end()) {
    ASSIGN_OR_RETURN(auto writer, delta::DataFileWriter::Make(store_, file_schema_, values));
    it = writers_.emplace(values, std::move(writer)).first;
  }
  return it->second.get();
}

std::int64_t Sink::memory_bytes() const {
  std::int64_t bytes = aggregator_ != nullptr ? aggregator_->bytes() : 0;
  for (const auto& [values, writer] : writers_) bytes += writer->memory_bytes();
  for (const auto& writer : narrow_files_) bytes += writer->memory_bytes();
  for (const auto& pending : pending_) bytes += pending.bytes;
  return bytes;
}

std::int64_t Sink::file_bytes() const {
  std::int64_t bytes = aggregator_ != nullptr ? aggregator_->bytes() : 0;
  for (const auto& [values, writer] : writers_) bytes += writer->num_bytes();
  for (const auto& writer : narrow_files_) bytes += writer->num_bytes();
  return bytes;
}

Result<SealedPart> Sink::Seal(std::int64_t epoch) {
  SealedPart sealed;
  sealed.epoch = epoch;
  const std::int64_t bytes = aggregator_ != nullptr ? aggregator_->bytes() : 0;
  if (aggregator_ != nullptr && aggregator_->num_groups() > 0) {
    ASSIGN_OR_RETURN(sealed.partial_rows, aggregator_->Seal());
  }
  sealed.files = std::move(narrow_files_);
  narrow_files_.clear();
  for (auto& [values, writer] : writers_) sealed.files.push_back(std::move(writer));
  writers_.clear();
  sealed.rescued_rows = std::exchange(rescued_rows_, 0);
  sealed.partitions = std::move(parts_);
  parts_.clear();
  num_rows_ = 0;

  query::HotSegment segment;
  for (const auto& [source, part] : sealed.partitions) {
    auto& position = positions_.at(source);
    position.covered_from = part.range.end;
    position.fence = part.range.end - 1;
    segment.ranges[source] = part.range;
  }
  if (aggregator_ != nullptr && !segment.ranges.empty()) {
    segment.rows = sealed.partial_rows;
    pending_.push_back({epoch, bytes, std::move(segment)});
  }
  return sealed;
}

void Sink::Committed(std::int64_t epoch) {
  std::erase_if(pending_, [epoch](const Pending& pending) { return pending.epoch <= epoch; });
}

void Sink::Discard() {
  positions_.clear();
  parts_.clear();
  writers_.clear();
  narrow_files_.clear();
  pending_.clear();
  num_rows_ = 0;
  rescued_rows_ = 0;
  if (aggregator_ != nullptr) {
    const auto dropped = aggregator_->Seal();
    MILLRACE_CHECK(dropped.ok(), "{}", dropped.status().ToString());
  }
}

Result<std::vector<query::HotSegment>> Sink::Hot(const model::AggregateDefinition& coarser,
                                                 const query::FoldRange& range) {
  std::vector<query::HotSegment> segments;
  for (const auto& pending : pending_) {
    query::HotSegment segment{.ranges = pending.segment.ranges, .rows = nullptr};
    if (pending.segment.rows != nullptr) {
      ASSIGN_OR_RETURN(segment.rows, query::Fold(aggregator_->definition(), coarser, range, {pending.segment.rows}));
    }
    segments.push_back(std::move(segment));
  }
  if (parts_.empty()) return segments;
  query::HotSegment open;
  for (const auto& [source, part] : parts_) open.ranges[source] = part.range;
  ASSIGN_OR_RETURN(open.rows,
                   aggregator_->Export(coarser, range.from.value_or(INT64_MIN), range.to.value_or(INT64_MAX)));
  segments.push_back(std::move(open));
  return segments;
}

}  // namespace millrace::pipeline
