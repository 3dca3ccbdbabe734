// Snappy: what Arrow's codec compresses comes back, and what it refuses is refused. The oracle is that codec.
#include "delta/data/snappy.h"

#include <arrow/util/compression.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace millrace::delta {
namespace {

using Bytes = std::vector<std::uint8_t>;

class SnappyTest : public ::testing::Test {
 protected:
  Bytes Compress(const Bytes& bytes) {
    Bytes out(static_cast<std::size_t>(codec_->MaxCompressedLen(std::ssize(bytes), bytes.data())));
    out.resize(static_cast<std::size_t>(
        codec_->Compress(std::ssize(bytes), bytes.data(), std::ssize(out), out.data()).ValueOrDie()));
    return out;
  }
  // nullopt: refused. Guards around the output see a byte too many.
  static std::optional<Bytes> Decompress(const Bytes& compressed) {
    constexpr std::size_t kGuard = 64;
    const auto length = SnappyLength(compressed);
    if (!length) return std::nullopt;
    Bytes out(*length + 2 * kGuard, 0xA5);
    const bool ok = SnappyDecompress(compressed, std::span(out).subspan(kGuard, *length));
    for (std::size_t i = 0; i < kGuard; ++i) {
      EXPECT_EQ(out[i], 0xA5);
      EXPECT_EQ(out[out.size() - 1 - i], 0xA5);
    }
    if (!ok) return std::nullopt;
    return Bytes(out.begin() + kGuard, out.end() - kGuard);
  }
  std::optional<Bytes> ArrowDecompress(const Bytes& compressed) {
    const auto length = SnappyLength(compressed);
    if (!length) return std::nullopt;
    Bytes out(*length);
    if (!codec_->Decompress(std::ssize(compressed), compressed.data(), std::ssize(out), out.data()).ok()) {
      return std::nullopt;
    }
    return out;
  }

  const std::unique_ptr<arrow::util::Codec> codec_ =
      arrow::util::Codec::Create(arrow::Compression::SNAPPY).ValueOrDie();
  std::mt19937 random_{5};
};

TEST_F(SnappyTest, EveryKindOfElement) {
  struct Case {
    const char* name;
    Bytes compressed;
    std::optional<std::string> want;
  };
  const std::vector<Case> cases = {
      {"nothing", {0}, ""},
      {"a literal", {3, 2 << 2, 'a', 'b', 'c'}, "abc"},
      {"a literal whose length has a byte of its own", {3, 60 << 2, 2, 'a', 'b', 'c'}, "abc"},
      {"and one of four", {3, 63 << 2, 2, 0, 0, 0, 'a', 'b', 'c'}, "abc"},
      {"a copy with one byte of offset", {8, 3 << 2, 'a', 'b', 'c', 'd', 0 << 2 | 1, 4}, "abcdabcd"},
      {"with two", {6, 3 << 2, 'a', 'b', 'c', 'd', 1 << 2 | 2, 3, 0}, "abcdbc"},
      {"with four", {6, 3 << 2, 'a', 'b', 'c', 'd', 1 << 2 | 3, 3, 0, 0, 0}, "abcdbc"},
      {"a copy of what it writes", {9, 0, 'a', 7 << 2 | 2, 1, 0}, "aaaaaaaaa"},
      {"an offset of nothing", {5, 0, 'a', 0 << 2 | 1, 0}, std::nullopt},
      {"an offset before the beginning", {5, 0, 'a', 0 << 2 | 1, 2}, std::nullopt},
      {"more than it says", {2, 2 << 2, 'a', 'b', 'c'}, std::nullopt},
      {"less than it says", {4, 2 << 2, 'a', 'b', 'c'}, std::nullopt},
      {"a literal without its end", {3, 2 << 2, 'a', 'b'}, std::nullopt},
      {"a tag without its offset", {5, 0, 'a', 0 << 2 | 1}, std::nullopt},
      {"a length without its bytes", {3, 62 << 2, 2}, std::nullopt},
      {"a length that cannot be", {0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, 'a'}, std::nullopt},
      {"a length of six bytes", {0x80, 0x80, 0x80, 0x80, 0x80, 0}, std::nullopt},
      {"no byte at all", {}, std::nullopt},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = Decompress(c.compressed);
    ASSERT_EQ(got.has_value(), c.want.has_value());
    if (got) {
      EXPECT_EQ(std::string(got->begin(), got->end()), *c.want);
    }
  }
}

TEST_F(SnappyTest, WhatWasCompressedComesBackAndWhatIsBrokenDoesNot) {
  const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random_() % n); };
  int refused = 0;
  for (int round = 0; round < 1500; ++round) {
    // Numbers of few bytes beside zeros, words, runs, noise: copies and literals of all lengths.
    Bytes bytes;
    const std::size_t size = round < 300 ? static_cast<std::size_t>(round) : pick(200'000) >> pick(10);
    const std::size_t distinct = 1 + pick(256);
    const std::size_t word = 1 + pick(20);
    while (bytes.size() < size) {
      for (std::size_t i = 0; i < word; ++i)
        bytes.push_back(i < word / 2 ? static_cast<std::uint8_t>(pick(distinct)) : 0);
      if (pick(50) == 0) bytes.insert(bytes.end(), pick(300), static_cast<std::uint8_t>(pick(256)));
    }
    Bytes compressed = Compress(bytes);
    const auto back = Decompress(compressed);
    ASSERT_TRUE(back && *back == bytes) << "round " << round;
    for (int n = 0; n < 4; ++n) {
      Bytes broken = compressed;
      if (n == 0) broken.resize(pick(broken.size()));
      if (n > 0) broken[pick(broken.size())] = static_cast<std::uint8_t>(random_());
      const auto got = Decompress(broken);
      ASSERT_TRUE(got == ArrowDecompress(broken)) << "round " << round << ", " << n;
      refused += got ? 0 : 1;
    }
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace millrace::delta
