/// Bytes of a stranger on a terminal.
#pragma once

#include <string>
#include <string_view>

namespace millrace::model {

/// UTF-8 without control characters other than tab and line ends: nothing in it can move the cursor or worse.
bool IsPlainText(std::string_view bytes);

/// "7b0a": two digits a byte.
std::string Hex(std::string_view bytes);

/// Lines of sixteen bytes: their place, the bytes, and what of them is printable ASCII.
std::string HexDump(std::string_view bytes);

}  // namespace millrace::model
