#include "http_doors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "http/tls.h"
#include "serve/api.h"

namespace millrace::app {
namespace {

constexpr std::int64_t kBodiesShare = 8;  // Of limits.memory, for the bodies that devices send.

Result<std::unique_ptr<http::Server>> StartServer(const http::ServerOptions& options, http::Handler handler,
                                                  const char* key) {
  auto server = http::Server::Start(options, std::move(handler));
  if (server.ok()) return server;
  const Status& status = server.status();
  return status.WithMessage(fmt::format("serve: {}; {} gives another address", status.message(), key));
}

}  // namespace

void HttpDoors::Stop(std::chrono::steady_clock::time_point deadline) {
  for (const auto& server : {main.get(), health.get()}) {
    if (server != nullptr) server->Stop(deadline);
  }
}

Result<HttpDoors> OpenHttpDoors(const config::PipelineConfig& config, HttpAnswers answers, Metrics& metrics,
                                const char* listen_key) {
  const config::ServeConfig& serve = *config.serve;
  http::ServerOptions options{.address = serve.listen.address,
                              .port = serve.listen.port,
                              .lane = serve::Api::LaneOf,
                              .long_handlers_max = serve.concurrent_queries,
                              .waiting_max = 4 * serve.concurrent_queries,
                              .connections_max = serve.connections,
                              .handler_timeout = std::chrono::ceil<std::chrono::milliseconds>(serve.query_timeout)};
  options.at_once = std::move(answers.at_once);
  if (config.gateway) {
    options.body_bytes_max = static_cast<std::uint64_t>(config.gateway->body_bytes_max);
    options.bodies_bytes_max =
        std::max(static_cast<std::uint64_t>(config.limits.memory / kBodiesShare), options.body_bytes_max);
  }
  if (serve.tls) {
    auto expiry = metrics.MakeGauge("millrace_tls_certificate_expiry_timestamp_seconds",
                                    "When the certificate that is served expires.");
    const auto served = [expiry](const http::TlsIdentity& identity) mutable {
      expiry.Set(static_cast<double>(identity.not_after) / 1e6);
    };
    ASSIGN_OR_RETURN(options.transports, http::TlsTransports::Make(*serve.tls, kLookForCertificates, served));
  }
  HttpDoors doors;
  ASSIGN_OR_RETURN(doors.main, StartServer(options, std::move(answers.main), listen_key));
  doors.url = fmt::format("{}://{}:{}", serve.tls ? "https" : "http", serve.listen.address, doors.main->port());
  if (!serve.health) return doors;
  const http::ServerOptions health{.address = serve.health->address,
                                   .port = serve.health->port,
                                   .lane = serve::Api::LaneOf,
                                   .short_handlers_max = 1,
                                   .long_handlers_max = 1,
                                   .connections_max = kHealthConnectionsMax};
  ASSIGN_OR_RETURN(doors.health, StartServer(health, std::move(answers.health), "serve.health.listen"));
  doors.health_url = fmt::format("http://{}:{}", serve.health->address, doors.health->port());
  return doors;
}

}  // namespace millrace::app
