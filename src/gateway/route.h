/// Where a request of the door goes: which protocol its sender speaks, to which topic, and what else its URL says.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/otlp_reader.h"
#include "http/problem.h"

namespace millrace::gateway {

enum class Protocol {
  kEvents,  ///< POST /v1/events/TOPIC
  kOtlp,    ///< POST /v1/logs, /v1/metrics, /v1/traces
  kInflux,  ///< POST /api/v2/write, and /write of InfluxDB 1
};

/// Without its query.
std::string_view PathOf(std::string_view target);

/// By the path; nullopt: it is not one of the door's.
std::optional<Protocol> ProtocolOf(std::string_view target);

/// Which topics the events of other protocols go to.
struct Destinations {
  std::map<OtlpSignal, std::string> otlp{};
  std::map<std::string, std::string, std::less<>> influx{};  ///< By the bucket.
};

struct Route {
  Protocol protocol = Protocol::kEvents;
  std::string topic;
  bool atomic = false;                    ///< Of kEvents.
  OtlpSignal signal = OtlpSignal::kLogs;  ///< Of kOtlp.
  std::int64_t precision = 1;             ///< Of kInflux, nanoseconds.
};

/// The code of a problem: what is sent there goes to no topic.
inline constexpr std::string_view kNowhere = "nowhere";

/// Of one of the door's. What is wrong with it; nullopt: nothing. `route->protocol` is set in either case.
std::optional<http::Problem> ReadRoute(const std::string& target, const Destinations& destinations, Route* route);

/// What InfluxDB's clients call a token, "Token T" or the password of "Basic", as others do: "Bearer T".
std::string BearerOf(std::string_view authorization);

}  // namespace millrace::gateway
