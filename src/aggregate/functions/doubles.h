/// For functions that compute in DOUBLE, whatever numbers they are of: statistics, products.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "aggregate/accumulator.h"
#include "aggregate/function.h"

namespace millrace::aggregate {

/// CallState::cast for arguments that are seen as doubles: empty if ForDoubles() reads all of them as they are. Absent:
/// one is no number.
std::optional<std::string> CastToDoubles(const Call& call);

/// fold(group, value) with the values of a column as DuckDB casts them to DOUBLE: of floats or signed integers.
template <typename Fold>
void ForDoubles(const ColumnView& column, const GroupedRows& rows, Fold fold) {
  if (column.physical() == PhysicalType::kInt64) {
    ForRows(rows, [=, values = column.int64s()](std::int64_t i, std::uint32_t g) {
      fold(g, static_cast<double>(values[i]));
    });
  } else {
    ForRows(rows, [=, values = column.doubles()](std::int64_t i, std::uint32_t g) { fold(g, values[i]); });
  }
}

/// Of two columns.
template <typename Fold>
void ForPairsOfDoubles(const ColumnView& a, const ColumnView& b, const GroupedRows& rows, Fold fold) {
  const auto with_a = [&](const auto* as) {
    const auto with_b = [&](const auto* bs) {
      ForRows(rows, [=](std::int64_t i, std::uint32_t g) {
        fold(g, static_cast<double>(as[i]), static_cast<double>(bs[i]));
      });
    };
    if (b.physical() == PhysicalType::kInt64) {
      with_b(b.int64s());
    } else {
      with_b(b.doubles());
    }
  };
  if (a.physical() == PhysicalType::kInt64) {
    with_a(a.int64s());
  } else {
    with_a(a.doubles());
  }
}

/// DuckDB's SQL of a DOUBLE: NULL unless `condition`; where one of `finite` is not, the expression fails with `reason`,
/// as DuckDB's own functions do when a value is out of range; else `value`.
std::string FiniteOrFail(const std::string& condition, std::span<const std::string> finite, const std::string& reason,
                         const std::string& value);

}  // namespace millrace::aggregate
