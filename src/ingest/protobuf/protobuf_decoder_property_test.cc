// Promises about all schemas and messages, on random ones. The judge is libprotobuf: what its DynamicMessage reads from
// the same bytes is what the columns hold, to the last bit, and what its JSON printer prints is what JSON texts say.
#include <arrow/array.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>
#include <simdjson.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/decoder_testing_internal.h"
#include "ingest/event_decoder.h"
#include "ingest/protobuf/message_text_internal.h"
#include "ingest/protobuf/protobuf_decoder.h"
#include "ingest/protobuf/test_messages.h"
#include "testing/status_matchers.h"

namespace millrace::ingest::protobuf {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FieldDescriptorProto;
using google::protobuf::FileDescriptorProto;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr int kMessages = 4;  // M0 to M3; M0 is the record.

// Of entries with one key the last. DynamicMessage keeps a map's entries as a list, and prints all of them.
void DropOverwrittenEntries(Message* message) {
  const Reflection& reflection = *message->GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(*message, &fields);
  for (const FieldDescriptor* const field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      DropOverwrittenEntries(reflection.MutableMessage(message, field));
      continue;
    }
    std::set<std::string> keys;
    std::vector<bool> kept(static_cast<std::size_t>(reflection.FieldSize(*message, field)));
    for (std::size_t i = kept.size(); i-- > 0;) {
      Message* const inner = reflection.MutableRepeatedMessage(message, field, static_cast<int>(i));
      DropOverwrittenEntries(inner);
      std::string key = std::to_string(i);
      if (field->is_map()) {
        google::protobuf::TextFormat::PrintFieldValueToString(*inner, field->message_type()->map_key(), -1, &key);
      }
      kept[i] = keys.insert(key).second;
    }
    int size = 0;
    for (std::size_t i = 0; i < kept.size(); ++i) {
      if (kept[i]) reflection.SwapElements(message, field, size++, static_cast<int>(i));
    }
    while (reflection.FieldSize(*message, field) > size) reflection.RemoveLast(message, field);
  }
}

