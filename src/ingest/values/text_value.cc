#include <arrow/util/decimal.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/ascii_case.h"
#include "ingest/json/document_reader_internal.h"
#include "ingest/values/base64.h"
#include "ingest/values/number_text_internal.h"
#include "ingest/values/text_value_internal.h"
#include "ingest/values/time_format_internal.h"
#include "ingest/values/time_text_internal.h"
#include "ingest/values/uuid_text_internal.h"

namespace millrace::ingest {
namespace {

constexpr std::size_t kShownBytes = 100;
constexpr int kInt64Places = 19;
constexpr std::ptrdiff_t kStrictWords = 2;  // For a bool that does not coerce.
constexpr std::string_view kNoInstant = "is no time of the years 0001 to 9999";

std::string Quoted(std::string_view text) {
  const bool is_cut = text.size() > kShownBytes;
  std::string shown = "'";
  for (const char c : text.substr(0, kShownBytes)) shown += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  // A code point that was cut in two is left out.
  if (is_cut) {
    while ((static_cast<unsigned char>(shown.back()) & 0xC0) == 0x80) shown.pop_back();
    if (static_cast<unsigned char>(shown.back()) >= 0x80) shown.pop_back();
  }
  return shown + (is_cut ? "...'" : "'");
}

TextProblem Mismatch(std::string_view expected, std::string_view text) {
  return {"type_mismatch", fmt::format("expected {}, found {}", expected, Quoted(text))};
}

TextProblem OutOfRange(std::string_view text, std::string_view problem) {
  return {"out_of_range", fmt::format("{} {}", Quoted(text), problem)};
}

std::string_view Trimmed(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// A number's text with a zero byte behind it, where every number ends; its digits as JSON writes them.
class NumberCopy {
 public:
  // False: no number.
  bool Scan(std::string_view text, NumberText* number) {
    bool is_negative = false;
    if (!text.empty() && (text.front() == '+' || text.front() == '-')) {
      is_negative = text.front() == '-';
      text.remove_prefix(1);
      if (text.starts_with('-')) return false;
    }
    while (text.size() > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9') text.remove_prefix(1);
    char* begin = short_;
    if (text.size() + 2 > sizeof short_) {
      long_.assign(text.size() + 2, '\0');
      begin = long_.data();
    }
    char* p = begin;
    if (is_negative) *p++ = '-';
    std::memcpy(p, text.data(), text.size());
    p += text.size();
    *p = '\0';
    return ScanNumber(begin, number) && number->end == p;
  }

 private:
  char short_[64];
  std::string long_;
};

template <typename Integer>
void SetInteger(std::string_view text, std::int64_t row, Column& column, std::optional<TextProblem>* problem) {
  constexpr std::string_view kName = NumberName<Integer>();
  NumberCopy copy;
  NumberText number;
  Int128 value = 0;
  if (!copy.Scan(text, &number)) {
    *problem = Mismatch(kName, text);
    return;
  }
  const NumberError error = ToScaledInteger(number, kInt64Places, 0, column.form().rounding, &value);
  if (error == NumberError::kTooManyDecimals) {
    *problem = Mismatch(kName, text);
  } else if (error != NumberError::kNone || value != static_cast<Integer>(value)) {
    *problem = OutOfRange(text, fmt::format("is out of the range of {}", kName));
  } else {
    column.Set(row, static_cast<Integer>(value));
  }
}

std::optional<double> NotFinite(std::string_view text) {
  const bool is_negative = text.starts_with('-');
  if (is_negative || text.starts_with('+')) text.remove_prefix(1);
  const std::string word = AsciiLower(text);
  double value = 0;
  if (word == "nan") {
    value = std::numeric_limits<double>::quiet_NaN();
  } else if (word == "inf" || word == "infinity") {
    value = std::numeric_limits<double>::infinity();
  } else {
    return std::nullopt;
  }
  return is_negative ? -value : value;
}

template <typename Real>
void SetReal(std::string_view text, std::int64_t row, Column& column, std::optional<TextProblem>* problem) {
  NumberCopy copy;
  NumberText number;
  double value = 0;
  if (!copy.Scan(text, &number)) {
    const auto other = NotFinite(text);
    if (!other) {
      *problem = Mismatch(NumberName<Real>(), text);
      return;
    }
    value = *other;
  } else if (ToDouble(number, &value) != NumberError::kNone || std::abs(value) > std::numeric_limits<Real>::max()) {
    *problem = OutOfRange(text, fmt::format("is out of the range of {}", NumberName<Real>()));
    return;
  }
  column.Set(row, static_cast<Real>(value));
}

void SetDecimal(std::string_view text, std::int64_t row, Column& column, std::optional<TextProblem>* problem) {
  NumberCopy copy;
  NumberText number;
  Int128 value = 0;
  if (!copy.Scan(text, &number)) {
    *problem = Mismatch("decimal", text);
    return;
  }
  switch (ToScaledInteger(number, column.precision(), column.scale(), column.form().rounding, &value)) {
    case NumberError::kNone:
      column.Set(row, arrow::Decimal128(static_cast<std::int64_t>(value >> 64), static_cast<std::uint64_t>(value)));
      return;
    case NumberError::kOverflow:
      *problem =
          OutOfRange(text, fmt::format("is out of the range of decimal({},{})", column.precision(), column.scale()));
      return;
    case NumberError::kTooManyDecimals:
      *problem = OutOfRange(text, fmt::format("has more than {} decimals", column.scale()));
      return;
  }
}

void SetEpoch(std::string_view text, std::int64_t row, Column& column, std::optional<TextProblem>* problem) {
  std::string_view unit = "microseconds";
  int scale = 0;  // From the number's unit to microseconds.
  if (column.kind() == ValueKind::kSeconds) {
    unit = "seconds";
    scale = 6;
  } else if (column.kind() == ValueKind::kMillis) {
    unit = "milliseconds";
    scale = 3;
  } else if (column.kind() == ValueKind::kNanos) {
    unit = "nanoseconds";
    scale = -3;
  }
  NumberCopy copy;
  NumberText number;
  UnixMicros micros = 0;
  if (!copy.Scan(text, &number)) {
    *problem = Mismatch(fmt::format("number of {}", unit), text);
  } else if (ToMicros(number, scale, &micros) != NumberError::kNone || micros < kMinTimestamp ||
             micros > kMaxTimestamp) {
    *problem = OutOfRange(text, kNoInstant);
  } else {
    column.Set(row, micros);
  }
}

void SetDate(std::string_view text, std::int64_t row, Column& column, std::optional<TextProblem>* problem) {
  std::int32_t days = 0;
  switch (ParseDate(text, &days)) {
    case TimeError::kNone:
      column.Set(row, days);
      return;
    case TimeError::kShape:
      *problem = Mismatch("date YYYY-MM-DD", text);
      return;
    case TimeError::kRange:
      *problem = OutOfRange(text, "is no day of the years 0001 to 9999");
      return;
  }
}

void SetTimestamp(std::string_view text, std::int64_t row, Column& column, std::optional<TextProblem>* problem) {
  UnixMicros micros = 0;
  const TimeFormat* const format = column.form().time_format.get();
  switch (format == nullptr ? ParseTimestamp(text, &micros) : format->Read(text, &micros)) {
    case TimeError::kNone:
      column.Set(row, micros);
      return;
    case TimeError::kShape:
      *problem = format == nullptr ? Mismatch("RFC 3339 timestamp", text)
                                   : Mismatch(fmt::format("timestamp as '{}'", format->text()), text);
      return;
    case TimeError::kRange:
      *problem = OutOfRange(text, kNoInstant);
      return;
  }
}

void SetBool(std::string_view text, std::int64_t row, Column& column, std::optional<TextProblem>* problem) {
  constexpr std::array<std::string_view, 6> kTrue = {"true", "1", "t", "yes", "y", "on"};
  constexpr std::array<std::string_view, 6> kFalse = {"false", "0", "f", "no", "n", "off"};
  const std::string word = AsciiLower(text.substr(0, 6));
  const auto is_one_of = [&](const auto& words) {
    const auto end = column.form().coerce ? words.end() : words.begin() + kStrictWords;
    return std::find(words.begin(), end, word) != end;
  };
  if (is_one_of(kTrue)) {
    column.SetBool(row, true);
  } else if (is_one_of(kFalse)) {
    column.SetBool(row, false);
  } else {
    *problem = Mismatch("boolean", text);
  }
}

void SetUuid(std::string_view text, std::int64_t row, Column& column, Status* status,
             std::optional<TextProblem>* problem) {
  char canonical[kUuidTextBytes];
  if (!ParseUuid(text, canonical)) {
    *problem = Mismatch("uuid", text);
    return;
  }
  *status = SetBytes({canonical, sizeof canonical}, row, column);
}

void SetBinary(std::string_view text, std::int64_t row, Column& column, Status* status,
               std::optional<TextProblem>* problem) {
  std::string bytes;
  if (!DecodeBase64(text, &bytes)) {
    *problem = Mismatch("base64", text);
    return;
  }
  *status = SetBytes(bytes, row, column);
}

void SetJson(std::string_view text, std::int64_t row, Column& column, Status* status,
             std::optional<TextProblem>* problem) {
  std::string padded(text);
  padded.resize(text.size() + DocumentReader::kPadding);
  const char* const end = padded.data() + text.size();
  DocumentReader reader;
  reader.Begin(padded.data(), end);
  const char* behind = reader.SkipValue(DocumentReader::SkipSpace(padded.data()), 0);
  if (behind != nullptr) behind = DocumentReader::SkipSpace(behind);
  if (behind != end) {
    *problem = Mismatch("JSON", text);
    return;
  }
  *status = SetBytes(text, row, column);
}

}  // namespace

Status SetBytes(std::string_view bytes, std::int64_t row, Column& column) {
  char* out = column.text_begin(row);
  if (column.text_bytes(row) + std::ssize(bytes) > std::numeric_limits<std::int32_t>::max()) {
    return Status::CapacityError("more than 2 GiB of text in one batch");
  }
  while (static_cast<std::size_t>(column.text_limit() - out) < bytes.size()) {
    ASSIGN_OR_RETURN(out, column.GrowText(out));
  }
  std::memcpy(out, bytes.data(), bytes.size());
  column.SetTextEnd(row, out + bytes.size());
  return Status::OK();
}

Status SetFromText(std::string_view text, std::int64_t row, Column& column, std::optional<TextProblem>* problem) {
  if (column.kind() == ValueKind::kString) return SetBytes(text, row, column);
  if (column.kind() != ValueKind::kTimeFormat) text = Trimmed(text);
  Status status;
  switch (column.kind()) {
    case ValueKind::kUuid:
      SetUuid(text, row, column, &status, problem);
      break;
    case ValueKind::kBinary:
      SetBinary(text, row, column, &status, problem);
      break;
    case ValueKind::kJson:
      SetJson(text, row, column, &status, problem);
      break;
    case ValueKind::kBool:
      SetBool(text, row, column, problem);
      break;
    case ValueKind::kInt8:
      SetInteger<std::int8_t>(text, row, column, problem);
      break;
    case ValueKind::kInt16:
      SetInteger<std::int16_t>(text, row, column, problem);
      break;
    case ValueKind::kInt32:
      SetInteger<std::int32_t>(text, row, column, problem);
      break;
    case ValueKind::kInt64:
      SetInteger<std::int64_t>(text, row, column, problem);
      break;
    case ValueKind::kFloat:
      SetReal<float>(text, row, column, problem);
      break;
    case ValueKind::kDouble:
      SetReal<double>(text, row, column, problem);
      break;
    case ValueKind::kDecimal:
      SetDecimal(text, row, column, problem);
      break;
    case ValueKind::kDate:
      SetDate(text, row, column, problem);
      break;
    case ValueKind::kRfc3339:
    case ValueKind::kTimeFormat:
      SetTimestamp(text, row, column, problem);
      break;
    default:
      SetEpoch(text, row, column, problem);
      break;
  }
  return status;
}

}  // namespace millrace::ingest
