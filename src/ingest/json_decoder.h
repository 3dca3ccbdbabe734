/// JSON documents to an Arrow batch by the declared schema, with simdjson.
///
/// One record holds one JSON object. A record that does not fit (not JSON, not an object, a value of another type, out of
/// range) becomes a dead letter with its bytes; the other records go on. A field that is absent or null is null.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "model/event_batch.h"

namespace millrace::ingest {

/// records.size() == rows->num_rows() + dead_letters.size() + tombstones
struct Decoded {
  std::shared_ptr<arrow::RecordBatch> rows;  ///< EventSchema(); in offset order.
  std::vector<model::DeadLetter> dead_letters;
  std::int64_t tombstones = 0;
};

/// Not thread-safe: one per shard.
class JsonDecoder {
 public:
  static Result<std::unique_ptr<JsonDecoder>> Make(DecodeSpec spec);
  ~JsonDecoder();

  /// Fails only when memory runs out.
  Result<Decoded> Decode(const model::FetchedRecords& records);

 private:
  class Impl;
  explicit JsonDecoder(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::ingest
