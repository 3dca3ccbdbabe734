/// Where the rows of a lookup are.
///
///     ASSIGN_OR_RETURN(const auto source, OpenSource(spec, s3));
///     ASSIGN_OR_RETURN(const auto shape, source->Shape());
///     ASSIGN_OR_RETURN(const auto read, source->Read(shape, "", 100 << 20));
///
/// Calls block, and are made from one thread at a time. Their errors name the lookup and where its rows should be.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "lookup/lookup_spec.h"
#include "objectstore/object_store.h"
#include "process/lookup_table.h"

namespace millrace::lookup {

/// The rows as they were at one time.
struct ReadRows {
  std::shared_ptr<arrow::RecordBatch> rows;
  std::string version;  ///< "version 12", "sha256 2cf24dba5fb0a30e": of other rows, another.
};

/// What a source gives of itself; Source is made of it.
class RowReader {
 public:
  virtual ~RowReader() = default;
  /// All columns, without reading rows where the source can tell.
  virtual Result<std::shared_ptr<arrow::Schema>> Columns() = 0;
  /// These columns. nullopt: the rows are still those of `known_version`. kTooLarge: more than `bytes_max` bytes.
  virtual Result<std::optional<ReadRows>> Read(const arrow::FieldVector& columns, const std::string& known_version,
                                               std::int64_t bytes_max) = 0;
  /// Any thread: a call under way ends soon, later ones at once, with kCancelled.
  virtual void Interrupt() = 0;
};

class Source {
 public:
  Source(LookupSpec spec, std::unique_ptr<RowReader> reader) : spec_(std::move(spec)), reader_(std::move(reader)) {}

  const LookupSpec& spec() const { return spec_; }

  /// Its columns in the types that SQL and tables have: texts, times in microseconds, signed integers. One that has no
  /// such type is left out. kInvalidInput: a column of the key is not there, or see CheckLookupShape(); kNotFound,
  /// kTransient and others: the source cannot be read.
  Result<process::LookupShape> Shape();

  /// Rows with shape.schema; nullopt: they are still those of `known_version` (empty: none is known). Errors as
  /// Shape(), and kInvalidInput if a column of the shape is not there any more or has become another type.
  Result<std::optional<ReadRows>> Read(const process::LookupShape& shape, const std::string& known_version,
                                       std::int64_t bytes_max);

  void Interrupt() { reader_->Interrupt(); }

 private:
  Status WithPlace(const Status& status) const;

  const LookupSpec spec_;
  const std::unique_ptr<RowReader> reader_;
};

/// `s3` is for s3:// alone.
Result<std::unique_ptr<Source>> OpenSource(const LookupSpec& spec, const objectstore::S3Settings& s3);

/// Whether looking at it asks nothing beyond this machine's files.
bool IsLocal(const LookupSpec& spec);

}  // namespace millrace::lookup
