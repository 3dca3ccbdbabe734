#include "pipeline/sink.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/util/byte_size.h>

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

Result<std::unique_ptr<Sink>> Sink::Make(const config::TablePlan& plan, std::shared_ptr<objectstore::ObjectStore> store,
                                         SinkOptions options, process::EvaluatorSessions* sessions) {
  auto sink = std::unique_ptr<Sink>(new Sink(plan, std::move(store), std::move(options)));
  if (sink->options_.budget != nullptr) sink->memory_ = sink->options_.budget->NewShare("open epochs");
  if (plan.kind == config::TableKind::kAggregate) {
    ASSIGN_OR_RETURN(sink->aggregator_, process::WindowedAggregator::Make(*plan.aggregate, sessions));
  } else if (plan.route) {
    MILLRACE_CHECK(sink->options_.family != nullptr, "table {}: no family", plan.name);
    sink->splitter_ = std::make_unique<RouteSplitter>(plan, sink->options_.family);
  } else if (plan.adds_columns) {
    sink->adder_ = std::make_unique<ColumnAdder>(plan, sink->store_);
  }
  return sink;
}

std::string Sink::stage() const {
  return (plan_.kind == config::TableKind::kAggregate ? "aggregate:" : "table:") + plan_.name;
}

void Sink::Start(const model::TopicPartition& source, const SinkStart& start) {
  positions_[source] = {start.next, start.covered_from, start.fence};
  if (splitter_ != nullptr) {
    splitter_->Start(source, start.routes, start.books_from);
  } else if (start.table_schema != nullptr) {
    row_check_.SetTableSchema(*start.table_schema);
  }
}

void Sink::Stop(const model::TopicPartition& source) {
  positions_.erase(source);
  if (splitter_ != nullptr) splitter_->Stop(source);
}

std::optional<model::Offset> Sink::Next(const model::TopicPartition& source) const {
  const auto it = positions_.find(source);
  if (it == positions_.end()) return std::nullopt;
  return it->second.next;
}

Result<std::vector<RefusedRow>> Sink::Take(const model::TopicPartition& source, model::OffsetRange range,
                                           const std::shared_ptr<arrow::RecordBatch>& rows, const Counts& counts,
                                           const RangeEnd& end) {
  auto& position = positions_.at(source);
  MILLRACE_CHECK(range.begin == position.next, "table {}: {} continues at {}, but {} comes next", plan_.name,
                 model::ToString(source), range.begin, position.next);
  std::vector<RefusedRow> refused;
  model::Ledger ledger{.read = counts.read,
                       .further = counts.further,
                       .dead_lettered = counts.dead_lettered,
                       .filtered = counts.filtered,
                       .deduplicated = counts.deduplicated,
                       .tombstones = counts.tombstones};
  if (rows != nullptr && rows->num_rows() > 0) {
    if (aggregator_ != nullptr) {
      ASSIGN_OR_RETURN(auto added, aggregator_->Add(rows));
      ledger.written = added.aggregated;
      ledger.filtered += added.filtered;
      for (auto& failed : added.failed) refused.push_back({failed.row, "aggregate_error", std::move(failed.message)});
    } else {
      ASSIGN_OR_RETURN(refused, TakeEvents(source, range, *rows, &ledger.written));
    }
    ledger.dead_lettered += std::ssize(refused);
    num_rows_ += ledger.written;
    Measure();
  }
  MILLRACE_CHECK(
      ledger.Balances(),
      "table {}: the books of {} [{}, {}) do not balance: read {}, further {}, written {}, dead {}, filtered {}, "
      "deduplicated {}, tombstones {}",
      plan_.name, model::ToString(source), range.begin, range.end, ledger.read, ledger.further, ledger.written,
      ledger.dead_lettered, ledger.filtered, ledger.deduplicated, ledger.tombstones);
  auto [part, is_new] = parts_.try_emplace(source);
  if (is_new) {
    part->second.range.begin = position.covered_from;
    part->second.fence = position.fence;
  }
  part->second.range.end = range.end;
  part->second.ledger += ledger;
  part->second.fingerprint = end.fingerprint;
  part->second.dedupe_from = end.dedupe_from;
  position.next = range.end;
  return refused;
}

Result<std::vector<RefusedRow>> Sink::TakeEvents(const model::TopicPartition& source, model::OffsetRange range,
                                                 const arrow::RecordBatch& rows, std::int64_t* written) {
  ASSIGN_OR_RETURN(auto taken, TableRows(rows));
  if (splitter_ != nullptr) {
    ASSIGN_OR_RETURN(auto split, splitter_->Split(source, range, rows, taken, row_check_));
    *written = split.rows->num_rows() + split.held;
    if (split.rows->num_rows() > 0) RETURN_NOT_OK(AppendEvents(std::move(split.rows)));
    return std::move(split.refused);
  }
  auto refused = row_check_.Find(*taken);
  if (!refused.empty()) {
    std::vector<std::int64_t> dropped;
    for (const auto& row : refused) dropped.push_back(row.row);
    ASSIGN_OR_RETURN(taken, Without(taken, dropped));
  }
  *written = taken->num_rows();
  if (*written > 0) RETURN_NOT_OK(AppendEvents(std::move(taken)));
  return refused;
}

