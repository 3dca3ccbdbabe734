#include <fmt/format.h>
#include <google/protobuf/empty.pb.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>
#include <numeric>
#include <utility>

#include "base/json_text.h"
#include "ingest/protobuf/message_text_internal.h"
#include "ingest/protobuf/scalar_internal.h"

namespace millrace::ingest::protobuf {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

constexpr std::size_t kLevelKept = 4096;  // Values: what a record of millions of fields took is given back.

bool IsMessage(const FieldDescriptor& field) { return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE; }

// A fraction of nanoseconds as JSON's mapping writes it.
void AppendFraction(std::int32_t nanos, std::string* out) {
  if (nanos == 0) return;
  if (nanos % 1'000'000 == 0) {
    fmt::format_to(std::back_inserter(*out), ".{:03}", nanos / 1'000'000);
  } else if (nanos % 1000 == 0) {
    fmt::format_to(std::back_inserter(*out), ".{:06}", nanos / 1000);
  } else {
    fmt::format_to(std::back_inserter(*out), ".{:09}", nanos);
  }
}

void AppendNumber(const FieldDescriptor& field, std::uint64_t bits, std::string* out) {
  const auto digits = std::back_inserter(*out);
  switch (field.type()) {
    case FieldDescriptor::TYPE_BOOL:
      *out += bits != 0 ? "true" : "false";
      break;
    case FieldDescriptor::TYPE_INT64:
    case FieldDescriptor::TYPE_SINT64:
    case FieldDescriptor::TYPE_SFIXED64:
      fmt::format_to(digits, "\"{}\"", static_cast<std::int64_t>(bits));
      break;
    case FieldDescriptor::TYPE_UINT64:
    case FieldDescriptor::TYPE_FIXED64:
      fmt::format_to(digits, "\"{}\"", bits);
      break;
    case FieldDescriptor::TYPE_FLOAT:
    case FieldDescriptor::TYPE_DOUBLE:
      if (std::isfinite(RealOf(field.type(), bits))) {
        AppendReal(field.type(), bits, out);
      } else {
        *out += '"';
        AppendReal(field.type(), bits, out);
        *out += '"';
      }
      break;
    case FieldDescriptor::TYPE_ENUM: {
      const auto number = static_cast<std::int32_t>(bits);
      if (field.enum_type()->full_name() == "google.protobuf.NullValue") {
        *out += "null";
      } else if (const auto* value = field.enum_type()->FindValueByNumber(number); value != nullptr) {
        *out += '"';
        *out += value->name();
        *out += '"';
      } else {
        fmt::format_to(digits, "{}", number);
      }
      break;
    }
    default:
      fmt::format_to(digits, "{}", static_cast<std::int64_t>(bits));
  }
}

}  // namespace

class MessageText::LevelScope {
 public:
  explicit LevelScope(MessageText* text) : text_(text) {
    if (text_->num_levels_ == text_->levels_.size()) text_->levels_.emplace_back();
    level_ = &text_->levels_[text_->num_levels_++];
  }
  ~LevelScope() {
    --text_->num_levels_;
    if (level_->values.capacity() > kLevelKept || level_->entries.capacity() > kLevelKept) {
      *level_ = {};
    } else {
      level_->values.clear();
      level_->entries.clear();
      level_->order.clear();
      level_->keys.clear();
    }
  }
  LevelScope(const LevelScope&) = delete;
  LevelScope& operator=(const LevelScope&) = delete;

  Level& level() const { return *level_; }

 private:
  MessageText* text_;
  Level* level_;
};

// A message that occurs several times is one: its parts one after the other are its bytes.
class MessageText::Merged {
 public:
  Merged(WireReader* reader, WireValues values) : reader_(reader) {
    if (values.empty()) return;
    bytes_ = values[0].bytes();
    if (values.size() == 1) return;
    for (const WireValue& value : values) copy_ += value.bytes();
    bytes_ = copy_;
    is_anchored_ = true;
    before_ = reader_->Anchor(values[0].begin);
    if (before_ != nullptr) reader_->Anchor(before_);
  }
  ~Merged() {
    if (is_anchored_) reader_->Anchor(before_);
  }
  Merged(const Merged&) = delete;
  Merged& operator=(const Merged&) = delete;

