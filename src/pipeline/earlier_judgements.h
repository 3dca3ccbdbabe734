/// What was decided about records that are read again: which of them are dead letters already.
///
/// A record that one table has and another still needs is read a second time after a restart, perhaps under an edited
/// file or another clock. It must be judged as it was the first time, or one table holds its row while the dead-letter
/// table holds its letter. The dead-letter table remembers: of the offsets that some table has covered, those with a
/// letter of a stage failed there, and all others did not.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "delta/table.h"
#include "model/topic_partition.h"

namespace millrace::pipeline {

/// Of one partition. Immutable once made; any thread.
struct EarlierJudgements {
  /// First offset that no table has covered and no letter is durable of: from here on everything is new. 0: all is.
  model::Offset end = 0;
  std::map<std::string, std::vector<model::DocumentPlace>> letters;  ///< By stage, ascending, below `end`.

  /// It, or the whole record that it is a document of.
  bool IsDead(const std::string& stage, model::DocumentPlace place) const;
  /// Whether any letter of the stage is in [range.begin, range.end).
  bool HasAny(const std::string& stage, model::OffsetRange range) const;
};

/// Letters that are kept in memory at most, over all partitions; 16 bytes each. A partition's `end` is lowered to where
/// its share of them ends: past that, records are judged anew.
inline constexpr std::int64_t kEarlierLettersMax = 8'000'000;

/// The letters of these offsets, from the table's snapshot. Every partition named is in the answer. Blocks. Errors as
/// delta::OpenScan().
Result<std::map<model::TopicPartition, EarlierJudgements>> ReadEarlierJudgements(
    const delta::Table& dead_letters, const model::OffsetRanges& ranges, std::int64_t letters_max = kEarlierLettersMax);

}  // namespace millrace::pipeline
