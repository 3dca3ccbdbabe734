#include <fmt/format.h>
#include <simdjson.h>

#include <chrono>
#include <cmath>
#include <cstring>

#include "base/json_text.h"
#include "ingest/avro/value_text_internal.h"
#include "ingest/values/time_text_internal.h"

namespace millrace::ingest::avro {
namespace {

__extension__ using UnsignedInt128 = unsigned __int128;

constexpr std::int64_t kSecondsOfDay = 86'400;

std::string_view View(Bytes p, std::int64_t size) {
  return {reinterpret_cast<const char*>(p), static_cast<std::size_t>(size)};
}

std::int64_t FloorDivide(std::int64_t value, std::int64_t by) { return value / by - (value % by < 0 ? 1 : 0); }

void AppendDate(std::int64_t days, std::string& out) {
  const std::chrono::year_month_day date{std::chrono::sys_days{std::chrono::days{days}}};
  fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                 static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

void AppendTime(std::int64_t seconds, std::int64_t fraction, int digits, std::string& out) {
  fmt::format_to(std::back_inserter(out), "{:02}:{:02}:{:02}.{:0{}}", seconds / 3600, seconds / 60 % 60, seconds % 60,
                 fraction, digits);
}

struct Unit {
  std::int64_t per_second = 1;
  int digits = 0;
};

Unit UnitOf(Logical logical) {
  switch (logical) {
    case Logical::kTimeMillis:
    case Logical::kTimestampMillis:
    case Logical::kLocalTimestampMillis:
      return {1'000, 3};
    case Logical::kTimeMicros:
    case Logical::kTimestampMicros:
    case Logical::kLocalTimestampMicros:
      return {1'000'000, 6};
    default:
      return {1'000'000'000, 9};
  }
}

// False: no day or time that can be written; nothing is appended.
bool AppendMoment(Logical logical, std::int64_t value, std::string& out) {
  constexpr std::int64_t kMinSeconds = kMinTimestamp / 1'000'000;
  constexpr std::int64_t kMaxSeconds = kMaxTimestamp / 1'000'000;
  if (logical == Logical::kDate) {
    if (value < kMinSeconds / kSecondsOfDay || value > kMaxSeconds / kSecondsOfDay) return false;
    AppendDate(value, out);
    return true;
  }
  const Unit unit = UnitOf(logical);
  const std::int64_t seconds = FloorDivide(value, unit.per_second);
  const std::int64_t fraction = value - seconds * unit.per_second;
  if (logical == Logical::kTimeMillis || logical == Logical::kTimeMicros) {
    if (seconds < 0 || seconds >= kSecondsOfDay) return false;
    AppendTime(seconds, fraction, unit.digits, out);
    return true;
  }
  if (seconds < kMinSeconds || seconds > kMaxSeconds) return false;
  const std::int64_t days = FloorDivide(seconds, kSecondsOfDay);
  AppendDate(days, out);
  out += 'T';
  AppendTime(seconds - days * kSecondsOfDay, fraction, unit.digits, out);
  if (logical == Logical::kTimestampMillis || logical == Logical::kTimestampMicros ||
      logical == Logical::kTimestampNanos) {
    out += 'Z';
  }
  return true;
}

void AppendDecimal(Int128 value, int scale, std::string& out) {
  const bool negative = value < 0;
  auto magnitude = static_cast<UnsignedInt128>(value);
  if (negative) magnitude = 0 - magnitude;
  std::string digits;
  for (; magnitude != 0; magnitude /= 10) digits += static_cast<char>('0' + static_cast<int>(magnitude % 10));
  if (digits.size() <= static_cast<std::size_t>(scale))
    digits.append(static_cast<std::size_t>(scale) + 1 - digits.size(), '0');
  if (negative) out += '-';
  for (std::size_t i = digits.size(); i > 0; --i) {
    if (i == static_cast<std::size_t>(scale)) out += '.';
    out += digits[i - 1];
  }
}

void AppendUuid(Bytes p, std::string& out) {
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    fmt::format_to(std::back_inserter(out), "{:02x}", p[i]);
  }
}

void AppendDuration(Bytes p, std::string& out) {
  std::uint32_t parts[3];
  std::memcpy(parts, p, sizeof parts);
  fmt::format_to(std::back_inserter(out), "P{}M{}DT{}.{:03}S", parts[0], parts[1], parts[2] / 1000, parts[2] % 1000);
}

template <typename T>
void AppendNumber(T value, std::string& out) {
  if (!std::isfinite(value)) {
    out += std::isnan(value) ? R"("NaN")" : value > 0 ? R"("Infinity")" : R"("-Infinity")";
    return;
  }
  const std::string text = fmt::format("{}", value);
  out += text;
  // So that a reader of the JSON takes it for what it is.
  if (text.find_first_of(".e") == std::string::npos) out += ".0";
}

void AppendByteText(std::string_view bytes, std::string& out) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      text += c;
    } else {
      text += static_cast<char>(0xC0 | byte >> 6);
      text += static_cast<char>(0x80 | (byte & 0x3F));
    }
  }
  AppendJsonString(text, out);
}

class JsonWriter {
 public:
  JsonWriter(Wire& wire, std::size_t limit, std::string& out) : wire_(wire), limit_(limit), out_(out) {}

