#include "delta/data/partition_values.h"

#include <arrow/array/util.h>
#include <arrow/compute/api.h>
#include <arrow/scalar.h>
#include <arrow/util/decimal.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <mutex>
#include <set>
#include <string_view>

#include "base/log.h"
#include "base/percent_coding.h"
#include "delta/data/data_file.h"
#include "delta/text/time_text.h"

namespace millrace::delta {
namespace {

template <typename T>
std::string NumberText(T value) {
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  return std::string(buffer.data(), end);
}

template <typename ArrayType>
std::string NumberAt(const arrow::Array& array, std::int64_t row) {
  return NumberText(static_cast<const ArrayType&>(array).Value(row));
}

template <typename ScalarType, typename T>
std::optional<std::shared_ptr<arrow::Scalar>> ParseNumber(const std::string& text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return std::make_shared<ScalarType>(value);
}

std::optional<std::shared_ptr<arrow::Scalar>> ParseScalar(const std::string& text,
                                                          const std::shared_ptr<arrow::DataType>& type) {
  switch (type->id()) {
    case arrow::Type::STRING:
      return std::make_shared<arrow::StringScalar>(text);
    case arrow::Type::BINARY:
      return std::make_shared<arrow::BinaryScalar>(text);
    case arrow::Type::BOOL:
      if (text != "true" && text != "false") return std::nullopt;
      return std::make_shared<arrow::BooleanScalar>(text == "true");
    case arrow::Type::INT8:
      return ParseNumber<arrow::Int8Scalar, std::int8_t>(text);
    case arrow::Type::INT16:
      return ParseNumber<arrow::Int16Scalar, std::int16_t>(text);
    case arrow::Type::INT32:
      return ParseNumber<arrow::Int32Scalar, std::int32_t>(text);
    case arrow::Type::INT64:
      return ParseNumber<arrow::Int64Scalar, std::int64_t>(text);
    case arrow::Type::FLOAT:
      return ParseNumber<arrow::FloatScalar, float>(text);
    case arrow::Type::DOUBLE:
      return ParseNumber<arrow::DoubleScalar, double>(text);
    case arrow::Type::DATE32: {
      const auto days = ParseDate(text);
      if (!days) return std::nullopt;
      return std::make_shared<arrow::Date32Scalar>(*days);
    }
    case arrow::Type::TIMESTAMP: {
      const auto micros = ParseTimestampMicros(text);
      if (!micros) return std::nullopt;
      return std::make_shared<arrow::TimestampScalar>(*micros, type);
    }
    case arrow::Type::DECIMAL128: {
      arrow::Decimal128 value;
      std::int32_t precision = 0;
      std::int32_t scale = 0;
      const auto& decimal = static_cast<const arrow::Decimal128Type&>(*type);
      if (!arrow::Decimal128::FromString(text, &value, &precision, &scale).ok()) return std::nullopt;
      const auto rescaled = value.Rescale(scale, decimal.scale());
      if (!rescaled.ok() || !rescaled->FitsInPrecision(decimal.precision())) return std::nullopt;
      return std::make_shared<arrow::Decimal128Scalar>(*rescaled, type);
    }
    default:
      return std::nullopt;
  }
}

// As Spark's ExternalCatalogUtils.escapePathName(); NUL besides, which no file system takes.
void AppendEscaped(std::string_view text, bool first_dot, std::string& out) {
  constexpr std::string_view kEscaped = "\"#%'*/:=?\\\x7F{[]^";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || kEscaped.find(text[i]) != std::string_view::npos || (first_dot && i == 0 && text[i] == '.')) {
      AppendPercentEncoded(text[i], out);
    } else {
      out += text[i];
    }
  }
}

// Distinct values numbered; an array of each row's number, and one of the values.
Result<std::shared_ptr<arrow::DictionaryArray>> Encode(const std::shared_ptr<arrow::Array>& column) {
  std::shared_ptr<arrow::Array> encoded = column;
  if (column->type_id() == arrow::Type::DICTIONARY) {
    // The same value may stand in a dictionary twice.
    const auto& type = static_cast<const arrow::DictionaryType&>(*column->type());
    ASSIGN_OR_RETURN(encoded, arrow::compute::Cast(*column, type.value_type()));
  }
  ASSIGN_OR_RETURN(const arrow::Datum datum, arrow::compute::DictionaryEncode(encoded));
  return std::static_pointer_cast<arrow::DictionaryArray>(datum.make_array());
}

// "column=value", escaped.
std::string FolderName(std::string_view column, std::string_view value) {
  std::string name;
  // What begins with a dot is hidden from who lists the table.
  AppendEscaped(column, /*first_dot=*/true, name);
  name += '=';
  AppendEscaped(value, /*first_dot=*/false, name);
  return name;
}

