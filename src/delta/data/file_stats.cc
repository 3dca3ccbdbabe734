#include "delta/data/file_stats.h"

#include <arrow/util/decimal.h>
#include <fmt/format.h>
#include <parquet/metadata.h>
#include <parquet/statistics.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#include "delta/text/json_text.h"
#include "delta/text/time_text.h"

namespace millrace::delta {
namespace {

constexpr std::size_t kCodePointsMax = 32;

bool IsNested(const arrow::DataType& type) {
  return type.id() == arrow::Type::LIST || type.id() == arrow::Type::MAP || type.id() == arrow::Type::STRUCT;
}

int CountLeaves(const arrow::DataType& type) {
  if (!IsNested(type)) return 1;
  int n = 0;
  for (const auto& field : type.fields()) n += CountLeaves(*field->type());
  return n;
}

// A loop without an early exit, so that it becomes SIMD: is any value's exponent all ones with a fraction?
template <typename Bits, Bits kInfinity>
bool AnyNan(const void* values, std::int64_t n) {
  const char* p = static_cast<const char*>(values);
  Bits found = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    Bits bits;
    std::memcpy(&bits, p + i * static_cast<std::int64_t>(sizeof(Bits)), sizeof(Bits));
    found |= static_cast<Bits>((bits & static_cast<Bits>(~(Bits{1} << (sizeof(Bits) * 8 - 1)))) > kInfinity);
  }
  return found != 0;
}

void ObserveArray(const arrow::Array& array, std::vector<bool>& has_nan, std::size_t& leaf) {
  switch (array.type_id()) {
    case arrow::Type::STRUCT: {
      const auto& members = static_cast<const arrow::StructArray&>(array);
      for (int i = 0; i < members.num_fields(); ++i) ObserveArray(*members.field(i), has_nan, leaf);
      return;
    }
    case arrow::Type::DOUBLE:
      if (AnyNan<std::uint64_t, 0x7FF0'0000'0000'0000>(static_cast<const arrow::DoubleArray&>(array).raw_values(),
                                                       array.length())) {
        has_nan[leaf] = true;
      }
      break;
    case arrow::Type::FLOAT:
      if (AnyNan<std::uint32_t, 0x7F80'0000>(static_cast<const arrow::FloatArray&>(array).raw_values(),
                                             array.length())) {
        has_nan[leaf] = true;
      }
      break;
    default:
      break;
  }
  leaf += static_cast<std::size_t>(CountLeaves(*array.type()));
}

// The first sixteen bytes as a number that orders as the bytes do; shorter texts are filled up with zeros.
__extension__ using Prefix = unsigned __int128;
constexpr std::size_t kPrefixBytes = sizeof(Prefix);

// Eight of these bytes, of which `size` count. All eight can be read, whatever lies after the text's end.
std::uint64_t EightOf(const char* text, std::size_t size) {
  std::uint64_t word;
  std::memcpy(&word, text, sizeof(word));
  word = __builtin_bswap64(word);
  // Shifted twice, because a shift by all 64 bits at once is none.
  return size >= 8 ? word : word & ~(~std::uint64_t{0} >> 4 * size >> 4 * size);
}

Prefix PrefixOf(std::string_view text) {
  std::array<char, kPrefixBytes> bytes{};
  std::copy_n(text.data(), std::min(text.size(), kPrefixBytes), bytes.data());
  return Prefix{EightOf(bytes.data(), 8)} << 64 | EightOf(bytes.data() + 8, 8);
}

// A bound that is widened as values pass. The value itself stays in the batch until the batch ends.
class Extreme {
 public:
  explicit Extreme(std::string_view text) : text_(text), prefix_(PrefixOf(text)) {}
  std::uint64_t first8() const { return static_cast<std::uint64_t>(prefix_ >> 64); }
  Prefix prefix() const { return prefix_; }
  std::string_view text() const { return text_; }
  // Certain when true; long texts are not looked at to their end.
  bool Is(std::string_view text, Prefix prefix) const {
    return prefix == prefix_ && text.size() == text_.size() && text.size() <= kPrefixBytes;
  }

