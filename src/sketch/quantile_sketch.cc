#include "sketch/quantile_sketch.h"

#include <algorithm>
#include <cmath>
#include <kll_sketch.hpp>
#include <utility>

#include "sketch/image_internal.h"
#include "sketch/metered_internal.h"

namespace millrace::sketch {
namespace {

using Kll = datasketches::kll_sketch<double, std::less<double>, Metered<double>>;

constexpr std::uint16_t kKllK = 200;

// The library makes room for k values at once. So many are kept as they are before.
constexpr std::size_t kFewValues = 64;

// Where things are in its image: kll_sketch.hpp of Apache DataSketches.
namespace kll_image {
constexpr std::size_t kPreambleInts = 0;
constexpr std::size_t kVersion = 1;
constexpr std::size_t kFamily = 2;
constexpr std::size_t kFlags = 3;
constexpr std::size_t kK = 4;
constexpr std::size_t kM = 6;
constexpr std::size_t kSingleItem = 8;
constexpr std::size_t kN = 8;
constexpr std::size_t kMinK = 16;
constexpr std::size_t kNumLevels = 18;
constexpr std::size_t kLevels = 20;

constexpr std::uint8_t kKllFamily = 15;
constexpr std::uint8_t kLevelZeroSortedFlag = 2;
constexpr std::uint8_t kSingleItemFlag = 4;
constexpr std::uint8_t kNumLevelsMax = 50;  // 2^50 times 200 values.
}  // namespace kll_image

// After the preamble: where each level begins in a buffer that the last one ends, min, max, the levels' items.
Status CheckKllLevels(std::string_view bytes) {
  const Status broken = Corrupt("the KLL sketch's levels contradict themselves");
  const std::uint8_t num_levels = ByteAt(bytes, kll_image::kNumLevels);
  if (num_levels == 0 || num_levels > kll_image::kNumLevelsMax) return broken;
  const std::size_t extremes = kll_image::kLevels + num_levels * sizeof(std::uint32_t);
  const std::size_t items = extremes + 2 * sizeof(double);
  if (bytes.size() < items) return broken;
  std::vector<std::uint32_t> levels;
  for (std::size_t i = 0; i < num_levels; ++i) {
    levels.push_back(ValueAt<std::uint32_t>(bytes, kll_image::kLevels + i * sizeof(std::uint32_t)));
  }
  levels.push_back(datasketches::kll_helper::compute_total_capacity(kKllK, Kll::DEFAULT_M, num_levels));
  if (!std::is_sorted(levels.begin(), levels.end())) return broken;
  if (bytes.size() != items + (levels.back() - levels.front()) * sizeof(double)) return broken;

  const auto least = ValueAt<double>(bytes, extremes);
  const auto greatest = ValueAt<double>(bytes, extremes + sizeof(double));
  std::uint64_t weight = 0;
  for (std::size_t level = 0; level < num_levels; ++level) {
    weight += static_cast<std::uint64_t>(levels[level + 1] - levels[level]) << level;
    const bool sorted = level > 0 || (ByteAt(bytes, kll_image::kFlags) & kll_image::kLevelZeroSortedFlag) != 0;
    double before = least;
    for (std::uint32_t i = levels[level]; i < levels[level + 1]; ++i) {
      const auto value = ValueAt<double>(bytes, items + (i - levels.front()) * sizeof(double));
      // Also of NaN none is true.
      if (!(least <= value && value <= greatest) || (sorted && value < before)) return broken;
      before = value;
    }
  }
  const bool agrees = weight > 0 && weight == ValueAt<std::uint64_t>(bytes, kll_image::kN) && std::isfinite(least) &&
                      std::isfinite(greatest) && ValueAt<std::uint16_t>(bytes, kll_image::kMinK) == kKllK;
  return agrees ? Status::OK() : broken;
}

// The library trusts where levels begin.
Status CheckKll(std::string_view bytes) {
  if (bytes.size() < kll_image::kSingleItem) return Corrupt("{} bytes are no KLL sketch", bytes.size());
  const std::uint8_t version = ByteAt(bytes, kll_image::kVersion);
  if (ByteAt(bytes, kll_image::kFamily) != kll_image::kKllFamily || version == 0 || version > 2) {
    return Corrupt("the bytes are no KLL sketch of Apache DataSketches");
  }
  const auto k = ValueAt<std::uint16_t>(bytes, kll_image::kK);
  if (k != kKllK || ByteAt(bytes, kll_image::kM) != Kll::DEFAULT_M) {
    return Corrupt("the KLL sketch has k {} instead of {}", k, kKllK);
  }
  const std::uint8_t preamble_ints = ByteAt(bytes, kll_image::kPreambleInts);
  const bool single = (ByteAt(bytes, kll_image::kFlags) & kll_image::kSingleItemFlag) != 0;
  if (single && version == 2 && preamble_ints == 2 && bytes.size() == kll_image::kSingleItem + sizeof(double) &&
      std::isfinite(ValueAt<double>(bytes, kll_image::kSingleItem))) {
    return Status::OK();
  }
  if (!single && version == 1 && preamble_ints == 5 && bytes.size() >= kll_image::kLevels) return CheckKllLevels(bytes);
  return Corrupt("the KLL sketch's preamble contradicts itself");
}

Result<Kll> ReadKll(std::string_view bytes) {
  RETURN_NOT_OK(CheckKll(bytes));
  try {
    return Kll::deserialize(bytes.data(), bytes.size());
  } catch (const std::exception& error) {
    return Corrupt("the KLL sketch cannot be read: {}", error.what());
  }
}

}  // namespace

// Values as they are, or in a sketch.
struct QuantileSketch::Impl : MeteredObject {
  struct Many : MeteredObject {
    explicit Many(Kll values) : kll(std::move(values)) {}
    Kll kll;
  };
  std::vector<double, Metered<double>> few;
  std::unique_ptr<Many> many;

