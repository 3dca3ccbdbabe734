/// Protobuf messages to an Arrow batch: one wire decoder for all messages, driven by a plan made of the message's
/// descriptor and the columns.
///
/// proto2 and proto3, as libprotobuf 3.21 reads their schemas (it does not read editions). A record is one message, or
/// with Framing::kConfluent one behind Confluent's framing, whose message indexes must be those of the message in the
/// schema's file; the id is not looked at. An empty record is a message without fields.
///
/// - Paths name fields as the schema does, or as JSON does (`lowerCamelCase`), through messages that are not repeated.
/// - The last value of a field wins; parts of a message are merged; of a oneof only the last member is there. Packed
///   and unpacked lists are both read, whatever the schema says.
/// - Absent fields: null if the schema tells absence from zero (proto2, `optional`, oneof, messages), or if the message
///   that the field is in is absent; else zero, "" or the enum's first name. A default that proto2 names stands for the
///   absent value. Lists and maps are empty. `required` is not enforced.
/// - Text must be UTF-8, in proto2 too. Text without presence that is empty is null where the column is a decimal, date
///   or timestamp.
/// - bool: bool. string: string; decimal, date, timestamp as of JSON's texts. uuid: of text. bytes: binary, as they
/// are; uuid, of 16;
///   string, in base64.
/// - Integers: int32, int64 in range, double rounded to nearest, decimal exactly, timestamp_s to _ns. float and double:
///   double, to the last bit; decimal and timestamp_s to _ns by the shortest text that reads as the value.
/// - Enums: string by name, int32 and int64 by number. A number without a name is kept as the number, in proto2 too,
///   where Protobuf counts it among the unknown fields.
/// - Timestamp: timestamp (below a microsecond cut off towards the past), string. Duration: decimal or double of
///   seconds, string. Wrappers: as their values, null if absent. repeated: list of these.
/// - Messages: struct of members of their fields' names, null if absent; repeated: list of struct. map: map, whose keys
///   are texts, numbers too; of a key that comes twice the last counts. What no member takes is rescued with all of the
///   field.
/// - Other messages, maps, repeated fields: string, JSON text by Protobuf's JSON mapping, see message_text_internal.h,
///   of at most 64 MiB. Timestamp, Duration and FieldMask as string are without quotes. Groups have no column.
/// - Fields that no column takes are skipped by their lengths; what is in them is not looked at. kRescue: they are in
///   kRescuedColumn by the same mapping, those that the schema does not have under their numbers; those of messages
///   that columns read from within these; and so they are in JSON text of columns. kReject: each refuses the record, as
///   does one in JSON text that the schema does not have. kAdd: is not to be had.
///
/// Reasons of what is refused; details say the field's path and the place in bytes, as far as known:
/// | reason         | the record                                                                     |
/// |----------------|--------------------------------------------------------------------------------|
/// | bad_framing    | does not begin with Confluent's framing                                        |
/// | wrong_message  | holds another message of the schema's file, or one that there is not           |
/// | bad_protobuf   | is not Protobuf's wire format: cut off, a varint of more than 10 bytes, a length beyond the end,
/// field number 0, a wire type that there is not, a group that does not end | | bad_utf8       | has text that is not
/// UTF-8                                                     | | too_deep       | nests deeper than 100 messages | |
/// too_large      | has a field whose text in a column would be longer than 64 MiB                 | | type_mismatch  |
/// has a field of another wire type than the schema's, or text of another form than its column's | | out_of_range   |
/// has a value that the column cannot hold                                        | | unknown_field  | has a field that
/// no column takes, and unknown_fields is kReject                |
#pragma once

#include <memory>
#include <vector>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "ingest/decoder.h"

namespace millrace::ingest {

/// kInvalidInput: what is wrong with spec.schema, which is a descriptor set or a `.proto` text, or a column that the
/// message cannot fill.
Result<std::unique_ptr<Decoder>> MakeProtobufDecoder(const DecodeSpec& spec);

/// A column for each field of the message, in their order: scalars, enums by name, Timestamp and Duration (decimal of
/// seconds) as above, uint64 as decimal(20,0), repeated as lists of these; other messages and maps as JSON text. Groups
/// are left out. kInvalidInput: as above, or the message has no fields.
Result<std::vector<ColumnSpec>> ColumnsOfProtobufSchema(const DecodeSpec& spec);

}  // namespace millrace::ingest
