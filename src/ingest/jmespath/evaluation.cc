#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <utility>

#include "ingest/jmespath/evaluation_internal.h"
#include "ingest/jmespath/syntax_internal.h"

namespace millrace::ingest {
namespace {

namespace json = boost::json;
using Node = JmesPath::Node;
using Kind = Node::Kind;

const json::value kNull;

// Where Python's slices begin and end.
std::int64_t Clamped(std::int64_t at, std::int64_t size, std::int64_t step) {
  if (at < 0) at += size;
  if (at < 0) return step < 0 ? -1 : 0;
  if (at >= size) return step < 0 ? size - 1 : size;
  return at;
}

json::array Slice(const json::array& from, const Node& slice) {
  const auto size = static_cast<std::int64_t>(from.size());
  const std::int64_t step = slice.step;
  const std::int64_t begin = slice.begin ? Clamped(*slice.begin, size, step) : (step < 0 ? size - 1 : 0);
  const std::int64_t end = slice.end ? Clamped(*slice.end, size, step) : (step < 0 ? -1 : size);
  json::array taken;
  // `i` cannot overflow: a step that leads out of the array ends it.
  for (std::int64_t i = begin; step > 0 ? i < end : i > end;) {
    taken.push_back(from[static_cast<std::size_t>(i)]);
    if (step > 0 ? step >= end - i : step <= end - i) break;
    i += step;
  }
  return taken;
}

std::optional<double> AsDouble(const json::value& value) {
  if (value.is_int64()) return static_cast<double>(value.get_int64());
  if (value.is_uint64()) return static_cast<double>(value.get_uint64());
  if (value.is_double()) return value.get_double();
  return std::nullopt;
}

// As JMESPath orders values: numbers only; null otherwise.
json::value Compared(const json::value& a, const json::value& b, std::string_view by) {
  if (by == "==") return AreEqual(a, b);
  if (by == "!=") return !AreEqual(a, b);
  if (!a.is_number() || !b.is_number()) return nullptr;
  if (by == "<") return IsLess(a, b);
  if (by == ">") return IsLess(b, a);
  const bool equal = AreEqual(a, b);
  return equal || (by == "<=" ? IsLess(a, b) : IsLess(b, a));
}

std::int64_t ValuesIn(const json::value& value, std::int64_t at_most) {
  std::int64_t values = 1;
  if (value.is_array()) {
    for (const auto& element : value.get_array()) {
      values += ValuesIn(element, at_most - values);
      if (values > at_most) break;
    }
  } else if (value.is_object()) {
    for (const auto& member : value.get_object()) {
      values += ValuesIn(member.value(), at_most - values);
      if (values > at_most) break;
    }
  }
  return values;
}

void Write(const json::value& value, std::string* out) {
  switch (value.kind()) {
    case json::kind::double_: {
      auto text = fmt::format("{}", value.get_double());
      if (text.find_first_of(".en") == std::string::npos) text += ".0";
      *out += text;
      return;
    }
    case json::kind::array: {
      *out += '[';
      bool first = true;
      for (const auto& element : value.get_array()) {
        if (!std::exchange(first, false)) *out += ',';
        Write(element, out);
      }
      *out += ']';
      return;
    }
    case json::kind::object: {
      *out += '{';
      bool first = true;
      for (const auto& member : value.get_object()) {
        if (!std::exchange(first, false)) *out += ',';
        *out += json::serialize(json::string(member.key()));
        *out += ':';
        Write(member.value(), out);
      }
      *out += '}';
      return;
    }
    default:
      *out += json::serialize(value);
  }
}

}  // namespace

std::vector<std::string_view> SortedKeys(const json::object& object) {
  std::vector<std::string_view> keys;
  for (const auto& member : object) keys.push_back(member.key());
  std::sort(keys.begin(), keys.end());
  return keys;
}

bool IsTrue(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return false;
    case json::kind::bool_:
      return value.get_bool();
    case json::kind::string:
      return !value.get_string().empty();
    case json::kind::array:
      return !value.get_array().empty();
    case json::kind::object:
      return !value.get_object().empty();
    default:
      return true;
  }
}

bool AreEqual(const json::value& a, const json::value& b) {
  if (a.is_number() && b.is_number()) {
    return a.is_double() || b.is_double() ? *AsDouble(a) == *AsDouble(b) : a == b;
  }
  if (a.is_array() && b.is_array()) {
    return std::equal(a.get_array().begin(), a.get_array().end(), b.get_array().begin(), b.get_array().end(), AreEqual);
  }
  if (a.is_object() && b.is_object()) {
    if (a.get_object().size() != b.get_object().size()) return false;
    return std::all_of(a.get_object().begin(), a.get_object().end(), [&](const auto& member) {
      const auto* const other = b.get_object().if_contains(member.key());
      return other != nullptr && AreEqual(member.value(), *other);
    });
  }
  return a == b;
}

bool IsLess(const json::value& a, const json::value& b) {
  if (a.is_string()) return std::string_view(a.get_string()) < std::string_view(b.get_string());
  if (a.is_double() || b.is_double()) return *AsDouble(a) < *AsDouble(b);
  if (a.is_int64() && b.is_int64()) return a.get_int64() < b.get_int64();
  if (a.is_uint64() && b.is_uint64()) return a.get_uint64() < b.get_uint64();
  // Of two kinds only what does not fit the other's is large: uint64 is used above the largest int64 alone.
  return a.is_int64();
}

Status Evaluation::Count(const Value& value) {
  values_ += ValuesIn(value, JmesPath::kValuesMax);
  if (values_ <= JmesPath::kValuesMax) return Status::OK();
  return TooLarge("the expression makes more than {} values", JmesPath::kValuesMax);
}

