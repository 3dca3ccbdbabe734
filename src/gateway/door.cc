#include "gateway/door.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <map>
#include <mutex>
#include <utility>

#include "base/nearest_name.h"
#include "gateway/answer.h"
#include "gateway/dialects.h"
#include "gateway/line_reader.h"
#include "gateway/otlp_reader.h"
#include "gateway/schema_check.h"
#include "http/problem.h"

namespace millrace::gateway {

namespace embedded {
extern const std::string_view kCollectJs;
extern const std::string_view kOpenApiPaths;
}  // namespace embedded

namespace {

namespace asio = boost::asio;
using http::Problem;
using http::Request;
using http::Response;

constexpr std::string_view kCollect = "/v1/collect.js";
// A body that is read in less than some 50 µs: not worth a thread.
constexpr std::size_t kSmallBytes = 16 << 10;
constexpr std::size_t kKeyBytesMax = 255;
constexpr std::int64_t kBackpressureSeconds = 1;

std::int64_t SecondsOf(std::chrono::microseconds wait) { return std::chrono::ceil<std::chrono::seconds>(wait).count(); }

Response NotAllowed(const std::string& path, const std::string& methods) {
  Response response = http::ToResponse({405, "method_not_allowed", fmt::format("{} takes {}.", path, methods), {}});
  response.headers.emplace_back("Allow", methods);
  return response;
}

Response Script() {
  Response response;
  response.content_type = "text/javascript; charset=utf-8";
  response.body = std::string(embedded::kCollectJs);
  // Pages of other sites load it: that is what it is for.
  response.headers = {{"Cache-Control", "public, max-age=3600"}, {"Cross-Origin-Resource-Policy", "cross-origin"}};
  return response;
}

Counter RequestsOf(Metrics& metrics, const std::string& topic, int status) {
  return metrics.MakeCounter("millrace_gateway_requests_total", "Requests answered by the HTTP gateway.",
                             {{"topic", topic}, {"status", std::to_string(status)}});
}

// nullopt: it is one, or there is none.
std::optional<Problem> FaultOfKey(const std::string& key) {
  const bool good = std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (good && key.size() <= kKeyBytesMax) return std::nullopt;
  return Problem{400, "invalid_idempotency_key",
                 fmt::format("An Idempotency-Key is visible ASCII, at most {} bytes.", kKeyBytesMax), "Send a UUID."};
}

}  // namespace

class Door::Impl {
 public:
  Impl(DoorOptions options, std::unique_ptr<eventlog::ConfirmingProducer> log, std::unique_ptr<Repeats> repeats,
       Metrics& metrics, const Clock& clock)
      : options_(std::move(options)),
        metrics_(metrics),
        clock_(clock),
        guard_(options_.guard, clock),
        open_guard_({.origins = options_.guard.origins, .rate = options_.guard.rate}, clock),
        repeats_(std::move(repeats)),
        pool_(static_cast<std::size_t>(std::max(1, options_.threads))),
        intake_(std::make_unique<Intake>(std::move(log), options_.intake, metrics, "http")) {
    for (const auto& rule : options_.topics) topics_.try_emplace(rule.topic, rule, metrics);
    repeated_ = metrics.MakeCounter("millrace_gateway_repeated_total",
                                    "Requests that were answered with what their Idempotency-Key had been answered.");
  }

  ~Impl() {
    for (int left = waiting_; left > 0; left = waiting_) waiting_.wait(left);
    intake_.reset();
    pool_.join();
  }

  // What can be refused for ever is known at the start.
  Status CheckSchemas() const {
    for (const auto& rule : options_.topics) {
      if (rule.check) RETURN_NOT_OK(WithContext(SchemaCheck::Make(*rule.check).status(), "topic {}", rule.topic));
    }
    return Status::OK();
  }

