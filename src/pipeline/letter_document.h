/// Dead letters as JSON, for the API and the command line.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <stop_token>
#include <string>

#include "base/status.h"
#include "delta/table.h"
#include "pipeline/letter_scan.h"

namespace millrace::pipeline {

/// With its bytes: as texts, or, where they are no plain text, in hexadecimal, as `payload_hex`.
boost::json::object LetterJson(const StoredLetter& stored);

/// Of all samples of a document, as they are stored.
inline constexpr std::int64_t kSampleBytesMax = 8 << 20;

/// How many letters of each stage and reason there are at table.snapshot(), and the newest of them as samples, at most
/// `limit` and kSampleBytesMax of them. `reason`: only letters of it; empty: all. Reads the whole table, with the bytes
/// of what is as new as the samples. kCancelled soon after `stop` was requested; else as VisitLetters().
Result<boost::json::object> LettersDocument(const delta::Table& table, const std::string& reason, std::int64_t limit,
                                            const std::stop_token& stop);

}  // namespace millrace::pipeline
