/// Dead letters as rows of their table, which may have columns beside ours: those of kafka-delta-ingest, and what
/// `ingest --dlq_transform` computes.
///
/// Ours come first (model::DeadLetterSchema()). The others are members of the letter as a document, after the
/// expressions have changed it:
///
/// | member                               |                                                                        |
/// |--------------------------------------|------------------------------------------------------------------------|
/// | `base64_bytes`                       | the payload, unless that is JSON                                       |
/// | `json_string`                        | the payload, if it is JSON                                             |
/// | `error`                              | reason and detail                                                      |
/// | `timestamp`                          | the record's, in microseconds since 1970                               |
/// | `topic`, `partition`, `offset`, `stage`, `reason`, `detail` | as in our columns                               |
///
/// A payload of more than kLetterTextMax bytes is in neither of the first two: our column `payload` has it. An
/// expression that fails leaves its letter's computed columns null, and so does a member that its column cannot hold: a
/// letter is never lost for what is said of it.
#pragma once

#include <arrow/record_batch.h>

#include <cstddef>
#include <memory>
#include <span>

#include "base/status.h"
#include "config/config.h"
#include "ingest/decoder.h"
#include "model/event_batch.h"

namespace millrace::pipeline {

inline constexpr std::size_t kLetterTextMax = std::size_t{4} << 20;

/// Not thread-safe.
class LetterRows {
 public:
  /// kInvalidInput: an expression, or its path.
  static Result<LetterRows> Make(const config::LetterColumns& columns);

  /// In the order of the letters. Fails only when memory runs out.
  Result<std::shared_ptr<arrow::RecordBatch>> Of(std::span<const model::DeadLetter> letters);

 private:
  LetterRows() = default;
  Result<std::shared_ptr<arrow::RecordBatch>> OneByOne(std::span<const ingest::Document> documents);

  std::unique_ptr<ingest::Decoder> computed_;  // Null: there is no column beside ours.
  std::unique_ptr<ingest::Decoder> plain_;     // Without the expressions.
};

}  // namespace millrace::pipeline
