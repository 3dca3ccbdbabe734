/// An event as bytes, sound or broken, in one of four formats.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "devices/event_shape.h"

namespace millrace::devices {

enum class PayloadFormat { kJson, kCsv, kAvro, kProtobuf };

/// As the command line spells it.
std::string_view FormatName(PayloadFormat format);
std::optional<PayloadFormat> ParseFormat(std::string_view name);

/// How an event is broken. No decoder that has the shape takes one of them for an event.
enum class Malformation {
  kTruncated,  ///< Cut short.
  kMistyped,   ///< A text where a number should be; JSON and CSV.
  kGarbled,    ///< A text that is not UTF-8; JSON.
  kForeign     ///< Not of the format: a proxy's error page.
};

std::string_view MalformationName(Malformation how);

/// Any thread.
class PayloadWriter {
 public:
  /// `prefix` stands before each sound payload: the framing of a schema registry.
  PayloadWriter(const Shape& shape, PayloadFormat format, std::string prefix = {});

  /// Replaces `out`. JSON has no member for a null; CSV nothing between the commas.
  void Write(std::span<const Value> values, std::string& out) const;

  /// One broken in a way that the format can be, by random bits.
  Malformation WriteMalformed(std::span<const Value> values, std::uint64_t bits, std::string& out) const;

 private:
  // `mistyped`: the field that has a text instead of a number; -1: none.
  void WriteJson(std::span<const Value> values, int mistyped, std::string& out) const;
  void WriteCsv(std::span<const Value> values, int mistyped, std::string& out) const;
  void WriteAvro(std::span<const Value> values, std::string& out) const;
  void WriteProtobuf(std::span<const Value> values, std::string& out) const;
  void Write(std::span<const Value> values, int mistyped, std::string& out) const;

  const Shape shape_;
  const PayloadFormat format_;
  const std::string prefix_;
  std::vector<std::string> json_names_;  // "\"name\":"
};

/// The confluent framing of a payload whose schema has this id; of Protobuf also which message of the file it is, the
/// first.
std::string ConfluentPrefix(PayloadFormat format, std::uint32_t schema_id);

// For those who write or frame bytes themselves.
void AppendZigzag(std::int64_t value, std::string& out);  ///< Avro's long.
void AppendVarint(std::uint64_t value, std::string& out);

}  // namespace millrace::devices
