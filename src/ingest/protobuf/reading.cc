#include <set>
#include <utility>

#include "ingest/declared_fields.h"
#include "ingest/protobuf/reading_internal.h"

namespace millrace::ingest::protobuf {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

std::string OneofName(const FieldDescriptor& field) {
  const auto* const oneof = field.real_containing_oneof();
  return oneof == nullptr ? "" : oneof->name();
}

// Whether `writer` has all that `reader` has, under the same numbers, names and types.
bool Covers(const Descriptor& writer, const Descriptor& reader, std::set<const Descriptor*>* seen) {
  if (!seen->insert(&reader).second) return true;
  for (int i = 0; i < reader.field_count(); ++i) {
    const FieldDescriptor& wanted = *reader.field(i);
    const FieldDescriptor* const field = writer.FindFieldByNumber(wanted.number());
    if (field == nullptr || field->name() != wanted.name() || field->type() != wanted.type() ||
        field->is_repeated() != wanted.is_repeated() || field->has_presence() != wanted.has_presence() ||
        OneofName(*field) != OneofName(wanted)) {
      return false;
    }
    if (wanted.message_type() != nullptr && !Covers(*field->message_type(), *wanted.message_type(), seen)) return false;
    if (wanted.enum_type() == nullptr) continue;
    for (int v = 0; v < wanted.enum_type()->value_count(); ++v) {
      const auto* const value = field->enum_type()->FindValueByNumber(wanted.enum_type()->value(v)->number());
      if (value == nullptr || value->name() != wanted.enum_type()->value(v)->name()) return false;
    }
  }
  return true;
}

bool Covers(const Descriptor& writer, const Descriptor& reader) {
  std::set<const Descriptor*> seen;
  return Covers(writer, reader, &seen);
}

}  // namespace

Result<std::unique_ptr<Reading>> MakeReading(const std::string& name, const WriterSchema& written,
                                             std::shared_ptr<const Schema> reader, const Descriptor& message,
                                             const DecodeSpec& spec) {
  if (written.language != SchemaLanguage::kProtobuf) {
    return InvalidInput("{} is {}, and the format is protobuf", name, LanguageName(written.language));
  }
  ASSIGN_OR_RETURN(auto writer, Schema::Load({.file = name,
                                              .bytes = std::make_shared<const std::string>(written.text),
                                              .is_registered = true,
                                              .references = written.references}));
  const auto wrote = writer->FindMessage(message.full_name());
  if (!wrote.ok()) return WithContext(wrote.status(), "{}", name);
  // Fields are known by their numbers, so the declared message reads what any writer wrote; but only the writer's knows
  // the names of fields that are newer.
  auto plan = MakePlan(Covers(**wrote, message) ? **wrote : message, spec.columns);
  if (!plan.ok()) return WithContext(plan.status(), "{}", name);
  if (spec.declared != nullptr) {
    ASSIGN_OR_RETURN(const auto columns, ColumnsOf(**wrote));
    for (const ColumnSpec& column : columns) spec.declared->Add(column.name, column.type);
  }
  return std::make_unique<Reading>(
      Reading{std::move(reader), std::move(writer), MessageIndexes(**wrote), *std::move(plan)});
}

}  // namespace millrace::ingest::protobuf
