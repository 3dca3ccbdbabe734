/// Values that are written as text whatever their type is: the fields of CSV, the key and the headers of a record.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "ingest/values/column_internal.h"

namespace millrace::ingest {

/// Why a column does not take a text, as a refusal says it.
struct TextProblem {
  std::string_view reason;  ///< "type_mismatch" or "out_of_range".
  std::string detail;       ///< "expected int64, found 'x'": without the field's name.
};

/// Writes `text`, which is UTF-8, at `row` of `column`, which is no list. Rounds as the column does.
///
/// - string, timestamps of a format: as it is. All others: without the spaces and tabs around it.
/// - uuid: values/uuid_text_internal.h. binary: base64. json: a JSON text.
/// - bool: true, false, in any case of letters, 1 or 0; with `coerce` also t, f, yes, no, y, n, on, off.
/// - integers, float, double, decimal, timestamps in numbers: as JSON numbers are read (json/json_decoder.h), but for
/// zeros
///   and a plus sign before them. float, double: also nan, inf, infinity, in any case of letters and with a sign.
/// - date, timestamp: as in JSON.
///
/// `*problem` is set if it does not fit; the row may be written again then. Fails only when memory runs out.
Status SetFromText(std::string_view text, std::int64_t row, Column& column, std::optional<TextProblem>* problem);

/// Writes `bytes` at `row` of `column`, which is of texts or binary, whatever they are.
Status SetBytes(std::string_view bytes, std::int64_t row, Column& column);

}  // namespace millrace::ingest
