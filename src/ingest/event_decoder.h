/// Records of one partition in; events, with where each came from, and dead letters out. What every format has in
/// common, around the Decoder of one: unpacking, taking records apart that hold several documents, provenance, letters.
///
/// Reasons of dead letters (stage "decode") beside those of the format and of records/splitter.h, records/unpacker.h:
/// | reason    | the record                                                                           |
/// |-----------|--------------------------------------------------------------------------------------|
/// | too_large | has more than kMaxPayloadBytes, packed or unpacked; or holds so many documents, with |
/// |           | so large a key and headers, that one letter each would have more than kMaxKeyBytes   |
/// |           | of these                                                                             |
#pragma once

#include <arrow/record_batch.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "ingest/decoder.h"
#include "ingest/provenance.h"
#include "ingest/record_columns.h"
#include "ingest/records/splitter.h"
#include "ingest/records/unpacker.h"
#include "model/event_batch.h"

namespace millrace::ingest {

/// Longer payloads are dead letters, so that one record cannot take the memory of all.
inline constexpr std::size_t kMaxPayloadBytes = std::size_t{16} << 20;
/// What the key and the headers of one record may have in all of its rows or letters.
inline constexpr std::size_t kMaxKeyBytes = std::size_t{64} << 20;

/// num_records + further == rows->num_rows() + dead_letters.size() + tombstones
struct Decoded {
  std::shared_ptr<arrow::RecordBatch> rows;     ///< EventSchema(); in the order of offsets, then of documents.
  std::vector<model::DeadLetter> dead_letters;  ///< In the same order.
  std::int64_t tombstones = 0;                  ///< Records without a payload, or without a document in it.
  std::int64_t further = 0;                     ///< Documents of records beyond the first of each.
  std::size_t num_records = 0;                  ///< That were taken.
};

/// Not thread-safe: one per shard and input.
class EventDecoder {
 public:
  /// kInvalidInput: see MakeDecoder() and RecordColumns::Make().
  static Result<std::unique_ptr<EventDecoder>> Make(const DecodeSpec& spec);
  /// `decoder` gives the columns of PayloadSpec(spec), `record_columns` the others; `splitter`: null if each record is
  /// one document.
  EventDecoder(const DecodeSpec& spec, std::unique_ptr<Decoder> decoder, std::unique_ptr<Splitter> splitter,
               RecordColumns record_columns);

  /// Takes the records from number `first` on: all of them, unless they are taken apart or unpacked and become more
  /// than one batch may be (8 MiB or 65,536 documents); then some, at least one, and all that have the same offset.
  ///
  /// Fails only when memory runs out, with kInvalidInput if the payloads together exceed 2 GiB, which is what one Arrow
  /// string column holds, or with kTransient as Decoder::Decode() does.
  Result<Decoded> Decode(const model::FetchedRecords& records, std::size_t first = 0);

  /// The letter of a row of the last batch, whose records are still there. Of a document with its own bytes.
  model::DeadLetter LetterOf(const model::TopicPartition& source, model::DocumentPlace place, std::string stage,
                             std::string reason, std::string detail) const;

 private:
  model::DeadLetter LetterOf(const model::TopicPartition& source, const Document& document, std::string stage,
                             std::string reason, std::string detail) const;
  Status TakeDocuments(const model::FetchedRecords& records, std::size_t first, Decoded* result);
  Status TakeRecords(const model::FetchedRecords& records, std::size_t first, Decoded* result);
  std::optional<RecordProblem> TakeApart(const model::RawRecord& record);
  void TakeOut(std::vector<Refusal> refused, const model::TopicPartition& source,
               std::vector<model::DeadLetter>* letters);
  Result<arrow::ArrayDataVector> WithRecordColumns(const model::TopicPartition& source, std::size_t num_filled,
                                                   const arrow::RecordBatch& decoded);

  const std::shared_ptr<arrow::Schema> schema_;
  const std::unique_ptr<Decoder> decoder_;
  const std::unique_ptr<Splitter> splitter_;  // Null: a record is a document.
  std::unique_ptr<Unpacker> unpacker_;        // Null: payloads are as they are.
  RecordColumns record_columns_;
  std::vector<bool> of_record_;  // Which of the declared columns are record_columns_'.
  Provenance provenance_;
  std::vector<Document> documents_;  // Of the batch.
};

}  // namespace millrace::ingest
