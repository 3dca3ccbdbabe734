#include "serve/api.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <optional>

#include "base/ascii_case.h"
#include "base/json_text.h"
#include "base/nearest_name.h"
#include "serve/answer_writer.h"
#include "serve/columnar_writer.h"
#include "serve/content_coding.h"
#include "serve/cost_api.h"
#include "serve/problem.h"
#include "serve/query_parameters.h"
#include "serve/sql_api.h"

namespace millrace::serve {

namespace embedded {
extern const std::string_view kCostHtml;
extern const std::string_view kIndexHtml;
extern const std::string_view kOpenApi;
extern const std::string_view kUplotJs;
extern const std::string_view kUplotCss;
}  // namespace embedded

namespace {

std::string ReplaceOnce(std::string text, std::string_view what, std::string_view with) {
  const auto at = text.find(what);
  MILLRACE_CHECK(at != std::string::npos, "an embedded file lacks {}", what);
  return text.replace(at, what.size(), with);
}

std::string BuildPage() {
  std::string page = ReplaceOnce(std::string(embedded::kIndexHtml), "/*UPLOT_CSS*/", embedded::kUplotCss);
  return ReplaceOnce(std::move(page), "/*UPLOT_JS*/", embedded::kUplotJs);
}

http::Response Plain(http::Body body, std::string content_type) {
  http::Response response;
  response.content_type = std::move(content_type);
  response.body = std::move(body);
  return response;
}

http::Response Page(const std::string& html) {
  http::Response response = Plain(html, "text/html; charset=utf-8");
  response.headers.emplace_back("Content-Security-Policy",
                                "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                                "connect-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'");
  return response;
}

constexpr std::int64_t kListedMax = 10'000;  // Commits or files in one document.

http::Response Failure(const Status& status, const std::string& target) {
  const http::Problem problem = ToProblem(status);
  if (problem.status == 500) spdlog::error("request failed target=\"{}\" error=\"{}\"", target, status.ToString());
  return http::ToResponse(problem);
}

http::Response Json(const Result<boost::json::value>& value, const std::string& target) {
  if (!value.ok()) return Failure(value.status(), target);
  return Plain(JsonText(*value) + "\n", "application/json");
}

// {"tables": [{"name": ...}]} -> the names.
std::vector<std::string> NamesIn(const Result<boost::json::value>& list, std::string_view member) {
  std::vector<std::string> names;
  if (!list.ok() || !list->is_object()) return names;
  const auto* entries = list->get_object().if_contains(member);
  if (entries == nullptr || !entries->is_array()) return names;
  for (const auto& entry : entries->get_array()) {
    const auto* name = entry.is_object() ? entry.get_object().if_contains("name") : nullptr;
    if (name != nullptr && name->is_string()) names.emplace_back(name->get_string());
  }
  return names;
}

http::Response UnknownName(const char* kind, const std::string& name, const std::vector<std::string>& known) {
  http::Problem problem{404, "not_found", fmt::format("There is no {} '{}'.", kind, name), {}};
  if (const auto nearest = NearestName(name, known)) problem.hint = fmt::format("Did you mean '{}'?", *nearest);
  return http::ToResponse(problem);
}

// Whether the segments are those of `path`: then what stands for its {...}, or the empty text.
std::optional<std::string> NameIn(std::string_view path, const std::vector<std::string>& segments) {
  std::string name;
  std::size_t matched = 0;
  for (std::string_view rest = path.substr(1); !rest.empty(); ++matched) {
    const std::string_view segment = rest.substr(0, rest.find('/'));
    rest.remove_prefix(std::min(rest.size(), segment.size() + 1));
    if (matched == segments.size()) return std::nullopt;
    if (segment.starts_with('{')) {
      if (segments[matched].empty()) return std::nullopt;
      name = segments[matched];
    } else if (segment != segments[matched]) {
      return std::nullopt;
    }
  }
  return matched == segments.size() ? std::optional(std::move(name)) : std::nullopt;
}

// Takes as long for a wrong first byte as for a wrong last one; only the length of the presented token shows.
bool EqualInConstantTime(std::string_view presented, std::string_view expected) {
  volatile unsigned difference = presented.size() == expected.size() ? 0 : 1;
  for (std::size_t i = 0; i < presented.size(); ++i) {
    const char other = expected.empty() ? '\0' : expected[i % expected.size()];
    difference = difference | static_cast<unsigned char>(presented[i] ^ other);
  }
  return difference == 0;
}

}  // namespace

Api::Api(Backend& backend, Metrics& metrics, ApiOptions options, const Clock& clock)
    : backend_(backend),
      metrics_(metrics),
      options_(std::move(options)),
      clock_(clock),
      page_(BuildPage()),
      open_api_(ReplaceOnce(std::string(embedded::kOpenApi), "@VERSION@", options_.version)) {}

http::Response Api::Handle(const http::Request& request) {
  Routed routed = Answer(request);
  if (routed.response.status == 200) {
    const Status encoded = Encode(ChooseCoding(request.accept_encoding), request.stop, routed.response);
    if (!encoded.ok()) routed.response = Failure(encoded, request.target);
  }
  metrics_
      .MakeCounter("millrace_http_requests_total", "Requests answered by the HTTP API.",
                   {{"route", routed.route}, {"status", std::to_string(routed.response.status)}})
      .Increment();
  return std::move(routed.response);
}

bool Api::Authorized(const http::Request& request) const {
  if (!options_.bearer) return true;
  constexpr std::string_view kScheme = "bearer ";
  const std::string_view value = request.authorization;
  if (!EqualsIgnoringAsciiCase(value.substr(0, kScheme.size()), kScheme)) return false;
  return EqualInConstantTime(value.substr(kScheme.size()), *options_.bearer);
}

/// A request that has found its route.
struct Api::Call {
  const http::Request& request;
  const Target& target;
  std::string name;  // What stands for {...} in the path; empty: nothing does.
};

struct Api::Route {
  std::string_view path;    // As in the OpenAPI document: {...} is one segment, of any name.
  std::string_view method;  // GET: HEAD too.
  http::Lane lane;
  bool takes_parameters;
  http::Response (Api::*answer)(const Call& call);
};

constexpr Api::Route Api::kRoutes[] = {
    {"/", "GET", http::Lane::kShort, true, &Api::FirstPage},
    {"/cost", "GET", http::Lane::kShort, true, &Api::CostPage},
    {"/livez", "GET", http::Lane::kAtOnce, true, &Api::Livez},
    {"/readyz", "GET", http::Lane::kAtOnce, true, &Api::Readyz},
    {"/metrics", "GET", http::Lane::kShort, true, &Api::PrometheusText},
    {"/openapi.json", "GET", http::Lane::kShort, true, &Api::OpenApi},
    {"/v1/pipeline", "GET", http::Lane::kShort, false, &Api::Pipeline},
    {"/v1/tables", "GET", http::Lane::kShort, false, &Api::Tables},
    {"/v1/tables/{table}", "GET", http::Lane::kShort, false, &Api::Table},
    {"/v1/tables/{table}/rows", "GET", http::Lane::kLong, true, &Api::Rows},
    {"/v1/tables/{table}/history", "GET", http::Lane::kLong, true, &Api::History},
    {"/v1/tables/{table}/files", "GET", http::Lane::kLong, true, &Api::Files},
    {"/v1/aggregates", "GET", http::Lane::kShort, false, &Api::Aggregates},
    {"/v1/aggregates/{aggregate}", "GET", http::Lane::kLong, true, &Api::Aggregate},
    {"/v1/sql", "POST", http::Lane::kLong, true, &Api::Sql},
    {"/v1/cost/usage", "GET", http::Lane::kShort, false, &Api::CostUsage},
    {"/v1/cost/estimate", "POST", http::Lane::kShort, false, &Api::CostEstimate},
};

http::Lane Api::LaneOf(const http::Request& request) {
  // The path alone: parameters are decoded once, on the handler's thread.
  const auto target = ParseTarget(std::string_view(request.target).substr(0, request.target.find('?')));
  if (!target.ok()) return http::Lane::kShort;
  for (const Route& route : kRoutes) {
    if (NameIn(route.path, target->segments)) return route.lane;
  }
  return http::Lane::kShort;
}

Api::Routed Api::Answer(const http::Request& request) {
  const auto target = ParseTarget(request.target);
  if (!target.ok()) return {"other", http::ToResponse({400, "malformed_url", target.status().message(), {}})};
  const auto& segments = target->segments;
  if (!segments.empty() && segments[0] == "v1" && !Authorized(request)) {
    http::Response response = http::ToResponse(
        {401, "unauthorized", "This API wants a bearer token.", "Send 'Authorization: Bearer TOKEN'."});
    response.headers.emplace_back("WWW-Authenticate", "Bearer");
    return {"other", std::move(response)};
  }

  for (const Route& route : kRoutes) {
    auto name = NameIn(route.path, segments);
    if (!name) continue;
    const std::string path(route.path);
    const std::string_view method = request.method == "HEAD" ? "GET" : std::string_view(request.method);
    if (method != route.method) {
      const bool reads = route.method == "GET";
      http::Response response =
          http::ToResponse({405,
                            "method_not_allowed",
                            fmt::format("{} takes {}.", path, reads ? "GET and HEAD" : std::string(route.method)),
                            {}});
      response.headers.emplace_back("Allow", reads ? "GET, HEAD" : std::string(route.method));
      return {path, std::move(response)};
    }
    http::Problem problem;
    if (!route.takes_parameters && !RefuseParameters(*target, &problem)) return {path, http::ToResponse(problem)};
    return {path, (this->*route.answer)({request, *target, *std::move(name)})};
  }

  std::string path;
  for (const auto& segment : segments) path += "/" + segment;
  http::Problem problem{404, "not_found", fmt::format("There is nothing at '{}'.", path),
                        "/openapi.json lists the API."};
  std::vector<std::string> known;
  for (const Route& route : kRoutes) known.emplace_back(route.path);
  if (const auto nearest = NearestName(path, known)) problem.hint = fmt::format("Did you mean '{}'?", *nearest);
  return {"other", http::ToResponse(problem)};
}

http::Response Api::FirstPage(const Call&) { return Page(page_); }
http::Response Api::CostPage(const Call&) { return Page(std::string(embedded::kCostHtml)); }
http::Response Api::Livez(const Call&) { return Plain("ok\n", "text/plain; charset=utf-8"); }
http::Response Api::Readyz(const Call&) {
  if (backend_.Ready()) return Plain("ready\n", "text/plain; charset=utf-8");
  return http::ToResponse({503, "not_ready", "The pipeline is not running yet.", "Ask again."});
}
http::Response Api::PrometheusText(const Call&) {
  return Plain(backend_.Metrics(), "text/plain; version=0.0.4; charset=utf-8");
}
http::Response Api::OpenApi(const Call&) { return Plain(open_api_, "application/json"); }
http::Response Api::Pipeline(const Call& call) { return Json(backend_.Pipeline(), call.request.target); }
http::Response Api::Tables(const Call& call) { return Json(backend_.Tables(), call.request.target); }
http::Response Api::Aggregates(const Call& call) { return Json(backend_.Aggregates(), call.request.target); }
http::Response Api::CostUsage(const Call& call) { return Json(backend_.CostUsage(), call.request.target); }

http::Response Api::Table(const Call& call) {
  const auto table = backend_.Table(call.name);
  if (!table.ok() && KindOf(table.status()) == ErrorKind::kNotFound) {
    return UnknownName("table", call.name, NamesIn(backend_.Tables(), "tables"));
  }
  return Json(table, call.request.target);
}

http::Response Api::Rows(const Call& call) {
  query::RowsRequest asked;
  http::Problem problem;
  AnswerFormat format = AnswerFormat::kJson;
  if (!ParseRowsRequest(call.target, clock_.Now(), &asked, &problem) ||
      !ChooseFormat(call.target, call.request.accept, &format, &problem)) {
    return http::ToResponse(problem);
  }
  asked.table = call.name;
  const auto answer = backend_.Rows(asked, call.request.stop);
  if (!answer.ok()) return Failure(answer.status(), call.request.target);
  http::Response response = Written(*answer, format, call.request);
  // The others have no place for it in the body.
  if (response.status == 200 && answer->next) response.headers.emplace_back("Millrace-Next", *answer->next);
  return response;
}

http::Response Api::History(const Call& call) {
  ListRequest asked{.limit = 100};
  http::Problem problem;
  if (!ParseListRequest(call.target, {"limit"}, &asked, &problem)) return http::ToResponse(problem);
  return Json(backend_.History(call.name, std::min(asked.limit, kListedMax)), call.request.target);
}

http::Response Api::Files(const Call& call) {
  ListRequest asked{.limit = 1000};
  http::Problem problem;
  if (!ParseListRequest(call.target, {"version", "after", "limit"}, &asked, &problem)) return http::ToResponse(problem);
  return Json(backend_.Files(call.name, asked.version, asked.after, std::min(asked.limit, kListedMax)),
              call.request.target);
}

http::Response Api::CostEstimate(const Call& call) {
  constexpr UnixMicros kDay = 86'400'000'000;
  auto estimate = EstimateCost(call.request.body, static_cast<cost::Day>(clock_.Now() / kDay));
  if (!estimate.ok()) return Failure(estimate.status(), call.request.target);
  return Plain(*std::move(estimate), "application/json");
}

http::Response Api::Aggregate(const Call& call) {
  const auto& [request, target, name] = call;
  const auto begin = clock_.SteadyNow();
  http::Problem problem;
  query::AggregateRequest question;
  AnswerFormat format = AnswerFormat::kJson;
  if (!ParseAggregateRequest(target, clock_.Now(), &question, &problem) ||
      !ChooseFormat(target, request.accept, &format, &problem)) {
    return http::ToResponse(problem);
  }
  const auto answer = backend_.Query(name, question, request.stop);
  if (!answer.ok()) {
    if (KindOf(answer.status()) == ErrorKind::kNotFound) {
      return UnknownName("aggregate", name, NamesIn(backend_.Aggregates(), "aggregates"));
    }
    return Failure(answer.status(), request.target);
  }
  http::Response response = Written(*answer, format, request);
  if (response.status != 200) return response;
  metrics_
      .MakeHistogram("millrace_query_duration_seconds", "Time to answer a question to an aggregate.", DurationBounds(),
                     {{"aggregate", name}})
      .Observe(std::chrono::duration<double>(clock_.SteadyNow() - begin).count());
  return response;
}

namespace {

struct Format {
  const char* content_type;
  Result<http::Body> (*write)(const query::Answer& answer, const AnswerLimits& limits);
};
// As AnswerFormat counts them.
constexpr Format kFormats[] = {{"application/json", AnswerToJson},
                               {"application/x-ndjson", AnswerToNdjson},
                               {"text/csv; charset=utf-8", AnswerToCsv},
                               {"application/vnd.apache.arrow.stream", AnswerToArrow},
                               {"application/vnd.apache.parquet", AnswerToParquet}};

}  // namespace

http::Response Api::Written(const query::Answer& answer, AnswerFormat format, const http::Request& request) const {
  const AnswerLimits limits{options_.answer_bytes_max, request.stop};
  const Format& chosen = kFormats[static_cast<std::size_t>(format)];
  auto written = chosen.write(answer, limits);
  if (!written.ok()) return Failure(written.status(), request.target);
  http::Response response = Plain(*std::move(written), chosen.content_type);
  response.headers.emplace_back("Vary", "Accept");
  // The others have no place for it in the body.
  response.headers.emplace_back("Millrace-As-Of", AsOfToJson(answer));
  if (format != AnswerFormat::kJson && !answer.errors.empty()) {
    auto errors = ErrorsToHeader(answer);
    if (!errors.ok()) return Failure(errors.status(), request.target);
    response.headers.emplace_back("Millrace-Errors", *std::move(errors));
  }
  response.held = answer.held;
  return response;
}

http::Response Api::Sql(const Call& call) {
  const auto& request = call.request;
  const auto begin = clock_.SteadyNow();
  http::Problem problem;
  for (const auto& [name, value] : call.target.parameters) {
    if (name == "format") continue;
    return http::ToResponse({400, "unknown_parameter", fmt::format("There is no parameter '{}'.", name),
                             "format is the only one; the rest is in the body."});
  }
  AnswerFormat format = AnswerFormat::kJson;
  if (!ChooseFormat(call.target, request.accept, &format, &problem)) return http::ToResponse(problem);
  const auto asked = ParseSqlCall(request.body);
  if (!asked.ok()) return Failure(asked.status(), request.target);
  const Deadline deadline(request.stop, asked->timeout);
  const auto answer = backend_.Sql(asked->request, deadline.token());
  if (!answer.ok()) {
    if (deadline.passed()) {
      return http::ToResponse({504, "deadline_exceeded",
                               fmt::format("There is no answer within {} ms.", asked->timeout->count()),
                               "Ask for less at once, or give it longer with timeout_ms."});
    }
    problem = ToProblem(answer.status());
    if (problem.status == 404) problem = {400, "unknown_table", problem.detail, "GET /v1/tables lists them."};
    if (problem.status == 413) problem.hint = "Ask for less: a condition, a LIMIT, fewer groups or columns.";
    if (problem.status == 500) spdlog::error("SQL failed error=\"{}\"", answer.status().ToString());
    return http::ToResponse(problem);
  }
  http::Response response = Written(*answer, format, request);
  metrics_.MakeHistogram("millrace_sql_duration_seconds", "Time to answer a statement of SQL.", DurationBounds())
      .Observe(std::chrono::duration<double>(clock_.SteadyNow() - begin).count());
  return response;
}

}  // namespace millrace::serve
