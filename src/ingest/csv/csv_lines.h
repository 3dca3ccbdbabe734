/// Records that hold several lines of CSV.
#pragma once

#include <memory>

#include "ingest/decode_spec.h"
#include "ingest/records/splitter.h"

namespace millrace::ingest {

/// A line break within quotes does not end a line, as for the decoder. A quote that never ends does not take the lines
/// behind it: its line ends where it would without the quote.
std::unique_ptr<Splitter> MakeCsvLineSplitter(const DecodeSpec& spec);

}  // namespace millrace::ingest
