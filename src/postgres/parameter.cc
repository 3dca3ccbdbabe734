#include "postgres/parameter.h"

#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <limits>
#include <optional>
#include <vector>

#include "postgres/types.h"
#include "postgres/value.h"

namespace millrace::postgres {
namespace {

constexpr std::int32_t kEpochDays = 10957;
constexpr std::int64_t kEpochUs = std::int64_t{kEpochDays} * 86'400 * 1'000'000;

Status Malformed(const TypeEntry& type) { return InvalidInput("invalid binary value of type {}", type.sql_name); }

// The number's own text, all its digits.
std::optional<std::string> NumericText(ByteReader& reader) {
  const std::int16_t num_groups = reader.Int16();
  const std::int16_t weight = reader.Int16();
  const auto sign = static_cast<std::uint16_t>(reader.Int16());
  const std::int16_t scale = reader.Int16();
  if (sign == 0xC000) return "NaN";
  if (sign == 0xD000) return "Infinity";
  if (sign == 0xF000) return "-Infinity";
  if (!reader.ok() || num_groups < 0 || num_groups > 100 || scale < 0 || scale > 400 || weight > 100 || weight < -100) {
    return std::nullopt;
  }
  std::vector<int> groups;
  for (std::int16_t i = 0; i < num_groups; ++i) groups.push_back(reader.Int16());
  const auto group = [&](int place) {
    const int at = weight - place;
    return at >= 0 && at < num_groups ? groups[static_cast<std::size_t>(at)] : 0;
  };
  std::string text = sign == 0x4000 ? "-" : "";
  text += std::to_string(group(std::max<int>(weight, 0)));
  for (int place = std::max<int>(weight, 0) - 1; place >= 0; --place) text += fmt::format("{:04}", group(place));
  if (scale == 0) return text;
  std::string fraction;
  for (int place = -1; static_cast<int>(fraction.size()) < scale; --place)
    fraction += fmt::format("{:04}", group(place));
  return text + "." + fraction.substr(0, static_cast<std::size_t>(scale));
}

// Of DuckDB's that holds all digits of the text.
std::string DecimalCast(std::string_view text) {
  std::size_t whole = 0;
  std::size_t fraction = 0;
  bool after_point = false;
  for (const char c : text) {
    if (c == '.') {
      after_point = true;
    } else if (c >= '0' && c <= '9') {
      ++(after_point ? fraction : whole);
    } else if (c != '-' && c != '+') {
      return "DOUBLE";  // NaN, or an exponent.
    }
  }
  if (whole + fraction > 38) return "DOUBLE";
  return fmt::format("DECIMAL({},{})", std::max<std::size_t>(1, whole + fraction), fraction);
}

// The text form of a binary value.
Result<std::string> TextOfBinary(const TypeEntry& type, std::string_view bytes) {
  ByteReader reader(bytes);
  std::string text;
  switch (type.oid) {
    case oid::kBool:
      text = reader.Byte() != 0 ? "true" : "false";
      break;
    case oid::kInt2:
      text = std::to_string(reader.Int16());
      break;
    case oid::kInt4:
      text = std::to_string(reader.Int32());
      break;
    case oid::kOid:
      text = std::to_string(static_cast<std::uint32_t>(reader.Int32()));
      break;
    case oid::kInt8:
      text = std::to_string(reader.Int64());
      break;
    case oid::kFloat4:
      text = FloatText(std::bit_cast<float>(reader.Int32()));
      break;
    case oid::kFloat8:
      text = FloatText(std::bit_cast<double>(reader.Int64()));
      break;
    case oid::kNumeric: {
      auto number = NumericText(reader);
      if (!number) return Malformed(type);
      text = *std::move(number);
      break;
    }
    case oid::kDate: {
      const std::int64_t days = std::int64_t{reader.Int32()} + kEpochDays;
      if (days > std::numeric_limits<std::int32_t>::max()) return Malformed(type);
      text = DateText(static_cast<std::int32_t>(days));
      break;
    }
    case oid::kTime:
      text = TimeText(reader.Int64());
      break;
    case oid::kTimestamp:
    case oid::kTimestampTz: {
      const std::int64_t us = reader.Int64();
      if (us > std::numeric_limits<std::int64_t>::max() - kEpochUs) return Malformed(type);
      text = TimestampText(us + kEpochUs, type.oid == oid::kTimestampTz);
      break;
    }
    case oid::kInterval: {
      const std::int64_t us = reader.Int64();
      const std::int32_t days = reader.Int32();
      text = fmt::format("{} months {} days {} microseconds", reader.Int32(), days, us);
      break;
    }
    case oid::kUuid:
      for (int i = 0; i < 16; ++i) text += fmt::format("{:02x}", reader.Byte());
      break;
    case oid::kBytea:
      text = "\\x";
      while (reader.size() > 0) text += fmt::format("{:02x}", reader.Byte());
      break;
    case oid::kJsonb:
      if (reader.Byte() != 1) return Malformed(type);
      [[fallthrough]];
    default:  // Texts of all kinds.
      text = reader.Bytes(reader.size());
      break;
  }
  if (!reader.at_end()) return Malformed(type);
  return text;
}

// bytea's \x00ff as DuckDB writes it: \x00\xff.
Result<std::string> BlobText(std::string_view text) {
  if (!text.starts_with("\\x") || text.size() % 2 != 0 ||
      text.substr(2).find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos) {
    return InvalidInput("invalid value of type bytea: its hexadecimal form is expected, \\x00ff");
  }
  std::string blob;
  for (std::size_t at = 2; at < text.size(); at += 2) blob += fmt::format("\\x{}", text.substr(at, 2));
  return blob;
}

// Elements of a one-dimensional array in PostgreSQL's text form; nullopt: NULL.
Result<std::vector<std::optional<std::string>>> ArrayElements(std::string_view text) {
  const auto malformed = [] { return InvalidInput("malformed array: {{1,2}} of one dimension is expected"); };
  std::vector<std::optional<std::string>> elements;
  if (text.size() < 2 || text.front() != '{' || text.back() != '}') return malformed();
  text = text.substr(1, text.size() - 2);
  while (!text.empty()) {
    std::string element;
    const bool is_quoted = text.front() == '"';
    std::size_t at = is_quoted ? 1 : 0;
    for (; at < text.size() && text[at] != (is_quoted ? '"' : ','); ++at) {
      if (!is_quoted && (text[at] == '{' || text[at] == '}')) return malformed();
      if (text[at] == '\\' && ++at == text.size()) return malformed();
      element += text[at];
    }
    if (is_quoted && at++ == text.size()) return malformed();
    const bool is_null = !is_quoted && (element == "NULL" || element == "null");
    elements.push_back(is_null ? std::nullopt : std::optional(std::move(element)));
    if (at == text.size()) break;
    if (text[at] != ',' || at + 1 == text.size()) return malformed();
    text.remove_prefix(at + 1);
  }
  return elements;
}

Result<std::vector<std::optional<std::string>>> BinaryElements(const TypeEntry& type, std::string_view bytes) {
  ByteReader reader(bytes);
  std::vector<std::optional<std::string>> elements;
  const std::int32_t dimensions = reader.Int32();
  reader.Int32();  // Whether there are NULLs shows.
  reader.Int32();  // The elements' type is that of the array.
  if (dimensions == 0 && reader.at_end()) return elements;
  const std::int32_t size = reader.Int32();
  reader.Int32();  // The first index.
  if (dimensions != 1 || size < 0) return Malformed(type);
  for (std::int32_t i = 0; i < size && reader.ok(); ++i) {
    const std::int32_t element_bytes = reader.Int32();
    if (element_bytes < 0) {
      elements.emplace_back();
      continue;
    }
    ASSIGN_OR_RETURN(elements.emplace_back(),
                     TextOfBinary(type, reader.Bytes(static_cast<std::size_t>(element_bytes))));
  }
  if (!reader.at_end()) return Malformed(type);
  return elements;
}

// As DuckDB casts a text to a list.
std::string ListText(const std::vector<std::optional<std::string>>& elements) {
  std::string text = "[";
  for (const auto& element : elements) {
    if (text.size() > 1) text += ", ";
    if (!element) {
      text += "NULL";
      continue;
    }
    text += '"';
    for (const char c : *element) {
      if (c == '"' || c == '\\') text += '\\';
      text += c;
    }
    text += '"';
  }
  return text + "]";
}

template <typename Number>
Result<Number> NumberOf(const TypeEntry& type, const std::string& text) {
  Number number{};
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || rest != text.data() + text.size()) {
    return InvalidInput("invalid input syntax for type {}: \"{}\"", type.sql_name, text);
  }
  return number;
}

}  // namespace

