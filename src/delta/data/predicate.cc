#include "delta/data/predicate.h"

#include <arrow/array.h>
#include <arrow/util/bitmap_ops.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <tuple>
#include <utility>

#include "delta/text/time_text.h"

namespace millrace::delta {
namespace {

bool IsFloating(const arrow::DataType& type) {
  return type.id() == arrow::Type::FLOAT || type.id() == arrow::Type::DOUBLE;
}

template <typename T>
std::optional<Value> NumberFromText(const std::string& text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// kEqual to kGreaterEqual.
bool Holds(const Value& left, Comparator comparator, const Value& right) {
  switch (comparator) {
    case Comparator::kEqual:
      return left == right;
    case Comparator::kNotEqual:
      return left != right;
    case Comparator::kLess:
      return left < right;
    case Comparator::kLessEqual:
      return left <= right;
    case Comparator::kGreater:
      return left > right;
    case Comparator::kGreaterEqual:
      return left >= right;
    default:
      return false;
  }
}

using Bits = std::shared_ptr<arrow::Buffer>;

// `length` bits, of which bit i is test(i).
template <typename Test>
Result<Bits> MakeBits(std::int64_t length, Test test) {
  ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> bits, arrow::AllocateBuffer((length + 63) / 64 * 8));
  auto* words = reinterpret_cast<std::uint64_t*>(bits->mutable_data());
  for (std::int64_t base = 0; base < length; base += 64) {
    std::uint64_t word = 0;
    const std::int64_t end = std::min<std::int64_t>(64, length - base);
    for (std::int64_t i = 0; i < end; ++i) word |= static_cast<std::uint64_t>(test(base + i)) << i;
    words[base / 64] = word;
  }
  return bits;
}

// Calls `use` with a function object that compares in the sense of `comparator` (kEqual to kGreaterEqual).
template <typename Use>
auto WithComparator(Comparator comparator, Use use) {
  switch (comparator) {
    case Comparator::kNotEqual:
      return use(std::not_equal_to<>());
    case Comparator::kLess:
      return use(std::less<>());
    case Comparator::kLessEqual:
      return use(std::less_equal<>());
    case Comparator::kGreater:
      return use(std::greater<>());
    case Comparator::kGreaterEqual:
      return use(std::greater_equal<>());
    default:
      return use(std::equal_to<>());
  }
}

// `value_at(i)` against each constant; nulls are anything.
template <typename T, typename ValueAt>
Result<Bits> CompareAll(const Comparison& comparison, std::int64_t length, ValueAt value_at) {
  if (comparison.comparator == Comparator::kIn) {
    std::vector<T> constants;
    for (const auto& value : comparison.values) constants.push_back(std::get<T>(value));
    return MakeBits(length, [&](std::int64_t i) {
      return std::find(constants.begin(), constants.end(), value_at(i)) != constants.end();
    });
  }
  const T constant = std::get<T>(comparison.values.front());
  return WithComparator(comparison.comparator, [&](auto compare) {
    return MakeBits(length, [&](std::int64_t i) { return compare(value_at(i), constant); });
  });
}

template <typename ArrayType>
Result<Bits> CompareIntegers(const arrow::Array& array, const Comparison& comparison) {
  const auto* values = static_cast<const ArrayType&>(array).raw_values();
  return CompareAll<std::int64_t>(comparison, array.length(),
                                  [values](std::int64_t i) -> std::int64_t { return values[i]; });
}

// NaN is above every number and equals none.
template <typename ArrayType>
Result<Bits> CompareFloating(const arrow::Array& array, const Comparison& comparison) {
  const auto* values = static_cast<const ArrayType&>(array).raw_values();
  if (comparison.comparator == Comparator::kIn) {
    return CompareAll<double>(comparison, array.length(), [values](std::int64_t i) -> double { return values[i]; });
  }
  const bool if_nan = comparison.comparator == Comparator::kNotEqual || comparison.comparator == Comparator::kGreater ||
                      comparison.comparator == Comparator::kGreaterEqual;
  const double constant = std::get<double>(comparison.values.front());
  return WithComparator(comparison.comparator, [&](auto compare) {
    return MakeBits(array.length(), [&](std::int64_t i) {
      const double value = values[i];
      return value != value ? if_nan : compare(value, constant);
    });
  });
}

Result<Bits> CompareRows(const arrow::Array& array, const Comparison& comparison) {
  switch (array.type_id()) {
    case arrow::Type::BOOL: {
      const auto& values = static_cast<const arrow::BooleanArray&>(array);
      return CompareAll<std::int64_t>(comparison, array.length(),
                                      [&](std::int64_t i) -> std::int64_t { return values.Value(i); });
    }
    case arrow::Type::INT8:
      return CompareIntegers<arrow::Int8Array>(array, comparison);
    case arrow::Type::INT16:
      return CompareIntegers<arrow::Int16Array>(array, comparison);
    case arrow::Type::INT32:
      return CompareIntegers<arrow::Int32Array>(array, comparison);
    case arrow::Type::INT64:
      return CompareIntegers<arrow::Int64Array>(array, comparison);
    case arrow::Type::DATE32:
      return CompareIntegers<arrow::Date32Array>(array, comparison);
    case arrow::Type::TIMESTAMP:
      return CompareIntegers<arrow::TimestampArray>(array, comparison);
    case arrow::Type::FLOAT:
      return CompareFloating<arrow::FloatArray>(array, comparison);
    case arrow::Type::DOUBLE:
      return CompareFloating<arrow::DoubleArray>(array, comparison);
    case arrow::Type::STRING: {
      const auto& values = static_cast<const arrow::StringArray&>(array);
      return CompareAll<std::string>(comparison, array.length(), [&](std::int64_t i) { return values.GetView(i); });
    }
    case arrow::Type::DECIMAL128: {
      const auto& values = static_cast<const arrow::Decimal128Array&>(array);
      return CompareAll<arrow::Decimal128>(comparison, array.length(),
                                           [&](std::int64_t i) { return arrow::Decimal128(values.GetValue(i)); });
    }
    default:
      return InvalidInput("column '{}' of type {} cannot be compared", comparison.column, array.type()->ToString());
  }
}

}  // namespace

bool IsComparable(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::BOOL:
    case arrow::Type::INT8:
    case arrow::Type::INT16:
    case arrow::Type::INT32:
    case arrow::Type::INT64:
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
    case arrow::Type::STRING:
    case arrow::Type::DATE32:
    case arrow::Type::TIMESTAMP:
    case arrow::Type::DECIMAL128:
      return true;
    default:
      return false;
  }
}

