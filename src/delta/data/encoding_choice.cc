#include <arrow/array.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "delta/data/delta_packing_internal.h"
#include "delta/data/encoding_choice_internal.h"
#include "delta/data/page_compressor_internal.h"

namespace millrace::delta {
namespace {

using Sample = std::vector<std::shared_ptr<arrow::RecordBatch>>;

// Fewer rows say nothing about encodings, and then nothing is at stake.
constexpr std::int64_t kSampleRowsMin = 64;
// Above this share of distinct values in the sample (about 9,000 distinct values or more) a dictionary costs a hash per
// value and saves little.
constexpr double kDistinctShareMax = 0.8;
// Up to this share a dictionary is small beside the rows, whatever else there is.
constexpr double kSmallDictionaryShare = 0.1;
// Bytes of a column that are compressed both ways to see whether searching for matches pays.
constexpr std::size_t kTrialBytes = 128 << 10;

// Counts distinct values, up to kSampleRows of them. Equal hashes pass for equal values: it is for an estimate.
class DistinctCounter {
 public:
  void Add(std::string_view value) {
    const std::uint64_t hash = std::hash<std::string_view>()(value) | 1;
    std::size_t slot = hash >> 32 & kMask;
    while (slots_[slot] != 0 && slots_[slot] != hash) slot = (slot + 1) & kMask;
    count_ += slots_[slot] == 0;
    slots_[slot] = hash;
  }
  std::int64_t count() const { return count_; }

 private:
  static constexpr std::size_t kMask = 4 * kSampleRows - 1;
  std::vector<std::uint64_t> slots_ = std::vector<std::uint64_t>(kMask + 1);  // 0: free.
  std::int64_t count_ = 0;
};

// Of the rows of a sample that are not null.
struct Distinct {
  std::int64_t rows = 0;
  std::int64_t values = 0;
  double share() const { return rows < kSampleRowsMin ? 0 : static_cast<double>(values) / static_cast<double>(rows); }
};

// No rows of types that are not looked at.
Distinct CountDistinct(const Sample& sample, int column) {
  DistinctCounter counter;
  std::int64_t rows = 0;
  for (const auto& batch : sample) {
    const arrow::Array& array = *batch->column(column);
    const bool text = array.type_id() == arrow::Type::STRING || array.type_id() == arrow::Type::BINARY;
    const int width = array.type()->byte_width();
    const bool fixed = width >= 4 && array.type()->num_fields() == 0 && array.type_id() != arrow::Type::DICTIONARY;
    if (!text && !fixed) return {};
    for (std::int64_t i = 0; i < array.length() && rows < kSampleRows; ++i) {
      if (array.IsNull(i)) continue;
      ++rows;
      if (text) {
        counter.Add(static_cast<const arrow::BinaryArray&>(array).GetView(i));
      } else {
        const auto* bytes = array.data()->GetValues<char>(1, 0);
        counter.Add({bytes + (array.offset() + i) * width, static_cast<std::size_t>(width)});
      }
    }
  }
  return {rows, counter.count()};
}

bool IsIntegerInParquet(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::INT32:
    case arrow::Type::INT64:
    case arrow::Type::DATE32:
    case arrow::Type::TIMESTAMP:
      return true;
    case arrow::Type::DECIMAL128:
      return static_cast<const arrow::Decimal128Type&>(type).precision() <= 18;
    default:
      return false;
  }
}

// Of a type that IsIntegerInParquet(). A decimal's low bits are all that Parquet stores of it.
std::int64_t IntegerAt(const arrow::Array& array, std::int64_t row) {
  switch (array.type()->byte_width()) {
    case 4:
      return array.data()->GetValues<std::int32_t>(1)[row];
    case 8:
      return array.data()->GetValues<std::int64_t>(1)[row];
    default:
      return array.data()->GetValues<std::int64_t>(1, 0)[2 * (array.offset() + row)];
  }
}

// What DELTA_BINARY_PACKED takes for a value of the sample, in bits.
double DeltaBits(const Sample& sample, int column) {
  std::int64_t rows = 0;
  std::int64_t bits = 0;
  std::uint64_t last = 0;
  std::int64_t lowest = std::numeric_limits<std::int64_t>::max();
  std::int64_t highest = std::numeric_limits<std::int64_t>::lowest();
  for (const auto& batch : sample) {
    const arrow::Array& array = *batch->column(column);
    for (std::int64_t i = 0; i < array.length() && rows < kSampleRows; ++i) {
      if (array.IsNull(i)) continue;
      const auto value = static_cast<std::uint64_t>(IntegerAt(array, i));
      const auto delta = static_cast<std::int64_t>(value - std::exchange(last, value));
      if (rows++ == 0) continue;
      lowest = std::min(lowest, delta);
      highest = std::max(highest, delta);
      if (rows % kDeltasPackedTogether != 1) continue;
      bits += kDeltasPackedTogether *
              std::bit_width(static_cast<std::uint64_t>(highest) - static_cast<std::uint64_t>(lowest));
      lowest = std::numeric_limits<std::int64_t>::max();
      highest = std::numeric_limits<std::int64_t>::lowest();
    }
  }
  return static_cast<double>(bits) / static_cast<double>(std::max<std::int64_t>(rows, 1));
}

// The sample's values of one column, one after the other.
std::string ColumnBytes(const Sample& sample, int column) {
  std::string bytes;
  for (const auto& batch : sample) {
    const arrow::Array& array = *batch->column(column);
    const int width = array.type()->byte_width();
    if (array.length() == 0) continue;
    if (width > 0) {
      const auto* values = array.data()->GetValues<char>(1, 0);
      bytes.append(values + array.offset() * width, static_cast<std::size_t>(array.length() * width));
    } else if (const auto& texts = static_cast<const arrow::BinaryArray&>(array); texts.value_data() != nullptr) {
      bytes.append(reinterpret_cast<const char*>(texts.value_data()->data()) + texts.value_offset(0),
                   static_cast<std::size_t>(texts.total_values_length()));
    }
    if (bytes.size() >= kTrialBytes) break;
  }
  bytes.resize(std::min(bytes.size(), kTrialBytes));
  return bytes;
}

Result<std::int64_t> CompressedSize(const std::string& bytes, const PageCompressor& compressor) {
  arrow::BufferBuilder compressed;
  return compressor.Compress(reinterpret_cast<const std::uint8_t*>(bytes.data()), std::ssize(bytes), &compressed);
}

// Whether the search for matches at `level` saves a tenth over LiteralsOnly().
Result<bool> MatchingPays(const std::string& bytes, int level) {
  ASSIGN_OR_RETURN(const std::int64_t with, CompressedSize(bytes, PageCompressor(level)));
  ASSIGN_OR_RETURN(const std::int64_t without, CompressedSize(bytes, PageCompressor(*LiteralsOnly())));
  return static_cast<double>(with) < 0.9 * static_cast<double>(without);
}

}  // namespace

