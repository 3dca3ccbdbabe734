/// Percent-encoding of URLs (RFC 3986, 2.1): "%2F" is a '/'. Bytes in, bytes out: what they may be (UTF-8, no NUL) and
/// what a broken escape means is the caller's affair, and where to cut at '/', '?' and '&' too, which comes first.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace millrace {

/// Every "%XY" with two hex digits of either case becomes its byte, all else stays ('+' too). kInvalidInput shows a '%'
/// without two hex digits after it.
Result<std::string> PercentDecode(std::string_view text);

/// The same of an HTML form's encoding, as queries and the listings of S3 have it: '+' is a blank.
Result<std::string> FormDecode(std::string_view text);

/// "%2F"
void AppendPercentEncoded(char c, std::string& out);

}  // namespace millrace