  // Deep as the schema.
  Bytes Write(const Schema& schema, Bytes p) {
    if (out_.size() > limit_) return wire_.Fail("too_large", p, fmt::format("its JSON has more than {} bytes", limit_));
    switch (schema.type) {
      case Type::kNull:
        out_ += "null";
        return p;
      case Type::kBoolean: {
        bool value = false;
        p = wire_.Boolean(p, &value);
        if (p != nullptr) out_ += value ? "true" : "false";
        return p;
      }
      case Type::kInt:
      case Type::kLong:
        return WriteInteger(schema, p);
      case Type::kFloat:
        return WriteFloat<float>(p);
      case Type::kDouble:
        return WriteFloat<double>(p);
      case Type::kString:
      case Type::kBytes:
      case Type::kFixed:
        return WriteBytes(schema, p);
      case Type::kEnum: {
        std::size_t index = 0;
        p = wire_.Index(p, schema.symbols.size(), "symbol", &index);
        if (p == nullptr) return nullptr;
        if (schema.symbols[index].empty()) {
          return wire_.Fail("type_mismatch", p,
                            fmt::format("the reader's enum has no symbol of this {}", Describe(schema)));
        }
        out_.append(1, '"').append(schema.symbols[index]).append(1, '"');
        return p;
      }
      case Type::kRecord:
        return WriteRecord(schema, p);
      case Type::kUnion: {
        std::size_t index = 0;
        p = wire_.Index(p, schema.branches.size(), "branch", &index);
        if (p == nullptr) return nullptr;
        const Schema& branch = *schema.branches[index];
        if (!branch.unreadable.empty()) return wire_.Fail("type_mismatch", p, branch.unreadable);
        return Write(branch, p);
      }
      case Type::kArray:
      case Type::kMap:
        return WriteItems(schema, p);
    }
    return nullptr;
  }

 private:
  Bytes WriteInteger(const Schema& schema, Bytes p) {
    std::int64_t value = 0;
    p = wire_.Long(p, &value);
    if (p == nullptr) return nullptr;
    out_ += '"';
    if (schema.logical != Logical::kNone && AppendMoment(schema.logical, value, out_)) {
      out_ += '"';
      return p;
    }
    out_.pop_back();
    fmt::format_to(std::back_inserter(out_), "{}", value);
    return p;
  }

  template <typename T>
  Bytes WriteFloat(Bytes p) {
    const Bytes behind = wire_.Fixed(p, sizeof(T));
    if (behind == nullptr) return nullptr;
    T value;
    std::memcpy(&value, p, sizeof(T));
    AppendNumber(value, out_);
    return behind;
  }