class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {}

  // What an Any holds is of this schema.
  void HoldInAny(TestSchema* schema) { any_ = schema; }
  std::uint64_t Below(std::uint64_t bound) { return random_() % bound; }
  bool OneIn(std::uint64_t n) { return Below(n) == 0; }

  FileDescriptorProto File() {
    FileDescriptorProto file;
    file.set_name("test.proto");
    file.set_package("p");
    proto3_ = !OneIn(3);
    file.set_syntax(proto3_ ? "proto3" : "proto2");
    for (const char* name : {"any", "duration", "field_mask", "struct", "timestamp", "wrappers"}) {
      file.add_dependency("google/protobuf/" + std::string(name) + ".proto");
    }
    auto* const enum_type = file.add_enum_type();
    enum_type->set_name("E");
    const std::pair<const char*, int> values[] = {{"ZERO", 0}, {"ONE", 1}, {"MINUS", -1}, {"BIG", 2147483647}};
    for (const auto& [name, number] : values) {
      auto* const value = enum_type->add_value();
      value->set_name(name);
      value->set_number(number);
    }
    for (int i = 0; i < kMessages; ++i) AddMessage(i, file.add_message_type());
    return file;
  }

  // With whatever a message of this type can have. `depth` ends recursion.
  void Fill(Message* message, int depth) {
    const Descriptor& type = *message->GetDescriptor();
    if (FillWellKnown(message, depth)) return;
    const Reflection& reflection = *message->GetReflection();
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor& field = *type.field(i);
      if (OneIn(3)) continue;
      if (!field.is_repeated()) {
        SetOrAdd(message, reflection, field, depth, false);
        continue;
      }
      for (std::uint64_t n = Below(4); n > 0; --n) SetOrAdd(message, reflection, field, depth, true);
    }
  }

 private:
  void AddMessage(int index, google::protobuf::DescriptorProto* message) {
    message->set_name("M" + std::to_string(index));
    int number = 0;
    if (OneIn(2)) message->add_oneof_decl()->set_name("choice");
    const int in_oneof = message->oneof_decl_size() > 0 ? 2 + static_cast<int>(Below(3)) : 0;
    for (int i = 0, n = in_oneof + 3 + static_cast<int>(Below(12)); i < n; ++i) {
      number += 1 + static_cast<int>(OneIn(8) ? Below(3000) : Below(3));
      if (number >= 19000 && number < 20000) number = 20000;
      FieldDescriptorProto& field = *message->add_field();
      field.set_name(fmt::format("{}field_{}", OneIn(4) ? "a_b" : "", i));
      field.set_number(number);
      field.set_label(FieldDescriptorProto::LABEL_OPTIONAL);
      SetType(field);
      if (i < in_oneof) {
        field.set_oneof_index(0);
      } else if (OneIn(6)) {
        AddMap(message, field);
      } else if (OneIn(3)) {
        field.set_label(FieldDescriptorProto::LABEL_REPEATED);
        const bool packable = field.type() != FieldDescriptorProto::TYPE_STRING &&
                              field.type() != FieldDescriptorProto::TYPE_BYTES &&
                              field.type() != FieldDescriptorProto::TYPE_MESSAGE;
        if (packable && OneIn(2)) field.mutable_options()->set_packed(OneIn(2));
      }
      // Numbers in any order of the file.
      if (OneIn(5) && i > in_oneof)
        message->mutable_field()->SwapElements(
            i, in_oneof + static_cast<int>(Below(static_cast<std::uint64_t>(i - in_oneof))));
    }
    for (FieldDescriptorProto& field : *message->mutable_field()) {
      const bool plain = field.label() == FieldDescriptorProto::LABEL_OPTIONAL && !field.has_oneof_index();
      if (!proto3_ || !plain || !OneIn(3)) continue;
      field.set_proto3_optional(true);
      field.set_oneof_index(message->oneof_decl_size());
      message->add_oneof_decl()->set_name("_" + field.name());
    }
  }

  void SetType(FieldDescriptorProto& field) {
    constexpr FieldDescriptorProto::Type kTypes[] = {
        FieldDescriptorProto::TYPE_DOUBLE,   FieldDescriptorProto::TYPE_FLOAT,    FieldDescriptorProto::TYPE_INT64,
        FieldDescriptorProto::TYPE_UINT64,   FieldDescriptorProto::TYPE_INT32,    FieldDescriptorProto::TYPE_FIXED64,
        FieldDescriptorProto::TYPE_FIXED32,  FieldDescriptorProto::TYPE_BOOL,     FieldDescriptorProto::TYPE_STRING,
        FieldDescriptorProto::TYPE_BYTES,    FieldDescriptorProto::TYPE_UINT32,   FieldDescriptorProto::TYPE_ENUM,
        FieldDescriptorProto::TYPE_SFIXED32, FieldDescriptorProto::TYPE_SFIXED64, FieldDescriptorProto::TYPE_SINT32,
        FieldDescriptorProto::TYPE_SINT64,   FieldDescriptorProto::TYPE_STRING,   FieldDescriptorProto::TYPE_MESSAGE,
        FieldDescriptorProto::TYPE_MESSAGE,  FieldDescriptorProto::TYPE_MESSAGE};
    constexpr const char* kKnown[] = {"Any",         "Duration",   "FieldMask",   "Struct",
                                      "Value",       "ListValue",  "Timestamp",   "DoubleValue",
                                      "FloatValue",  "Int64Value", "UInt64Value", "Int32Value",
                                      "UInt32Value", "BoolValue",  "StringValue", "BytesValue"};
    field.set_type(kTypes[Below(std::size(kTypes))]);
    if (field.type() == FieldDescriptorProto::TYPE_ENUM) field.set_type_name(".p.E");
    if (field.type() != FieldDescriptorProto::TYPE_MESSAGE) return;
    field.set_type_name(OneIn(2) ? fmt::format(".p.M{}", Below(kMessages))
                                 : fmt::format(".google.protobuf.{}", kKnown[Below(std::size(kKnown))]));
  }

  void AddMap(google::protobuf::DescriptorProto* message, FieldDescriptorProto& field) {
    std::string name;  // As protoc names it.
    bool upper = true;
    for (const char c : field.name()) {
      if (c == '_') {
        upper = true;
      } else {
        name += upper && c >= 'a' ? static_cast<char>(c - 'a' + 'A') : c;
        upper = false;
      }
    }
    auto* const entry = message->add_nested_type();
    entry->set_name(name + "Entry");
    entry->mutable_options()->set_map_entry(true);
    constexpr FieldDescriptorProto::Type kKeys[] = {
        FieldDescriptorProto::TYPE_STRING, FieldDescriptorProto::TYPE_INT32,  FieldDescriptorProto::TYPE_UINT64,
        FieldDescriptorProto::TYPE_BOOL,   FieldDescriptorProto::TYPE_SINT64, FieldDescriptorProto::TYPE_FIXED32};
    FieldDescriptorProto& key = *entry->add_field();
    key.set_name("key");
    key.set_number(1);
    key.set_label(FieldDescriptorProto::LABEL_OPTIONAL);
    key.set_type(kKeys[Below(std::size(kKeys))]);
    FieldDescriptorProto& value = *entry->add_field();
    value.set_name("value");
    value.set_number(2);
    value.set_label(FieldDescriptorProto::LABEL_OPTIONAL);
    value.set_type(field.type());
    if (field.has_type_name()) value.set_type_name(field.type_name());
    field.set_label(FieldDescriptorProto::LABEL_REPEATED);
    field.set_type(FieldDescriptorProto::TYPE_MESSAGE);
    field.set_type_name(".p." + message->name() + "." + entry->name());
  }

  bool FillWellKnown(Message* message, int depth) {
    const Descriptor& type = *message->GetDescriptor();
    const Reflection& reflection = *message->GetReflection();
    switch (type.well_known_type()) {
      case Descriptor::WELLKNOWNTYPE_TIMESTAMP:
        reflection.SetInt64(message, type.field(0), static_cast<std::int64_t>(Below(315'537'897'600)) - 62'135'596'800);
        reflection.SetInt32(message, type.field(1), Nanos());
        return true;
      case Descriptor::WELLKNOWNTYPE_DURATION: {
        const bool negative = negative_durations_;
        const auto seconds = static_cast<std::int64_t>(OneIn(4) ? 0 : Below(315'576'000'000));
        reflection.SetInt64(message, type.field(0), negative ? -seconds : seconds);
        const std::int32_t nanos = Nanos();
        reflection.SetInt32(message, type.field(1), negative ? -nanos : nanos);
        return true;
      }
      case Descriptor::WELLKNOWNTYPE_FIELDMASK:
        for (std::uint64_t n = Below(3); n > 0; --n)
          reflection.AddString(message, type.field(0), OneIn(2) ? "a.b_c" : "de");
        return true;
      case Descriptor::WELLKNOWNTYPE_VALUE: {
        // libprotobuf has no text for a Value without a kind, or for a number that JSON has none for.
        const std::uint64_t kind = Below(depth > 0 ? 6 : 4);
        const FieldDescriptor& field = *type.field(static_cast<int>(kind));
        if (field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
          reflection.SetDouble(message, &field, static_cast<double>(static_cast<std::int64_t>(random_())) / 1024);
        } else {
          SetOrAdd(message, reflection, field, depth, false);
        }
        return true;
      }
      case Descriptor::WELLKNOWNTYPE_ANY: {
        if (OneIn(4) || any_ == nullptr || depth <= 0) return true;
        const auto content = any_->New("p.M" + std::to_string(any_type_));
        Fill(content.get(), depth - 1);
        DropOverwrittenEntries(content.get());
        reflection.SetString(message, type.field(0), "type.googleapis.com/" + content->GetDescriptor()->full_name());
        reflection.SetString(message, type.field(1), content->SerializeAsString());
        return true;
      }
      default:
        return false;
    }
  }

  std::int32_t Nanos() {
    constexpr std::int32_t kUnits[] = {1'000'000'000, 1'000'000, 1000, 1};
    const std::int32_t unit = kUnits[Below(4)];
    return static_cast<std::int32_t>(Below(1'000'000'000 / static_cast<std::uint64_t>(unit))) * unit;
  }

  std::string Text() {
    const char* const pieces[] = {"a",      "\"",         "\\", "\n",     "\u00e9",
                                  "\u20ac", "\U0001F600", "</", "\u0001", "0123456789abcdef"};
    std::string text;
    for (std::uint64_t n = Below(5); n > 0; --n) text += pieces[Below(std::size(pieces))];
    return text;
  }

  std::uint64_t Bits() {
    return OneIn(4) ? Below(2) : OneIn(2) ? random_() >> Below(64) : 0 - (random_() >> Below(64));
  }

  void SetOrAdd(Message* message, const Reflection& reflection, const FieldDescriptor& field, int depth, bool add) {
    const std::uint64_t bits = Bits();
    switch (field.cpp_type()) {
#define MILLRACE_SET(CASE, NAME, VALUE)                                                                \
  case FieldDescriptor::CPPTYPE_##CASE:                                                                \
    add ? reflection.Add##NAME(message, &field, VALUE) : reflection.Set##NAME(message, &field, VALUE); \
    break
      MILLRACE_SET(INT32, Int32, static_cast<std::int32_t>(bits));
      MILLRACE_SET(INT64, Int64, static_cast<std::int64_t>(bits));
      MILLRACE_SET(UINT32, UInt32, static_cast<std::uint32_t>(bits));
      MILLRACE_SET(UINT64, UInt64, bits);
      MILLRACE_SET(DOUBLE, Double, OneIn(2) ? std::bit_cast<double>(random_()) : static_cast<double>(bits) / 100);
      MILLRACE_SET(FLOAT, Float,
                   OneIn(2) ? std::bit_cast<float>(static_cast<std::uint32_t>(random_()))
                            : static_cast<float>(bits % 1000) / 10);
      MILLRACE_SET(BOOL, Bool, OneIn(2));
      MILLRACE_SET(
          STRING, String,
          field.type() == FieldDescriptor::TYPE_BYTES ? std::string(Below(7), static_cast<char>(random_())) : Text());
      MILLRACE_SET(ENUM, Enum,
                   field.enum_type()->value(
                       static_cast<int>(Below(static_cast<std::uint64_t>(field.enum_type()->value_count())))));
#undef MILLRACE_SET
      case FieldDescriptor::CPPTYPE_MESSAGE: {
        // A Value is there at any depth: libprotobuf has no text for one without a kind.
        const bool is_value = field.message_type()->well_known_type() == Descriptor::WELLKNOWNTYPE_VALUE;
        if (depth <= 0 && !field.is_map() && !is_value && field.containing_type()->well_known_type() == 0) return;
        Message* const inner =
            add ? reflection.AddMessage(message, &field) : reflection.MutableMessage(message, &field);
        if (field.is_map()) {
          const Reflection& entry = *inner->GetReflection();
          SetOrAdd(inner, entry, *field.message_type()->map_key(), depth, false);
          SetOrAdd(inner, entry, *field.message_type()->map_value(), depth - 1, false);
        } else {
          Fill(inner, depth - 1);
        }
        break;
      }
    }
  }

  TestSchema* any_ = nullptr;
  std::mt19937_64 random_;
  // Of parts that are merged, one may have the seconds of a Duration and another its nanos, which must have one sign;
  // one the type of an Any and another its bytes.
  const bool negative_durations_ = OneIn(2);
  const std::uint64_t any_type_ = Below(kMessages);
  bool proto3_ = true;
};

// The same value, whatever way a number is written: 1e15 is 1000000000000000, and a float has nine digits at most, of
// which libprotobuf writes all and we as few as will do.
bool SameNumber(double one, double other) {
  const bool is_short = std::strtod(fmt::format("{:.9g}", other).c_str(), nullptr) == other;
  return one == other || (is_short && static_cast<float>(one) == static_cast<float>(other));
}

bool SameJson(simdjson::dom::element one, simdjson::dom::element other) {
  if (one.is_number() && other.is_number()) return SameNumber(double(one), double(other));
  if (one.type() != other.type()) return false;
  if (one.is_array()) {
    const simdjson::dom::array left = one;
    const simdjson::dom::array right = other;
    return std::equal(left.begin(), left.end(), right.begin(), right.end(), SameJson);
  }
  if (one.is_object()) {
    const simdjson::dom::object left = one;
    const simdjson::dom::object right = other;
    return left.size() == right.size() && std::all_of(left.begin(), left.end(), [&](const auto& member) {
             simdjson::dom::element found;
             return right.at_key(member.key).get(found) == simdjson::SUCCESS && SameJson(member.value, found);
           });
  }
  return simdjson::to_string(one) == simdjson::to_string(other);
}

bool SameJsonText(const std::string& one, const std::string& other) {
  simdjson::dom::parser left_parser;
  simdjson::dom::parser right_parser;
  simdjson::dom::element left;
  simdjson::dom::element right;
  return left_parser.parse(one).get(left) == simdjson::SUCCESS &&
         right_parser.parse(other).get(right) == simdjson::SUCCESS && SameJson(left, right);
}

std::string JsonOf(const Message& message) {
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text);
  EXPECT_TRUE(status.ok()) << status.ToString() << message.DebugString();
  return text;
}

// As CellText() has a cell of the column that ColumnsOfProtobufSchema() gives the field. JSON texts are for SameJson().
class ExpectedCells {
 public:
  std::string Of(const Message& message, const FieldDescriptor& field) const {
    const Reflection& reflection = *message.GetReflection();
    if (field.has_presence() && !reflection.HasField(message, &field)) return "null";
    if (IsWhole(field)) {
      std::unique_ptr<Message> only(message.New());
      only->CopyFrom(message);
      for (int i = 0; i < field.containing_type()->field_count(); ++i) {
        const FieldDescriptor& other = *field.containing_type()->field(i);
        if (&other != &field) reflection.ClearField(only.get(), &other);
      }
      // {"name":VALUE}
      const std::string json = JsonOf(*only);
      if (json == "{}") return field.is_map() ? "'{}'" : "'[]'";
      const std::size_t begin = field.json_name().size() + 4;
      const std::string value = json.substr(begin, json.size() - 1 - begin);
      const bool is_mask = field.message_type()->well_known_type() == Descriptor::WELLKNOWNTYPE_FIELDMASK;
      // A text in JSON is a text in a column, but for those of a list or map.
      return "'" + (is_mask && !field.is_repeated() ? value.substr(1, value.size() - 2) : value) + "'";
    }
    if (field.is_repeated()) {
      std::string text = "[";
      for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
        if (i > 0) text += ",";
        text += Value(message, field, i);
      }
      return text + "]";
    }
    return Value(message, field, -1);
  }

  static bool IsWhole(const FieldDescriptor& field) {
    if (field.is_map()) return true;
    if (field.message_type() == nullptr) return false;
    switch (field.message_type()->well_known_type()) {
      case Descriptor::WELLKNOWNTYPE_UNSPECIFIED:
      case Descriptor::WELLKNOWNTYPE_ANY:
      case Descriptor::WELLKNOWNTYPE_STRUCT:
      case Descriptor::WELLKNOWNTYPE_VALUE:
      case Descriptor::WELLKNOWNTYPE_LISTVALUE:
      case Descriptor::WELLKNOWNTYPE_FIELDMASK:
        return true;
      default:
        return false;
    }
  }

  // Of a field that is not IsWhole(). `index`: -1 if it is not repeated.
  std::string Value(const Message& message, const FieldDescriptor& field, int index) const {
    const Reflection& reflection = *message.GetReflection();
#define MILLRACE_GET(NAME) \
  (index < 0 ? reflection.Get##NAME(message, &field) : reflection.GetRepeated##NAME(message, &field, index))
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return std::to_string(MILLRACE_GET(Int32));
      case FieldDescriptor::CPPTYPE_INT64:
        return std::to_string(MILLRACE_GET(Int64));
      case FieldDescriptor::CPPTYPE_UINT32:
        return std::to_string(MILLRACE_GET(UInt32));
      case FieldDescriptor::CPPTYPE_UINT64:
        return std::to_string(MILLRACE_GET(UInt64));
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return fmt::format("{:a}", MILLRACE_GET(Double));
      case FieldDescriptor::CPPTYPE_FLOAT:
        return fmt::format("{:a}", static_cast<double>(MILLRACE_GET(Float)));
      case FieldDescriptor::CPPTYPE_BOOL:
        return MILLRACE_GET(Bool) ? "true" : "false";
      case FieldDescriptor::CPPTYPE_ENUM:
        return "'" + MILLRACE_GET(Enum)->name() + "'";
      case FieldDescriptor::CPPTYPE_STRING: {
        std::string text = MILLRACE_GET(String);
        if (field.type() == FieldDescriptor::TYPE_BYTES) {
          std::string base64;
          AppendBase64(text, &base64);
          text = base64;
        }
        return "'" + text + "'";
      }
      case FieldDescriptor::CPPTYPE_MESSAGE:
        break;
    }
#undef MILLRACE_GET
    const Message& inner =
        index < 0 ? reflection.GetMessage(message, &field) : reflection.GetRepeatedMessage(message, &field, index);
    const Descriptor& type = *field.message_type();
    switch (type.well_known_type()) {
      case Descriptor::WELLKNOWNTYPE_TIMESTAMP:
        return std::to_string(Seconds(inner) * 1'000'000 + Nanos(inner) / 1000);
      case Descriptor::WELLKNOWNTYPE_DURATION: {
        // Up to 21 digits.
        __extension__ using Wide = __int128;
        const Wide nanos = Wide{Seconds(inner)} * 1'000'000'000 + Nanos(inner);
        return arrow::Decimal128(static_cast<std::int64_t>(nanos >> 64), static_cast<std::uint64_t>(nanos))
            .ToIntegerString();
      }
      default:
        break;
    }
    return Value(inner, *type.field(0), -1);  // A wrapper.
  }

 private:
  static std::int64_t Seconds(const Message& moment) {
    return moment.GetReflection()->GetInt64(moment, moment.GetDescriptor()->field(0));
  }
  static std::int64_t Nanos(const Message& moment) {
    return moment.GetReflection()->GetInt32(moment, moment.GetDescriptor()->field(1));
  }
};

// A column for each field, and for those of messages in messages, twice deep.
std::vector<std::pair<ColumnSpec, std::vector<const FieldDescriptor*>>> ColumnsWithin(const Descriptor& message,
                                                                                      const DecodeSpec& spec) {
  std::vector<std::pair<ColumnSpec, std::vector<const FieldDescriptor*>>> columns;
  const auto all = ColumnsOfProtobufSchema(spec).ValueOrDie();
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    const bool is_plain = !field.is_repeated() && field.message_type() != nullptr &&
                          field.message_type()->well_known_type() == Descriptor::WELLKNOWNTYPE_UNSPECIFIED;
    if (!is_plain || i % 2 == 0) {
      columns.push_back({all[static_cast<std::size_t>(i)], {&field}});
      continue;
    }
    DecodeSpec inner = spec;
    inner.schema->message = field.message_type()->full_name();
    const auto inner_columns = ColumnsOfProtobufSchema(inner).ValueOrDie();
    for (int k = 0; k < field.message_type()->field_count(); ++k) {
      ColumnSpec column = inner_columns[static_cast<std::size_t>(k)];
      column.path.insert(column.path.begin(), field.name());
      columns.push_back({std::move(column), {&field, field.message_type()->field(k)}});
    }
  }
  for (std::size_t i = 0; i < columns.size(); ++i) columns[i].first.name = "c" + std::to_string(i);
  return columns;
}

void ExpectSameCell(const std::string& cell, const std::string& expected, bool is_json) {
  if (!is_json || cell == "null" || expected == "null") {
    EXPECT_EQ(cell, expected);
    return;
  }
  const auto inside = [](const std::string& text) { return text.substr(1, text.size() - 2); };
  EXPECT_TRUE(SameJsonText(inside(cell), inside(expected))) << cell << "\n" << expected;
}

// Records of chance, and what libprotobuf reads of each. A record of several parts is the messages merged.
void MakeRecords(TestSchema& schema, Generator& generator, int depth, std::vector<std::string>* records,
                 std::vector<std::unique_ptr<Message>>* messages) {
  for (int i = 0; i < 12; ++i) {
    std::string& record = records->emplace_back();
    for (std::uint64_t parts = 1 + generator.Below(3); parts > 0; --parts) {
      const auto part = schema.New("p.M0");
      generator.Fill(part.get(), depth);
      record += part->SerializeAsString();
    }
    messages->push_back(schema.New("p.M0"));
    ASSERT_TRUE(messages->back()->ParseFromString(record));
    DropOverwrittenEntries(messages->back().get());
  }
}

TEST(ProtobufDecoderProperty, ColumnsHoldWhatLibprotobufReads) {
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE(seed);
    Generator generator(seed);
    TestSchema schema(generator.File());
    generator.HoldInAny(&schema);
    DecodeSpec spec{.format = "protobuf", .schema = schema.Spec("p.M0")};
    const auto columns = ColumnsWithin(schema.Message("p.M0"), spec);
    for (const auto& [column, fields] : columns) spec.columns.push_back(column);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto decoder, EventDecoder::Make(spec));
    std::vector<std::string> records;
    std::vector<std::unique_ptr<Message>> messages;
    ASSERT_NO_FATAL_FAILURE(MakeRecords(schema, generator, 3, &records, &messages));
    const Decoded decoded = DecodeAll(*decoder, records);
    ASSERT_TRUE(decoded.dead_letters.empty()) << decoded.dead_letters[0].detail;
    MILLRACE_ASSERT_OK(decoded.rows->ValidateFull());
    for (std::size_t c = 0; c < columns.size(); ++c) {
      const auto& fields = columns[c].second;
      for (std::size_t row = 0; row < records.size(); ++row) {
        SCOPED_TRACE(fmt::format("row {} {}", row, fields.back()->DebugString()));
        const Message* message = messages[row].get();
        bool there = true;
        for (std::size_t level = 0; level + 1 < fields.size(); ++level) {
          there = there && message->GetReflection()->HasField(*message, fields[level]);
          message = &message->GetReflection()->GetMessage(*message, fields[level]);
        }
        const std::string cell = CellText(*decoded.rows->column(static_cast<int>(c)), static_cast<std::int64_t>(row));
        const FieldDescriptor& field = *fields.back();
        const bool is_mask = field.message_type() != nullptr && !field.is_repeated() &&
                             field.message_type()->well_known_type() == Descriptor::WELLKNOWNTYPE_FIELDMASK;
        ExpectSameCell(cell, there ? ExpectedCells().Of(*message, field) : "null",
                       ExpectedCells::IsWhole(field) && !is_mask);
        if (::testing::Test::HasFailure()) return;
      }
    }
  }
}

// Columns of structs, lists and maps within each other, `depth` messages deep; what is deeper is JSON text.
class NestedColumns {
 public:
  static std::shared_ptr<arrow::DataType> TypeOf(const FieldDescriptor& field, int depth) {
    if (field.is_map()) {
      if (depth == 0) return arrow::utf8();
      return arrow::map(arrow::utf8(), TypeOfOne(*field.message_type()->map_value(), depth - 1));
    }
    const auto one = TypeOfOne(field, depth);
    if (!field.is_repeated() || (ExpectedCells::IsWhole(field) && one->id() != arrow::Type::STRUCT)) return one;
    return arrow::list(arrow::field("element", one));
  }

  static void ExpectField(const arrow::Array& array, std::int64_t row, const Message& message,
                          const FieldDescriptor& field, int depth) {
    SCOPED_TRACE(field.full_name());
    const Reflection& reflection = *message.GetReflection();
    if (array.type_id() == arrow::Type::MAP) {
      const auto& map = static_cast<const arrow::MapArray&>(array);
      ASSERT_EQ(map.value_length(row), reflection.FieldSize(message, &field));
      for (int i = 0; i < map.value_length(row); ++i) {
        const Message& entry = reflection.GetRepeatedMessage(message, &field, i);
        const FieldDescriptor& key = *field.message_type()->map_key();
        const std::string key_text = ExpectedCells().Value(entry, key, -1);
        const bool is_text = key.cpp_type() == FieldDescriptor::CPPTYPE_STRING;
        EXPECT_EQ(CellText(*map.keys(), map.value_offset(row) + i), is_text ? key_text : "'" + key_text + "'");
        ExpectValue(*map.items(), map.value_offset(row) + i, entry, *field.message_type()->map_value(), -1, depth - 1);
      }
    } else if (array.type_id() == arrow::Type::LIST) {
      const auto& list = static_cast<const arrow::ListArray&>(array);
      ASSERT_EQ(list.value_length(row), reflection.FieldSize(message, &field));
      for (int i = 0; i < list.value_length(row); ++i) {
        ExpectValue(*list.values(), list.value_offset(row) + i, message, field, i, depth);
      }
    } else if (field.has_presence() && !reflection.HasField(message, &field)) {
      EXPECT_TRUE(array.IsNull(row)) << CellText(array, row);
    } else if (field.is_repeated()) {
      ExpectSameCell(CellText(array, row), ExpectedCells().Of(message, field), true);
    } else {
      ExpectValue(array, row, message, field, -1, depth);
    }
  }

 private:
  static std::shared_ptr<arrow::DataType> TypeOfOne(const FieldDescriptor& field, int depth) {
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return arrow::int32();
      case FieldDescriptor::CPPTYPE_INT64:
      case FieldDescriptor::CPPTYPE_UINT32:
        return arrow::int64();
      case FieldDescriptor::CPPTYPE_UINT64:
        return arrow::decimal128(20, 0);
      case FieldDescriptor::CPPTYPE_DOUBLE:
      case FieldDescriptor::CPPTYPE_FLOAT:
        return arrow::float64();
      case FieldDescriptor::CPPTYPE_BOOL:
        return arrow::boolean();
      case FieldDescriptor::CPPTYPE_ENUM:
      case FieldDescriptor::CPPTYPE_STRING:
        return arrow::utf8();
      case FieldDescriptor::CPPTYPE_MESSAGE:
        break;
    }
    const Descriptor& type = *field.message_type();
    switch (type.well_known_type()) {
      case Descriptor::WELLKNOWNTYPE_TIMESTAMP:
        return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
      case Descriptor::WELLKNOWNTYPE_DURATION:
        return arrow::decimal128(21, 9);
      default:
        if (!ExpectedCells::IsWhole(field)) return TypeOfOne(*type.field(0), depth);  // A wrapper.
    }
    if (depth == 0 || type.well_known_type() != Descriptor::WELLKNOWNTYPE_UNSPECIFIED) return arrow::utf8();
    arrow::FieldVector members;
    for (int i = 0; i < type.field_count(); ++i) {
      members.push_back(arrow::field(type.field(i)->name(), TypeOf(*type.field(i), depth - 1)));
    }
    return arrow::struct_(members);
  }

  static void ExpectValue(const arrow::Array& array, std::int64_t row, const Message& message,
                          const FieldDescriptor& field, int index, int depth) {
    if (!ExpectedCells::IsWhole(field)) {
      EXPECT_EQ(CellText(array, row), ExpectedCells().Value(message, field, index));
      return;
    }
    const Reflection& reflection = *message.GetReflection();
    const Message& inner =
        index < 0 ? reflection.GetMessage(message, &field) : reflection.GetRepeatedMessage(message, &field, index);
    ASSERT_TRUE(array.IsValid(row));
    if (array.type_id() == arrow::Type::STRUCT) {
      const auto& members = static_cast<const arrow::StructArray&>(array);
      for (int i = 0; i < members.num_fields(); ++i) {
        ExpectField(*members.field(i), row, inner, *inner.GetDescriptor()->field(i), depth - 1);
      }
      return;
    }
    const auto known = field.message_type()->well_known_type();
    const bool is_mask = known == Descriptor::WELLKNOWNTYPE_FIELDMASK;
    std::string wanted;
    if (!field.containing_type()->options().map_entry()) {
      wanted = ExpectedCells().Of(message, field);
    } else if (known == Descriptor::WELLKNOWNTYPE_ANY) {
      return;  // libprotobuf prints one only within a message of the schema that it holds one of.
    } else {
      wanted = JsonOf(inner);
      wanted = "'" + (is_mask ? wanted.substr(1, wanted.size() - 2) : wanted) + "'";
    }
    ExpectSameCell(CellText(array, row), wanted, !is_mask);
  }
};