  std::string_view bytes() const { return bytes_; }

 private:
  WireReader* reader_;
  std::string copy_;
  std::string_view bytes_ = "";
  bool is_anchored_ = false;
  const char* before_ = nullptr;
};

bool MessageText::HasStringForm(const Descriptor& message) {
  switch (message.well_known_type()) {
    case Descriptor::WELLKNOWNTYPE_TIMESTAMP:
    case Descriptor::WELLKNOWNTYPE_DURATION:
    case Descriptor::WELLKNOWNTYPE_FIELDMASK:
      return true;
    default:
      return false;
  }
}

bool MessageText::AppendField(const FieldDescriptor& field, WireValues values, int depth, std::string* out) {
  for (const WireValue& value : values) {
    if (!CheckWire(field, value)) return false;
  }
  if (field.is_map()) return AppendMap(field, values, depth, out);
  if (field.is_repeated()) return AppendList(field, values, depth, out);
  return AppendSingular(field, values, depth, out);
}

bool MessageText::AppendStringForm(const FieldDescriptor& field, WireValues values, int depth, std::string* out) {
  for (const WireValue& value : values) {
    if (!CheckWire(field, value)) return false;
  }
  const Merged merged(reader_, values);
  return AppendString(*field.message_type(), merged.bytes(), depth + 1, out);
}

bool MessageText::AppendRest(const Descriptor& message, std::string_view bytes, const TakenFields& taken,
                             std::string* out) {
  const std::size_t begin = out->size();
  *out += '{';
  if (!AppendMembers(message, bytes, 1, &taken, out)) return false;
  if (out->back() == '{') {
    out->resize(begin);
  } else {
    *out += '}';
  }
  return true;
}

// The fields by number, each in the order of the message.
bool MessageText::Scan(const Descriptor& message, std::string_view bytes, int depth, Level& level) {
  if (depth > kMaxMessageDepth) {
    reader_->Fail("too_deep", bytes.data(), fmt::format("messages nest deeper than {}", kMaxMessageDepth));
    return false;
  }
  std::vector<WireValue>& values = level.values;
  values.clear();
  bool sorted = true;
  const char* p = bytes.data();
  const char* const end = p + bytes.size();
  while (p != end) {
    Tag tag;
    p = reader_->ReadTag(p, end, &tag);
    if (p == nullptr) return false;
    WireValue& value = values.emplace_back();
    p = reader_->ReadValue(tag, p, end, depth, &value);
    if (p == nullptr) return false;
    sorted &= values.size() == 1 || values[values.size() - 2].number <= value.number;
  }
  if (message.real_oneof_decl_count() > 0 && !DropOneofLosers(message, depth, &values)) return false;
  if (!sorted) {
    std::stable_sort(values.begin(), values.end(),
                     [](const WireValue& one, const WireValue& other) { return one.number < other.number; });
  }
  return true;
}

