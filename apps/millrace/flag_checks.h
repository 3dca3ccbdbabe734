/// What the values of flags may be, for CLI::Option::check(): each gives what is wrong with a value, or "".
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace millrace::app {

using FlagCheck = std::function<std::string(const std::string&)>;

/// An empty value is mostly a script's variable that nobody has set: it must not pass for a flag that is not there.
std::string CheckNotEmpty(const std::string& text);

/// key=value with a key.
std::string CheckKeyValue(const std::string& text);

/// Names between commas, none of them empty.
std::string CheckNames(const std::string& text);
/// The names of all `texts` in order, without the blanks around them.
std::vector<std::string> SplitNames(const std::vector<std::string>& texts);

/// A whole number from `min` to `max`, in decimal.
FlagCheck WholeNumber(std::int64_t min, std::int64_t max = std::numeric_limits<std::int64_t>::max());

/// A number of 0 or more, which may have a fraction.
std::string CheckNotNegative(const std::string& text);
/// A number above 0, which may have a fraction.
std::string CheckPositive(const std::string& text);

}  // namespace millrace::app
