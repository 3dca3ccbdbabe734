#include "serve/health.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace millrace::serve {
namespace {

http::Response Text(std::string body, const char* content_type) {
  http::Response response;
  response.content_type = content_type;
  response.body = std::move(body);
  return response;
}

}  // namespace

http::Response Alive() { return Text("ok\n", "text/plain; charset=utf-8"); }

http::Response Readiness(const std::optional<http::Problem>& waits_for) {
  return waits_for ? http::ToResponse(*waits_for) : Text("ready\n", "text/plain; charset=utf-8");
}

http::Response MetricsText(std::string text) {
  return Text(std::move(text), "text/plain; version=0.0.4; charset=utf-8");
}

std::optional<http::Response> AnswerHealth(const http::Request& request, const Health& health) {
  const auto path = std::string_view(request.target).substr(0, request.target.find('?'));
  const bool is_one = path == "/livez" || path == "/readyz" || (path == "/metrics" && health.metrics != nullptr);
  if (!is_one) return std::nullopt;
  if (request.method != "GET" && request.method != "HEAD") {
    auto refusal = http::ToResponse({405, "method_not_allowed", fmt::format("{} takes GET and HEAD.", path), {}});
    refusal.headers.emplace_back("Allow", "GET, HEAD");
    return refusal;
  }
  if (path == "/livez") return Alive();
  return path == "/readyz" ? Readiness(health.waits_for) : MetricsText(health.metrics());
}

}  // namespace millrace::serve
