#include "sketch/distinct_sketch.h"

#include <algorithm>
#include <cmath>
#include <hll.hpp>
#include <utility>

#include "sketch/image_internal.h"
#include "sketch/metered_internal.h"

namespace millrace::sketch {
namespace {

using Hll = datasketches::hll_sketch_alloc<Metered<std::uint8_t>>;
using HllUnion = datasketches::hll_union_alloc<Metered<std::uint8_t>>;

constexpr std::uint8_t kHllLgK = 12;
constexpr std::size_t kHllRegisters = std::size_t{1} << kHllLgK;

// Where things are in its image: HllUtil.hpp of Apache DataSketches.
namespace hll_image {
constexpr std::size_t kPreambleInts = 0;
constexpr std::size_t kVersion = 1;
constexpr std::size_t kFamily = 2;
constexpr std::size_t kLgK = 3;
constexpr std::size_t kFlags = 5;
constexpr std::size_t kListCount = 6;
constexpr std::size_t kCurMin = 6;
constexpr std::size_t kMode = 7;
constexpr std::size_t kListCoupons = 8;
constexpr std::size_t kSetCount = 8;
constexpr std::size_t kSetCoupons = 12;
constexpr std::size_t kHipAccumulator = 8;
constexpr std::size_t kInversePowers = 16;       // The sum of 2^-register of those below 32, a double.
constexpr std::size_t kSmallInversePowers = 24;  // Of the others.
constexpr std::size_t kZeroRegisters = 32;
constexpr std::size_t kAuxCount = 36;
constexpr std::size_t kRegisters = 40;

constexpr std::uint8_t kHllFamily = 7;
constexpr std::uint8_t kListMode = 0;
constexpr std::uint8_t kSetMode = 1;
constexpr std::uint8_t kArrayMode = 2;
constexpr std::uint8_t kModeMask = 3;
constexpr std::uint8_t kTypeHll8 = 2 << 2;
constexpr std::uint8_t kCompactFlag = 8;
constexpr std::uint8_t kOutOfOrderFlag = 16;
}  // namespace hll_image

// Of so many values a list becomes a set, and a set an array.
constexpr std::size_t kListEnd = 8;
constexpr std::size_t kSetEnd = kHllRegisters / 8 * 3 / 4 + 1;
constexpr std::uint8_t kRegisterEnd = 64;

Status CheckCoupons(std::string_view bytes, std::size_t first, std::size_t count) {
  if (bytes.size() != first + count * sizeof(std::uint32_t)) {
    return Corrupt("the HLL sketch has {} bytes and should have {} values", bytes.size(), count);
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (ValueAt<std::uint32_t>(bytes, first + i * sizeof(std::uint32_t)) == 0) {
      return Corrupt("the HLL sketch has an empty value among its {}", count);
    }
  }
  return Status::OK();
}

Status CheckRegisters(std::string_view bytes) {
  constexpr std::size_t kSize = hll_image::kRegisters + kHllRegisters;
  if (bytes.size() != kSize) return Corrupt("the HLL sketch has {} bytes instead of {}", bytes.size(), kSize);
  std::uint32_t zeros = 0;
  double inverse_powers = 0;  // Both sums are exact: 4,096 powers of two that are at most 31 apart.
  double small_inverse_powers = 0;
  for (std::size_t i = hll_image::kRegisters; i < kSize; ++i) {
    const std::uint8_t value = ByteAt(bytes, i);
    if (value >= kRegisterEnd) return Corrupt("the HLL sketch has a register of {}", value);
    if (value == 0) ++zeros;
    (value < 32 ? inverse_powers : small_inverse_powers) += 1.0 / static_cast<double>(std::uint64_t{1} << value);
  }
  const bool agrees = ValueAt<double>(bytes, hll_image::kInversePowers) == inverse_powers &&
                      ValueAt<double>(bytes, hll_image::kSmallInversePowers) == small_inverse_powers &&
                      ValueAt<std::uint32_t>(bytes, hll_image::kZeroRegisters) == zeros &&
                      ByteAt(bytes, hll_image::kCurMin) == 0 &&
                      ValueAt<std::uint32_t>(bytes, hll_image::kAuxCount) == 0;
  return agrees ? Status::OK() : Corrupt("the HLL sketch's registers do not agree with their sums");
}

// The library trusts counts and registers that it reads.
Status CheckHll(std::string_view bytes) {
  if (bytes.size() < hll_image::kListCoupons) return Corrupt("{} bytes are no HLL sketch", bytes.size());
  if (ByteAt(bytes, hll_image::kFamily) != hll_image::kHllFamily || ByteAt(bytes, hll_image::kVersion) != 1) {
    return Corrupt("the bytes are no HLL sketch of Apache DataSketches");
  }
  if (ByteAt(bytes, hll_image::kLgK) != kHllLgK) {
    return Corrupt("the HLL sketch has lgK {} instead of {}", ByteAt(bytes, hll_image::kLgK), kHllLgK);
  }
  const std::uint8_t mode = ByteAt(bytes, hll_image::kMode) & hll_image::kModeMask;
  if (ByteAt(bytes, hll_image::kMode) != (mode | hll_image::kTypeHll8))
    return Corrupt("the HLL sketch is not of type HLL_8");
  if ((ByteAt(bytes, hll_image::kFlags) & hll_image::kCompactFlag) == 0)
    return Corrupt("the HLL sketch is not in the compact form");
  const std::uint8_t preamble_ints = ByteAt(bytes, hll_image::kPreambleInts);
  if (mode == hll_image::kListMode && preamble_ints == 2 && ByteAt(bytes, hll_image::kListCount) < kListEnd) {
    return CheckCoupons(bytes, hll_image::kListCoupons, ByteAt(bytes, hll_image::kListCount));
  }
  if (mode == hll_image::kSetMode && preamble_ints == 3 && bytes.size() >= hll_image::kSetCoupons) {
    const auto count = ValueAt<std::uint32_t>(bytes, hll_image::kSetCount);
    if (count < kSetEnd) return CheckCoupons(bytes, hll_image::kSetCoupons, count);
  }
  if (mode == hll_image::kArrayMode && preamble_ints == 10) return CheckRegisters(bytes);
  return Corrupt("the HLL sketch's preamble contradicts itself");
}

Result<Hll> ReadHll(std::string_view bytes) {
  RETURN_NOT_OK(CheckHll(bytes));
  try {
    return Hll::deserialize(bytes.data(), bytes.size());
  } catch (const std::exception& error) {
    return Corrupt("the HLL sketch cannot be read: {}", error.what());
  }
}

}  // namespace

struct DistinctSketch::Impl : MeteredObject {
  HllUnion values{kHllLgK};
};

DistinctSketch::DistinctSketch() = default;
DistinctSketch::DistinctSketch(DistinctSketch&& other) noexcept = default;
DistinctSketch& DistinctSketch::operator=(DistinctSketch&& other) noexcept = default;
DistinctSketch::~DistinctSketch() = default;

DistinctSketch::Impl& DistinctSketch::made() {
  if (impl_ == nullptr) impl_ = std::make_unique<Impl>();
  return *impl_;
}

void DistinctSketch::Add(std::int64_t value) { made().values.update(value); }
void DistinctSketch::Add(Int128 value) {
  const auto narrow = static_cast<std::int64_t>(value);
  if (narrow == value) return Add(narrow);
  made().values.update(&value, sizeof value);
}
void DistinctSketch::Add(double value) { made().values.update(value); }
void DistinctSketch::Add(std::string_view bytes) {
  // Null data, as an empty view may have, is left out by the library.
  made().values.update(bytes.empty() ? "" : bytes.data(), bytes.size());
}

Status DistinctSketch::Merge(std::string_view bytes) {
  ASSIGN_OR_RETURN(auto sketch, ReadHll(bytes));
  if (!sketch.is_empty()) made().values.update(std::move(sketch));
  return Status::OK();
}

std::string DistinctSketch::ToBytes() const {
  const auto image = impl_->values.get_result(datasketches::HLL_8).serialize_compact();
  std::string bytes(reinterpret_cast<const char*>(image.data()), image.size());
  if ((ByteAt(bytes, hll_image::kMode) & hll_image::kModeMask) == hll_image::kArrayMode) {
    // The library keeps a second estimate, which is better and holds only for values that came one by one. What came
    // in pieces here must give what it gives there: the image says that it was merged.
    bytes[hll_image::kFlags] = static_cast<char>(ByteAt(bytes, hll_image::kFlags) | hll_image::kOutOfOrderFlag);
    std::fill_n(bytes.begin() + hll_image::kHipAccumulator, sizeof(double), '\0');
  }
  return bytes;
}

Result<std::int64_t> DistinctSketch::Estimate(std::string_view bytes) {
  ASSIGN_OR_RETURN(const auto sketch, ReadHll(bytes));
  return std::llround(sketch.get_estimate());
}

}  // namespace millrace::sketch
