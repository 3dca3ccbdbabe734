#include <arrow/compute/api.h>
#include <arrow/stl_allocator.h>
#include <arrow/util/decimal.h>
#include <parquet/exception.h>
#include <parquet/statistics.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

#include "delta/data/column_chunk_internal.h"
#include "delta/data/delta_packing_internal.h"
#include "delta/data/number_dictionary_internal.h"
#include "delta/data/text_dictionary_internal.h"

namespace millrace::delta {
namespace {

constexpr std::int64_t kPageBytesMax = 256 << 10;
// Rows that go into a page at once.
constexpr std::int64_t kStepRows = 4096;
// What a page takes for each index of a dictionary until it is packed.
constexpr std::int64_t kIndexBytes = sizeof(std::int32_t);
// Longer bounds are left out of the footer.
constexpr std::size_t kBoundBytesMax = 4096;

bool IsText(const arrow::DataType& type) {
  return type.id() == arrow::Type::STRING || type.id() == arrow::Type::BINARY;
}

template <typename T>
void AppendBytes(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// The lowest and the highest of the values of a chunk. NaN does not count; zeros are both zeros, as Parquet wants it.
template <typename T>
class ValueRange {
 public:
  void Widen(const T* values, std::size_t n) {
    T low = low_;
    T high = high_;
    for (std::size_t i = 0; i < n; ++i) {
      low = values[i] < low ? values[i] : low;
      high = values[i] > high ? values[i] : high;
    }
    low_ = low;
    high_ = high;
  }
  void Take(parquet::EncodedStatistics* statistics) {
    if (low_ <= high_) {
      if constexpr (std::is_floating_point_v<T>) {
        if (low_ == 0) low_ = -T{0};
        if (high_ == 0) high_ = T{0};
      }
      std::string low;
      std::string high;
      AppendBytes(low_, &low);
      AppendBytes(high_, &high);
      statistics->set_min(std::move(low)).set_max(std::move(high));
    }
    *this = ValueRange();
  }

 private:
  using Limits = std::numeric_limits<T>;
  static constexpr T kHighest = Limits::has_infinity ? Limits::infinity() : Limits::max();
  static constexpr T kLowest = Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
  T low_ = kHighest;
  T high_ = kLowest;
};

// int32, int64, float and double in the file. T: there; Stored: in Arrow's array.
template <typename T, typename Stored>
class NumberChunk final : public ColumnChunk {
 public:
  NumberChunk(std::string name, int leaf, const parquet::ColumnDescriptor& column,
              const parquet::WriterProperties& properties, ChunkContext& context)
      : ColumnChunk(std::move(name), leaf, column, properties, context),
        values_max_(properties.dictionary_pagesize_limit() / static_cast<std::int64_t>(sizeof(T))),
        values_(&context.pool),
        indices_(&context.pool),
        converted_(arrow::stl::allocator<T>(&context.pool)) {
    if (!use_dictionary_ && properties.encoding(column.path()) == parquet::Encoding::DELTA_BINARY_PACKED) {
      deltas_.emplace(&context.pool);
    }
    Begin();
  }

 protected:
  std::int64_t BytesOf(const arrow::Array&, std::int64_t begin, std::int64_t end) const override {
    return (end - begin) * (dictionary_ ? kIndexBytes : static_cast<std::int64_t>(sizeof(T)));
  }

  Result<std::int64_t> AppendValues(const arrow::Array& rows, std::int64_t begin, std::int64_t end) override {
    const Stored* const stored = rows.data()->GetValues<Stored>(1) + begin;
    const std::int64_t n = end - begin;
    const T* values = nullptr;
    std::int64_t num_values = n;
    if constexpr (std::is_same_v<T, Stored>) {
      if (rows.null_count() == 0) values = stored;
    }
    if (values == nullptr) {
      converted_.resize(static_cast<std::size_t>(n));
      num_values = 0;
      const bool has_nulls = rows.null_count() > 0;
      for (std::int64_t i = 0; i < n; ++i) {
        converted_[static_cast<std::size_t>(num_values)] = Converted(stored[i]);
        num_values += !has_nulls || rows.IsValid(begin + i);
      }
      values = converted_.data();
    }
    if (dictionary_) {
      ASSIGN_OR_RETURN(const std::int64_t added, AddToDictionary(values, num_values));
      return added < num_values ? RowAfter(rows, begin, added) : end;
    }
    range_.Widen(values, static_cast<std::size_t>(num_values));
    if constexpr (std::is_integral_v<T>) {
      if (deltas_) {
        RETURN_NOT_OK(deltas_->Add({values, static_cast<std::size_t>(num_values)}));
        return end;
      }
    }
    RETURN_NOT_OK(OpenPage(num_values * static_cast<std::int64_t>(sizeof(T))));
    values_.UnsafeAppend(values, num_values * static_cast<std::int64_t>(sizeof(T)));
    return end;
  }

  Result<arrow::BufferBuilder*> PageValues() override {
    if (!dictionary_ && !deltas_) {
      RETURN_NOT_OK(OpenPage(0));
      return &values_;
    }
    context_.scratch.Rewind(0);
    RETURN_NOT_OK(context_.scratch.Reserve(kValuesBegin));
    context_.scratch.UnsafeAdvance(kValuesBegin);
    if (dictionary_) {
      RETURN_NOT_OK(AppendIndices({indices_.data(), static_cast<std::size_t>(indices_.length())}, &context_.scratch));
    } else if constexpr (std::is_integral_v<T>) {
      RETURN_NOT_OK(deltas_->Finish(&context_.scratch));
    }
    return &context_.scratch;
  }
  void ClearPage() override {
    values_.Rewind(0);
    indices_.bytes_builder()->Rewind(0);
    if (full_ && dictionary_) {
      taken_ = std::move(dictionary_);
      dictionary_.reset();
    }
  }
  parquet::Encoding::type encoding() const override {
    if (dictionary_) return parquet::Encoding::RLE_DICTIONARY;
    return deltas_ ? parquet::Encoding::DELTA_BINARY_PACKED : parquet::Encoding::PLAIN;
  }

  Result<std::int32_t> TakeDictionary(arrow::BufferBuilder* out) override {
    const std::optional<NumberDictionary> dictionary = taken_ ? std::move(taken_) : std::move(dictionary_);
    Begin();
    if (!dictionary || dictionary->values().empty()) return 0;
    const auto num_values = static_cast<std::int32_t>(dictionary->values().size());
    RETURN_NOT_OK(out->Reserve(num_values * static_cast<std::int64_t>(sizeof(T))));
    for (const std::uint64_t bits : dictionary->values()) {
      T value;
      std::memcpy(&value, &bits, sizeof(value));
      range_.Widen(&value, 1);
      out->UnsafeAppend(&value, sizeof(value));
    }
    return num_values;
  }
  void TakeBounds(parquet::EncodedStatistics* statistics) override { range_.Take(statistics); }

 private:
  static T Converted(const Stored& value) {
    if constexpr (std::is_same_v<Stored, arrow::Decimal128>) {
      return static_cast<T>(static_cast<std::int64_t>(value.low_bits()));
    } else {
      return value;
    }
  }

  void Begin() {
    full_ = false;
    taken_.reset();
    dictionary_.reset();
    if (use_dictionary_) dictionary_.emplace(values_max_, &context_.pool);
  }

  Status OpenPage(std::int64_t bytes) {
    RETURN_NOT_OK(values_.Reserve(kValuesBegin + bytes));
    if (values_.length() == 0) values_.UnsafeAdvance(kValuesBegin);
    return Status::OK();
  }

  // How many; fewer than all: the dictionary is full.
  Result<std::int64_t> AddToDictionary(const T* values, std::int64_t num_values) {
    const std::int64_t length = indices_.length();
    RETURN_NOT_OK(indices_.Reserve(num_values));
    std::int32_t* const indices = indices_.mutable_data() + length;
    std::int64_t i = 0;
    for (; i < num_values; ++i) {
      std::uint64_t bits = 0;
      std::memcpy(&bits, &values[i], sizeof(T));
      const std::int32_t index = dictionary_->IndexOf(bits);
      if (index == NumberDictionary::kFull) {
        full_ = true;
        break;
      }
      indices[i] = index;
    }
    indices_.UnsafeAdvance(i);
    return i;
  }

  // The row behind so many values, nulls that follow included.
  static std::int64_t RowAfter(const arrow::Array& rows, std::int64_t begin, std::int64_t num_values) {
    std::int64_t row = begin;
    for (; rows.IsNull(row) || num_values > 0; ++row) num_values -= rows.IsValid(row);
    return row;
  }

  // Of floating point there are none.
  using Deltas = DeltaPacker<std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>>;

  const std::int64_t values_max_;
  std::optional<NumberDictionary> dictionary_;  // nullopt: the page is not of indices.
  std::optional<NumberDictionary> taken_;       // The dictionary, once it is full.
  bool full_ = false;
  arrow::BufferBuilder values_;
  arrow::TypedBufferBuilder<std::int32_t> indices_;
  std::optional<Deltas> deltas_;  // nullopt: the chunk is not of differences.
  std::vector<T, arrow::stl::allocator<T>> converted_;
  ValueRange<T> range_;
};

// utf8 and binary, and dictionaries of them.
class TextChunk final : public ColumnChunk {
 public:
  TextChunk(const arrow::Field& field, int leaf, bool is_nested, const parquet::ColumnDescriptor& column,
            const parquet::WriterProperties& properties, ChunkContext& context)
      : ColumnChunk(field.name(), leaf, column, properties, context),
        is_covered_(!is_nested && TextBounds::Covers(field)),
        bounds_schema_(arrow::schema({arrow::field("", arrow::utf8())})),
        bounds_(*bounds_schema_),
        values_(&context.pool) {
    Begin(0);
  }

 protected:
  Result<std::shared_ptr<arrow::Array>> Prepare(const std::shared_ptr<arrow::Array>& rows) override {
    if (rows->type_id() != arrow::Type::DICTIONARY) return rows;
    const auto& encoded = static_cast<const arrow::DictionaryArray&>(*rows);
    if (dictionary_ && encoded.indices()->type_id() == arrow::Type::INT32 && encoded.dictionary()->null_count() == 0) {
      return rows;
    }
    return arrow::compute::Cast(*rows, encoded.dictionary()->type());
  }

  std::int64_t BytesOf(const arrow::Array& rows, std::int64_t begin, std::int64_t end) const override {
    if (dictionary_) return (end - begin) * kIndexBytes;
    const auto& texts = static_cast<const arrow::BinaryArray&>(rows);
    return texts.value_offset(end) - texts.value_offset(begin) + (end - begin) * kLengthBytes;
  }

  Result<std::int64_t> AppendValues(const arrow::Array& rows, std::int64_t begin, std::int64_t end) override {
    if (dictionary_) {
      if (rows.type_id() == arrow::Type::DICTIONARY) {
        return dictionary_->Add(static_cast<const arrow::DictionaryArray&>(rows), begin, end);
      }
      return dictionary_->Add(static_cast<const arrow::BinaryArray&>(rows), begin, end);
    }
    const auto& texts = static_cast<const arrow::BinaryArray&>(rows);
    Observe(texts.Slice(begin, end - begin));
    RETURN_NOT_OK(OpenPage(texts.value_offset(end) - texts.value_offset(begin) + (end - begin) * kLengthBytes));
    const bool has_nulls = texts.null_count() > 0;
    std::uint8_t* const start = values_.mutable_data() + values_.length();
    std::uint8_t* at = start;
    for (std::int64_t i = begin; i < end; ++i) {
      if (has_nulls && texts.IsNull(i)) continue;
      const std::string_view text = texts.GetView(i);
      const auto length = static_cast<std::uint32_t>(text.size());
      std::memcpy(at, &length, sizeof(length));
      std::memcpy(at + sizeof(length), text.data(), text.size());
      at += sizeof(length) + text.size();
    }
    values_.UnsafeAdvance(at - start);
    return end;
  }

  Result<arrow::BufferBuilder*> PageValues() override {
    if (!dictionary_) {
      RETURN_NOT_OK(OpenPage(0));
      return &values_;
    }
    context_.scratch.Rewind(0);
    RETURN_NOT_OK(context_.scratch.Reserve(kValuesBegin));
    context_.scratch.UnsafeAdvance(kValuesBegin);
    RETURN_NOT_OK(AppendIndices(dictionary_->indices(), &context_.scratch));
    return &context_.scratch;
  }
  void ClearPage() override {
    values_.Rewind(0);
    if (!dictionary_) return;
    dictionary_->ClearIndices();
    if (!dictionary_->full()) return;
    taken_ = std::move(dictionary_);
    dictionary_.reset();
  }
  parquet::Encoding::type encoding() const override {
    return dictionary_ ? parquet::Encoding::RLE_DICTIONARY : parquet::Encoding::PLAIN;
  }

  Result<std::int32_t> TakeDictionary(arrow::BufferBuilder* out) override {
    std::optional<TextDictionary> dictionary = taken_ ? std::move(taken_) : std::move(dictionary_);
    // The next chunk has about as many.
    Begin(dictionary ? dictionary->num_texts() : 0);
    if (!dictionary) return 0;
    ASSIGN_OR_RETURN(const auto texts, dictionary->Take());
    Observe(texts);
    for (std::int64_t i = 0; i < texts->length(); ++i) {
      const std::string_view text = texts->GetView(i);
      const auto length = static_cast<std::uint32_t>(text.size());
      RETURN_NOT_OK(out->Append(&length, sizeof(length)));
      RETURN_NOT_OK(out->Append(text.data(), length));
    }
    return static_cast<std::int32_t>(texts->length());
  }
  void TakeBounds(parquet::EncodedStatistics* statistics) override {
    if (is_covered_) {
      context_.texts.AddNulls(leaf_, statistics->null_count - std::exchange(observed_nulls_, 0));
      return;
    }
    const TextBounds::Column& found = *bounds_.Find(0);
    if (found.min && found.min->size() <= kBoundBytesMax) statistics->set_min(*found.min);
    if (found.max && found.max->size() <= kBoundBytesMax) statistics->set_max(*found.max);
    bounds_ = TextBounds(*bounds_schema_);
  }

 private:
  static constexpr std::int64_t kLengthBytes = sizeof(std::uint32_t);

  void Begin(std::int64_t texts_expected) {
    taken_.reset();
    dictionary_.reset();
    if (use_dictionary_) dictionary_.emplace(&context_.pool, texts_expected);
  }

  Status OpenPage(std::int64_t bytes) {
    RETURN_NOT_OK(values_.Reserve(kValuesBegin + bytes));
    if (values_.length() == 0) values_.UnsafeAdvance(kValuesBegin);
    return Status::OK();
  }

  void Observe(const std::shared_ptr<arrow::Array>& texts) {
    const auto& rows = static_cast<const arrow::BinaryArray&>(*texts);
    if (is_covered_) {
      context_.texts.Observe(leaf_, rows);
      observed_nulls_ += rows.null_count();
    } else {
      bounds_.Observe(0, rows);
    }
  }

  const bool is_covered_;  // By the file's TextBounds.
  const std::shared_ptr<arrow::Schema> bounds_schema_;
  TextBounds bounds_;                         // Of the chunk, if it is not.
  std::int64_t observed_nulls_ = 0;           // Of the chunk, that the file's TextBounds know of.
  std::optional<TextDictionary> dictionary_;  // nullopt: the page is not of indices.
  std::optional<TextDictionary> taken_;       // The dictionary, once it is full.
  arrow::BufferBuilder values_;
};

// Bits of truth, and decimals of more digits than 64 bits have: plain.
class PlainChunk final : public ColumnChunk {
 public:
  PlainChunk(std::string name, int leaf, const parquet::ColumnDescriptor& column,
             const parquet::WriterProperties& properties, ChunkContext& context)
      : ColumnChunk(std::move(name), leaf, column, properties, context),
        is_bool_(column.physical_type() == parquet::Type::BOOLEAN),
        width_(column.type_length()),
        values_(&context.pool) {}

 protected:
  std::int64_t BytesOf(const arrow::Array&, std::int64_t begin, std::int64_t end) const override {
    return is_bool_ ? (end - begin + 7) / 8 : (end - begin) * width_;
  }

  Result<std::int64_t> AppendValues(const arrow::Array& rows, std::int64_t begin, std::int64_t end) override {
    for (std::int64_t i = begin; i < end; ++i) {
      if (rows.IsNull(i)) continue;
      if (is_bool_) {
        RETURN_NOT_OK(OpenPage());
        const std::int64_t bit = num_bits_++ % 8;
        if (bit == 0) RETURN_NOT_OK(values_.Append(std::int64_t{1}, std::uint8_t{0}));
        const auto value = static_cast<unsigned>(static_cast<const arrow::BooleanArray&>(rows).Value(i));
        values_.mutable_data()[values_.length() - 1] |= static_cast<std::uint8_t>(value << bit);
        continue;
      }
      const arrow::Decimal128 value(static_cast<const arrow::Decimal128Array&>(rows).GetValue(i));
      if (!low_ || value < *low_) low_ = value;
      if (!high_ || value > *high_) high_ = value;
      RETURN_NOT_OK(OpenPage());
      RETURN_NOT_OK(values_.Append(BigEndian(value)));
    }
    return end;
  }

  Result<arrow::BufferBuilder*> PageValues() override {
    RETURN_NOT_OK(OpenPage());
    return &values_;
  }
  void ClearPage() override {
    values_.Rewind(0);
    num_bits_ = 0;
  }
  parquet::Encoding::type encoding() const override { return parquet::Encoding::PLAIN; }
  Result<std::int32_t> TakeDictionary(arrow::BufferBuilder*) override { return 0; }
  void TakeBounds(parquet::EncodedStatistics* statistics) override {
    if (low_) statistics->set_min(BigEndian(*low_)).set_max(BigEndian(*high_));
    low_.reset();
    high_.reset();
  }

 private:
  Status OpenPage() {
    if (values_.length() > 0) return Status::OK();
    RETURN_NOT_OK(values_.Reserve(kValuesBegin));
    values_.UnsafeAdvance(kValuesBegin);
    return Status::OK();
  }

  std::string BigEndian(const arrow::Decimal128& value) const {
    const auto bytes = value.ToBytes();
    std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    std::reverse(text.begin(), text.end());
    return text.substr(text.size() - static_cast<std::size_t>(width_));
  }

  const bool is_bool_;
  const int width_;
  arrow::BufferBuilder values_;
  std::int64_t num_bits_ = 0;
  std::optional<arrow::Decimal128> low_;
  std::optional<arrow::Decimal128> high_;
};

}  // namespace

bool ColumnChunk::Writes(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::BOOL:
    case arrow::Type::INT8:
    case arrow::Type::INT16:
    case arrow::Type::INT32:
    case arrow::Type::INT64:
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
    case arrow::Type::DATE32:
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
    case arrow::Type::DECIMAL128:
      return true;
    case arrow::Type::TIMESTAMP:
      return static_cast<const arrow::TimestampType&>(type).unit() == arrow::TimeUnit::MICRO;
    case arrow::Type::DICTIONARY:
      return IsText(*static_cast<const arrow::DictionaryType&>(type).value_type());
    default:
      return false;
  }
}

Result<std::unique_ptr<ColumnChunk>> ColumnChunk::Make(const arrow::Field& field, int leaf, bool is_nested,
                                                       const parquet::ColumnDescriptor& column,
                                                       const parquet::WriterProperties& properties,
                                                       ChunkContext& context) {
  const auto make = [&]() -> std::unique_ptr<ColumnChunk> {
    const auto number = [&]<typename T, typename Stored>() {
      return std::make_unique<NumberChunk<T, Stored>>(field.name(), leaf, column, properties, context);
    };
    switch (field.type()->id()) {
      case arrow::Type::INT8:
        return number.operator()<std::int32_t, std::int8_t>();
      case arrow::Type::INT16:
        return number.operator()<std::int32_t, std::int16_t>();
      case arrow::Type::INT32:
      case arrow::Type::DATE32:
        return number.operator()<std::int32_t, std::int32_t>();
      case arrow::Type::INT64:
      case arrow::Type::TIMESTAMP:
        return number.operator()<std::int64_t, std::int64_t>();
      case arrow::Type::FLOAT:
        return number.operator()<float, float>();
      case arrow::Type::DOUBLE:
        return number.operator()<double, double>();
      case arrow::Type::DECIMAL128:
        if (column.physical_type() == parquet::Type::INT32) {
          return number.operator()<std::int32_t, arrow::Decimal128>();
        }
        if (column.physical_type() == parquet::Type::INT64) {
          return number.operator()<std::int64_t, arrow::Decimal128>();
        }
        return std::make_unique<PlainChunk>(field.name(), leaf, column, properties, context);
      case arrow::Type::BOOL:
        return std::make_unique<PlainChunk>(field.name(), leaf, column, properties, context);
      default:
        return std::make_unique<TextChunk>(field, leaf, is_nested, column, properties, context);
    }
  };
  auto chunk = make();
  chunk->is_nested_ = is_nested;
  return chunk;
}

ColumnChunk::ColumnChunk(std::string name, int leaf, const parquet::ColumnDescriptor& column,
                         const parquet::WriterProperties& properties, ChunkContext& context)
    : name_(std::move(name)),
      leaf_(leaf),
      column_(column),
      use_dictionary_(properties.dictionary_enabled(column.path())),
      context_(context),
      nullable_(column.max_definition_level() > 0),
      has_statistics_(properties.statistics_enabled(column.path())),
      compressor_(*properties.codec_options(column.path())),
      valid_(&context.pool) {}

Status ColumnChunk::Append(const std::shared_ptr<arrow::Array>& appended) {
  ASSIGN_OR_RETURN(auto rows, Prepare(appended));
  const std::int64_t num_nulls = rows->null_count();
  if (!nullable_ && num_nulls > 0) {
    return InvalidInput("column {} must not be null; {} of {} rows are", name_, num_nulls, rows->length());
  }
  num_nulls_ += num_nulls;
  for (std::int64_t begin = 0; begin < rows->length();) {
    const std::int64_t limit = std::min(begin + kStepRows, rows->length());
    const std::int64_t bytes = BytesOf(*rows, begin, limit);
    if (page_rows_ > 0 && page_bytes_ + bytes > kPageBytesMax) RETURN_NOT_OK(EndPage());
    ASSIGN_OR_RETURN(const std::int64_t end, AppendValues(*rows, begin, limit));
    const std::int64_t taken = end - begin;
    if (num_nulls > 0 || valid_.length() > 0) {
      RETURN_NOT_OK(valid_.Append(page_rows_ - valid_.length(), true));
      RETURN_NOT_OK(valid_.Reserve(taken));
      if (num_nulls > 0) {
        valid_.UnsafeAppend(rows->null_bitmap_data(), rows->offset() + begin, taken);
      } else {
        valid_.UnsafeAppend(taken, true);
      }
    }
    page_rows_ += taken;
    page_bytes_ += bytes;
    begin = end;
    if (end == limit) continue;
    // The rest is encoded in another way.
    RETURN_NOT_OK(EndPage());
    ASSIGN_OR_RETURN(rows, Prepare(rows));
  }
  return Status::OK();
}

Status ColumnChunk::Append(const LeafLevels& leaf) {
  ASSIGN_OR_RETURN(auto values, Prepare(leaf.values));
  const std::int32_t there = column_.max_definition_level();
  const std::size_t num_levels = leaf.definition.size();
  std::int64_t value = 0;
  for (std::size_t level = 0; level < num_levels;) {
    // Whole rows.
    std::size_t limit = std::min(level + kStepRows, num_levels);
    while (limit < num_levels && leaf.repetition[limit] != 0) ++limit;
    const auto of = [&](std::size_t at) { return leaf.definition.begin() + static_cast<std::ptrdiff_t>(at); };
    const std::int64_t value_limit = value + std::count(of(level), of(limit), there);
    const std::int64_t bytes = BytesOf(*values, value, value_limit) + static_cast<std::int64_t>(limit - level) / 4;
    if (page_rows_ > 0 && page_bytes_ + bytes > kPageBytesMax) RETURN_NOT_OK(EndPage());
    std::int64_t end = value;
    if (value < value_limit) {
      ASSIGN_OR_RETURN(end, AppendValues(*values, value, value_limit));
    }
    // Up to the first value that was not taken.
    std::size_t stop = level;
    for (std::int64_t left = end - value; stop < limit && (left > 0 || leaf.definition[stop] != there); ++stop) {
      left -= leaf.definition[stop] == there;
    }
    definition_.insert(definition_.end(), of(level), of(stop));
    repetition_.insert(repetition_.end(), leaf.repetition.begin() + static_cast<std::ptrdiff_t>(level),
                       leaf.repetition.begin() + static_cast<std::ptrdiff_t>(stop));
    const auto taken = static_cast<std::int64_t>(stop - level);
    num_nulls_ += taken - (end - value);
    page_rows_ += taken;
    page_bytes_ += bytes;
    level = stop;
    value = end;
    if (value == value_limit) continue;
    // The rest is encoded in another way.
    RETURN_NOT_OK(EndPage());
    ASSIGN_OR_RETURN(values, Prepare(values));
  }
  return Status::OK();
}

Status ColumnChunk::AppendNestedLevels(arrow::BufferBuilder* out) const {
  if (column_.max_repetition_level() > 0) {
    RETURN_NOT_OK(AppendLevels(repetition_, column_.max_repetition_level(), out));
  }
  if (column_.max_definition_level() == 0) return Status::OK();
  return AppendLevels(definition_, column_.max_definition_level(), out);
}

Status ColumnChunk::EndPage() {
  if (page_rows_ == 0) {
    ClearPage();
    return Status::OK();
  }
  PageHeader header{.num_values = static_cast<std::int32_t>(page_rows_), .encoding = encoding()};
  ASSIGN_OR_RETURN(arrow::BufferBuilder* const values, PageValues());
  std::uint8_t* body = values->mutable_data() + kValuesBegin;
  std::int64_t size = values->length() - kValuesBegin;
  arrow::BufferBuilder whole(&context_.pool);
  if (is_nested_) {
    RETURN_NOT_OK(AppendNestedLevels(&whole));
    RETURN_NOT_OK(whole.Append(body, size));
    body = whole.mutable_data();
    size = whole.length();
    definition_.clear();
    repetition_.clear();
  } else if (nullable_ && valid_.length() > 0) {
    RETURN_NOT_OK(AppendLevels(valid_.data(), page_rows_, &whole));
    RETURN_NOT_OK(whole.Append(body, size));
    body = whole.mutable_data();
    size = whole.length();
    valid_.Reset();
  } else if (nullable_) {
    std::uint8_t* const begin = PutFullLevels(page_rows_, body);
    size += body - begin;
    body = begin;
  }
  ASSIGN_OR_RETURN(pages_.emplace_back(), Compress(header, body, size));
  ++encodings_[header.encoding];
  num_rows_ += page_rows_;
  page_rows_ = 0;
  page_bytes_ = 0;
  ClearPage();
  return Status::OK();
}

Result<std::shared_ptr<arrow::Buffer>> ColumnChunk::Compress(PageHeader header, const std::uint8_t* body,
                                                             std::int64_t size) {
  auto& compressed = context_.compressed;
  ASSIGN_OR_RETURN(const std::int64_t length, compressor_.Compress(body, size, &compressed));
  if (size > std::numeric_limits<std::int32_t>::max() || length > std::numeric_limits<std::int32_t>::max()) {
    return InvalidInput("column {}: a page of {} bytes is too large", name_, size);
  }
  header.uncompressed_bytes = static_cast<std::int32_t>(size);
  header.compressed_bytes = static_cast<std::int32_t>(length);
  const HeaderBytes encoded = Encode(header);
  uncompressed_bytes_ += static_cast<std::int64_t>(encoded.size) + size;
  ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> page,
                   arrow::AllocateBuffer(static_cast<std::int64_t>(encoded.size) + length, &context_.pool));
  std::memcpy(page->mutable_data(), encoded.bytes.data(), encoded.size);
  std::memcpy(page->mutable_data() + encoded.size, compressed.data(), static_cast<std::size_t>(length));
  return page;
}

