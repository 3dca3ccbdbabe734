/// Why OpenSSL refused something.
#pragma once

#include <string>

namespace millrace::http {

/// Its reason for the last error of this thread, whose queue is then empty.
std::string TakeTlsError();

}  // namespace millrace::http
