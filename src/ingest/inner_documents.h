/// For decoders around another one: the documents that it gets, and the refusals of both.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "base/status.h"
#include "ingest/decoder.h"

namespace millrace::ingest {

/// Of one batch at a time. Not thread-safe.
class InnerDocuments {
 public:
  void Clear();
  /// `index`: its place in the batch. What `document` views must live until Decode().
  void Add(std::size_t index, const Document& document);
  /// refusal.document: its place in the batch.
  void Refuse(Refusal refusal) { refused_.push_back(std::move(refusal)); }

  /// The rows of what was added, and all refusals in the order of the batch. Errors as inner.Decode().
  Result<DecodedDocuments> Decode(Decoder& inner);

 private:
  std::vector<Document> documents_;
  std::vector<std::size_t> indexes_;  // Of documents_, in the batch.
  std::vector<Refusal> refused_;
};

}  // namespace millrace::ingest
