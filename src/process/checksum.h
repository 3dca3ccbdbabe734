/// A checksum of bytes that this machine alone writes and reads: against half-written files and flipped bits, not
/// against anyone.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace millrace::process {

/// Each step is a bijection of the sum so far, so that a change within eight aligned bytes always shows; some 4 GB a
/// second. Differs by `seed`.
inline std::uint64_t Checksum(std::string_view bytes, std::uint64_t seed) {
  std::uint64_t sum = seed ^ bytes.size();
  const auto take = [&sum](std::uint64_t word) {
    sum = (sum ^ word) * 0x9e3779b97f4a7c15;
    sum ^= sum >> 32;
  };
  std::uint64_t word = 0;
  for (; bytes.size() >= sizeof word; bytes.remove_prefix(sizeof word)) {
    std::memcpy(&word, bytes.data(), sizeof word);
    take(word);
  }
  word = 0;
  std::memcpy(&word, bytes.data(), bytes.size());
  take(word);
  return sum;
}

}  // namespace millrace::process
