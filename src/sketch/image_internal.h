/// Reading numbers out of the bytes of a sketch. Little-endian, as this machine.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace millrace::sketch {

inline std::uint8_t ByteAt(std::string_view bytes, std::size_t at) { return static_cast<std::uint8_t>(bytes[at]); }

/// `at` + sizeof(T) is not past the end.
template <typename T>
T ValueAt(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

}  // namespace millrace::sketch
