/// The routes of the HTTP API and the first page: requests to questions, answers to bytes.
#pragma once

#include <optional>
#include <string>

#include "base/clock.h"
#include "base/metrics.h"
#include "serve/backend.h"
#include "serve/http_server.h"

namespace millrace::serve {

struct ApiOptions {
  std::string version;                ///< Of Millrace, for the OpenAPI document.
  std::optional<std::string> bearer;  ///< Needed on /v1 when set.
  /// Of an answer as it is sent; a larger one is 413.
  std::int64_t answer_bytes_max = std::int64_t{256} << 20;
};

/// GET and HEAD of /v1/tables, /v1/tables/{t}, /v1/aggregates, /v1/aggregates/{n}, /v1/pipeline, /v1/cost/usage,
/// /livez, /readyz, /metrics, /openapi.json, / and /cost; POST of /v1/cost/estimate (docs: openapi.json). Any thread,
/// several calls at once.
class Api {
 public:
  /// All arguments outlive the Api. Its own figures (millrace_http_requests_total, millrace_query_duration_seconds) go
  /// to `metrics`, the registry that Backend::Metrics() renders.
  Api(Backend& backend, Metrics& metrics, ApiOptions options, const Clock& clock = SystemClock());

  HttpResponse Handle(const HttpRequest& request);

  /// Health is answered at once, questions to an aggregate take long, the rest is short.
  static Lane LaneOf(const HttpRequest& request);

 private:
  struct Routed {
    std::string route;  // As in the OpenAPI document; "other" for what is not there.
    HttpResponse response;
  };
  struct Call;
  struct Route;
  static const Route kRoutes[];

  Routed Answer(const HttpRequest& request);
  HttpResponse FirstPage(const Call& call);
  HttpResponse CostPage(const Call& call);
  HttpResponse Livez(const Call& call);
  HttpResponse Readyz(const Call& call);
  HttpResponse PrometheusText(const Call& call);
  HttpResponse OpenApi(const Call& call);
  HttpResponse Pipeline(const Call& call);
  HttpResponse Tables(const Call& call);
  HttpResponse Table(const Call& call);
  HttpResponse Aggregates(const Call& call);
  HttpResponse Aggregate(const Call& call);
  HttpResponse CostUsage(const Call& call);
  HttpResponse CostEstimate(const Call& call);
  bool Authorized(const HttpRequest& request) const;

  Backend& backend_;
  Metrics& metrics_;
  const ApiOptions options_;
  const Clock& clock_;
  const std::string page_;
  const std::string open_api_;
};

}  // namespace millrace::serve