  http::Early AtOnce(Request& request) {
    const std::string path(PathOf(request.target));
    if (path == kCollect) {
      const bool is_read = request.method == "GET" || request.method == "HEAD";
      return {Finished(request, nullptr, is_read ? Script() : NotAllowed(path, "GET, HEAD"))};
    }
    if (auto preflight = guard_.Preflight(request, "POST")) return {Finished(request, nullptr, *std::move(preflight))};
    if (request.method != "POST") return {Finished(request, nullptr, NotAllowed(path, "POST"))};
    auto call = std::make_shared<Call>();
    call->begun = clock_.SteadyNow();
    auto& route = call->route;
    if (auto problem = ReadRoute(request.target, options_.destinations, &route)) {
      if (problem->code != kNowhere) {
        return {Finished(request, nullptr, InWordsOf(route, request, http::ToResponse(*problem)))};
      }
      call->nowhere = std::move(problem);
    }
    if (route.protocol == Protocol::kInflux) request.authorization = BearerOf(request.authorization);
    // Of OpenTelemetry a small body may make large events: each has all of its resource.
    const bool is_small = request.body.size() <= kSmallBytes && request.content_encoding.empty() &&
                          request.idempotency_key.empty() && route.protocol != Protocol::kOtlp;
    call->request = std::move(request);
    // Its body is ours; what the server still wants to know of it is not in there.
    const bool at_once = is_small && !guard_.MayBlock();
    return {.join = [this, call = std::move(call), at_once](http::Early::Take take) {
      call->take = std::move(take);
      if (at_once) return Process(call);
      if (waiting_.fetch_add(1) >= options_.waiting_max) {
        NoteProcessed();
        return End(*call, http::ToResponse({503, "overloaded", "As many requests wait as may.", "Send it again."}));
      }
      asio::post(pool_, [this, call] {
        Process(call);
        NoteProcessed();
      });
    }};
  }

  bool ready() const { return repeats_ == nullptr || repeats_->ready(); }

 private:
  struct Topic {
    Topic(const TopicRule& r, Metrics& metrics) : rule(r) {
      if (rule.rate) rate.emplace(*rule.rate);
      if (rule.quota) quota.emplace(*rule.quota);
      constexpr const char* kHelp = "Events of requests that were answered, by what became of them.";
      const auto events = [&](const char* outcome) {
        return metrics.MakeCounter("millrace_gateway_events_total", kHelp,
                                   {{"topic", rule.topic}, {"outcome", outcome}});
      };
      accepted = events("accepted");
      rejected = events("rejected");
      failed = events("failed");
      bytes =
          metrics.MakeCounter("millrace_gateway_bytes_total", "Of events that were accepted.", {{"topic", rule.topic}});
      seconds = metrics.MakeHistogram("millrace_gateway_append_seconds",
                                      "From a request's last byte until its events are durable in the log.",
                                      DurationBounds(), {{"topic", rule.topic}});
    }

    // Of answers with this status.
    Counter& Answered(int status, Metrics& metrics) {
      const std::scoped_lock lock(answered_mutex);
      const auto [counter, is_new] = answered.try_emplace(status);
      if (is_new) counter->second = RequestsOf(metrics, rule.topic, status);
      return counter->second;
    }

    const TopicRule rule;
    std::mutex answered_mutex;
    std::map<int, Counter> answered;  // Guarded; made once, which takes longer than counting.
    std::optional<serve::RateLimiter> rate;
    std::optional<Quota> quota;
    Counter accepted;
    Counter rejected;
    Counter failed;
    Counter bytes;
    Histogram seconds;
  };

  // A request on its way.
  struct Call {
    Request request;
    http::Early::Take take;
    Route route;
    std::optional<Problem> nowhere;  // It has no topic, which not everybody needs to know.
    std::chrono::steady_clock::time_point begun;
    std::string client;
    Topic* topic = nullptr;
    std::optional<std::uint64_t> ticket;  // Of a request with a key that is being answered, as are the next three.
    RequestId id;
    std::uint64_t fingerprint = 0;
    Places there;  // Of its events, these are in the log already.
    Batch batch;
    std::optional<UnixMicros> charged_at;  // Its events count in the quota.
  };
  using CallPtr = std::shared_ptr<Call>;

