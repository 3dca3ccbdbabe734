/// Bodies compressed for clients that say they take them so (Accept-Encoding, RFC 9110, 12.5.3).
#pragma once

#include <stop_token>
#include <string_view>

#include "base/status.h"
#include "http/body.h"
#include "http/message.h"

namespace millrace::serve {

enum class Coding { kNone, kGzip, kZstd };

/// The one that the header prefers, zstd before gzip where it does not care; kNone if it names neither.
Coding ChooseCoding(std::string_view accept_encoding);

/// Compresses the body of a response in place when that can pay: text, or columns, of more than a few packets, known
/// whole. Says so in Content-Encoding and Vary, and in a strong ETag ("…-gzip"), which is of what is sent; one that
/// says so already stays as it is. kCancelled once `stop` has been requested; the response is of no use then.
Status Encode(Coding coding, const std::stop_token& stop, http::Response& response);

}  // namespace millrace::serve
