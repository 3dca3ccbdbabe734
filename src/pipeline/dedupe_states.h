/// What dedupe remembers of this worker's partitions: in memory, and in a folder of the local disk from which a start
/// goes on.
///
/// Below the folder each partition has one of its own, `<app_id>/dedupe/<topic>-<partition>`. Workers of one machine
/// may share it: a partition that moves between them finds what the other left. What is there is a cache: a state is
/// taken if it lies between the offset from which the log would be read again and what every table has, and if the
/// record before it is still the same; else it is removed, and the log is read.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "base/memory_budget.h"
#include "base/status.h"
#include "model/topic_partition.h"
#include "pipeline/plan.h"
#include "process/deduplicator.h"

namespace millrace::pipeline {

struct DedupeOptions {
  std::filesystem::path folder;         ///< Empty: memory alone.
  std::shared_ptr<MemoryBudget> share;  ///< What keys may take of `all`; nullptr: any amount.
  std::shared_ptr<MemoryBudget> all;    ///< nullptr: counted nowhere.
};

/// One thread at a time.
class DedupeStates {
 public:
  /// Looks whether the folder can be written to, and removes from it what nobody has written to for longer than
  /// `dedupe.within`. kInvalidInput: `dedupe.path` was given, and cannot be written to; if it was not, a warning says
  /// so and memory alone is used. `plan` outlives this.
  static Result<DedupeStates> Make(const Plan& plan, DedupeOptions options);

  /// The checksum of the record that the log has at an offset now; nullopt: it has none there.
  using FingerprintAt = std::function<Result<std::optional<std::uint32_t>>(model::Offset)>;

  /// `read_again`: from where the log says again what is remembered, to what every table has. The records that come
  /// next are from Deduplicator::next() on, which is in there, both ends included. nullptr: the input has no dedupe.
  /// kTransient: the disk, or the log. If another process has the partition's folder, memory alone is used.
  Result<std::unique_ptr<process::Deduplicator>> Open(const model::TopicPartition& source,
                                                      const model::OffsetRange& read_again,
                                                      const FingerprintAt& fingerprint_at);

 private:
  DedupeStates(const Plan& plan, DedupeOptions options);
  Result<std::unique_ptr<process::StoredKeys>> Lock(const model::TopicPartition& source) const;
  MemoryShare Share() const;
  MemoryShare Counted() const;

  const Plan* plan_;
  DedupeOptions options_;
  std::shared_ptr<process::DiskAllowance> disk_;
};

/// What a partition's keys are: a state of another text is of no use. `config::InputPlan::dedupe` is there.
std::string DedupeDefinition(const config::InputPlan& input);

}  // namespace millrace::pipeline
