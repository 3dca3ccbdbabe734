/// Conditions on columns that a scan can decide from statistics as well as from rows.
#pragma once

#include <arrow/array.h>
#include <arrow/type.h>
#include <arrow/util/decimal.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/status.h"

namespace millrace::delta {

/// A value of a column, by its type: bool (0 or 1), integers, dates (days since 1970) and timestamps (microseconds) as
/// int64; float and double as double; strings; decimals unscaled, at the column's scale. Never NaN.
using Value = std::variant<std::int64_t, double, std::string, arrow::Decimal128>;

enum class Comparator { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kIsNull, kIsNotNull };

/// As in SQL: a null satisfies kIsNull alone. NaN equals nothing but is above every number, as in Spark and DuckDB.
///
///     {.column = "country", .comparator = Comparator::kIn, .values = {std::string("DE"), std::string("FR")}}
///     {.column = "day", .comparator = Comparator::kGreaterEqual, .values = {std::int64_t{20'000}}}   // 2024-10-04
///
/// Values are of the alternative that the column's type has: {9} is an integer, and refused for a column of doubles.
struct Comparison {
  std::string column;  ///< Of the table, top level.
  Comparator comparator = Comparator::kEqual;
  std::vector<Value> values{};  ///< One; for kIn any number; for the tests of null none.
};

/// All of them must hold; empty: every row.
using Conjunction = std::vector<Comparison>;

/// Whether columns of this type can stand in a Comparison other than a test of null.
bool IsComparable(const arrow::DataType& type);

/// Whether the comparison can be made with a column of this type: the functions below assume so. kInvalidInput: the
/// type is not comparable, or there are too few or too many values, or one is NaN or of another alternative.
Status CheckComparison(const Comparison& comparison, const arrow::DataType& type);

/// The value that partition values and statistics spell as `text`; nullopt: not of this type, or NaN.
std::optional<Value> ValueFromText(const std::string& text, const arrow::DataType& type);

/// Whether `value` satisfies the comparison. nullopt: null.
bool Satisfies(const std::optional<Value>& value, const Comparison& comparison);

/// What statistics say of the rows of a file or a row group. Bounds may be wider than the values.
struct ColumnBounds {
  std::optional<Value> min{};
  std::optional<Value> max{};
  std::optional<std::int64_t> null_count{};
  std::optional<std::int64_t> num_rows{};
};

/// false only if no row can satisfy the comparison. `type`: the column's; a column of floating numbers may hold NaN
/// above its max.
bool MayMatch(const ColumnBounds& bounds, const Comparison& comparison, const arrow::DataType& type);

/// Per row whether it satisfies the comparison; never null. kInvalidInput: the type is not comparable.
Result<std::shared_ptr<arrow::BooleanArray>> Matches(const std::shared_ptr<arrow::Array>& column,
                                                     const Comparison& comparison);

/// Row by row; neither has nulls, both have one length.
Result<std::shared_ptr<arrow::BooleanArray>> And(const arrow::BooleanArray& a, const arrow::BooleanArray& b);

}  // namespace millrace::delta
