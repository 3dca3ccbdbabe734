/// What the events of a fleet look like, whatever the format: fields, a row of values, and the shape as a schema.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace millrace::devices {

enum class FieldKind {
  kText,
  kInteger,
  kReal,     ///< A number with `scale` digits behind the point; Avro and Protobuf: double.
  kDecimal,  ///< Likewise, exact: Avro's decimal(kDecimalPrecision, scale), Protobuf's text.
  kTime      ///< UnixMicros. Text in RFC 3339; Avro: timestamp-micros; Protobuf: google.protobuf.Timestamp.
};

inline constexpr int kDecimalPrecision = 12;

struct Field {
  std::string_view name;
  FieldKind kind = FieldKind::kText;
  int scale = 0;
  bool is_optional = false;  ///< May be null.
};

/// The first field is the event's id, a text of kEventIdSize bytes.
struct Shape {
  std::string_view name;  ///< "Click": of the schema.
  std::span<const Field> fields;
  int text_field = 0;    ///< One that malformed events have a wrong text in.
  int number_field = 0;  ///< One that malformed events have a text in.
};

inline constexpr std::size_t kEventIdSize = 36;

/// Of one field: `text` of kText, else `number`, which of kReal and kDecimal counts units of the last digit. Texts need
/// no escape in JSON or CSV.
struct Value {
  std::string_view text{};
  std::int64_t number = 0;
  bool is_null = false;
};

/// The names between commas.
std::string CsvHeader(const Shape& shape);
/// A record of the namespace "millrace.fleet", in JSON.
std::string AvroSchema(const Shape& shape);
/// A proto3 file with one message of the package millrace.fleet, its fields numbered from 1.
std::string ProtobufSchema(const Shape& shape);

}  // namespace millrace::devices
