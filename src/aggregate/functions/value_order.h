/// DuckDB's order of values.
#pragma once

#include <cmath>

namespace millrace::aggregate {

/// NaN is the greatest and equal to itself; text compares by its bytes.
inline bool Less(double a, double b) { return std::isnan(b) ? !std::isnan(a) : a < b; }
template <typename T>
bool Less(const T& a, const T& b) {
  return a < b;
}

}  // namespace millrace::aggregate
