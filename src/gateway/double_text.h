/// Decimal texts as doubles.
#pragma once

#include <optional>
#include <string_view>

namespace millrace::gateway {

/// The nearest double of digits with a sign, a point and an exponent, as std::from_chars reads them: 0 or -0 of what is
/// too small for one, as other readers have it. nullopt: another text, or a number that is too large.
std::optional<double> DoubleOf(std::string_view text);

}  // namespace millrace::gateway
