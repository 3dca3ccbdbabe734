/// Some records of a stream, copied out of its log: what types are guessed from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace millrace::infer {

struct SampledRecord {
  std::string payload;
  std::optional<std::string> key = {};
  std::vector<std::pair<std::string, std::optional<std::string>>> headers = {};
  UnixMicros timestamp = 0;    ///< The log's, UTC.
  std::int32_t partition = 0;  ///< Records of one partition are in its order.
  std::int64_t offset = 0;
};

struct Sample {
  std::vector<SampledRecord> records;  ///< With a payload.
  std::int64_t tombstones = 0;         ///< Records without one, which were passed over.
  bool from_log = false;               ///< Timestamps, keys and headers mean something; else they are a file's lines.
};

/// Of one sample: more is not read. A thousand records show what there is to see, and a hundred thousand fit in memory.
inline constexpr std::int64_t kSampleRecordsMax = 100'000;
inline constexpr std::size_t kSampleBytesMax = std::size_t{64} << 20;

}  // namespace millrace::infer