 private:
  std::string_view text_;
  Prefix prefix_;
};

void ObserveTexts(const arrow::BinaryArray& array, TextBounds::Column& column) {
  const bool has_nulls = array.null_count() > 0;
  column.num_nulls += array.null_count();
  std::int64_t i = 0;
  while (i < array.length() && has_nulls && array.IsNull(i)) ++i;
  if (i == array.length()) return;
  Extreme min(column.min ? std::string_view(*column.min) : array.GetView(i));
  Extreme max(column.max ? std::string_view(*column.max) : array.GetView(i));
  const auto& bytes = array.value_data();
  const char* const end = bytes == nullptr ? nullptr : reinterpret_cast<const char*>(bytes->data()) + bytes->size();
  for (; i < array.length(); ++i) {
    const std::string_view text = array.GetView(i);
    Prefix prefix;
    if (static_cast<std::size_t>(end - text.data()) >= kPrefixBytes) [[likely]] {
      const std::uint64_t first = EightOf(text.data(), text.size());
      if (first > min.first8() && first < max.first8()) continue;
      prefix = Prefix{first} << 64 | (text.size() > 8 ? EightOf(text.data() + 8, text.size() - 8) : 0);
    } else {
      prefix = PrefixOf(text);
    }
    if (prefix > min.prefix() && prefix < max.prefix()) continue;
    if (min.Is(text, prefix) || max.Is(text, prefix) || (has_nulls && array.IsNull(i))) continue;
    // Only equal prefixes need the whole text: zeros within it count as much as its end does.
    if (prefix < min.prefix() || (prefix == min.prefix() && text < min.text())) min = Extreme(text);
    if (prefix > max.prefix() || (prefix == max.prefix() && text > max.text())) max = Extreme(text);
  }
  // Assigned at the end, and each only if it moved: until then the views may point into these very strings.
  if (!column.min || *column.min != min.text()) column.min = std::string(min.text());
  if (!column.max || *column.max != max.text()) column.max = std::string(max.text());
}

bool HasFloat(const arrow::DataType& type) {
  if (type.id() == arrow::Type::DOUBLE || type.id() == arrow::Type::FLOAT) return true;
  return std::any_of(type.fields().begin(), type.fields().end(), [](const auto& f) { return HasFloat(*f->type()); });
}

// JSON text of one column's bounds; nullopt: leave out.
struct Bounds {
  std::optional<std::string> min;
  std::optional<std::string> max;
};

template <typename T>
std::optional<std::string> FloatText(T value) {
  if (!std::isfinite(value)) return std::nullopt;
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  std::string text(buffer.data(), end);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::optional<std::string> QuotedIf(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  return Quoted(*text);
}

std::optional<std::string> IntegerText(std::int64_t value, const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::DATE32:
      return QuotedIf(FormatDate(value));
    case arrow::Type::TIMESTAMP:
      return QuotedIf(FormatTimestampMillis(value, !static_cast<const arrow::TimestampType&>(type).timezone().empty()));
    case arrow::Type::DECIMAL128:
      return arrow::Decimal128(value).ToString(static_cast<const arrow::Decimal128Type&>(type).scale());
    default:
      return std::to_string(value);
  }
}

std::optional<std::string> BytesText(std::string_view bytes, const arrow::DataType& type, bool is_max) {
  if (type.id() == arrow::Type::STRING) return QuotedIf(is_max ? UpperBound(bytes) : LowerBound(bytes));
  if (type.id() != arrow::Type::DECIMAL128) return std::nullopt;
  const auto decimal = arrow::Decimal128::FromBigEndian(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                                        static_cast<std::int32_t>(bytes.size()));
  if (!decimal.ok()) return std::nullopt;
  return decimal->ToString(static_cast<const arrow::Decimal128Type&>(type).scale());
}

