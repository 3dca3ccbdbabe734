// What others packed comes out as it was, whatever was unpacked before; what is damaged is refused, and memory bounded.
#include "ingest/records/unpacker.h"

#include <arrow/util/compression.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "ingest/records/test_packing.h"

namespace millrace::ingest {
namespace {

using ::testing::HasSubstr;

constexpr std::size_t kMax = std::size_t{1} << 20;
constexpr Packing kAll[] = {Packing::kGzip, Packing::kZstd, Packing::kDeflate, Packing::kSnappy};

// "= text", or "reason: detail".
std::string Unpacked(Unpacker& unpacker, Packing packing, std::string_view packed, std::size_t max = kMax) {
  std::string_view text;
  const auto problem = unpacker.Unpack(packing, packed, max, &text);
  return problem ? std::string(problem->reason) + ": " + problem->detail : "= " + std::string(text);
}

std::string RandomText(std::size_t size) {
  std::mt19937_64 random(size);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>('a' + random() % 4);
  return text;
}

TEST(Unpacker, WhatWasPackedComesOut) {
  Unpacker unpacker;
  for (const Packing packing : kAll) {
    SCOPED_TRACE(PackingName(packing));
    std::vector<std::string> texts;
    std::vector<std::string> packed;
    for (const std::size_t size : {0UL, 1UL, 4095UL, 70'000UL, kMax}) {
      texts.push_back(RandomText(size));
      packed.push_back(Pack(packing, texts.back()));
    }
    for (int round = 0; round < 2; ++round) {
      std::vector<std::string_view> views(texts.size());
      for (std::size_t i = 0; i < texts.size(); ++i) {
        const auto problem = unpacker.Unpack(packing, packed[i], kMax, &views[i]);
        EXPECT_FALSE(problem) << problem->detail;
      }
      // None was written over by the next.
      for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(views[i], texts[i]);
      unpacker.Clear();
    }
  }
}

TEST(Unpacker, PartsOneAfterTheOtherAreOne) {
  Unpacker unpacker;
  for (const Packing packing : {Packing::kGzip, Packing::kZstd}) {
    const std::string both = Pack(packing, "one ") + Pack(packing, "") + Pack(packing, "two");
    EXPECT_EQ(Unpacked(unpacker, packing, both), "= one two");
    EXPECT_THAT(Unpacked(unpacker, packing, both + "three"), HasSubstr("bad_compression: "));
    EXPECT_THAT(Unpacked(unpacker, packing, both + "three"), HasSubstr("5 bytes behind its end"));
  }
  const std::string deflated = Pack(Packing::kDeflate, "a");
  EXPECT_EQ(Unpacked(unpacker, Packing::kDeflate, deflated + "\x02\x03\x04"), "= a") << "as fastavro leaves it";
  EXPECT_THAT(Unpacked(unpacker, Packing::kDeflate, deflated + "12345"), HasSubstr("5 bytes behind its end"));
}

TEST(Unpacker, ABombIsRefusedAtTheLimit) {
  Unpacker unpacker;
  for (const Packing packing : kAll) {
    SCOPED_TRACE(PackingName(packing));
    const std::string bomb = Pack(packing, std::string(kMax * 64, '\0'));
    EXPECT_THAT(Unpacked(unpacker, packing, bomb), HasSubstr("unpack to more than 1048576"));
    EXPECT_LE(unpacker.held_bytes(), 4 * kMax);
    unpacker.Clear();
    const std::string at_limit = Pack(packing, std::string(1000, 'x'));
    EXPECT_EQ(Unpacked(unpacker, packing, at_limit, 1000), "= " + std::string(1000, 'x'));
    EXPECT_THAT(Unpacked(unpacker, packing, at_limit, 999), HasSubstr("too_large: "));
    EXPECT_THAT(Unpacked(unpacker, packing, at_limit, 0), HasSubstr("too_large: "));
    unpacker.Clear();
    EXPECT_LE(unpacker.held_bytes(), kMax);
  }
}

TEST(Unpacker, WhatIsCutOffIsRefused) {
  Unpacker unpacker;
  const std::string text = RandomText(3000);
  for (const Packing packing : kAll) {
    const std::string packed = Pack(packing, text);
    for (std::size_t size = 0; size < packed.size(); ++size) {
      EXPECT_THAT(Unpacked(unpacker, packing, packed.substr(0, size)), HasSubstr("bad_compression: "))
          << PackingName(packing) << ", " << size << " bytes of " << packed.size();
    }
    EXPECT_EQ(Unpacked(unpacker, packing, packed), "= " + text);
  }
}

// Formats with a checksum notice each; the others give something, within the limit.
TEST(Unpacker, WhatIsDamagedIsRefusedOrBounded) {
  Unpacker unpacker;
  const std::string text = RandomText(3000);
  for (const Packing packing : kAll) {
    const std::string packed = Pack(packing, text);
    for (std::size_t at = 0; at < packed.size(); ++at) {
      std::string damaged = packed;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
      const std::string found = Unpacked(unpacker, packing, damaged, 10'000);
      EXPECT_LE(found.size(), 10'000 + 2);
      // Of a gzip header the time, flags and system say nothing of the text.
      if (packing == Packing::kGzip && found.starts_with("= ")) {
        EXPECT_EQ(found, "= " + text) << at;
      }
      unpacker.Clear();
    }
  }
}

TEST(Unpacker, FirstBytesTell) {
  EXPECT_EQ(PackingOf(Pack(Packing::kGzip, "a")), Packing::kGzip);
  EXPECT_EQ(PackingOf(Pack(Packing::kZstd, "a")), Packing::kZstd);
  for (const std::string_view text : {"", "{}", "\x1F\x8B", "\x28\xB5\x2F"}) EXPECT_EQ(PackingOf(text), std::nullopt);
}

}  // namespace
}  // namespace millrace::ingest
