/// Avro's object container files (specification 1.12, "Object Container Files") as records: one file is one record,
/// each value in it a document that was written with the file's own schema.
///
/// Codecs null, deflate, snappy and zstandard. All that a file unpacks to has at most kMaxPayloadBytes.
#pragma once

#include <memory>

#include "ingest/decode_spec.h"
#include "ingest/records/splitter.h"

namespace millrace::ingest {

/// A dead letter of one value is a file of that value alone: magic, schema, one block.
std::unique_ptr<Splitter> MakeAvroContainerSplitter(const DecodeSpec& spec);

}  // namespace millrace::ingest
