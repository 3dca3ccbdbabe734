/// The shape of the dead-letter table, `<pipeline>_dead_letters`.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <span>

#include "model/event_batch.h"

namespace millrace::model {

/// topic utf8, partition int32, offset int64, timestamp timestamp[us, UTC], key binary (null: none), payload binary,
/// headers list<struct<key utf8, value binary (null: null)>>, stage utf8, reason utf8, detail utf8, index
/// int32 (null: of the whole record).
std::shared_ptr<arrow::Schema> DeadLetterSchema();

/// Bytes that it takes in memory, for the memory budget.
std::int64_t BytesOf(const DeadLetter& letter);

std::shared_ptr<arrow::RecordBatch> ToRecordBatch(std::span<const DeadLetter> letters);

}  // namespace millrace::model
