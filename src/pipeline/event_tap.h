/// What is in the log, as an input or a transform of the pipeline sees it, read beside the pipeline that runs: by its
/// own reader, of no group, without a trace in the log. `millrace tap` and GET /v1/tap are this.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "eventlog/event_log.h"
#include "pipeline/plan.h"
#include "pipeline/relation_reader.h"
#include "query/row_filter.h"
#include "serve/tap_source.h"

namespace millrace::pipeline {

/// A consumer for a tap: Subscribe() assigns it every partition at once. May block.
using OpenTapLog = std::function<Result<std::unique_ptr<eventlog::Consumer>>()>;

/// Not thread-safe.
class EventTap final : public serve::TapSource {
 public:
  enum class Shows {
    kRows,
    kLetters,  ///< The records that do not become rows.
    kBoth,
  };
  struct Options {
    std::string input{};      ///< Empty: the only one there is, unless a transform is named.
    std::string transform{};  ///< Empty: the events of the input as they are.
    /// A DuckDB expression, over the rows if they are shown, else over the letters; empty: all.
    std::string where{};
    Shows shows = Shows::kBoth;
  };
  struct Start {
    /// So many records before the end of each partition; nullopt: all that the log holds.
    std::optional<std::int64_t> last = 0;
    /// Of each question to the log.
    std::chrono::milliseconds timeout{30'000};
  };
  struct Counts {
    std::int64_t records = 0;  ///< Looked at: rows + letters + filtered + tombstones - further.
    std::int64_t further = 0;  ///< Documents of these beyond the first of each.
    std::int64_t rows = 0;     ///< Before `where`.
    std::int64_t letters = 0;
    std::int64_t filtered = 0;
    std::int64_t tombstones = 0;
  };

  /// kInvalidInput: no such input or transform (with the nearest name), none is named where there are several, or
  /// `where` is not a condition over what is shown.
  static Result<std::unique_ptr<EventTap>> Make(std::shared_ptr<const Plan> plan, const Options& options);

  /// Before the first Look(), once. Errors of the log, with kTransient for a broker that is away.
  Status Open(std::unique_ptr<eventlog::Consumer> log, const Start& start);

  const std::shared_ptr<arrow::Schema>& schema() const override { return reader_->schema(); }
  const model::OffsetVector& start() const override { return start_; }
  /// A signal ends the waiting, too. Each trouble is told once.
  Result<serve::Tapped> Look(std::chrono::milliseconds wait, const serve::TapLimits& limits) override;

  /// Whether all has been seen that the log held when it was opened.
  bool HasReachedEnd() const { return open_.empty(); }
  const Counts& counts() const { return counts_; }

 private:
  EventTap(std::shared_ptr<const Plan> plan, int input, std::unique_ptr<RelationReader> reader, Shows shows)
      : plan_(std::move(plan)), input_(input), reader_(std::move(reader)), shows_(shows) {}

  // Of the input: with patterns, what the log has now. kNotFound: there is none yet.
  Result<std::vector<std::string>> TopicsToRead(std::chrono::milliseconds timeout);

  // Takes what it shows and looks at from `left`.
  Status See(const model::FetchedRecords& records, serve::TapLimits& left, serve::Tapped& seen);
  // From record number *first on, which it moves.
  Status SeeSome(const model::FetchedRecords& records, std::size_t* first, serve::TapLimits& left, serve::Tapped& seen);
  void NoteReached(const model::TopicPartition& source, model::Offset next);

  const std::shared_ptr<const Plan> plan_;
  const int input_;  // Of the plan, whose events the relation's rows are made of.
  const std::unique_ptr<RelationReader> reader_;
  const Shows shows_;
  std::unique_ptr<query::RowFilter> filter_;  // nullptr: all pass.
  std::unique_ptr<eventlog::Consumer> log_;
  model::OffsetVector start_;
  model::OffsetVector end_;               // When it was opened.
  std::set<model::TopicPartition> open_;  // Not read up to there yet.
  model::FetchedRecords unpacked_;        // A piece of a fetch.
  std::set<std::string> told_;            // Troubles.
  Counts counts_;
};

}  // namespace millrace::pipeline
