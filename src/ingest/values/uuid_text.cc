#include "ingest/values/uuid_text_internal.h"

namespace millrace::ingest {
namespace {

constexpr std::size_t kUuidDigits = 32;

bool IsHyphenPlace(std::size_t at) { return at == 8 || at == 13 || at == 18 || at == 23; }

// In lower case; '\0': none.
char HexDigit(char c) {
  if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')) return c;
  return c >= 'A' && c <= 'F' ? static_cast<char>(c | 0x20) : '\0';
}

}  // namespace

bool ParseUuid(std::string_view text, char* canonical) {
  const bool has_hyphens = text.size() == kUuidTextBytes;
  if (!has_hyphens && text.size() != kUuidDigits) return false;
  std::size_t from = 0;
  for (std::size_t to = 0; to < kUuidTextBytes; ++to) {
    if (IsHyphenPlace(to)) {
      if (has_hyphens && text[from++] != '-') return false;
      canonical[to] = '-';
      continue;
    }
    canonical[to] = HexDigit(text[from++]);
    if (canonical[to] == '\0') return false;
  }
  return true;
}

void WriteUuid(const unsigned char* bytes, char* canonical) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (std::size_t to = 0; to < kUuidTextBytes; ++bytes) {
    if (IsHyphenPlace(to)) canonical[to++] = '-';
    canonical[to++] = kDigits[*bytes >> 4];
    canonical[to++] = kDigits[*bytes & 15];
  }
}

}  // namespace millrace::ingest
