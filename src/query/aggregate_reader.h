/// The answers of one aggregate: what is hot joined with what is committed at exact offsets, merged and finalized
/// within the memory and the time that a question may take.
///
/// A worker's API asks readers with a hot side; the command line asks the lake through one without.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/memory_budget.h"
#include "base/status.h"
#include "delta/table.h"
#include "model/aggregate.h"
#include "model/topic_partition.h"
#include "query/aggregate_query.h"
#include "query/answer_memory.h"
#include "query/committed_rows.h"
#include "query/followed_table.h"
#include "query/hot_rows.h"
#include "sql/session_pool.h"

namespace millrace::query {

/// What all readers of a process share.
struct ReaderResources {
  std::shared_ptr<sql::SessionPool> sessions;
  std::shared_ptr<AnswerMemory> memory;
  std::shared_ptr<PartialFileCache> files;

  /// AnswersBytesMax(limit_bytes) for answers, a sixteenth of the limit for cached files, another for sessions. All of
  /// it is drawn from `budget`.
  static ReaderResources Make(std::int64_t limit_bytes, MemoryBudget& budget);
};

/// Any thread, several questions at once. Everything that it is given outlives it.
class AggregateReader {
 public:
  struct Options {
    model::AggregateDefinition definition;
    /// Apart from the one that is written to, so that no question waits for a commit in flight.
    std::shared_ptr<FollowedTable> table;
    /// Next offset per partition that a snapshot of the table holds.
    std::function<model::OffsetVector(const delta::Snapshot&)> next_offsets;
    /// Whether a topic is still read for the aggregate; with a hot side.
    std::function<bool(const std::string&)> reads{};
    HotSource* hot = nullptr;                ///< nullptr: only what is committed.
    std::int64_t cached_rows_bytes_max = 0;  ///< Of folded committed rows, for the next question.
    MemoryShare cached_rows{};               ///< What these are drawn from.
  };

  AggregateReader(Options options, ReaderResources resources);
  ~AggregateReader();

  const model::AggregateDefinition& definition() const;

  /// kInvalidInput: the question, the parameter is named. kTooLarge: beyond rows_max, or more groups than answers have
  /// memory for. kConflict: the hot side has seen a version of the table that is not in the lake. kCancelled soon after
  /// `stop` was requested. Errors of the store as they are.
  /// `memory`: what the answer draws from, in place of the resources'.
  Result<Answer> Ask(const AggregateRequest& request, const std::stop_token& stop, AnswerMemory* memory = nullptr);

  /// The columns of an answer to a request that asks for nothing in particular.
  Result<std::vector<sql::ResultColumn>> Columns(const std::stop_token& stop);

  bool has_hot_side() const;

  /// The state (Answer::state) of an answer to this request that began now, without waiting for anything; nullopt: it
  /// is not known without asking the store or others.
  std::optional<AnswerState> KnownState(Freshness freshness) const;

  /// The request that asks for the same, alike for all that do: from and to as `-1h` has them move all the while, and
  /// the windows between them do not.
  AggregateRequest Canonical(AggregateRequest request) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::query
