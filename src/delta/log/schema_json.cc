#include <arrow/util/key_value_metadata.h>
#include <simdjson.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <set>

#include "base/status.h"
#include "delta/log/actions.h"
#include "delta/text/column_name.h"
#include "delta/text/json_text.h"

namespace millrace::delta {
namespace {

using simdjson::dom::element;
using simdjson::dom::object;

constexpr int kDepthMax = 64;

Status WriteType(std::string& out, const arrow::DataType& type, const std::string& path);

Status WriteFields(std::string& out, const arrow::FieldVector& fields, const std::string& path) {
  out += R"({"type":"struct","fields":[)";
  std::set<std::string> seen;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const arrow::Field& field = *fields[i];
    const std::string name = path.empty() ? field.name() : path + "." + field.name();
    if (field.name().empty()) return InvalidInput("a column of '{}' has no name", path.empty() ? "the table" : path);
    if (const auto bad = field.name().find_first_of(" ,;{}()\n\t="); bad != std::string::npos) {
      return InvalidInput("column '{}': the name must not contain '{}' (Spark refuses it)", name, field.name()[bad]);
    }
    if (!seen.insert(FoldedName(field.name())).second) {
      return InvalidInput("column '{}': another column differs only in case", name);
    }
    if (i > 0) out += ',';
    out += R"({"name":)";
    AppendQuoted(out, field.name());
    out += R"(,"type":)";
    RETURN_NOT_OK(WriteType(out, *field.type(), name));
    out += field.nullable() ? R"(,"nullable":true)" : R"(,"nullable":false)";
    out += R"(,"metadata":)";
    const int at = field.metadata() == nullptr ? -1 : field.metadata()->FindKey(kFieldMetadataKey);
    out += at < 0 ? "{}" : field.metadata()->value(at);
    out += '}';
  }
  out += "]}";
  return Status::OK();
}

Status WriteType(std::string& out, const arrow::DataType& type, const std::string& path) {
  switch (type.id()) {
    case arrow::Type::STRING:
      out += R"("string")";
      return Status::OK();
    case arrow::Type::BINARY:
      out += R"("binary")";
      return Status::OK();
    case arrow::Type::BOOL:
      out += R"("boolean")";
      return Status::OK();
    case arrow::Type::INT8:
      out += R"("byte")";
      return Status::OK();
    case arrow::Type::INT16:
      out += R"("short")";
      return Status::OK();
    case arrow::Type::INT32:
      out += R"("integer")";
      return Status::OK();
    case arrow::Type::INT64:
      out += R"("long")";
      return Status::OK();
    case arrow::Type::FLOAT:
      out += R"("float")";
      return Status::OK();
    case arrow::Type::DOUBLE:
      out += R"("double")";
      return Status::OK();
    case arrow::Type::DATE32:
      out += R"("date")";
      return Status::OK();
    case arrow::Type::NA:
      out += R"("void")";
      return Status::OK();
    case arrow::Type::DECIMAL128: {
      const auto& decimal = static_cast<const arrow::Decimal128Type&>(type);
      if (decimal.scale() < 0 || decimal.scale() > decimal.precision()) break;
      out += fmt::format(R"json("decimal({},{})")json", decimal.precision(), decimal.scale());
      return Status::OK();
    }
    case arrow::Type::TIMESTAMP: {
      const auto& timestamp = static_cast<const arrow::TimestampType&>(type);
      if (timestamp.unit() != arrow::TimeUnit::MICRO) break;
      if (timestamp.timezone().empty()) {
        out += R"("timestamp_ntz")";
      } else if (timestamp.timezone() == "UTC") {
        out += R"("timestamp")";
      } else {
        break;
      }
      return Status::OK();
    }
    case arrow::Type::DICTIONARY:
      return WriteType(out, *static_cast<const arrow::DictionaryType&>(type).value_type(), path);
    case arrow::Type::STRUCT:
      return WriteFields(out, type.fields(), path);
    case arrow::Type::LIST: {
      const auto& value = static_cast<const arrow::ListType&>(type).value_field();
      out += R"({"type":"array","elementType":)";
      RETURN_NOT_OK(WriteType(out, *value->type(), path + ".element"));
      out += value->nullable() ? R"(,"containsNull":true})" : R"(,"containsNull":false})";
      return Status::OK();
    }
    case arrow::Type::MAP: {
      const auto& map = static_cast<const arrow::MapType&>(type);
      out += R"({"type":"map","keyType":)";
      RETURN_NOT_OK(WriteType(out, *map.key_type(), path + ".key"));
      out += R"(,"valueType":)";
      RETURN_NOT_OK(WriteType(out, *map.item_type(), path + ".value"));
      out += map.item_field()->nullable() ? R"(,"valueContainsNull":true})" : R"(,"valueContainsNull":false})";
      return Status::OK();
    }
    default:
      break;
  }
  return Unsupported("column '{}': a Delta table cannot hold the type {}", path, type.ToString());
}

Result<std::shared_ptr<arrow::DataType>> ReadType(const element& type, const std::string& path, int depth);

Result<arrow::FieldVector> ReadFields(const object& type, const std::string& path, int depth) {
  simdjson::dom::array fields;
  if (type["fields"].get(fields) != simdjson::SUCCESS) return Corrupt("schema: '{}' has no fields", path);
  arrow::FieldVector out;
  for (const element field : fields) {
    std::string_view name;
    bool nullable = true;
    element field_type;
    if (field["name"].get(name) != simdjson::SUCCESS || field["type"].get(field_type) != simdjson::SUCCESS ||
        field["nullable"].get(nullable) != simdjson::SUCCESS) {
      return Corrupt("schema: a field of '{}' lacks name, type or nullable", path.empty() ? "the table" : path);
    }
    const std::string full = path.empty() ? std::string(name) : path + "." + std::string(name);
    ASSIGN_OR_RETURN(auto arrow_type, ReadType(field_type, full, depth));
    auto made = arrow::field(std::string(name), std::move(arrow_type), nullable);
    object metadata;
    if (field["metadata"].get(metadata) == simdjson::SUCCESS && metadata.size() > 0) {
      made = made->WithMetadata(arrow::key_value_metadata({{kFieldMetadataKey, simdjson::minify(metadata)}}));
    }
    out.push_back(std::move(made));
  }
  return out;
}

Result<std::shared_ptr<arrow::DataType>> ReadDecimal(std::string_view name, const std::string& path) {
  int precision = 10;
  int scale = 0;
  if (name != "decimal") {
    const char* const end = name.data() + name.size();
    const auto first = std::from_chars(name.data() + std::string_view("decimal(").size(), end, precision);
    const char* at = first.ptr;
    while (at < end && (*at == ',' || *at == ' ')) ++at;
    const auto second = std::from_chars(at, end, scale);
    if (first.ec != std::errc() || second.ec != std::errc() || second.ptr + 1 != end || *second.ptr != ')') {
      return Corrupt("schema: column '{}': not a decimal type: {}", path, name);
    }
  }
  if (precision < 1 || precision > 38 || scale < 0 || scale > precision) {
    return Corrupt("schema: column '{}': impossible decimal type: {}", path, name);
  }
  return arrow::decimal128(precision, scale);
}

Result<std::shared_ptr<arrow::DataType>> ReadType(const element& type, const std::string& path, int depth) {
  if (depth > kDepthMax) return Unsupported("schema: column '{}' is nested more than {} deep", path, kDepthMax);
  std::string_view name;
  if (type.get(name) == simdjson::SUCCESS) {
    if (name == "string") return arrow::utf8();
    if (name == "long") return arrow::int64();
    if (name == "integer") return arrow::int32();
    if (name == "short") return arrow::int16();
    if (name == "byte") return arrow::int8();
    if (name == "float") return arrow::float32();
    if (name == "double") return arrow::float64();
    if (name == "boolean") return arrow::boolean();
    if (name == "binary") return arrow::binary();
    if (name == "date") return arrow::date32();
    if (name == "timestamp") return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    if (name == "timestamp_ntz") return arrow::timestamp(arrow::TimeUnit::MICRO);
    if (name == "void") return arrow::null();
    if (name == "decimal" || name.starts_with("decimal(")) return ReadDecimal(name, path);
    return Unsupported("schema: column '{}' has the type {}", path, name);
  }
  object nested;
  if (type.get(nested) != simdjson::SUCCESS || nested["type"].get(name) != simdjson::SUCCESS) {
    return Corrupt("schema: column '{}' has no type", path);
  }
  if (name == "struct") {
    ASSIGN_OR_RETURN(auto fields, ReadFields(nested, path, depth + 1));
    return arrow::struct_(std::move(fields));
  }
  element inner;
  bool contains_null = true;
  if (name == "array") {
    if (nested["elementType"].get(inner) != simdjson::SUCCESS)
      return Corrupt("schema: array '{}' has no elementType", path);
    if (nested["containsNull"].get(contains_null) != simdjson::SUCCESS) contains_null = true;
    ASSIGN_OR_RETURN(auto value, ReadType(inner, path + ".element", depth + 1));
    return arrow::list(arrow::field("element", std::move(value), contains_null));
  }
  if (name == "map") {
    element key;
    if (nested["keyType"].get(key) != simdjson::SUCCESS || nested["valueType"].get(inner) != simdjson::SUCCESS) {
      return Corrupt("schema: map '{}' has no keyType or valueType", path);
    }
    if (nested["valueContainsNull"].get(contains_null) != simdjson::SUCCESS) contains_null = true;
    ASSIGN_OR_RETURN(auto key_type, ReadType(key, path + ".key", depth + 1));
    ASSIGN_OR_RETURN(auto value, ReadType(inner, path + ".value", depth + 1));
    return std::make_shared<arrow::MapType>(arrow::field("key", std::move(key_type), false),
                                            arrow::field("value", std::move(value), contains_null));
  }
  return Unsupported("schema: column '{}' has the type {}", path, name);
}

}  // namespace

Result<std::string> SchemaToJson(const arrow::Schema& schema) {
  std::string out;
  RETURN_NOT_OK(WriteFields(out, schema.fields(), ""));
  return out;
}

Result<std::shared_ptr<arrow::Schema>> SchemaFromJson(const std::string& json) {
  simdjson::dom::parser parser;
  object root;
  if (parser.parse(json.data(), json.size()).get(root) != simdjson::SUCCESS) {
    return Corrupt("schema: not a JSON object: {}", json.substr(0, 100));
  }
  ASSIGN_OR_RETURN(auto fields, ReadFields(root, "", 0));
  return arrow::schema(std::move(fields));
}

}  // namespace millrace::delta