Result<ParameterValue> ReadParameter(std::string name, std::uint32_t type, Format format, std::string_view bytes) {
  ParameterValue value{.parameter = {.name = std::move(name)}};
  if (const auto* element = FindElement(type); element != nullptr) {
    ASSIGN_OR_RETURN(const auto elements,
                     format == Format::kText ? ArrayElements(bytes) : BinaryElements(*element, bytes));
    value.parameter.value = ListText(elements);
    value.cast = fmt::format("{}[]", element->oid == oid::kNumeric ? "DECIMAL(38,9)" : element->duckdb);
    return value;
  }
  const auto* entry = FindType(type);
  if (entry == nullptr) {
    if (format == Format::kBinary && type != 0 && type != oid::kUnknown) {
      return Unsupported("the binary form of type {} is not known here: send parameter ${} as text", type,
                         value.parameter.name);
    }
    value.parameter.value = std::string(bytes);
    return value;
  }
  std::string text(bytes);
  if (format == Format::kBinary) {
    ASSIGN_OR_RETURN(text, TextOfBinary(*entry, bytes));
  }
  switch (type) {
    case oid::kInt2:
    case oid::kInt4:
    case oid::kInt8:
    case oid::kOid: {
      ASSIGN_OR_RETURN(value.parameter.value, NumberOf<std::int64_t>(*entry, text));
      value.cast = entry->duckdb;
      break;
    }
    case oid::kText:
    case oid::kVarchar:
    case oid::kBpchar:
    case oid::kName:
    case oid::kChar:
      value.parameter.value = std::move(text);
      break;
    case oid::kNumeric:
      value.cast = DecimalCast(text);
      value.parameter.value = std::move(text);
      break;
    case oid::kBytea: {
      ASSIGN_OR_RETURN(value.parameter.value, BlobText(text));
      value.cast = entry->duckdb;
      break;
    }
    default:
      value.cast = entry->duckdb;
      value.parameter.value = std::move(text);
      break;
  }
  return value;
}

}  // namespace millrace::postgres
