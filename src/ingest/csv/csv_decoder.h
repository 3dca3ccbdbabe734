/// Lines of CSV to an Arrow batch by the declared schema. One document holds one line (RFC 4180, UTF-8, no byte order
/// mark), which a line break may end. A record that does not fit is refused, and the others go on.
///
/// - CsvSpec::header names the fields of a line; a column reads the field that its path names, and several may read
///   one.
/// - A field that begins with a quote ends with one: delimiters and line breaks within are its text. Elsewhere a quote
///   is a letter as any other.
/// - A field without quotes that is CsvSpec::null_text is null; "" in quotes is an empty text.
/// - Texts as values: values/text_value_internal.h.
/// - Fields that no column takes: kIgnore leaves them out, kRescue keeps them as a JSON object of texts and nulls.
///   What is beyond the header is no field of it: most often a delimiter that should have stood in quotes, so that
///   every field behind it is another's.
///
/// Reasons of what is refused:
/// | reason          | the record                                                              |
/// |-----------------|-------------------------------------------------------------------------|
/// | empty_payload   | has no bytes                                                            |
/// | bad_csv         | is not one line, or has a quote that does not end or ends in mid-field  |
/// | bad_utf8        | has bytes that are not UTF-8                                            |
/// | missing_fields  | ends before the header does, and CsvSpec::missing_is_null is not set    |
/// | too_many_fields | goes on behind the header's last                                        |
/// | type_mismatch   | has a text that is no value of its column's type                        |
/// | out_of_range    | has a value of the right form that the column cannot hold               |
#pragma once

#include <memory>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "ingest/decoder.h"

namespace millrace::ingest {

/// kInvalidInput: a header with an empty name or one twice; delimiter, quote and escape that cannot be told from each
/// other or from a line break.
Status CheckCsv(const CsvSpec& csv);

/// kInvalidInput: what CheckCsv() says; a type that ColumnSpec does not allow, or a list; a column whose field is not
/// in the header; UnknownFields::kReject with a field that no column takes, which would refuse every record, and kAdd:
/// whoever writes the header can declare the column.
Result<std::unique_ptr<Decoder>> MakeCsvDecoder(const DecodeSpec& spec);

}  // namespace millrace::ingest