Result<std::int64_t> ColumnChunk::Finish(parquet::ColumnChunkMetaDataBuilder& metadata, objectstore::Upload& file) {
  RETURN_NOT_OK(EndPage());
  ASSIGN_OR_RETURN(const std::int64_t begin, file.Tell());
  context_.scratch.Rewind(0);
  ASSIGN_OR_RETURN(const std::int32_t num_texts, TakeDictionary(&context_.scratch));
  const bool has_dictionary = encodings_.contains(parquet::Encoding::RLE_DICTIONARY);
  std::map<parquet::Encoding::type, std::int32_t> dictionary_encodings;
  std::int64_t compressed_bytes = 0;
  const auto write = [&](const arrow::Buffer& page) {
    compressed_bytes += page.size();
    return file.Write(page.data(), page.size());
  };
  if (has_dictionary) {
    ASSIGN_OR_RETURN(const auto page, Compress({.is_dictionary = true, .num_values = num_texts},
                                               context_.scratch.data(), context_.scratch.length()));
    RETURN_NOT_OK(write(*page));
    dictionary_encodings[parquet::Encoding::PLAIN] = 1;
  }
  const std::int64_t data_begin = begin + compressed_bytes;
  for (auto& page : pages_) {
    RETURN_NOT_OK(write(*page));
    page.reset();
  }
  parquet::EncodedStatistics statistics;
  statistics.set_is_signed(column_.sort_order() == parquet::SortOrder::SIGNED);
  statistics.set_null_count(num_nulls_);
  TakeBounds(&statistics);
  const bool fell_back = has_dictionary && encodings_.contains(parquet::Encoding::PLAIN);
  PARQUET_CATCH_NOT_OK({
    if (has_statistics_) metadata.SetStatistics(statistics);
    metadata.Finish(num_rows_, has_dictionary ? begin : 0, -1, data_begin, compressed_bytes, uncompressed_bytes_,
                    has_dictionary, fell_back, dictionary_encodings, encodings_);
  });
  pages_.clear();
  num_rows_ = 0;
  num_nulls_ = 0;
  uncompressed_bytes_ = 0;
  encodings_.clear();
  return compressed_bytes;
}

}  // namespace millrace::delta
