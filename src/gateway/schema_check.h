/// Whether events would become rows: judged at the door by the decoder that the pipeline reads them with later.
#pragma once

#include <memory>

#include "base/status.h"
#include "gateway/event_reader.h"
#include "ingest/decode_spec.h"
#include "ingest/decoder.h"

namespace millrace::gateway {

/// Not thread-safe: one for each thread that checks.
class SchemaCheck {
 public:
  /// Of an input's events; columns that are not made of the payload are not looked at. kInvalidInput: see
  /// ingest::MakeDecoder().
  static Result<std::unique_ptr<SchemaCheck>> Make(const ingest::DecodeSpec& spec);

  /// Events that would become dead letters are rejected, with the decoder's reason for the code. kTransient: memory.
  Status Check(Batch* batch);

 private:
  explicit SchemaCheck(std::unique_ptr<ingest::Decoder> decoder) : decoder_(std::move(decoder)) {}

  const std::unique_ptr<ingest::Decoder> decoder_;
};

}  // namespace millrace::gateway
