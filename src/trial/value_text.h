/// Values as text: found ones as `millrace lake read` and `query` show them, expected ones in the same form, so that
/// equal values are equal texts.
#pragma once

#include <arrow/array.h>

#include <string>
#include <vector>

#include "base/status.h"
#include "config/test_file.h"

namespace millrace::trial {

/// JSON, one for each row: decimals with all their digits, times as RFC 3339, binary as hexadecimal, null as null.
Result<std::vector<std::string>> ValueTexts(const std::shared_ptr<arrow::Array>& column);

/// What a column of `type` shows if it holds what was written: "2.5" is 2.50 of decimal(12, 2),
/// "2026-01-01T01:00+01:00" is midnight in UTC, and of a struct the fields that are not named are null. kInvalidInput:
/// no such column can hold it.
Result<std::string> ExpectedText(const config::TestValue& value, const arrow::DataType& type);

}  // namespace millrace::trial
