/// JSON as people read it in a terminal.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <string_view>

namespace millrace {

/// Boost's own serializer writes 5000.5 as 5.0005E3 and infinity as 1e99999; here doubles are the shortest plain text,
/// and "inf", "-inf" or "nan", in quotes, if they are not finite.
std::string JsonText(const boost::json::value& value);

/// inf, -inf or nan: how a number is shown that JSON has no number for.
std::string_view NonFiniteText(double value);

/// `text` with its quotes, escaped.
void AppendJsonString(std::string_view text, std::string& out);

}  // namespace millrace