// Of a oneof only the last member counts, and of that what comes after the last of the others. They must all be sound.
bool MessageText::DropOneofLosers(const Descriptor& message, int depth, std::vector<WireValue>* values) {
  struct Winner {
    std::uint32_t number = 0;
    bool closed = false;
  };
  std::vector<Winner> winners(static_cast<std::size_t>(message.real_oneof_decl_count()));
  std::vector<bool> dropped(values->size());
  bool any = false;
  for (std::size_t i = values->size(); i-- > 0;) {
    const WireValue& value = (*values)[i];
    const FieldDescriptor* const field = message.FindFieldByNumber(static_cast<int>(value.number));
    if (field == nullptr || field->real_containing_oneof() == nullptr) continue;
    Winner& winner = winners[static_cast<std::size_t>(field->real_containing_oneof()->index())];
    if (winner.number == 0) winner.number = value.number;
    winner.closed |= winner.number != value.number;
    dropped[i] = winner.closed;
    any |= winner.closed;
  }
  if (!any) return true;
  std::size_t kept = 0;
  std::string unused;
  for (std::size_t i = 0; i < values->size(); ++i) {
    const WireValue value = (*values)[i];
    if (!dropped[i]) {
      (*values)[kept++] = value;
    } else if (!AppendField(*message.FindFieldByNumber(static_cast<int>(value.number)), WireValues(&value, 1), depth,
                            &unused)) {
      return false;
    }
    unused.clear();
  }
  values->resize(kept);
  return true;
}

bool MessageText::AppendMessage(const Descriptor& message, std::string_view bytes, int depth, std::string* out) {
  switch (message.well_known_type()) {
    case Descriptor::WELLKNOWNTYPE_UNSPECIFIED:
      break;
    case Descriptor::WELLKNOWNTYPE_ANY:
      return AppendAny(message, bytes, depth, out);
    case Descriptor::WELLKNOWNTYPE_TIMESTAMP:
    case Descriptor::WELLKNOWNTYPE_DURATION:
    case Descriptor::WELLKNOWNTYPE_FIELDMASK: {
      std::string text;
      if (!AppendString(message, bytes, depth, &text)) return false;
      AppendJsonString(text, *out);
      return true;
    }
    default:
      return AppendOnlyField(message, bytes, depth, out);
  }
  *out += '{';
  if (!AppendMembers(message, bytes, depth, nullptr, out)) return false;
  *out += '}';
  return true;
}

bool MessageText::AppendMembers(const Descriptor& message, std::string_view bytes, int depth, const TakenFields* taken,
                                std::string* out) {
  const LevelScope scope(this);
  if (!Scan(message, bytes, depth, scope.level())) return false;
  const WireValues all = scope.level().values;
  for (std::size_t begin = 0, end = 0; begin < all.size(); begin = end) {
    while (end < all.size() && all[end].number == all[begin].number) ++end;
    if (!AppendMember(message, all.subspan(begin, end - begin), depth, taken, out)) return false;
  }
  return true;
}

bool MessageText::AppendMember(const Descriptor& message, WireValues values, int depth, const TakenFields* taken,
                               std::string* out) {
  const std::uint32_t number = values[0].number;
  const FieldDescriptor* const field = message.FindFieldByNumber(static_cast<int>(number));
  const char* const comma = out->back() == '{' ? "" : ",";
  if (field == nullptr) {
    if (unknown_fields_ == UnknownFields::kIgnore) return true;
    if (unknown_fields_ == UnknownFields::kReject) {
      reader_->Fail("unknown_field", values[0].begin, fmt::format("{} has no field {}", message.full_name(), number));
      return false;
    }
    fmt::format_to(std::back_inserter(*out), "{}\"{}\":", comma, number);
    return AppendUnknown(values, depth, out);
  }
  if (taken != nullptr) {
    if (const auto found = taken->fields.find(number); found != taken->fields.end()) {
      if (found->second == nullptr) return true;
      return AppendInner(*field, values, depth, *found->second, out);
    }
  }
  for (const WireValue& value : values) {
    if (!CheckWire(*field, value)) return false;
  }
  if (IsUnset(*field, values)) return true;
  *out += comma;
  // Columns that are added are called as those that are declared.
  const bool is_column = unknown_fields_ == UnknownFields::kAdd && taken != nullptr;
  AppendJsonString(is_column ? field->name() : field->json_name(), *out);
  *out += ':';
  if (!AppendField(*field, values, depth, out)) return false;
  return CheckSize(field->full_name(), values[0].begin, *out);
}