// Once for each name in the life of the process: the next batch has it again.
void WarnOfEmptyText(const std::string& column) {
  static std::mutex mutex;
  static std::set<std::string> told;
  const std::scoped_lock lock(mutex);
  if (!told.insert(column).second) return;
  spdlog::warn(
      "partition column '{}': there are empty texts, and they are read back as null: Delta's log cannot tell "
      "them apart",
      column);
}

}  // namespace

bool CanPartition(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::STRING:
    case arrow::Type::BOOL:
    case arrow::Type::INT8:
    case arrow::Type::INT16:
    case arrow::Type::INT32:
    case arrow::Type::INT64:
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
    case arrow::Type::DECIMAL128:
    case arrow::Type::DATE32:
    case arrow::Type::TIMESTAMP:
      return true;
    case arrow::Type::DICTIONARY:
      return CanPartition(*static_cast<const arrow::DictionaryType&>(type).value_type());
    default:
      return false;
  }
}

Result<std::optional<std::string>> PartitionValueText(const arrow::Array& array, std::int64_t row,
                                                      const std::string& column) {
  if (array.IsNull(row)) return std::nullopt;
  std::optional<std::string> text;
  switch (array.type_id()) {
    case arrow::Type::STRING:
      text = static_cast<const arrow::StringArray&>(array).GetString(row);
      if (text->empty()) return std::nullopt;
      break;
    case arrow::Type::BOOL:
      text = static_cast<const arrow::BooleanArray&>(array).Value(row) ? "true" : "false";
      break;
    case arrow::Type::INT8:
      text = NumberAt<arrow::Int8Array>(array, row);
      break;
    case arrow::Type::INT16:
      text = NumberAt<arrow::Int16Array>(array, row);
      break;
    case arrow::Type::INT32:
      text = NumberAt<arrow::Int32Array>(array, row);
      break;
    case arrow::Type::INT64:
      text = NumberAt<arrow::Int64Array>(array, row);
      break;
    case arrow::Type::FLOAT:
      if (std::isfinite(static_cast<const arrow::FloatArray&>(array).Value(row)))
        text = NumberAt<arrow::FloatArray>(array, row);
      break;
    case arrow::Type::DOUBLE:
      if (std::isfinite(static_cast<const arrow::DoubleArray&>(array).Value(row))) {
        text = NumberAt<arrow::DoubleArray>(array, row);
      }
      break;
    case arrow::Type::DECIMAL128:
      text = static_cast<const arrow::Decimal128Array&>(array).FormatValue(row);
      break;
    case arrow::Type::DATE32:
      text = FormatDate(static_cast<const arrow::Date32Array&>(array).Value(row));
      break;
    case arrow::Type::TIMESTAMP: {
      const auto& type = static_cast<const arrow::TimestampType&>(*array.type());
      text =
          FormatTimestampMicros(static_cast<const arrow::TimestampArray&>(array).Value(row), !type.timezone().empty());
      break;
    }
    default:
      return Unsupported("column '{}' cannot partition a table: its type is {}", column, array.type()->ToString());
  }
  if (!text)
    return InvalidInput("column '{}' has a value that cannot be a partition's: NaN, infinite or out of range", column);
  return text;
}

std::string PartitionFolders(const PartitionValues& values) {
  constexpr std::size_t kFoldersBytesMax = 768;
  std::string folders;
  for (const auto& [column, value] : values) {
    const std::string folder =
        FolderName(column, value && !value->empty() ? *value : std::string_view("__HIVE_DEFAULT_PARTITION__"));
    if (folder.size() > kFolderNameBytesMax) return "";
    folders += folder + "/";
  }
  return folders.size() > kFoldersBytesMax ? "" : folders;
}

Result<std::shared_ptr<arrow::Array>> PartitionColumn(const std::optional<std::string>& text,
                                                      const std::shared_ptr<arrow::DataType>& type, std::int64_t length,
                                                      const std::string& column) {
  if (!text || (text->empty() && type->id() != arrow::Type::BINARY)) return arrow::MakeArrayOfNull(type, length);
  const auto scalar = ParseScalar(*text, type);
  if (!scalar) return Corrupt("the partition value '{}' of column '{}' is not a {}", *text, column, type->ToString());
  return arrow::MakeArrayFromScalar(**scalar, length);
}

bool FitsFolderName(std::string_view column, std::string_view value) {
  const std::size_t bytes = column.size() + value.size();
  // Mostly it is short even if every byte is escaped.
  if (3 * bytes < kFolderNameBytesMax) return true;
  return bytes < kFolderNameBytesMax && FolderName(column, value).size() <= kFolderNameBytesMax;
}

