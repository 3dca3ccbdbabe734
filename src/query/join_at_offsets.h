/// The seam between hot and committed rows: offsets, exactly.
#pragma once

#include <arrow/record_batch.h>

#include <memory>
#include <vector>

#include "base/status.h"
#include "model/topic_partition.h"

namespace millrace::query {

/// Rows that are not (known to be) committed: of one shard, over these offsets. Partial rows of whatever definition
/// was asked for; nullptr: none.
struct HotSegment {
  model::OffsetRanges ranges;
  std::shared_ptr<arrow::RecordBatch> rows;
};

/// Which of the hot segments belong on top of a snapshot whose next offsets are `committed`.
///
/// A segment that lies wholly below is already in the snapshot and is left out; one that begins exactly where the
/// snapshot or an included segment ends goes in. Anything else (a gap, a partial overlap) is kConflict: refresh the
/// older side and ask again. Ranges that are empty fit anywhere. A partition that `committed` does not name has nothing
/// committed, and begins at its lowest hot offset; for this to be true, take the hot rows first and read the snapshot
/// after them.
///
/// \param covered  out, may be null: next offset per partition of the snapshot and the returned segments together
Result<std::vector<HotSegment>> JoinAtOffsets(const model::OffsetVector& committed, std::vector<HotSegment> hot,
                                              model::OffsetVector* covered);

}  // namespace millrace::query
