#include "postgres/value.h"

#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/decimal.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "serve/answer_writer.h"

namespace millrace::postgres {
namespace {

// From 1970-01-01 to 2000-01-01, which PostgreSQL counts from.
constexpr std::int32_t kEpochDays = 10957;
constexpr std::int64_t kUsOfSecond = 1'000'000;
constexpr std::int64_t kUsOfDay = 86'400 * kUsOfSecond;
constexpr std::int64_t kEpochUs = kEpochDays * kUsOfDay;
// As DuckDB has infinity and -infinity.
constexpr std::int64_t kInfiniteUs = std::numeric_limits<std::int64_t>::max();
constexpr std::int32_t kInfiniteDays = std::numeric_limits<std::int32_t>::max();

std::int64_t FloorDivide(std::int64_t value, std::int64_t by) {
  const std::int64_t quotient = value / by;
  return value % by < 0 ? quotient - 1 : quotient;
}

struct CivilDate {
  std::int64_t year;  // Astronomical: 0 is 1 BC.
  unsigned month;
  unsigned day;
};

// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days: <chrono> ends at the year 32767.
CivilDate CivilOf(std::int64_t days) {
  days += 719'468;
  const std::int64_t era = FloorDivide(days, 146'097);
  const auto day_of_era = static_cast<unsigned>(days - era * 146'097);
  const unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const unsigned shifted_month = (5 * day_of_year + 2) / 153;
  const unsigned day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
  const unsigned month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
  return {static_cast<std::int64_t>(year_of_era) + era * 400 + (month <= 2 ? 1 : 0), month, day};
}

// Without the " BC" that belongs at the end.
std::string DayText(const CivilDate& date) {
  return fmt::format("{:04}-{:02}-{:02}", date.year > 0 ? date.year : 1 - date.year, date.month, date.day);
}

void AppendFraction(std::int64_t us, std::string& out) {
  if (us == 0) return;
  std::string digits = fmt::format("{:06}", us);
  digits.erase(digits.find_last_not_of('0') + 1);
  out += '.';
  out += digits;
}

// As PostgreSQL prints the shortest digits that read back the same: plainly from 1e-4 up to `plain_below`.
template <typename Float>
std::string ShortestText(Float value, int plain_below) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  char buffer[64];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string_view text(buffer, static_cast<std::size_t>(end - buffer));
  const auto exponent_at = text.find('e');
  int exponent = 0;
  std::from_chars(buffer + exponent_at + (text[exponent_at + 1] == '+' ? 2 : 1), end, exponent);
  if (exponent < -4 || exponent >= plain_below) return std::string(text);
  std::string digits;
  for (const char c : text.substr(0, exponent_at)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  std::string out = std::signbit(value) ? "-" : "";
  if (exponent < 0) {
    out += "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
    return out;
  }
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole) return out + digits + std::string(whole - digits.size(), '0');
  return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

template <typename Value, typename Read, typename Append>
CellWriter Written(std::shared_ptr<arrow::Array> array, Read read, Append append) {
  return [array = std::move(array), read, append](std::int64_t row, std::string& out) {
    const Value value = read(*array, row);
    append(value, out);
    return Status::OK();
  };
}

void AppendInteger(std::int64_t value, std::int16_t bytes, std::string& out) {
  if (bytes == 2) {
    AppendInt16(out, static_cast<std::int16_t>(value));
  } else if (bytes == 4) {
    AppendInt32(out, static_cast<std::int32_t>(value));
  } else {
    AppendInt64(out, value);
  }
}

template <typename ArrayType>
Result<CellWriter> IntegerWriter(std::shared_ptr<arrow::Array> array, const PgType& type, Format format) {
  const auto read = [](const arrow::Array& all, std::int64_t row) {
    return static_cast<const ArrayType&>(all).Value(row);
  };
  using Value = typename ArrayType::value_type;
  if (format == Format::kText) {
    return Written<Value>(std::move(array), read, [](Value value, std::string& out) { out += fmt::to_string(value); });
  }
  if (type.oid == oid::kNumeric) {
    return Written<Value>(std::move(array), read,
                          [](Value value, std::string& out) { AppendNumericBinary(fmt::to_string(value), out); });
  }
  return Written<Value>(std::move(array), read, [bytes = type.bytes](Value value, std::string& out) {
    AppendInteger(static_cast<std::int64_t>(value), bytes, out);
  });
}

template <typename ArrayType>
Result<CellWriter> FloatWriter(std::shared_ptr<arrow::Array> array, Format format) {
  using Value = typename ArrayType::value_type;
  return Written<Value>(
      std::move(array),
      [](const arrow::Array& all, std::int64_t row) { return static_cast<const ArrayType&>(all).Value(row); },
      [format](Value value, std::string& out) {
        if (format == Format::kText) {
          out += FloatText(value);
        } else if constexpr (sizeof(Value) == 4) {
          AppendInt32(out, std::bit_cast<std::int32_t>(value));
        } else {
          AppendInt64(out, std::bit_cast<std::int64_t>(value));
        }
      });
}

void AppendHex(std::string_view bytes, std::string& out) {
  constexpr char kDigits[] = "0123456789abcdef";
  for (const char byte : bytes) {
    out += kDigits[static_cast<unsigned char>(byte) >> 4];
    out += kDigits[static_cast<unsigned char>(byte) & 0xF];
  }
}

void AppendUuidBinary(std::string_view text, std::string& out) {
  int digits = 0;
  int byte = 0;
  for (const char c : text) {
    if (c == '-') continue;
    byte = byte * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    if (++digits % 2 == 0) {
      out += static_cast<char>(byte);
      byte = 0;
    }
  }
}

template <typename ArrayType>
Result<CellWriter> TextWriter(std::shared_ptr<arrow::Array> array, const PgType& type, Format format) {
  const auto read = [](const arrow::Array& all, std::int64_t row) {
    const auto view = static_cast<const ArrayType&>(all).GetView(row);
    return std::string_view(view.data(), view.size());
  };
  if (type.oid == oid::kUuid && format == Format::kBinary) {
    return Written<std::string_view>(std::move(array), read, AppendUuidBinary);
  }
  if (type.oid == oid::kNumeric && format == Format::kBinary) {
    return Written<std::string_view>(std::move(array), read, AppendNumericBinary);
  }
  if (type.oid == oid::kBytea && format == Format::kText) {
    return Written<std::string_view>(std::move(array), read, [](std::string_view bytes, std::string& out) {
      out += "\\x";
      AppendHex(bytes, out);
    });
  }
  return Written<std::string_view>(std::move(array), read,
                                   [](std::string_view text, std::string& out) { out += text; });
}

std::int64_t ToMicroseconds(std::int64_t value, arrow::TimeUnit::type unit) {
  switch (unit) {
    case arrow::TimeUnit::SECOND:
      return value * kUsOfSecond;
    case arrow::TimeUnit::MILLI:
      return value * 1000;
    case arrow::TimeUnit::NANO:
      return FloorDivide(value, 1000);
    case arrow::TimeUnit::MICRO:
      break;
  }
  return value;
}

// DuckDB's are the same numbers in each unit.
std::int64_t TimestampUs(std::int64_t value, arrow::TimeUnit::type unit) {
  return value == kInfiniteUs || value == -kInfiniteUs ? value : ToMicroseconds(value, unit);
}

Result<CellWriter> TimestampWriter(std::shared_ptr<arrow::Array> array, const PgType& type, Format format) {
  const auto unit = static_cast<const arrow::TimestampType&>(*array->type()).unit();
  const auto read = [unit](const arrow::Array& all, std::int64_t row) {
    return TimestampUs(static_cast<const arrow::TimestampArray&>(all).Value(row), unit);
  };
  return Written<std::int64_t>(std::move(array), read,
                               [format, zone = type.oid == oid::kTimestampTz](std::int64_t us, std::string& out) {
                                 if (format == Format::kText) {
                                   out += TimestampText(us, zone);
                                 } else if (us == kInfiniteUs) {
                                   AppendInt64(out, std::numeric_limits<std::int64_t>::max());
                                 } else if (us == -kInfiniteUs) {
                                   AppendInt64(out, std::numeric_limits<std::int64_t>::min());
                                 } else {
                                   AppendInt64(out, us - kEpochUs);
                                 }
                               });
}

Result<CellWriter> DateWriter(std::shared_ptr<arrow::Array> array, Format format) {
  return Written<std::int32_t>(
      std::move(array),
      [](const arrow::Array& all, std::int64_t row) { return static_cast<const arrow::Date32Array&>(all).Value(row); },
      [format](std::int32_t days, std::string& out) {
        if (format == Format::kText) {
          out += DateText(days);
        } else if (days == kInfiniteDays) {
          AppendInt32(out, std::numeric_limits<std::int32_t>::max());
        } else if (days == -kInfiniteDays) {
          AppendInt32(out, std::numeric_limits<std::int32_t>::min());
        } else {
          AppendInt32(out, days - kEpochDays);
        }
      });
}

Result<CellWriter> TimeWriter(std::shared_ptr<arrow::Array> array, Format format) {
  const auto unit = static_cast<const arrow::Time64Type&>(*array->type()).unit();
  const auto read = [unit](const arrow::Array& all, std::int64_t row) {
    return ToMicroseconds(static_cast<const arrow::Time64Array&>(all).Value(row), unit);
  };
  return Written<std::int64_t>(std::move(array), read, [format](std::int64_t us, std::string& out) {
    if (format == Format::kText) {
      out += TimeText(us);
    } else {
      AppendInt64(out, us);
    }
  });
}

Result<CellWriter> IntervalWriter(std::shared_ptr<arrow::Array> array, Format format) {
  using Value = arrow::MonthDayNanoIntervalType::MonthDayNanos;
  const auto read = [](const arrow::Array& all, std::int64_t row) {
    return static_cast<const arrow::MonthDayNanoIntervalArray&>(all).Value(row);
  };
  return Written<Value>(std::move(array), read, [format](const Value& value, std::string& out) {
    const std::int64_t us = value.nanoseconds / 1000;
    if (format == Format::kText) {
      out += IntervalText(value.months, value.days, us);
      return;
    }
    AppendInt64(out, us);
    AppendInt32(out, value.days);
    AppendInt32(out, value.months);
  });
}

// Each value is looked up in the dictionary, whose values are texts.
Result<CellWriter> DictionaryWriter(std::shared_ptr<arrow::Array> array, const PgType& type, Format format) {
  const auto& dictionary = static_cast<const arrow::DictionaryArray&>(*array);
  ASSIGN_OR_RETURN(auto words, MakeCellWriter(dictionary.dictionary(), type, format));
  return [array = std::move(array), words = std::move(words)](std::int64_t row, std::string& out) {
    return words(static_cast<const arrow::DictionaryArray&>(*array).GetValueIndex(row), out);
  };
}

// The same in text and in binary.
CellWriter JsonWriter(const std::shared_ptr<arrow::Array>& array) {
  const auto batch =
      arrow::RecordBatch::Make(arrow::schema({arrow::field("v", array->type())}), array->length(), {array});
  return [batch](std::int64_t row, std::string& out) -> Status {
    std::string line;
    RETURN_NOT_OK(serve::AppendNdjson(*batch->Slice(row, 1), line));
    constexpr std::string_view kBefore = R"({"v":)";
    constexpr std::string_view kAfter = "}\n";
    out += std::string_view(line).substr(kBefore.size(), line.size() - kBefore.size() - kAfter.size());
    return Status::OK();
  };
}

struct ListSlice {
  std::int64_t begin = 0;
  std::int64_t size = 0;
};

template <typename ListType>
ListSlice SliceOf(const arrow::Array& array, std::int64_t row) {
  const auto& list = static_cast<const ListType&>(array);
  return {list.value_offset(row), list.value_length(row)};
}

bool NeedsQuotes(std::string_view text) {
  if (text.empty()) return true;
  if (text.size() == 4 && (text[0] | 0x20) == 'n' && (text[1] | 0x20) == 'u' && (text[2] | 0x20) == 'l' &&
      (text[3] | 0x20) == 'l') {
    return true;
  }
  return text.find_first_of("{},\"\\ \t\n\r\v\f") != std::string_view::npos;
}

Status AppendArrayText(const arrow::Array& values, const ListSlice& slice, const CellWriter& element,
                       std::string& out) {
  out += '{';
  std::string text;
  for (std::int64_t i = slice.begin; i < slice.begin + slice.size; ++i) {
    if (i != slice.begin) out += ',';
    if (values.IsNull(i)) {
      out += "NULL";
      continue;
    }
    text.clear();
    RETURN_NOT_OK(element(i, text));
    if (!NeedsQuotes(text)) {
      out += text;
      continue;
    }
    out += '"';
    for (const char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  out += '}';
  return Status::OK();
}

Status AppendArrayBinary(const arrow::Array& values, const ListSlice& slice, std::uint32_t element_oid,
                         const CellWriter& element, std::string& out) {
  bool has_null = false;
  for (std::int64_t i = slice.begin; i < slice.begin + slice.size; ++i) has_null |= values.IsNull(i);
  AppendInt32(out, slice.size == 0 ? 0 : 1);  // Dimensions.
  AppendInt32(out, has_null ? 1 : 0);
  AppendInt32(out, static_cast<std::int32_t>(element_oid));
  if (slice.size == 0) return Status::OK();
  AppendInt32(out, static_cast<std::int32_t>(slice.size));
  AppendInt32(out, 1);  // The first index.
  std::string value;
  for (std::int64_t i = slice.begin; i < slice.begin + slice.size; ++i) {
    if (values.IsNull(i)) {
      AppendInt32(out, -1);
      continue;
    }
    value.clear();
    RETURN_NOT_OK(element(i, value));
    AppendInt32(out, static_cast<std::int32_t>(value.size()));
    out += value;
  }
  return Status::OK();
}

Result<CellWriter> ListWriter(std::shared_ptr<arrow::Array> array, const PgType& type, Format format) {
  const bool is_fixed = array->type_id() == arrow::Type::FIXED_SIZE_LIST;
  const auto values = is_fixed ? static_cast<const arrow::FixedSizeListArray&>(*array).values()
                               : static_cast<const arrow::ListArray&>(*array).values();
  const auto slice_of = is_fixed ? &SliceOf<arrow::FixedSizeListArray> : &SliceOf<arrow::ListArray>;
  const PgType element_type{.oid = type.element, .bytes = FindType(type.element)->bytes, .modifier = type.modifier};
  ASSIGN_OR_RETURN(auto element, MakeCellWriter(values, element_type, format));
  return [=, array = std::move(array), element = std::move(element)](std::int64_t row, std::string& out) {
    const ListSlice slice = slice_of(*array, row);
    return format == Format::kText ? AppendArrayText(*values, slice, element, out)
                                   : AppendArrayBinary(*values, slice, type.element, element, out);
  };
}

}  // namespace

Result<CellWriter> MakeCellWriter(std::shared_ptr<arrow::Array> array, const PgType& type, Format format) {
  const bool is_text = type.oid == oid::kJson || type.oid == oid::kText || type.oid == oid::kUuid ||
                       type.oid == oid::kBytea || type.oid == oid::kNumeric;
  switch (array->type_id()) {
    case arrow::Type::NA:
      return [](std::int64_t, std::string&) { return Status::OK(); };
    case arrow::Type::BOOL:
      return Written<bool>(
          std::move(array),
          [](const arrow::Array& all, std::int64_t row) {
            return static_cast<const arrow::BooleanArray&>(all).Value(row);
          },
          [format](bool value, std::string& out) {
            out += format == Format::kBinary ? static_cast<char>(value) : value ? 't' : 'f';
          });
    case arrow::Type::INT8:
      return IntegerWriter<arrow::Int8Array>(std::move(array), type, format);
    case arrow::Type::INT16:
      return IntegerWriter<arrow::Int16Array>(std::move(array), type, format);
    case arrow::Type::INT32:
      return IntegerWriter<arrow::Int32Array>(std::move(array), type, format);
    case arrow::Type::INT64:
      return IntegerWriter<arrow::Int64Array>(std::move(array), type, format);
    case arrow::Type::UINT8:
      return IntegerWriter<arrow::UInt8Array>(std::move(array), type, format);
    case arrow::Type::UINT16:
      return IntegerWriter<arrow::UInt16Array>(std::move(array), type, format);
    case arrow::Type::UINT32:
      return IntegerWriter<arrow::UInt32Array>(std::move(array), type, format);
    case arrow::Type::UINT64:
      return IntegerWriter<arrow::UInt64Array>(std::move(array), type, format);
    case arrow::Type::FLOAT:
      return FloatWriter<arrow::FloatArray>(std::move(array), format);
    case arrow::Type::DOUBLE:
      return FloatWriter<arrow::DoubleArray>(std::move(array), format);
    case arrow::Type::DECIMAL128: {
      const int scale = static_cast<const arrow::Decimal128Type&>(*array->type()).scale();
      return Written<arrow::Decimal128>(
          std::move(array),
          [](const arrow::Array& all, std::int64_t row) {
            return arrow::Decimal128(static_cast<const arrow::Decimal128Array&>(all).GetValue(row));
          },
          [scale, format](const arrow::Decimal128& value, std::string& out) {
            // Arrow writes small ones as 0E-2.
            std::string text = value.ToIntegerString();
            if (scale > 0) {
              const std::size_t sign = text.starts_with('-') ? 1 : 0;
              const auto digits = static_cast<std::size_t>(scale);
              if (text.size() - sign <= digits) text.insert(sign, digits + 1 - (text.size() - sign), '0');
              text.insert(text.size() - digits, 1, '.');
            }
            if (format == Format::kText) {
              out += text;
            } else {
              AppendNumericBinary(text, out);
            }
          });
    }
    case arrow::Type::STRING:
      if (is_text) return TextWriter<arrow::StringArray>(std::move(array), type, format);
      break;
    case arrow::Type::BINARY:
      if (is_text) return TextWriter<arrow::BinaryArray>(std::move(array), type, format);
      break;
    case arrow::Type::DATE32:
      return DateWriter(std::move(array), format);
    case arrow::Type::TIME64:
      if (type.oid == oid::kTime) return TimeWriter(std::move(array), format);
      break;
    case arrow::Type::TIMESTAMP:
      return TimestampWriter(std::move(array), type, format);
    case arrow::Type::INTERVAL_MONTH_DAY_NANO:
      return IntervalWriter(std::move(array), format);
    case arrow::Type::DICTIONARY:
      return DictionaryWriter(std::move(array), type, format);
    case arrow::Type::LIST:
    case arrow::Type::FIXED_SIZE_LIST:
      if (type.element != 0) return ListWriter(std::move(array), type, format);
      break;
    default:
      break;
  }
  if (type.oid == oid::kJson) return JsonWriter(array);
  return Internal("a column of Arrow's type {} cannot be told as PostgreSQL's type {}", array->type()->ToString(),
                  type.oid);
}

std::string DateText(std::int32_t days) {
  if (days == kInfiniteDays) return "infinity";
  if (days == -kInfiniteDays) return "-infinity";
  const CivilDate date = CivilOf(days);
  return DayText(date) + (date.year > 0 ? "" : " BC");
}

std::string TimestampText(std::int64_t us, bool with_zone) {
  if (us == kInfiniteUs) return "infinity";
  if (us == -kInfiniteUs) return "-infinity";
  const std::int64_t days = FloorDivide(us, kUsOfDay);
  const CivilDate date = CivilOf(days);
  return DayText(date) + " " + TimeText(us - days * kUsOfDay) + (with_zone ? "+00" : "") + (date.year > 0 ? "" : " BC");
}

std::string TimeText(std::int64_t us) {
  const std::int64_t seconds = us / kUsOfSecond;
  std::string text = fmt::format("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
  AppendFraction(us % kUsOfSecond, text);
  return text;
}

std::string IntervalText(std::int32_t months, std::int32_t days, std::int64_t us) {
  std::string out;
  bool after_negative = false;
  const auto part = [&](std::int64_t value, const char* unit) {
    if (value == 0) return;
    out += fmt::format("{}{}{} {}{}", out.empty() ? "" : " ", after_negative && value > 0 ? "+" : "", value, unit,
                       value == 1 ? "" : "s");
    after_negative = value < 0;
  };
  part(months / 12, "year");
  part(months % 12, "mon");
  part(days, "day");
  if (out.empty() || us != 0) {
    if (!out.empty()) out += ' ';
    const std::uint64_t size = us < 0 ? 0 - static_cast<std::uint64_t>(us) : static_cast<std::uint64_t>(us);
    out += us < 0 ? "-" : after_negative ? "+" : "";
    const std::uint64_t seconds = size / kUsOfSecond;
    out += fmt::format("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    AppendFraction(static_cast<std::int64_t>(size % kUsOfSecond), out);
  }
  return out;
}

std::string FloatText(float value) { return ShortestText(value, 6); }
std::string FloatText(double value) { return ShortestText(value, 15); }

void AppendNumericBinary(std::string_view text, std::string& out) {
  const bool is_negative = text.starts_with('-');
  if (is_negative) text.remove_prefix(1);
  const auto point = std::min(text.find('.'), text.size());
  std::string whole(text.substr(0, point));
  std::string fraction(point < text.size() ? text.substr(point + 1) : "");
  const auto scale = static_cast<std::int16_t>(fraction.size());
  // Groups of four digits, counted from the point.
  whole.insert(0, (4 - whole.size() % 4) % 4, '0');
  fraction.append((4 - fraction.size() % 4) % 4, '0');
  const std::string digits = whole + fraction;
  std::vector<std::int16_t> groups;
  for (std::size_t at = 0; at < digits.size(); at += 4) {
    std::int16_t group = 0;
    for (std::size_t i = at; i < at + 4; ++i) group = static_cast<std::int16_t>(group * 10 + (digits[i] - '0'));
    groups.push_back(group);
  }
  auto weight = static_cast<std::int16_t>(whole.size() / 4 - 1);
  std::size_t first = 0;
  while (first < groups.size() && groups[first] == 0) ++first, --weight;
  std::size_t last = groups.size();
  while (last > first && groups[last - 1] == 0) --last;
  const bool is_zero = first == last;
  AppendInt16(out, static_cast<std::int16_t>(last - first));
  AppendInt16(out, is_zero ? std::int16_t{0} : weight);
  AppendInt16(out, is_negative && !is_zero ? std::int16_t{0x4000} : std::int16_t{0});
  AppendInt16(out, scale);
  for (std::size_t i = first; i < last; ++i) AppendInt16(out, groups[i]);
}

}  // namespace millrace::postgres
