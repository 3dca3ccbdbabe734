/// What a simulated fleet says of its events: a row for each, in the order of sending. `millrace simulate --truth`
/// writes it, `millrace audit --truth` settles it against the lake.
#pragma once

#include <arrow/type.h>

#include <memory>
#include <string_view>

namespace millrace::model {

/// number         int64            0 for the first
/// event_id       utf8
/// key            utf8             the device
/// event_time     timestamp[us]    as the payload says, or would if it were whole; UTC
/// sent_at        timestamp[us]    by the clock of the machine that sent it; UTC
/// late_us        int64            how long before it was sent it happened, by the fleet's time
/// clock_error_us int64            of the device: event_time says so much more than when it happened
/// fate           utf8             valid | duplicate | malformed
/// duplicate_of   int64, nullable  number of the event that it repeats
/// malformation   utf8, nullable   truncated | mistyped | garbled | foreign
/// sensor_fault   utf8, nullable   stuck | spike
/// outcome        utf8             acknowledged | refused | unknown: what the sink said
/// refusal        utf8, nullable   why it was refused
/// delivery       utf8             once | at_least_once: whether the way to the log may take an event twice
/// payload        binary, nullable the bytes of events that may become dead letters: malformed, or with a clock ahead
std::shared_ptr<arrow::Schema> TruthSchema();

// Keys of the file's own metadata.
inline constexpr std::string_view kTruthTopic = "millrace.truth.topic";  ///< Not there: the events went to no topic.
inline constexpr std::string_view kTruthVersion = "millrace.truth.version";

}  // namespace millrace::model
