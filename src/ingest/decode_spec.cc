#include "ingest/decode_spec.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <string>
#include <thread>
#include <utility>

#include "ingest/field_watch.h"
#include "ingest/provenance.h"
#include "ingest/writer_schemas.h"

namespace millrace::ingest {
namespace {

constexpr std::array<std::pair<std::string_view, RecordPart>, 5> kRecordParts = {{
    {"key", RecordPart::kKey},
    {"topic", RecordPart::kTopic},
    {"partition", RecordPart::kPartition},
    {"offset", RecordPart::kOffset},
    {"timestamp", RecordPart::kTimestamp},
}};

}  // namespace

std::string_view FramingName(Framing framing) {
  switch (framing) {
    case Framing::kNone:
      return "none";
    case Framing::kConfluent:
      return "confluent";
    case Framing::kSingleObject:
      return "single_object";
  }
  return "";
}

std::string_view RecordsName(Records records) {
  switch (records) {
    case Records::kOne:
      return "one";
    case Records::kArray:
      return "array";
    case Records::kLines:
      return "lines";
    case Records::kContainer:
      return "container";
  }
  return "";
}

std::string_view LanguageName(SchemaLanguage language) {
  switch (language) {
    case SchemaLanguage::kAvro:
      return "Avro";
    case SchemaLanguage::kProtobuf:
      return "Protobuf";
    case SchemaLanguage::kJson:
      return "JSON Schema";
  }
  return "";
}

bool AwaitOtherAnswers(const WriterSchemas& schemas, std::uint64_t answers, std::chrono::milliseconds patience) {
  constexpr std::chrono::milliseconds kBetweenLooks{10};
  const auto until = std::chrono::steady_clock::now() + patience;
  while (schemas.answers() == answers) {
    if (std::chrono::steady_clock::now() >= until) return false;
    std::this_thread::sleep_for(kBetweenLooks);
  }
  return true;
}

std::optional<RecordPlace> ParseRecordPlace(std::string_view text) {
  constexpr std::string_view kHeader = "header.";
  for (const auto& [name, part] : kRecordParts) {
    if (text == name) return RecordPlace{.part = part};
  }
  if (!text.starts_with(kHeader) || text == kHeader) return std::nullopt;
  return RecordPlace{.part = RecordPart::kHeader, .header = std::string(text.substr(kHeader.size()))};
}

std::string FromText(const RecordPlace& place) {
  for (const auto& [name, part] : kRecordParts) {
    if (place.part == part) return std::string(name);
  }
  return "header." + place.header;
}

DecodeSpec PayloadSpec(const DecodeSpec& spec) {
  DecodeSpec payload = spec;
  std::erase_if(payload.columns, [](const ColumnSpec& column) { return column.from.has_value(); });
  return payload;
}

std::shared_ptr<FieldWatch> MakeFieldWatch(const std::vector<ColumnSpec>& columns) {
  std::vector<std::pair<std::string, std::string>> fields;
  for (const ColumnSpec& column : columns) {
    fields.emplace_back(column.name,
                        column.path.empty() ? column.name : fmt::format("{}", fmt::join(column.path, ".")));
  }
  return std::make_shared<FieldWatch>(std::move(fields));
}

std::shared_ptr<arrow::Schema> DecodedSchema(const DecodeSpec& spec) {
  arrow::FieldVector fields;
  fields.reserve(spec.columns.size() + 1);
  for (const ColumnSpec& column : spec.columns) fields.push_back(arrow::field(column.name, column.type));
  if (spec.has_rescued_column()) fields.push_back(arrow::field(std::string(kRescuedColumn), arrow::utf8()));
  return arrow::schema(std::move(fields));
}

std::shared_ptr<arrow::Schema> EventSchema(const DecodeSpec& spec) {
  arrow::FieldVector fields = DecodedSchema(spec)->fields();
  fields.insert(fields.end(), ProvenanceFields().begin(), ProvenanceFields().end());
  if (spec.has_index_column()) fields.push_back(IndexField());
  return arrow::schema(std::move(fields));
}

}  // namespace millrace::ingest
