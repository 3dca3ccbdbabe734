#include "gateway/answer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json_text.h"
#include "base/status.h"

namespace millrace::gateway {
namespace {

void AppendRejected(const std::vector<Rejection>& rejected, std::string& out) {
  out += "\"rejected\":[";
  for (std::size_t i = 0; i < rejected.size(); ++i) {
    const auto& one = rejected[i];
    if (i > 0) out += ',';
    out.append("{\"index\":").append(std::to_string(one.index)).append(",\"code\":");
    AppendJsonString(one.code, out);
    if (i < kDetailsMax) {
      out += ",\"detail\":";
      AppendJsonString(one.detail, out);
    }
    out += '}';
  }
  out += ']';
}

// {"0":[first,last]}
void AppendOffsets(const Outcome& outcome, std::string& out) {
  out += "\"offsets\":{";
  for (const auto& [partition, range] : outcome.offsets) {
    if (out.back() != '{') out += ',';
    out.append("\"").append(std::to_string(partition)).append("\":[");
    out.append(std::to_string(range.first)).append(",").append(std::to_string(range.second)).append("]");
  }
  out += '}';
}

void Count(const eventlog::Appended& place, Outcome& outcome) {
  ++outcome.accepted;
  const auto [range, is_new] = outcome.offsets.try_emplace(place.partition, place.offset, place.offset);
  range->second.first = std::min(range->second.first, place.offset);
  range->second.second = std::max(range->second.second, place.offset);
}

}  // namespace

Outcome OutcomeOf(const std::vector<Event>& events, const Settled& settled, Places there,
                  std::vector<Rejection> rejected, bool keeps_places) {
  Outcome outcome{.there = std::move(there), .rejected = std::move(rejected)};
  for (const auto& [index, place] : outcome.there) Count(place, outcome);
  for (std::size_t i = 0; i < events.size(); ++i) {
    const std::size_t index = events[i].index;
    if (settled[i].ok()) {
      Count(*settled[i], outcome);
      if (keeps_places) outcome.there[index] = *settled[i];
      continue;
    }
    const Status& why = settled[i].status();
    const ErrorKind kind = KindOf(why);
    const std::string detail = why.message().substr(0, kRejectionBytesMax);
    // Whatever else the log has against it is not the event's fault: a sender that took it for that would drop it.
    if (kind == ErrorKind::kTooLarge) {
      outcome.rejected.push_back({index, "event_too_large", detail});
      continue;
    }
    outcome.why = detail;
    const bool is_unknown = kind == ErrorKind::kUnknownOutcome;
    ++(is_unknown ? outcome.unknown : outcome.unavailable);
    outcome.rejected.push_back({index, is_unknown ? "outcome_unknown" : "unavailable", detail});
  }
  std::sort(outcome.rejected.begin(), outcome.rejected.end(),
            [](const auto& a, const auto& b) { return a.index < b.index; });
  return outcome;
}

http::Response RefuseFor(const http::Problem& problem, std::int64_t seconds) {
  http::Response response = http::ToResponse(problem);
  std::erase_if(response.headers, [](const auto& header) { return header.first == "Retry-After"; });
  response.headers.emplace_back("Retry-After", std::to_string(std::max<std::int64_t>(1, seconds)));
  return response;
}

http::Response RefuseAll(const std::vector<Rejection>& rejected, const std::string& detail) {
  http::Response response = http::ToResponse({422, "invalid_events", detail, {}});
  std::string text = http::ToJson({422, "invalid_events", detail, {}});
  text.back() = ',';  // For the brace.
  AppendRejected(rejected, text);
  response.body = text + "}\n";
  return response;
}

http::Response AnswerTo(const Outcome& outcome, bool has_key) {
  const std::size_t left = outcome.unavailable + outcome.unknown;
  if (left > 0 && (outcome.accepted == 0 || has_key)) {
    const std::string hint =
        has_key ? "Send the same again with the same Idempotency-Key: what is in the log already is not appended twice."
        : outcome.unknown > 0 ? "Events that are sent again may be there twice; an Idempotency-Key prevents that."
                              : "Send it again.";
    const char* const code = outcome.unknown > 0 ? "outcome_unknown" : "log_unavailable";
    return http::ToResponse(
        {503, code,
         fmt::format("The log has not taken {} of {} events: {}.", left, left + outcome.accepted, outcome.why), hint});
  }
  if (outcome.accepted == 0) return RefuseAll(outcome.rejected, "No event was accepted.");
  http::Response response;
  response.status = outcome.rejected.empty() ? 202 : 200;
  response.content_type = "application/json";
  std::string text = "{\"accepted\":" + std::to_string(outcome.accepted) + ",";
  AppendOffsets(outcome, text);
  if (!outcome.rejected.empty()) {
    text += ',';
    AppendRejected(outcome.rejected, text);
  }
  response.body = text + "}\n";
  return response;
}

}  // namespace millrace::gateway