TEST(ProtobufDecoderProperty, NestedColumnsHoldWhatLibprotobufReads) {
  constexpr int kDepth = 3;
  int nested = 0;
  for (std::uint64_t seed = 3000; seed < 3100; ++seed) {
    SCOPED_TRACE(seed);
    Generator generator(seed);
    TestSchema schema(generator.File());
    generator.HoldInAny(&schema);
    DecodeSpec spec{.format = "protobuf", .schema = schema.Spec("p.M0")};
    const Descriptor& type = schema.Message("p.M0");
    for (int i = 0; i < type.field_count(); ++i) {
      const std::string& name = type.field(i)->name();
      ColumnSpec column{.name = name, .type = NestedColumns::TypeOf(*type.field(i), kDepth), .path = {name}};
      nested += arrow::is_nested(column.type->id()) ? 1 : 0;
      spec.columns.push_back(std::move(column));
    }
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto decoder, EventDecoder::Make(spec));
    std::vector<std::string> records;
    std::vector<std::unique_ptr<Message>> messages;
    ASSERT_NO_FATAL_FAILURE(MakeRecords(schema, generator, kDepth + 1, &records, &messages));
    const Decoded decoded = DecodeAll(*decoder, records);
    ASSERT_TRUE(decoded.dead_letters.empty()) << decoded.dead_letters[0].detail;
    MILLRACE_ASSERT_OK(decoded.rows->ValidateFull());
    for (std::size_t row = 0; row < records.size(); ++row) {
      SCOPED_TRACE(row);
      for (int i = 0; i < type.field_count(); ++i) {
        NestedColumns::ExpectField(*decoded.rows->column(i), static_cast<std::int64_t>(row), *messages[row],
                                   *type.field(i), kDepth);
      }
      if (::testing::Test::HasFailure()) return;
    }
  }
  EXPECT_GT(nested, 300);
}

