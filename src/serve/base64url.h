/// base64url without padding (RFC 4648, 5; RFC 7515, 2): how tokens and keys carry bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace millrace::serve {

/// nullopt: another character, padding, a length that no bytes have, or bits at the end that are not 0: of several
/// spellings of the same bytes only one is taken.
std::optional<std::string> DecodeBase64Url(std::string_view text);

}  // namespace millrace::serve
