/// JSON text as a value, its numbers to the nearest double: Boost.JSON's own parser is off by a last digit now and
/// then.
#pragma once

#include <boost/json/value.hpp>
#include <optional>
#include <string_view>

namespace millrace::ingest {

/// nullopt: it is not one JSON document, or nests deeper than kMaxDepth (json/json_decoder.h). Whole numbers beyond 64
/// bits are doubles.
std::optional<boost::json::value> ParseJsonValue(std::string_view text);

/// All of its numbers are: JSON has none for infinities, which numbers beyond the doubles become.
bool IsFinite(const boost::json::value& value);

}  // namespace millrace::ingest
