#include <gtest/gtest.h>

#include <random>
#include <string>

#include "ingest/values/varint_internal.h"

namespace millrace::ingest {
namespace {

std::string Written(std::uint64_t value, std::size_t bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes; ++i, value >>= 7) {
    text += static_cast<char>((value & 0x7F) | (i + 1 < bytes ? 0x80 : 0));
  }
  return text;
}

TEST(Varint, ReadsEachLengthUpToEightWhateverFollows) {
  std::mt19937_64 random(18);
  for (std::size_t bytes = 1; bytes <= 10; ++bytes) {
    for (int i = 0; i < 2000; ++i) {
      // Also of few bits in many bytes.
      const std::uint64_t value =
          bytes > 9 ? random() : (random() & ((std::uint64_t{1} << 7 * bytes) - 1)) >> random() % 64;
      std::string text = Written(value, bytes);
      while (text.size() < 16) text += static_cast<char>(random());
      std::uint64_t read = 0;
      const int size = ReadVarintOfEight(text.data(), &read);
      if (bytes > 8) {
        EXPECT_EQ(size, 0);
      } else {
        EXPECT_EQ(size, static_cast<int>(bytes));
        EXPECT_EQ(read, value);
      }
    }
  }
}

}  // namespace
}  // namespace millrace::ingest
