#include <algorithm>
#include <cstring>

#include "ingest/avro/default_value_internal.h"
#include "ingest/avro/wire_internal.h"

namespace millrace::ingest::avro {
namespace {

using simdjson::dom::element;

// Defaults of records within defaults of records: a short schema can ask for any number of bytes.
constexpr std::size_t kMaxDefaultBytes = std::size_t{1} << 20;

template <typename T>
void AppendFloat(double value, std::string& out) {
  const T narrow = static_cast<T>(value);
  char bytes[sizeof(T)];
  std::memcpy(bytes, &narrow, sizeof(T));
  out.append(bytes, sizeof(T));
}

Status NoValue(const element& value, const Schema& schema) {
  return InvalidInput("{} is no {}", std::string(simdjson::minify(value)).substr(0, 60), Describe(schema));
}

// JSON has bytes as a text whose characters U+0000 to U+00FF are the bytes. False: another one is in it.
bool BytesOf(std::string_view text, std::string& bytes) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80) {
      bytes += static_cast<char>(byte);
    } else if (byte <= 0xC3 && i + 1 < text.size()) {
      bytes += static_cast<char>((byte & 0x03) << 6 | (static_cast<unsigned char>(text[++i]) & 0x3F));
    } else {
      return false;
    }
  }
  return true;
}

Status EncodeUnion(const element& value, const Schema& schema, std::string& out) {
  for (std::size_t branch = 0; branch < schema.branches.size(); ++branch) {
    std::string bytes;
    AppendLong(static_cast<std::int64_t>(branch), bytes);
    if (EncodeDefault(value, *schema.branches[branch], bytes).ok()) {
      out += bytes;
      return Status::OK();
    }
  }
  return NoValue(value, schema);
}

Status EncodeRecord(const element& value, const Schema& schema, std::string& out) {
  if (!value.is_object()) return NoValue(value, schema);
  for (const Field& field : schema.fields) {
    element inner;
    if (out.size() > kMaxDefaultBytes) return InvalidInput("it takes more than {} bytes", kMaxDefaultBytes);
    if (value.at_key(field.name).get(inner) == simdjson::SUCCESS) {
      RETURN_NOT_OK(WithContext(EncodeDefault(inner, *field.type, out), "field '{}'", field.name));
    } else if (field.default_bytes) {
      out += *field.default_bytes;
    } else {
      return InvalidInput("field '{}' is missing", field.name);
    }
  }
  return Status::OK();
}

Status EncodeItems(const element& value, const Schema& schema, std::string& out) {
  if (schema.type == Type::kArray) {
    simdjson::dom::array items;
    if (value.get(items) != simdjson::SUCCESS) return NoValue(value, schema);
    if (items.size() > 0) AppendLong(static_cast<std::int64_t>(items.size()), out);
    for (const element item : items) RETURN_NOT_OK(EncodeDefault(item, schema.items(), out));
  } else {
    simdjson::dom::object entries;
    if (value.get(entries) != simdjson::SUCCESS) return NoValue(value, schema);
    if (entries.size() > 0) AppendLong(static_cast<std::int64_t>(entries.size()), out);
    for (const auto entry : entries) {
      AppendSized(entry.key, out);
      RETURN_NOT_OK(EncodeDefault(entry.value, schema.items(), out));
    }
  }
  AppendLong(0, out);
  return Status::OK();
}

}  // namespace

Status EncodeDefault(const element& value, const Schema& schema, std::string& out) {
  std::int64_t integer = 0;
  double number = 0;
  bool flag = false;
  std::string_view text;
  switch (schema.type) {
    case Type::kNull:
      if (!value.is_null()) return NoValue(value, schema);
      return Status::OK();
    case Type::kBoolean:
      if (value.get(flag) != simdjson::SUCCESS) return NoValue(value, schema);
      out += flag ? '\1' : '\0';
      return Status::OK();
    case Type::kInt:
    case Type::kLong:
      if (value.get(integer) != simdjson::SUCCESS ||
          (schema.type == Type::kInt && integer != static_cast<std::int32_t>(integer))) {
        return NoValue(value, schema);
      }
      AppendLong(integer, out);
      return Status::OK();
    case Type::kFloat:
    case Type::kDouble:
      if (value.get(number) != simdjson::SUCCESS) return NoValue(value, schema);
      schema.type == Type::kFloat ? AppendFloat<float>(number, out) : AppendFloat<double>(number, out);
      return Status::OK();
    case Type::kString:
      if (value.get(text) != simdjson::SUCCESS) return NoValue(value, schema);
      AppendSized(text, out);
      return Status::OK();
    case Type::kBytes:
    case Type::kFixed: {
      std::string bytes;
      if (value.get(text) != simdjson::SUCCESS || !BytesOf(text, bytes)) return NoValue(value, schema);
      if (schema.type == Type::kBytes) {
        AppendSized(bytes, out);
      } else if (static_cast<std::int64_t>(bytes.size()) == schema.size) {
        out += bytes;
      } else {
        return NoValue(value, schema);
      }
      return Status::OK();
    }
    case Type::kEnum: {
      if (value.get(text) != simdjson::SUCCESS) return NoValue(value, schema);
      const auto found = std::find(schema.symbols.begin(), schema.symbols.end(), text);
      if (found == schema.symbols.end()) return NoValue(value, schema);
      AppendLong(found - schema.symbols.begin(), out);
      return Status::OK();
    }
    case Type::kArray:
    case Type::kMap:
      return EncodeItems(value, schema, out);
    case Type::kRecord:
      return EncodeRecord(value, schema, out);
    case Type::kUnion:
      return EncodeUnion(value, schema, out);
  }
  return NoValue(value, schema);
}

}  // namespace millrace::ingest::avro
