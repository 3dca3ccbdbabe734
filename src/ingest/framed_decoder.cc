#include "ingest/framed_decoder.h"

#include <fmt/format.h>

#include <cstddef>
#include <string>
#include <utility>

#include "ingest/inner_documents.h"
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
    framed_.Clear();
    for (std::size_t i = 0; i < documents.size(); ++i) {
      Document document = documents[i];
      if (!ConfluentId(document.bytes)) {
        framed_.Refuse(RefusalOf(i, document.bytes));
        continue;
      }
      document.bytes.remove_prefix(kFrameBytes);
      framed_.Add(i, document);
    }
    return framed_.Decode(*inner_);
  }

 private:
  const std::unique_ptr<Decoder> inner_;
  InnerDocuments framed_;
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
