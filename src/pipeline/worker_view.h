/// A worker as one look at it saw it: the value that the API's documents, the metrics and the bill are made of.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "objectstore/object_store.h"
#include "pipeline/plan.h"
#include "pipeline/worker.h"

namespace millrace::pipeline {

struct WorkerView {
  struct Table {
    std::string uri;
    model::OffsetVector committed{};       ///< Next offsets that the snapshot holds.
    std::int64_t rows = 0;                 ///< Live ones at the snapshot, by the files' statistics.
    std::vector<std::int64_t> route_rows;  ///< Likewise, of each of status.tables[i].routes; `rows` is their sum.
    std::int64_t lag_records = 0;  ///< Handed to the shards, and in no commit of this table yet; 0 of dead letters.
  };

  const Plan* plan = nullptr;  ///< Outlives the view.
  WorkerStatus status;
  std::vector<Table> tables;  ///< As status.tables.
  objectstore::StoreUsage lake;
  double cpu_seconds = 0;     ///< Of the process.
  double queries_served = 0;  ///< Questions to aggregates.
  UnixMicros now = 0;
};

}  // namespace millrace::pipeline
