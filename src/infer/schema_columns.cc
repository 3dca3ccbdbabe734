#include "infer/schema_columns.h"

#include <arrow/array.h>
#include <arrow/scalar.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "infer/column_guess.h"
#include "infer/field_profile.h"
#include "infer/rehearsal.h"
#include "ingest/formats.h"

namespace millrace::infer {
namespace {

// A value's text, by which values are told apart and times are known among numbers.
std::string TextOf(const arrow::Array& array, std::int64_t row) {
  if (array.type_id() == arrow::Type::STRING) return static_cast<const arrow::StringArray&>(array).GetString(row);
  const auto scalar = array.GetScalar(row);
  return scalar.ok() ? (*scalar)->ToString() : "";
}

FieldProfile ProfileOf(const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches, const std::string& column) {
  FieldProfile field;
  field.name = column;
  for (const auto& batch : batches) {
    const auto array = batch->GetColumnByName(column);
    for (std::int64_t row = 0; row < array->length(); ++row) {
      if (!array->IsNull(row)) ObserveText(TextOf(*array, row), field);
    }
  }
  return field;
}

DraftColumn ColumnOf(const ingest::ColumnSpec& spec, const FieldProfile& field, std::int64_t rows,
                     const std::optional<TimeFrame>& frame, ColumnNames& names) {
  DraftColumn column{.name = names.Take(spec.name), .type = TypeText(*spec.type, spec.form), .path = spec.path};
  column.hints = HintsOf(spec.name);
  column.facts = {.present = field.texts, .distinct = field.distinct.size(), .repeats = field.repeats};
  if (column.type == "int64" && field.texts > 0) {
    // The schema says what it is but for times that are bare numbers.
    auto guess = GuessTextType(field, "", frame);
    if (guess.type.starts_with("timestamp_")) {
      column.type = std::move(guess.type);
      column.notes = std::move(guess.notes);
    }
  }
  const bool is_text = column.type == "string" || column.type == "json";
  if (rows > 0 && field.texts == 0) column.notes.push_back(fmt::format("null in all {} records", rows));
  if (std::any_of(spec.path.begin(), spec.path.end(), [](const auto& key) { return key.empty(); })) {
    column.left_out = true;
    column.notes.emplace_back("a key without letters has no path");
  }
  if (is_text && (column.hints.secret || field.secrets > 0)) {
    column.left_out = true;
    column.hints.secret = true;
    column.notes = {"looks like a secret, so it is left out"};
  }
  return column;
}

// A schema of Protobuf has several, and a registry's says by none of them which one the events are.
std::string OtherMessageHint(const DraftOptions& options) {
  if (options.schema_format != "protobuf") return "";
  const auto& message = options.schema->message;
  return fmt::format("; they were read as {}, and --message names another one",
                     message.empty() ? "its first message" : "its message " + message);
}

}  // namespace

std::string TypeText(const arrow::DataType& type, const ingest::ValueForm& form) {
  switch (type.id()) {
    case arrow::Type::BOOL:
      return "bool";
    case arrow::Type::INT32:
      return "int32";
    case arrow::Type::INT64:
      return "int64";
    case arrow::Type::DOUBLE:
      return "double";
    case arrow::Type::DATE32:
      return "date";
    case arrow::Type::DECIMAL128: {
      const auto& decimal = static_cast<const arrow::Decimal128Type&>(type);
      return fmt::format("decimal({},{})", decimal.precision(), decimal.scale());
    }
    case arrow::Type::LIST:
      return "list<" + TypeText(*static_cast<const arrow::ListType&>(type).value_type(), form) + ">";
    case arrow::Type::MAP:
      return "map<string, " + TypeText(*static_cast<const arrow::MapType&>(type).item_type(), form) + ">";
    case arrow::Type::STRUCT: {
      std::string members;
      for (int i = 0; i < type.num_fields(); ++i) {
        const auto& member = *type.field(i);
        const auto m = static_cast<std::size_t>(i);
        members += members.empty() ? "" : ", ";
        members += member.name() + ": ";
        members += TypeText(*member.type(), m < form.members.size() ? form.members[m] : ingest::ValueForm());
      }
      return "struct<" + members + ">";
    }
    case arrow::Type::BINARY:
      return "binary";
    case arrow::Type::STRING:
      if (form.text == ingest::TextForm::kUuid) return "uuid";
      return form.text == ingest::TextForm::kJson ? "json" : "string";
    case arrow::Type::TIMESTAMP:
      switch (form.timestamp) {
        case ingest::TimestampForm::kRfc3339:
        case ingest::TimestampForm::kRfc3339OrMicros:
          return "timestamp";
        case ingest::TimestampForm::kSeconds:
          return "timestamp_s";
        case ingest::TimestampForm::kMillis:
          return "timestamp_ms";
        case ingest::TimestampForm::kMicros:
          return "timestamp_us";
        case ingest::TimestampForm::kNanos:
          return "timestamp_ns";
        case ingest::TimestampForm::kFormat:
          break;
      }
      return "timestamp";
    default:
      return "string";
  }
}

Status DraftOfSchema(const Sample& sample, const DraftOptions& options, Draft& draft) {
  const auto& schema = *options.schema;
  const auto* const known = ingest::FindFormat(options.schema_format);
  if (known == nullptr || known->columns_of_schema == nullptr) {
    return InvalidInput("{} has no schema", options.schema_format);
  }
  const bool is_for_columns = known->schema == ingest::SchemaUse::kColumns;
  draft.format = options.schema_format;
  ingest::DecodeSpec spec;
  spec.format = draft.format;
  spec.schema = schema;
  spec.records = draft.parts;
  auto columns = known->columns_of_schema(spec);
  if (!columns.ok()) return WithContext(columns.status(), "{}", schema.file);
  spec.columns = *columns;
  if (is_for_columns) {
    draft.format_notes.push_back("columns as in the " + schema.file);
  } else {
    draft.schema = schema;
  }

  Decoded best;
  if (sample.records.empty()) {
    const bool is_registered = options.source.registry.has_value();
    if (is_registered) draft.framing = ingest::Framing::kConfluent;
    draft.framing_note = is_registered ? "as serializers for a registry write it" : "no record says it";
  } else {
    for (const auto framing : known->framings) {
      if (draft.parts == ingest::Records::kContainer && framing != ingest::Framing::kNone) continue;
      spec.framing = framing;
      const bool by_id = framing == ingest::Framing::kConfluent && !is_for_columns;
      spec.writer_schemas = by_id ? options.writer_schemas : nullptr;
      ASSIGN_OR_RETURN(auto decoded, Decode(sample, spec));
      if (!best.rows.empty() && decoded.num_rows() <= best.num_rows()) continue;
      best = std::move(decoded);
      draft.framing = framing;
    }
    if (best.num_rows() == 0) {
      return InvalidInput("none of the {} payloads is of the schema {}, with any framing: {}{}", sample.records.size(),
                          schema.file, ReasonsText(best.dead_letters), OtherMessageHint(options));
    }
    draft.framing_note = "with which most of the payloads are of the schema";
  }
  draft.documents = best.num_rows();
  const auto frame = TimeFrameOf(sample);
  ColumnNames names;
  for (const auto& column : spec.columns) {
    draft.columns.push_back(ColumnOf(column, ProfileOf(best.rows, column.name), best.num_rows(), frame, names));
  }
  auto of_records = RecordColumns(sample, "", frame, names);
  draft.columns.insert(draft.columns.end(), of_records.begin(), of_records.end());
  return Status::OK();
}

}  // namespace millrace::infer
