/// JSON documents with members computed from them before their columns are read: what kafka-delta-ingest calls
/// transforms.
///
/// Every expression sees the document as it came. What it gives takes the place of the member at its path, in objects
/// that are made if need be; null changes nothing, and a number that no double holds fails. All else in the document
/// stays as it was written.
#pragma once

#include <memory>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "ingest/decoder.h"

namespace millrace::ingest {

/// A decoder in front of `documents`, which decodes JSON by `spec`. One more reason of what is refused: `transform`, an
/// expression that failed. kInvalidInput: an expression, or its path.
Result<std::unique_ptr<Decoder>> MakeComputingDecoder(const DecodeSpec& spec, std::unique_ptr<Decoder> documents);

}  // namespace millrace::ingest
