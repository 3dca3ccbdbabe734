#include "delta/text/column_name.h"

#include <locale.h>
#include <wctype.h>

#include <algorithm>
#include <cstdint>

#include "base/ascii_case.h"

namespace millrace::delta {
namespace {

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// One code point off the front of text that is not ASCII throughout; what is not UTF-8 goes byte by byte.
std::uint32_t TakeCodePoint(std::string_view& text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::size_t length = byte(0) >= 0xF0 ? 4 : byte(0) >= 0xE0 ? 3 : byte(0) >= 0xC0 ? 2 : 1;
  std::uint32_t point = byte(0);
  if (length > 1 && length <= text.size()) {
    point &= 0x7FU >> length;
    for (std::size_t i = 1; i < length; ++i) point = point << 6 | (byte(i) & 0x3FU);
    text.remove_prefix(length);
  } else {
    text.remove_prefix(1);
  }
  return point;
}

}  // namespace

std::string FoldedName(std::string_view name) {
  if (IsAscii(name)) return AsciiLower(name);
  // The process's own locale may know no letters but English ones.
  static const locale_t kUnicode = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  std::string folded;
  while (!name.empty()) {
    const std::uint32_t point = TakeCodePoint(name);
    const std::uint32_t lower = kUnicode == nullptr ? point : ::towlower_l(static_cast<wint_t>(point), kUnicode);
    // It is compared, and never shown. Some letters' lower case is an English one: the Kelvin sign's is k.
    if (lower < 0x80) {
      folded += static_cast<char>(lower);
      continue;
    }
    folded += '\x80';
    for (int shift = 16; shift >= 0; shift -= 8) folded += static_cast<char>(lower >> shift & 0xFF);
  }
  return folded;
}

bool IsSameName(std::string_view a, std::string_view b) {
  // Up to here they are equal but for the case of English letters. Most names differ in their first letter.
  std::size_t i = 0;
  while (i < a.size() && i < b.size() && AsciiLower(a[i]) == AsciiLower(b[i])) ++i;
  if (i == a.size() || i == b.size()) return a.size() == b.size();
  if (static_cast<unsigned char>(a[i]) < 0x80 && static_cast<unsigned char>(b[i]) < 0x80) return false;
  return FoldedName(a) == FoldedName(b);
}

const std::optional<std::string>* FindPartitionValue(const PartitionValues& values, const std::string& column) {
  auto found = values.find(column);
  if (found == values.end()) {
    found =
        std::find_if(values.begin(), values.end(), [&](const auto& value) { return IsSameName(value.first, column); });
  }
  return found == values.end() ? nullptr : &found->second;
}

}  // namespace millrace::delta
