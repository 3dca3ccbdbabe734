#include "peers/peers.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "query/time_expression.h"

namespace millrace::peers {
namespace {

namespace json = boost::json;

const char* WordFor(const PeerState& state) {
  if (state.is_ourselves) return "ourselves";
  if (state.is_paused) return "paused";
  if (!state.error.empty()) return "failing";
  return state.last_answer ? "answering" : "not_asked";
}

}  // namespace

std::vector<PeerState> Peers::States() const {
  std::vector<PeerState> states = client_.States();
  const PeerList peers = list_();
  for (const auto& url : peers.urls) {
    const auto is_known = [&](const PeerState& state) { return state.url == url; };
    if (std::none_of(states.begin(), states.end(), is_known)) states.push_back({.url = url});
  }
  for (const auto& [name, reason] : peers.unknown) states.push_back({.url = name, .error = reason});
  return states;
}

json::array Peers::ToJson() const {
  json::array workers;
  for (const auto& state : States()) {
    workers.push_back(json::object{
        {"url", state.url},
        {"state", WordFor(state)},
        {"last_answer", state.last_answer ? json::value(query::FormatTime(*state.last_answer)) : json::value(nullptr)},
        {"error", state.error.empty() ? json::value(nullptr) : json::value(state.error)}});
  }
  return workers;
}

std::vector<SampledFamily> Peers::ToMetrics() const {
  SampledFamily up{"millrace_worker_up",
                   SampledFamily::Kind::kGauge,
                   "1: the worker answered the last question for its hot rows; 0: it did not.",
                   {}};
  SampledFamily paused{"millrace_worker_paused",
                       SampledFamily::Kind::kGauge,
                       "1: the worker has failed repeatedly and is not asked for a while.",
                       {}};
  SampledFamily failures{
      "millrace_worker_failures_total", SampledFamily::Kind::kCounter, "Questions that the worker did not answer.", {}};
  SampledFamily durations{"millrace_worker_answer_duration_seconds",
                          SampledFamily::Kind::kDurations,
                          "Time until the worker's answers were there.",
                          {}};
  for (const auto& state : States()) {
    if (state.is_ourselves) continue;
    const std::map<std::string, std::string> labels{{"worker", state.url}};
    if (state.num_answers + state.num_failures > 0)
      up.samples.push_back({.labels = labels, .value = state.error.empty() ? 1.0 : 0.0});
    paused.samples.push_back({.labels = labels, .value = state.is_paused ? 1.0 : 0.0});
    failures.samples.push_back({.labels = labels, .value = static_cast<double>(state.num_failures)});
    durations.samples.push_back({.labels = labels, .durations = state.answer_durations});
  }
  return {std::move(up), std::move(paused), std::move(failures), std::move(durations)};
}

}  // namespace millrace::peers
