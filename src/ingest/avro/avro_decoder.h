/// Avro records (specification 1.12, binary encoding) to an Arrow batch, in one pass by a plan that is compiled from
/// the schemas and the columns.
///
/// One payload holds one value of a record schema, behind what DecodeSpec::framing says. It was written with
/// `spec.schema`, or with the schema of the id before it (writer_schemas.h) and is then read as `spec.schema`, by
/// Avro's rules of resolution. A payload that does not fit is refused, and the others go on.
///
/// | column               | fields that it takes                                                                    |
/// |----------------------|-----------------------------------------------------------------------------------------|
/// | string               | string, enum (its symbol), bytes and fixed if they are UTF-8; uuid, date, time-*,       |
/// |                      | timestamp-*, local-timestamp-*, duration and decimal as text (value_text_internal.h);   |
/// |                      | records, maps, arrays, unions of several types as JSON                                  |
/// | bool                 | boolean                                                                                 |
/// | int32, int64         | int and long, whatever their logical type: the number itself                            |
/// | double               | int, long, float, double                                                                |
/// | decimal(p,s)         | decimal of any precision and scale, int, long, string: exactly, or out_of_range         |
/// | date                 | date; string YYYY-MM-DD                                                                 |
/// | timestamp            | timestamp-millis, -micros, -nanos; string in RFC 3339. Below a microsecond is cut off   |
/// | timestamp_s, _ms, …  | int and long, as this number since 1970, UTC                                            |
/// | list<T>              | array of what T takes                                                                   |
/// | struct<...>          | record with a field of each member's name that it takes                                 |
/// | map<string, T>       | map of what T takes; of a key that comes twice the last counts                          |
/// | binary               | bytes, fixed, as they are                                                               |
/// | uuid                 | string, fixed of 16 bytes                                                               |
/// | json                 | any                                                                                     |
///
/// Null is null. Of a union of several types a column takes those that it can; others make the record a dead letter.
/// A path goes through records, and through unions of null and a record. Recursive schemas are refused.
/// - kRescue: the fields that no column takes, as JSON (of a column with structs all of the field, if no member takes
/// one
///   in it), those of nested records within these; a field that is null is
///   left out.
/// - kReject: a schema with a field that no column takes is refused; of other writers' schemas each record.
///
/// Reasons of what is refused:
/// | reason              | the record                                                                               |
/// |---------------------|------------------------------------------------------------------------------------------|
/// | bad_framing         | does not begin as the framing does                                                       |
/// | unknown_schema      | was written with a schema that there is not                                              |
/// | incompatible_schema | was written with a schema that cannot be read as the declared one                        |
/// | bad_avro            | is not of its schema: ends early or late, has an impossible length, number or branch     |
/// | bad_utf8            | has a text that is not UTF-8                                                              |
/// | type_mismatch       | has a branch of a union, a symbol or a text that its column cannot take                  |
/// | out_of_range        | has a value that its column cannot hold                                                  |
/// | too_large           | would take much more memory than it has bytes: items of no bytes, JSON with long names   |
/// | unknown_field       | has a field that is not declared, and unknown_fields is kReject                          |
#pragma once

#include <memory>
#include <vector>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "ingest/decoder.h"

namespace millrace::ingest {

/// kInvalidInput: `spec.schema` is none, a column that its field cannot fill, or whose path the schema does not have.
Result<std::unique_ptr<Decoder>> MakeAvroDecoder(const DecodeSpec& spec);

/// The columns of `spec.schema`: for each field the type of the table above that says most of it, a string of JSON if
/// that is all. kInvalidInput: the schema is none, or a field that no column holds.
Result<std::vector<ColumnSpec>> ColumnsOfAvroSchema(const DecodeSpec& spec);

}  // namespace millrace::ingest
