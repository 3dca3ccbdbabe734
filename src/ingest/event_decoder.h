/// Records of one partition in; events, with where each came from, and dead letters out. What every format has in
/// common, around the Decoder of one.
///
/// Reasons of dead letters (stage "decode") beside those of the format:
/// | reason    | the record                              |
/// |-----------|-----------------------------------------|
/// | too_large | has more than kMaxPayloadBytes          |
#pragma once

#include <arrow/record_batch.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "ingest/decoder.h"
#include "ingest/provenance.h"
#include "ingest/record_columns.h"
#include "model/event_batch.h"

namespace millrace::ingest {

/// Longer payloads are dead letters, so that one record cannot take the memory of all.
inline constexpr std::size_t kMaxPayloadBytes = std::size_t{16} << 20;

/// records.size() == rows->num_rows() + dead_letters.size() + tombstones
struct Decoded {
  std::shared_ptr<arrow::RecordBatch> rows;     ///< EventSchema(); in offset order.
  std::vector<model::DeadLetter> dead_letters;  ///< In offset order.
  std::int64_t tombstones = 0;                  ///< Records without a payload.
};

/// Not thread-safe: one per shard and input.
class EventDecoder {
 public:
  /// kInvalidInput: see MakeDecoder() and RecordColumns::Make().
  static Result<std::unique_ptr<EventDecoder>> Make(const DecodeSpec& spec);
  /// `decoder` gives the columns of PayloadSpec(spec), `record_columns` the others.
  EventDecoder(const DecodeSpec& spec, std::unique_ptr<Decoder> decoder, RecordColumns record_columns);

  /// Fails only when memory runs out, with kInvalidInput if the payloads together exceed 2 GiB, which is what one Arrow
  /// string column holds, or with kTransient as Decoder::Decode() does.
  Result<Decoded> Decode(const model::FetchedRecords& records);

 private:
  void TakeOut(std::vector<Refusal> refused, const model::TopicPartition& source,
               std::vector<model::DeadLetter>* letters);
  Result<arrow::ArrayDataVector> WithRecordColumns(const model::TopicPartition& source, std::size_t num_filled,
                                                   const arrow::RecordBatch& decoded);

  const std::shared_ptr<arrow::Schema> schema_;
  const std::unique_ptr<Decoder> decoder_;
  RecordColumns record_columns_;
  std::vector<bool> of_record_;  // Which of the declared columns are record_columns_'.
  Provenance provenance_;
  std::vector<Document> documents_;  // Of the batch.
};

}  // namespace millrace::ingest
