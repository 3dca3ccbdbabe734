/// A sample decoded as a pipeline would decode it: how many records become rows, and what becomes of the others.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "infer/draft.h"
#include "infer/sample.h"
#include "ingest/decode_spec.h"

namespace millrace::infer {

struct Decoded {
  std::vector<std::shared_ptr<arrow::RecordBatch>> rows;  ///< By partition, of EventSchema(spec), in offset order.
  std::map<std::string, std::int64_t> dead_letters;       ///< By reason.

  std::int64_t num_rows() const;
};

/// kInvalidInput: what MakeDecoder() says of `spec`. kTransient: a schema of spec.writer_schemas did not come within
/// ingest::kSchemaPatience.
Result<Decoded> Decode(const Sample& sample, const ingest::DecodeSpec& spec);

/// By the event time of `event_time`, a timestamp column of the events or "_timestamp". Errors as Decode().
Result<Rehearsal> Rehearse(const Sample& sample, const ingest::DecodeSpec& spec, const std::string& event_time);

/// "type_mismatch 2, bad_json 1"
std::string ReasonsText(const std::map<std::string, std::int64_t>& reasons);

}  // namespace millrace::infer
