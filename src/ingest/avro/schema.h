/// An Avro schema (specification 1.12, "Schema Declaration") as a value, from its JSON.
///
/// Named types are resolved: who reads a schema never looks up a name. A type that contains itself is refused, so a
/// walk ends, and is never deeper than kMaxSchemaDepth.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "ingest/decode_spec.h"

namespace millrace::ingest::avro {

enum class Type : std::uint8_t {
  kNull,
  kBoolean,
  kInt,
  kLong,
  kFloat,
  kDouble,
  kBytes,
  kString,
  kFixed,
  kEnum,
  kArray,
  kMap,
  kRecord,
  kUnion
};

/// What the bytes of a type stand for. One that does not belong to its type, or whose attributes are wrong, is none, as
/// the specification asks.
enum class Logical : std::uint8_t {
  kNone,
  kDecimal,  ///< kBytes, kFixed.
  kUuid,     ///< kString, kFixed of 16 bytes.
  kDate,     ///< kInt.
  kTimeMillis,
  kTimeMicros,
  kTimestampMillis,
  kTimestampMicros,
  kTimestampNanos,
  kLocalTimestampMillis,
  kLocalTimestampMicros,
  kLocalTimestampNanos,
  kDuration  ///< kFixed of 12 bytes.
};

struct Schema;
using SchemaPtr = std::shared_ptr<const Schema>;

struct Field {
  /// Of what Resolved() makes, which is written as JSON: whether the record has it.
  enum class Presence : std::uint8_t {
    kThere,
    kLeftOut,  ///< And the JSON has not.
    kDefault   ///< The JSON has the default, and the record nothing.
  };

  std::string name;
  std::vector<std::string> aliases;
  SchemaPtr type;
  std::optional<std::string> default_bytes = {};  ///< The default, encoded as a value of `type`.
  Presence presence = Presence::kThere;
};

struct Schema {
  Type type = Type::kNull;
  Logical logical = Logical::kNone;
  int precision = 0;                          ///< kDecimal: at least 1.
  int scale = 0;                              ///< kDecimal: 0 to precision.
  std::string name;                           ///< Full name of kFixed, kEnum, kRecord.
  std::vector<std::string> aliases;           ///< Their other full names.
  std::vector<Field> fields;                  ///< kRecord.
  std::vector<std::string> symbols;           ///< kEnum. Of what Resolved() makes, empty: the reader has none for it.
  std::optional<std::size_t> default_symbol;  ///< kEnum: index of the one for symbols that a reader does not know.
  std::int64_t size = 0;                      ///< kFixed: bytes.
  std::vector<SchemaPtr> branches;            ///< kUnion: its branches. kArray, kMap: that of the items or values.
  std::int64_t min_bytes = 0;                 ///< No value takes fewer. 0: every value takes none.
  std::string unreadable = {};                ///< Of a branch of what Resolved() makes: why the reader cannot take it.

  const Schema& items() const { return *branches.front(); }
};

/// Named or unnamed types within each other. What people write has a dozen.
inline constexpr int kMaxSchemaDepth = 64;

/// kInvalidInput, with the place as a dotted path: text that is not JSON or not a schema, more than kMaxSchemaBytes
/// (decode_spec.h), deeper than kMaxSchemaDepth, or recursive.
/// `references`: texts of schemas whose types it may name, each after those that it names itself.
Result<SchemaPtr> ParseSchema(std::string_view text, std::span<const SchemaReference> references = {});

/// As messages name it: "long", "timestamp-millis", "record shop.Order", "union of null and long".
std::string Describe(const Schema& schema);

/// "Parsing Canonical Form": equal for schemas that read and write the same bytes.
std::string CanonicalForm(const Schema& schema);

/// CRC-64-AVRO of the canonical form, which single-object encoding puts before a value.
std::uint64_t Fingerprint(const Schema& schema);

}  // namespace millrace::ingest::avro