Status CheckComparison(const Comparison& comparison, const arrow::DataType& type) {
  if (comparison.comparator == Comparator::kIsNull || comparison.comparator == Comparator::kIsNotNull) {
    return Status::OK();
  }
  if (!IsComparable(type)) {
    return InvalidInput("column '{}' of type {} cannot be compared", comparison.column, type.ToString());
  }
  if (comparison.comparator != Comparator::kIn && comparison.values.size() != 1) {
    return InvalidInput("the comparison of column '{}' needs one value", comparison.column);
  }
  const Value example = type.id() == arrow::Type::STRING       ? Value(std::string())
                        : type.id() == arrow::Type::DECIMAL128 ? Value(arrow::Decimal128())
                        : IsFloating(type)                     ? Value(0.0)
                                                               : Value(std::int64_t{0});
  for (const auto& value : comparison.values) {
    const auto* number = std::get_if<double>(&value);
    if (value.index() != example.index() || (number != nullptr && std::isnan(*number))) {
      return InvalidInput("a value that column '{}' of type {} is compared with is not of that type", comparison.column,
                          type.ToString());
    }
  }
  return Status::OK();
}

std::optional<Value> ValueFromText(const std::string& text, const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::BOOL:
      if (text != "true" && text != "false") return std::nullopt;
      return std::int64_t{text == "true"};
    case arrow::Type::INT8:
    case arrow::Type::INT16:
    case arrow::Type::INT32:
    case arrow::Type::INT64:
      return NumberFromText<std::int64_t>(text);
    case arrow::Type::FLOAT: {
      // As a float first: what is compared are the column's values, not their decimal spellings.
      float value = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (error != std::errc() || end != text.data() + text.size() || std::isnan(value)) return std::nullopt;
      return double{value};
    }
    case arrow::Type::DOUBLE: {
      const auto value = NumberFromText<double>(text);
      return value && std::isnan(std::get<double>(*value)) ? std::nullopt : value;
    }
    case arrow::Type::STRING:
      return text;
    case arrow::Type::DATE32: {
      const auto days = ParseDate(text);
      return days ? std::optional<Value>(std::int64_t{*days}) : std::nullopt;
    }
    case arrow::Type::TIMESTAMP: {
      const auto micros = ParseTimestampMicros(text);
      return micros ? std::optional<Value>(*micros) : std::nullopt;
    }
    case arrow::Type::DECIMAL128: {
      arrow::Decimal128 value;
      std::int32_t precision = 0;
      std::int32_t scale = 0;
      const auto& decimal = static_cast<const arrow::Decimal128Type&>(type);
      if (!arrow::Decimal128::FromString(text, &value, &precision, &scale).ok()) return std::nullopt;
      const auto rescaled = value.Rescale(scale, decimal.scale());
      return rescaled.ok() ? std::optional<Value>(*rescaled) : std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

bool Satisfies(const std::optional<Value>& value, const Comparison& comparison) {
  if (comparison.comparator == Comparator::kIsNull) return !value;
  if (!value) return false;
  if (comparison.comparator == Comparator::kIsNotNull) return true;
  if (comparison.comparator == Comparator::kIn) {
    return std::find(comparison.values.begin(), comparison.values.end(), *value) != comparison.values.end();
  }
  return Holds(*value, comparison.comparator, comparison.values.front());
}

bool MayMatch(const ColumnBounds& bounds, const Comparison& comparison, const arrow::DataType& type) {
  if (comparison.comparator == Comparator::kIsNull) return bounds.null_count != 0;
  if (bounds.null_count && bounds.num_rows && *bounds.null_count >= *bounds.num_rows) return false;
  const auto& [min, max] = std::tie(bounds.min, bounds.max);
  const auto in_range = [&](const Value& value) { return (!min || *min <= value) && (!max || value <= *max); };
  switch (comparison.comparator) {
    case Comparator::kIsNotNull:
      return true;
    case Comparator::kIn:
      return std::any_of(comparison.values.begin(), comparison.values.end(), in_range);
    case Comparator::kEqual:
      return in_range(comparison.values.front());
    case Comparator::kNotEqual:
      // NaN differs from every number, and bounds do not tell of it.
      return IsFloating(type) || !min || !max || *min != *max || *min != comparison.values.front();
    case Comparator::kLess:
    case Comparator::kLessEqual:
      return !min || Holds(*min, comparison.comparator, comparison.values.front());
    case Comparator::kGreater:
    case Comparator::kGreaterEqual:
      return IsFloating(type) || !max || Holds(*max, comparison.comparator, comparison.values.front());
    default:
      return true;
  }
}

Result<std::shared_ptr<arrow::BooleanArray>> Matches(const std::shared_ptr<arrow::Array>& column,
                                                     const Comparison& comparison) {
  const std::int64_t length = column->length();
  Bits bits;
  if (comparison.comparator == Comparator::kIsNull) {
    ASSIGN_OR_RETURN(bits, MakeBits(length, [&](std::int64_t i) { return column->IsNull(i); }));
  } else if (comparison.comparator == Comparator::kIsNotNull) {
    ASSIGN_OR_RETURN(bits, MakeBits(length, [&](std::int64_t i) { return column->IsValid(i); }));
  } else {
    ASSIGN_OR_RETURN(bits, CompareRows(*column, comparison));
    if (column->null_count() > 0) {
      ASSIGN_OR_RETURN(bits, arrow::internal::BitmapAnd(arrow::default_memory_pool(), bits->data(), 0,
                                                        column->null_bitmap_data(), column->offset(), length, 0));
    }
  }
  return std::make_shared<arrow::BooleanArray>(length, std::move(bits), nullptr, 0);
}

Result<std::shared_ptr<arrow::BooleanArray>> And(const arrow::BooleanArray& a, const arrow::BooleanArray& b) {
  ASSIGN_OR_RETURN(auto bits, arrow::internal::BitmapAnd(arrow::default_memory_pool(), a.values()->data(), a.offset(),
                                                         b.values()->data(), b.offset(), a.length(), 0));
  return std::make_shared<arrow::BooleanArray>(a.length(), std::move(bits), nullptr, 0);
}

}  // namespace millrace::delta
