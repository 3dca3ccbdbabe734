/// Where a record came from, and how far we are.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>

namespace millrace::model {

/// A record's place in its partition. `end` or `next` offsets are exclusive (the next to read), `last` inclusive.
using Offset = std::int64_t;

struct TopicPartition {
  std::string topic;
  std::int32_t partition = 0;
  auto operator<=>(const TopicPartition&) const = default;
  bool operator==(const TopicPartition&) const = default;
};

/// [begin, end): every offset in it is covered, whether or not the log holds a record there
/// (Kafka leaves holes for compacted records and transaction markers).
struct OffsetRange {
  Offset begin = 0;
  Offset end = 0;
  bool empty() const { return begin == end; }
  bool operator==(const OffsetRange&) const = default;
};

/// Per partition the next offset to read.
using OffsetVector = std::map<TopicPartition, Offset>;
using OffsetRanges = std::map<TopicPartition, OffsetRange>;

/// "clicks[3]", as log and error messages name a partition.
inline std::string ToString(const TopicPartition& tp) { return tp.topic + "[" + std::to_string(tp.partition) + "]"; }

}  // namespace millrace::model
