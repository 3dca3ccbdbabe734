// What is encoded is decoded again by a reader of the specification's grammar, written out here.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <random>
#include <vector>

#include "delta/data/page_encoding_internal.h"
#include "testing/status_matchers.h"

namespace millrace::delta {
namespace {

class HybridReader {
 public:
  HybridReader(const std::uint8_t* at, const std::uint8_t* end, int width) : at_(at), end_(end), width_(width) {}

  // All values; those that fill up the last group are among them.
  std::vector<std::int32_t> All() {
    std::vector<std::int32_t> values;
    while (at_ < end_) {
      const std::uint32_t header = Varint();
      if ((header & 1) == 0) {
        std::int32_t value = 0;
        std::memcpy(&value, at_, static_cast<std::size_t>((width_ + 7) / 8));
        at_ += (width_ + 7) / 8;
        values.insert(values.end(), header >> 1, value);
        ++runs_;
        continue;
      }
      for (std::uint32_t i = 0; i < (header >> 1) * 8; ++i) {
        std::int32_t value = 0;
        for (int bit = 0; bit < width_; ++bit) {
          const std::size_t place = i * static_cast<std::uint32_t>(width_) + static_cast<std::uint32_t>(bit);
          value |= (at_[place / 8] >> place % 8 & 1) << bit;
        }
        values.push_back(value);
      }
      at_ += (header >> 1) * static_cast<std::uint32_t>(width_);
    }
    EXPECT_EQ(at_, end_);
    return values;
  }
  int runs() const { return runs_; }

 private:
  std::uint32_t Varint() {
    std::uint32_t value = 0;
    for (int shift = 0;; shift += 7) {
      value |= static_cast<std::uint32_t>(*at_ & 0x7F) << shift;
      if ((*at_++ & 0x80) == 0) return value;
    }
  }

  const std::uint8_t* at_;
  const std::uint8_t* end_;
  int width_;
  int runs_ = 0;
};

void ExpectIndices(const std::vector<std::int32_t>& indices) {
  arrow::BufferBuilder out;
  MILLRACE_ASSERT_OK(out.Append("before", 6));
  MILLRACE_ASSERT_OK(AppendIndices(indices, &out));
  const std::uint8_t* const page = out.data() + 6;
  auto values = HybridReader(page + 1, out.data() + out.length(), *page).All();
  ASSERT_GE(values.size(), indices.size());
  EXPECT_LT(values.size(), indices.size() + 8);
  values.resize(indices.size());
  EXPECT_EQ(values, indices);
}

// Each width, with and without runs that begin and end anywhere.
TEST(PageEncoding, IndicesComeBack) {
  std::mt19937 random(3);
  ExpectIndices({});
  ExpectIndices({0});
  for (int width = 1; width <= 20; ++width) {
    for (int round = 0; round < 40; ++round) {
      std::vector<std::int32_t> indices;
      const std::size_t size = random() % 600;
      while (indices.size() < size) {
        const auto value = static_cast<std::int32_t>(random() % (1U << width));
        indices.insert(indices.end(), random() % 4 == 0 ? random() % 40 : 1, value);
      }
      ExpectIndices(indices);
    }
  }
}

TEST(PageEncoding, AConstantColumnIsOneRun) {
  arrow::BufferBuilder out;
  MILLRACE_ASSERT_OK(AppendIndices(std::vector<std::int32_t>(100'000, 5), &out));
  EXPECT_LE(out.length(), 6);
  HybridReader reader(out.data() + 1, out.data() + out.length(), *out.data());
  EXPECT_EQ(reader.All(), std::vector<std::int32_t>(100'000, 5));
  EXPECT_EQ(reader.runs(), 1);
}

TEST(PageEncoding, NestedLevelsComeBack) {
  std::mt19937 random(5);
  for (int level_max = 1; level_max <= 70; ++level_max) {
    std::vector<std::int32_t> levels;
    const std::size_t count = random() % 3'000;
    while (levels.size() < count) {
      levels.insert(levels.end(), random() % 3 == 0 ? random() % 40 : 1,
                    static_cast<std::int32_t>(random() % static_cast<unsigned>(level_max + 1)));
    }
    arrow::BufferBuilder out;
    MILLRACE_ASSERT_OK(out.Append("before", 6));
    MILLRACE_ASSERT_OK(AppendLevels(levels, level_max, &out));
    std::uint32_t size = 0;
    std::memcpy(&size, out.data() + 6, sizeof(size));
    ASSERT_EQ(static_cast<std::int64_t>(6 + sizeof(size)) + size, out.length());
    auto read = HybridReader(out.data() + 6 + sizeof(size), out.data() + out.length(),
                             std::bit_width(static_cast<unsigned>(level_max)))
                    .All();
    ASSERT_GE(read.size(), levels.size());
    read.resize(levels.size());
    EXPECT_EQ(read, levels);
  }
}

TEST(PageEncoding, LevelsComeBack) {
  std::mt19937 random(4);
  for (const std::int64_t rows : {1, 7, 8, 63, 64, 1000, 1 << 20}) {
    std::vector<std::uint8_t> page(kFullLevelsBytesMax, 0xEE);
    const std::uint8_t* const begin = PutFullLevels(rows, page.data() + page.size());
    ASSERT_GE(begin, page.data());
    std::uint32_t size = 0;
    std::memcpy(&size, begin, sizeof(size));
    ASSERT_EQ(begin + sizeof(size) + size, page.data() + page.size());
    EXPECT_EQ(HybridReader(begin + sizeof(size), begin + sizeof(size) + size, 1).All(),
              std::vector<std::int32_t>(static_cast<std::size_t>(rows), 1));

    std::vector<std::uint8_t> valid(static_cast<std::size_t>((rows + 7) / 8));
    for (auto& byte : valid) byte = static_cast<std::uint8_t>(random());
    arrow::BufferBuilder out;
    MILLRACE_ASSERT_OK(AppendLevels(valid.data(), rows, &out));
    std::memcpy(&size, out.data(), sizeof(size));
    ASSERT_EQ(static_cast<std::int64_t>(sizeof(size)) + size, out.length());
    const auto levels = HybridReader(out.data() + sizeof(size), out.data() + out.length(), 1).All();
    ASSERT_EQ(levels.size(), valid.size() * 8);
    for (std::size_t i = 0; i < levels.size(); ++i) ASSERT_EQ(levels[i], valid[i / 8] >> i % 8 & 1) << i;
  }
}

}  // namespace
}  // namespace millrace::delta
