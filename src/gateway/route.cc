#include "gateway/route.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "gateway/line_reader.h"
#include "ingest/values/base64.h"
#include "serve/query_parameters.h"

namespace millrace::gateway {
namespace {

using http::Problem;

constexpr std::string_view kEvents = "/v1/events/";
constexpr std::string_view kWrite = "/api/v2/write";
constexpr std::string_view kWriteOfV1 = "/write";
// The name that version 1 gives to what is not named.
constexpr std::string_view kDefaultPolicy = "autogen";

std::optional<OtlpSignal> SignalOf(std::string_view path) {
  if (path == "/v1/logs") return OtlpSignal::kLogs;
  if (path == "/v1/metrics") return OtlpSignal::kMetrics;
  if (path == "/v1/traces") return OtlpSignal::kTraces;
  return std::nullopt;
}

std::optional<Problem> ReadEvents(const serve::Target& target, Route& route) {
  if (target.segments.size() != 3 || target.segments[2].empty()) {
    return Problem{404, "not_found", "Events are sent to /v1/events/TOPIC.", {}};
  }
  route.topic = target.segments[2];
  for (const auto& [name, value] : target.parameters) {
    if (name != "atomic") {
      return Problem{400, "unknown_parameter", fmt::format("There is no parameter '{}'.", name),
                     "atomic is the only one."};
    }
    if (value != "true" && value != "false") {
      return Problem{400, "invalid_parameter", fmt::format("atomic: '{}' is neither true nor false.", value), {}};
    }
    route.atomic = value == "true";
  }
  return std::nullopt;
}

std::optional<Problem> ReadOtlp(std::string_view path, const Destinations& destinations, Route& route) {
  route.signal = *SignalOf(path);
  const auto topic = destinations.otlp.find(route.signal);
  if (topic == destinations.otlp.end()) {
    const std::string_view name = path.substr(path.rfind('/') + 1);
    return Problem{404, std::string(kNowhere), fmt::format("No topic takes {} here.", name),
                   fmt::format("gateway.http.otlp.{} of the pipeline's file names one.", name)};
  }
  route.topic = topic->second;
  return std::nullopt;
}

// Parameters that mean nothing here (org, consistency) are not looked at: clients send them always.
std::optional<Problem> ReadInflux(const serve::Target& target, bool is_v1, const Destinations& destinations,
                                  Route& route) {
  std::string bucket;
  std::string policy;
  for (const auto& [name, value] : target.parameters) {
    if (name == (is_v1 ? "db" : "bucket")) bucket = value;
    if (name == "rp" && is_v1) policy = value;
    if (name != "precision") continue;
    const auto precision = PrecisionOf(value);
    if (!precision) {
      return Problem{
          400, "invalid_parameter", fmt::format("precision: '{}' is none of ns, us, ms, s, m and h.", value), {}};
    }
    route.precision = *precision;
  }
  if (bucket.empty()) {
    return Problem{400, "invalid_parameter", fmt::format("There is no parameter '{}'.", is_v1 ? "db" : "bucket"), {}};
  }
  if (!policy.empty() && policy != kDefaultPolicy) bucket += "/" + policy;
  const auto topic = destinations.influx.find(bucket);
  if (topic == destinations.influx.end()) {
    Problem problem{404, std::string(kNowhere), fmt::format("There is no bucket '{}' here.", bucket),
                    "gateway.http.influx of the pipeline's file names buckets and their topics."};
    std::vector<std::string> known;
    for (const auto& [name, unused] : destinations.influx) known.push_back(name);
    if (const auto nearest = NearestName(bucket, known)) problem.hint = fmt::format("Did you mean '{}'?", *nearest);
    return problem;
  }
  route.topic = topic->second;
  return std::nullopt;
}

}  // namespace

std::string_view PathOf(std::string_view target) { return target.substr(0, target.find('?')); }

std::optional<Protocol> ProtocolOf(std::string_view target) {
  const std::string_view path = PathOf(target);
  if (path.starts_with(kEvents)) return Protocol::kEvents;
  if (SignalOf(path)) return Protocol::kOtlp;
  if (path == kWrite || path == kWriteOfV1) return Protocol::kInflux;
  return std::nullopt;
}

std::optional<Problem> ReadRoute(const std::string& target, const Destinations& destinations, Route* route) {
  const std::string_view path = PathOf(target);
  route->protocol = ProtocolOf(target).value_or(Protocol::kEvents);
  const auto parsed = serve::ParseTarget(target);
  if (!parsed.ok()) return Problem{400, "malformed_url", parsed.status().message(), {}};
  switch (route->protocol) {
    case Protocol::kEvents:
      return ReadEvents(*parsed, *route);
    case Protocol::kOtlp:
      return ReadOtlp(path, destinations, *route);
    case Protocol::kInflux:
      break;
  }
  return ReadInflux(*parsed, path == kWriteOfV1, destinations, *route);
}

std::string BearerOf(std::string_view authorization) {
  const std::size_t blank = std::min(authorization.find(' '), authorization.size());
  const std::string_view scheme = authorization.substr(0, blank);
  const std::string_view rest = authorization.substr(std::min(blank + 1, authorization.size()));
  std::string token;
  if (EqualsIgnoringAsciiCase(scheme, "Token")) {
    token = rest;
  } else if (EqualsIgnoringAsciiCase(scheme, "Basic") && ingest::DecodeBase64(rest, &token)) {
    token.erase(0, std::min(token.find(':'), token.size() - 1) + 1);
  } else {
    return std::string(authorization);
  }
  return "Bearer " + token;
}

}  // namespace millrace::gateway
