/// Rows of an aggregate that are in memory somewhere and not (known to be) in its table yet, and who has them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "delta/table.h"
#include "model/aggregate.h"
#include "model/topic_partition.h"
#include "query/fold.h"
#include "query/join_at_offsets.h"

namespace millrace::query {

/// Somebody who was asked for hot rows and gave none: the partitions that it has are in an answer as far as they are
/// committed.
struct MissingSource {
  std::string name;    ///< "http://worker-2:8080"
  std::string reason;  ///< A sentence without its full stop.

  bool operator==(const MissingSource&) const = default;
};

/// What a worker, or several, had in memory when they were asked.
struct HotRows {
  std::vector<HotSegment> segments{};
  /// Where the segments begin follows from this version of the table: an older snapshot must not be joined with them.
  delta::TableVersion version = -1;
  /// As the records below `begun` show it.
  std::optional<UnixMicros> watermark{};
  /// Next offset of each partition that somebody here reads, after all that `watermark` rests on.
  model::OffsetVector begun{};
  std::vector<MissingSource> missing{};
};

/// As one: the segments of both, the later version, the lower watermark, the larger offsets.
void Add(HotRows more, HotRows& rows);

/// The watermark that an answer is exact to: that of `rows`, if every partition of `covered` is read by somebody and
/// all that the watermark rests on is below the offset there. `reads`: whether a topic is still read; partitions of
/// others do not move any more, and do not count.
std::optional<UnixMicros> WatermarkOf(const HotRows& rows, const model::OffsetVector& covered,
                                      const std::function<bool(const std::string&)>& reads);

/// Who has hot rows. Any thread; calls may block for a moment.
class HotSource {
 public:
  virtual ~HotSource() = default;

  /// The hot rows of `range`, folded to `coarser`. kTooLarge: a segment takes more than about limits.bytes_max.
  virtual Result<HotRows> Hot(const std::shared_ptr<const model::AggregateDefinition>& coarser, const FoldRange& range,
                              const FoldLimits& limits) = 0;
  /// For answers without hot rows: what is known of the table's version and the watermark without asking anybody.
  /// `segments` and `begun` are empty.
  virtual HotRows Known() const = 0;
  /// Another number whenever Hot() may have other rows to give: it moves before anybody can have been given them.
  /// nullopt: nobody here knows without asking others. Without waiting.
  virtual std::optional<std::uint64_t> Changes() const { return std::nullopt; }
};

}  // namespace millrace::query
