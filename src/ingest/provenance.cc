#include "ingest/provenance.h"

#include <arrow/array/builder_binary.h>
#include <arrow/buffer.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace millrace::ingest {

const arrow::FieldVector& ProvenanceFields() {
  static const arrow::FieldVector fields = [] {
    const arrow::DataTypeVector types = {arrow::dictionary(arrow::int32(), arrow::utf8()), arrow::int32(),
                                         arrow::int64(), arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")};
    arrow::FieldVector made;
    for (std::size_t i = 0; i < types.size(); ++i) {
      made.push_back(arrow::field(std::string(kProvenanceColumns[i]), types[i], /*nullable=*/false));
    }
    return made;
  }();
  return fields;
}

const std::shared_ptr<arrow::Field>& IndexField() {
  static const auto field = arrow::field(std::string(model::kIndexColumn), arrow::int32(), /*nullable=*/false);
  return field;
}

Status Provenance::Prepare(const model::TopicPartition& source, std::int64_t rows) {
  if (topic_ == nullptr || !(source == source_)) {
    arrow::StringBuilder builder;
    RETURN_NOT_OK(builder.Append(source.topic));
    ASSIGN_OR_RETURN(const auto topic, builder.Finish());
    topic_ = topic->data();
    prepared_rows_ = -1;
    source_ = source;
  }
  if (rows <= prepared_rows_) return Status::OK();
  const std::int64_t prepared = std::max(rows, prepared_rows_ * 2);
  ASSIGN_OR_RETURN(topic_keys_, arrow::AllocateBuffer(prepared * 4));
  ASSIGN_OR_RETURN(partitions_, arrow::AllocateBuffer(prepared * 4));
  std::memset(topic_keys_->mutable_data(), 0, static_cast<std::size_t>(topic_keys_->size()));
  std::fill_n(partitions_->mutable_data_as<std::int32_t>(), prepared, source.partition);
  prepared_rows_ = prepared;
  return Status::OK();
}

Status Provenance::AppendTo(arrow::ArrayDataVector* columns, const model::TopicPartition& source,
                            std::span<const Document> rows) {
  const auto num_rows = static_cast<std::int64_t>(rows.size());
  RETURN_NOT_OK(Prepare(source, num_rows));
  ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> offsets, arrow::AllocateBuffer(num_rows * 8));
  ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> timestamps, arrow::AllocateBuffer(num_rows * 8));
  auto* offset = offsets->mutable_data_as<std::int64_t>();
  auto* timestamp = timestamps->mutable_data_as<std::int64_t>();
  for (const Document& row : rows) {
    *offset++ = row.record->offset;
    *timestamp++ = row.record->timestamp;
  }
  const auto append = [&](std::size_t field, std::shared_ptr<arrow::Buffer> values) {
    columns->push_back(
        arrow::ArrayData::Make(ProvenanceFields()[field]->type(), num_rows, {nullptr, std::move(values)}, 0));
  };
  append(0, arrow::SliceBuffer(topic_keys_, 0, num_rows * 4));
  columns->back()->dictionary = topic_;
  append(1, arrow::SliceBuffer(partitions_, 0, num_rows * 4));
  append(2, std::move(offsets));
  append(3, std::move(timestamps));
  if (!with_index_) return Status::OK();
  ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> indexes, arrow::AllocateBuffer(num_rows * 4));
  auto* index = indexes->mutable_data_as<std::int32_t>();
  for (const Document& row : rows) *index++ = row.index;
  columns->push_back(arrow::ArrayData::Make(IndexField()->type(), num_rows, {nullptr, std::move(indexes)}, 0));
  return Status::OK();
}

}  // namespace millrace::ingest
