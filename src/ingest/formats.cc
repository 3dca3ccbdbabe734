#include "ingest/formats.h"

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/nearest_name.h"
#include "ingest/avro/avro_decoder.h"
#include "ingest/avro/json_documents.h"
#include "ingest/csv/csv_decoder.h"
#include "ingest/json/computed_fields.h"
#include "ingest/json/json_decoder.h"
#include "ingest/protobuf/protobuf_decoder.h"
#include "ingest/provenance.h"
#include "ingest/raw/raw_decoder.h"
#include "ingest/record_columns.h"

namespace millrace::ingest {
namespace {

Result<std::unique_ptr<Decoder>> MakeJson(const DecodeSpec& spec) {
  ASSIGN_OR_RETURN(auto decoder, MakeJsonDecoder(spec));
  if (spec.computed.empty()) return decoder;
  return MakeComputingDecoder(spec, std::move(decoder));
}

Result<std::unique_ptr<Decoder>> MakeAvro(const DecodeSpec& spec) {
  return spec.through_json ? MakeAvroThroughJsonDecoder(spec) : MakeAvroDecoder(spec);
}

constexpr std::array kUnframed = {Framing::kNone};
constexpr std::array kAvroFramings = {Framing::kNone, Framing::kConfluent, Framing::kSingleObject};
constexpr std::array kProtobufFramings = {Framing::kNone, Framing::kConfluent};

constexpr std::array kFormats = {
    Format{.name = "json", .framings = kUnframed, .make_decoder = MakeJson},
    Format{.name = "avro",
           .schema = SchemaUse::kFile,
           .framings = kAvroFramings,
           .make_decoder = MakeAvro,
           .columns_of_schema = ColumnsOfAvroSchema},
    Format{.name = "protobuf",
           .schema = SchemaUse::kMessage,
           .framings = kProtobufFramings,
           .make_decoder = MakeProtobufDecoder,
           .columns_of_schema = ColumnsOfProtobufSchema},
    Format{.name = "csv", .framings = kUnframed, .make_decoder = MakeCsvDecoder},
    Format{.name = "raw", .framings = kUnframed, .make_decoder = MakeRawDecoder},
};

constexpr std::size_t kMaxColumns = 10'000;

Status CheckNames(const DecodeSpec& spec) {
  if (spec.columns.size() > kMaxColumns) return InvalidInput("{} columns", spec.columns.size());
  std::set<std::string_view> names(kProvenanceColumns.begin(), kProvenanceColumns.end());
  if (spec.has_rescued_column()) names.insert(kRescuedColumn);
  for (const ColumnSpec& column : spec.columns) {
    if (column.name.empty()) return InvalidInput("a column has no name");
    if (!names.insert(column.name).second) return InvalidInput("column '{}': the name is taken", column.name);
  }
  return Status::OK();
}

Status CheckSchema(const Format& format, const DecodeSpec& spec) {
  if (format.schema == SchemaUse::kNone) {
    return spec.schema ? InvalidInput("{} has no schema", format.name) : Status::OK();
  }
  // With the schemas of writers alone, records become JSON by those.
  if (!spec.schema && spec.through_json && spec.writer_schemas != nullptr) return Status::OK();
  if (!spec.schema || spec.schema->bytes == nullptr) return InvalidInput("{} needs a schema", format.name);
  const bool has_message = !spec.schema->message.empty();
  if (format.schema == SchemaUse::kFile && has_message) return InvalidInput("{} has no messages", format.name);
  if (format.schema == SchemaUse::kMessage && !has_message) {
    return InvalidInput("{} needs the name of a message", format.name);
  }
  return Status::OK();
}

}  // namespace

std::span<const Format> Formats() { return kFormats; }

const Format* FindFormat(std::string_view name) {
  const auto format =
      std::find_if(kFormats.begin(), kFormats.end(), [&](const Format& one) { return one.name == name; });
  return format == kFormats.end() ? nullptr : format;
}

Result<std::unique_ptr<Decoder>> MakeDecoder(const DecodeSpec& spec) {
  RETURN_NOT_OK(CheckNames(spec));
  RETURN_NOT_OK(RecordColumns::Make(spec).status());
  const Format* const format = FindFormat(spec.format);
  if (format == nullptr) {
    std::vector<std::string> names;
    for (const Format& one : kFormats) names.emplace_back(one.name);
    return InvalidInput("there is no format '{}'{}", spec.format, DidYouMean(spec.format, names));
  }
  RETURN_NOT_OK(CheckSchema(*format, spec));
  if (std::find(format->framings.begin(), format->framings.end(), spec.framing) == format->framings.end()) {
    return InvalidInput("{} has no framing '{}'", format->name, FramingName(spec.framing));
  }
  return format->make_decoder(PayloadSpec(spec));
}

}  // namespace millrace::ingest
