/// One seed's world: a pipeline of two tables and its dead letters, several workers on it, sometimes another pipeline
/// on one of these tables, producers, and all that goes wrong. Which faults there are is drawn too, so that rare ones
/// meet without being drowned by common ones.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <vector>

#include "pipeline/plan.h"

namespace millrace::simulation {

/// What worlds run. Their SQL is planned here, once.
struct BasePlans {
  using Edits = std::vector<std::shared_ptr<const pipeline::Plan>>;
  Edits of_topic;    ///< The pipeline, as it is at first and after an edit that adds an aggregate.
  Edits of_pattern;  ///< Likewise, of all topics that a pattern takes.
  Edits neighbour;   ///< Another one that writes to the first table too.
};
Result<BasePlans> MakeBasePlans();

/// Opens and closes sessions such as workers answer with.
Status OpenSessions();

struct PlayOptions {
  std::uint64_t seed = 1;
  std::set<int> without{};  ///< Faults of the schedule that are left out; the first is 1.
  std::filesystem::path
      lake{};  ///< Where the bucket is written to when all is checked, with Books::Read() as TABLE.tsv.
};

/// From the first worker to the last check; the caller is the machine's first task. Fail() ends it when something does
/// not hold.
void Play(const BasePlans& base, const PlayOptions& options);

}  // namespace millrace::simulation
