/// The messages of OTLP 1.9 that telemetry is made of, as tables: what both of its encodings are read by, and how a
/// field is called in an event. Spec: opentelemetry-proto, opentelemetry/proto/{common,resource,logs,metrics,trace}/v1.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace millrace::gateway::otlp {

enum class Kind : std::uint8_t {
  kText,
  kHexBytes,     ///< In JSON hexadecimal, not Base64: ids of traces and spans.
  kBase64Bytes,  ///< As protobuf's JSON has bytes.
  kBool,
  kVarint,   ///< uint32, uint64, int32, int64 or an enum; see `is_signed`.
  kZigzag,   ///< sint32
  kFixed32,  ///< fixed32
  kFixed64,  ///< fixed64, sfixed64; see `is_signed`.
  kDouble,
  kMessage,
  kAttributes,  ///< KeyValues, in an event an object.
  kAnyValue,    ///< In an event the JSON that it stands for.
};

/// When a field is in an event.
enum class Written : std::uint8_t {
  kUnlessZero,  ///< If it is neither 0, false nor empty: that means "not known", and many encoders do not send it.
  kAlways,      ///< 0 is a value; where it was not sent, that is what was meant.
  kIfSent,      ///< The protocol knows whether it was sent.
  kAll,         ///< Repeated: an array, if there is one.
};

struct Message;

struct Field {
  std::uint32_t number = 0;
  std::string_view json;  ///< Its name in OTLP's JSON.
  std::string_view name;  ///< Its name in an event; empty: it is not written by WriteFields().
  Kind kind = Kind::kText;
  Written written = Written::kUnlessZero;
  const Message* message = nullptr;  ///< Of kMessage, kAttributes and kAnyValue.
  bool is_signed = false;

  bool is_repeated() const { return written == Written::kAll || kind == Kind::kAttributes; }
};

inline constexpr std::size_t kFieldsMax = 16;  ///< Of a message.

struct Message {
  std::span<const Field> fields;

  /// By its number; kFieldsMax: there is none.
  std::size_t IndexOf(std::uint32_t number) const {
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (fields[i].number == number) return i;
    }
    return kFieldsMax;
  }
};

/// The requests are alike: 1 are the resources' parts, and of such a part 1 is the resource and 2 are the scopes'
/// parts, of which 1 is the scope and 2 are the records; of both 3 is the URL of a schema.
inline constexpr std::uint32_t kParts = 1;
inline constexpr std::uint32_t kOwner = 1;
inline constexpr std::uint32_t kInner = 2;
inline constexpr std::uint32_t kSchemaUrl = 3;

extern const Message kLogsRequest;
extern const Message kMetricsRequest;
extern const Message kTracesRequest;
extern const Message kResource;
extern const Message kScope;
extern const Message kLogRecord;
extern const Message kSpan;
extern const Message kMetric;

/// KeyValue
inline constexpr std::uint32_t kKey = 1;
inline constexpr std::uint32_t kValue = 2;

extern const Message kAnyValue;
namespace any_value {
inline constexpr std::uint32_t kString = 1;
inline constexpr std::uint32_t kBool = 2;
inline constexpr std::uint32_t kInt = 3;
inline constexpr std::uint32_t kDouble = 4;
inline constexpr std::uint32_t kArray = 5;
inline constexpr std::uint32_t kKvlist = 6;
inline constexpr std::uint32_t kBytes = 7;
inline constexpr std::uint32_t kValues = 1;  ///< Of kArray and kKvlist.
}  // namespace any_value

/// A kind of metric: the fields of it that all of its points have, the first of which are the points themselves.
struct MetricKind {
  std::uint32_t number = 0;  ///< Of the field of Metric.
  std::string_view name;     ///< In an event, as `type`.
  const Message* data = nullptr;
  const Message* point = nullptr;
};
inline constexpr std::uint32_t kDataPoints = 1;
extern const std::array<MetricKind, 5> kMetricKinds;

}  // namespace millrace::gateway::otlp
