/// What the decoder does with each field of a record: compiled once from the message's descriptor and the columns.
#pragma once

#include <google/protobuf/descriptor.h>

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "ingest/protobuf/message_text_internal.h"
#include "ingest/protobuf/scalar_internal.h"
#include "ingest/protobuf/wire.h"

namespace millrace::ingest::protobuf {

/// From the values of a field to those of a column.
enum class Store : std::uint8_t {
  kText,
  kBytes,
  kUuidBytes,
  kByText,  ///< Its text, as the column reads texts.
  kBase64,
  kEnumName,
  kBool,
  kInt32,
  kInt64,
  kDouble,       ///< Of a float or double.
  kWholeDouble,  ///< Of an integer.
  kWholeDecimal,
  kRealDecimal,  ///< Of the shortest text that reads as the float or double.
  kTextDecimal,
  kTextDate,
  kTextTime,
  kWholeEpoch,
  kRealEpoch,
  kTimestamp,        ///< Of google.protobuf.Timestamp.
  kDurationDouble,   ///< Of google.protobuf.Duration, in seconds.
  kDurationDecimal,  ///< Likewise, exactly.
};

/// Bits of columns and of messages, one for each: whether the record has them.
using Bits = std::vector<std::uint64_t>;

struct Bit {
  std::size_t word = 0;
  std::uint64_t mask = 0;

  static Bit Of(std::size_t index) { return {index / 64, std::uint64_t{1} << (index % 64)}; }
  bool IsSet(const Bits& bits) const { return (bits[word] & mask) != 0; }
  void Set(Bits& bits) const { bits[word] |= mask; }
  void Unset(Bits& bits) const { bits[word] &= ~mask; }
};

/// A column that a field fills.
struct Target {
  std::size_t column = 0;
  Store store = Store::kText;
  Bit seen;
  /// Text or bytes without presence that are empty are null: there is no such number, time or uuid.
  bool empty_is_null = false;
};

struct NestedPlan;

/// A column that is made of all occurrences of a field, when the record is whole: its JSON text, or what is nested.
struct TextTarget {
  std::size_t column = 0;
  Bit seen;
  bool is_json = false;                           ///< A text in JSON keeps its quotes.
  std::shared_ptr<const NestedPlan> nested = {};  ///< Null: text.
};

struct MessagePlan;

struct FieldPlan {
  enum class Shape : std::uint8_t {
    kUntaken,  ///< No column takes it; it is here because it is in a oneof with one that a column takes.
    kNumber,
    kText,    ///< string or bytes.
    kInner,   ///< A message that columns read from.
    kMoment,  ///< google.protobuf.Timestamp or Duration.
    kWrapper,
    kWhole,  ///< Only by JSON text.
  };

  /// How a field is read that one column takes, or columns of the message that it is, and on which nothing else
  /// depends.
  enum class Direct : std::uint8_t {
    kNo,           ///< It is no such field.
    kText,         ///< To Store::kText.
    kInt64,        ///< int64 to Store::kInt64.
    kDouble,       ///< double to Store::kDouble.
    kTimestamp,    ///< google.protobuf.Timestamp to Store::kTimestamp.
    kTextDecimal,  ///< To Store::kTextDecimal.
    kOther,        ///< Other values, of kNumber, kText and kMoment.
    kInner,
  };

  Direct direct = Direct::kNo;
  Target target;  ///< The first of `targets`, where it is at hand.
  const google::protobuf::FieldDescriptor* field = nullptr;
  std::string path;  ///< From the record's root, for messages.
  Shape shape = Shape::kUntaken;
  Wire wire = Wire::kVarint;  ///< Of one value.
  FieldType type{};           ///< Of kWrapper that of the value in it.
  const google::protobuf::EnumDescriptor* enum_type = nullptr;
  bool is_list = false;  ///< `targets` are lists.
  int depth = 1;         ///< Messages around it.
  std::vector<Target> targets;
  std::vector<TextTarget> texts;
  std::vector<WireValue> values;  ///< For `texts`: of the record so far; void unless texts[0].seen.
  Moment moment;                  ///< kMoment: of the record so far; void unless targets[0].seen.
  MessagePlan* inner = nullptr;
  TakenFields* taken_in = nullptr;    ///< Of the message that it is in; null: the record's.
  std::vector<std::uint64_t> rivals;  ///< Bits of the other members of its oneof; empty: there are none.
};

/// What a column has when the record has no value for it.
struct Absence {
  enum class Kind : std::uint8_t { kNull, kValue, kEmptyList, kEmptyText };
  Kind kind = Kind::kNull;
  Bit message;  ///< Null all the same if the message that the field is in is absent.
  FieldPlan* field = nullptr;
  const Target* target = nullptr;  ///< kValue.
  std::uint64_t bits = 0;          ///< kValue: as ReadNumber() has it, or
  std::string text;                ///< the text or bytes. kEmptyText: the text.
};

/// What a field fills that is a column, or is in one: from its occurrences in the message.
struct NestedPlan {
  enum class Shape : std::uint8_t { kLeaf, kText, kList, kMap, kStruct };
  Shape shape = Shape::kLeaf;
  FieldPlan field;                ///< kLeaf: with one target.
  Absence absence;                ///< kLeaf: without an occurrence.
  bool is_json = false;           ///< kText, as of TextTarget.
  std::vector<NestedPlan> inner;  ///< kList: of one element. kMap: key, value. kStruct: the members in their order.
};

struct MessagePlan {
  const google::protobuf::Descriptor* message = nullptr;
  std::string path;  ///< With a dot behind; empty: the record.
  Bit seen;
  int depth = 1;
  std::deque<FieldPlan> fields;

  /// By the first byte of a tag that is its only one and is of the field's wire type; nullptr: there is no such field
  /// that is read at once.
  FieldPlan* FindDirect(char tag) const { return by_tag[static_cast<unsigned char>(tag)]; }
  /// nullptr: nothing is done with it.
  FieldPlan* Find(std::uint32_t number) const {
    if (number < by_number.size()) [[likely]]
      return by_number[number];
    return FindLarge(number);
  }
  FieldPlan* FindLarge(std::uint32_t number) const;

  std::array<FieldPlan*, 256> by_tag{};            ///< None from 128 on, which begin a tag of several bytes.
  static constexpr std::uint32_t kIndexed = 1024;  ///< Numbers below it are found without a search.
  std::vector<FieldPlan*> by_number;               ///< Up to the largest, below kIndexed.
  std::vector<std::pair<std::uint32_t, FieldPlan*>> large_numbers;  ///< The others, ascending.
};

struct Plan {
  std::deque<MessagePlan> messages;  ///< The first is the record.
  std::vector<Absence> absences;     ///< One for each column.
  Bits none;                         ///< As many words as bits need.
  Bits all_columns;                  ///< Of as many words.
  std::vector<FieldPlan*> with_texts;
  TakenFields taken;
};

/// kInvalidInput, naming the column: a field that the message does not have, with the nearest name; a path through what
/// is no single message; a type that the field cannot have.
Result<Plan> MakePlan(const google::protobuf::Descriptor& message, const std::vector<ColumnSpec>& columns);

/// A column for each field of the message, in the order of the file: what decode.columns is if it is left out.
/// kInvalidInput: it has no fields.
Result<std::vector<ColumnSpec>> ColumnsOf(const google::protobuf::Descriptor& message);

}  // namespace millrace::ingest::protobuf
