/// The accounts of a simulated fleet against a lake: whether each event is where its truth (model/truth.h) says.
///
/// What is proved of each table of events, or all of a `route` together, with a column `event_id` that reads the
/// truth's topic:
///   - of an event that was acknowledged there are as many rows as it was sent, with `dedupe` one; of one whose outcome
///     is unknown at most so many; of one that was refused, or only came malformed, none;
///   - an event whose clock was further ahead than event_time.max_future may be a dead letter instead of a row;
///   - of what was malformed there is a dead letter for each time that it was acknowledged, byte for byte;
///   - of a route, events that got no table are letters, and as many rows are missing at most;
///   - there is no row and no letter of the topic besides, but of events whose way may take them twice: their repeats
///   are
///     counted, as letters, and as rows where no dedupe makes them one.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "objectstore/object_store.h"
#include "pipeline/audit.h"
#include "pipeline/plan.h"
#include "sql/sql_session.h"

namespace millrace::pipeline {

/// What the truth says was sent to a topic. The sum of valid, duplicates and malformed is `sent`, and so is that of the
/// last three.
struct TruthSent {
  std::int64_t sent = 0;
  std::int64_t valid = 0;
  std::int64_t late = 0;  ///< Of these: by a second or more.
  std::int64_t duplicates = 0;
  std::int64_t malformed = 0;
  std::int64_t acknowledged = 0;
  std::int64_t refused = 0;
  std::int64_t unknown = 0;
};

/// Where it is. All but the last four are as they should be.
struct TruthFound {
  std::int64_t rows = 0;
  std::int64_t repeats_left_out = 0;  ///< Duplicates that dedupe kept out.
  std::int64_t letters_of_malformed = 0;
  std::int64_t letters_of_future = 0;  ///< Of sound events whose clocks were too far ahead.
  std::int64_t taken_twice = 0;        ///< Rows and letters of events that were delivered at least once, beyond once.
  std::int64_t missing_rows = 0;
  std::int64_t surplus_rows = 0;
  std::int64_t missing_letters = 0;
  std::int64_t surplus_letters = 0;
};

struct TruthTable {
  std::string name;
  TruthFound found;
  std::vector<std::string> findings;  ///< Empty: the accounts are settled.
};

struct TruthReport {
  std::string topic;
  TruthSent sent;
  std::vector<TruthTable> tables;
  bool ok() const;
};

/// How a table treats what it reads.
struct TruthRule {
  bool dedupes = false;                                 ///< By event_id.
  std::optional<std::chrono::microseconds> max_future;  ///< nullopt: it takes any time.
};

/// Of relations of `session`: `truth` as TruthSchema(), `stored` (event_id varchar), `letters` (partition, offset,
/// payload blob).
Result<TruthFound> SettleRows(sql::SqlSession& session, const TruthRule& rule);

/// `files`: truths of one topic each, those of one topic taken together. `books`: of the same lake, for what transforms
/// filter. Blocks; compares all ids in memory. Meaningful once the pipeline has read everything. kInvalidInput: a file
/// that is no truth, of no topic, or of one that no table with `event_id` reads; kTooLarge: 8 GiB do not do for the
/// ids; else as Audit().
Result<std::vector<TruthReport>> AuditTruth(const Plan& plan, const std::shared_ptr<objectstore::ObjectStore>& lake,
                                            const AuditReport& books, const std::vector<std::string>& files);

}  // namespace millrace::pipeline
