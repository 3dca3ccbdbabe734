#include "model/payload_text.h"

#include <arrow/util/utf8.h>
#include <fmt/format.h>

#include <algorithm>

namespace millrace::model {

bool IsPlainText(std::string_view bytes) {
  static const bool kTablesReady = (arrow::util::InitializeUTF8(), true);  // Without them everything is valid.
  if (!kTablesReady || !arrow::util::ValidateUTF8(bytes)) return false;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    if (byte == '\t' || byte == '\n' || byte == '\r') continue;
    if (byte < 0x20 || byte == 0x7F) return false;
    // U+0080 to U+009F, which terminals take for control characters too, are C2 80 to C2 9F.
    if (byte == 0xC2 && static_cast<unsigned char>(bytes[i + 1]) < 0xA0) return false;
  }
  return true;
}

std::string Hex(std::string_view bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

std::string HexDump(std::string_view bytes) {
  constexpr std::size_t kPerLine = 16;
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += kPerLine) {
    const auto line = bytes.substr(at, kPerLine);
    text += fmt::format("{:08x} ", at);
    for (const char byte : line) text += fmt::format(" {:02x}", static_cast<unsigned char>(byte));
    text.append(3 * (kPerLine - line.size()) + 2, ' ');
    for (const char byte : line) text += byte >= 0x20 && byte < 0x7F ? byte : '.';
    text += '\n';
  }
  return text;
}

}  // namespace millrace::model
