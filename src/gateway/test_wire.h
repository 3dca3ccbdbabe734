/// Protobuf's wire format by hand.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::gateway {

inline std::string Varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
inline std::string TagOf(int number, int wire) { return Varint(static_cast<std::uint64_t>(number << 3 | wire)); }

inline std::string VarintField(int number, std::uint64_t value) { return TagOf(number, 0) + Varint(value); }
inline std::string BytesField(int number, std::string_view bytes) {
  return TagOf(number, 2) + Varint(bytes.size()) + std::string(bytes);
}
inline std::string FixedField(int number, std::uint64_t value) {
  return TagOf(number, 1) + std::string(reinterpret_cast<const char*>(&value), sizeof value);
}
inline std::string DoubleField(int number, double value) {
  return TagOf(number, 1) + std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace millrace::gateway
