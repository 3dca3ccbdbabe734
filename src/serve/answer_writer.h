/// An answer as bytes: JSON, NDJSON or CSV.
///
/// Values, alike in all three: integers of any width and decimals as numbers with all their digits, doubles as the
/// shortest text that reads back the same, NaN and infinities as "nan", "inf" and "-inf" (without quotes in CSV), times
/// as RFC 3339 in UTC with microseconds only when there are some, dates as 2026-11-22, intervals and times of day as
/// DuckDB prints them ("1 year 3 days 00:20:00.5"), binary as hexadecimal. In CSV null is nothing and the empty text
/// is "".
#pragma once

#include <cstdint>
#include <limits>
#include <stop_token>
#include <string>

#include "base/status.h"
#include "http/body.h"
#include "query/aggregate_query.h"
#include "serve/answer_digest.h"

namespace millrace::serve {

/// The last two: columnar_writer.h.
enum class AnswerFormat { kJson, kNdjson, kCsv, kArrow, kParquet };

/// kTooLarge, or kCancelled, while rows are being written: never a part of an answer.
struct AnswerLimits {
  std::int64_t bytes_max = std::numeric_limits<std::int64_t>::max();
  std::stop_token stop{};
};

/// `said`: takes in what the answer says, see answer_digest.h; nullptr: nobody wants to know.
///
/// {"meta": [{"name", "type"}], "data": [{column: value}], "rows", "statistics": {"elapsed", "rows_read",
/// "bytes_read"}, "as_of": {"version", "offsets": {topic: {partition: offset}}, "watermark"}, "next": null}, and before
/// "next", when there are some, "errors": [{"group": {column: value}, "measure", "detail"}], and of workers whose hot
/// rows are missing "partial": [name] and "partial_reasons": {name: sentence}.
Result<http::Body> AnswerToJson(const query::Answer& answer, const AnswerLimits& limits = {},
                                AnswerDigest* said = nullptr);

/// One JSON object a row and line.
Result<http::Body> AnswerToNdjson(const query::Answer& answer, const AnswerLimits& limits = {},
                                  AnswerDigest* said = nullptr);

/// A header line, then the rows (RFC 4180 quoting, lines end in \n).
Result<http::Body> AnswerToCsv(const query::Answer& answer, const AnswerLimits& limits = {},
                               AnswerDigest* said = nullptr);

/// The same rows without an answer around them, one batch at a time. Values of nested types are JSON (in CSV too), maps
/// objects.
Status AppendNdjson(const arrow::RecordBatch& batch, std::string& out);
Status AppendCsv(const arrow::RecordBatch& batch, std::string& out);
std::string CsvHeader(const arrow::Schema& schema);

/// The array of an answer's columns alone.
std::string MetaToJson(const query::Answer& answer);

/// The array of an answer's errors alone.
Result<std::string> ErrorsToJson(const query::Answer& answer);

/// The errors of an answer for formats without a place for them: the array alone, on one line of ASCII. kTooLarge when
/// they are more than a header may hold.
Result<std::string> ErrorsToHeader(const query::Answer& answer);

/// The as_of object alone, on one line of ASCII. Of an answer to SQL: {"tables": {name: {"version", "offsets", "hot"}},
/// "watermark"}.
std::string AsOfToJson(const query::Answer& answer);

/// The array of "partial" alone.
std::string PartialToJson(const query::Answer& answer);

/// The object of "partial_reasons" alone.
std::string PartialReasonsToJson(const query::Answer& answer);

/// The names of "partial" on one line of ASCII; of many workers as many as a header may hold, then "…".
std::string PartialToHeader(const query::Answer& answer);

}  // namespace millrace::serve
