/// OTLP's JSON to the same in Protobuf's wire format.
/// Spec: opentelemetry.io/docs/specs/otlp, "JSON Protobuf Encoding"; protobuf.dev, "ProtoJSON Format".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "gateway/otlp_schema_internal.h"

namespace millrace::gateway::otlp {

/// Appends `json` as a `message` to `wire`, at most six times its size. What it is not, with the field; nullopt: it is
/// one. Fields that the message does not have are passed over.
std::optional<std::string> ToWire(std::string_view json, const Message& message, std::string* wire);

}  // namespace millrace::gateway::otlp
