/// An answer as bytes: JSON, NDJSON or CSV.
///
/// Values, alike in all three: integers of any width and decimals as numbers with all their digits, doubles as the
/// shortest text that reads back the same, NaN and infinities as null, times as RFC 3339 in UTC with microseconds only
/// when there are some, dates as 2026-11-22, binary as hexadecimal. In CSV null is nothing and the empty text is "".
#pragma once

#include <string>

#include "base/status.h"
#include "query/aggregate_query.h"

namespace millrace::serve {

enum class Format { kJson, kNdjson, kCsv };

/// {"meta": [{"name", "type"}], "data": [{column: value}], "rows", "statistics": {"elapsed", "rows_read",
/// "bytes_read"}, "as_of": {"version", "offsets": {topic: {partition: offset}}, "watermark"}, "next": null}
Result<std::string> AnswerToJson(const query::Answer& answer);

/// One JSON object a row and line.
Result<std::string> AnswerToNdjson(const query::Answer& answer);

/// A header line, then the rows (RFC 4180 quoting, lines end in \n).
Result<std::string> AnswerToCsv(const query::Answer& answer);

/// The same rows without an answer around them, one batch at a time. Values of nested types are JSON (in CSV too), maps
/// objects.
Status AppendNdjson(const arrow::RecordBatch& batch, std::string& out);
Status AppendCsv(const arrow::RecordBatch& batch, std::string& out);
std::string CsvHeader(const arrow::Schema& schema);

/// The as_of object alone, on one line of ASCII.
std::string AsOfToJson(const query::AsOf& as_of);

}  // namespace millrace::serve
