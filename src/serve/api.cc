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
#include "serve/expiring_events.h"
#include "serve/health.h"
#include "serve/page_policy.h"
#include "serve/problem.h"
#include "serve/query_parameters.h"
#include "serve/sql_api.h"

namespace millrace::serve {

namespace embedded {
extern const std::string_view kDashboardHtml;
extern const std::string_view kOpenApi;
}  // namespace embedded

namespace {

std::string ReplaceOnce(std::string text, std::string_view what, std::string_view with) {
  const auto at = text.find(what);
  MILLRACE_CHECK(at != std::string::npos, "an embedded file lacks {}", what);
  return text.replace(at, what.size(), with);
}

std::string WithPaths(std::string document, const std::string& more) {
  if (more.empty()) return document;
  auto parsed = boost::json::parse(document);
  auto& paths = parsed.at("paths").as_object();
  const auto added = boost::json::parse(more);
  for (const auto& [path, operations] : added.as_object()) paths[path] = operations;
  return JsonText(parsed) + "\n";
}

http::Response Plain(http::Body body, std::string content_type) {
  http::Response response;
  response.content_type = std::move(content_type);
  response.body = std::move(body);
  return response;
}

http::Response Page(std::string_view html, const std::string& policy) {
  http::Response response = Plain(std::string(html), "text/html; charset=utf-8");
  response.headers = {{"Content-Security-Policy", policy},
                      {"Referrer-Policy", "no-referrer"},
                      {"X-Frame-Options", "DENY"},
                      {"Cross-Origin-Opener-Policy", "same-origin"},
                      {"Cross-Origin-Resource-Policy", "same-origin"}};
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

http::Response GoneVersion(const Status& status) {
  return http::ToResponse({410, "version_gone", status.message(), "Begin again, without the cursor."});
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

constexpr std::string_view kAggregatePath = "/v1/aggregates/{aggregate}";

// Scopes of routes.
constexpr std::string_view kOpen;  // None is wanted.
constexpr std::string_view kRead = "read";
constexpr std::string_view kSql = "sql";
constexpr std::string_view kPeer = "peer";  // The pipeline's other processes have it, and nobody else.

// Who asks may have to be asked of others, which takes a while; and what is below /v1 or /internal is never open by
// mistake.
template <typename Route, std::size_t kCount>
constexpr bool EachIsGuardedAsItsLaneAllows(const Route (&routes)[kCount]) {
  for (const Route& route : routes) {
    const bool open = route.scope.empty();
    const bool is_guarded = route.path.starts_with("/v1") || route.path.starts_with("/internal");
    if ((route.lane == http::Lane::kAtOnce && !open) || is_guarded == open) return false;
    if (route.path.starts_with("/internal") != (route.scope == kPeer)) return false;
  }
  return true;
}

// "write:{topic}" and "clicks" are "write:clicks".
std::string ScopeFor(std::string_view scope, const std::string& name) {
  const auto brace = scope.find('{');
  return brace == std::string_view::npos ? std::string(scope) : std::string(scope.substr(0, brace)) + name;
}

// RFC 9110, 15.4.5: what tells of the answer that is not sent, apart from what is sent with it.
http::Response NotModified(http::Response response) {
  std::erase_if(response.headers, [](const auto& header) { return header.first == "Content-Encoding"; });
  response.status = 304;
  response.content_type.clear();
  response.body = {};
  return response;
}

// Data and pages; the rest is of the process itself.
template <typename Route>
bool IsForReaders(const Route& route) {
  return route.path.starts_with("/v1/") || route.path == "/" || route.path == "/cost";
}

std::string MethodsOf(std::string_view method) { return method == "GET" ? "GET, HEAD" : std::string(method); }

// A token in a URL ends in the logs of whoever is on the way, and in a browser's history (RFC 6750, 5.3).
bool HasTokenInUrl(const Target& target) {
  return std::any_of(target.parameters.begin(), target.parameters.end(), [](const auto& parameter) {
    const std::string name = AsciiLower(parameter.first);
    return name == "access_token" || name == "token" || name == "bearer" || name == "authorization";
  });
}

}  // namespace

Api::Api(Backend& backend, Metrics& metrics, ApiOptions options, const Clock& clock)
    : backend_(backend),
      metrics_(metrics),
      options_(std::move(options)),
      clock_(clock),
      guard_(options_.guard, clock),
      page_policy_(PagePolicy(embedded::kDashboardHtml)),
      open_api_(
          WithPaths(ReplaceOnce(std::string(embedded::kOpenApi), "@VERSION@", options_.version), options_.more_paths)),
      cache_(options_.kept_answers_bytes_max,
             options_.memory == nullptr ? MemoryShare() : options_.memory->NewShare("kept answers")),
      cache_hits_(
          metrics.MakeCounter("millrace_answer_cache_hits_total",
                              "Questions to aggregates that were answered with what was kept, or made for another.")),
      cache_misses_(metrics.MakeCounter("millrace_answer_cache_misses_total",
                                        "Questions to aggregates whose answer had to be made.")),
      feeds_(backend, clock, options_.streams,
             options_.memory == nullptr ? MemoryShare() : options_.memory->NewShare("streams")),
      taps_(backend, clock, options_.taps, options_.memory) {
  if (options_.internal_token) {
    peer_guard_.emplace(GuardOptions{.access = Access({{*options_.internal_token, {std::string(kPeer)}}})}, clock);
  }
}

http::Response Api::Counted(Routed routed) {
  metrics_
      .MakeCounter("millrace_http_requests_total", "Requests answered by the HTTP API.",
                   {{"route", routed.route}, {"status", std::to_string(routed.response.status)}})
      .Increment();
  return std::move(routed.response);
}

Admission Api::Admit(const http::Request& request, std::string_view scope) {
  if (scope != kPeer) return guard_.Admit(request, scope);
  if (peer_guard_) return peer_guard_->Admit(request, scope);
  if (options_.is_open_to_peers) return {};
  http::Response response = http::ToResponse(
      {401, "unauthorized", "Only the processes of this pipeline may ask here.",
       "serve.internal_token is what they know each other by; without it, only a server answers that listens on a "
       "loopback address and has no serve.auth."});
  response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"millrace\"");
  return {std::move(response)};
}

/// A request that has found its route.
struct Api::Call {
  const http::Request& request;
  const Target& target;
  std::string name;                            // What stands for {...} in the path; empty: nothing does.
  std::optional<UnixMicros> believed_until{};  // As in Admission.
};

/// A question to an aggregate, as far as the bytes of its answer depend on it.
struct Api::Question {
  query::AggregateRequest request{};
  AnswerFormat format = AnswerFormat::kJson;
  Coding coding = Coding::kNone;
  std::string text{};                         // All of it: whoever has the same wants the same bytes.
  std::optional<query::AnswerState> state{};  // nullopt: nothing that is kept can be told to be as it would be now.
};

/// A question that has been admitted, as the I/O thread leaves it to the handler's.
struct Api::Prepared {
  Target target;
  std::string aggregate;
  Question question{};
  std::optional<UnixMicros> believed_until{};       // As in Admission.
  std::unique_ptr<SharedAnswers::Making> making{};  // nullptr: nobody waits for it.
};

struct Api::Route {
  std::string_view path;    // As in the OpenAPI document: {...} is one segment, of any name.
  std::string_view method;  // GET: HEAD too.
  // What a caller must have (access.h): of "write:{topic}" the name in the path is the topic. kOpen: nothing.
  std::string_view scope;
  http::Lane lane;
  bool takes_parameters;
  http::Response (Api::*answer)(const Call& call);
};

constexpr Api::Route Api::kRoutes[] = {
    {"/", "GET", kOpen, http::Lane::kShort, true, &Api::Dashboard},
    {"/cost", "GET", kOpen, http::Lane::kShort, true, &Api::Dashboard},
    {"/livez", "GET", kOpen, http::Lane::kAtOnce, true, &Api::Livez},
    {"/readyz", "GET", kOpen, http::Lane::kAtOnce, true, &Api::Readyz},
    {"/metrics", "GET", kOpen, http::Lane::kShort, true, &Api::PrometheusText},
    {"/openapi.json", "GET", kOpen, http::Lane::kShort, true, &Api::OpenApi},
    {"/v1/pipeline", "GET", kRead, http::Lane::kShort, false, &Api::Pipeline},
    {"/v1/lag", "GET", kRead, http::Lane::kShort, false, &Api::Lag},
    {"/v1/dead-letters", "GET", kRead, http::Lane::kLong, true, &Api::DeadLetters},
    {"/v1/tap", "GET", kRead, http::Lane::kStream, true, &Api::Tap},
    {"/v1/tables", "GET", kRead, http::Lane::kShort, false, &Api::Tables},
    {"/v1/tables/{table}", "GET", kRead, http::Lane::kShort, false, &Api::Table},
    {"/v1/tables/{table}/rows", "GET", kRead, http::Lane::kLong, true, &Api::Rows},
    {"/v1/tables/{table}/history", "GET", kRead, http::Lane::kLong, true, &Api::History},
    {"/v1/tables/{table}/files", "GET", kRead, http::Lane::kLong, true, &Api::Files},
    {"/v1/aggregates", "GET", kRead, http::Lane::kShort, false, &Api::Aggregates},
    {kAggregatePath, "GET", kRead, http::Lane::kLong, true, &Api::Aggregate},
    {"/v1/aggregates/{aggregate}/stream", "GET", kRead, http::Lane::kStream, true, &Api::AggregateStream},
    {"/v1/sql", "POST", kSql, http::Lane::kLong, true, &Api::Sql},
    {"/v1/cost/usage", "GET", kRead, http::Lane::kShort, false, &Api::CostUsage},
    {"/v1/cost/estimate", "POST", kRead, http::Lane::kShort, false, &Api::CostEstimate},
    // Never on the lane of questions: those wait for the answers of these, of other processes.
    {"/internal/v1/hot", "POST", kPeer, http::Lane::kShort, false, &Api::PeerQuestion},
    {"/internal/v1/pulse", "GET", kPeer, http::Lane::kShort, false, &Api::PeerPulse},
};

http::Lane Api::LaneOf(const http::Request& request) {
  if (request.prepared != nullptr) return http::Lane::kLong;
  // The path alone: parameters are decoded once, on the handler's thread.
  const auto target = ParseTarget(std::string_view(request.target).substr(0, request.target.find('?')));
  if (!target.ok()) return http::Lane::kShort;
  for (const Route& route : kRoutes) {
    if (NameIn(route.path, target->segments)) return route.lane;
  }
  return http::Lane::kShort;
}

http::Response Api::Handle(const http::Request& request) {
  Routed routed = Answer(request);
  if (routed.response.status == 200) {
    const Status encoded = Encode(ChooseCoding(request.accept_encoding), request.stop, routed.response);
    if (!encoded.ok()) routed.response = Failure(encoded, request.target);
  }
  return Finished(request, std::move(routed));
}

// nullptr: it is no question that can be answered, or it takes a while to know whose it is.
std::shared_ptr<Api::Prepared> Api::Prepare(const http::Request& request) const {
  if (guard_.MayBlock() || options_.is_for_peers || (request.method != "GET" && request.method != "HEAD") ||
      !std::string_view(request.target).starts_with("/v1/aggregates/")) {
    return nullptr;
  }
  auto target = ParseTarget(request.target);
  if (!target.ok() || HasTokenInUrl(*target)) return nullptr;
  auto name = NameIn(kAggregatePath, target->segments);
  if (!name) return nullptr;
  auto prepared = std::make_shared<Prepared>(*std::move(target), *std::move(name));
  http::Problem problem;
  if (!ReadQuestion(request, prepared->target, prepared->aggregate, &prepared->question, &problem)) return nullptr;
  return prepared;
}

http::Early Api::HandleAtOnce(http::Request& request) {
  const auto begun = clock_.SteadyNow();
  auto prepared = std::static_pointer_cast<Prepared>(request.prepared);
  if (prepared == nullptr) {
    prepared = Prepare(request);
    if (prepared == nullptr) return {};
    auto admission = Admit(request, kRead);
    if (admission.refusal) return {Finished(request, {std::string(kAggregatePath), *std::move(admission.refusal)})};
    prepared->believed_until = admission.believed_until;
    request.prepared = prepared;
  } else {
    // It has waited for another's answer, and there was none.
    prepared->question.state = backend_.KnownState(prepared->aggregate, prepared->question.request);
  }
  const std::string& name = prepared->aggregate;
  if (auto kept = Kept(prepared->question)) {
    NoteAnswered(name, begun, /*again=*/true);
    return {Finished(request, {std::string(kAggregatePath), *std::move(kept)})};
  }
  auto asked = shared_.Ask(prepared->question.text, prepared->question.state);
  if (auto* const making = std::get_if<std::unique_ptr<SharedAnswers::Making>>(&asked)) {
    prepared->making = std::move(*making);
    return {};
  }
  return {.join = [this, begun, prepared, request, join = std::get<SharedAnswers::Join>(std::move(asked))](auto take) {
    join([this, begun, prepared, request, take = std::move(take)](std::optional<http::Response> response) {
      if (!response) return take(std::nullopt);
      NoteAnswered(prepared->aggregate, begun, /*again=*/true);
      take(Finished(request, {std::string(kAggregatePath), *std::move(response)}));
    });
  }};
}

http::Response Api::Finished(const http::Request& request, Routed routed) {
  const auto& headers = routed.response.headers;
  const auto tag = std::find_if(headers.begin(), headers.end(), [](const auto& h) { return h.first == "ETag"; });
  if (tag != headers.end() && NamesTag(request.if_none_match, tag->second)) {
    routed.response = NotModified(std::move(routed.response));
  }
  http::Response response = Counted(std::move(routed));
  guard_.AllowOrigin(request, response);
  return response;
}

http::Response Api::HandleHealth(const http::Request& request) {
  const auto target = ParseTarget(std::string_view(request.target).substr(0, request.target.find('?')));
  for (const Route& route : kRoutes) {
    const bool health =
        route.answer == &Api::Livez || route.answer == &Api::Readyz || route.answer == &Api::PrometheusText;
    if (!health || !target.ok() || !NameIn(route.path, target->segments)) continue;
    return Counted({std::string(route.path), AnswerRoute(route, request, {request, *target, {}})});
  }
  return Counted({"other", http::ToResponse({404, "not_found", "Here are /livez, /readyz and /metrics.", {}})});
}

http::Response Api::AnswerRoute(const Route& route, const http::Request& request, const Call& call) {
  const std::string_view method = request.method == "HEAD" ? "GET" : std::string_view(request.method);
  if (method != route.method) {
    const std::string methods = MethodsOf(route.method);
    http::Response response =
        http::ToResponse({405,
                          "method_not_allowed",
                          fmt::format("{} takes {}.", route.path, route.method == "GET" ? "GET and HEAD" : methods),
                          {}});
    response.headers.emplace_back("Allow", methods);
    return response;
  }
  http::Problem problem;
  if (!route.takes_parameters && !RefuseParameters(call.target, &problem)) return http::ToResponse(problem);
  return (this->*route.answer)(call);
}

Api::Routed Api::Answer(const http::Request& request) {
  static_assert(EachIsGuardedAsItsLaneAllows(kRoutes));
  if (const auto* const prepared = static_cast<const Prepared*>(request.prepared.get())) {
    return {std::string(kAggregatePath),
            Aggregate({request, prepared->target, prepared->aggregate, prepared->believed_until})};
  }
  // About no resource, but about all (RFC 9110, 9.3.7): clients and monitors ask it as a ping.
  if (request.method == "OPTIONS" && request.target == "*") {
    http::Response response;
    response.status = 204;
    response.headers = {{"Allow", "GET, HEAD, POST, OPTIONS"}};
    return {"other", std::move(response)};
  }
  const auto target = ParseTarget(request.target);
  if (!target.ok()) return {"other", http::ToResponse({400, "malformed_url", target.status().message(), {}})};
  if (HasTokenInUrl(*target)) {
    return {"other", http::ToResponse({400, "token_in_url", "A token in the URL is not taken.",
                                       "Send 'Authorization: Bearer TOKEN', and take this one for known to others."})};
  }
  const auto& segments = target->segments;
  for (const Route& route : kRoutes) {
    auto name = NameIn(route.path, segments);
    if (!name || (route.answer == &Api::PrometheusText && options_.metrics_elsewhere)) continue;
    std::string path(route.path);
    if (options_.is_for_peers && IsForReaders(route)) {
      return {path, http::ToResponse({404, "not_found", "This process answers only the others of its pipeline.",
                                      "Ask one that was started with --role serve or all."})};
    }
    if (auto preflight = guard_.Preflight(request, MethodsOf(route.method))) return {path, *std::move(preflight)};
    Admission admission;
    if (!route.scope.empty()) admission = Admit(request, ScopeFor(route.scope, *name));
    if (admission.refusal) return {path, *std::move(admission.refusal)};
    return {path, AnswerRoute(route, request, {request, *target, *std::move(name), admission.believed_until})};
  }
  // What is not there is told to those alone who may know what is.
  if (!segments.empty() && (segments[0] == "v1" || segments[0] == "internal")) {
    auto admission = Admit(request, segments[0] == "v1" ? kOpen : kPeer);
    if (admission.refusal) return {"other", *std::move(admission.refusal)};
  }

  std::string path;
  for (const auto& segment : segments) path += "/" + segment;
  http::Problem problem{404, "not_found", fmt::format("There is nothing at '{}'.", path),
                        "/openapi.json lists the API."};
  std::vector<std::string> known;
  for (const Route& route : kRoutes) {
    if (!route.path.starts_with("/internal/")) known.emplace_back(route.path);
  }
  if (const auto nearest = NearestName(path, known)) problem.hint = fmt::format("Did you mean '{}'?", *nearest);
  return {"other", http::ToResponse(problem)};
}

http::Response Api::Dashboard(const Call&) { return Page(embedded::kDashboardHtml, page_policy_); }
http::Response Api::Livez(const Call&) { return Alive(); }
http::Response Api::Readyz(const Call&) {
  if (backend_.Ready()) return Readiness(std::nullopt);
  return Readiness(http::Problem{503, "not_ready", "The pipeline is not running yet.", "Ask again."});
}
http::Response Api::PrometheusText(const Call&) {
  metrics_.MakeGauge("millrace_stream_listeners", "Clients that follow the changes of an answer.")
      .Set(static_cast<double>(feeds_.listeners()));
  metrics_.MakeGauge("millrace_taps", "Clients that watch the log.").Set(static_cast<double>(taps_.open()));
  metrics_.MakeGauge("millrace_answer_cache_bytes", "Of answers that are kept to be given again.")
      .Set(static_cast<double>(cache_.bytes()));
  return MetricsText(backend_.Metrics());
}
http::Response Api::OpenApi(const Call&) { return Plain(open_api_, "application/json"); }
http::Response Api::Pipeline(const Call& call) { return Json(backend_.Pipeline(), call.request.target); }
http::Response Api::Tables(const Call& call) { return Json(backend_.Tables(), call.request.target); }
http::Response Api::Aggregates(const Call& call) { return Json(backend_.Aggregates(), call.request.target); }
http::Response Api::CostUsage(const Call& call) { return Json(backend_.CostUsage(), call.request.target); }

http::Response Api::Lag(const Call& call) { return Json(backend_.Lag(), call.request.target); }

http::Response Api::DeadLetters(const Call& call) {
  LettersRequest asked;
  http::Problem problem;
  if (!ParseLettersRequest(call.target, &asked, &problem)) return http::ToResponse(problem);
  return Json(backend_.DeadLetters(asked.reason, asked.limit, call.request.stop), call.request.target);
}

http::Response Api::Tap(const Call& call) {
  TapRequest asked;
  http::Problem problem;
  if (!ParseTapRequest(call.target, &asked, &problem)) return http::ToResponse(problem);
  auto source = taps_.Open(asked);
  if (!source.ok()) return Failure(source.status(), call.request.target);
  return Events(call, *std::move(source));
}

http::Response Api::PeerQuestion(const Call& call) {
  auto answer = backend_.AnswerPeer(call.request.body);
  if (!answer.ok()) return Failure(answer.status(), call.request.target);
  return Plain(*std::move(answer), "application/vnd.apache.arrow.stream");
}
http::Response Api::PeerPulse(const Call& call) {
  auto pulse = backend_.PulseForPeers();
  if (!pulse.ok()) return Failure(pulse.status(), call.request.target);
  return Plain(*std::move(pulse), "application/json");
}

http::Response Api::Table(const Call& call) {
  const auto table = backend_.Table(call.name);
  if (!table.ok() && KindOf(table.status()) == ErrorKind::kNotFound) {
    return UnknownName("table", call.name, NamesIn(backend_.Tables(), "tables"));
  }
  return Json(table, call.request.target);
}

// A page of a table that is there.
bool Api::IsGone(const Status& status, const std::string& table) {
  return KindOf(status) == ErrorKind::kNotFound && backend_.Table(table).ok();
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
  if (!answer.ok()) {
    if (!asked.cursor.empty() && IsGone(answer.status(), call.name)) return GoneVersion(answer.status());
    return Failure(answer.status(), call.request.target);
  }
  http::Response response = Written(*answer, format, call.request);
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

bool Api::ReadQuestion(const http::Request& request, const Target& target, const std::string& aggregate,
                       Question* question, http::Problem* problem) const {
  if (!ParseAggregateRequest(target, clock_.Now(), &question->request, problem) ||
      !ChooseFormat(target, request.accept, &question->format, problem)) {
    return false;
  }
  question->coding = ChooseCoding(request.accept_encoding);
  question->state = backend_.KnownState(aggregate, question->request);
  question->text = fmt::format("{}:{};{};{};{}", aggregate.size(), aggregate, static_cast<int>(question->format),
                               static_cast<int>(question->coding), query::ToText(question->request));
  return true;
}

std::optional<http::Response> Api::Kept(const Question& question) {
  if (!question.state) return std::nullopt;
  return cache_.Find(question.text, *question.state);
}

void Api::NoteAnswered(const std::string& aggregate, std::chrono::steady_clock::time_point begun, bool again) {
  (again ? cache_hits_ : cache_misses_).Increment();
  if (again) backend_.NoteAnsweredAgain();
  metrics_
      .MakeHistogram("millrace_query_duration_seconds", "Time to answer a question to an aggregate.", DurationBounds(),
                     {{"aggregate", aggregate}})
      .Observe(std::chrono::duration<double>(clock_.SteadyNow() - begun).count());
}

http::Response Api::Aggregate(const Call& call) {
  auto* const prepared = static_cast<Prepared*>(call.request.prepared.get());
  if (prepared == nullptr) {
    http::Problem problem;
    Question question;
    if (!ReadQuestion(call.request, call.target, call.name, &question, &problem)) return http::ToResponse(problem);
    return Answered(call, question, nullptr);
  }
  prepared->question.state = backend_.KnownState(call.name, prepared->question.request);
  http::Response response = Answered(call, prepared->question, prepared->making.get());
  // One that was stopped is nobody else's.
  if (prepared->making != nullptr && !call.request.stop.stop_requested()) prepared->making->End(response);
  return response;
}

http::Response Api::Answered(const Call& call, const Question& question, SharedAnswers::Making* making) {
  const http::Request& request = call.request;
  const std::string& name = call.name;
  const auto begun = clock_.SteadyNow();
  if (auto kept = Kept(question)) {
    NoteAnswered(name, begun, /*again=*/true);
    return *std::move(kept);
  }
  if (making != nullptr) making->Begin(question.state);
  const auto answer = backend_.Query(name, question.request, request.stop);
  if (!answer.ok()) {
    if (!question.request.cursor.empty() && IsGone(answer.status(), name)) return GoneVersion(answer.status());
    if (KindOf(answer.status()) == ErrorKind::kNotFound) {
      return UnknownName("aggregate", name, NamesIn(backend_.Aggregates(), "aggregates"));
    }
    return Failure(answer.status(), request.target);
  }
  http::Response response = Written(*answer, question.format, request);
  if (response.status != 200) return response;
  const Status encoded = Encode(question.coding, request.stop, response);
  if (!encoded.ok()) return Failure(encoded, request.target);
  if (answer->state) cache_.Keep(question.text, *answer->state, response);
  NoteAnswered(name, begun, /*again=*/false);
  return response;
}

http::Response Api::AggregateStream(const Call& call) {
  const auto& [request, target, name, _] = call;
  http::Problem problem;
  for (const auto& [parameter, value] : target.parameters) {
    if (parameter == "format") {
      return http::ToResponse({400, "invalid_parameter", "format: a stream is text/event-stream alone.", {}});
    }
    if (parameter == "cursor") {
      return http::ToResponse({400, "invalid_parameter", "cursor: a stream has no pages.", {}});
    }
    if (parameter == "fill") {
      return http::ToResponse({400, "invalid_parameter", "fill: a stream tells what has rows.",
                               "Whoever shows it knows the windows: they are those between from and now."});
    }
  }
  auto source = feeds_.Listen(name, target, request.last_event_id, request.stop, &problem);
  if (!source.ok()) {
    if (!problem.detail.empty()) return http::ToResponse(problem);
    if (KindOf(source.status()) == ErrorKind::kNotFound) {
      return UnknownName("aggregate", name, NamesIn(backend_.Aggregates(), "aggregates"));
    }
    return Failure(source.status(), request.target);
  }
  return Events(call, *std::move(source));
}

http::Response Api::Events(const Call& call, std::unique_ptr<http::BodySource> source) const {
  if (call.believed_until) source = EndingAt(*call.believed_until, clock_, std::move(source));
  http::Response response = Plain(http::Body(std::move(source)), "text/event-stream");
  // A proxy that gathers what is small would make changes late.
  response.headers.emplace_back("X-Accel-Buffering", "no");
  return response;
}

namespace {

struct Format {
  const char* content_type;
  bool is_text;
  Result<http::Body> (*write)(const query::Answer& answer, const AnswerLimits& limits, AnswerDigest* said);
};
template <auto kWrite>
Result<http::Body> Columnar(const query::Answer& answer, const AnswerLimits& limits, AnswerDigest*) {
  return kWrite(answer, limits);
}
// As AnswerFormat counts them.
constexpr Format kFormats[] = {{"application/json", true, AnswerToJson},
                               {"application/x-ndjson", true, AnswerToNdjson},
                               {"text/csv; charset=utf-8", true, AnswerToCsv},
                               {"application/vnd.apache.arrow.stream", false, Columnar<AnswerToArrow>},
                               {"application/vnd.apache.parquet", false, Columnar<AnswerToParquet>}};

}  // namespace

http::Response Api::Written(const query::Answer& answer, AnswerFormat format, const http::Request& request) const {
  const AnswerLimits limits{options_.answer_bytes_max, request.stop};
  const Format& chosen = kFormats[static_cast<std::size_t>(format)];
  const bool has_tag = chosen.is_text && request.method != "POST";
  std::optional<AnswerDigest> said;
  if (has_tag) said.emplace().Add(chosen.content_type);
  auto written = chosen.write(answer, limits, said ? &*said : nullptr);
  if (!written.ok()) return Failure(written.status(), request.target);
  http::Response response = Plain(*std::move(written), chosen.content_type);
  response.headers.emplace_back("Vary", "Accept, Accept-Encoding");
  if (has_tag) {
    response.headers.emplace_back("ETag", EntityTag(said->Text(), answer.is_closed));
    response.headers.emplace_back("Cache-Control", "private, no-cache");
  }
  // The others have no place for it in the body.
  response.headers.emplace_back("Millrace-As-Of", AsOfToJson(answer));
  if (answer.next) response.headers.emplace_back("Millrace-Next", *answer.next);
  if (format != AnswerFormat::kJson && !answer.errors.empty()) {
    auto errors = ErrorsToHeader(answer);
    if (!errors.ok()) return Failure(errors.status(), request.target);
    response.headers.emplace_back("Millrace-Errors", *std::move(errors));
  }
  if (format != AnswerFormat::kJson && !answer.missing.empty()) {
    response.headers.emplace_back("Millrace-Partial", PartialToHeader(answer));
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
