#include "ingest/raw/raw_decoder.h"

#include <fmt/format.h>

#include <utility>

#include "ingest/payload_form.h"
#include "ingest/values/column_internal.h"
#include "ingest/values/text_value_internal.h"
#include "ingest/values/utf8_text_internal.h"

namespace millrace::ingest {
namespace {

class RawDecoder : public Decoder {
 public:
  explicit RawDecoder(const DecodeSpec& spec) : schema_(DecodedSchema(spec)) {
    columns_.emplace_back(spec.columns[0].type, spec.columns[0].form);
  }

  Result<DecodedDocuments> Decode(std::span<const Document> documents) override {
    RETURN_NOT_OK(BeginColumns(columns_, documents));
    DecodedDocuments result;
    std::int64_t row = 0;
    for (std::size_t i = 0; i < documents.size(); ++i) {
      const std::string_view payload = documents[i].bytes;
      if (columns_.front().kind() != ValueKind::kBinary && !IsUtf8(payload)) {
        const std::string form = FormOfPayload(payload);
        result.refused.push_back(
            {i, "bad_utf8", form.empty() ? "not UTF-8" : fmt::format("not UTF-8; it looks like {}", form)});
        continue;
      }
      RETURN_NOT_OK(SetBytes(payload, row++, columns_.front()));
    }
    ASSIGN_OR_RETURN(result.rows, FinishColumns(columns_, row, schema_));
    return result;
  }

 private:
  const std::shared_ptr<arrow::Schema> schema_;
  std::vector<Column> columns_;  // The one.
};

}  // namespace

Result<std::unique_ptr<Decoder>> MakeRawDecoder(const DecodeSpec& spec) {
  const auto takes = [](const ColumnSpec& column) {
    const bool is_plain = column.form.text == TextForm::kPlain;
    return column.type->id() == arrow::Type::BINARY || (column.type->id() == arrow::Type::STRING && is_plain);
  };
  if (spec.columns.size() != 1 || !takes(spec.columns[0])) {
    return InvalidInput("raw is one column of type string or binary, which takes the whole payload");
  }
  const auto& path = spec.columns[0].path;
  if (!path.empty() && path != std::vector<std::string>{spec.columns[0].name}) {
    return InvalidInput("column '{}': raw has no fields that a path could name", spec.columns[0].name);
  }
  if (spec.unknown_fields != UnknownFields::kIgnore) {
    return InvalidInput("raw has no fields, and so no unknown_fields");
  }
  return std::make_unique<RawDecoder>(spec);
}

}  // namespace millrace::ingest
