/// Bytes in text (RFC 4648).
#pragma once

#include <string>
#include <string_view>

namespace millrace::ingest {

/// Of the standard alphabet or of that for URLs, with padding or without; bits that are left over do not count. False:
/// another letter, or a length that no bytes have.
bool DecodeBase64(std::string_view text, std::string* bytes);

}  // namespace millrace::ingest
