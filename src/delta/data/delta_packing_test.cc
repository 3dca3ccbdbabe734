#include <arrow/array.h>
#include <gtest/gtest.h>
#include <parquet/encoding.h>

#include <limits>
#include <random>
#include <vector>

#include "delta/data/delta_packing_internal.h"
#include "testing/status_matchers.h"

namespace millrace::delta {
namespace {

template <typename T>
using ParquetType = std::conditional_t<sizeof(T) == 4, parquet::Int32Type, parquet::Int64Type>;

// What Arrow's decoder reads, and that nothing is left behind it.
template <typename T>
std::vector<T> Read(const arrow::BufferBuilder& page, std::int64_t begin, std::size_t num_values) {
  const auto decoder = parquet::MakeTypedDecoder<ParquetType<T>>(parquet::Encoding::DELTA_BINARY_PACKED);
  decoder->SetData(static_cast<int>(num_values), page.data() + begin, static_cast<int>(page.length() - begin));
  std::vector<T> values(num_values + 1);
  values.resize(static_cast<std::size_t>(decoder->Decode(values.data(), static_cast<int>(num_values) + 1)));
  return values;
}

template <typename T>
std::int64_t ExpectComesBack(DeltaPacker<T>& packer, const std::vector<T>& values, std::mt19937_64& random) {
  const std::span<const T> all(values);
  for (std::size_t i = 0; i < all.size();) {
    const std::size_t count = std::min<std::size_t>(random() % 300, all.size() - i);
    EXPECT_TRUE(packer.Add(all.subspan(i, count)).ok());
    i += count;
  }
  arrow::BufferBuilder out;
  EXPECT_TRUE(out.Append("before", 6).ok());
  EXPECT_TRUE(packer.Finish(&out).ok());
  EXPECT_EQ(Read<T>(out, 6, values.size()), values);
  return out.length() - 6;
}

// Differences of each width, of values up to the ends of their type, in pages of any length: an empty one, one value,
// whole and partial blocks.
template <typename T>
void ExpectAllWidthsComeBack() {
  std::mt19937_64 random(6);
  DeltaPacker<T> packer(arrow::default_memory_pool());
  constexpr int kBits = 8 * sizeof(T);
  for (int width = 0; width <= kBits; ++width) {
    for (const std::size_t size : {0, 1, 2, 32, 33, 34, 64, 65, 97, 128, 129, 130, 257, 1000}) {
      const std::uint64_t mask = width == 0 ? 0 : ~std::uint64_t{0} >> (64 - width);
      std::vector<T> values(size);
      auto value = static_cast<T>(random());
      for (T& each : values) {
        each = value;
        value =
            static_cast<T>(static_cast<std::uint64_t>(value) + (random() & mask) - (random() % 3 == 0 ? mask / 2 : 0));
      }
      ExpectComesBack(packer, values, random);
    }
  }
}

TEST(DeltaPacker, Int32sComeBack) { ExpectAllWidthsComeBack<std::int32_t>(); }
TEST(DeltaPacker, Int64sComeBack) { ExpectAllWidthsComeBack<std::int64_t>(); }

TEST(DeltaPacker, DifferencesThatOverflowComeBack) {
  std::mt19937_64 random(7);
  using Limits = std::numeric_limits<std::int64_t>;
  DeltaPacker<std::int64_t> packer(arrow::default_memory_pool());
  std::vector<std::int64_t> values;
  for (int i = 0; i < 500; ++i) {
    const std::int64_t some[] = {Limits::min(), Limits::max(), 0, -1, 1};
    values.push_back(some[random() % 5]);
  }
  ExpectComesBack(packer, values, random);
}

TEST(DeltaPacker, ValuesThatRiseEvenlyTakeHardlyAByteEach) {
  std::mt19937_64 random(8);
  std::vector<std::int64_t> values(128'001);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 1'700'000'000'000'000 + static_cast<std::int64_t>(7 * i);
  DeltaPacker<std::int64_t> packer(arrow::default_memory_pool());
  // A block: its lowest difference and four widths.
  EXPECT_LE(ExpectComesBack(packer, values, random), 1000 * 5 + 20);
}

}  // namespace
}  // namespace millrace::delta