// What columns do not take of a message that some read from.
bool MessageText::AppendInner(const FieldDescriptor& field, WireValues values, int depth, const TakenFields& taken,
                              std::string* out) {
  const std::size_t begin = out->size();
  if (out->back() != '{') *out += ',';
  AppendJsonString(field.json_name(), *out);
  *out += ":{";
  const Merged merged(reader_, values);
  if (!AppendMembers(*field.message_type(), merged.bytes(), depth + 1, &taken, out)) return false;
  if (out->back() == '{') {
    out->resize(begin);
  } else {
    *out += '}';
  }
  return true;
}

bool MessageText::AppendSingular(const FieldDescriptor& field, WireValues values, int depth, std::string* out) {
  if (IsMessage(field)) {
    const Merged merged(reader_, values);
    return AppendMessage(*field.message_type(), merged.bytes(), depth + 1, out);
  }
  const WireValue& last = values.back();
  if (!IsNumber(field.type())) {
    for (const WireValue& value : values.first(values.size() - 1)) {
      if (field.type() == FieldDescriptor::TYPE_STRING && !reader_->CheckUtf8(value.bytes(), field.full_name())) {
        return false;
      }
    }
    return AppendText(field, last.bytes(), out);
  }
  std::uint64_t bits = 0;
  if (ReadNumber(*reader_, field.type(), last.begin, last.end, &bits) == nullptr) return false;
  AppendNumber(field, bits, out);
  return true;
}

bool MessageText::AppendList(const FieldDescriptor& field, WireValues values, int depth, std::string* out) {
  const bool is_number = IsNumber(field.type());
  *out += '[';
  for (const WireValue& value : values) {
    if (is_number && value.wire == Wire::kBytes) {
      for (const char* p = value.begin; p != value.end;) {
        if (out->back() != '[') *out += ',';
        std::uint64_t bits = 0;
        p = ReadNumber(*reader_, field.type(), p, value.end, &bits);
        if (p == nullptr) return false;
        AppendNumber(field, bits, out);
        if (!CheckSize(field.full_name(), value.begin, *out)) return false;
      }
      continue;
    }
    // An inner list ends with ']', so a '[' can only be ours.
    if (out->back() != '[') *out += ',';
    if (!AppendSingular(field, WireValues(&value, 1), depth, out)) return false;
    if (!CheckSize(field.full_name(), value.begin, *out)) return false;
  }
  *out += ']';
  return true;
}

bool MessageText::AppendMap(const FieldDescriptor& field, WireValues values, int depth, std::string* out) {
  const LevelScope scope(this);
  Level& level = scope.level();
  const Descriptor& entry_type = *field.message_type();
  for (const WireValue& value : values) {
    if (!ReadEntry(entry_type, value.bytes(), depth + 1, level)) return false;
  }
  std::vector<MapEntry>& entries = level.entries;
  const auto key = [&](const MapEntry& entry) {
    return std::string_view(level.keys).substr(entry.key_begin, entry.key_end - entry.key_begin);
  };
  if (entries.size() > 1) {
    level.order.resize(entries.size());
    std::iota(level.order.begin(), level.order.end(), 0U);
    std::sort(level.order.begin(), level.order.end(), [&](std::uint32_t one, std::uint32_t other) {
      const int compared = key(entries[one]).compare(key(entries[other]));
      return compared != 0 ? compared < 0 : one < other;
    });
    for (std::size_t i = 0; i + 1 < level.order.size(); ++i) {
      entries[level.order[i]].last = key(entries[level.order[i]]) != key(entries[level.order[i + 1]]);
    }
  }
  const FieldDescriptor& value_field = *entry_type.map_value();
  *out += '{';
  for (const MapEntry& entry : entries) {
    const std::size_t begin_of_entry = out->size();
    if (out->back() != '{') *out += ',';
    *out += key(entry);
    *out += ':';
    if (!Scan(entry_type, entry.bytes, depth + 1, level)) return false;
    const auto begin = std::find_if(level.values.begin(), level.values.end(),
                                    [](const WireValue& value) { return value.number == 2; });
    const auto end = std::find_if(begin, level.values.end(), [](const WireValue& value) { return value.number != 2; });
    if (begin == end) {
      if (!AppendDefault(value_field, depth + 1, out)) return false;
    } else if (!AppendField(value_field, WireValues(begin, end), depth + 1, out)) {
      return false;
    }
    if (!CheckSize(field.full_name(), entry.bytes.data(), *out)) return false;
    if (!entry.last) out->resize(begin_of_entry);  // It must be sound all the same.
  }
  *out += '}';
  return true;
}

