/// The routes of the HTTP API and the dashboard: requests to questions, answers to bytes.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/metrics.h"
#include "http/server.h"
#include "serve/answer_cache.h"
#include "serve/answer_feeds.h"
#include "serve/answer_writer.h"
#include "serve/backend.h"
#include "serve/guard.h"
#include "serve/shared_answers.h"
#include "serve/taps.h"

namespace millrace::serve {

struct ApiOptions {
  std::string version;  ///< Of Millrace, for the OpenAPI document.
  GuardOptions guard{};
  /// Needed below /internal/v1, where the processes of a pipeline ask each other.
  std::optional<std::string> internal_token{};
  /// Without that token everybody who can come may ask there; else nobody.
  bool is_open_to_peers = false;
  /// Nothing but health, /metrics and what peers ask is answered.
  bool is_for_peers = false;
  bool metrics_elsewhere = false;  ///< /metrics is at HandleHealth()'s door alone.
  /// Of an answer as it is sent; a larger one is 413.
  std::int64_t answer_bytes_max = std::int64_t{256} << 20;
  AnswerFeeds::Options streams{};
  Taps::Options taps{};
  std::int64_t kept_answers_bytes_max = std::int64_t{16} << 20;  ///< See answer_cache.h.
  /// What streams, taps and kept answers hold is drawn from it; nullptr: from nothing.
  std::shared_ptr<MemoryBudget> memory{};
  /// Of the OpenAPI document, a JSON object: what another answers on the same server. Empty: nothing.
  std::string more_paths{};
};

/// GET and HEAD of /v1/tables, /v1/tables/{t} with its /rows, /history and /files, /v1/aggregates, /v1/aggregates/{n},
/// /v1/aggregates/{n}/stream, /v1/pipeline, /v1/lag, /v1/dead-letters, /v1/tap, /v1/cost/usage, /livez, /readyz,
/// /metrics, /openapi.json, / and /cost; POST of /v1/sql and /v1/cost/estimate (docs: openapi.json). For other
/// processes of the pipeline, and in no document: /internal/v1/hot, /internal/v1/pulse.
///
/// Answers to aggregates are kept in bounds and given again, byte for byte, for as long as a new one would be the same.
/// They and rows have an ETag in the formats that are text, and If-None-Match is answered 304. Any thread, several
/// calls at once.
class Api {
 public:
  /// All arguments outlive the Api. Its own figures (millrace_http_requests_total, millrace_query_duration_seconds) go
  /// to `metrics`, the registry that Backend::Metrics() renders.
  Api(Backend& backend, Metrics& metrics, ApiOptions options, const Clock& clock = SystemClock());

  http::Response Handle(const http::Request& request);

  /// What Handle() answers if it can be told without waiting: an aggregate's answer that was given before and has not
  /// changed, or that somebody may not have it; or if the same is being made for somebody else. Else neither: Handle()
  /// makes it, of what is in `request.prepared` if it is a question to an aggregate, and others join.
  http::Early HandleAtOnce(http::Request& request);

  /// Ends the streams of changes and the taps, which have no end of their own. Any thread.
  void EndStreams() {
    feeds_.Close();
    taps_.Close();
  }
  /// For a door of its own, which monitoring uses: /livez, /readyz and /metrics, of everybody, and nothing else.
  http::Response HandleHealth(const http::Request& request);

  /// Health is answered at once, questions to an aggregate take long, the rest is short.
  static http::Lane LaneOf(const http::Request& request);

 private:
  struct Routed {
    std::string route;  // As in the OpenAPI document; "other" for what is not there.
    http::Response response;
  };
  struct Call;
  struct Route;
  struct Question;
  struct Prepared;
  static const Route kRoutes[];

  Routed Answer(const http::Request& request);
  http::Response AnswerRoute(const Route& route, const http::Request& request, const Call& call);
  http::Response Counted(Routed routed);
  http::Response Dashboard(const Call& call);
  http::Response Livez(const Call& call);
  http::Response Readyz(const Call& call);
  http::Response PrometheusText(const Call& call);
  http::Response OpenApi(const Call& call);
  http::Response Pipeline(const Call& call);
  http::Response Lag(const Call& call);
  http::Response DeadLetters(const Call& call);
  http::Response Tap(const Call& call);
  http::Response Tables(const Call& call);
  http::Response Table(const Call& call);
  http::Response Rows(const Call& call);
  http::Response History(const Call& call);
  http::Response Files(const Call& call);
  http::Response Aggregates(const Call& call);
  http::Response Aggregate(const Call& call);
  http::Response AggregateStream(const Call& call);
  http::Response Events(const Call& call, std::unique_ptr<http::BodySource> source) const;
  http::Response Sql(const Call& call);
  http::Response CostUsage(const Call& call);
  http::Response CostEstimate(const Call& call);
  http::Response PeerQuestion(const Call& call);
  http::Response PeerPulse(const Call& call);
  /// Whether whoever asks may have what is behind `scope`.
  Admission Admit(const http::Request& request, std::string_view scope);
  /// False sets `problem`.
  bool ReadQuestion(const http::Request& request, const Target& target, const std::string& aggregate,
                    Question* question, http::Problem* problem) const;
  std::shared_ptr<Prepared> Prepare(const http::Request& request) const;
  http::Response Answered(const Call& call, const Question& question, SharedAnswers::Making* making);
  /// nullopt: it is not kept, or the pipeline has gone on since.
  std::optional<http::Response> Kept(const Question& question);
  /// `again`: with what was kept, or made for another.
  void NoteAnswered(const std::string& aggregate, std::chrono::steady_clock::time_point begun, bool again);
  /// The last of all steps: what the client has already is not sent again.
  http::Response Finished(const http::Request& request, Routed routed);
  bool IsGone(const Status& status, const std::string& table);
  http::Response Written(const query::Answer& answer, AnswerFormat format, const http::Request& request) const;

  Backend& backend_;
  Metrics& metrics_;
  const ApiOptions options_;
  const Clock& clock_;
  Guard guard_;
  std::optional<Guard> peer_guard_;  // nullopt: peers have no token.
  const std::string page_policy_;
  const std::string open_api_;
  AnswerCache cache_;
  SharedAnswers shared_;
  Counter cache_hits_;
  Counter cache_misses_;
  AnswerFeeds feeds_;
  Taps taps_;
};

}  // namespace millrace::serve
