#include "ingest/values/text_shape.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <string>

#include "base/ascii_case.h"
#include "ingest/values/base64.h"
#include "ingest/values/number_text_internal.h"
#include "ingest/values/time_format_internal.h"
#include "ingest/values/time_text_internal.h"
#include "ingest/values/uuid_text_internal.h"

namespace millrace::ingest {
namespace {

// Of a date with a time; what is longer is no time.
constexpr std::size_t kTimeBytesMax = 64;
constexpr std::size_t kUsualTimeBytesMin = 16;  // "1/1/2026 1:01:01"
constexpr std::size_t kBase64BytesMin = 16;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

std::optional<TextShape> NumberShape(std::string text) {
  const std::size_t sign = text.starts_with('-') ? 1 : 0;
  const bool has_leading_zero = text.size() > sign + 1 && text[sign] == '0' && IsDigit(text[sign + 1]);
  // JSON's grammar has no zeros before a number.
  if (has_leading_zero) text.erase(sign, std::min(text.find_first_not_of('0', sign), text.size() - 1) - sign);
  NumberText number;
  if (!ScanNumber(text.c_str(), &number) || number.end != text.c_str() + text.size()) return std::nullopt;

  TextShape shape{.kind = number.integer ? TextKind::kWhole : TextKind::kFraction,
                  .has_leading_zero = has_leading_zero};
  const auto point = std::min(text.find_first_of(".eE"), text.size());
  const auto exponent_at = std::min(text.find_first_of("eE"), text.size());
  const auto before = static_cast<std::int64_t>(text[sign] == '0' ? 0 : point - sign);
  const auto after = static_cast<std::int64_t>(exponent_at > point ? exponent_at - point - 1 : 0);
  std::int64_t exponent = number.exponent + after;                                              // Of the `e` alone.
  if (text[sign] == '0' && text.find_first_of("123456789", sign) >= exponent_at) exponent = 0;  // Zero is zero.
  constexpr std::int64_t kMost = 1000;
  shape.digits_before_point = static_cast<int>(std::clamp<std::int64_t>(before + exponent, 0, kMost));
  shape.digits_after_point = static_cast<int>(std::clamp<std::int64_t>(after - exponent, 0, kMost));
  if (number.integer) {
    std::int64_t whole = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
    if (error == std::errc() && end == text.data() + text.size()) shape.whole = whole;
  }
  return shape;
}

}  // namespace

TextShape ShapeOfText(std::string_view text) {
  if (text.empty()) return {};
  char uuid[kUuidTextBytes];
  if (text.size() == kUuidTextBytes && ParseUuid(text, uuid)) return {.kind = TextKind::kUuid};
  if (IsDigit(text.front()) || text.front() == '-') {
    if (const auto number = NumberShape(std::string(text))) return *number;
    std::int32_t days = 0;
    if (ParseDate(text, &days) == TimeError::kNone) return {.kind = TextKind::kDate};
    if (text.size() > kTimeBytesMax) return {};
    UnixMicros micros = 0;
    if (ParseTimestamp(text, &micros) == TimeError::kNone) return {.kind = TextKind::kTimestamp};
    if (ParseTimestamp(std::string(text) + 'Z', &micros) == TimeError::kNone)
      return {.kind = TextKind::kLocalTimestamp};
    return {};
  }
  const std::string lower = text.size() <= 5 ? AsciiLower(std::string(text)) : "";
  return {.kind = lower == "true" || lower == "false" ? TextKind::kBool : TextKind::kOther};
}

std::uint32_t UsualTimeFormatsOf(std::string_view text) {
  static const auto formats = [] {
    std::array<std::shared_ptr<const TimeFormat>, kUsualTimeFormats.size()> parsed;
    for (std::size_t i = 0; i < parsed.size(); ++i) parsed[i] = *ParseTimeFormat(kUsualTimeFormats[i]);
    return parsed;
  }();
  if (text.size() < kUsualTimeBytesMin || text.size() > kTimeBytesMax) return 0;
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < formats.size(); ++i) {
    UnixMicros micros = 0;
    if (formats[i]->Read(text, &micros) == TimeError::kNone) bits |= std::uint32_t{1} << i;
  }
  return bits;
}

bool CouldBeBase64(std::string_view text) {
  std::string bytes;
  const bool has_other_letters =
      std::any_of(text.begin(), text.end(), [](char c) { return c == '+' || c == '/' || c == '=' || c == '_'; });
  return text.size() >= kBase64BytesMin && text.size() % 4 == 0 && has_other_letters && DecodeBase64(text, &bytes);
}

}  // namespace millrace::ingest