bool MessageText::ReadEntry(const Descriptor& entry, std::string_view bytes, int depth, Level& level) {
  const FieldDescriptor& field = *entry.map_key();
  MapEntry& added = level.entries.emplace_back();
  added.bytes = bytes;
  added.key_begin = level.keys.size();
  if (!Scan(entry, bytes, depth, level)) return false;
  const WireValue* key = nullptr;
  for (const WireValue& value : level.values) {
    if (value.number == 1) key = &value;
  }
  if (key != nullptr && !CheckWire(field, *key)) return false;
  if (field.type() == FieldDescriptor::TYPE_STRING) {
    if (!AppendText(field, key == nullptr ? std::string_view("") : key->bytes(), &level.keys)) return false;
  } else {
    std::uint64_t bits = 0;
    if (key != nullptr && ReadNumber(*reader_, field.type(), key->begin, key->end, &bits) == nullptr) return false;
    std::string number;
    AppendNumber(field, bits, &number);
    if (number.front() != '"') number = fmt::format("\"{}\"", number);
    level.keys += number;
  }
  added.key_end = level.keys.size();
  return true;
}

bool MessageText::AppendDefault(const FieldDescriptor& field, int depth, std::string* out) {
  if (IsMessage(field)) return AppendMessage(*field.message_type(), "", depth + 1, out);
  if (!IsNumber(field.type())) {
    *out += "\"\"";
    return true;
  }
  const bool is_enum = field.type() == FieldDescriptor::TYPE_ENUM;
  AppendNumber(field, is_enum ? static_cast<std::uint64_t>(field.default_value_enum()->number()) : 0, out);
  return true;
}

bool MessageText::AppendText(const FieldDescriptor& field, std::string_view bytes, std::string* out) {
  if (field.type() == FieldDescriptor::TYPE_STRING) {
    if (!reader_->CheckUtf8(bytes, field.full_name())) return false;
    AppendJsonString(bytes, *out);
    return true;
  }
  *out += '"';
  AppendBase64(bytes, out);
  *out += '"';
  return true;
}

bool MessageText::AppendUnknown(WireValues values, int depth, std::string* out) {
  if (values.size() > 1) *out += '[';
  for (const WireValue& value : values) {
    if (&value != values.data()) *out += ',';
    std::uint64_t bits = 0;
    switch (value.wire) {
      case Wire::kVarint:
        reader_->ReadVarint(value.begin, value.end, &bits);
        break;
      case Wire::kFixed64:
        reader_->ReadFixed<std::uint64_t>(value.begin, value.end, &bits);
        break;
      case Wire::kFixed32:
        reader_->ReadFixed<std::uint32_t>(value.begin, value.end, &bits);
        break;
      case Wire::kBytes:
        *out += '"';
        AppendBase64(value.bytes(), out);
        *out += '"';
        continue;
      case Wire::kGroup:
      case Wire::kGroupEnd:
        // A message of which nothing is known but what is on the wire.
        *out += '{';
        if (!AppendMembers(*google::protobuf::Empty::descriptor(), value.bytes(), depth + 1, nullptr, out))
          return false;
        *out += '}';
        continue;
    }
    fmt::format_to(std::back_inserter(*out), "{}", bits);
  }
  if (values.size() > 1) *out += ']';
  return true;
}

