/// The door's answers, as answer.h makes them, in the words of other protocols.
#pragma once

#include "gateway/otlp_reader.h"
#include "http/message.h"

namespace millrace::gateway {

/// OTLP: 200 with the signal's response, which tells of what was rejected as a partial success; else a
/// google.rpc.Status. Protobuf or JSON, as the request. What is in the log in part is 503, though what is sent again
/// then is there twice: a partial success would never be sent again.
/// Spec: opentelemetry.io/docs/specs/otlp, "OTLP/HTTP Response".
http::Response InOtlpWords(http::Response answer, OtlpSignal signal, bool is_json);

/// InfluxDB: 204, or a code and a message. A partial write is 400, which no client sends again; what is in the log in
/// part is 503, as above.
/// Spec: docs.influxdata.com/influxdb/v2/api, "Write data".
http::Response InInfluxWords(http::Response answer);

}  // namespace millrace::gateway