/// The columns that the table keeps of its relation's rows.
Result<std::shared_ptr<arrow::RecordBatch>> Sink::TableRows(const arrow::RecordBatch& rows) const {
  std::vector<std::shared_ptr<arrow::Array>> columns;
  columns.reserve(plan_.schema->num_fields());
  for (const int column : plan_.columns) columns.push_back(rows.column(column));
  for (const auto& time : plan_.derived_dates) {
    ASSIGN_OR_RETURN(auto days, DateOf(*rows.GetColumnByName(time)));
    columns.push_back(std::move(days));
  }
  return arrow::RecordBatch::Make(plan_.schema, rows.num_rows(), std::move(columns));
}

Status Sink::AppendEvents(std::shared_ptr<arrow::RecordBatch> rows) {
  if (adder_ != nullptr) {
    const auto num_columns = adder_->num_added();
    ASSIGN_OR_RETURN(rows, adder_->Spread(rows));
    if (adder_->num_added() != num_columns && files_ != nullptr) {
      // Files are open with the columns that there were when they began: readers see null in the others.
      RETURN_NOT_OK(files_->Close());
      narrow_files_.push_back(std::move(files_));
    }
  }
  if (plan_.rescued_column >= 0) {
    rescued_rows_ += rows->num_rows() - rows->column(plan_.rescued_column)->null_count();
  }
  if (files_ == nullptr) {
    delta::PartitionedWriterOptions options{.open_files_max = options_.open_files_max};
    if (splitter_ != nullptr) {
      options.place_column = RouteSplitter::kNumberColumn;
      // The writer may outlive the sink.
      options.store_of = [family = options_.family](const std::string& number) {
        return family->StoreOf(std::stoi(number));
      };
    }
    const auto columns = splitter_ == nullptr ? plan_.partition_columns : splitter_->partition_columns();
    files_ = delta::PartitionedWriter::Make(store_, rows->schema(), columns, options);
  }
  return files_->Append(rows);
}

std::int64_t Sink::memory_bytes() const {
  std::int64_t bytes = aggregator_ != nullptr ? aggregator_->bytes() : 0;
  if (files_ != nullptr) bytes += files_->memory_bytes();
  for (const auto& files : narrow_files_) bytes += files->memory_bytes();
  for (const auto& pending : pending_) bytes += pending.bytes;
  return bytes;
}

std::int64_t Sink::file_bytes() const {
  std::int64_t bytes = aggregator_ != nullptr ? aggregator_->bytes() : 0;
  if (files_ != nullptr) bytes += files_->num_bytes();
  for (const auto& files : narrow_files_) bytes += files->num_bytes();
  return bytes;
}

Result<SealedPart> Sink::Seal(std::int64_t epoch) {
  SealedPart sealed;
  sealed.epoch = epoch;
  if (aggregator_ != nullptr && aggregator_->num_groups() > 0) {
    ASSIGN_OR_RETURN(sealed.partial_rows, aggregator_->Seal());
  }
  sealed.files = std::move(narrow_files_);
  narrow_files_.clear();
  if (files_ != nullptr) sealed.files.push_back(std::move(files_));
  sealed.rescued_rows = std::exchange(rescued_rows_, 0);
  sealed.lookups = std::exchange(lookups_, {});
  sealed.partitions = std::move(parts_);
  parts_.clear();
  if (splitter_ != nullptr) sealed.routes = splitter_->Seal(sealed.partitions);
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
    const std::int64_t bytes = segment.rows == nullptr ? 0 : arrow::util::TotalBufferSize(*segment.rows);
    pending_.push_back({epoch, bytes, std::move(segment)});
  }
  if (options_.budget != nullptr) {
    std::int64_t bytes = 0;
    for (const auto& files : sealed.files) bytes += files->memory_bytes();
    // Their file's pages take as much as they do, at most.
    if (sealed.partial_rows != nullptr) bytes += arrow::util::TotalBufferSize(*sealed.partial_rows);
    sealed.memory = options_.budget->NewShare("sealed epochs");
    sealed.memory.Set(bytes);
  }
  Measure();
  return sealed;
}

void Sink::Committed(std::int64_t epoch) {
  std::erase_if(pending_, [epoch](const Pending& pending) { return pending.epoch <= epoch; });
  Measure();
}

void Sink::Discard() {
  positions_.clear();
  parts_.clear();
  files_.reset();
  narrow_files_.clear();
  pending_.clear();
  num_rows_ = 0;
  rescued_rows_ = 0;
  lookups_.clear();
  if (splitter_ != nullptr) splitter_->Discard();
  if (aggregator_ != nullptr) {
    const auto dropped = aggregator_->Seal();
    MILLRACE_CHECK(dropped.ok(), "{}", dropped.status().ToString());
  }
  Measure();
}

Result<std::vector<query::HotSegment>> Sink::Hot(const model::AggregateDefinition& coarser,
                                                 const query::FoldRange& range, std::int64_t bytes_max) {
  std::vector<query::HotSegment> segments;
  for (const auto& pending : pending_) {
    query::HotSegment segment{.ranges = pending.segment.ranges, .rows = nullptr};
    if (pending.segment.rows != nullptr) {
      ASSIGN_OR_RETURN(segment.rows, query::Fold(aggregator_->definition(), coarser, range, {pending.segment.rows},
                                                 {.bytes_max = bytes_max}));
    }
    segments.push_back(std::move(segment));
  }
  if (parts_.empty()) return segments;
  query::HotSegment open;
  for (const auto& [source, part] : parts_) open.ranges[source] = part.range;
  ASSIGN_OR_RETURN(
      open.rows, aggregator_->Export(coarser, range.from.value_or(INT64_MIN), range.to.value_or(INT64_MAX), bytes_max));
  segments.push_back(std::move(open));
  return segments;
}

}  // namespace millrace::pipeline
