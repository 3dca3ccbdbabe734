/// Where a record came from, and how far we are.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>

namespace millrace::model {

/// A record's place in its partition. `end` or `next` offsets are exclusive (the next to read), `last` inclusive.
using Offset = std::int64_t;

/// As an index: the whole record.
inline constexpr std::int32_t kWholeRecord = -1;

/// Which document of a partition: the offset of its record and, if that holds several (decode.records), which of them.
struct DocumentPlace {
  Offset offset = 0;
  std::int32_t index = kWholeRecord;  ///< From 0.
  auto operator<=>(const DocumentPlace&) const = default;
};

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

/// "offset 7", of one of several documents "offset 7, document 2".
inline std::string ToString(DocumentPlace place) {
  const std::string offset = "offset " + std::to_string(place.offset);
  return place.index == kWholeRecord ? offset : offset + ", document " + std::to_string(place.index);
}

/// "clicks[3]", as log and error messages name a partition.
inline std::string ToString(const TopicPartition& tp) { return tp.topic + "[" + std::to_string(tp.partition) + "]"; }

}  // namespace millrace::model
