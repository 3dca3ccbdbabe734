/// Dead letters run again: through today's pipeline, into the tables that they keep their records from.
///
/// In batches of bounded size. Each is one replay of replay_log.h: its rows become files of their tables, its new
/// letters a file of the dead-letter table; one commit of the log decides that all of it is so; then each table gets
/// its part in a commit of its own. Whoever comes after a death carries out what was decided before anything else.
/// Beside a running worker, and beside other replays. docs/exactly-once.md has the argument.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/status.h"
#include "objectstore/object_store.h"
#include "pipeline/letter_targets.h"
#include "pipeline/plan.h"
#include "pipeline/progress.h"

namespace millrace::pipeline {

struct ReplayOptions {
  std::string where{};   ///< Which letters: DuckDB's expression over the dead-letter table's columns; empty: all.
  bool dry_run = false;  ///< Says what would become of them by today's pipeline; writes nothing.
  /// Letters that become one replay, as BytesOf() counts; one letter may be more. In memory they and their rows are
  /// several times that.
  std::int64_t batch_bytes_max = 64 << 20;
};

struct ReplayReport {
  std::int64_t letters = 0;                      ///< That were run again; counted once, wherever they went.
  std::int64_t replays = 0;                      ///< That they made.
  std::int64_t finished = 0;                     ///< Parts of earlier replays that a death had left undone; done first.
  std::int64_t lost = 0;                         ///< Parts that cannot be done any more: their letters are open again.
  std::map<LetterState, std::int64_t> left_out;  ///< Chosen letters that are not open.
  std::string waits_for;                         ///< If any waits: a table that has not read as far.
  std::map<std::string, ReplayCounts> tables;    ///< Of this run, by name; without the dead letters.
  std::map<std::pair<std::string, std::string>, std::int64_t> failed;  ///< New letters, by stage and reason.
};

/// Blocks. What is done stays done if it fails half-way, and the same call goes on. Errors: kInvalidInput (`where`, or
/// tables that do not fit the plan), kCorrupt (see ReplayLog::Pending()), kConflict (other replays were first many
/// times in a row), kTooLarge (ReplayLog::Records()), those of the tables. A dry run makes no table: kNotFound.
Result<ReplayReport> ReplayLetters(const std::shared_ptr<const Plan>& plan,
                                   const std::shared_ptr<objectstore::ObjectStore>& lake, const ReplayOptions& options,
                                   const Clock& clock = SystemClock());

}  // namespace millrace::pipeline
