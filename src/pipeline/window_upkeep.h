/// Upkeep of an aggregate's table: folding of finished windows, and retention.
///
/// Each epoch leaves one partial row per window and key that it saw, so a busy key has many rows a window. Folding
/// rewrites the files of finished windows as files with one row per window and key, tagged as folded. They are apart
/// by window and by day, and bounded: a question about an hour reads little more than that hour, and a folding holds
/// little in memory, however many rows a day has. Small neighbours grow together as a log-structured merge tree's runs
/// do, each row being written again a logarithmic number of times; a day that is over is packed. What comes late is
/// one more small file, and joins the folded file of its windows at the next folding.
///
/// Where windows overlap all this is about their panes. Without windows, what has come so far counts as finished.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "delta/table.h"
#include "delta/upkeep/stop_requested.h"
#include "model/aggregate.h"

namespace millrace::pipeline {

struct FoldOptions {
  std::size_t min_files = 8;             ///< Files of finished windows that make a folding worth it.
  std::int64_t rows_at_once = 262'144;   ///< Of new files, or one file; the rest waits for the next call.
  std::int64_t rows_max = 2'097'152;     ///< Of one new file; larger ones, another writer's OPTIMIZE, stay as they are.
  std::int64_t file_rows_max = 131'072;  ///< Of a folded file; only a window that has more is larger.
  delta::StopRequested stop{};           ///< Asked before each file that is read or written.
  /// From the first new file on; then the commit is not tried any more. As delta::CompactionOptions has it.
  std::chrono::milliseconds uncommitted_max = std::chrono::minutes(30);
};

struct FoldResult {
  std::int64_t files_removed = 0;
  std::int64_t files_added = 0;
  std::int64_t rows_before = 0;
  std::int64_t rows_after = 0;
  bool lost = false;  ///< Another commit was first; nothing was done.
};

/// One commit (none if there is too little to do), which changes no answer. `finished_before`: windows that end at or
/// before it are finished (the watermark). Errors: as delta::Table::Commit(); kCancelled: stopped, nothing was done.
Result<FoldResult> FoldFinishedWindows(delta::Table& table, const model::AggregateDefinition& definition,
                                       UnixMicros finished_before, const FoldOptions& options = {});

struct ExpiryResult {
  std::int64_t files_removed = 0;
  std::int64_t rows = 0;
};

/// The txns that say what retention has removed: Progress::ExpiredRowsId() and ExpiredBeforeId().
struct ExpiryIds {
  std::string rows;
  std::string before;
};

/// Removes the files all of whose windows end before `cutoff` (of a pane all windows that it is in). How many records
/// were folded into them is added to the txn `ids.rows`, in the same commit, so that the books still balance, and
/// `ids.before` rises to the cutoff.
/// kUnsupported: the table is append-only. kCancelled: stopped, nothing was done; asked before each file that is read.
Result<ExpiryResult> ExpireWindows(delta::Table& table, const model::AggregateDefinition& definition, UnixMicros cutoff,
                                   const ExpiryIds& ids, const delta::StopRequested& stop = {});

/// Likewise of windows that ended more than `retention` ago, by this machine's clock and the store's both: one that is
/// ahead by itself takes nothing. The store is asked only if there is something to remove. Errors as ExpireWindows()
/// and delta::StoreNow().
Result<ExpiryResult> ExpireWindowsAfter(delta::Table& table, const model::AggregateDefinition& definition,
                                        std::chrono::microseconds retention, const ExpiryIds& ids,
                                        const delta::StopRequested& stop = {});

}  // namespace millrace::pipeline
