/// Records that hold a JSON array of documents, such as CloudEvents' batches.
#pragma once

#include <memory>

#include "ingest/decode_spec.h"
#include "ingest/records/splitter.h"

namespace millrace::ingest {

/// Each element is a document, with the bytes that it has in the array. The whole array is checked, but for its texts'
/// being UTF-8, which the document's decoder does.
std::unique_ptr<Splitter> MakeJsonArraySplitter(const DecodeSpec& spec);

}  // namespace millrace::ingest