  Bytes WriteBytes(const Schema& schema, Bytes p) {
    std::int64_t size = schema.size;
    if (schema.type != Type::kFixed && (p = wire_.Length(p, &size)) == nullptr) return nullptr;
    const Bytes behind = wire_.Fixed(p, size);
    if (behind == nullptr) return nullptr;
    Int128 decimal = 0;
    if (schema.type == Type::kString) {
      if (!IsUtf8(p, size)) return wire_.Fail("bad_utf8", p, "a text that is not UTF-8");
      AppendJsonString(View(p, size), out_);
    } else if (schema.logical == Logical::kDecimal && ReadInt128(p, size, &decimal)) {
      AppendDecimal(decimal, schema.scale, out_);
    } else if (schema.logical == Logical::kUuid || schema.logical == Logical::kDuration) {
      out_ += '"';
      schema.logical == Logical::kUuid ? AppendUuid(p, out_) : AppendDuration(p, out_);
      out_ += '"';
    } else {
      AppendByteText(View(p, size), out_);
    }
    return behind;
  }

  Bytes WriteRecord(const Schema& schema, Bytes p) {
    char before = '{';
    for (const Field& field : schema.fields) {
      if (field.presence == Field::Presence::kLeftOut) {
        p = SkipValue(wire_, *field.type, p);
      } else {
        out_.append(1, before).append(1, '"').append(field.name).append("\":");
        p = field.presence == Field::Presence::kThere ? Write(*field.type, p) : WriteDefault(field, p);
        before = ',';
      }
      if (p == nullptr) return nullptr;
    }
    out_.append(before == '{' ? "{}" : "}");
    return p;
  }

  // The record has nothing at `p`, and goes on there.
  Bytes WriteDefault(const Field& field, Bytes p) {
    Wire of_default;
    const auto* const value = reinterpret_cast<Bytes>(field.default_bytes->data());
    of_default.Begin(value, value + field.default_bytes->size(), 0);
    if (JsonWriter(of_default, limit_, out_).Write(*field.type, value) != nullptr) return p;
    const auto failure = of_default.TakeFailure();
    return wire_.Fail(failure.reason, p, fmt::format("the default of '{}': {}", field.name, failure.problem));
  }

  Bytes WriteItems(const Schema& schema, Bytes p) {
    const bool is_map = schema.type == Type::kMap;
    bool first = true;
    out_ += is_map ? '{' : '[';
    for (;;) {
      std::int64_t count = 0;
      std::int64_t bytes = 0;
      const Bytes block = p;
      p = wire_.Block(p, schema, &count, &bytes);
      if (p == nullptr) return nullptr;
      if (count == 0) break;
      if (!is_map && schema.items().min_bytes == 0 && !wire_.TakeEmptyItems(block, count)) return nullptr;
      for (; count > 0; --count) {
        if (!first) out_ += ',';
        first = false;
        if (is_map) {
          static const Schema kKey{.type = Type::kString};
          p = Write(kKey, p);
          if (p == nullptr) return nullptr;
          out_ += ':';
        }
        p = Write(schema.items(), p);
        if (p == nullptr) return nullptr;
      }
    }
    out_ += is_map ? '}' : ']';
    return p;
  }

  Wire& wire_;
  const std::size_t limit_;
  std::string& out_;
};

}  // namespace

bool IsUtf8(Bytes p, std::int64_t size) {
  return simdjson::validate_utf8(reinterpret_cast<const char*>(p), static_cast<std::size_t>(size));
}

bool ReadInt128(Bytes p, std::int64_t size, Int128* value) {
  if (size == 0) {
    *value = 0;
    return true;
  }
  const std::uint8_t sign = *p & 0x80 ? 0xFF : 0x00;
  while (size > 16 && *p == sign) {
    ++p;
    --size;
  }
  if (size > 16 || ((*p ^ sign) & 0x80 && size == 16)) return false;
  auto bits = sign == 0 ? static_cast<UnsignedInt128>(0) : ~static_cast<UnsignedInt128>(0);
  for (; size > 0; --size) bits = bits << 8 | *p++;
  *value = static_cast<Int128>(bits);
  return true;
}

