/// The columns of a schema, where the events have one, and what their values in a sample are like.
#pragma once

#include <string>

#include "base/status.h"
#include "infer/draft.h"
#include "infer/sample.h"
#include "ingest/decode_spec.h"

namespace millrace::infer {

/// Fills format, framing, schema and columns of `draft`, whose `parts` are known. The framing is that by which most
/// payloads of `sample`, which are unpacked, can be decoded. Without a sample it is that of a registry, or none.
/// kInvalidInput: the schema is none of its format, or no payload is of it, with what the first ones lack. kTransient:
/// the registry does not answer.
Status DraftOfSchema(const Sample& sample, const DraftOptions& options, Draft& draft);

/// As pipeline.yaml spells it: "decimal(12,2)", "list<int64>".
std::string TypeText(const arrow::DataType& type, const ingest::ValueForm& form);

}  // namespace millrace::infer
