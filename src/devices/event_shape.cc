#include "devices/event_shape.h"

#include <fmt/format.h>

namespace millrace::devices {
namespace {

std::string AvroType(const Field& field) {
  switch (field.kind) {
    case FieldKind::kText:
      return R"("string")";
    case FieldKind::kInteger:
      return R"("long")";
    case FieldKind::kReal:
      return R"("double")";
    case FieldKind::kDecimal:
      return fmt::format(R"({{"type":"bytes","logicalType":"decimal","precision":{},"scale":{}}})", kDecimalPrecision,
                         field.scale);
    case FieldKind::kTime:
      return R"({"type":"long","logicalType":"timestamp-micros"})";
  }
  return {};
}

std::string_view ProtobufType(FieldKind kind) {
  switch (kind) {
    case FieldKind::kText:
    case FieldKind::kDecimal:
      return "string";
    case FieldKind::kInteger:
      return "int64";
    case FieldKind::kReal:
      return "double";
    case FieldKind::kTime:
      return "google.protobuf.Timestamp";
  }
  return {};
}

}  // namespace

std::string CsvHeader(const Shape& shape) {
  std::string header;
  for (const Field& field : shape.fields) {
    if (!header.empty()) header += ',';
    header += field.name;
  }
  return header;
}

std::string AvroSchema(const Shape& shape) {
  std::string fields;
  for (const Field& field : shape.fields) {
    if (!fields.empty()) fields += ',';
    fields += fmt::format(R"({{"name":"{}","type":)", field.name);
    fields +=
        field.is_optional ? fmt::format(R"(["null",{}],"default":null}})", AvroType(field)) : AvroType(field) + '}';
  }
  return fmt::format(R"({{"type":"record","name":"{}","namespace":"millrace.fleet","fields":[{}]}})", shape.name,
                     fields);
}

std::string ProtobufSchema(const Shape& shape) {
  std::string text = fmt::format(
      "syntax = \"proto3\";\npackage millrace.fleet;\n\nimport \"google/protobuf/timestamp.proto\";\n\nmessage {} {{\n",
      shape.name);
  int number = 0;
  for (const Field& field : shape.fields) {
    text += fmt::format("  {}{} {} = {};\n", field.is_optional ? "optional " : "", ProtobufType(field.kind), field.name,
                        ++number);
  }
  return text + "}\n";
}

}  // namespace millrace::devices