Bytes SkipValue(Wire& wire, const Schema& schema, Bytes p) {
  std::int64_t number = 0;
  switch (schema.type) {
    case Type::kNull:
      return p;
    case Type::kBoolean: {
      bool value = false;
      return wire.Boolean(p, &value);
    }
    case Type::kInt:
    case Type::kLong:
      return wire.Long(p, &number);
    case Type::kFloat:
      return wire.Fixed(p, 4);
    case Type::kDouble:
      return wire.Fixed(p, 8);
    case Type::kBytes:
    case Type::kString:
      p = wire.Length(p, &number);
      return p == nullptr ? nullptr : p + number;
    case Type::kFixed:
      return wire.Fixed(p, schema.size);
    case Type::kEnum: {
      std::size_t index = 0;
      return wire.Index(p, schema.symbols.size(), "symbol", &index);
    }
    case Type::kRecord:
      // Records of nothing within each other may be many; those that take bytes need a payload that has them.
      if (schema.min_bytes == 0) return p;
      for (const Field& field : schema.fields) {
        p = SkipValue(wire, *field.type, p);
        if (p == nullptr) return nullptr;
      }
      return p;
    case Type::kUnion: {
      std::size_t index = 0;
      p = wire.Index(p, schema.branches.size(), "branch", &index);
      return p == nullptr ? nullptr : SkipValue(wire, *schema.branches[index], p);
    }
    case Type::kArray:
    case Type::kMap:
      break;
  }
  for (;;) {
    std::int64_t bytes = 0;
    p = wire.Block(p, schema, &number, &bytes);
    if (p == nullptr || number == 0) return p;
    if (bytes >= 0) {
      p += bytes;
      continue;
    }
    // Items that take no bytes are passed at once, however many they are said to be.
    if (schema.type == Type::kArray && schema.items().min_bytes == 0) continue;
    for (; number > 0; --number) {
      std::int64_t key = 0;
      if (schema.type == Type::kMap) {
        p = wire.Length(p, &key);
        if (p == nullptr) return nullptr;
        p += key;
      }
      p = SkipValue(wire, schema.items(), p);
      if (p == nullptr) return nullptr;
    }
  }
}

Bytes AppendJson(Wire& wire, const Schema& schema, Bytes p, std::size_t limit, std::string& out) {
  return JsonWriter(wire, limit, out).Write(schema, p);
}

Bytes AppendPlain(Wire& wire, const Schema& schema, Bytes p, std::size_t limit, std::string& out) {
  const bool is_number = (schema.type == Type::kInt || schema.type == Type::kLong) && schema.logical == Logical::kNone;
  if (!is_number && (schema.type == Type::kInt || schema.type == Type::kLong)) {
    std::int64_t value = 0;
    const Bytes behind = wire.Long(p, &value);
    if (behind == nullptr || AppendMoment(schema.logical, value, out)) return behind;
    return wire.Fail("out_of_range", p, fmt::format("{} is no {} that can be written", value, Describe(schema)));
  }
  if (schema.type == Type::kFloat || schema.type == Type::kDouble) {
    const std::size_t begin = out.size();
    p = AppendJson(wire, schema, p, limit, out);
    out.erase(std::remove(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(), '"'), out.end());  // "NaN"
    return p;
  }
  if (schema.type != Type::kFixed && schema.type != Type::kBytes) return AppendJson(wire, schema, p, limit, out);
  std::int64_t size = schema.size;
  if (schema.type == Type::kBytes && (p = wire.Length(p, &size)) == nullptr) return nullptr;
  const Bytes behind = wire.Fixed(p, size);
  if (behind == nullptr) return nullptr;
  Int128 decimal = 0;
  if (schema.logical == Logical::kDecimal) {
    if (!ReadInt128(p, size, &decimal)) return wire.Fail("out_of_range", p, "a decimal of more than 16 bytes");
    AppendDecimal(decimal, schema.scale, out);
  } else if (schema.logical == Logical::kUuid) {
    AppendUuid(p, out);
  } else if (schema.logical == Logical::kDuration) {
    AppendDuration(p, out);
  } else if (IsUtf8(p, size)) {
    out += View(p, size);
  } else {
    return wire.Fail("bad_utf8", p, "bytes that are not UTF-8");
  }
  return behind;
}

}  // namespace millrace::ingest::avro
