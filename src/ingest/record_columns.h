/// Columns that say something of the record that a row came in, beside what its payload says: its key, one of its
/// headers, or its place in the log under a name of the user's.
///
/// Keys and headers are texts, read as values/text_value_internal.h says, or binary, which takes them as they are. A
/// record without the key or the header has null; of a header that occurs twice, the last counts.
///
/// | reason        | the record's key or header                                     |
/// |---------------|----------------------------------------------------------------|
/// | bad_utf8      | has bytes that are not UTF-8                                   |
/// | type_mismatch | is no value of its column's type                               |
/// | out_of_range  | has the right form, and the column cannot hold it              |
#pragma once

#include <arrow/array/data.h>

#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "ingest/decoder.h"
#include "model/topic_partition.h"

namespace millrace::ingest {

class Column;

/// Not thread-safe: one per shard and input.
class RecordColumns {
 public:
  /// Of the columns of `spec` that have a ColumnSpec::from. kInvalidInput: a type that the part cannot have.
  static Result<RecordColumns> Make(const DecodeSpec& spec);
  RecordColumns(RecordColumns&&) noexcept;
  ~RecordColumns();

  bool empty() const;

  /// A row for each document, and which of them have a key or a header that does not fit. Fails only when memory runs
  /// out.
  Result<std::vector<Refusal>> Fill(const model::TopicPartition& source, std::span<const Document> documents);
  /// What Fill() has filled, if it refused none, in the order of the spec. The columns are empty afterwards.
  Result<arrow::ArrayDataVector> Finish();

 private:
  struct PartColumn;
  explicit RecordColumns(std::vector<PartColumn> columns);

  std::vector<PartColumn> columns_;
  std::int64_t rows_ = 0;
};

}  // namespace millrace::ingest
