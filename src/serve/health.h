/// What every process answers those who watch over it, in whatever state it is: /livez, /readyz and /metrics.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "http/message.h"
#include "http/problem.h"

namespace millrace::serve {

/// Of /livez: the process is well, whatever it waits for.
http::Response Alive();
/// Of /readyz. nullopt: it waits for nothing.
http::Response Readiness(const std::optional<http::Problem>& waits_for);
/// Of /metrics, in Prometheus' text format.
http::Response MetricsText(std::string text);

/// Of a process that has no Api, or none yet.
struct Health {
  std::optional<http::Problem> waits_for;
  std::function<std::string()> metrics{};  ///< Null: they are at another door, or there are none.
};
/// nullopt: the target is none of the three. Any thread.
std::optional<http::Response> AnswerHealth(const http::Request& request, const Health& health);

}  // namespace millrace::serve
