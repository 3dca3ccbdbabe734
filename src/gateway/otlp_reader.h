/// OpenTelemetry's protocol over HTTP (OTLP 1.9): a request of a collector or SDK to events, one for each log record,
/// data point of a metric, or span. Protobuf and JSON give the same events, to the byte.
///
/// An event is a JSON object of the fields of the protocol's LogRecord, data point or Span by their names in the .proto
/// files, and of what is around it:
///
/// | field                                                     | of                                               |
/// |-----------------------------------------------------------|--------------------------------------------------|
/// | name, description, unit, metadata, type                   | a point's metric; `type`: gauge, sum, histogram, |
/// | aggregation_temporality, is_monotonic                     | exponential_histogram, summary                   |
/// | value                                                     | a point of a gauge or sum: as_double or as_int   |
/// | scope_name, scope_version, scope_attributes, ...          | the instrumentation's scope                      |
/// | service_name                                              | the resource's attribute service.name            |
/// | resource_attributes, ..., scope_schema_url, ..            | the resource                                     |
///
/// Attributes are an object, an AnyValue is the JSON that it stands for; bytes are Base64, but ids of traces and spans
/// hexadecimal; enums are their numbers, times are nanoseconds since 1970, and numbers without a JSON number "nan",
/// "inf" or "-inf". A field that is zero or empty is left out where that means that it is not known. What a newer
/// protocol has besides is left out.
#pragma once

#include <memory>
#include <variant>

#include "gateway/batch.h"
#include "http/message.h"

namespace millrace::gateway {

enum class OtlpSignal { kLogs, kMetrics, kTraces };

/// Events of a request are together at most so many times ReadRules::body_bytes_max: each has its resource.
inline constexpr std::size_t kOtlpGrowthMax = 4;

/// Not thread-safe.
class OtlpReader {
 public:
  OtlpReader();
  ~OtlpReader();

  /// Or why it cannot be read: 400, 413 or 415. Rejected are events with text that is not UTF-8 (invalid_utf8), and
  /// those that are too large or have no key (event_reader.h).
  std::variant<Batch, http::Problem> Read(const http::Request& request, OtlpSignal signal, const ReadRules& rules);

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

/// Whether the Content-Type is OTLP's JSON; nullopt: neither that nor its Protobuf.
std::optional<bool> IsOtlpJson(std::string_view content_type);

}  // namespace millrace::gateway