// Decimal128::ToString may use an exponent for great scales; "0E-38" is JSON too, but not for every reader of decimals.
std::optional<std::string> PlainDecimal(std::optional<std::string> text) {
  if (text && text->find('E') != std::string::npos) return std::nullopt;
  return text;
}

// Reads the bounds of one column over all row groups with the given statistics class.
template <typename Statistics, typename Format>
Bounds MergeGroups(const std::vector<std::shared_ptr<parquet::Statistics>>& groups, Format format) {
  const Statistics* lowest = nullptr;
  const Statistics* highest = nullptr;
  for (const auto& group : groups) {
    const auto& typed = static_cast<const Statistics&>(*group);
    if (!typed.HasMinMax()) continue;  // All null; the caller has looked.
    if (lowest == nullptr) {
      lowest = highest = &typed;
      continue;
    }
    if (format.Less(typed.min(), lowest->min())) lowest = &typed;
    if (format.Less(highest->max(), typed.max())) highest = &typed;
  }
  if (lowest == nullptr) return {};
  return {format.Text(lowest->min(), false), format.Text(highest->max(), true)};
}

template <typename T>
struct NumberFormat {
  const arrow::DataType& type;
  bool Less(T a, T b) const { return a < b; }
  std::optional<std::string> Text(T value, bool) const {
    if constexpr (std::is_floating_point_v<T>) {
      return FloatText(value);
    } else {
      return PlainDecimal(IntegerText(value, type));
    }
  }
};

struct ByteArrayFormat {
  const arrow::DataType& type;
  static std::string_view View(const parquet::ByteArray& value) {
    return {reinterpret_cast<const char*>(value.ptr), value.len};
  }
  bool Less(const parquet::ByteArray& a, const parquet::ByteArray& b) const { return View(a) < View(b); }
  std::optional<std::string> Text(const parquet::ByteArray& value, bool is_max) const {
    return BytesText(View(value), type, is_max);
  }
};

// Big-endian two's complement of a decimal.
struct FixedFormat {
  const arrow::DataType& type;
  std::size_t width;
  arrow::Decimal128 Value(const parquet::FixedLenByteArray& value) const {
    return arrow::Decimal128::FromBigEndian(value.ptr, static_cast<std::int32_t>(width)).ValueOr(arrow::Decimal128());
  }
  bool Less(const parquet::FixedLenByteArray& a, const parquet::FixedLenByteArray& b) const {
    return Value(a) < Value(b);
  }
  std::optional<std::string> Text(const parquet::FixedLenByteArray& value, bool is_max) const {
    return PlainDecimal(BytesText({reinterpret_cast<const char*>(value.ptr), width}, type, is_max));
  }
};

class StatsWriter {
 public:
  StatsWriter(const parquet::FileMetaData& footer, const NanTracker& nans, const TextBounds& texts,
              const StatsColumns& columns)
      : footer_(footer), nans_(nans), texts_(texts), columns_(columns), num_others_(columns.num_others) {}

  void Field(const arrow::Field& field) { Visit(field, min_, max_, nulls_); }

  std::string Finish() {
    return fmt::format(R"({{"numRecords":{},"minValues":{{{}}},"maxValues":{{{}}},"nullCount":{{{}}}}})",
                       footer_.num_rows(), min_, max_, nulls_);
  }

 private:
  static void AppendMember(std::string& out, const std::string& name, const std::string& json) {
    if (!out.empty()) out += ',';
    AppendQuoted(out, name);
    out += ':';
    out += json;
  }

