/// An aggregate's final table: its merged rows as plain values, for tools that cannot merge partial rows.
///
/// Once a window is complete, each of its groups has a row of revision 0. When events that come later change what a
/// group's measures are, it gets a further row with the next revision; a group that only they make begins with 0. Rows
/// are appended and never taken back: the newest revision of a group is what the aggregate says of it.
///
/// The table is made from the aggregate's committed rows alone. Two txns in it say how far, for app_id "shop"
///
///   shop#final_version     the version of the aggregate's table that it was made from
///   shop#final_watermark   in UTC microseconds: windows that end at or before it have their rows, as of that version
///
/// They move in the commits that bring the rows, which are fenced by what they were before. So of two workers, or of a
/// worker and one that died, one appends each row, whatever is between planning and commit.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/memory_budget.h"
#include "base/status.h"
#include "config/dataflow.h"
#include "delta/table.h"
#include "delta/upkeep/stop_requested.h"
#include "sql/sql_session.h"

namespace millrace::pipeline {

/// The table's property with what its rows were made of.
inline constexpr const char* kFinalProperty = "millrace.final";

/// For the final table of `plan`, whose aggregate's table is at `aggregate`.
delta::CreateOptions FinalCreateOptions(const config::TablePlan& plan, const delta::Snapshot& aggregate);
/// Whether the rows of the final table `final_table` are of this aggregate's table (nullptr: there is none yet) and
/// these measures. kInvalidInput: they are not; what differs, and the ways out.
Status CheckFinalMeaning(const config::TablePlan& plan, const delta::Snapshot* aggregate,
                         const delta::Snapshot& final_table);

struct FinalOptions {
  std::int64_t rows_at_once = 262'144;  ///< Partial rows that are merged at once; one window may have more.
  /// Of the rows that these merge to, and of those that the table has of the same windows. Windows that take more are
  /// merged fewer at once.
  std::int64_t bytes_at_once = std::int64_t{1} << 30;
  std::int64_t touched_bytes_max = 64 << 20;  ///< Of groups that late events touch; beyond, all groups are compared.
  delta::TableVersion versions_unseen = 128;  ///< Looked through without a late row, before that is committed.
};

struct FinalRound {
  std::int64_t rows = 0;       ///< Appended.
  std::int64_t revisions = 0;  ///< Of these: of a revision above 0.
  std::int64_t failed = 0;     ///< Values that are NULL because the measure fails for its group, as answers have it.
  bool lost = false;           ///< Another commit was first; the next round goes on from there.
};

/// One thread.
class FinalTable {
 public:
  /// Both tables are this object's to refresh. `session` outlives it. `plan` has a final table. `expired_before_id`:
  /// Progress::ExpiredBeforeId() of the aggregate. `memory`: what it holds while it merges is drawn from there.
  /// kInternal: the measures cannot be planned.
  static Result<std::unique_ptr<FinalTable>> Make(config::TablePlan plan, const std::string& app_id,
                                                  std::string expired_before_id,
                                                  std::shared_ptr<delta::Table> aggregate,
                                                  std::shared_ptr<delta::Table> final_table, sql::SqlSession& session,
                                                  FinalOptions options = {}, MemoryShare memory = {});
  ~FinalTable();

  /// Brings the table to `aggregate`, a snapshot of the aggregate's table, and to `watermark` (nullopt: none is known),
  /// in any number of commits. First come revisions of windows that had their rows, then the windows that are complete
  /// now, oldest first. Windows that end at or before `forgotten_before`, or that retention has removed rows of, get
  /// nothing more: what is left of them is not the whole. `now`: of final_at.
  ///
  /// kCancelled: stopped between two commits. kCorrupt: the aggregate's table is older than the rows. kTooLarge: one
  /// window alone takes more than bytes_at_once, or more than the session may. Errors of the store as they are. In each
  /// case what has been committed stays, and the next call goes on from there.
  Result<FinalRound> Advance(const delta::SnapshotPtr& aggregate, std::optional<UnixMicros> watermark,
                             std::optional<UnixMicros> forgotten_before, UnixMicros now,
                             const delta::StopRequested& stop = {});

  /// The proof, for an audit: the newest revision of each group of the windows that have their rows is what the
  /// aggregate's partial rows merge to (doubles: within 1e-9 of it), and revisions are 0, 1, … without a hole. What is
  /// not so, a sentence each; empty: all holds. Fails if a table cannot be read; kTooLarge: as Advance().
  Result<std::vector<std::string>> Check(std::optional<UnixMicros> forgotten_before);

 private:
  class Impl;
  explicit FinalTable(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::pipeline
