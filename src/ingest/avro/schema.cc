#include "ingest/avro/schema.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "base/json_text.h"
#include "base/nearest_name.h"
#include "ingest/avro/default_value_internal.h"
#include "ingest/decode_spec.h"

namespace millrace::ingest::avro {
namespace {

using simdjson::dom::element;

// Each type takes at most three levels of JSON: itself, its fields, and each of them.
constexpr std::size_t kMaxJsonDepth = 3 * kMaxSchemaDepth + 16;
constexpr std::int64_t kMinBytesMax = std::int64_t{1} << 30;  // So that sums of them do not overflow.

struct TypeWord {
  std::string_view word;
  Type type;
};
constexpr std::array kPrimitives = {TypeWord{"null", Type::kNull},   TypeWord{"boolean", Type::kBoolean},
                                    TypeWord{"int", Type::kInt},     TypeWord{"long", Type::kLong},
                                    TypeWord{"float", Type::kFloat}, TypeWord{"double", Type::kDouble},
                                    TypeWord{"bytes", Type::kBytes}, TypeWord{"string", Type::kString}};
constexpr std::array kComplex = {TypeWord{"record", Type::kRecord}, TypeWord{"error", Type::kRecord},
                                 TypeWord{"enum", Type::kEnum},     TypeWord{"fixed", Type::kFixed},
                                 TypeWord{"array", Type::kArray},   TypeWord{"map", Type::kMap}};

template <std::size_t N>
std::optional<Type> TypeOf(const std::array<TypeWord, N>& words, std::string_view text) {
  const auto found = std::find_if(words.begin(), words.end(), [&](const TypeWord& one) { return one.word == text; });
  return found == words.end() ? std::nullopt : std::optional(found->type);
}

std::string_view WordOf(Type type) {
  for (const TypeWord& one : kPrimitives) {
    if (one.type == type) return one.word;
  }
  for (const TypeWord& one : kComplex) {
    if (one.type == type) return one.word;
  }
  return "union";
}

struct LogicalWord {
  std::string_view word;
  Logical logical;
  Type type;  // That it belongs to; kFixed and kBytes of kDecimal and kString of kUuid are told apart in SetLogical().
};
constexpr std::array kLogicals = {LogicalWord{"decimal", Logical::kDecimal, Type::kBytes},
                                  LogicalWord{"uuid", Logical::kUuid, Type::kString},
                                  LogicalWord{"date", Logical::kDate, Type::kInt},
                                  LogicalWord{"time-millis", Logical::kTimeMillis, Type::kInt},
                                  LogicalWord{"time-micros", Logical::kTimeMicros, Type::kLong},
                                  LogicalWord{"timestamp-millis", Logical::kTimestampMillis, Type::kLong},
                                  LogicalWord{"timestamp-micros", Logical::kTimestampMicros, Type::kLong},
                                  LogicalWord{"timestamp-nanos", Logical::kTimestampNanos, Type::kLong},
                                  LogicalWord{"local-timestamp-millis", Logical::kLocalTimestampMillis, Type::kLong},
                                  LogicalWord{"local-timestamp-micros", Logical::kLocalTimestampMicros, Type::kLong},
                                  LogicalWord{"local-timestamp-nanos", Logical::kLocalTimestampNanos, Type::kLong},
                                  LogicalWord{"duration", Logical::kDuration, Type::kFixed}};

bool IsName(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !text.empty() && letter(text[0]) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

std::optional<element> Find(const element& object, std::string_view key) {
  element found;
  if (object.at_key(key).get(found) != simdjson::SUCCESS) return std::nullopt;
  return found;
}

std::optional<std::string_view> FindText(const element& object, std::string_view key) {
  std::string_view text;
  const auto found = Find(object, key);
  if (!found || found->get(text) != simdjson::SUCCESS) return std::nullopt;
  return text;
}

std::optional<std::int64_t> FindInteger(const element& object, std::string_view key) {
  std::int64_t number = 0;
  const auto found = Find(object, key);
  if (!found || found->get(number) != simdjson::SUCCESS) return std::nullopt;
  return number;
}

std::int64_t MinBytes(const Schema& schema) {
  switch (schema.type) {
    case Type::kNull:
      return 0;
    case Type::kFloat:
      return 4;
    case Type::kDouble:
      return 8;
    case Type::kFixed:
      return std::min(schema.size, kMinBytesMax);
    case Type::kRecord: {
      std::int64_t sum = 0;
      for (const Field& field : schema.fields) sum = std::min(sum + field.type->min_bytes, kMinBytesMax);
      return sum;
    }
    case Type::kUnion: {
      std::int64_t least = kMinBytesMax;
      for (const SchemaPtr& branch : schema.branches) least = std::min(least, branch->min_bytes);
      return std::min(1 + least, kMinBytesMax);
    }
    default:
      return 1;
  }
}

void SetLogical(const element& json, Schema& schema) {
  const auto word = FindText(json, "logicalType");
  if (!word) return;
  const auto known =
      std::find_if(kLogicals.begin(), kLogicals.end(), [&](const LogicalWord& one) { return one.word == *word; });
  if (known == kLogicals.end()) return;
  if (known->logical == Logical::kDecimal) {
    const auto precision = FindInteger(json, "precision");
    const auto scale = Find(json, "scale") ? FindInteger(json, "scale") : 0;
    if ((schema.type != Type::kBytes && schema.type != Type::kFixed) || !precision || !scale || *precision < 1 ||
        *precision > 1'000'000 || *scale < 0 || *scale > *precision) {
      return;
    }
    schema.precision = static_cast<int>(*precision);
    schema.scale = static_cast<int>(*scale);
  } else if (known->logical == Logical::kUuid) {
    if (schema.type != Type::kString && (schema.type != Type::kFixed || schema.size != 16)) return;
  } else if (schema.type != known->type || (known->logical == Logical::kDuration && schema.size != 12)) {
    return;
  }
  schema.logical = known->logical;
}

// The parts of a dotted path, for messages.
std::string Below(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

std::string At(const std::string& path) { return path.empty() ? "" : fmt::format("at {}: ", path); }

class Parser {
 public:
  // `path`: of the type, as messages name it; `space`: the namespace around it.
  Result<SchemaPtr> Parse(const element& json, const std::string& path, const std::string& space, int depth) {
    if (depth > kMaxSchemaDepth) return InvalidInput("{}nested deeper than {} types", At(path), kMaxSchemaDepth);
    switch (json.type()) {
      case simdjson::dom::element_type::STRING:
        return Named(std::string_view(json), path, space);
      case simdjson::dom::element_type::ARRAY:
        return ParseUnion(json, path, space, depth);
      case simdjson::dom::element_type::OBJECT:
        return ParseObject(json, path, space, depth);
      default:
        return InvalidInput("{}a type is a name, an object or an array, not {}", At(path),
                            std::string(simdjson::minify(json)).substr(0, 40));
    }
  }

 private:
  Result<SchemaPtr> Named(std::string_view word, const std::string& path, const std::string& space) {
    if (const auto primitive = TypeOf(kPrimitives, word)) {
      auto schema = std::make_shared<Schema>();
      schema->type = *primitive;
      schema->min_bytes = MinBytes(*schema);
      return schema;
    }
    const std::string full = FullName(word, space);
    const auto known = named_.find(full);
    if (known != named_.end()) {
      if (known->second == nullptr) {
        return InvalidInput("{}the type '{}' contains itself; recursive schemas cannot be read", At(path), full);
      }
      return known->second;
    }
    std::vector<std::string> names;
    for (const auto& [name, schema] : named_) names.push_back(name);
    for (const TypeWord& one : kPrimitives) names.emplace_back(one.word);
    return InvalidInput("{}there is no type '{}'{}", At(path), word, DidYouMean(full, names));
  }

  Result<SchemaPtr> ParseUnion(const element& json, const std::string& path, const std::string& space, int depth) {
    auto schema = std::make_shared<Schema>();
    schema->type = Type::kUnion;
    std::set<std::string> kinds;
    for (const element branch : simdjson::dom::array(json)) {
      ASSIGN_OR_RETURN(auto parsed, Parse(branch, path, space, depth + 1));
      if (parsed->type == Type::kUnion) return InvalidInput("{}a union directly within a union", At(path));
      if (!kinds.insert(parsed->name.empty() ? std::string(WordOf(parsed->type)) : parsed->name).second) {
        return InvalidInput("{}a union has {} twice", At(path), Describe(*parsed));
      }
      schema->branches.push_back(std::move(parsed));
    }
    if (schema->branches.empty()) return InvalidInput("{}a union of nothing", At(path));
    schema->min_bytes = MinBytes(*schema);
    return schema;
  }

  Result<SchemaPtr> ParseObject(const element& json, const std::string& path, const std::string& space, int depth) {
    const auto type = Find(json, "type");
    if (!type) return InvalidInput("{}the key 'type' is missing", At(path));
    // {"type": {"type": ...}} is another way to write the inner one.
    if (!type->is_string()) return Parse(*type, path, space, depth + 1);
    const std::string_view word = *FindText(json, "type");
    if (TypeOf(kPrimitives, word)) {
      auto schema = std::make_shared<Schema>();
      schema->type = *TypeOf(kPrimitives, word);
      schema->min_bytes = MinBytes(*schema);
      SetLogical(json, *schema);
      return schema;
    }
    const auto complex = TypeOf(kComplex, word);
    if (!complex) return Named(word, path, space);
    auto schema = std::make_shared<Schema>();
    schema->type = *complex;
    if (*complex == Type::kArray || *complex == Type::kMap) {
      const std::string_view key = *complex == Type::kArray ? "items" : "values";
      const auto items = Find(json, key);
      if (!items) return InvalidInput("{}the key '{}' of {} is missing", At(path), key, word);
      ASSIGN_OR_RETURN(auto parsed, Parse(*items, Below(path, key), space, depth + 1));
      schema->branches.push_back(std::move(parsed));
      schema->min_bytes = MinBytes(*schema);
      return schema;
    }
    return ParseNamed(json, std::move(schema), path, space, depth);
  }

  Result<SchemaPtr> ParseNamed(const element& json, std::shared_ptr<Schema> schema, const std::string& path,
                               const std::string& around, int depth) {
    const auto name = FindText(json, "name");
    if (!name) return InvalidInput("{}the key 'name' of {} is missing", At(path), WordOf(schema->type));
    const auto given_space = FindText(json, "namespace");
    schema->name = FullName(*name, given_space ? std::string(*given_space) : around);
    const auto dot = schema->name.rfind('.');
    const std::string space = dot == std::string::npos ? "" : schema->name.substr(0, dot);
    if (!IsName(std::string_view(schema->name).substr(dot == std::string::npos ? 0 : dot + 1))) {
      return InvalidInput("{}'{}' is not a name: letters, digits and _, no digit first", At(path), *name);
    }
    if (TypeOf(kPrimitives, schema->name)) return InvalidInput("{}the name '{}' is taken", At(path), schema->name);
    if (!named_.emplace(schema->name, nullptr).second) {
      return InvalidInput("{}the type '{}' is defined twice", At(path), schema->name);
    }
    ASSIGN_OR_RETURN(const auto aliases, Texts(json, "aliases", path));
    for (const std::string& alias : aliases) schema->aliases.push_back(FullName(alias, space));
    if (schema->type == Type::kRecord) {
      RETURN_NOT_OK(ParseFields(json, *schema, path, space, depth));
    } else if (schema->type == Type::kEnum) {
      RETURN_NOT_OK(ParseSymbols(json, *schema, path));
    } else {
      const auto size = FindInteger(json, "size");
      if (!size || *size < 0) return InvalidInput("{}the key 'size' of fixed {} is no size", At(path), schema->name);
      schema->size = *size;
      SetLogical(json, *schema);
    }
    schema->min_bytes = MinBytes(*schema);
    named_[schema->name] = schema;
    return schema;
  }

  Status ParseFields(const element& json, Schema& schema, const std::string& path, const std::string& space,
                     int depth) {
    const auto fields = Find(json, "fields");
    if (!fields || !fields->is_array()) {
      return InvalidInput("{}the key 'fields' of record {} is no array", At(path), schema.name);
    }
    std::set<std::string, std::less<>> names;
    for (const element one : simdjson::dom::array(*fields)) {
      Field field;
      const auto name = one.is_object() ? FindText(one, "name") : std::nullopt;
      if (!name || !IsName(*name)) {
        return InvalidInput("{}a field of record {} has no name that is one: letters, digits and _, no digit first",
                            At(path), schema.name);
      }
      field.name = *name;
      const std::string below = Below(path, field.name);
      if (!names.insert(field.name).second) return InvalidInput("{}the field is there twice", At(below));
      ASSIGN_OR_RETURN(field.aliases, Texts(one, "aliases", below));
      const auto type = Find(one, "type");
      if (!type) return InvalidInput("{}the key 'type' is missing", At(below));
      ASSIGN_OR_RETURN(field.type, Parse(*type, below, space, depth + 1));
      if (const auto value = Find(one, "default")) {
        std::string bytes;
        RETURN_NOT_OK(WithContext(EncodeDefault(*value, *field.type, bytes), "{}its default", At(below)));
        field.default_bytes = std::move(bytes);
      }
      schema.fields.push_back(std::move(field));
    }
    return Status::OK();
  }

  Status ParseSymbols(const element& json, Schema& schema, const std::string& path) {
    ASSIGN_OR_RETURN(schema.symbols, Texts(json, "symbols", path));
    if (schema.symbols.empty()) return InvalidInput("{}enum {} has no symbols", At(path), schema.name);
    std::set<std::string_view> seen;
    for (const std::string& symbol : schema.symbols) {
      if (!IsName(symbol)) return InvalidInput("{}'{}' is no symbol: letters, digits and _", At(path), symbol);
      if (!seen.insert(symbol).second) return InvalidInput("{}the symbol '{}' is there twice", At(path), symbol);
    }
    if (const auto preset = FindText(json, "default")) {
      const auto found = std::find(schema.symbols.begin(), schema.symbols.end(), *preset);
      if (found == schema.symbols.end()) {
        return InvalidInput("{}the default '{}' is no symbol of enum {}", At(path), *preset, schema.name);
      }
      schema.default_symbol = static_cast<std::size_t>(found - schema.symbols.begin());
    }
    return Status::OK();
  }

  Result<std::vector<std::string>> Texts(const element& json, std::string_view key, const std::string& path) {
    std::vector<std::string> texts;
    const auto found = Find(json, key);
    if (!found) return texts;
    if (!found->is_array()) return InvalidInput("{}the key '{}' is no array", At(path), key);
    for (const element one : simdjson::dom::array(*found)) {
      std::string_view text;
      if (one.get(text) != simdjson::SUCCESS)
        return InvalidInput("{}'{}' holds something that is no text", At(path), key);
      texts.emplace_back(text);
    }
    return texts;
  }

  static std::string FullName(std::string_view name, const std::string& space) {
    if (name.find('.') != std::string_view::npos || space.empty()) return std::string(name);
    return fmt::format("{}.{}", space, name);
  }

  std::map<std::string, SchemaPtr> named_;  // Null while it is being parsed.
};

void AppendCanonical(const Schema& schema, std::set<std::string_view>& known, std::string& out) {
  const auto quoted = [&](std::string_view text) {
    out += '"';
    out += text;
    out += '"';
  };
  switch (schema.type) {
    case Type::kUnion:
      out += '[';
      for (const SchemaPtr& branch : schema.branches) {
        if (branch != schema.branches.front()) out += ',';
        AppendCanonical(*branch, known, out);
      }
      out += ']';
      return;
    case Type::kArray:
    case Type::kMap:
      out += schema.type == Type::kArray ? R"({"type":"array","items":)" : R"({"type":"map","values":)";
      AppendCanonical(schema.items(), known, out);
      out += '}';
      return;
    case Type::kRecord:
    case Type::kEnum:
    case Type::kFixed:
      break;
    default:
      return quoted(WordOf(schema.type));
  }
  if (!known.insert(schema.name).second) return quoted(schema.name);
  out += R"({"name":)";
  quoted(schema.name);
  out += R"(,"type":)";
  quoted(WordOf(schema.type));
  if (schema.type == Type::kRecord) {
    out += R"(,"fields":[)";
    for (const Field& field : schema.fields) {
      if (&field != schema.fields.data()) out += ',';
      out += R"({"name":)";
      quoted(field.name);
      out += R"(,"type":)";
      AppendCanonical(*field.type, known, out);
      out += '}';
    }
    out += ']';
  } else if (schema.type == Type::kEnum) {
    out += R"(,"symbols":[)";
    for (const std::string& symbol : schema.symbols) {
      if (&symbol != schema.symbols.data()) out += ',';
      quoted(symbol);
    }
    out += ']';
  } else {
    out += fmt::format(R"(,"size":{})", schema.size);
  }
  out += '}';
}

}  // namespace

namespace {

Result<SchemaPtr> ParseText(std::string_view text, Parser& types) {
  if (text.size() > kMaxSchemaBytes) {
    return InvalidInput("the schema has {} bytes, more than {}", text.size(), kMaxSchemaBytes);
  }
  simdjson::dom::parser parser;
  if (parser.allocate(text.size(), kMaxJsonDepth) != simdjson::SUCCESS) return Status::OutOfMemory("parsing a schema");
  element root;
  const auto error = parser.parse(text.data(), text.size()).get(root);
  if (error == simdjson::DEPTH_ERROR) return InvalidInput("nested deeper than {} types", kMaxSchemaDepth);
  if (error != simdjson::SUCCESS) return InvalidInput("the schema is not JSON: {}", simdjson::error_message(error));
  return types.Parse(root, "", "", 1);
}

}  // namespace

Result<SchemaPtr> ParseSchema(std::string_view text, std::span<const SchemaReference> references) {
  Parser types;
  for (const SchemaReference& reference : references) {
    const auto parsed = ParseText(reference.text, types);
    if (!parsed.ok()) return WithContext(parsed.status(), "the schema '{}' that it refers to", reference.name);
  }
  return ParseText(text, types);
}

std::string Describe(const Schema& schema) {
  if (schema.type == Type::kUnion) {
    std::vector<std::string> branches;
    for (const SchemaPtr& branch : schema.branches) branches.push_back(Describe(*branch));
    return fmt::format("union of {}", fmt::join(branches, " and "));
  }
  if (schema.logical == Logical::kDecimal) return fmt::format("decimal({},{})", schema.precision, schema.scale);
  for (const LogicalWord& one : kLogicals) {
    if (one.logical == schema.logical) return std::string(one.word);
  }
  return schema.name.empty() ? std::string(WordOf(schema.type))
                             : fmt::format("{} {}", WordOf(schema.type), schema.name);
}

std::string CanonicalForm(const Schema& schema) {
  std::set<std::string_view> known;
  std::string out;
  AppendCanonical(schema, known, out);
  return out;
}

std::uint64_t Fingerprint(const Schema& schema) {
  constexpr std::uint64_t kEmpty = 0xC15D'213A'A4D7'A795;
  std::uint64_t fingerprint = kEmpty;
  for (const char c : CanonicalForm(schema)) {
    fingerprint ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) fingerprint = fingerprint >> 1 ^ (kEmpty & (0 - (fingerprint & 1)));
  }
  return fingerprint;
}

}  // namespace millrace::ingest::avro