  // What one thread reads with.
  struct Reading {
    EventReader events;
    OtlpReader otlp;
    LineReader lines;
    std::map<const Topic*, std::unique_ptr<SchemaCheck>> checks;
  };

  static Response InWordsOf(const Route& route, const Request& request, Response answer) {
    switch (route.protocol) {
      case Protocol::kEvents:
        break;
      case Protocol::kOtlp:
        return InOtlpWords(std::move(answer), route.signal, IsOtlpJson(request.content_type).value_or(true));
      case Protocol::kInflux:
        return InInfluxWords(std::move(answer));
    }
    return answer;
  }

  void NoteProcessed() {
    --waiting_;
    waiting_.notify_all();
  }

  void Process(const CallPtr& call) {
    if (auto refusal = Refusal(*call)) return End(*call, *std::move(refusal));
    // Before it is read: what was answered stays answered, whatever the rules for events have become.
    if (!call->request.idempotency_key.empty()) {
      if (auto answered = Begin(*call)) return End(*call, *std::move(answered));
    }
    auto reading = TakeReading();
    auto refusal = Read(*call, *reading);
    GiveBack(std::move(reading));
    if (refusal) return Abandon(*call, *std::move(refusal));
    if (call->ticket) AddMarks(*call);
    if (auto too_much = ChargeFor(*call)) return Abandon(*call, *std::move(too_much));
    Append(call);
  }

  // Who may not, and what is not there.
  std::optional<Response> Refusal(Call& call) {
    if (call.nowhere) {
      auto admission = guard_.Admit(call.request, "");
      return admission.refusal ? std::move(admission.refusal) : http::ToResponse(*call.nowhere);
    }
    const auto found = topics_.find(call.route.topic);
    // Who says who it is, is that: its keys and its quota are its own.
    const bool is_open = found != topics_.end() && found->second.rule.anonymous && call.request.authorization.empty();
    auto admission =
        is_open ? open_guard_.Admit(call.request, "") : guard_.Admit(call.request, "write:" + call.route.topic);
    if (admission.refusal) return std::move(admission.refusal);
    call.client = std::move(admission.client);
    if (found == topics_.end()) {
      Problem problem{404, "not_found", fmt::format("There is no topic '{}' here.", call.route.topic), {}};
      std::vector<std::string> known;
      for (const auto& [name, topic] : topics_) known.push_back(name);
      if (const auto nearest = NearestName(call.route.topic, known))
        problem.hint = fmt::format("Did you mean '{}'?", *nearest);
      return http::ToResponse(problem);
    }
    call.topic = &found->second;
    // Browsers send what a page makes without asking first, whoever's page it is.
    if (!call.request.origin.empty() && !guard_.Allows(call.request.origin)) {
      return http::ToResponse({403, "origin_not_allowed",
                               fmt::format("Pages of {} may not send events here.", call.request.origin),
                               "serve.cors.origins of the pipeline's file names those that may."});
    }
    if (auto fault = FaultOfKey(call.request.idempotency_key)) return http::ToResponse(*fault);
    return std::nullopt;
  }

  std::variant<Batch, Problem> ReadBody(const Call& call, Reading& reading) {
    const TopicRule& rule = call.topic->rule;
    const ReadRules rules{
        .key = rule.key, .event_bytes_max = rule.event_bytes_max, .body_bytes_max = options_.body_bytes_max};
    switch (call.route.protocol) {
      case Protocol::kEvents:
        break;
      case Protocol::kOtlp:
        return reading.otlp.Read(call.request, call.route.signal, rules);
      case Protocol::kInflux:
        return reading.lines.Read(call.request, call.route.precision, clock_.Now(), rules);
    }
    return reading.events.Read(call.request, rules);
  }