bool MessageText::AppendString(const Descriptor& message, std::string_view bytes, int depth, std::string* out) {
  if (message.well_known_type() == Descriptor::WELLKNOWNTYPE_FIELDMASK) {
    return AppendFieldMask(message, bytes, depth, out);
  }
  Moment moment;
  if (ReadMoment(*reader_, bytes, depth, message.full_name(), &moment) == nullptr) return false;
  const bool is_timestamp = message.well_known_type() == Descriptor::WELLKNOWNTYPE_TIMESTAMP;
  if (is_timestamp ? !IsTimestamp(moment) : !IsDuration(moment)) {
    reader_->Fail("out_of_range", bytes.data(),
                  fmt::format("{} seconds and {} nanos are no {}", moment.seconds, moment.nanos, message.full_name()));
    return false;
  }
  is_timestamp ? AppendTimestamp(moment, out) : AppendDuration(moment, out);
  return true;
}

bool MessageText::AppendFieldMask(const Descriptor& message, std::string_view bytes, int depth, std::string* out) {
  const LevelScope scope(this);
  if (!Scan(message, bytes, depth, scope.level())) return false;
  const FieldDescriptor& paths = *message.field(0);
  bool first = true;
  for (const WireValue& value : scope.level().values) {
    if (static_cast<int>(value.number) != paths.number()) continue;
    if (!CheckWire(paths, value) || !reader_->CheckUtf8(value.bytes(), paths.full_name())) return false;
    if (!std::exchange(first, false)) *out += ',';
    bool upper = false;
    for (const char c : value.bytes()) {
      if (c == '_') {
        upper = true;
      } else {
        *out += upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
        upper = false;
      }
    }
  }
  return true;
}

bool MessageText::AppendAny(const Descriptor& message, std::string_view bytes, int depth, std::string* out) {
  const LevelScope scope(this);
  if (!Scan(message, bytes, depth, scope.level())) return false;
  std::string_view url;
  std::string_view content = "";
  const char* content_at = nullptr;
  for (const WireValue& value : scope.level().values) {
    const FieldDescriptor* const field = message.FindFieldByNumber(static_cast<int>(value.number));
    if (field == nullptr) continue;
    if (!CheckWire(*field, value)) return false;
    if (value.number == 1) {
      if (!reader_->CheckUtf8(value.bytes(), field->full_name())) return false;
      url = value.bytes();
    } else {
      content = value.bytes();
      content_at = value.begin;
    }
  }
  *out += '{';
  if (!url.empty() || content_at != nullptr) {
    *out += "\"@type\":";
    AppendJsonString(url, *out);
    const std::size_t slash = url.rfind('/');
    const std::string name(slash == std::string_view::npos ? url : url.substr(slash + 1));
    const Descriptor* const type = message.file()->pool()->FindMessageTypeByName(name);
    if (type == nullptr) {
      *out += ",\"value\":\"";
      AppendBase64(content, out);
      *out += '"';
    } else if (type->well_known_type() != Descriptor::WELLKNOWNTYPE_UNSPECIFIED) {
      *out += ",\"value\":";
      if (!AppendMessage(*type, content, depth + 1, out)) return false;
    } else if (!AppendMembers(*type, content, depth + 1, nullptr, out)) {
      return false;
    }
  }
  *out += '}';
  return true;
}

// A message that is written as its only field: a wrapper, Struct, ListValue, or a Value, which has one of several.
bool MessageText::AppendOnlyField(const Descriptor& message, std::string_view bytes, int depth, std::string* out) {
  const LevelScope scope(this);
  Level& level = scope.level();
  if (!Scan(message, bytes, depth, level)) return false;
  std::erase_if(level.values, [&](const WireValue& value) {
    return message.FindFieldByNumber(static_cast<int>(value.number)) == nullptr;
  });
  const bool is_value = message.well_known_type() == Descriptor::WELLKNOWNTYPE_VALUE;
  if (level.values.empty() && is_value) {
    *out += "null";
    return true;
  }
  const FieldDescriptor& field =
      is_value ? *message.FindFieldByNumber(static_cast<int>(level.values[0].number)) : *message.field(0);
  if (level.values.empty() && !field.is_repeated()) return AppendDefault(field, depth, out);
  return AppendField(field, level.values, depth, out);
}

