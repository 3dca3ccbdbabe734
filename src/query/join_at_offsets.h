/// The seam between hot and committed rows: offsets, exactly.
#pragma once

#include <arrow/record_batch.h>

#include <memory>
#include <string>
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

struct JoinedSegments {
  std::vector<HotSegment> segments;  ///< Those that belong on top.
  model::OffsetVector covered;       ///< Next offset per partition, of the snapshot and these segments together.
  /// Why a segment with something that is not covered was left out, naming a partition; empty: none was.
  std::string left_out;
};

/// Which of the hot segments belong on top of a snapshot whose next offsets are `committed`. Whatever the segments are,
/// the result holds each offset below `covered` once.
///
/// A segment that lies wholly below is in the snapshot already. One that begins, in all of its partitions, exactly
/// where the snapshot or a chosen segment ends goes in. A worker and the one that has taken its partitions over may
/// have read the same offsets: of segments that overlap, the one that reaches over more offsets is chosen, and the
/// others, with those that follow on them, are left out. So is what begins behind a gap or within what is committed. To
/// look again, at the snapshot or at the hot rows, may make more fit; and as it is, it is right, up to `covered`.
///
/// Ranges that are empty fit anywhere. A partition that `committed` does not name has nothing committed, and begins at
/// its lowest hot offset: for this to be true, the snapshot must not be older than the one that the hot rows go on
/// from. kInternal: a range ends before it begins.
Result<JoinedSegments> JoinAtOffsets(const model::OffsetVector& committed, std::vector<HotSegment> hot);

}  // namespace millrace::query
