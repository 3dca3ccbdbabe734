/// Messages as JSON text, by Protobuf's JSON mapping (protobuf.dev/programming-guides/json), straight from the wire.
///
/// As libprotobuf writes it: members by field number, under their JSON names; int64 and uint64 as text; bytes in
/// base64; enums by name; fields that are absent, or zero without presence, left out; Timestamp, Duration, FieldMask,
/// wrappers, Struct, Value, ListValue and Any in their own forms. Where the mapping has no answer:
/// - a value of an Any whose type the schema does not have is its bytes in base64, as member "value";
/// - a Value of no kind is null;
/// - a number that its enum has no name for is that number, in proto2 too;
/// - a key that comes twice in a map is there once, with its last value and in that place.
/// With UnknownFields::kRescue or kAdd, fields that the schema does not have are members under their numbers: varints
/// and fixed bytes as unsigned numbers, bytes in base64, groups as objects; several of one number as an array.
#pragma once

#include <google/protobuf/descriptor.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/decode_spec.h"
#include "ingest/protobuf/scalar_internal.h"
#include "ingest/protobuf/wire.h"

namespace millrace::ingest::protobuf {

/// Texts of one field are at most this long: an enum of one byte may have a name of hundreds.
inline constexpr std::size_t kMaxTextBytes = std::size_t{64} << 20;

/// Which fields of a message columns take, by number: all of the field, or of a message in it only these.
struct TakenFields {
  std::map<std::uint32_t, std::unique_ptr<TakenFields>> fields;  ///< Null: all of it.
};

/// Functions are false after WireReader::Fail(), and then what they have appended is of no use.
class MessageText {
 public:
  /// `reader` outlives this. What the descriptors are of has the types that an Any may hold.
  MessageText(WireReader* reader, UnknownFields unknown_fields) : reader_(reader), unknown_fields_(unknown_fields) {}

  /// The value of a field from its occurrences, in the order of the record; of a list or map there may be none.
  /// `depth`: how many messages are around it.
  bool AppendField(const google::protobuf::FieldDescriptor& field, std::span<const WireValue> values, int depth,
                   std::string* out);

  /// For a field whose message is a text in JSON, see HasStringForm(): without quotes.
  bool AppendStringForm(const google::protobuf::FieldDescriptor& field, std::span<const WireValue> values, int depth,
                        std::string* out);

  /// Timestamp, Duration, FieldMask.
  static bool HasStringForm(const google::protobuf::Descriptor& message);

  /// A whole record but for the fields that are taken. Appends nothing if there are no others.
  bool AppendRest(const google::protobuf::Descriptor& message, std::string_view bytes, const TakenFields& taken,
                  std::string* out);

 private:
  using Descriptor = google::protobuf::Descriptor;
  using FieldDescriptor = google::protobuf::FieldDescriptor;
  using WireValues = std::span<const WireValue>;

  // An entry of a map: its key as JSON text is [key_begin, key_end) of the level's keys.
  struct MapEntry {
    std::size_t key_begin = 0;
    std::size_t key_end = 0;
    std::string_view bytes;
    bool last = true;  // Of its key.
  };
  // What is needed of one message or map while it is written, those in it have levels of their own.
  struct Level {
    std::vector<WireValue> values;
    std::vector<MapEntry> entries;
    std::vector<std::uint32_t> order;
    std::string keys;
  };
  class LevelScope;
  class Merged;

  bool Scan(const Descriptor& message, std::string_view bytes, int depth, Level& level);
  bool DropOneofLosers(const Descriptor& message, int depth, std::vector<WireValue>* values);

  bool AppendMessage(const Descriptor& message, std::string_view bytes, int depth, std::string* out);
  // `taken`: null if none is.
  bool AppendMembers(const Descriptor& message, std::string_view bytes, int depth, const TakenFields* taken,
                     std::string* out);
  bool AppendMember(const Descriptor& message, WireValues values, int depth, const TakenFields* taken,
                    std::string* out);
  bool AppendInner(const FieldDescriptor& field, WireValues values, int depth, const TakenFields& taken,
                   std::string* out);
  bool AppendSingular(const FieldDescriptor& field, WireValues values, int depth, std::string* out);
  bool AppendList(const FieldDescriptor& field, WireValues values, int depth, std::string* out);
  bool AppendMap(const FieldDescriptor& field, WireValues values, int depth, std::string* out);
  bool ReadEntry(const Descriptor& entry, std::string_view bytes, int depth, Level& level);
  bool AppendDefault(const FieldDescriptor& field, int depth, std::string* out);
  bool AppendText(const FieldDescriptor& field, std::string_view bytes, std::string* out);
  bool AppendUnknown(WireValues values, int depth, std::string* out);
  bool AppendString(const Descriptor& message, std::string_view bytes, int depth, std::string* out);
  bool AppendFieldMask(const Descriptor& message, std::string_view bytes, int depth, std::string* out);
  bool AppendAny(const Descriptor& message, std::string_view bytes, int depth, std::string* out);
  bool AppendOnlyField(const Descriptor& message, std::string_view bytes, int depth, std::string* out);
  bool IsUnset(const FieldDescriptor& field, WireValues values);
  bool CheckWire(const FieldDescriptor& field, const WireValue& value);
  bool CheckSize(std::string_view field, const char* at, const std::string& out);

  WireReader* const reader_;
  const UnknownFields unknown_fields_;
  std::deque<Level> levels_;
  std::size_t num_levels_ = 0;  // In use.
};

/// Standard base64 (RFC 4648, 4) with padding.
void AppendBase64(std::string_view bytes, std::string* out);

/// "1972-01-01T10:00:20.021Z": no fraction, or 3, 6 or 9 digits. IsTimestamp(moment).
void AppendTimestamp(const Moment& moment, std::string* out);
/// "-1.500s", likewise. IsDuration(moment).
void AppendDuration(const Moment& moment, std::string* out);

/// The shortest text that reads as this float or double; "NaN", "Infinity", "-Infinity", without quotes.
void AppendReal(FieldType type, std::uint64_t bits, std::string* out);

/// The name of `number`, or the number.
void AppendEnum(const google::protobuf::EnumDescriptor& type, std::int32_t number, std::string* out);

}  // namespace millrace::ingest::protobuf
