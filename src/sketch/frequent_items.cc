#include "sketch/frequent_items.h"

#include <algorithm>
#include <cstring>
#include <frequent_items_sketch.hpp>
#include <utility>

#include "sketch/image_internal.h"
#include "sketch/metered_internal.h"

namespace millrace::sketch {
namespace {

constexpr std::uint8_t kFrequentLgSize = 10;
constexpr std::size_t kFrequentItemsMax = (std::size_t{1} << kFrequentLgSize) * 3 / 4;

// Where things are in its image: frequent_items_sketch_impl.hpp of Apache DataSketches.
namespace frequent_image {
constexpr std::size_t kPreambleLongs = 0;
constexpr std::size_t kVersion = 1;
constexpr std::size_t kFamily = 2;
constexpr std::size_t kLgMaxSize = 3;
constexpr std::size_t kLgSize = 4;
constexpr std::size_t kFlags = 5;
constexpr std::size_t kNumItems = 8;
constexpr std::size_t kWeights = 32;

constexpr std::uint8_t kFrequentFamily = 10;
constexpr std::uint8_t kEmptyFlag = 1;
}  // namespace frequent_image

using Text = std::basic_string<char, std::char_traits<char>, Metered<char>>;

std::string_view ViewOf(const Text& text) { return {text.data(), text.size()}; }

// As the library's own of std::string.
struct TextSerde {
  std::size_t size_of_item(const Text& item) const { return sizeof(std::uint32_t) + item.size(); }
  std::size_t serialize(void* bytes, std::size_t /*capacity: what size_of_item() says*/, const Text* items,
                        unsigned count) const {
    char* out = static_cast<char*>(bytes);
    for (unsigned i = 0; i < count; ++i) {
      const auto length = static_cast<std::uint32_t>(items[i].size());
      std::memcpy(out, &length, sizeof length);
      std::memcpy(out + sizeof length, items[i].data(), length);
      out += sizeof length + length;
    }
    return static_cast<std::size_t>(out - static_cast<char*>(bytes));
  }
  std::size_t deserialize(const void* bytes, std::size_t capacity, Text* items, unsigned count) const {
    const std::string_view in(static_cast<const char*>(bytes), capacity);
    std::vector<std::string_view> texts;
    std::size_t at = 0;
    for (unsigned i = 0; i < count; ++i) {
      if (in.size() - at < sizeof(std::uint32_t)) throw std::out_of_range("an item is cut off");
      const auto length = ValueAt<std::uint32_t>(in, at);
      at += sizeof length;
      if (in.size() - at < length) throw std::out_of_range("an item is cut off");
      texts.push_back(in.substr(at, length));
      at += length;
    }
    for (std::size_t i = 0; i < texts.size(); ++i) new (&items[i]) Text(texts[i]);
    return at;
  }
};

struct TextHash {
  std::size_t operator()(const Text& item) const { return std::hash<std::string_view>()(ViewOf(item)); }
};

using Frequent = datasketches::frequent_items_sketch<Text, std::uint64_t, TextHash, std::equal_to<Text>, Metered<Text>>;

Status CheckFrequent(std::string_view bytes) {
  if (bytes.size() < frequent_image::kNumItems) return Corrupt("{} bytes are no frequent items sketch", bytes.size());
  if (ByteAt(bytes, frequent_image::kFamily) != frequent_image::kFrequentFamily ||
      ByteAt(bytes, frequent_image::kVersion) != 1) {
    return Corrupt("the bytes are no frequent items sketch of Apache DataSketches");
  }
  const std::uint8_t lg_max = ByteAt(bytes, frequent_image::kLgMaxSize);
  if (lg_max != kFrequentLgSize) {
    return Corrupt("the frequent items sketch has a map of 2^{} instead of 2^{}", lg_max, kFrequentLgSize);
  }
  const bool full = ByteAt(bytes, frequent_image::kPreambleLongs) == 4 &&
                    (ByteAt(bytes, frequent_image::kFlags) & frequent_image::kEmptyFlag) == 0 &&
                    ByteAt(bytes, frequent_image::kLgSize) <= kFrequentLgSize &&
                    bytes.size() >= frequent_image::kWeights;
  if (!full) return Corrupt("the frequent items sketch's preamble contradicts itself");
  const auto count = ValueAt<std::uint32_t>(bytes, frequent_image::kNumItems);
  if (count == 0 || count > kFrequentItemsMax) return Corrupt("the frequent items sketch has {} items", count);
  return Status::OK();
}

Result<Frequent> ReadFrequent(std::string_view bytes) {
  RETURN_NOT_OK(CheckFrequent(bytes));
  try {
    auto sketch = Frequent::deserialize(bytes.data(), bytes.size(), TextSerde());
    const std::size_t size = sketch.get_serialized_size_bytes(TextSerde());
    if (size == bytes.size()) return sketch;
  } catch (const std::exception& error) {
    return Corrupt("the frequent items sketch cannot be read: {}", error.what());
  }
  return Corrupt("the frequent items sketch has other items than it says");
}

}  // namespace

struct FrequentItems::Impl : MeteredObject {
  Frequent items{kFrequentLgSize};
  Text item;  // The one that is added, kept for its memory.
};

FrequentItems::FrequentItems() = default;
FrequentItems::FrequentItems(FrequentItems&& other) noexcept = default;
FrequentItems& FrequentItems::operator=(FrequentItems&& other) noexcept = default;
FrequentItems::~FrequentItems() = default;

void FrequentItems::Add(std::string_view item) {
  if (impl_ == nullptr) impl_ = std::make_unique<Impl>();
  impl_->item = item;
  impl_->items.update(std::as_const(impl_->item));
}

Status FrequentItems::Merge(std::string_view bytes) {
  ASSIGN_OR_RETURN(auto other, ReadFrequent(bytes));
  if (impl_ == nullptr) impl_ = std::make_unique<Impl>();
  impl_->items.merge(std::move(other));
  return Status::OK();
}

std::string FrequentItems::ToBytes() const {
  const auto image = impl_->items.serialize(0, TextSerde());
  return {reinterpret_cast<const char*>(image.data()), image.size()};
}

Result<std::vector<std::string>> FrequentItems::Top(std::string_view bytes, std::size_t count) {
  ASSIGN_OR_RETURN(const auto sketch, ReadFrequent(bytes));
  auto rows = sketch.get_frequent_items(datasketches::NO_FALSE_NEGATIVES, 0);
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    if (a.get_estimate() != b.get_estimate()) return a.get_estimate() > b.get_estimate();
    return a.get_item() < b.get_item();
  });
  std::vector<std::string> top;
  for (std::size_t i = 0; i < std::min(count, rows.size()); ++i) top.emplace_back(ViewOf(rows[i].get_item()));
  return top;
}

}  // namespace millrace::sketch
