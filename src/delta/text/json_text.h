/// Small pieces of JSON text, for writing the log. Strings are UTF-8.
#pragma once

#include <string>
#include <string_view>

namespace millrace::delta {

/// Appends `text` as a JSON string with its quotes. Invalid UTF-8 becomes U+FFFD, so that what we write always parses.
void AppendQuoted(std::string& out, std::string_view text);
std::string Quoted(std::string_view text);

}  // namespace millrace::delta