// JSON's mapping leaves it out: a list without elements, or zero where absence is not told from it.
bool MessageText::IsUnset(const FieldDescriptor& field, WireValues values) {
  if (field.is_repeated()) {
    return IsNumber(field.type()) && std::all_of(values.begin(), values.end(), [](const WireValue& value) {
             return value.wire == Wire::kBytes && value.bytes().empty();
           });
  }
  if (field.has_presence()) return false;
  const WireValue& last = values.back();
  if (!IsNumber(field.type())) return last.bytes().empty();
  std::uint64_t bits = 0;
  ReadNumber(*reader_, field.type(), last.begin, last.end, &bits);
  return bits == 0;
}

bool MessageText::CheckWire(const FieldDescriptor& field, const WireValue& value) {
  const Wire expected = WireOf(field.type());
  if (value.wire == expected) [[likely]]
    return true;
  if (field.is_packable() && value.wire == Wire::kBytes) return true;
  reader_->Fail(
      "type_mismatch", value.begin,
      fmt::format("field '{}': expected {}, found {}", field.full_name(), NameOf(expected), NameOf(value.wire)));
  return false;
}

bool MessageText::CheckSize(std::string_view field, const char* at, const std::string& out) {
  if (out.size() <= kMaxTextBytes) [[likely]]
    return true;
  reader_->Fail("too_large", at, fmt::format("field '{}': its text has more than {} bytes", field, kMaxTextBytes));
  return false;
}

void AppendBase64(std::string_view bytes, std::string* out) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t count = std::min<std::size_t>(bytes.size() - at, 3);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      bits = bits << 8 | (i < count ? static_cast<unsigned char>(bytes[at + i]) : 0U);
    }
    for (std::size_t i = 0; i < 4; ++i) *out += i <= count ? kDigits[bits >> (18 - 6 * i) & 63] : '=';
  }
}

void AppendTimestamp(const Moment& moment, std::string* out) {
  const std::chrono::sys_seconds time{std::chrono::seconds(moment.seconds)};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const auto second = (time - day).count();
  fmt::format_to(std::back_inserter(*out), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                 static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), second / 3600,
                 second / 60 % 60, second % 60);
  AppendFraction(moment.nanos, out);
  *out += 'Z';
}

void AppendDuration(const Moment& moment, std::string* out) {
  if (moment.seconds < 0 || moment.nanos < 0) *out += '-';
  fmt::format_to(std::back_inserter(*out), "{}", moment.seconds < 0 ? -moment.seconds : moment.seconds);
  AppendFraction(moment.nanos < 0 ? -moment.nanos : moment.nanos, out);
  *out += 's';
}

void AppendReal(FieldType type, std::uint64_t bits, std::string* out) {
  const double value = RealOf(type, bits);
  if (std::isnan(value)) {
    *out += "NaN";
  } else if (std::isinf(value)) {
    *out += value < 0 ? "-Infinity" : "Infinity";
  } else if (type == FieldDescriptor::TYPE_FLOAT) {
    fmt::format_to(std::back_inserter(*out), "{}", static_cast<float>(value));
  } else {
    fmt::format_to(std::back_inserter(*out), "{}", value);
  }
}

void AppendEnum(const google::protobuf::EnumDescriptor& type, std::int32_t number, std::string* out) {
  if (const auto* value = type.FindValueByNumber(number); value != nullptr) {
    *out += value->name();
  } else {
    fmt::format_to(std::back_inserter(*out), "{}", number);
  }
}

}  // namespace millrace::ingest::protobuf
