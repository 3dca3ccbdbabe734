#include <algorithm>
#include <bit>
#include <cstring>

#include "delta/data/page_encoding_internal.h"
#include "delta/data/varint_internal.h"

namespace millrace::delta {
namespace {

static_assert(std::endian::native == std::endian::little);

__extension__ using Bits128 = unsigned __int128;

// Indices that are packed together; a run of one value is as long at least.
constexpr std::size_t kGroup = 8;
// Thrift's types in a field's header.
constexpr std::uint8_t kThriftInt = 5;
constexpr std::uint8_t kThriftStruct = 12;

class ThriftFields {
 public:
  explicit ThriftFields(std::uint8_t* at) : at_(at) {}
  void Int(std::uint8_t steps, std::int32_t value) {
    Begin(steps, kThriftInt);
    at_ = PutVarint(static_cast<std::uint32_t>(value) << 1, at_);  // Zigzag of what is not negative.
  }
  void Struct(std::uint8_t steps) { Begin(steps, kThriftStruct); }
  void End() { *at_++ = 0; }
  const std::uint8_t* at() const { return at_; }

 private:
  // `steps`: from the number of the field before.
  void Begin(std::uint8_t steps, std::uint8_t type) { *at_++ = static_cast<std::uint8_t>(steps << 4 | type); }
  std::uint8_t* at_;
};

// Packs eight values, the first into the lowest bits. Writes up to 16 bytes more than the eight take.
void PackGroup(const std::int32_t* values, int width, std::uint8_t* at) {
  const auto value = [values](int i) { return static_cast<std::uint64_t>(values[i]); };
  if (width <= 8) {
    std::uint64_t bits = 0;
    for (int i = 0; i < 8; ++i) bits |= value(i) << i * width;
    std::memcpy(at, &bits, sizeof(bits));
    return;
  }
  if (width <= 16) {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    for (int i = 0; i < 4; ++i) {
      low |= value(i) << i * width;
      high |= value(i + 4) << i * width;
    }
    const Bits128 bits = Bits128{low} | Bits128{high} << 4 * width;
    std::memcpy(at, &bits, sizeof(bits));
    return;
  }
  std::uint64_t bits = 0;
  int num_bits = 0;
  for (int i = 0; i < 8; ++i) {
    bits |= value(i) << num_bits;
    num_bits += width;
    for (; num_bits >= 8; num_bits -= 8, bits >>= 8) *at++ = static_cast<std::uint8_t>(bits);
  }
}

bool IsOneValue(const std::int32_t* values) {
  std::uint32_t different = 0;
  for (std::size_t i = 1; i < kGroup; ++i) different |= static_cast<std::uint32_t>(values[i] ^ values[0]);
  return different == 0;
}

// Runs of values that have `width` bits at most, of one value or packed.
Status AppendRuns(std::span<const std::int32_t> indices, int width, arrow::BufferBuilder* out) {
  const auto value_bytes = static_cast<std::size_t>((width + 7) / 8);
  const std::size_t size = indices.size();
  // Each group takes its bits or begins a run; a header belongs to eight values or more.
  const std::size_t bytes_max = (size / kGroup + 1) * (static_cast<std::size_t>(width) + 2 * kVarintBytesMax) + 32;
  RETURN_NOT_OK(out->Reserve(static_cast<std::int64_t>(bytes_max)));
  std::uint8_t* const begin = out->mutable_data() + out->length();
  std::uint8_t* at = begin;

  std::size_t unpacked = 0;  // From here on.
  const auto pack_until = [&](std::size_t end) {
    if (end == unpacked) return;
    const std::size_t groups = (end - unpacked + kGroup - 1) / kGroup;
    at = PutVarint(static_cast<std::uint32_t>(groups << 1 | 1), at);
    for (; unpacked + kGroup <= end; unpacked += kGroup, at += width) PackGroup(&indices[unpacked], width, at);
    if (unpacked == end) return;
    std::array<std::int32_t, kGroup> last{};
    std::copy(indices.begin() + static_cast<std::ptrdiff_t>(unpacked),
              indices.begin() + static_cast<std::ptrdiff_t>(end), last.begin());
    PackGroup(last.data(), width, at);
    at += width;
    unpacked = end;
  };
  std::size_t i = 0;
  while (i + kGroup <= size) {
    if (indices[i] != indices[i + 1] || !IsOneValue(&indices[i])) {
      i += kGroup;
      continue;
    }
    pack_until(i);
    std::size_t end = i + kGroup;
    while (end < size && indices[end] == indices[i]) ++end;
    at = PutVarint(static_cast<std::uint32_t>((end - i) << 1), at);
    std::memcpy(at, &indices[i], sizeof(std::int32_t));
    at += value_bytes;
    unpacked = i = end;
  }
  pack_until(size);
  out->UnsafeAdvance(at - begin);
  return Status::OK();
}

}  // namespace

HeaderBytes Encode(const PageHeader& header) {
  constexpr std::int32_t kDataPage = 0;
  constexpr std::int32_t kDictionaryPage = 2;
  constexpr auto kLevelEncoding = static_cast<std::int32_t>(parquet::Encoding::RLE);
  HeaderBytes encoded;
  ThriftFields fields(encoded.bytes.data());
  fields.Int(1, header.is_dictionary ? kDictionaryPage : kDataPage);
  fields.Int(1, header.uncompressed_bytes);
  fields.Int(1, header.compressed_bytes);
  fields.Struct(header.is_dictionary ? 4 : 2);  // Field 7 or 5.
  fields.Int(1, header.num_values);
  fields.Int(1, static_cast<std::int32_t>(header.encoding));
  if (!header.is_dictionary) {
    fields.Int(1, kLevelEncoding);
    fields.Int(1, kLevelEncoding);
  }
  fields.End();
  fields.End();
  encoded.size = static_cast<std::size_t>(fields.at() - encoded.bytes.data());
  return encoded;
}

std::uint8_t* PutFullLevels(std::int64_t num_rows, std::uint8_t* end) {
  std::array<std::uint8_t, kVarintBytesMax + 1> run;
  std::uint8_t* run_end = PutVarint(static_cast<std::uint32_t>(num_rows) << 1, run.data());
  *run_end++ = 1;
  const auto size = static_cast<std::uint32_t>(run_end - run.data());
  std::uint8_t* const begin = end - size - sizeof(size);
  std::memcpy(begin, &size, sizeof(size));
  std::memcpy(begin + sizeof(size), run.data(), size);
  return begin;
}

Status AppendLevels(const std::uint8_t* valid, std::int64_t num_rows, arrow::BufferBuilder* out) {
  const auto groups = static_cast<std::uint32_t>((num_rows + 7) / 8);
  std::array<std::uint8_t, kVarintBytesMax> run;
  const auto run_size = static_cast<std::uint32_t>(PutVarint(groups << 1 | 1, run.data()) - run.data());
  const std::uint32_t size = run_size + groups;
  RETURN_NOT_OK(out->Reserve(static_cast<std::int64_t>(sizeof(size)) + size));
  out->UnsafeAppend(&size, sizeof(size));
  out->UnsafeAppend(run.data(), run_size);
  out->UnsafeAppend(valid, groups);
  return Status::OK();
}

Status AppendLevels(std::span<const std::int32_t> levels, int level_max, arrow::BufferBuilder* out) {
  const std::int64_t begin = out->length();
  std::uint32_t size = 0;
  RETURN_NOT_OK(out->Append(&size, sizeof(size)));
  RETURN_NOT_OK(AppendRuns(levels, std::bit_width(static_cast<unsigned>(level_max)), out));
  size = static_cast<std::uint32_t>(out->length() - begin) - static_cast<std::uint32_t>(sizeof(size));
  std::memcpy(out->mutable_data() + begin, &size, sizeof(size));
  return Status::OK();
}

Status AppendIndices(std::span<const std::int32_t> indices, arrow::BufferBuilder* out) {
  std::uint32_t all = 1;  // One bit at least: not every reader knows of none.
  for (const std::int32_t index : indices) all |= static_cast<std::uint32_t>(index);
  const auto width = static_cast<std::uint8_t>(std::bit_width(all));
  RETURN_NOT_OK(out->Append(&width, sizeof(width)));
  return AppendRuns(indices, width, out);
}

}  // namespace millrace::delta