  void Visit(const arrow::Field& field, std::string& min, std::string& max, std::string& nulls) {
    const arrow::DataType* type = field.type().get();
    if (type->id() == arrow::Type::DICTIONARY)
      type = static_cast<const arrow::DictionaryType*>(type)->value_type().get();
    if (type->id() == arrow::Type::STRUCT) {
      std::string inner_min;
      std::string inner_max;
      std::string inner_nulls;
      path_.push_back(field.name());
      for (const auto& member : type->fields()) Visit(*member, inner_min, inner_max, inner_nulls);
      path_.pop_back();
      if (!inner_min.empty()) AppendMember(min, field.name(), "{" + inner_min + "}");
      if (!inner_max.empty()) AppendMember(max, field.name(), "{" + inner_max + "}");
      if (!inner_nulls.empty()) AppendMember(nulls, field.name(), "{" + inner_nulls + "}");
      return;
    }
    const int leaf = next_leaf_;
    next_leaf_ += CountLeaves(*type);
    if (!IsIndexed(field.name()) || IsNested(*type)) return;
    if (const TextBounds::Column* text = texts_.Find(leaf); text != nullptr) {
      AppendMember(nulls, field.name(), std::to_string(text->num_nulls));
      if (!text->min) return;
      if (const auto bound = BytesText(*text->min, *type, false)) AppendMember(min, field.name(), *bound);
      if (const auto bound = BytesText(*text->max, *type, true)) AppendMember(max, field.name(), *bound);
      return;
    }

    std::vector<std::shared_ptr<parquet::Statistics>> groups;
    std::int64_t null_count = 0;
    bool bounds_known = true;
    for (int g = 0; g < footer_.num_row_groups(); ++g) {
      const auto chunk = footer_.RowGroup(g)->ColumnChunk(leaf);
      const auto statistics = chunk->statistics();
      if (statistics == nullptr || !statistics->HasNullCount()) return;
      null_count += statistics->null_count();
      // Without bounds although there are values: too long for the footer, or NaN only.
      if (!statistics->HasMinMax() && statistics->null_count() < chunk->num_values()) bounds_known = false;
      groups.push_back(statistics);
    }
    AppendMember(nulls, field.name(), std::to_string(null_count));
    if (!bounds_known || nans_.Has(leaf)) return;
    const Bounds bounds = BoundsOf(groups, *type, leaf);
    if (bounds.min) AppendMember(min, field.name(), *bounds.min);
    if (bounds.max) AppendMember(max, field.name(), *bounds.max);
  }

  bool IsIndexed(const std::string& name) {
    path_.push_back(name);
    const bool listed = columns_.leaves.contains(path_);
    path_.pop_back();
    return listed || num_others_-- > 0;
  }

  Bounds BoundsOf(const std::vector<std::shared_ptr<parquet::Statistics>>& groups, const arrow::DataType& type,
                  int leaf) const {
    const parquet::ColumnDescriptor& column = *footer_.schema()->Column(leaf);
    switch (column.physical_type()) {
      case parquet::Type::INT32:
        return MergeGroups<parquet::Int32Statistics>(groups, NumberFormat<std::int32_t>{type});
      case parquet::Type::INT64:
        return MergeGroups<parquet::Int64Statistics>(groups, NumberFormat<std::int64_t>{type});
      case parquet::Type::FLOAT:
        return MergeGroups<parquet::FloatStatistics>(groups, NumberFormat<float>{type});
      case parquet::Type::DOUBLE:
        return MergeGroups<parquet::DoubleStatistics>(groups, NumberFormat<double>{type});
      case parquet::Type::BYTE_ARRAY:
        return MergeGroups<parquet::ByteArrayStatistics>(groups, ByteArrayFormat{type});
      case parquet::Type::FIXED_LEN_BYTE_ARRAY:
        return MergeGroups<parquet::FLBAStatistics>(groups,
                                                    FixedFormat{type, static_cast<std::size_t>(column.type_length())});
      default:
        return {};
    }
  }

