#include "process/key_hash.h"

#include <arrow/array.h>
#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "testing/batch_from_json.h"

namespace millrace::process {
namespace {

std::vector<KeyHash> HashAll(KeyHasher& hasher, const arrow::RecordBatch& rows,
                             std::vector<std::uint8_t>* has_key = nullptr) {
  std::vector<KeyHash> hashes;
  std::vector<std::uint8_t> present;
  hasher.Hash(rows, hashes, present);
  if (has_key != nullptr) *has_key = present;
  return hashes;
}

TEST(SipHash, GivesWhatItsAuthorsPublished) {
  // The key 00 01 … 0f and the messages "", 00, 00 01, as in the reference's vectors_sip128.
  const KeyHash key{.high = 0x0f0e0d0c0b0a0908, .low = 0x0706050403020100};
  EXPECT_EQ(SipHash("", key), (KeyHash{.high = 0x930255c71472f66d, .low = 0xe6a825ba047f81a3}));
  EXPECT_EQ(SipHash(std::string_view("\0", 1), key), (KeyHash{.high = 0x45fc229b11597634, .low = 0x44af996bd8c187da}));
  EXPECT_EQ(SipHash(std::string_view("\0\1", 2), key),
            (KeyHash{.high = 0xe4ff0af6de8ba3fc, .low = 0xc75da4a48d227781}));
}

TEST(KeyHasher, TellsEveryTypeAndEveryLimitBetweenColumnsApart) {
  const auto rows = testing::BatchFromJson(
      arrow::schema({arrow::field("a", arrow::utf8()), arrow::field("b", arrow::binary()),
                     arrow::field("c", arrow::boolean()), arrow::field("d", arrow::int32()),
                     arrow::field("e", arrow::int64()), arrow::field("f", arrow::float64()),
                     arrow::field("g", arrow::decimal128(12, 2)), arrow::field("h", arrow::date32()),
                     arrow::field("i", arrow::timestamp(arrow::TimeUnit::MICRO))}),
      R"([["ab", "c", true, 1, 1, 1.5, "1.00", 1, 1], ["a", "bc", true, 1, 1, 1.5, "1.00", 1, 1],
          ["", "abc", true, 1, 1, 1.5, "1.00", 1, 1], ["ab", "c", false, 1, 1, 1.5, "1.00", 1, 1],
          ["ab", "c", true, 2, 1, 1.5, "1.00", 1, 1], ["ab", "c", true, 1, 2, 1.5, "1.00", 1, 1],
          ["ab", "c", true, 1, 1, 2.5, "1.00", 1, 1], ["ab", "c", true, 1, 1, 1.5, "1.01", 1, 1],
          ["ab", "c", true, 1, 1, 1.5, "1.00", 2, 1], ["ab", "c", true, 1, 1, 1.5, "1.00", 1, 2]])");
  KeyHasher hasher({0, 1, 2, 3, 4, 5, 6, 7, 8});
  std::set<std::pair<std::uint64_t, std::uint64_t>> different;
  for (const auto& hash : HashAll(hasher, *rows)) different.emplace(hash.high, hash.low);
  EXPECT_EQ(static_cast<std::int64_t>(different.size()), rows->num_rows());
  // The same rows as a part of a larger batch.
  const auto tail = rows->Slice(4);
  EXPECT_EQ(HashAll(hasher, *tail)[0], HashAll(hasher, *rows)[4]);
  EXPECT_EQ(HashAll(hasher, *tail)[3], HashAll(hasher, *rows)[7]);
}

TEST(KeyHasher, EqualValuesAreEqualAndNullsAreNoKey) {
  const auto rows =
      testing::BatchFromJson(arrow::schema({arrow::field("a", arrow::float64()), arrow::field("b", arrow::utf8())}),
                             R"([[0.0, "x"], [-0.0, "x"], [null, "x"], [0.0, null], [0.0, ""]])");
  KeyHasher hasher({0, 1});
  std::vector<std::uint8_t> has_key;
  const auto hashes = HashAll(hasher, *rows, &has_key);
  EXPECT_EQ(hashes[0], hashes[1]);
  EXPECT_NE(hashes[0], hashes[4]);
  EXPECT_EQ(has_key, (std::vector<std::uint8_t>{1, 1, 0, 0, 1}));
  KeyHasher text({1});
  HashAll(text, *rows, &has_key);
  EXPECT_EQ(has_key, (std::vector<std::uint8_t>{1, 1, 1, 0, 1}));
}

TEST(KeyHasher, EachHasItsOwnSecret) {
  const auto rows = testing::BatchFromJson(arrow::schema({arrow::field("a", arrow::utf8())}), R"([["x"]])");
  KeyHasher one({0});
  KeyHasher other({0});
  EXPECT_NE(HashAll(one, *rows)[0], HashAll(other, *rows)[0]);
}

TEST(CanBeKey, WhatIsNestedCannot) {
  EXPECT_TRUE(CanBeKey(*arrow::utf8()));
  EXPECT_TRUE(CanBeKey(*arrow::binary()));
  EXPECT_FALSE(CanBeKey(*arrow::struct_({arrow::field("a", arrow::utf8())})));
  EXPECT_TRUE(CanBeKey(*arrow::decimal128(38, 0)));
  EXPECT_FALSE(CanBeKey(*arrow::list(arrow::utf8())));
}

}  // namespace
}  // namespace millrace::process
