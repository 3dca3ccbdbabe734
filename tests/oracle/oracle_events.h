/// Random events as structs: their JSON for the log, and the same rows as an Arrow batch for the reference engine. The
/// two ways share nothing, so the batch is an independent decoding.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/clock.h"
#include "ingest/decode_spec.h"
#include "model/topic_partition.h"

namespace millrace::oracle {

/// What decoding and the event time's guard make of a record.
enum class Fate { kRow, kBadPayload, kTombstone, kTooFarAhead };

struct Event {
  Fate fate = Fate::kRow;
  std::int32_t partition = 0;
  model::Offset offset = 0;
  UnixMicros logged = 0;
  std::optional<std::int64_t> id;
  std::optional<std::string> k1;
  std::optional<std::int32_t> k2;
  std::optional<std::int64_t> cents;  ///< amount, decimal(12,2)
  std::optional<double> x;            ///< Not negative, so that sums do not cancel.
  std::optional<std::int64_t> q;
  std::optional<std::string> txt;  ///< Most are integers, some are not.
  std::optional<bool> flag;
  std::optional<UnixMicros> ts;
};

inline constexpr std::int64_t kMaxFutureMicros = 60'000'000;

ingest::DecodeSpec Columns();

/// Late ones, far late ones, nulls, extremes and every Fate, each now and then.
Event RandomEvent(std::mt19937& random, std::int64_t id);

/// nullopt: a tombstone.
std::optional<std::string> ToPayload(const Event& event, std::mt19937& random);

/// Events of Fate::kRow: the declared columns, then _partition, _offset.
std::shared_ptr<arrow::RecordBatch> ToBatch(const std::vector<Event>& events);

}  // namespace millrace::oracle