  void Add(double value) {
    if (many == nullptr && few.size() < kFewValues) return few.push_back(value);
    MakeMany();
    many->kll.update(value);
  }
  void MakeMany() {
    if (many != nullptr) return;
    many = std::make_unique<Many>(AsKll());
    few = {};
  }
  Kll AsKll() const {
    Kll kll(kKllK);
    for (const double value : few) kll.update(value);
    return kll;
  }
};

QuantileSketch::QuantileSketch() = default;
QuantileSketch::QuantileSketch(QuantileSketch&& other) noexcept = default;
QuantileSketch& QuantileSketch::operator=(QuantileSketch&& other) noexcept = default;
QuantileSketch::~QuantileSketch() = default;

void QuantileSketch::Add(double value) {
  if (!std::isfinite(value)) return;
  if (impl_ == nullptr) impl_ = std::make_unique<Impl>();
  impl_->Add(value + 0.0);  // There is one zero.
}

Status QuantileSketch::Merge(std::string_view bytes) {
  ASSIGN_OR_RETURN(auto other, ReadKll(bytes));
  if (impl_ == nullptr) impl_ = std::make_unique<Impl>();
  if (!other.is_estimation_mode() && other.get_n() <= kFewValues) {
    for (const auto& [value, weight] : other) impl_->Add(value);
    return Status::OK();
  }
  impl_->MakeMany();
  impl_->many->kll.merge(std::move(other));
  return Status::OK();
}

std::string QuantileSketch::ToBytes() const {
  const auto image = impl_->many != nullptr ? impl_->many->kll.serialize() : impl_->AsKll().serialize();
  return {reinterpret_cast<const char*>(image.data()), image.size()};
}

Result<std::vector<double>> QuantileSketch::Quantiles(std::string_view bytes, std::span<const double> shares) {
  ASSIGN_OR_RETURN(const auto kll, ReadKll(bytes));
  std::vector<double> values;
  for (const double share : shares) {
    if (!(share >= 0 && share <= 1)) return InvalidInput("a quantile is at a share from 0 to 1, not {}", share);
    // At the ends the library gives what it has still kept there.
    values.push_back(share == 0 ? kll.get_min_item() : share == 1 ? kll.get_max_item() : kll.get_quantile(share));
  }
  return values;
}

// The library's header has its generator in each source that includes it: no other source of a program may use KLL.
struct QuantileCoins::Impl {
  decltype(datasketches::random_bit) generator;
};

QuantileCoins::QuantileCoins() : impl_(std::make_unique<Impl>()) {}
QuantileCoins::~QuantileCoins() = default;
QuantileCoins::Use::Use(QuantileCoins& coins) : coins_(coins) {
  std::swap(coins_.impl_->generator, datasketches::random_bit);
}
QuantileCoins::Use::~Use() { std::swap(coins_.impl_->generator, datasketches::random_bit); }

}  // namespace millrace::sketch
