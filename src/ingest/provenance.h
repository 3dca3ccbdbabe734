/// The columns behind the decoded ones that say where each event came from, whatever its format:
///
/// | column       | type                      |                                                                |
/// |--------------|---------------------------|----------------------------------------------------------------|
/// | `_topic`     | dictionary<int32, utf8>   |                                                                |
/// | `_partition` | int32                     |                                                                |
/// | `_offset`    | int64                     | of the record, ascending within a batch                        |
/// | `_timestamp` | timestamp[us, UTC]        | the log's: when the record was made or appended                |
///
/// | `_index`     | int32                     | only of records with several documents: which of them, from 0  |
///
/// None is ever null.
#pragma once

#include <arrow/type.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"
#include "ingest/decoder.h"
#include "model/event_batch.h"

namespace millrace::ingest {

inline constexpr std::array<std::string_view, 4> kProvenanceColumns = {model::kTopicColumn, model::kPartitionColumn,
                                                                       model::kOffsetColumn, model::kTimestampColumn};

/// Of kProvenanceColumns, in order.
const arrow::FieldVector& ProvenanceFields();
/// Of model::kIndexColumn.
const std::shared_ptr<arrow::Field>& IndexField();

/// Not thread-safe. Batches of one partition after the other share what is the same in them.
class Provenance {
 public:
  explicit Provenance(bool with_index) : with_index_(with_index) {}

  /// Appends the columns of rows that came from `source`, one row for each of `rows`. Fails only when memory runs out.
  Status AppendTo(arrow::ArrayDataVector* columns, const model::TopicPartition& source, std::span<const Document> rows);

 private:
  Status Prepare(const model::TopicPartition& source, std::int64_t rows);

  const bool with_index_;
  model::TopicPartition source_;
  std::shared_ptr<arrow::ArrayData> topic_;    // The dictionary; nullptr: there was no batch yet.
  std::int64_t prepared_rows_ = 0;             // Of the next two.
  std::shared_ptr<arrow::Buffer> topic_keys_;  // Zeros.
  std::shared_ptr<arrow::Buffer> partitions_;
};

}  // namespace millrace::ingest
