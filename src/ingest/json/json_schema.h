/// The columns of events whose shape a JSON Schema says: `properties` of its root, in their order. The schema is looked
/// at for nothing else: what a document may hold beside these is for the decoder of JSON to judge.
///
/// | of a property                                | column                                                       |
/// |----------------------------------------------|--------------------------------------------------------------|
/// | "string"                                     | utf8; `format` date-time: timestamp (RFC 3339), date: date32, |
/// |                                              | uuid: a UUID's text; `contentEncoding` base64: binary        |
/// | "integer", "number", "boolean"               | int64, float64, boolean                                      |
/// | "array" of one of these                      | list of it                                                   |
/// | all others: objects, several types, no type  | utf8: the value as it was written, which is JSON             |
///
/// Every column may be null. A `$ref` is followed, within the schema and to its references by their names; of `oneOf`
/// and `anyOf` a branch of "null" is passed over, and where one other is left, that counts; `properties` of `allOf` are
/// added to those beside it. Specifications: JSON Schema drafts 4 to 2020-12, which agree on these words.
#pragma once

#include <vector>

#include "base/status.h"
#include "ingest/decode_spec.h"

namespace millrace::ingest {

/// Of spec.schema, whose bytes are there. kInvalidInput, naming the property: it is no JSON Schema, its root is no
/// object or names no properties, or a `$ref` leads nowhere or around in a circle.
Result<std::vector<ColumnSpec>> ColumnsOfJsonSchema(const DecodeSpec& spec);

}  // namespace millrace::ingest
