#include "gateway/otlp_schema_internal.h"

namespace millrace::gateway::otlp {
namespace {

using enum Kind;
using enum Written;

extern const Message kKeyValueMessage;

constexpr Field Attributes(std::uint32_t number, std::string_view json, std::string_view name) {
  return {number, json, name, kAttributes, kUnlessZero, &kKeyValueMessage};
}
constexpr Field Parts(std::uint32_t number, std::string_view json, const Message& message) {
  return {number, json, "", kMessage, kAll, &message};
}
constexpr Field One(std::uint32_t number, std::string_view json, const Message& message) {
  return {number, json, "", kMessage, kIfSent, &message};
}
constexpr Field kStart = {2, "startTimeUnixNano", "start_time_unix_nano", kFixed64};
constexpr Field kTime = {3, "timeUnixNano", "time_unix_nano", kFixed64};
constexpr Field kSchema = {kSchemaUrl, "schemaUrl", "", kText};

constexpr Field kKeyValueFields[] = {{kKey, "key", "key", kText},
                                     {kValue, "value", "value", Kind::kAnyValue, kIfSent, &otlp::kAnyValue}};
const Message kKeyValueMessage{kKeyValueFields};

constexpr Field kArrayValueFields[] = {{any_value::kValues, "values", "", Kind::kAnyValue, kAll, &otlp::kAnyValue}};
const Message kArrayValue{kArrayValueFields};
constexpr Field kKeyValueListFields[] = {{any_value::kValues, "values", "", kAttributes, kAll, &kKeyValueMessage}};
const Message kKeyValueList{kKeyValueListFields};

constexpr Field kAnyValueFields[] = {
    {any_value::kString, "stringValue", "", kText, kIfSent},
    {any_value::kBool, "boolValue", "", kBool, kIfSent},
    {any_value::kInt, "intValue", "", kVarint, kIfSent, nullptr, true},
    {any_value::kDouble, "doubleValue", "", kDouble, kIfSent},
    {any_value::kArray, "arrayValue", "", kMessage, kIfSent, &kArrayValue},
    {any_value::kKvlist, "kvlistValue", "", kMessage, kIfSent, &kKeyValueList},
    {any_value::kBytes, "bytesValue", "", kBase64Bytes, kIfSent},
};
constexpr Field kResourceFields[] = {
    Attributes(1, "attributes", "resource_attributes"),
    {2, "droppedAttributesCount", "resource_dropped_attributes_count", kVarint},
};
constexpr Field kScopeFields[] = {
    {1, "name", "scope_name", kText},
    {2, "version", "scope_version", kText},
    Attributes(3, "attributes", "scope_attributes"),
    {4, "droppedAttributesCount", "scope_dropped_attributes_count", kVarint},
};

constexpr Field kLogRecordFields[] = {
    {1, "timeUnixNano", "time_unix_nano", kFixed64},
    {11, "observedTimeUnixNano", "observed_time_unix_nano", kFixed64},
    {2, "severityNumber", "severity_number", kVarint, kUnlessZero, nullptr, true},
    {3, "severityText", "severity_text", kText},
    {12, "eventName", "event_name", kText},
    {5, "body", "body", Kind::kAnyValue, kIfSent, &otlp::kAnyValue},
    Attributes(6, "attributes", "attributes"),
    {7, "droppedAttributesCount", "dropped_attributes_count", kVarint},
    {8, "flags", "flags", kFixed32},
    {9, "traceId", "trace_id", kHexBytes},
    {10, "spanId", "span_id", kHexBytes},
};
constexpr Field kScopeLogsFields[] = {One(kOwner, "scope", kScope), Parts(kInner, "logRecords", kLogRecord), kSchema};
const Message kScopeLogs{kScopeLogsFields};
constexpr Field kResourceLogsFields[] = {One(kOwner, "resource", kResource), Parts(kInner, "scopeLogs", kScopeLogs),
                                         kSchema};
const Message kResourceLogs{kResourceLogsFields};
constexpr Field kLogsRequestFields[] = {Parts(kParts, "resourceLogs", kResourceLogs)};

constexpr Field kSpanEventFields[] = {
    {1, "timeUnixNano", "time_unix_nano", kFixed64},
    {2, "name", "name", kText},
    Attributes(3, "attributes", "attributes"),
    {4, "droppedAttributesCount", "dropped_attributes_count", kVarint},
};
const Message kSpanEvent{kSpanEventFields};
constexpr Field kSpanLinkFields[] = {
    {1, "traceId", "trace_id", kHexBytes},
    {2, "spanId", "span_id", kHexBytes},
    {3, "traceState", "trace_state", kText},
    Attributes(4, "attributes", "attributes"),
    {5, "droppedAttributesCount", "dropped_attributes_count", kVarint},
    {6, "flags", "flags", kFixed32},
};
const Message kSpanLink{kSpanLinkFields};
constexpr Field kStatusFields[] = {
    {2, "message", "message", kText},
    {3, "code", "code", kVarint, kAlways, nullptr, true},
};
const Message kStatus{kStatusFields};
constexpr Field kSpanFields[] = {
    {1, "traceId", "trace_id", kHexBytes},
    {2, "spanId", "span_id", kHexBytes},
    {4, "parentSpanId", "parent_span_id", kHexBytes},
    {3, "traceState", "trace_state", kText},
    {5, "name", "name", kText},
    {6, "kind", "kind", kVarint, kUnlessZero, nullptr, true},
    {7, "startTimeUnixNano", "start_time_unix_nano", kFixed64},
    {8, "endTimeUnixNano", "end_time_unix_nano", kFixed64},
    Attributes(9, "attributes", "attributes"),
    {10, "droppedAttributesCount", "dropped_attributes_count", kVarint},
    {11, "events", "events", kMessage, kAll, &kSpanEvent},
    {12, "droppedEventsCount", "dropped_events_count", kVarint},
    {13, "links", "links", kMessage, kAll, &kSpanLink},
    {14, "droppedLinksCount", "dropped_links_count", kVarint},
    {15, "status", "status", kMessage, kIfSent, &kStatus},
    {16, "flags", "flags", kFixed32},
};
static_assert(std::size(kSpanFields) <= kFieldsMax);
constexpr Field kScopeSpansFields[] = {One(kOwner, "scope", kScope), Parts(kInner, "spans", kSpan), kSchema};
const Message kScopeSpans{kScopeSpansFields};
constexpr Field kResourceSpansFields[] = {One(kOwner, "resource", kResource), Parts(kInner, "scopeSpans", kScopeSpans),
                                          kSchema};
const Message kResourceSpans{kResourceSpansFields};
constexpr Field kTracesRequestFields[] = {Parts(kParts, "resourceSpans", kResourceSpans)};

constexpr Field kExemplarFields[] = {
    {2, "timeUnixNano", "time_unix_nano", kFixed64},
    {3, "asDouble", "value", kDouble, kIfSent},
    {6, "asInt", "value", kFixed64, kIfSent, nullptr, true},
    {5, "traceId", "trace_id", kHexBytes},
    {4, "spanId", "span_id", kHexBytes},
    Attributes(7, "filteredAttributes", "filtered_attributes"),
};
const Message kExemplar{kExemplarFields};
constexpr Field Exemplars(std::uint32_t number) {
  return {number, "exemplars", "exemplars", kMessage, kAll, &kExemplar};
}
constexpr Field kCount = {4, "count", "count", kFixed64, kAlways};
constexpr Field kSum = {5, "sum", "sum", kDouble, kIfSent};

constexpr Field kNumberPointFields[] = {
    kStart,
    kTime,
    {4, "asDouble", "value", kDouble, kIfSent},
    {6, "asInt", "value", kFixed64, kIfSent, nullptr, true},
    Attributes(7, "attributes", "attributes"),
    {8, "flags", "flags", kVarint},
    Exemplars(5),
};
const Message kNumberPoint{kNumberPointFields};
constexpr Field kHistogramPointFields[] = {
    kStart,
    kTime,
    kCount,
    kSum,
    {11, "min", "min", kDouble, kIfSent},
    {12, "max", "max", kDouble, kIfSent},
    {6, "bucketCounts", "bucket_counts", kFixed64, kAll},
    {7, "explicitBounds", "explicit_bounds", kDouble, kAll},
    Attributes(9, "attributes", "attributes"),
    {10, "flags", "flags", kVarint},
    Exemplars(8),
};
const Message kHistogramPoint{kHistogramPointFields};
constexpr Field kBucketsFields[] = {
    {1, "offset", "offset", kZigzag, kAlways},
    {2, "bucketCounts", "bucket_counts", kVarint, kAll},
};
const Message kBuckets{kBucketsFields};
constexpr Field kExponentialPointFields[] = {
    kStart,
    kTime,
    kCount,
    kSum,
    {12, "min", "min", kDouble, kIfSent},
    {13, "max", "max", kDouble, kIfSent},
    {6, "scale", "scale", kZigzag, kAlways},
    {7, "zeroCount", "zero_count", kFixed64, kAlways},
    {14, "zeroThreshold", "zero_threshold", kDouble},
    {8, "positive", "positive", kMessage, kIfSent, &kBuckets},
    {9, "negative", "negative", kMessage, kIfSent, &kBuckets},
    Attributes(1, "attributes", "attributes"),
    {10, "flags", "flags", kVarint},
    Exemplars(11),
};
const Message kExponentialPoint{kExponentialPointFields};
constexpr Field kQuantileFields[] = {
    {1, "quantile", "quantile", kDouble, kAlways},
    {2, "value", "value", kDouble, kAlways},
};
const Message kQuantile{kQuantileFields};
constexpr Field kSummaryPointFields[] = {
    kStart,
    kTime,
    kCount,
    {5, "sum", "sum", kDouble, kAlways},
    {6, "quantileValues", "quantile_values", kMessage, kAll, &kQuantile},
    Attributes(7, "attributes", "attributes"),
    {8, "flags", "flags", kVarint},
};
const Message kSummaryPoint{kSummaryPointFields};

constexpr Field kTemporality = {2,   "aggregationTemporality", "aggregation_temporality", kVarint, kUnlessZero, nullptr,
                                true};
constexpr Field kGaugeFields[] = {Parts(kDataPoints, "dataPoints", kNumberPoint)};
const Message kGauge{kGaugeFields};
constexpr Field kSumFields[] = {
    Parts(kDataPoints, "dataPoints", kNumberPoint), kTemporality, {3, "isMonotonic", "is_monotonic", kBool, kAlways}};
const Message kSumData{kSumFields};
constexpr Field kHistogramFields[] = {Parts(kDataPoints, "dataPoints", kHistogramPoint), kTemporality};
const Message kHistogram{kHistogramFields};
constexpr Field kExponentialFields[] = {Parts(kDataPoints, "dataPoints", kExponentialPoint), kTemporality};
const Message kExponential{kExponentialFields};
constexpr Field kSummaryFields[] = {Parts(kDataPoints, "dataPoints", kSummaryPoint)};
const Message kSummary{kSummaryFields};

constexpr Field kMetricFields[] = {
    {1, "name", "name", kText},      {2, "description", "description", kText},
    {3, "unit", "unit", kText},      Attributes(12, "metadata", "metadata"),
    One(5, "gauge", kGauge),         One(7, "sum", kSumData),
    One(9, "histogram", kHistogram), One(10, "exponentialHistogram", kExponential),
    One(11, "summary", kSummary),
};
constexpr Field kScopeMetricsFields[] = {One(kOwner, "scope", kScope), Parts(kInner, "metrics", kMetric), kSchema};
const Message kScopeMetrics{kScopeMetricsFields};
constexpr Field kResourceMetricsFields[] = {One(kOwner, "resource", kResource),
                                            Parts(kInner, "scopeMetrics", kScopeMetrics), kSchema};
const Message kResourceMetrics{kResourceMetricsFields};
constexpr Field kMetricsRequestFields[] = {Parts(kParts, "resourceMetrics", kResourceMetrics)};

}  // namespace

const Message kAnyValue{kAnyValueFields};
const Message kResource{kResourceFields};
const Message kScope{kScopeFields};
const Message kLogRecord{kLogRecordFields};
const Message kSpan{kSpanFields};
const Message kMetric{kMetricFields};
const Message kLogsRequest{kLogsRequestFields};
const Message kMetricsRequest{kMetricsRequestFields};
const Message kTracesRequest{kTracesRequestFields};

const std::array<MetricKind, 5> kMetricKinds = {{
    {5, "gauge", &kGauge, &kNumberPoint},
    {7, "sum", &kSumData, &kNumberPoint},
    {9, "histogram", &kHistogram, &kHistogramPoint},
    {10, "exponential_histogram", &kExponential, &kExponentialPoint},
    {11, "summary", &kSummary, &kSummaryPoint},
}};

}  // namespace millrace::gateway::otlp
