/// Chance that is the same on every machine: whole numbers, or steps that every processor rounds alike.
#pragma once

#include <cstdint>

namespace millrace::devices {

/// A bijection of 64 bits whose results look random: SplitMix64's last steps (Steele, Lea and Flood, 2014).
constexpr std::uint64_t Mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// Of two keys, each of which changes all bits.
constexpr std::uint64_t Mix(std::uint64_t a, std::uint64_t b) { return Mix(Mix(a + 0x9e3779b97f4a7c15) ^ b); }

/// Whether something of this share of all is so, by random bits.
constexpr bool IsOf(double share, std::uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53 < share; }

/// From 0 to `n` - 1, each as likely; by the upper half of random bits. `n` is at most 2^32.
constexpr std::uint64_t Below(std::uint64_t n, std::uint64_t bits) { return (bits >> 32) * n >> 32; }

/// SplitMix64.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(Mix(seed)) {}

  std::uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15;
    return Mix(state_);
  }

 private:
  std::uint64_t state_;
};

}  // namespace millrace::devices