  std::optional<Response> Read(Call& call, Reading& reading) {
    const TopicRule& rule = call.topic->rule;
    auto read = ReadBody(call, reading);
    if (const auto* problem = std::get_if<Problem>(&read)) {
      Response response = http::ToResponse(*problem);
      if (problem->code == "content_encoding") response.headers.emplace_back("Accept-Encoding", "gzip, zstd");
      return response;
    }
    call.batch = std::get<Batch>(std::move(read));
    if (rule.check) {
      auto& check = reading.checks[call.topic];
      if (check == nullptr) check = SchemaCheck::Make(*rule.check).ValueOrDie();
      if (const Status checked = check->Check(&call.batch); !checked.ok()) {
        return http::ToResponse({503, "unavailable", checked.message(), "Send it again."});
      }
    }
    auto& [events, rejected] = call.batch;
    if (!call.there.empty()) {
      const auto is_there = [&call](const auto& event) { return call.there.contains(event.index); };
      std::erase_if(events, is_there);
      std::erase_if(rejected, is_there);
      return std::nullopt;  // Not none of them, whatever becomes of the others.
    }
    if (events.empty() && rejected.empty()) {
      // A collector may have nothing to tell.
      if (call.route.protocol == Protocol::kOtlp) return Response{.status = 202};
      return http::ToResponse({400, "empty_body", "There is no event in the body.", {}});
    }
    if (!rejected.empty() && (call.route.atomic || events.empty())) {
      call.topic->rejected.Increment(static_cast<double>(events.size() + rejected.size()));
      return RefuseAll(rejected,
                       fmt::format("{} of {} events cannot be accepted{}.", rejected.size(),
                                   events.size() + rejected.size(), events.empty() ? "" : ", and so none is"));
    }
    return std::nullopt;
  }

  // The answer, if nothing of it is to be appended.
  std::optional<Response> Begin(Call& call) {
    if (repeats_ == nullptr) {
      return http::ToResponse({501, "not_supported", "No Idempotency-Key is remembered here.", {}});
    }
    const auto& request = call.request;
    call.fingerprint = FingerprintOf(request.body) ^ FingerprintOf(HeadOf(call));
    call.id = MakeRequestId(call.route.topic, call.client, request.idempotency_key);
    auto begun = repeats_->Begin(call.id, call.fingerprint);
    if (auto* kept = std::get_if<KeptAnswer>(&begun)) {
      repeated_.Increment();
      Response response;
      response.status = kept->status;
      response.content_type = kept->status < 300 ? "application/json" : "application/problem+json";
      response.body = std::move(kept->body);
      response.headers.emplace_back("Idempotency-Replayed", "true");
      return response;
    }
    if (const auto* refusal = std::get_if<Repeats::Refusal>(&begun)) return ToResponse(*refusal);
    auto& going_on = std::get<Repeats::Begun>(begun);
    call.ticket = going_on.ticket;
    call.there = std::move(going_on.there);
    return std::nullopt;
  }

  static void AddMarks(Call& call) {
    for (auto& event : call.batch.events) {
      event.headers.emplace_back(kMark, MarkOf(call.id, call.fingerprint, event.index));
    }
  }

  // What, beside its body, makes a request another one.
  static std::string HeadOf(const Call& call) {
    const auto& request = call.request;
    std::string head = call.route.atomic ? "atomic" : "";
    const auto add = [&head](std::string_view text) { head += fmt::format("\n{}:{}", text.size(), text); };
    add(request.content_type);
    add(request.content_encoding);
    if (call.route.protocol != Protocol::kEvents) add(request.target);
    for (const auto& [name, value] : request.cloud_event) {
      add(name);
      add(value);
    }
    return head;
  }

