/// A field's default: JSON in the schema, and bytes as a writer would have written them, which a plan reads like any
/// others.
#pragma once

#include <simdjson.h>

#include <string>

#include "base/status.h"
#include "ingest/avro/schema.h"

namespace millrace::ingest::avro {

/// Appends `value` as one of `schema`. kInvalidInput: it is none. Of a union, the first branch that it fits.
Status EncodeDefault(const simdjson::dom::element& value, const Schema& schema, std::string& out);

}  // namespace millrace::ingest::avro
