/// What one relation makes of records, beside the pipeline that runs: to look at, not to keep.
///
/// As in a shard, records are decoded and go through the transforms on the relation's way, and what does not fit is a
/// dead letter. What comes after is not done: the check of event time against the clock, what tables refuse.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/status.h"
#include "ingest/event_decoder.h"
#include "pipeline/plan.h"
#include "process/transform.h"

namespace millrace::pipeline {

/// Not thread-safe.
class RelationReader {
 public:
  /// `relation`: of the plan's. Lookups on its way are read once, here, and this blocks on it; errors as those of
  /// LoadLookups().
  static Result<std::unique_ptr<RelationReader>> Make(std::shared_ptr<const Plan> plan, int relation);

  /// num_records + further == rows->num_rows() + letters.size() + filtered + tombstones
  struct Made {
    std::shared_ptr<arrow::RecordBatch> rows;  ///< Of schema().
    std::vector<model::DeadLetter> letters;    ///< Of decoding, then of each transform in turn.
    std::int64_t filtered = 0;
    std::int64_t tombstones = 0;
    std::int64_t further = 0;     ///< See ingest::Decoded, as num_records.
    std::size_t num_records = 0;  ///< That were taken.
  };
  /// `records`: of a topic of the relation's input; from number `first` on, some of them or all that are left. Waits
  /// for their schemas as Shard::ProcessPatiently() does.
  Result<Made> Read(const model::FetchedRecords& records, std::size_t first = 0);

  const std::shared_ptr<arrow::Schema>& schema() const { return plan_->relations[relation_].schema; }
  const config::InputPlan& input() const { return plan_->inputs[plan_->relations[relation_].input]; }

 private:
  struct Step {
    std::string stage;
    std::unique_ptr<process::Transform> transform;
  };

  Result<ingest::Decoded> Decode(const model::FetchedRecords& records, std::size_t first);

  RelationReader(std::shared_ptr<const Plan> plan, int relation) : plan_(std::move(plan)), relation_(relation) {}

  const std::shared_ptr<const Plan> plan_;
  const int relation_;
  std::unique_ptr<ingest::EventDecoder> decoder_;
  std::vector<Step> steps_;                                 // From the events on.
  std::shared_ptr<const process::LookupVersions> lookups_;  // Null: none is joined.
};

}  // namespace millrace::pipeline