Result<PartitionGroups> PartitionGroups::Make(const arrow::RecordBatch& batch,
                                              const std::vector<std::string>& partition_columns) {
  PartitionGroups groups;
  for (const auto& name : partition_columns) {
    const auto column = batch.GetColumnByName(name);
    if (column == nullptr) return InvalidInput("the batch has no partition column '{}'", name);
    ASSIGN_OR_RETURN(const auto encoded, Encode(column));
    groups.codes_.push_back(
        {name, std::static_pointer_cast<arrow::Int32Array>(encoded->indices()), encoded->dictionary()});
  }
  const auto& codes = groups.codes_;
  groups.of_row_.reserve(static_cast<std::size_t>(batch.num_rows()));
  // Most batches have one date and so one group; neighbours often are alike.
  std::map<std::vector<std::int32_t>, std::uint32_t> group_of;
  std::vector<std::int32_t> key(codes.size());
  std::vector<std::int32_t> last_key;
  std::uint32_t group = 0;
  for (std::int64_t row = 0; row < batch.num_rows(); ++row) {
    for (std::size_t c = 0; c < codes.size(); ++c) {
      key[c] = codes[c].of_row->IsNull(row) ? -1 : codes[c].of_row->Value(row);
    }
    if (row == 0 || key != last_key) {
      group = group_of.try_emplace(key, static_cast<std::uint32_t>(groups.size())).first->second;
      if (group == groups.size()) {
        groups.num_rows_.push_back(0);
        groups.first_rows_.push_back(row);
      }
      last_key = key;
    }
    ++groups.num_rows_[group];
    groups.of_row_.push_back(group);
  }
  return groups;
}

Result<PartitionValues> PartitionGroups::ValuesOf(std::size_t group) const {
  PartitionValues values;
  const std::int64_t row = first_rows_[group];
  for (const auto& codes : codes_) {
    std::optional<std::string> text;
    if (codes.of_row->IsValid(row)) {
      ASSIGN_OR_RETURN(text, PartitionValueText(*codes.values, codes.of_row->Value(row), codes.column));
      if (!text) WarnOfEmptyText(codes.column);
    }
    values.emplace(codes.column, std::move(text));
  }
  return values;
}

Result<std::shared_ptr<arrow::RecordBatch>> WithoutColumns(std::shared_ptr<arrow::RecordBatch> batch,
                                                           const std::vector<std::string>& columns) {
  for (const auto& name : columns) {
    ASSIGN_OR_RETURN(batch, batch->RemoveColumn(batch->schema()->GetFieldIndex(name)));
  }
  return batch;
}

Result<std::shared_ptr<arrow::RecordBatch>> TakeRows(const std::shared_ptr<arrow::RecordBatch>& batch,
                                                     const std::vector<std::int64_t>& rows) {
  const auto indices = std::make_shared<arrow::Int64Array>(std::ssize(rows), arrow::Buffer::Wrap(rows));
  ASSIGN_OR_RETURN(const arrow::Datum taken,
                   arrow::compute::Take(batch, indices, arrow::compute::TakeOptions::NoBoundsCheck()));
  return taken.record_batch();
}

Result<std::vector<PartitionedBatch>> SplitByPartition(const std::shared_ptr<arrow::RecordBatch>& batch,
                                                       const std::vector<std::string>& partition_columns) {
  std::vector<PartitionedBatch> out;
  if (batch->num_rows() == 0) return out;
  if (partition_columns.empty()) {
    out.push_back({{}, batch});
    return out;
  }
  ASSIGN_OR_RETURN(const auto groups, PartitionGroups::Make(*batch, partition_columns));
  ASSIGN_OR_RETURN(const auto rest, WithoutColumns(batch, partition_columns));
  std::map<PartitionValues, std::vector<std::int64_t>> rows_of;
  std::vector<std::vector<std::int64_t>*> rows_of_group;
  for (std::size_t group = 0; group < groups.size(); ++group) {
    ASSIGN_OR_RETURN(auto values, groups.ValuesOf(group));
    rows_of_group.push_back(&rows_of[std::move(values)]);
  }
  for (std::int64_t row = 0; row < batch->num_rows(); ++row) {
    rows_of_group[groups.of_row()[static_cast<std::size_t>(row)]]->push_back(row);
  }
  for (auto& [values, rows] : rows_of) {
    if (std::ssize(rows) == batch->num_rows()) {
      out.push_back({values, rest});
      break;
    }
    ASSIGN_OR_RETURN(auto taken, TakeRows(rest, rows));
    out.push_back({values, std::move(taken)});
  }
  return out;
}

}  // namespace millrace::delta
