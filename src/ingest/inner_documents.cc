#include "ingest/inner_documents.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace millrace::ingest {

void InnerDocuments::Clear() {
  documents_.clear();
  indexes_.clear();
  refused_.clear();
}

void InnerDocuments::Add(std::size_t index, const Document& document) {
  documents_.push_back(document);
  indexes_.push_back(index);
}

Result<DecodedDocuments> InnerDocuments::Decode(Decoder& inner) {
  ASSIGN_OR_RETURN(auto decoded, inner.Decode(documents_));
  for (Refusal& refusal : decoded.refused) refusal.document = indexes_[refusal.document];
  const auto middle = std::ssize(decoded.refused);
  std::move(refused_.begin(), refused_.end(), std::back_inserter(decoded.refused));
  std::inplace_merge(decoded.refused.begin(), decoded.refused.begin() + middle, decoded.refused.end(),
                     [](const Refusal& one, const Refusal& other) { return one.document < other.document; });
  return decoded;
}

}  // namespace millrace::ingest
