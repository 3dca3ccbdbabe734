/// The HTTP doors of a process: serve.listen, and serve.health where monitoring has one of its own.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/metrics.h"
#include "base/status.h"
#include "config/config.h"
#include "http/server.h"

namespace millrace::app {

/// How often files of certificates are looked at again.
inline constexpr std::chrono::seconds kLookForCertificates{10};

/// Of serve.health, for monitoring; whoever is idle longest goes first.
inline constexpr int kHealthConnectionsMax = 64;

struct HttpDoors {
  std::unique_ptr<http::Server> main;    ///< nullptr: it is not open.
  std::unique_ptr<http::Server> health;  ///< Likewise.
  std::string url;                       ///< "http://127.0.0.1:8080", or https://; empty: it is not open.
  std::string health_url;                ///< Likewise.

  /// Lets answers under way finish until `deadline`.
  void Stop(std::chrono::steady_clock::time_point deadline);
};

/// Who answers; any thread.
struct HttpAnswers {
  http::AtOnce at_once{};  ///< Null: nobody answers at once.
  http::Handler main;
  http::Handler health;
};

/// What gives the main door's address, where nothing else does.
inline constexpr const char* kListenKey = "serve.listen";

/// Of a configuration with `serve`. `metrics` outlives the doors, and whatever the answers refer to. Errors name what
/// gives the address, which is `listen_key` for the main door.
Result<HttpDoors> OpenHttpDoors(const config::PipelineConfig& config, HttpAnswers answers, Metrics& metrics,
                                const char* listen_key = kListenKey);

}  // namespace millrace::app
