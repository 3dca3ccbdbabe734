#include "ingest/formats.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/nearest_name.h"
#include "ingest/avro/avro_decoder.h"
#include "ingest/avro/container.h"
#include "ingest/avro/json_documents.h"
#include "ingest/csv/csv_decoder.h"
#include "ingest/csv/csv_lines.h"
#include "ingest/framed_decoder.h"
#include "ingest/json/array_splitter.h"
#include "ingest/json/computed_fields.h"
#include "ingest/json/json_decoder.h"
#include "ingest/json/json_schema.h"
#include "ingest/protobuf/protobuf_decoder.h"
#include "ingest/provenance.h"
#include "ingest/raw/raw_decoder.h"
#include "ingest/record_columns.h"
#include "ingest/values/column_internal.h"
#include "model/event_batch.h"

namespace millrace::ingest {
namespace {

Result<std::unique_ptr<Decoder>> MakeJson(const DecodeSpec& spec) {
  ASSIGN_OR_RETURN(auto decoder, MakeJsonDecoder(spec));
  if (!spec.computed.empty()) {
    ASSIGN_OR_RETURN(decoder, MakeComputingDecoder(spec, std::move(decoder)));
  }
  return spec.framing == Framing::kConfluent ? MakeFramedDecoder(std::move(decoder)) : std::move(decoder);
}

Result<std::unique_ptr<Decoder>> MakeAvro(const DecodeSpec& spec) {
  return spec.through_json ? MakeAvroThroughJsonDecoder(spec) : MakeAvroDecoder(spec);
}

std::unique_ptr<Splitter> MakeOfJson(const DecodeSpec& spec) {
  return spec.records == Records::kArray ? MakeJsonArraySplitter(spec) : MakeLineSplitter(spec);
}

constexpr std::array kOne = {Records::kOne};
constexpr std::array kOneOrLines = {Records::kOne, Records::kLines};
constexpr std::array kJsonRecords = {Records::kOne, Records::kArray, Records::kLines};
constexpr std::array kAvroRecords = {Records::kOne, Records::kContainer};
constexpr std::array kUnframed = {Framing::kNone};
constexpr std::array kJsonFramings = {Framing::kNone, Framing::kConfluent};
constexpr std::array kAvroFramings = {Framing::kNone, Framing::kConfluent, Framing::kSingleObject};
constexpr std::array kProtobufFramings = {Framing::kNone, Framing::kConfluent};

constexpr std::array kFormats = {
    Format{.name = "json",
           .schema = SchemaUse::kColumns,
           .framings = kJsonFramings,
           .records = kJsonRecords,
           .make_decoder = MakeJson,
           .columns_of_schema = ColumnsOfJsonSchema,
           .make_splitter = MakeOfJson},
    Format{.name = "avro",
           .schema = SchemaUse::kFile,
           .framings = kAvroFramings,
           .records = kAvroRecords,
           .make_decoder = MakeAvro,
           .columns_of_schema = ColumnsOfAvroSchema,
           .make_splitter = MakeAvroContainerSplitter},
    Format{.name = "protobuf",
           .schema = SchemaUse::kMessage,
           .framings = kProtobufFramings,
           .records = kOne,
           .make_decoder = MakeProtobufDecoder,
           .columns_of_schema = ColumnsOfProtobufSchema},
    Format{.name = "csv",
           .framings = kUnframed,
           .records = kOneOrLines,
           .make_decoder = MakeCsvDecoder,
           .make_splitter = MakeCsvLineSplitter},
    Format{.name = "raw",
           .framings = kUnframed,
           .records = kOneOrLines,
           .make_decoder = MakeRawDecoder,
           .make_splitter = MakeLineSplitter},
};

constexpr std::size_t kMaxColumns = 10'000;

Status CheckNames(const DecodeSpec& spec) {
  if (spec.columns.size() > kMaxColumns) return InvalidInput("{} columns", spec.columns.size());
  std::set<std::string_view> names(kProvenanceColumns.begin(), kProvenanceColumns.end());
  if (spec.has_index_column()) names.insert(model::kIndexColumn);
  if (spec.has_rescued_column()) names.insert(kRescuedColumn);
  for (const ColumnSpec& column : spec.columns) {
    if (column.name.empty()) return InvalidInput("a column has no name");
    if (!names.insert(column.name).second) return InvalidInput("column '{}': the name is taken", column.name);
  }
  return Status::OK();
}

Status CheckTypes(const Format& format, const DecodeSpec& spec) {
  for (const ColumnSpec& column : spec.columns) {
    if (KindOfColumn(*column.type, column.form).ok()) continue;
    return InvalidInput("column '{}': {} has no values of the type {}", column.name, format.name,
                        column.type->ToString());
  }
  return Status::OK();
}

Status CheckSchema(const Format& format, const DecodeSpec& spec) {
  if (format.schema == SchemaUse::kNone) {
    return spec.schema ? InvalidInput("{} has no schema", format.name) : Status::OK();
  }
  if (!spec.schema && format.schema == SchemaUse::kColumns) return Status::OK();
  // With the schemas of writers alone, records become JSON by those.
  const bool is_self_described = spec.writer_schemas != nullptr || spec.records == Records::kContainer;
  if (!spec.schema && spec.through_json && is_self_described) return Status::OK();
  if (spec.schema && spec.schema->is_registered && spec.schema->bytes == nullptr) {
    return InvalidInput("the schema is that of the {} in the registry, which is not asked here", spec.schema->file);
  }
  if (!spec.schema || spec.schema->bytes == nullptr) return InvalidInput("{} needs a schema", format.name);
  // A registry's schema has one message that is its own: the first.
  const bool has_message = !spec.schema->message.empty();
  if (format.schema != SchemaUse::kMessage && has_message) return InvalidInput("{} has no messages", format.name);
  if (format.schema == SchemaUse::kMessage && !has_message && !spec.schema->is_registered) {
    return InvalidInput("{} needs the name of a message", format.name);
  }
  return Status::OK();
}

Status CheckRecords(const Format& format, const DecodeSpec& spec) {
  if (std::find(format.records.begin(), format.records.end(), spec.records) == format.records.end()) {
    std::vector<std::string_view> names;
    for (const Records records : format.records) names.push_back(RecordsName(records));
    return InvalidInput("{} has no records '{}', but {}", format.name, RecordsName(spec.records),
                        fmt::join(names, ", "));
  }
  if (spec.records == Records::kContainer && spec.framing != Framing::kNone) {
    return InvalidInput("a container file says its schema itself: nothing stands before it, no framing '{}'",
                        FramingName(spec.framing));
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
  RETURN_NOT_OK(CheckTypes(*format, PayloadSpec(spec)));
  RETURN_NOT_OK(CheckSchema(*format, spec));
  if (std::find(format->framings.begin(), format->framings.end(), spec.framing) == format->framings.end()) {
    return InvalidInput("{} has no framing '{}'", format->name, FramingName(spec.framing));
  }
  RETURN_NOT_OK(CheckRecords(*format, spec));
  return format->make_decoder(PayloadSpec(spec));
}

Result<std::unique_ptr<Splitter>> MakeSplitter(const DecodeSpec& spec) {
  if (spec.records == Records::kOne) return nullptr;
  const Format* const format = FindFormat(spec.format);
  if (format == nullptr) return InvalidInput("there is no format '{}'", spec.format);
  RETURN_NOT_OK(CheckRecords(*format, spec));
  return format->make_splitter(spec);
}

}  // namespace millrace::ingest
