/// Payloads as they are, in the one column that is declared: for topics whose records someone else will read.
///
/// Reasons of what is refused:
/// | reason   | the record                   |
/// |----------|------------------------------|
/// | bad_utf8 | has bytes that are not UTF-8 |
#pragma once

#include <memory>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "ingest/decoder.h"

namespace millrace::ingest {

/// kInvalidInput: not one column of text, whose path is its name; unknown_fields other than kIgnore.
Result<std::unique_ptr<Decoder>> MakeRawDecoder(const DecodeSpec& spec);

}  // namespace millrace::ingest
