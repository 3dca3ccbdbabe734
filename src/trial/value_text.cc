#include "trial/value_text.h"

#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <arrow/util/decimal.h>
#include <arrow/util/value_parsing.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/json_text.h"
#include "base/nearest_name.h"
#include "serve/answer_writer.h"

namespace millrace::trial {
namespace {

using ValueKind = config::TestValue::Kind;

std::string_view NameOf(ValueKind kind) {
  switch (kind) {
    case ValueKind::kNull:
      return "null";
    case ValueKind::kScalar:
      return "a single value";
    case ValueKind::kList:
      return "a list";
    case ValueKind::kMapping:
      return "a mapping";
  }
  return "a value";
}

template <typename Number>
std::optional<Number> ParseWhole(const std::string& text) {
  Number number{};
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && rest == end ? std::optional(number) : std::nullopt;
}

std::string Quoted(std::string_view text) {
  std::string out;
  AppendJsonString(text, out);
  return out;
}

Status Unfit(const config::TestValue& value, const arrow::DataType& type) {
  return InvalidInput("'{}' is not a value of {}", value.text, type.ToString());
}

template <typename Number>
Result<std::string> WholeText(const config::TestValue& value, const arrow::DataType& type) {
  const auto number = ParseWhole<Number>(value.text);
  if (!number) return Unfit(value, type);
  return fmt::format("{}", *number);
}

template <typename Float>
Result<std::string> FloatText(const config::TestValue& value, const arrow::DataType& type) {
  for (const char* const other : {"nan", "inf", "-inf"}) {
    if (value.text == other) return Quoted(other);
  }
  const auto number = ParseWhole<Float>(value.text);
  if (!number || !std::isfinite(*number)) return Unfit(value, type);
  return fmt::format("{}", *number);
}

Result<std::string> ScalarText(const std::shared_ptr<arrow::Scalar>& scalar) {
  ASSIGN_OR_RETURN(const auto array, arrow::MakeArrayFromScalar(*scalar, 1));
  ASSIGN_OR_RETURN(auto texts, ValueTexts(array));
  return std::move(texts.front());
}

Result<std::string> DecimalText(const config::TestValue& value, const arrow::DataType& type) {
  const auto& decimal = static_cast<const arrow::Decimal128Type&>(type);
  arrow::Decimal128 number;
  std::int32_t precision = 0;
  std::int32_t scale = 0;
  if (!arrow::Decimal128::FromString(value.text, &number, &precision, &scale).ok()) return Unfit(value, type);
  const auto rescaled = number.Rescale(scale, decimal.scale());
  if (!rescaled.ok() || !rescaled->FitsInPrecision(decimal.precision())) {
    return InvalidInput("'{}' has more digits than {} holds", value.text, type.ToString());
  }
  return ScalarText(
      std::make_shared<arrow::Decimal128Scalar>(*rescaled, arrow::decimal128(decimal.precision(), decimal.scale())));
}

Result<std::string> TimeText(const config::TestValue& value, const arrow::DataType& type) {
  const bool zoned = !static_cast<const arrow::TimestampType&>(type).timezone().empty();
  std::int64_t time = 0;
  bool has_zone = false;
  if (!arrow::internal::ParseTimestampISO8601(value.text.data(), value.text.size(), arrow::TimeUnit::MICRO, &time,
                                              &has_zone)) {
    return InvalidInput("'{}' is not a time such as {}", value.text,
                        zoned ? "2026-01-31T00:00:00Z" : "2026-01-31T00:00:00");
  }
  if (zoned != has_zone) {
    return InvalidInput("'{}' is a time {} a zone, and the column holds times {} one", value.text,
                        has_zone ? "with" : "without", zoned ? "with" : "without");
  }
  const auto micros = arrow::timestamp(arrow::TimeUnit::MICRO, zoned ? "UTC" : "");
  return ScalarText(std::make_shared<arrow::TimestampScalar>(time, micros));
}

Result<std::string> DateText(const config::TestValue& value, const arrow::DataType& type) {
  std::int64_t time = 0;
  const bool is_date =
      value.text.size() == std::string_view("2026-01-31").size() &&
      arrow::internal::ParseTimestampISO8601(value.text.data(), value.text.size(), arrow::TimeUnit::SECOND, &time);
  if (!is_date) return Unfit(value, type);
  return Quoted(value.text);
}

Result<std::string> ListText(const config::TestValue& value, const arrow::DataType& item) {
  std::string out = "[";
  for (const auto& expected : value.items) {
    if (&expected != &value.items.front()) out += ',';
    ASSIGN_OR_RETURN(const auto text, ExpectedText(expected, item));
    out += text;
  }
  return out + "]";
}

Result<std::string> StructText(const config::TestValue& value, const arrow::StructType& type) {
  std::vector<std::string> names;
  for (const auto& field : type.fields()) names.push_back(field->name());
  for (const auto& [name, expected] : value.entries) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      return InvalidInput("there is no field '{}'{}", name, DidYouMean(name, names));
    }
  }
  std::string out = "{";
  for (const auto& field : type.fields()) {
    if (out.size() > 1) out += ',';
    const auto found = std::find_if(value.entries.begin(), value.entries.end(),
                                    [&field](const auto& entry) { return entry.first == field->name(); });
    const config::TestValue null;
    ASSIGN_OR_RETURN(const auto text,
                     ExpectedText(found == value.entries.end() ? null : found->second, *field->type()));
    out += Quoted(field->name()) + ":" + text;
  }
  return out + "}";
}

