/// Two answers to the same question, one after the other, and what of them changed: the events of a stream as the
/// HTML standard has them (https://html.spec.whatwg.org/multipage/server-sent-events.html).
///
/// Plain functions on values; when to ask and who listens is answer_feed.h's.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "query/aggregate_query.h"

namespace millrace::serve {

/// An answer as JSON texts that can be compared.
struct LiveAnswer {
  struct Row {
    std::string json;  ///< As in AnswerToNdjson().
    /// [start, end); absent: the answer has no windows.
    std::optional<std::pair<UnixMicros, UnixMicros>> window;
  };
  std::string meta;                 ///< As in AnswerToJson().
  std::vector<std::string> order;   ///< The groups, in the answer's order.
  std::map<std::string, Row> rows;  ///< By group: the object of its windows and keys.
  std::string errors;               ///< The array of AnswerToJson(); empty: none.
  std::string partial;              ///< Likewise.
  std::string partial_reasons;      ///< Likewise. They differ from one moment to the next, and are no change alone.
  std::string as_of;                ///< AsOfToJson().
  std::optional<UnixMicros> watermark;

  std::int64_t bytes() const;
};

/// `answer` has its groups named, unless it is one row of all. kTooLarge: more than about `bytes_max` of text.
Result<LiveAnswer> ToLiveAnswer(const query::Answer& answer, std::int64_t bytes_max);

struct AnswerChanges {
  std::vector<std::string> upserts;  ///< Rows that are new or have another value.
  std::vector<std::string> removed;  ///< Groups that are in the answer no more.
  /// Windows of the answer that the watermark has passed, and before had not or was not known.
  std::set<std::pair<UnixMicros, UnixMicros>> completed;
  bool errors_changed = false;
  bool partial_changed = false;
  bool watermark_moved = false;
};

AnswerChanges Between(const LiveAnswer& before, const LiveAnswer& now);

/// {"meta", "data", "rows", "as_of"} and "errors", and "partial" with "partial_reasons", if there are some, on one
/// line.
std::string SnapshotJson(const LiveAnswer& answer);
/// {"data": [row], "removed": [group], "as_of"} and "errors", and "partial" with "partial_reasons", always all of the
/// answer's, if there are or were some.
std::string UpsertJson(const AnswerChanges& changes, const LiveAnswer& now);
/// {"windows": [{"window_start", "window_end"}], "as_of"}
std::string FinalJson(const AnswerChanges& changes, const LiveAnswer& now);
/// {"watermark"}
std::string WatermarkJson(const LiveAnswer& now);

/// `data` has no line breaks.
std::string EventText(std::string_view event, std::string_view id, std::string_view data);

}  // namespace millrace::serve
