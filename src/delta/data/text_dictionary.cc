#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "delta/data/text_dictionary_internal.h"

namespace millrace::delta {
namespace {

constexpr std::size_t kSlotsMin = 256;
constexpr std::size_t kKeyBytes = 16;
// In a table that is half full at most, texts of chance never walk this far.
constexpr int kStepsMax = 256;
constexpr std::size_t kProbesAtOnce = 32;

constexpr std::uint64_t kA = 0x9E37'79B9'7F4A'7C15;
constexpr std::uint64_t kB = 0xD6E8'FEB8'6659'FD93;

// Folded 64 x 64 -> 128 bit multiplication, in the manner of wyhash (Wang Yi).
inline std::uint64_t Mix(std::uint64_t a, std::uint64_t b) {
  __extension__ using Uint128 = unsigned __int128;
  const auto product = static_cast<Uint128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

inline std::uint64_t Load64(const char* at) {
  std::uint64_t word;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

// The word's first `size` bytes in memory, and zeros; 0 to 8.
inline std::uint64_t First(std::uint64_t word, std::size_t size) {
  static_assert(std::endian::native == std::endian::little);
  // Shifted twice, because a shift by all 64 bits at once is none.
  return word & ~(~std::uint64_t{0} << 4 * size << 4 * size);
}

// At least 16 bytes can be read, whatever lies after the text's end.
inline TextDictionary::Key KeyOfShort(const char* text, std::size_t size) {
  return {First(Load64(text), std::min<std::size_t>(size, 8)),
          First(Load64(text + 8), std::max<std::size_t>(size, 8) - 8)};
}

TextDictionary::Key KeyOfLong(std::string_view text) {
  std::uint64_t hash = text.size();
  const char* const last = text.data() + text.size() - kKeyBytes;
  for (const char* next = text.data(); next < last; next += kKeyBytes) {
    hash = Mix(Load64(next) ^ kA, Load64(next + 8) ^ hash);
  }
  return {Load64(text.data()), Mix(Load64(last) ^ kB, Load64(last + 8) ^ hash)};
}

inline TextDictionary::Key KeyOf(std::string_view text, const char* readable_end) {
  if (text.size() > kKeyBytes) [[unlikely]]
    return KeyOfLong(text);
  if (readable_end - text.data() >= static_cast<std::ptrdiff_t>(kKeyBytes)) [[likely]] {
    return KeyOfShort(text.data(), text.size());
  }
  std::array<char, kKeyBytes> copy{};
  std::copy_n(text.data(), text.size(), copy.data());
  return KeyOfShort(copy.data(), text.size());
}

// A power of two; at most half of them are taken then.
std::size_t SlotsFor(std::int64_t texts) {
  return std::max(kSlotsMin, std::bit_ceil(2 * static_cast<std::size_t>(texts)));
}

inline std::uint64_t HashOf(TextDictionary::Key key, std::size_t size) {
  return Mix(key.low ^ kA ^ size, key.high ^ kB);
}

}  // namespace

struct TextDictionary::Probe {
  std::string_view text;
  Key key;
  std::uint64_t hash = 0;
  std::int64_t row = 0;
};

TextDictionary::TextDictionary(arrow::MemoryPool* pool, std::int64_t texts_expected)
    : pool_(pool),
      slots_(SlotsFor(texts_expected), Slot(), arrow::stl::allocator<Slot>(pool)),
      starts_(pool),
      texts_(pool),
      indices_(pool) {}

std::string_view TextDictionary::TextAt(std::int32_t index) const {
  const std::int32_t start = starts_.data()[index];
  const std::int64_t end = index + 1 < num_texts() ? starts_.data()[index + 1] : texts_.length();
  return {reinterpret_cast<const char*>(texts_.data()) + start, static_cast<std::size_t>(end - start)};
}

Result<std::int64_t> TextDictionary::Add(const arrow::BinaryArray& rows, std::int64_t begin, std::int64_t end) {
  RETURN_NOT_OK(indices_.Reserve(end - begin));
  const auto& bytes = rows.value_data();
  const char* const bytes_end =
      bytes == nullptr ? nullptr : reinterpret_cast<const char*>(bytes->data()) + bytes->size();
  const bool has_nulls = rows.null_count() > 0;
  std::array<Probe, kProbesAtOnce> probes;
  std::int64_t i = begin;
  while (i < end && !full()) {
    // The slots of a large table are not in the cache: all of these are on their way before the first is looked at.
    std::size_t num_probes = 0;
    for (; i < end && num_probes < kProbesAtOnce; ++i) {
      if (has_nulls && rows.IsNull(i)) continue;
      Probe& probe = probes[num_probes++];
      probe.text = rows.GetView(i);
      probe.key = KeyOf(probe.text, bytes_end);
      probe.hash = HashOf(probe.key, probe.text.size());
      probe.row = i;
      __builtin_prefetch(&slots_[probe.hash & (slots_.size() - 1)]);
    }
    for (const Probe& probe : std::span(probes.data(), num_probes)) {
      if (full()) return probe.row;
      const std::size_t first = probe.hash & (slots_.size() - 1);
      const Slot& slot = slots_[first];
      std::int32_t index = slot.index;
      if (slot.key != probe.key || slot.size != probe.text.size() || slot.size > kKeyBytes || index == kFree) {
        ASSIGN_OR_RETURN(index, FindOrInsert(probe.text, probe.key, first));
        if (index == kFree) return probe.row;
      }
      indices_.UnsafeAppend(index);
    }
  }
  return i;
}

Result<std::int64_t> TextDictionary::Add(const arrow::DictionaryArray& rows, std::int64_t begin, std::int64_t end) {
  RETURN_NOT_OK(indices_.Reserve(end - begin));
  const auto& texts = static_cast<const arrow::BinaryArray&>(*rows.dictionary());
  if (added_ != rows.dictionary()) {
    added_ = rows.dictionary();
    index_of_added_.assign(static_cast<std::size_t>(texts.length()), kFree);
  }
  const auto& codes = static_cast<const arrow::Int32Array&>(*rows.indices());
  const bool has_nulls = rows.null_count() > 0;
  std::int64_t i = begin;
  for (; i < end && !full(); ++i) {
    if (has_nulls && rows.IsNull(i)) continue;
    std::int32_t& index = index_of_added_[static_cast<std::size_t>(codes.Value(i))];
    if (index == kFree) {
      const std::string_view text = texts.GetView(codes.Value(i));
      const Key key = KeyOf(text, text.data() + text.size());
      ASSIGN_OR_RETURN(index, FindOrInsert(text, key, HashOf(key, text.size()) & (slots_.size() - 1)));
      if (index == kFree) break;
    }
    indices_.UnsafeAppend(index);
  }
  return i;
}

Result<std::int32_t> TextDictionary::FindOrInsert(std::string_view text, Key key, std::size_t slot) {
  for (int steps = 0; slots_[slot].index != kFree; slot = (slot + 1) & (slots_.size() - 1), ++steps) {
    const Slot& taken = slots_[slot];
    if (taken.key == key && taken.size == text.size() && (text.size() <= kKeyBytes || TextAt(taken.index) == text)) {
      return taken.index;
    }
    gave_up_ |= steps > kStepsMax;
  }
  gave_up_ |= static_cast<std::int64_t>(text.size()) > kBytesMax;
  if (gave_up_) return kFree;
  const std::int32_t index = num_texts();
  slots_[slot] = {key, static_cast<std::uint32_t>(text.size()), index};
  RETURN_NOT_OK(starts_.Append(static_cast<std::int32_t>(texts_.length())));
  RETURN_NOT_OK(texts_.Append(text.data(), static_cast<std::int64_t>(text.size())));
  bytes_ += 4 + static_cast<std::int64_t>(text.size());
  if (2 * static_cast<std::size_t>(num_texts()) > slots_.size()) Grow();
  return index;
}

void TextDictionary::Grow() {
  Slots larger(2 * slots_.size(), Slot(), slots_.get_allocator());
  const std::size_t mask = larger.size() - 1;
  for (const Slot& slot : slots_) {
    if (slot.index == kFree) continue;
    std::size_t at = HashOf(slot.key, slot.size) & mask;
    while (larger[at].index != kFree) at = (at + 1) & mask;
    larger[at] = slot;
  }
  slots_ = std::move(larger);
}

Result<std::shared_ptr<arrow::StringArray>> TextDictionary::Take() {
  const std::int64_t texts = num_texts();
  RETURN_NOT_OK(starts_.Append(static_cast<std::int32_t>(texts_.length())));
  ASSIGN_OR_RETURN(const auto starts, starts_.Finish());
  ASSIGN_OR_RETURN(const auto bytes, texts_.Finish());
  *this = TextDictionary(pool_);
  return std::make_shared<arrow::StringArray>(texts, starts, bytes);
}

}  // namespace millrace::delta