Result<std::string> MapText(const config::TestValue& value, const arrow::MapType& type) {
  std::string out = "{";
  for (const auto& [name, expected] : value.entries) {
    if (out.size() > 1) out += ',';
    const config::TestValue key{.kind = ValueKind::kScalar, .place = {}, .text = name, .items = {}, .entries = {}};
    ASSIGN_OR_RETURN(auto key_text, ExpectedText(key, *type.key_type()));
    if (type.key_type()->id() != arrow::Type::STRING) key_text = Quoted(key_text);
    ASSIGN_OR_RETURN(const auto text, ExpectedText(expected, *type.item_type()));
    out += key_text + ":" + text;
  }
  return out + "}";
}

}  // namespace

Result<std::vector<std::string>> ValueTexts(const std::shared_ptr<arrow::Array>& column) {
  static const std::string kBefore = R"({"v":)";
  const auto batch =
      arrow::RecordBatch::Make(arrow::schema({arrow::field("v", column->type())}), column->length(), {column});
  std::string lines;
  RETURN_NOT_OK(serve::AppendNdjson(*batch, lines));
  std::vector<std::string> texts;
  for (std::size_t begin = 0; begin < lines.size();) {
    const std::size_t end = lines.find('\n', begin);  // JSON has none within a value.
    texts.push_back(lines.substr(begin + kBefore.size(), end - 1 - begin - kBefore.size()));
    begin = end + 1;
  }
  return texts;
}

Result<std::string> ExpectedText(const config::TestValue& value, const arrow::DataType& type) {
  if (value.kind == ValueKind::kNull) return "null";
  const ValueKind wanted = type.id() == arrow::Type::LIST                                      ? ValueKind::kList
                           : type.id() == arrow::Type::STRUCT || type.id() == arrow::Type::MAP ? ValueKind::kMapping
                                                                                               : ValueKind::kScalar;
  if (value.kind != wanted) {
    return InvalidInput("{} is not a value of {}, which is {}", NameOf(value.kind), type.ToString(), NameOf(wanted));
  }
  switch (type.id()) {
    case arrow::Type::LIST:
      return ListText(value, *static_cast<const arrow::ListType&>(type).value_type());
    case arrow::Type::STRUCT:
      return StructText(value, static_cast<const arrow::StructType&>(type));
    case arrow::Type::MAP:
      return MapText(value, static_cast<const arrow::MapType&>(type));
    case arrow::Type::BOOL:
      if (value.text != "true" && value.text != "false") return Unfit(value, type);
      return value.text;
    case arrow::Type::INT8:
    case arrow::Type::INT16:
    case arrow::Type::INT32:
    case arrow::Type::INT64:
      return WholeText<std::int64_t>(value, type);
    case arrow::Type::UINT8:
    case arrow::Type::UINT16:
    case arrow::Type::UINT32:
    case arrow::Type::UINT64:
      return WholeText<std::uint64_t>(value, type);
    case arrow::Type::FLOAT:
      return FloatText<float>(value, type);
    case arrow::Type::DOUBLE:
      return FloatText<double>(value, type);
    case arrow::Type::DECIMAL128:
      return DecimalText(value, type);
    case arrow::Type::TIMESTAMP:
      return TimeText(value, type);
    case arrow::Type::DATE32:
      return DateText(value, type);
    default:
      return Quoted(value.text);
  }
}

}  // namespace millrace::trial
