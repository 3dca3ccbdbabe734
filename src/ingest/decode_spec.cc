#include "ingest/decode_spec.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>

#include "ingest/field_watch.h"
#include "ingest/provenance.h"

namespace millrace::ingest {

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
  return arrow::schema(std::move(fields));
}

}  // namespace millrace::ingest