Result<const json::value*> Evaluation::Keep(Value value) {
  RETURN_NOT_OK(Count(value));
  return &kept_.emplace_back(std::move(value));
}

Result<const json::value*> Evaluation::Project(const Node& each, const json::array& elements) {
  json::array projected;
  for (const auto& element : elements) {
    ASSIGN_OR_RETURN(const auto* const value, Of(each, element));
    if (!value->is_null()) projected.push_back(*value);
  }
  return Keep(std::move(projected));
}

Result<const json::value*> Evaluation::Of(const Node& node, const Value& current) {
  const auto child = [&](std::size_t i) -> const Node& { return *node.children[i]; };
  switch (node.kind) {
    case Kind::kCurrent:
      return &current;
    case Kind::kField: {
      if (!current.is_object()) return &kNull;
      const auto* const found = current.get_object().if_contains(node.name);
      return found == nullptr ? &kNull : found;
    }
    case Kind::kIndex: {
      if (!current.is_array()) return &kNull;
      const auto size = static_cast<std::int64_t>(current.get_array().size());
      const std::int64_t at = node.index < 0 ? node.index + size : node.index;
      return at < 0 || at >= size ? &kNull : &current.get_array()[static_cast<std::size_t>(at)];
    }
    case Kind::kSlice:
      if (!current.is_array()) return &kNull;
      return Keep(Slice(current.get_array(), node));
    case Kind::kThen: {
      ASSIGN_OR_RETURN(const auto* const left, Of(child(0), current));
      return Of(child(1), *left);
    }
    case Kind::kFlatten: {
      ASSIGN_OR_RETURN(const auto* const of, Of(child(0), current));
      if (!of->is_array()) return &kNull;
      json::array flat;
      for (const auto& element : of->get_array()) {
        if (element.is_array()) {
          flat.insert(flat.end(), element.get_array().begin(), element.get_array().end());
        } else {
          flat.push_back(element);
        }
      }
      return Keep(std::move(flat));
    }
    case Kind::kListProjection: {
      ASSIGN_OR_RETURN(const auto* const of, Of(child(0), current));
      return of->is_array() ? Project(child(1), of->get_array()) : &kNull;
    }
    case Kind::kObjectProjection: {
      ASSIGN_OR_RETURN(const auto* const of, Of(child(0), current));
      if (!of->is_object()) return &kNull;
      json::array values;
      for (const auto key : SortedKeys(of->get_object())) values.push_back(of->get_object().at(key));
      ASSIGN_OR_RETURN(const auto* const kept, Keep(std::move(values)));
      return Project(child(1), kept->get_array());
    }
    case Kind::kFilterProjection: {
      ASSIGN_OR_RETURN(const auto* const of, Of(child(0), current));
      if (!of->is_array()) return &kNull;
      json::array taken;
      for (const auto& element : of->get_array()) {
        ASSIGN_OR_RETURN(const auto* const condition, Of(child(1), element));
        if (IsTrue(*condition)) taken.push_back(element);
      }
      ASSIGN_OR_RETURN(const auto* const kept, Keep(std::move(taken)));
      return Project(child(2), kept->get_array());
    }
    case Kind::kCompare: {
      ASSIGN_OR_RETURN(const auto* const left, Of(child(0), current));
      ASSIGN_OR_RETURN(const auto* const right, Of(child(1), current));
      return Keep(Compared(*left, *right, node.name));
    }
    case Kind::kAnd:
    case Kind::kOr: {
      ASSIGN_OR_RETURN(const auto* const left, Of(child(0), current));
      if (IsTrue(*left) == (node.kind == Kind::kOr)) return left;
      return Of(child(1), current);
    }
    case Kind::kNot: {
      ASSIGN_OR_RETURN(const auto* const of, Of(child(0), current));
      return Keep(!IsTrue(*of));
    }
    case Kind::kList: {
      if (current.is_null()) return &kNull;
      json::array list;
      for (const auto& element : node.children) {
        ASSIGN_OR_RETURN(const auto* const value, Of(*element, current));
        list.push_back(*value);
      }
      return Keep(std::move(list));
    }
    case Kind::kObject: {
      if (current.is_null()) return &kNull;
      json::object object;
      for (std::size_t i = 0; i < node.keys.size(); ++i) {
        ASSIGN_OR_RETURN(const auto* const value, Of(child(i), current));
        object[node.keys[i]] = *value;
      }
      return Keep(std::move(object));
    }
    case Kind::kLiteral:
      return &node.literal;
    case Kind::kCall: {
      std::vector<Argument> arguments;
      for (const auto& argument : node.children) {
        if (argument->kind == Kind::kReference) {
          arguments.push_back({.reference = argument->children.front().get()});
        } else {
          ASSIGN_OR_RETURN(const auto* const value, Of(*argument, current));
          arguments.push_back({.value = value});
        }
      }
      ASSIGN_OR_RETURN(auto value, Call(*FindJmesPathFunction(node.name), *this, arguments));
      return Keep(std::move(value));
    }
    case Kind::kReference:
      break;  // Arguments only, see kCall.
  }
  return Internal("a node of kind {} cannot be evaluated", static_cast<int>(node.kind));
}

Result<JmesPath> JmesPath::Parse(std::string_view expression) {
  ASSIGN_OR_RETURN(auto root, ParseJmesPath(expression));
  return JmesPath(std::string(expression), std::move(root));
}

Result<json::value> JmesPath::Search(const json::value& document) const {
  Evaluation evaluation;
  ASSIGN_OR_RETURN(const auto* const found, evaluation.Of(*root_, document));
  return *found;
}

std::string ToJsonText(const json::value& value) {
  std::string text;
  Write(value, &text);
  return text;
}

}  // namespace millrace::ingest
