#include "ingest/jmespath/json_value.h"

#include <simdjson.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <cmath>
#include <cstdint>

#include "ingest/json/json_decoder.h"

namespace millrace::ingest {
namespace {

namespace json = boost::json;
namespace dom = simdjson::dom;

json::value ValueOf(const dom::element& element) {
  switch (element.type()) {
    case dom::element_type::ARRAY: {
      json::array array;
      const dom::array items = element.get_array().value_unsafe();
      for (const dom::element item : items) array.push_back(ValueOf(item));
      return array;
    }
    case dom::element_type::OBJECT: {
      json::object object;
      const dom::object members = element.get_object().value_unsafe();
      for (const dom::key_value_pair member : members) object[member.key] = ValueOf(member.value);
      return object;
    }
    case dom::element_type::INT64:
      return std::int64_t{element.get_int64().value_unsafe()};
    case dom::element_type::UINT64:
      return std::uint64_t{element.get_uint64().value_unsafe()};
    case dom::element_type::DOUBLE:
      return double{element.get_double().value_unsafe()};
    case dom::element_type::STRING:
      return json::string(std::string_view(element.get_string().value_unsafe()));
    case dom::element_type::BOOL:
      return bool{element.get_bool().value_unsafe()};
    case dom::element_type::NULL_VALUE:
      return nullptr;
  }
  return nullptr;
}

}  // namespace

std::optional<json::value> ParseJsonValue(std::string_view text) {
  dom::parser parser;
  dom::element root;
  const auto parsed = parser.parse(simdjson::padded_string(text)).get(root);
  if (parsed == simdjson::SUCCESS) return ValueOf(root);
  // simdjson has no value for whole numbers beyond 64 bits.
  if (parsed != simdjson::NUMBER_ERROR && parsed != simdjson::NUMBER_OUT_OF_RANGE) return std::nullopt;
  boost::system::error_code error;
  json::parse_options options;
  options.max_depth = kMaxDepth;
  auto value = json::parse(text, error, {}, options);
  return error ? std::nullopt : std::optional(std::move(value));
}

bool IsFinite(const json::value& value) {
  if (const auto* const number = value.if_double()) return std::isfinite(*number);
  if (const auto* const array = value.if_array()) return std::all_of(array->begin(), array->end(), IsFinite);
  const auto* const object = value.if_object();
  return object == nullptr ||
         std::all_of(object->begin(), object->end(), [](const auto& member) { return IsFinite(member.value()); });
}

}  // namespace millrace::ingest
