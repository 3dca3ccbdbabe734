/// Values of an answer as PostgreSQL's clients take them, in text and in binary.
///
/// Text is what PostgreSQL prints with DateStyle ISO, IntervalStyle postgres, bytea_output hex and TimeZone UTC. Times
/// have microseconds; nanoseconds are cut.
#pragma once

#include <arrow/array.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "postgres/message.h"
#include "postgres/types.h"

namespace millrace::postgres {

/// Appends the value of one row, which is not null. What it appends is not more than a few times what the array holds.
using CellWriter = std::function<Status(std::int64_t row, std::string& out)>;

/// Of a column that `type` is told for. The array is kept by the writer. kInternal: no type of Arrow's that DuckDB
/// gives.
Result<CellWriter> MakeCellWriter(std::shared_ptr<arrow::Array> array, const PgType& type, Format format);

/// Each as PostgreSQL's own text: dates and times in microseconds or days since 1970, DuckDB's infinities as such.
std::string DateText(std::int32_t days);
std::string TimestampText(std::int64_t us, bool with_zone);
std::string TimeText(std::int64_t us);
std::string IntervalText(std::int32_t months, std::int32_t days, std::int64_t us);
std::string FloatText(float value);
std::string FloatText(double value);
/// The binary form of a number such as "-12.50", which keeps its digits after the point.
void AppendNumericBinary(std::string_view text, std::string& out);

}  // namespace millrace::postgres
