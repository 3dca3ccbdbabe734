#include "serve/api.h"

#include <spdlog/spdlog.h>

#include <boost/json.hpp>
#include <chrono>
#include <functional>

#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "serve/answer_writer.h"
#include "serve/cost_api.h"
#include "serve/json_text.h"
#include "serve/problem.h"
#include "serve/query_parameters.h"

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

HttpResponse Plain(HttpBody body, std::string content_type) {
  HttpResponse response;
  response.content_type = std::move(content_type);
  response.body = std::move(body);
  return response;
}

HttpResponse Page(const std::string& html) {
  HttpResponse response = Plain(html, "text/html; charset=utf-8");
  response.headers.emplace_back("Content-Security-Policy",
                                "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                                "connect-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'");
  return response;
}

HttpResponse Failure(const Status& status, const std::string& target) {
  const Problem problem = ToProblem(status);
  if (problem.status == 500) spdlog::error("request failed target=\"{}\" error=\"{}\"", target, status.ToString());
  return ToResponse(problem);
}

HttpResponse Json(const Result<boost::json::value>& value, const std::string& target) {
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

HttpResponse UnknownName(const char* kind, const std::string& name, const std::vector<std::string>& known) {
  Problem problem{404, "not_found", fmt::format("There is no {} '{}'.", kind, name), {}};
  if (const auto nearest = NearestName(name, known)) problem.hint = fmt::format("Did you mean '{}'?", *nearest);
  return ToResponse(problem);
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

HttpResponse Api::Handle(const HttpRequest& request) {
  Routed routed = Route(request);
  metrics_
      .MakeCounter("millrace_http_requests_total", "Requests answered by the HTTP API.",
                   {{"route", routed.route}, {"status", std::to_string(routed.response.status)}})
      .Increment();
  return std::move(routed.response);
}

Lane Api::LaneOf(const HttpRequest& request) {
  const std::string_view path = std::string_view(request.target).substr(0, request.target.find('?'));
  if (path == "/livez" || path == "/readyz") return Lane::kAtOnce;
  return path.starts_with("/v1/aggregates/") ? Lane::kLong : Lane::kShort;
}

bool Api::Authorized(const HttpRequest& request) const {
  if (!options_.bearer) return true;
  constexpr std::string_view kScheme = "bearer ";
  const std::string_view value = request.authorization;
  if (!EqualsIgnoringAsciiCase(value.substr(0, kScheme.size()), kScheme)) return false;
  return EqualInConstantTime(value.substr(kScheme.size()), *options_.bearer);
}

Api::Routed Api::Route(const HttpRequest& request) {
  const auto target = ParseTarget(request.target);
  if (!target.ok()) return {"other", ToResponse({400, "malformed_url", target.status().message(), {}})};
  const auto& segments = target->segments;
  const bool versioned = !segments.empty() && segments[0] == "v1";
  if (versioned && !Authorized(request)) {
    HttpResponse response =
        ToResponse({401, "unauthorized", "This API wants a bearer token.", "Send 'Authorization: Bearer TOKEN'."});
    response.headers.emplace_back("WWW-Authenticate", "Bearer");
    return {"other", std::move(response)};
  }

  struct Handler {
    std::string route;
    bool takes_parameters;
    std::function<HttpResponse()> answer;
    bool takes_post = false;  // Instead of GET and HEAD.
  };
  const std::string named = segments.size() == 3 ? segments[2] : std::string();
  const std::vector<Handler> handlers = {
      {"/", true, [&] { return Page(page_); }},
      {"/cost", true, [&] { return Page(std::string(embedded::kCostHtml)); }},
      {"/livez", true, [] { return Plain("ok\n", "text/plain; charset=utf-8"); }},
      {"/readyz", true,
       [&] {
         if (backend_.Ready()) return Plain("ready\n", "text/plain; charset=utf-8");
         return ToResponse({503, "not_ready", "The pipeline is not running yet.", "Ask again."});
       }},
      {"/metrics", true, [&] { return Plain(backend_.Metrics(), "text/plain; version=0.0.4; charset=utf-8"); }},
      {"/openapi.json", true, [&] { return Plain(open_api_, "application/json"); }},
      {"/v1/pipeline", false, [&] { return Json(backend_.Pipeline(), request.target); }},
      {"/v1/tables", false, [&] { return Json(backend_.Tables(), request.target); }},
      {"/v1/tables/{table}", false,
       [&] {
         auto table = backend_.Table(named);
         if (!table.ok() && KindOf(table.status()) == ErrorKind::kNotFound) {
           return UnknownName("table", named, NamesIn(backend_.Tables(), "tables"));
         }
         return Json(table, request.target);
       }},
      {"/v1/aggregates", false, [&] { return Json(backend_.Aggregates(), request.target); }},
      {"/v1/cost/usage", false, [&] { return Json(backend_.CostUsage(), request.target); }},
      {"/v1/cost/estimate", false,
       [&] {
         constexpr UnixMicros kDay = 86'400'000'000;
         auto estimate = EstimateCost(request.body, static_cast<cost::Day>(clock_.Now() / kDay));
         if (!estimate.ok()) return Failure(estimate.status(), request.target);
         return Plain(*std::move(estimate), "application/json");
       },
       true},
      {"/v1/aggregates/{aggregate}", true, [&] { return AnswerAggregate(named, *target, request); }},
  };

  std::string path;
  for (const auto& segment : segments) path += "/" + segment;
  if (path.empty()) path = "/";
  std::string route = path;
  if (versioned && segments.size() == 3 && !named.empty()) {
    if (segments[1] == "tables") route = "/v1/tables/{table}";
    if (segments[1] == "aggregates") route = "/v1/aggregates/{aggregate}";
  }
  std::vector<std::string> known;
  for (const auto& handler : handlers) {
    known.push_back(handler.route);
    if (handler.route != route) continue;
    const bool asks = request.method == "GET" || request.method == "HEAD";
    if (handler.takes_post ? request.method != "POST" : !asks) {
      HttpResponse response =
          ToResponse({405,
                      "method_not_allowed",
                      fmt::format("{} takes {}.", route, handler.takes_post ? "POST" : "GET and HEAD"),
                      {}});
      response.headers.emplace_back("Allow", handler.takes_post ? "POST" : "GET, HEAD");
      return {route, std::move(response)};
    }
    Problem problem;
    if (!handler.takes_parameters && !RefuseParameters(*target, &problem)) return {route, ToResponse(problem)};
    return {route, handler.answer()};
  }
  Problem problem{404, "not_found", fmt::format("There is nothing at '{}'.", path), "/openapi.json lists the API."};
  if (const auto nearest = NearestName(path, known)) problem.hint = fmt::format("Did you mean '{}'?", *nearest);
  return {"other", ToResponse(problem)};
}

HttpResponse Api::AnswerAggregate(const std::string& name, const Target& target, const HttpRequest& request) {
  const auto begin = clock_.SteadyNow();
  Problem problem;
  query::AggregateRequest question;
  Format format = Format::kJson;
  if (!ParseAggregateRequest(target, clock_.Now(), &question, &problem) ||
      !ChooseFormat(target, request.accept, &format, &problem)) {
    return ToResponse(problem);
  }
  const auto answer = backend_.Query(name, question, request.stop);
  if (!answer.ok()) {
    if (KindOf(answer.status()) == ErrorKind::kNotFound) {
      return UnknownName("aggregate", name, NamesIn(backend_.Aggregates(), "aggregates"));
    }
    return Failure(answer.status(), request.target);
  }
  const AnswerLimits limits{options_.answer_bytes_max, request.stop};
  auto written = format == Format::kJson     ? AnswerToJson(*answer, limits)
                 : format == Format::kNdjson ? AnswerToNdjson(*answer, limits)
                                             : AnswerToCsv(*answer, limits);
  if (!written.ok()) return Failure(written.status(), request.target);
  HttpResponse response = Plain(*std::move(written), format == Format::kJson     ? "application/json"
                                                     : format == Format::kNdjson ? "application/x-ndjson"
                                                                                 : "text/csv; charset=utf-8");
  response.headers.emplace_back("Vary", "Accept");
  // NDJSON and CSV have no place for it in the body.
  response.headers.emplace_back("Millrace-As-Of", AsOfToJson(answer->as_of));
  if (format != Format::kJson && !answer->errors.empty()) {
    auto errors = ErrorsToHeader(*answer);
    if (!errors.ok()) return Failure(errors.status(), request.target);
    response.headers.emplace_back("Millrace-Errors", *std::move(errors));
  }
  response.held = answer->held;
  metrics_
      .MakeHistogram("millrace_query_duration_seconds", "Time to answer a question to an aggregate.", DurationBounds(),
                     {{"aggregate", name}})
      .Observe(std::chrono::duration<double>(clock_.SteadyNow() - begin).count());
  return response;
}

}  // namespace millrace::serve
