/// The payloads of a sample unpacked and taken apart, as `decode.compression`, `decode.framing` and `decode.records` do
/// it: a record each of its documents.
#pragma once

#include <cstdint>
#include <string>

#include "infer/payload_format.h"
#include "infer/sample.h"
#include "ingest/decode_spec.h"

namespace millrace::infer {

struct Unpacked {
  Sample sample;
  ingest::Compression compression = ingest::Compression::kNone;
  std::string note;  ///< How many were packed; empty: none.
};
/// What cannot be unpacked stays as it is. All together is at most kSampleBytesMax; records beyond that are left out.
Unpacked Unpack(const Sample& sample);

struct Documents {
  Sample sample;  ///< Records that hold no documents are left out.
  ingest::Records records = ingest::Records::kOne;
  ingest::Framing framing = ingest::Framing::kNone;
  std::string note;  ///< How many of the records are of that kind; empty: they are taken as they are.
};
/// Of JSON, by what most payloads are; `shapes` are those of `sample`. Documents are at most kSampleRecordsMax, and
/// their keys and payloads kSampleBytesMax.
Documents TakeApart(const Sample& sample, const PayloadShapes& shapes);
/// The same of any text, a document a line.
Documents LinesOf(const Sample& sample);

}  // namespace millrace::infer
