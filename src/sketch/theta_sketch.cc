#include "sketch/theta_sketch.h"

#include <cmath>
#include <optional>
#include <theta_a_not_b.hpp>
#include <theta_intersection.hpp>
#include <theta_sketch.hpp>
#include <theta_union.hpp>
#include <utility>
#include <vector>

#include "sketch/image_internal.h"
#include "sketch/metered_internal.h"

namespace millrace::sketch {
namespace {

using Entries = std::vector<std::uint64_t, Metered<std::uint64_t>>;
using ThetaUpdate = datasketches::update_theta_sketch_alloc<Metered<std::uint64_t>>;
using ThetaCompact = datasketches::compact_theta_sketch_alloc<Metered<std::uint64_t>>;
using ThetaUnion = datasketches::theta_union_alloc<Metered<std::uint64_t>>;
using ThetaIntersection = datasketches::theta_intersection_alloc<Metered<std::uint64_t>>;
using ThetaDifference = datasketches::theta_a_not_b_alloc<Metered<std::uint64_t>>;

constexpr std::uint8_t kThetaLgK = 12;

// Where things are in its image: compact_theta_sketch_parser.hpp of Apache DataSketches.
namespace theta_image {
constexpr std::size_t kPreambleLongs = 0;
constexpr std::size_t kVersion = 1;
constexpr std::size_t kFamily = 2;
constexpr std::size_t kFlags = 5;
constexpr std::size_t kSeedHash = 6;
constexpr std::size_t kCount = 8;
constexpr std::size_t kTheta = 16;

constexpr std::size_t kLong = 8;
constexpr std::uint8_t kThetaFamily = 3;
constexpr std::uint8_t kThetaVersion = 3;
constexpr std::uint8_t kBigEndianFlag = 1;
constexpr std::uint8_t kEmptyFlag = 4;
constexpr std::uint8_t kCompactFlag = 8;
constexpr std::uint8_t kOrderedFlag = 16;
}  // namespace theta_image

std::uint16_t SeedHash() { return compute_seed_hash(datasketches::DEFAULT_SEED); }

Status CheckThetaHead(std::string_view bytes) {
  if (bytes.size() < theta_image::kLong) return Corrupt("{} bytes are no theta sketch", bytes.size());
  if (ByteAt(bytes, theta_image::kFamily) != theta_image::kThetaFamily) {
    return Corrupt("the bytes are no theta sketch of Apache DataSketches");
  }
  if (const auto version = ByteAt(bytes, theta_image::kVersion); version != theta_image::kThetaVersion) {
    return Corrupt("the theta sketch has the serial version {} instead of {}", version, theta_image::kThetaVersion);
  }
  constexpr std::uint8_t kForm = theta_image::kBigEndianFlag | theta_image::kCompactFlag | theta_image::kOrderedFlag;
  if ((ByteAt(bytes, theta_image::kFlags) & kForm) != (theta_image::kCompactFlag | theta_image::kOrderedFlag)) {
    return Corrupt("the theta sketch is not in the compact and ordered form");
  }
  if (ValueAt<std::uint16_t>(bytes, theta_image::kSeedHash) != SeedHash()) {
    return Corrupt("the theta sketch was made with another seed");
  }
  return Status::OK();
}

// The library trusts counts, and the order and range of values that it reads; and reads them where they are not
// aligned.
Result<ThetaCompact> ReadTheta(std::string_view bytes) {
  RETURN_NOT_OK(CheckThetaHead(bytes));
  constexpr std::uint64_t kThetaMax = datasketches::theta_constants::MAX_THETA;
  const std::size_t longs = ByteAt(bytes, theta_image::kPreambleLongs);
  const std::size_t begin = longs * theta_image::kLong;
  if (longs < 1 || longs > 3 || bytes.size() < begin) return Corrupt("the theta sketch's preamble contradicts itself");
  const bool is_empty = (ByteAt(bytes, theta_image::kFlags) & theta_image::kEmptyFlag) != 0;
  if (is_empty && longs != 1) return Corrupt("the theta sketch's preamble contradicts itself");
  std::size_t count = is_empty ? 0 : 1;
  std::uint64_t theta = kThetaMax;
  if (longs > 1) count = ValueAt<std::uint32_t>(bytes, theta_image::kCount);
  if (longs > 2) theta = ValueAt<std::uint64_t>(bytes, theta_image::kTheta);
  if (bytes.size() != begin + count * theta_image::kLong) {
    return Corrupt("the theta sketch has {} bytes and should have {} values", bytes.size(), count);
  }
  if (theta == 0 || theta > kThetaMax) return Corrupt("the theta sketch has a theta that is none");
  Entries entries(count);
  std::uint64_t previous = 0;
  for (std::size_t i = 0; i < count; ++i) {
    entries[i] = ValueAt<std::uint64_t>(bytes, begin + i * theta_image::kLong);
    if (entries[i] <= previous || entries[i] >= theta) {
      return Corrupt("the theta sketch has values out of order, or beyond its theta");
    }
    previous = entries[i];
  }
  return ThetaCompact(is_empty, true, SeedHash(), theta, std::move(entries));
}

std::string ImageOf(const ThetaCompact& sketch) {
  const auto image = sketch.serialize();
  return {reinterpret_cast<const char*>(image.data()), image.size()};
}

ThetaUnion MakeUnion() {
  return ThetaUnion::builder()
      .set_lg_k(kThetaLgK)
      .set_resize_factor(datasketches::theta_constants::resize_factor::X2)
      .build();
}

ThetaUpdate MakeUpdate() {
  return ThetaUpdate::builder()
      .set_lg_k(kThetaLgK)
      .set_resize_factor(datasketches::theta_constants::resize_factor::X2)
      .build();
}

}  // namespace

// The library adds values to one kind of sketch and sketches to another.
struct ThetaSketch::Impl : MeteredObject {
  std::optional<ThetaUpdate> values;
  std::optional<ThetaUnion> merged;
};

ThetaSketch::ThetaSketch() = default;
ThetaSketch::ThetaSketch(ThetaSketch&& other) noexcept = default;
ThetaSketch& ThetaSketch::operator=(ThetaSketch&& other) noexcept = default;
ThetaSketch::~ThetaSketch() = default;

ThetaSketch::Impl& ThetaSketch::made() {
  if (impl_ == nullptr) impl_ = std::make_unique<Impl>();
  return *impl_;
}

void ThetaSketch::AddBytes(const void* bytes, std::size_t size) {
  auto& values = made().values;
  if (!values) values.emplace(MakeUpdate());
  values->update(bytes, size);
}

void ThetaSketch::Add(std::int64_t value) { AddBytes(&value, sizeof value); }
void ThetaSketch::Add(Int128 value) {
  const auto narrow = static_cast<std::int64_t>(value);
  if (narrow == value) return Add(narrow);
  AddBytes(&value, sizeof value);
}
void ThetaSketch::Add(double value) {
  const std::int64_t canonical = datasketches::canonical_double(value);
  AddBytes(&canonical, sizeof canonical);
}
void ThetaSketch::Add(std::string_view bytes) { AddBytes(bytes.empty() ? "" : bytes.data(), bytes.size()); }

Status ThetaSketch::Merge(std::string_view bytes) {
  ASSIGN_OR_RETURN(const auto sketch, ReadTheta(bytes));
  if (sketch.is_empty()) return Status::OK();
  auto& merged = made().merged;
  if (!merged) merged.emplace(MakeUnion());
  merged->update(sketch);
  return Status::OK();
}

// A union's result is the smallest hashes of all, and so does not depend on when the sketch began to leave some out.
std::string ThetaSketch::ToBytes() const {
  ThetaUnion all = impl_ != nullptr && impl_->merged ? *impl_->merged : MakeUnion();
  if (impl_ != nullptr && impl_->values) all.update(*impl_->values);
  return ImageOf(all.get_result());
}

Result<std::int64_t> ThetaSketch::Estimate(std::string_view bytes) {
  ASSIGN_OR_RETURN(const auto sketch, ReadTheta(bytes));
  return std::llround(sketch.get_estimate());
}

Result<std::string> ThetaSketch::Combine(Operation operation, std::string_view a, std::string_view b) {
  ASSIGN_OR_RETURN(const auto left, ReadTheta(a));
  ASSIGN_OR_RETURN(const auto right, ReadTheta(b));
  switch (operation) {
    case Operation::kUnion: {
      ThetaUnion either = MakeUnion();
      either.update(left);
      either.update(right);
      return ImageOf(either.get_result());
    }
    case Operation::kIntersection: {
      ThetaIntersection both;
      both.update(left);
      both.update(right);
      return ImageOf(both.get_result());
    }
    case Operation::kDifference:
      return ImageOf(ThetaDifference().compute(left, right));
  }
  return Internal("no such operation");
}

}  // namespace millrace::sketch
