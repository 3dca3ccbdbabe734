#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "delta/data/delta_packing_internal.h"
#include "delta/data/varint_internal.h"

namespace millrace::delta {
namespace {

std::uint8_t* PutZigzag(std::int64_t value, std::uint8_t* at) {
  return PutVarint(static_cast<std::uint64_t>(value) << 1 ^ static_cast<std::uint64_t>(value >> 63), at);
}

// The lowest `width` bits of kDeltasPackedTogether values, which have no others, the first one's first: 4 * width
// bytes.
template <typename Bits>
std::uint8_t* Pack(const Bits* values, int width, std::uint8_t* at) {
  if (width == 0) return at;
  std::uint64_t word = 0;
  int filled = 0;
  for (std::int64_t i = 0; i < kDeltasPackedTogether; ++i) {
    const std::uint64_t value = values[i];
    word |= value << filled;
    filled += width;
    if (filled < 64) continue;
    std::memcpy(at, &word, sizeof(word));
    at += sizeof(word);
    filled -= 64;
    word = filled == 0 ? 0 : value >> (width - filled);
  }
  // 32 values of any width end in the middle of a word or at its end.
  if (filled == 0) return at;
  std::memcpy(at, &word, sizeof(word) / 2);
  return at + sizeof(word) / 2;
}

}  // namespace

template <typename T>
Status DeltaPacker<T>::Add(std::span<const T> values) {
  if (values.empty()) return Status::OK();
  std::size_t i = 0;
  if (num_values_ == 0) {
    first_ = last_ = static_cast<Bits>(values[0]);
    i = 1;
  }
  num_values_ += values.size();
  while (i < values.size()) {
    const std::size_t end = std::min(values.size(), i + kBlock - num_deltas_);
    for (; i < end; ++i) {
      const auto value = static_cast<Bits>(values[i]);
      deltas_[num_deltas_++] = value - last_;
      last_ = value;
    }
    if (num_deltas_ == kBlock) RETURN_NOT_OK(EndBlock());
  }
  return Status::OK();
}

template <typename T>
Status DeltaPacker<T>::EndBlock() {
  T lowest = std::numeric_limits<T>::max();
  for (std::size_t i = 0; i < num_deltas_; ++i) lowest = std::min(lowest, static_cast<T>(deltas_[i]));
  for (std::size_t i = 0; i < num_deltas_; ++i) deltas_[i] -= static_cast<Bits>(lowest);
  // What fills up the last one that is begun.
  std::fill(deltas_.begin() + static_cast<std::ptrdiff_t>(num_deltas_), deltas_.end(), 0);

  RETURN_NOT_OK(blocks_.Reserve(static_cast<std::int64_t>(kVarintBytesMax + kMiniblocks + kBlock * sizeof(T))));
  std::uint8_t* const begin = blocks_.mutable_data() + blocks_.length();
  std::uint8_t* const widths = PutZigzag(lowest, begin);
  std::uint8_t* at = widths + kMiniblocks;
  for (std::size_t m = 0; m < kMiniblocks; ++m) {
    const Bits* const values = &deltas_[m * kDeltasPackedTogether];
    Bits all = 0;
    for (std::int64_t i = 0; i < kDeltasPackedTogether; ++i) all |= values[i];
    // Nothing is written of those behind the last value: all their bits are zeros.
    widths[m] = static_cast<std::uint8_t>(std::bit_width(all));
    at = Pack(values, widths[m], at);
  }
  blocks_.UnsafeAdvance(at - begin);
  num_deltas_ = 0;
  return Status::OK();
}

template <typename T>
Status DeltaPacker<T>::Finish(arrow::BufferBuilder* out) {
  if (num_deltas_ > 0) RETURN_NOT_OK(EndBlock());
  std::array<std::uint8_t, 4 * kVarintBytesMax> head;
  std::uint8_t* at = PutVarint(kBlock, head.data());
  at = PutVarint(kMiniblocks, at);
  at = PutVarint(num_values_, at);
  at = PutZigzag(static_cast<T>(first_), at);
  RETURN_NOT_OK(out->Append(head.data(), at - head.data()));
  RETURN_NOT_OK(out->Append(blocks_.data(), blocks_.length()));
  blocks_.Rewind(0);
  first_ = last_ = 0;
  num_values_ = 0;
  return Status::OK();
}

template class DeltaPacker<std::int32_t>;
template class DeltaPacker<std::int64_t>;

}  // namespace millrace::delta
