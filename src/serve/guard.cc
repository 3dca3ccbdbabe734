#include "serve/guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/ascii_case.h"
#include "http/problem.h"
#include "serve/problem.h"

namespace millrace::serve {
namespace {

// nullopt: no credentials, or others than a bearer token.
std::optional<std::string_view> BearerIn(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (!EqualsIgnoringAsciiCase(authorization.substr(0, kScheme.size()), kScheme)) return std::nullopt;
  return authorization.substr(kScheme.size());
}

// With what the client is to do about it, as RFC 6750, 3 has it; `parameters` after the realm: ", error=...".
http::Response Challenge(const http::Problem& problem, const std::string& parameters) {
  http::Response response = http::ToResponse(problem);
  response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"millrace\"" + parameters);
  return response;
}

}  // namespace

Guard::Guard(GuardOptions options, const Clock& clock) : options_(std::move(options)), clock_(clock) {
  if (options_.rate) limiter_.emplace(*options_.rate);
}

Admission Guard::Admit(const http::Request& request, std::string_view scope) {
  const std::string by_address = "address " + ClientOfAddress(request.client_address);
  if (!options_.access) return {RefuseTooMany(by_address), std::nullopt, by_address};
  const auto token = BearerIn(request.authorization);
  if (!token) {
    if (auto refused = RefuseTooMany(by_address)) return {std::move(refused)};
    return {
        Challenge({401, "unauthorized", "This API wants a bearer token.", "Send 'Authorization: Bearer TOKEN'."}, "")};
  }
  const auto caller = options_.access->Judge(*token, clock_.Now());
  if (!caller.ok()) {
    // Whoever tries one token after the other is held up by the address.
    if (auto refused = RefuseTooMany(by_address)) return {std::move(refused)};
    if (KindOf(caller.status()) == ErrorKind::kTransient) return {http::ToResponse(ToProblem(caller.status()))};
    const std::string& why = caller.status().message();
    return {Challenge({401, "invalid_token", why, "Send one that is valid: 'Authorization: Bearer TOKEN'."},
                      fmt::format(", error=\"invalid_token\", error_description=\"{}\"", why))};
  }
  const std::string& client = caller->id.empty() ? by_address : caller->id;
  if (auto refused = RefuseTooMany(client)) return {std::move(refused)};
  if (scope.empty() || caller->May(scope)) return {std::nullopt, caller->believed_until, client};
  return {Challenge({403, "insufficient_scope", fmt::format("This wants the scope '{}', which the token lacks.", scope),
                     "serve.auth of the pipeline's file, or the issuer of the token, gives scopes."},
                    fmt::format(", error=\"insufficient_scope\", scope=\"{}\"", scope))};
}

std::optional<http::Response> Guard::RefuseTooMany(const std::string& client) {
  if (!limiter_) return std::nullopt;
  const auto wait = limiter_->Take(client, clock_.SteadyNow());
  if (!wait) return std::nullopt;
  const auto seconds = std::max<std::int64_t>(1, std::chrono::ceil<std::chrono::seconds>(*wait).count());
  http::Response response =
      http::ToResponse({429, "too_many_requests", "This client sends more requests than serve.limits.rate allows.",
                        fmt::format("Ask again in {} s.", seconds)});
  response.headers.emplace_back("Retry-After", std::to_string(seconds));
  return response;
}

bool Guard::Allows(const std::string& origin) const {
  return !origin.empty() && std::any_of(options_.origins.begin(), options_.origins.end(),
                                        [&](const std::string& one) { return one == "*" || one == origin; });
}

std::optional<http::Response> Guard::Preflight(const http::Request& request, std::string_view methods) const {
  if (request.method != "OPTIONS" || request.asks_to_send.empty() || !Allows(request.origin)) return std::nullopt;
  http::Response response;
  response.status = 204;
  response.headers = {{"Access-Control-Allow-Methods", std::string(methods)},
                      {"Access-Control-Allow-Headers",
                       "Authorization, Content-Type, Content-Encoding, Accept, If-None-Match, Last-Event-ID, "
                       "Idempotency-Key, Ce-Specversion, Ce-Id, Ce-Source, Ce-Type, Ce-Subject, Ce-Time"},
                      {"Access-Control-Max-Age", "600"}};
  return response;
}

void Guard::AllowOrigin(const http::Request& request, http::Response& response) const {
  if (options_.origins.empty()) return;
  response.headers.emplace_back("Vary", "Origin");
  if (!Allows(request.origin)) return;
  response.headers.emplace_back("Access-Control-Allow-Origin", request.origin);
  response.headers.emplace_back(
      "Access-Control-Expose-Headers",
      "ETag, Idempotency-Replayed, Millrace-As-Of, Millrace-Errors, Millrace-Next, Millrace-Partial, Retry-After, "
      "WWW-Authenticate");
}

}  // namespace millrace::serve
