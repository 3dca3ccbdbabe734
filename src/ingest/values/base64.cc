#include "ingest/values/base64.h"

#include <array>
#include <cstdint>

namespace millrace::ingest {
namespace {

constexpr std::uint8_t kNoDigit = 0xFF;

constexpr std::array<std::uint8_t, 256> MakeSixBits() {
  std::array<std::uint8_t, 256> bits{};
  bits.fill(kNoDigit);
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < kLetters.size(); ++i) {
    bits[static_cast<unsigned char>(kLetters[i])] = static_cast<std::uint8_t>(i);
  }
  bits['-'] = bits['+'];
  bits['_'] = bits['/'];
  return bits;
}
constexpr auto kSixBits = MakeSixBits();

}  // namespace

bool DecodeBase64(std::string_view text, std::string* bytes) {
  if (text.size() % 4 == 0) {
    for (int padding = 0; padding < 2 && text.ends_with('='); ++padding) text.remove_suffix(1);
  }
  if (text.size() % 4 == 1) return false;
  bytes->clear();
  bytes->reserve(text.size() / 4 * 3 + 2);
  std::uint32_t bits = 0;
  int num_bits = 0;
  for (const char c : text) {
    const std::uint8_t six = kSixBits[static_cast<unsigned char>(c)];
    if (six == kNoDigit) return false;
    bits = bits << 6 | six;
    num_bits += 6;
    if (num_bits < 8) continue;
    num_bits -= 8;
    bytes->push_back(static_cast<char>(bits >> num_bits & 0xFF));
  }
  return true;
}

}  // namespace millrace::ingest
