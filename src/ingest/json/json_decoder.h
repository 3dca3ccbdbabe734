/// JSON documents to an Arrow batch by the declared schema, in one pass over the text.
///
/// One record holds one JSON object (RFC 8259, UTF-8, no byte order mark). A record that does not fit is refused, and
/// the others go on. The whole document is checked, also what the schema does not name.
///
/// - A field that is absent or null is null. Keys are compared exactly, escapes decoded; case counts.
/// - A key that occurs twice in one object: the last one wins, and each occurrence must fit its column.
/// - string: any JSON string. bool: true, false. int8 to int64: a whole number, however it is written: 5, 5.0, 1.7e12.
/// - uuid, binary, times of a format, json: a string, see values/text_value_internal.h; json any value, as it is
/// written.
/// - float, double: any number, rounded to nearest; what is too small becomes zero.
/// - decimal(p,s): a number, or a string that holds one, exactly: digits beyond the scale must be zeros.
/// - date: "YYYY-MM-DD". timestamp: RFC 3339 text with an offset; digits beyond microseconds are cut off; 23:59:60 is
///   the next day's first second. Numbers: seconds, millis, micros or nanos, with a fraction or an exponent or
///   without; exactly, and what is below a microsecond cut off towards the past.
///   Years 0001 to 9999.
/// - list: an array of these; its elements may be null. struct: an object; members that are absent or null are null.
/// - map: an object; of a key that occurs twice the last counts, in its place.
/// - kRescue: the members that no column takes; of a column with structs all of the field, if no member takes one in
/// it; in the order of the record and each as it was written, from its key's
///   quote to its value's end; those of nested objects within these objects. A key that occurs twice is there twice,
///   and so is an object that follows one of which something was rescued: for readers that take the last of two keys,
///   `_rescued` and the columns together say what the record said. A field that does not fit its column makes the
///   record a dead letter as ever.
///
/// Details of the first three below and of not_object say so if the payload looks like something known, such as gzip.
///
/// Reasons of what is refused:
/// | reason         | the record                                                                     |
/// |----------------|--------------------------------------------------------------------------------|
/// | empty_payload  | has no bytes                                                                   |
/// | bad_json       | is not one JSON document                                                       |
/// | bad_utf8       | has bytes that are not UTF-8, or an escape of half a surrogate pair            |
/// | too_deep       | nests deeper than kMaxDepth                                                    |
/// | not_object     | is JSON, but not an object                                                     |
/// | type_mismatch  | has a value of another type or form than its column's                          |
/// | out_of_range   | has a value of the right form that the column cannot hold, such as February 30 |
/// | unknown_field  | has a key that is not declared, and unknown_fields is kReject                  |
#pragma once

#include <memory>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "ingest/decoder.h"

namespace millrace::ingest {

/// Arrays and objects within each other, the document's root included.
inline constexpr int kMaxDepth = 1024;

/// kInvalidInput: a type that ColumnSpec does not allow, or a column whose path goes through another column.
Result<std::unique_ptr<Decoder>> MakeJsonDecoder(const DecodeSpec& spec);

}  // namespace millrace::ingest
