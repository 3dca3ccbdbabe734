/// A bounded sample of the records of a topic, or of a file's lines.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "eventlog/event_log.h"
#include "infer/sample.h"

namespace millrace::app {

/// About `records` of them (at most infer::kSampleRecordsMax) and infer::kSampleBytesMax: of each partition some of its
/// first records, where headers and old forms are, and three times as many of its last. Leaves no trace in the log.
/// Blocks for as long as the log takes to say what it holds, 30 s for each answer, and reads until half a minute after
/// it began; then it gives what has come. Errors as Consumer::Subscribe().
Result<infer::Sample> SampleTopic(eventlog::Consumer& log, const std::string& topic, std::int64_t records);

/// The first lines of a file, "-" of standard input: a record each. A file that is no text is one record. kNotFound.
Result<infer::Sample> SampleFile(const std::string& path, std::int64_t records);

}  // namespace millrace::app