TEST(ProtobufDecoderProperty, JsonOfAWholeRecordIsLibprotobufs) {
  for (std::uint64_t seed = 1000; seed < 1150; ++seed) {
    SCOPED_TRACE(seed);
    Generator generator(seed);
    TestSchema schema(generator.File());
    generator.HoldInAny(&schema);
    const DecodeSpec spec{
        .format = "protobuf", .schema = schema.Spec("p.M0"), .unknown_fields = UnknownFields::kRescue};
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto decoder, EventDecoder::Make(spec));
    for (int i = 0; i < 12; ++i) {
      const auto one = schema.New("p.M0");
      const auto other = schema.New("p.M0");
      generator.Fill(one.get(), 3);
      if (generator.OneIn(2)) generator.Fill(other.get(), 3);
      const std::string record = one->SerializeAsString() + other->SerializeAsString();
      ASSERT_TRUE(one->ParseFromString(record));
      DropOverwrittenEntries(one.get());
      const Decoded decoded = DecodeAll(*decoder, {record});
      ASSERT_TRUE(decoded.dead_letters.empty()) << decoded.dead_letters[0].detail;
      const std::string cell = CellText(*decoded.rows->column(0), 0);
      ExpectSameCell(cell == "null" ? "'{}'" : cell, "'" + JsonOf(*one) + "'", true);
      if (::testing::Test::HasFailure()) return;
    }
  }
}

