/// Dead letters for people.
#pragma once

#include <arrow/record_batch.h>

#include <memory>
#include <span>

#include "model/event_batch.h"

namespace millrace::model {

/// topic utf8, partition int32, offset int64, timestamp timestamp[us, UTC], key utf8, payload utf8, headers map<utf8,
/// utf8>, stage utf8, reason utf8, detail utf8, index int32 (null: of the whole record): as the dead-letter table, with
/// bytes as text. What is not UTF-8 is in hexadecimal.
std::shared_ptr<arrow::Schema> ReadableLetterSchema();
std::shared_ptr<arrow::RecordBatch> ToReadableBatch(std::span<const DeadLetter> letters);

}  // namespace millrace::model