  static Response ToResponse(Repeats::Refusal refusal) {
    switch (refusal) {
      case Repeats::Refusal::kRunning:
        return RefuseFor(
            {409, "in_progress", "A request with this Idempotency-Key is being answered.", "Send it again."}, 1);
      case Repeats::Refusal::kOtherBody:
        return http::ToResponse({422, "idempotency_key_reused",
                                 "This Idempotency-Key was used with another body or other parameters.",
                                 "A key is for one request and its repetitions."});
      case Repeats::Refusal::kNotYet:
        return http::ToResponse({503, "looking",
                                 "It is being looked for in the log what became of earlier requests with a key.",
                                 "Send it again."});
      case Repeats::Refusal::kDisk:
        break;
    }
    return http::ToResponse({503, "unavailable", "What was answered before cannot be read or written.",
                             "Send it again later; who operates the gateway looks at gateway.state and limits.disk."});
  }

  std::optional<Response> ChargeFor(Call& call) {
    Topic& topic = *call.topic;
    const auto events = std::ssize(call.batch.events);
    if (events == 0) return std::nullopt;
    if (topic.quota && events > topic.quota->events_max()) {
      return http::ToResponse({413, "too_many_events",
                               fmt::format("The request has {} events; a client's quota for topic {} is {}.", events,
                                           call.route.topic, topic.quota->events_max()),
                               "Send fewer at once."});
    }
    if (topic.rate) {
      if (const auto wait = topic.rate->Take(call.client, clock_.SteadyNow(), events)) {
        return RefuseFor({429,
                          "too_many_events",
                          fmt::format("This client sends more events to topic {} than its rate.", call.route.topic),
                          {}},
                         SecondsOf(*wait));
      }
    }
    if (topic.quota) {
      const UnixMicros now = clock_.Now();
      if (const auto wait = topic.quota->Take(call.client, events, now)) {
        return RefuseFor(
            {429,
             "quota_exceeded",
             fmt::format("This client has sent as many events as its quota for topic {}.", call.route.topic),
             {}},
            SecondsOf(*wait));
      }
      call.charged_at = now;
    }
    return std::nullopt;
  }

  void Append(const CallPtr& call) {
    std::vector<eventlog::OutgoingRecord> records;
    records.reserve(call->batch.events.size());
    std::size_t bytes = 0;
    for (auto& event : call->batch.events) {
      bytes += event.bytes();
      eventlog::OutgoingRecord record;
      record.topic = call->route.topic;
      record.key = std::move(event.key);
      record.payload = std::move(event.payload);
      record.headers.reserve(event.headers.size());
      for (auto& [name, value] : event.headers) record.headers.emplace_back(std::move(name), std::move(value));
      records.push_back(std::move(record));
    }
    std::string().swap(call->request.body);
    const Status queued = intake_->Append(std::move(records), [this, call, bytes](Settled settled) {
      if (!call->ticket) return Settle(*call, std::move(settled), bytes);
      // To remember it takes the disk, which this thread must not wait for.
      asio::post(pool_, [this, call, bytes, settled = std::move(settled)]() mutable {
        Settle(*call, std::move(settled), bytes);
      });
    });
    if (queued.ok()) return;
    if (KindOf(queued) == ErrorKind::kTooLarge) {
      return Abandon(*call, http::ToResponse({413, "too_large", fmt::format("{}.", queued.message()),
                                              "Send fewer events in a request."}));
    }
    Abandon(*call, RefuseFor({429, "backpressure", fmt::format("{}.", queued.message()), "Send it again."},
                             kBackpressureSeconds));
  }

  void Settle(Call& call, Settled settled, std::size_t bytes) {
    Topic& topic = *call.topic;
    const Outcome outcome = OutcomeOf(call.batch.events, settled, std::move(call.there), std::move(call.batch.rejected),
                                      /*keeps_places=*/call.ticket.has_value());
    const std::size_t left = outcome.unavailable + outcome.unknown;
    topic.accepted.Increment(static_cast<double>(outcome.accepted));
    topic.rejected.Increment(static_cast<double>(outcome.rejected.size() - left));
    topic.failed.Increment(static_cast<double>(left));
    GiveBack(call, outcome.unavailable);
    Response response = AnswerTo(outcome, call.ticket.has_value());
    if (response.status < 300) {
      topic.bytes.Increment(static_cast<double>(bytes));
      topic.seconds.Observe(std::chrono::duration<double>(clock_.SteadyNow() - call.begun).count());
    }
    if (call.ticket) Remember(call, outcome, response);
    End(call, std::move(response));
  }