std::shared_ptr<arrow::util::CodecOptions> LiteralsOnly() {
  // 1002 is ZSTD_c_literalCompressionMode, 1 enables it; negative levels would switch it off.
  auto options = std::make_shared<arrow::util::ZstdCodecOptions>();
  options->compression_level = -20;
  options->compression_context_params = {{1002, 1}};
  return options;
}

Result<ValueEncoding> ChooseEncoding(const Sample& sample, int column, int zstd_level) {
  if (sample.empty()) return ValueEncoding::kDictionary;
  const Distinct distinct = CountDistinct(sample, column);
  if (distinct.share() <= kSmallDictionaryShare) return ValueEncoding::kDictionary;
  const bool is_integer = IsIntegerInParquet(*sample.front()->schema()->field(column)->type());
  if (distinct.share() <= kDistinctShareMax) {
    // Times that rise: a difference takes less than even the index of a distinct value would.
    const auto index_bits = static_cast<double>(std::bit_width(static_cast<std::uint64_t>(distinct.values - 1)));
    const bool deltas_are_smaller = is_integer && DeltaBits(sample, column) < index_bits;
    return deltas_are_smaller ? ValueEncoding::kDelta : ValueEncoding::kDictionary;
  }
  if (is_integer) return ValueEncoding::kDelta;
  ASSIGN_OR_RETURN(const bool pays, MatchingPays(ColumnBytes(sample, column), zstd_level));
  return pays ? ValueEncoding::kPlain : ValueEncoding::kPlainLiterals;
}

}  // namespace millrace::delta
