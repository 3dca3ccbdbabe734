#include "ingest/framed_decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "ingest/payload_form.h"

namespace millrace::ingest {
namespace {

constexpr std::size_t kFrameBytes = 5;

Refusal RefusalOf(std::size_t index, std::string_view payload) {
  std::string detail = fmt::format(
      "confluent framing begins with 00 and has {} bytes; the payload of {} bytes begins with {}", kFrameBytes,
      payload.size(), payload.empty() ? "nothing" : fmt::format("{:02X}", static_cast<unsigned char>(payload[0])));
  if (const std::string form = FormOfPayload(payload); !form.empty()) detail += " and looks like " + form;
  return {index, "bad_framing", std::move(detail)};
}

class FramedDecoder final : public Decoder {
 public:
  explicit FramedDecoder(std::unique_ptr<Decoder> inner) : inner_(std::move(inner)) {}

  Result<DecodedDocuments> Decode(std::span<const Document> documents) override {
    std::vector<Refusal> refused;
    framed_.clear();
    indexes_.clear();
    for (std::size_t i = 0; i < documents.size(); ++i) {
      Document document = documents[i];
      if (!ConfluentId(document.bytes)) {
        refused.push_back(RefusalOf(i, document.bytes));
        continue;
      }
      document.bytes.remove_prefix(kFrameBytes);
      framed_.push_back(document);
      indexes_.push_back(i);
    }
    ASSIGN_OR_RETURN(auto decoded, inner_->Decode(framed_));
    for (Refusal& refusal : decoded.refused) refusal.document = indexes_[refusal.document];
    const auto middle = std::ssize(decoded.refused);
    std::move(refused.begin(), refused.end(), std::back_inserter(decoded.refused));
    std::inplace_merge(decoded.refused.begin(), decoded.refused.begin() + middle, decoded.refused.end(),
                       [](const Refusal& one, const Refusal& other) { return one.document < other.document; });
    return decoded;
  }

 private:
  const std::unique_ptr<Decoder> inner_;
  // Of the batch.
  std::vector<Document> framed_;
  std::vector<std::size_t> indexes_;  // Of framed_, in the documents.
};

}  // namespace

std::optional<std::uint32_t> ConfluentId(std::string_view payload) {
  if (payload.size() < kFrameBytes || payload[0] != '\0') return std::nullopt;
  std::uint32_t id = 0;
  for (std::size_t i = 1; i < kFrameBytes; ++i) id = id << 8 | static_cast<unsigned char>(payload[i]);
  return id;
}

std::unique_ptr<Decoder> MakeFramedDecoder(std::unique_ptr<Decoder> inner) {
  return std::make_unique<FramedDecoder>(std::move(inner));
}

}  // namespace millrace::ingest
