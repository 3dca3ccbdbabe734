/// The records of Kafka's message format v2, as they lie one after another in a batch that is decompressed.
///
/// A batch is what a broker sent: its bytes are trusted with nothing, and what cannot be true is kCorrupt. Nothing is
/// copied. Reads no header of a batch and no checksum: the client has done that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "model/event_batch.h"

namespace millrace::eventlog {

/// A batch that is being read.
struct RecordBatch {
  std::string_view left;          ///< The bytes of the records that are not read yet.
  std::int64_t records_left = 0;  ///< That they are, by the batch's header: neither more nor fewer.
  model::Offset base_offset = 0;  ///< Where the batch begins; no record's is smaller.
  model::Offset last_offset = 0;  ///< No record's is larger; there need be no record of it (compaction).
  std::int64_t base_time_ms = 0;
  std::int64_t max_time_ms = 0;  ///< Of every record, if `append_time`.
  bool append_time = false;      ///< The timestamps are the broker's.
  std::int64_t next_delta = 0;   ///< Of an offset to base_offset: the least that the next record may have.
};

/// Reads on until the batch is read up (`left` is empty) or `piece` is full, to which it appends: at most `max_records`
/// in all, and none that makes it more than `max_bytes` of payloads and keys in all, but the first. Records below the
/// end of piece's range were asked for by nobody and are left out; each other moves that end behind itself. kCorrupt
/// names the partition of `piece`, the batch and what is wrong with it.
Status ReadRecords(RecordBatch* batch, std::size_t max_records, std::size_t max_bytes, model::FetchedRecords* piece);

/// Of a record that ReadRecords() has read: its RawRecord::headers_source. None if they are not what they should be.
model::RecordHeaders ReadBatchHeaders(const void* record);

}  // namespace millrace::eventlog
