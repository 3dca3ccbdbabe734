/// The dead letters that are not durable yet, and how far those of each partition reach.
///
/// Invariant: a commit of the dead-letter table with Take()'s letters says of each of their partitions "letters below
/// `end` are all there". That holds because letters are handed in with the part of a table that was sealed at the same
/// moment (Add, then Reach), are taken all at once, and are dropped only by Discard(), after which their offsets are
/// read again. Whoever failed to commit what it took must Discard() before anybody takes more.
///
/// A value; the worker's control thread owns it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/event_batch.h"
#include "pipeline/epoch_commit.h"
#include "pipeline/progress.h"

namespace millrace::pipeline {

class LetterBook {
 public:
  /// A partition is read from now on, or again: what the dead-letter table holds under these ids is what the next
  /// commit of its letters must find.
  void Start(const std::map<std::string, std::optional<std::int64_t>>& versions);

  void Add(std::vector<model::DeadLetter> letters);
  /// All letters of `source` below `end` are handed in.
  void Reach(const model::TopicPartition& source, model::Offset end);

  bool empty() const { return letters_.empty(); }
  std::int64_t bytes() const { return bytes_; }

  /// Everything so far, to be committed as a whole.
  LetterEpoch Take();
  /// What Take() gave is durable. What we wrote counts, not what the table says now: that may be another worker's.
  void Committed(const LetterEpoch& epoch, const Progress& progress);
  /// Everything that is not durable is read again.
  void Discard();

 private:
  std::vector<model::DeadLetter> letters_;
  std::int64_t bytes_ = 0;
  std::map<model::TopicPartition, model::Offset> ends_;  // Only of partitions with letters in letters_.
  std::map<std::string, std::optional<std::int64_t>> fence_;
};

}  // namespace millrace::pipeline
