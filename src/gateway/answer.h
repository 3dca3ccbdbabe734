/// What a sender is told: plain functions from what became of the events to a response.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gateway/event_reader.h"
#include "gateway/intake.h"
#include "gateway/repeats.h"
#include "http/message.h"
#include "http/problem.h"

namespace millrace::gateway {

/// What became of the events of one request.
struct Outcome {
  std::size_t accepted = 0;  ///< Durable in the log.
  /// Of these the first and the last, by partition.
  std::map<std::int32_t, std::pair<eventlog::Offset, eventlog::Offset>> offsets;
  Places there;                     ///< Of these, if they were asked for.
  std::vector<Rejection> rejected;  ///< Will not be, by the order of their index.
  std::size_t unavailable = 0;      ///< The log could not take them; they do not lie there.
  std::size_t unknown = 0;          ///< They may lie there.
  std::string why;                  ///< Of the last two, a sentence.
};

/// `events` as they were sent to the log, and what became of each; `there`: those that were in the log before. Where
/// each lies is put down only if it `keeps_places`: that takes longer than all the rest.
Outcome OutcomeOf(const std::vector<Event>& events, const Settled& settled, Places there,
                  std::vector<Rejection> rejected, bool keeps_places);

/// Of the events that an answer rejects, so many have a detail, and all an index and a code: an answer is kept for a
/// day where its request has a key, and ten thousand events need no more than a few bytes each to be wrong.
inline constexpr std::size_t kDetailsMax = 100;

/// 202: all events are in the log. 200: some are, and each other is among `rejected`, where the codes unavailable and
/// outcome_unknown mean that it may be sent again. 422: none is, and for each the event is at fault. 503: none is,
/// because of the log; also when some are and the request `has_key`: sent again, the others are appended.
http::Response AnswerTo(const Outcome& outcome, bool has_key);

/// 422 for a batch of which nothing is accepted, because of these.
http::Response RefuseAll(const std::vector<Rejection>& rejected, const std::string& detail);

/// With Retry-After, whatever the status.
http::Response RefuseFor(const http::Problem& problem, std::int64_t seconds);

}  // namespace millrace::gateway