// Damaged records: what is a row is a message to libprotobuf as well, whatever was damaged; and all are accounted for.
TEST(ProtobufDecoderProperty, WhatLibprotobufRefusesIsNoRow) {
  std::int64_t rows = 0;
  std::int64_t letters = 0;
  for (std::uint64_t seed = 2000; seed < 2060; ++seed) {
    SCOPED_TRACE(seed);
    Generator generator(seed);
    TestSchema schema(generator.File());
    generator.HoldInAny(&schema);
    DecodeSpec spec{.format = "protobuf", .schema = schema.Spec("p.M0"), .unknown_fields = UnknownFields::kRescue};
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto whole, EventDecoder::Make(spec));
    for (const auto& [column, fields] : ColumnsWithin(schema.Message("p.M0"), spec)) spec.columns.push_back(column);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto columns, EventDecoder::Make(spec));
    std::vector<std::string> records;
    for (int i = 0; i < 100; ++i) {
      const auto message = schema.New("p.M0");
      generator.Fill(message.get(), 3);
      std::string& record = records.emplace_back(message->SerializeAsString());
      for (std::uint64_t n = 1 + generator.Below(3); n > 0 && !record.empty(); --n) {
        const std::size_t at = generator.Below(record.size());
        if (generator.OneIn(3)) {
          record.erase(at, 1 + generator.Below(3));
        } else {
          record[at] = static_cast<char>(generator.OneIn(2) ? record[at] ^ (1 << generator.Below(8))
                                                            : static_cast<int>(generator.Below(256)));
        }
      }
    }
    const Decoded decoded = DecodeAll(*whole, records);
    MILLRACE_ASSERT_OK(decoded.rows->ValidateFull());
    std::vector<bool> refused(records.size());
    for (const auto& letter : decoded.dead_letters) refused[static_cast<std::size_t>(letter.offset)] = true;
    rows += decoded.rows->num_rows();
    letters += std::ssize(decoded.dead_letters);
    std::int64_t row = 0;
    for (std::size_t i = 0; i < records.size(); ++i) {
      if (refused[i]) continue;
      EXPECT_TRUE(schema.New("p.M0")->ParsePartialFromString(records[i])) << i;
      if (!decoded.rows->column(0)->IsNull(row)) {
        const auto text = static_cast<const arrow::StringArray&>(*decoded.rows->column(0)).GetString(row);
        EXPECT_TRUE(SameJsonText(text, text)) << text;
      }
      ++row;
    }
    const Decoded in_columns = DecodeAll(*columns, records);
    MILLRACE_ASSERT_OK(in_columns.rows->ValidateFull());
    EXPECT_EQ(in_columns.rows->num_rows() + std::ssize(in_columns.dead_letters), std::ssize(records));
    if (::testing::Test::HasFailure()) return;
  }
  EXPECT_GT(rows, 500);
  EXPECT_GT(letters, 500);
}

}  // namespace
}  // namespace millrace::ingest::protobuf
