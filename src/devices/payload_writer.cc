#include "devices/payload_writer.h"

#include <array>
#include <bit>
#include <charconv>
#include <chrono>
#include <utility>

#include "base/clock.h"
#include "devices/random.h"

namespace millrace::devices {
namespace {

using FormatRow = std::pair<PayloadFormat, std::string_view>;
constexpr std::array<FormatRow, 4> kFormats = {FormatRow{PayloadFormat::kJson, "json"},
                                               {PayloadFormat::kCsv, "csv"},
                                               {PayloadFormat::kAvro, "avro"},
                                               {PayloadFormat::kProtobuf, "protobuf"}};
constexpr std::string_view kErrorPage = "<html><body>502 Bad Gateway</body></html>";
constexpr std::string_view kNotUtf8 = "\xff\xfe";
constexpr std::string_view kNotANumber = "slow";
constexpr std::array<std::int64_t, 7> kPowersOfTen = {1, 10, 100, 1000, 10'000, 100'000, 1'000'000};

void AppendDigits(std::uint64_t value, int digits, std::string& out) {
  char text[20];
  for (int i = digits; i-- > 0; value /= 10) text[i] = static_cast<char>('0' + value % 10);
  out.append(text, static_cast<std::size_t>(digits));
}

void AppendInteger(std::int64_t value, std::string& out) {
  char text[20];
  out.append(text, std::to_chars(text, text + sizeof(text), value).ptr);
}

void AppendDecimal(std::int64_t value, int scale, std::string& out) {
  if (value < 0) out += '-';
  const auto magnitude = static_cast<std::uint64_t>(value < 0 ? -value : value);
  const auto power = static_cast<std::uint64_t>(kPowersOfTen[scale]);
  AppendInteger(static_cast<std::int64_t>(magnitude / power), out);
  if (scale == 0) return;
  out += '.';
  AppendDigits(magnitude % power, scale, out);
}

void AppendTime(UnixMicros time, std::string& out) {
  const std::chrono::sys_time<std::chrono::microseconds> point{std::chrono::microseconds(time)};
  const auto day = std::chrono::floor<std::chrono::days>(point);
  const std::chrono::year_month_day date(day);
  const auto micros = static_cast<std::uint64_t>((point - day).count());
  AppendDigits(static_cast<std::uint64_t>(static_cast<int>(date.year())), 4, out);
  out += '-';
  AppendDigits(static_cast<unsigned>(date.month()), 2, out);
  out += '-';
  AppendDigits(static_cast<unsigned>(date.day()), 2, out);
  out += 'T';
  AppendDigits(micros / 3'600'000'000, 2, out);
  out += ':';
  AppendDigits(micros / 60'000'000 % 60, 2, out);
  out += ':';
  AppendDigits(micros / 1'000'000 % 60, 2, out);
  out += '.';
  AppendDigits(micros % 1'000'000, 6, out);
  out += 'Z';
}

void AppendText(const Field& field, const Value& value, std::string& out) {
  switch (field.kind) {
    case FieldKind::kText:
      out += value.text;
      break;
    case FieldKind::kInteger:
      AppendInteger(value.number, out);
      break;
    case FieldKind::kReal:
    case FieldKind::kDecimal:
      AppendDecimal(value.number, field.scale, out);
      break;
    case FieldKind::kTime:
      AppendTime(value.number, out);
  }
}

/// Both operands are exact, so the quotient is the double that the digits spell.
double RealOf(const Field& field, const Value& value) {
  return static_cast<double>(value.number) / static_cast<double>(kPowersOfTen[field.scale]);
}

void AppendLittleEndian(double value, std::string& out) {
  auto bits = std::bit_cast<std::uint64_t>(value);
  for (int i = 0; i < 8; ++i, bits >>= 8) out += static_cast<char>(bits & 255);
}

/// Two's complement, the most significant byte first, in as few bytes as do.
std::string BigEndian(std::int64_t value) {
  std::string bytes;
  for (int shift = 56; shift >= 0; shift -= 8) {
    const bool is_needed = !bytes.empty() || shift == 0 || (value >> (shift - 1)) != (value < 0 ? -1 : 0);
    if (is_needed) bytes += static_cast<char>(value >> shift & 255);
  }
  return bytes;
}

constexpr int kVarint = 0;
constexpr int kFixed64 = 1;
constexpr int kLengthDelimited = 2;

void AppendTag(int number, int wire_type, std::string& out) {
  AppendVarint(static_cast<std::uint64_t>(number << 3 | wire_type), out);
}

void AppendDelimited(int number, std::string_view bytes, std::string& out) {
  AppendTag(number, kLengthDelimited, out);
  AppendVarint(bytes.size(), out);
  out += bytes;
}

std::string ProtobufTimestamp(UnixMicros time) {
  const auto point = std::chrono::microseconds(time);
  const auto seconds = std::chrono::floor<std::chrono::seconds>(point);
  std::string message;
  AppendTag(1, kVarint, message);
  AppendVarint(static_cast<std::uint64_t>(seconds.count()), message);
  AppendTag(2, kVarint, message);
  AppendVarint(static_cast<std::uint64_t>(std::chrono::nanoseconds(point - seconds).count()), message);
  return message;
}

std::span<const Malformation> Malformations(PayloadFormat format) {
  static constexpr std::array kOfJson = {Malformation::kTruncated, Malformation::kMistyped, Malformation::kForeign,
                                         Malformation::kGarbled};
  static constexpr std::array kOfCsv = {Malformation::kTruncated, Malformation::kMistyped, Malformation::kForeign};
  static constexpr std::array kOfBinary = {Malformation::kTruncated, Malformation::kForeign};
  switch (format) {
    case PayloadFormat::kJson:
      return kOfJson;
    case PayloadFormat::kCsv:
      return kOfCsv;
    default:
      return kOfBinary;
  }
}

}  // namespace

std::string_view FormatName(PayloadFormat format) {
  for (const auto& [known, name] : kFormats) {
    if (known == format) return name;
  }
  return {};
}

std::optional<PayloadFormat> ParseFormat(std::string_view name) {
  for (const auto& [format, known] : kFormats) {
    if (known == name) return format;
  }
  return std::nullopt;
}

std::string_view MalformationName(Malformation how) {
  switch (how) {
    case Malformation::kTruncated:
      return "truncated";
    case Malformation::kMistyped:
      return "mistyped";
    case Malformation::kGarbled:
      return "garbled";
    case Malformation::kForeign:
      return "foreign";
  }
  return {};
}

void AppendVarint(std::uint64_t value, std::string& out) {
  for (; value >= 128; value >>= 7) out += static_cast<char>(value | 128);
  out += static_cast<char>(value);
}

void AppendZigzag(std::int64_t value, std::string& out) {
  AppendVarint(static_cast<std::uint64_t>(value) << 1 ^ static_cast<std::uint64_t>(value >> 63), out);
}

std::string ConfluentPrefix(PayloadFormat format, std::uint32_t schema_id) {
  std::string prefix(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) prefix += static_cast<char>(schema_id >> shift & 255);
  if (format == PayloadFormat::kProtobuf) prefix += '\0';
  return prefix;
}

PayloadWriter::PayloadWriter(const Shape& shape, PayloadFormat format, std::string prefix)
    : shape_(shape), format_(format), prefix_(std::move(prefix)) {
  for (const Field& field : shape.fields) json_names_.push_back('"' + std::string(field.name) + "\":");
}

void PayloadWriter::Write(std::span<const Value> values, std::string& out) const { Write(values, -1, out); }

void PayloadWriter::Write(std::span<const Value> values, int mistyped, std::string& out) const {
  out = prefix_;
  switch (format_) {
    case PayloadFormat::kJson:
      return WriteJson(values, mistyped, out);
    case PayloadFormat::kCsv:
      return WriteCsv(values, mistyped, out);
    case PayloadFormat::kAvro:
      return WriteAvro(values, out);
    case PayloadFormat::kProtobuf:
      return WriteProtobuf(values, out);
  }
}

void PayloadWriter::WriteJson(std::span<const Value> values, int mistyped, std::string& out) const {
  char before = '{';
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Field& field = shape_.fields[i];
    const bool is_mistyped = static_cast<int>(i) == mistyped;
    if (values[i].is_null && !is_mistyped) continue;
    out += before;
    before = ',';
    out += json_names_[i];
    const bool is_quoted = field.kind == FieldKind::kText || field.kind == FieldKind::kTime || is_mistyped;
    if (is_quoted) out += '"';
    if (is_mistyped) {
      out += kNotANumber;
    } else {
      AppendText(field, values[i], out);
    }
    if (is_quoted) out += '"';
  }
  out += '}';
}

void PayloadWriter::WriteCsv(std::span<const Value> values, int mistyped, std::string& out) const {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += ',';
    if (static_cast<int>(i) == mistyped) {
      out += kNotANumber;
    } else if (!values[i].is_null) {
      AppendText(shape_.fields[i], values[i], out);
    }
  }
}

