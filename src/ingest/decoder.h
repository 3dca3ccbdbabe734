/// What a decoder is: documents of one format in, the declared columns out.
///
/// A decoder knows its format and nothing else. What is the same for all formats is around it, in event_decoder.h:
/// records without a payload or with one that is too large, where a row came from, what a dead letter holds.
#pragma once

#include <arrow/record_batch.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/event_batch.h"

namespace millrace::ingest {

/// What one row is made of.
struct Document {
  std::string_view bytes;                         ///< At most kMaxPayloadBytes (event_decoder.h); may be empty.
  const model::RawRecord* record = nullptr;       ///< That it came in.
  const model::TopicPartition* source = nullptr;  ///< Of `record`.
  bool append_time = false;                       ///< record->timestamp is the log's own, not the producer's.
  std::int32_t index = model::kWholeRecord;       ///< Else which of the record's documents it is.
  /// Of a container file: its text. The same place for all documents that one text is of. Null: see
  /// DecodeSpec::framing.
  const std::string* writer_schema = nullptr;
};

/// A document that is no row.
struct Refusal {
  std::size_t document = 0;  ///< Its index.
  std::string reason;        ///< A short fixed word, for metrics; the header of each decoder lists its own.
  std::string detail;        ///< A sentence that names the field, the value and its place, as far as known.
};

/// Each document is either a row or refused, and both are in the order of the documents.
struct DecodedDocuments {
  std::shared_ptr<arrow::RecordBatch> rows;  ///< Of DecodedSchema(), see decode_spec.h.
  std::vector<Refusal> refused;
};

/// Not thread-safe: one per shard. It may remember documents in order to be faster, but not so that another one
/// decodes differently for it.
class Decoder {
 public:
  virtual ~Decoder() = default;

  /// `documents` have at most 2 GiB together, which is what one Arrow text column holds. One that does not fit is
  /// refused, and the others go on. Fails when memory runs out, or with kTransient if a writer's schema cannot be had
  /// now (writer_schemas.h): the same documents may be decoded again later.
  virtual Result<DecodedDocuments> Decode(std::span<const Document> documents) = 0;
};

}  // namespace millrace::ingest