  const parquet::FileMetaData& footer_;
  const NanTracker& nans_;
  const TextBounds& texts_;
  const StatsColumns& columns_;
  std::int32_t num_others_;  // Left.
  StatsColumns::Path path_;  // Of the struct that is visited.
  int next_leaf_ = 0;        // Of the file.
  std::string min_;
  std::string max_;
  std::string nulls_;
};

// Bytes of the first `count` code points of valid UTF-8.
std::size_t PrefixBytes(std::string_view text, std::size_t count) {
  std::size_t i = 0;
  while (i < text.size()) {
    const bool starts = (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
    if (starts && count-- == 0) break;
    ++i;
  }
  return i;
}

}  // namespace

NanTracker::NanTracker(const arrow::Schema& schema) {
  std::size_t leaves = 0;
  for (const auto& field : schema.fields()) {
    leaves += static_cast<std::size_t>(CountLeaves(*field->type()));
    any_float_ = any_float_ || HasFloat(*field->type());
  }
  has_nan_.resize(leaves);
}

void NanTracker::Observe(const arrow::RecordBatch& batch) {
  if (!any_float_) return;
  std::size_t leaf = 0;
  for (const auto& column : batch.columns()) ObserveArray(*column, has_nan_, leaf);
}

TextBounds::TextBounds(const arrow::Schema& schema) {
  int leaf = 0;
  for (const auto& field : schema.fields()) {
    if (Covers(*field)) columns_.push_back({.leaf = leaf, .num_nulls = 0, .min = {}, .max = {}});
    leaf += CountLeaves(*field->type());
  }
}

bool TextBounds::Covers(const arrow::Field& field) { return field.type()->id() == arrow::Type::STRING; }

void TextBounds::Observe(const arrow::RecordBatch& batch) {
  auto column = columns_.begin();
  for (int i = 0; i < batch.num_columns(); ++i) {
    if (!Covers(*batch.schema()->field(i))) continue;
    ObserveTexts(static_cast<const arrow::StringArray&>(*batch.column(i)), *column++);
  }
}

void TextBounds::Observe(int leaf, const arrow::BinaryArray& rows) { ObserveTexts(rows, At(leaf)); }

void TextBounds::AddNulls(int leaf, std::int64_t num_nulls) { At(leaf).num_nulls += num_nulls; }

TextBounds::Column& TextBounds::At(int leaf) {
  return *std::find_if(columns_.begin(), columns_.end(), [leaf](const Column& c) { return c.leaf == leaf; });
}

const TextBounds::Column* TextBounds::Find(int leaf) const {
  const auto at = std::find_if(columns_.begin(), columns_.end(), [leaf](const Column& c) { return c.leaf == leaf; });
  return at == columns_.end() ? nullptr : &*at;
}

std::string StatsJson(const arrow::Schema& schema, const parquet::FileMetaData& footer, const NanTracker& nans,
                      const TextBounds& texts, const StatsColumns& columns) {
  StatsWriter writer(footer, nans, texts, columns);
  for (const auto& field : schema.fields()) writer.Field(*field);
  return writer.Finish();
}

std::optional<std::string> LowerBound(std::string_view text) {
  if (!simdjson::validate_utf8(text.data(), text.size())) return std::nullopt;
  return std::string(text.substr(0, PrefixBytes(text, kCodePointsMax)));
}

std::optional<std::string> UpperBound(std::string_view text) {
  if (!simdjson::validate_utf8(text.data(), text.size())) return std::nullopt;
  const std::size_t size = PrefixBytes(text, kCodePointsMax);
  std::string bound(text.substr(0, size));
  if (size == text.size()) return bound;
  const std::string_view rest = text.substr(size);
  constexpr std::string_view kGreatest = "\xF4\x8F\xBF\xBF";  // U+10FFFF
  if (static_cast<unsigned char>(rest[0]) < 0x7F) {
    bound += '\x7F';
  } else if (!rest.starts_with(kGreatest)) {
    bound += kGreatest;
  } else {
    return std::nullopt;
  }
  return bound;
}

}  // namespace millrace::delta