void PayloadWriter::WriteAvro(std::span<const Value> values, std::string& out) const {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Field& field = shape_.fields[i];
    const Value& value = values[i];
    if (field.is_optional) {
      AppendZigzag(value.is_null ? 0 : 1, out);
      if (value.is_null) continue;
    }
    switch (field.kind) {
      case FieldKind::kText:
        AppendZigzag(static_cast<std::int64_t>(value.text.size()), out);
        out += value.text;
        break;
      case FieldKind::kReal:
        AppendLittleEndian(RealOf(field, value), out);
        break;
      case FieldKind::kDecimal: {
        const std::string bytes = BigEndian(value.number);
        AppendZigzag(static_cast<std::int64_t>(bytes.size()), out);
        out += bytes;
        break;
      }
      case FieldKind::kInteger:
      case FieldKind::kTime:
        AppendZigzag(value.number, out);
    }
  }
}

void PayloadWriter::WriteProtobuf(std::span<const Value> values, std::string& out) const {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Field& field = shape_.fields[i];
    const Value& value = values[i];
    const int number = static_cast<int>(i) + 1;
    if (value.is_null) continue;
    switch (field.kind) {
      case FieldKind::kText:
        AppendDelimited(number, value.text, out);
        break;
      case FieldKind::kInteger:
        AppendTag(number, kVarint, out);
        AppendVarint(static_cast<std::uint64_t>(value.number), out);
        break;
      case FieldKind::kReal:
        AppendTag(number, kFixed64, out);
        AppendLittleEndian(RealOf(field, value), out);
        break;
      case FieldKind::kDecimal: {
        std::string text;
        AppendDecimal(value.number, field.scale, text);
        AppendDelimited(number, text, out);
        break;
      }
      case FieldKind::kTime:
        AppendDelimited(number, ProtobufTimestamp(value.number), out);
    }
  }
}

Malformation PayloadWriter::WriteMalformed(std::span<const Value> values, std::uint64_t bits, std::string& out) const {
  const auto ways = Malformations(format_);
  const Malformation how = ways[Below(ways.size(), bits)];
  switch (how) {
    case Malformation::kTruncated: {
      Write(values, out);
      // Behind a whole field a line of CSV may still be one, and what is left of Protobuf is. Within the id nothing is.
      const bool is_text = format_ == PayloadFormat::kJson || format_ == PayloadFormat::kCsv;
      const std::size_t whole = format_ == PayloadFormat::kCsv ? out.rfind(',') + 1 : out.size();
      const std::size_t most = is_text ? whole - 1 : kEventIdSize;
      out.resize((is_text ? 0 : prefix_.size()) + 1 + Below(most, Mix(bits)));
      break;
    }
    case Malformation::kMistyped:
      Write(values, shape_.number_field, out);
      break;
    case Malformation::kGarbled: {
      std::vector<Value> garbled(values.begin(), values.end());
      garbled[shape_.text_field] = {.text = kNotUtf8};
      Write(garbled, out);
      break;
    }
    case Malformation::kForeign:
      out = kErrorPage;
  }
  return how;
}

}  // namespace millrace::devices
