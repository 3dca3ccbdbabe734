/// Avro records as JSON documents, whose columns are then read by a decoder of JSON: for DecodeSpec::computed, whose
/// expressions look at documents, and for topics whose writers' schemas are all that there is.
///
/// A record is written as value_text_internal.h says, by the schema that it was written with; of a container file it is
/// read as the DecodeSpec::schema, where there is one, by Avro's rules of resolution (resolution_internal.h). But
/// dates and times are the numbers that they are in Avro: that is what kafka-delta-ingest's expressions look at. A
/// column of a date or a timestamp that is a field of the record, and that nothing computes, gets the date or time
/// itself all the same, from a member of its own beside the number; no field can be called as that is.
///
/// Which schema that is:
/// | framing       | the schema                                                                              |
/// |---------------|-----------------------------------------------------------------------------------------|
/// | kNone         | that of the container file, or DecodeSpec::schema                                       |
/// | kConfluent    | that of the id, from DecodeSpec::writer_schemas                                         |
/// | kSingleObject | that of the fingerprint, from DecodeSpec::writer_schemas or DecodeSpec::schema          |
///
/// Reasons of what is refused beside those of JSON: bad_framing, unknown_schema, bad_avro, bad_utf8, too_large as in
/// avro_decoder.h; incompatible_schema: the schema is none, not that of a record, or cannot be read as the declared
/// one.
#pragma once

#include <memory>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "ingest/decoder.h"

namespace millrace::ingest {

/// kInvalidInput: spec.schema is none that events can have, a column that JSON cannot have, or an expression.
Result<std::unique_ptr<Decoder>> MakeAvroThroughJsonDecoder(const DecodeSpec& spec);

}  // namespace millrace::ingest