  void Remember(const Call& call, const Outcome& outcome, const Response& response) {
    if (outcome.unknown > 0) return repeats_->Lost(*call.ticket);
    const Status kept = outcome.unavailable > 0
                            ? repeats_->CutOff(*call.ticket, outcome.there)
                            : repeats_->Answered(*call.ticket, {response.status, response.body.Text()});
    if (!kept.ok()) spdlog::warn("gateway: an answer is not kept: {}", kept.message());
  }

  static void GiveBack(const Call& call, std::size_t events) {
    if (call.charged_at) {
      call.topic->quota->GiveBack(call.client, static_cast<std::int64_t>(events), *call.charged_at);
    }
  }

  // Nothing of it was appended.
  void Abandon(Call& call, Response response) {
    GiveBack(call, call.batch.events.size());
    if (call.ticket) {
      const Status kept = repeats_->CutOff(*call.ticket, call.there);
      if (!kept.ok()) spdlog::warn("gateway: {}", kept.message());
    }
    End(call, std::move(response));
  }

  void End(Call& call, Response response) {
    const auto take = std::move(call.take);
    take(Finished(call.request, call.topic, InWordsOf(call.route, call.request, std::move(response))));
  }

  // The last of all steps.
  Response Finished(const Request& request, Topic* topic, Response response) {
    if (topic == nullptr) {
      RequestsOf(metrics_, "", response.status).Increment();
    } else {
      topic->Answered(response.status, metrics_).Increment();
    }
    guard_.AllowOrigin(request, response);
    return response;
  }

  std::unique_ptr<Reading> TakeReading() {
    const std::scoped_lock lock(readings_mutex_);
    if (readings_.empty()) return std::make_unique<Reading>();
    auto reading = std::move(readings_.back());
    readings_.pop_back();
    return reading;
  }
  void GiveBack(std::unique_ptr<Reading> reading) {
    const std::scoped_lock lock(readings_mutex_);
    readings_.push_back(std::move(reading));
  }

  // Constant after construction.
  const DoorOptions options_;
  Metrics& metrics_;
  const Clock& clock_;
  std::map<std::string, Topic, std::less<>> topics_;
  Counter repeated_;

  serve::Guard guard_;
  serve::Guard open_guard_;  // Of topics that everybody may send to.
  const std::unique_ptr<Repeats> repeats_;
  std::mutex readings_mutex_;
  std::vector<std::unique_ptr<Reading>> readings_;  // As many as threads have read at once.
  std::atomic<int> waiting_{0};                     // For a thread of the pool, or on one.
  asio::thread_pool pool_;
  std::unique_ptr<Intake> intake_;
};

Door::Door(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Door::~Door() = default;

Result<std::unique_ptr<Door>> Door::Make(DoorOptions options, std::unique_ptr<eventlog::ConfirmingProducer> log,
                                         std::unique_ptr<Repeats> repeats, Metrics& metrics, const Clock& clock) {
  auto impl = std::make_unique<Impl>(std::move(options), std::move(log), std::move(repeats), metrics, clock);
  RETURN_NOT_OK(impl->CheckSchemas());
  return std::unique_ptr<Door>(new Door(std::move(impl)));
}

bool Door::Takes(std::string_view target) {
  const std::string_view path = PathOf(target);
  return path == kCollect || ProtocolOf(target).has_value();
}

std::string_view Door::OpenApiPaths() { return embedded::kOpenApiPaths; }

http::Early Door::AtOnce(http::Request& request) { return impl_->AtOnce(request); }

bool Door::ready() const { return impl_->ready(); }

}  // namespace millrace::gateway
