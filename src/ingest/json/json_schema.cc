#include "ingest/json/json_schema.h"

#include <simdjson.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace millrace::ingest {
namespace json_schema {
namespace {

using simdjson::dom::element;

// A `$ref` to a `$ref` and so on, allOf within allOf, arrays within arrays.
constexpr int kMaxSteps = 32;
constexpr std::size_t kMaxProperties = 10'000;  // As many columns may be.
constexpr int kMaxParts = 1000;                 // Of one schema by allOf, each as often as it is named.

struct Text {
  simdjson::dom::parser parser;
  element root;
};

// A part of a schema, and the text that its references are relative to.
struct Node {
  element value;
  const Text* text = nullptr;
};

std::string_view StringAt(const element& value, std::string_view key) {
  std::string_view text;
  return value[key].get(text) == simdjson::SUCCESS ? text : std::string_view();
}

struct ColumnType {
  std::shared_ptr<arrow::DataType> type;
  ValueForm form = {};
};

ColumnType TextType(TextForm form) {
  ColumnType type{arrow::utf8()};
  type.form.text = form;
  return type;
}

ColumnType TypeOfString(const element& value) {
  const auto format = StringAt(value, "format");
  if (format == "date-time") return {arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")};
  if (format == "date") return {arrow::date32()};
  if (format == "uuid") return TextType(TextForm::kUuid);
  if (StringAt(value, "contentEncoding").starts_with("base64")) return {arrow::binary()};
  return TextType(TextForm::kPlain);
}

// The one type but "null" that the schema allows; "integer" beside "number" is one. Empty: there is none.
std::string_view OnlyType(const element& value) {
  std::string_view one;
  const auto take = [&one](std::string_view type) {
    if (type == "null" || type == one) return true;
    const bool are_numbers = (one == "integer" && type == "number") || (one == "number" && type == "integer");
    if (!one.empty() && !are_numbers) return false;
    one = are_numbers ? "number" : type;
    return true;
  };
  if (simdjson::dom::array types; value["type"].get(types) == simdjson::SUCCESS) {
    for (const element type : types) {
      std::string_view name;
      if (type.get(name) != simdjson::SUCCESS || !take(name)) return {};
    }
    return one;
  }
  if (const auto type = StringAt(value, "type"); !type.empty()) return type;
  // Without a type, its values say it, where they are texts.
  simdjson::dom::array values;
  if (value["enum"].get(values) != simdjson::SUCCESS) return value["const"].is_string() ? "string" : "";
  const bool are_texts =
      std::all_of(values.begin(), values.end(), [](element one_of) { return one_of.is_string() || one_of.is_null(); });
  return are_texts ? "string" : "";
}

class Reader {
 public:
  explicit Reader(const SchemaSpec& schema) : schema_(schema) {}

  Result<std::vector<ColumnSpec>> Columns() {
    ASSIGN_OR_RETURN(const Text* const root, Parse(*schema_.bytes, "the schema"));
    RETURN_NOT_OK(AddProperties({root->root, root}, 0));
    if (columns_.empty()) return InvalidInput("the schema names no 'properties', of which columns could be made");
    return std::move(columns_);
  }

 private:
  Result<const Text*> Parse(const std::string& bytes, std::string_view what) {
    auto text = std::make_unique<Text>();
    const auto error = text->parser.parse(bytes).get(text->root);
    if (error != simdjson::SUCCESS) return InvalidInput("{} is not JSON: {}", what, simdjson::error_message(error));
    return texts_.emplace_back(std::move(text)).get();
  }

  // Of a schema of events; those that are there already count.
  Status AddProperties(Node node, int steps) {
    if (++parts_ > kMaxParts) return InvalidInput("it is made of more than {} schemas ('allOf')", kMaxParts);
    ASSIGN_OR_RETURN(node, Resolve(node, steps));
    if (!node.value.is_object()) return InvalidInput("a schema is an object, and this one is none");
    if (const auto type = OnlyType(node.value); !type.empty() && type != "object") {
      return InvalidInput("events are objects, and the schema is of the type '{}'", type);
    }
    for (const auto* const word : {"oneOf", "anyOf"}) {
      simdjson::dom::array branches;
      if (node.value[word].get(branches) != simdjson::SUCCESS) continue;
      return InvalidInput("the schema has several shapes ('{}'): declare the columns yourself", word);
    }
    simdjson::dom::object properties;
    if (node.value["properties"].get(properties) == simdjson::SUCCESS) {
      for (const auto [name, value] : properties) RETURN_NOT_OK(AddProperty(std::string(name), {value, node.text}));
    }
    simdjson::dom::array parts;
    if (node.value["allOf"].get(parts) != simdjson::SUCCESS) return Status::OK();
    for (const element part : parts) RETURN_NOT_OK(AddProperties({part, node.text}, steps + 1));
    return Status::OK();
  }

  Status AddProperty(const std::string& name, Node node) {
    if (!names_.insert(name).second) return Status::OK();
    if (names_.size() > kMaxProperties) return InvalidInput("it has more than {} properties", kMaxProperties);
    auto type = TypeOf(node, 0);
    if (!type.ok()) return WithContext(type.status(), "property '{}'", name);
    columns_.push_back({.name = name, .type = std::move(type->type), .form = std::move(type->form), .path = {name}});
    return Status::OK();
  }

  Result<ColumnType> TypeOf(Node node, int steps) {
    ASSIGN_OR_RETURN(node, Resolve(node, steps));
    const auto type = OnlyType(node.value);
    if (type == "string") return TypeOfString(node.value);
    if (type == "integer") return ColumnType{arrow::int64()};
    if (type == "number") return ColumnType{arrow::float64()};
    if (type == "boolean") return ColumnType{arrow::boolean()};
    element items;
    if (type == "array" && steps < kMaxSteps && node.value["items"].get(items) == simdjson::SUCCESS &&
        items.is_object()) {
      ASSIGN_OR_RETURN(auto item, TypeOf({items, node.text}, steps + 1));
      if (item.form.text != TextForm::kJson) {
        return ColumnType{arrow::list(arrow::field("element", std::move(item.type))), std::move(item.form)};
      }
    }
    return TextType(TextForm::kJson);
  }

  // What the node comes to: behind its `$ref`, and the one branch that it has.
  Result<Node> Resolve(Node node, int steps) {
    for (; steps < kMaxSteps; ++steps) {
      if (const auto ref = StringAt(node.value, "$ref"); !ref.empty()) {
        ASSIGN_OR_RETURN(node, Follow(node, ref));
      } else if (const auto branch = OnlyBranch(node.value)) {
        node.value = *branch;
      } else {
        return node;
      }
    }
    return InvalidInput("it refers to itself, or is more than {} schemas deep", kMaxSteps);
  }

  static std::optional<element> OnlyBranch(const element& value) {
    if (value["properties"].error() == simdjson::SUCCESS) return std::nullopt;
    for (const auto* const word : {"oneOf", "anyOf", "allOf"}) {
      simdjson::dom::array branches;
      if (value[word].get(branches) != simdjson::SUCCESS) continue;
      std::optional<element> only;
      for (const element branch : branches) {
        if (StringAt(branch, "type") == "null") continue;
        if (only) return std::nullopt;
        only = branch;
      }
      return only;
    }
    return std::nullopt;
  }

  Result<Node> Follow(const Node& from, std::string_view ref) {
    const auto hash = std::min(ref.find('#'), ref.size());
    const std::string name(ref.substr(0, hash));
    const std::string_view pointer = hash < ref.size() ? ref.substr(hash + 1) : std::string_view();
    const Text* text = from.text;
    if (!name.empty()) {
      ASSIGN_OR_RETURN(text, Referred(name, ref));
    }
    if (pointer.empty()) return Node{text->root, text};
    element value;
    if (text->root.at_pointer(pointer).get(value) != simdjson::SUCCESS) {
      return InvalidInput("the $ref '{}' leads nowhere", ref);
    }
    return Node{value, text};
  }

  Result<const Text*> Referred(const std::string& name, std::string_view ref) {
    if (const auto known = referred_.find(name); known != referred_.end()) return known->second;
    const auto found = std::find_if(schema_.references.begin(), schema_.references.end(),
                                    [&](const auto& reference) { return reference.name == name; });
    if (found == schema_.references.end()) {
      return InvalidInput("the $ref '{}' is of another schema, which is none of the references", ref);
    }
    ASSIGN_OR_RETURN(const Text* const text, Parse(found->text, "the reference '" + name + "'"));
    return referred_[name] = text;
  }

  const SchemaSpec& schema_;
  std::vector<std::unique_ptr<Text>> texts_;
  std::map<std::string, const Text*> referred_;  // By name.
  int parts_ = 0;
  std::set<std::string> names_;  // Of the columns.
  std::vector<ColumnSpec> columns_;
};

}  // namespace
}  // namespace json_schema

Result<std::vector<ColumnSpec>> ColumnsOfJsonSchema(const DecodeSpec& spec) {
  return json_schema::Reader(*spec.schema).Columns();
}

}  // namespace millrace::ingest
