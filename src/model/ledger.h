/// The books of one table: what became of every record that was read.
#pragma once

#include <cstdint>
#include <map>

#include "model/topic_partition.h"

namespace millrace::model {

/// Counts for one partition over one range of offsets: of records, and of the documents of those that hold several.
///
/// Invariant of every committed epoch: read + further == written + dead_lettered + filtered + deduplicated +
/// tombstones. Each figure is counted where it happens, so the equation is a check and not a definition.
struct Ledger {
  std::int64_t read = 0;           ///< Records that the log delivered.
  std::int64_t further = 0;        ///< Documents of these beyond the first of each (decode.records).
  std::int64_t written = 0;        ///< Records that are in a row of the table (or folded into an aggregate's row).
  std::int64_t dead_lettered = 0;  ///< Records that are in the dead-letter table instead.
  std::int64_t filtered = 0;       ///< Records that a transform's or the aggregate's WHERE removed.
  std::int64_t deduplicated = 0;   ///< Records dropped as repeats of an earlier event id.
  std::int64_t tombstones = 0;     ///< Records without a payload, or without a document in it.

  bool Balances() const { return read + further == written + dead_lettered + filtered + deduplicated + tombstones; }
  Ledger& operator+=(const Ledger& o) {
    read += o.read;
    further += o.further;
    written += o.written;
    dead_lettered += o.dead_lettered;
    filtered += o.filtered;
    deduplicated += o.deduplicated;
    tombstones += o.tombstones;
    return *this;
  }
  bool operator==(const Ledger&) const = default;
};

using LedgerByPartition = std::map<TopicPartition, Ledger>;

}  // namespace millrace::model
