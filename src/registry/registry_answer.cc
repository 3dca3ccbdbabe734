#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <limits>

#include "registry/registry_answer_internal.h"

namespace millrace::registry {
namespace {

namespace json = boost::json;

std::string_view TextOf(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

std::optional<std::int64_t> NumberOf(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_int64() ? std::optional(value->get_int64()) : std::nullopt;
}

// The beginning of a text that strangers wrote, fit for one line of a log.
std::string Shortened(std::string_view text) {
  constexpr std::size_t kShown = 200;
  std::string shown(text.substr(0, kShown));
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  }
  return text.size() > kShown ? shown + " ..." : shown;
}

}  // namespace

Result<Answer> ParseAnswer(const std::string& body) {
  boost::system::error_code error;
  const auto document = json::parse(body, error);
  const auto no_answer = [&body] {
    return Transient("it answered 200, and no schema: '{}'; is the URL that of a registry's API?", Shortened(body));
  };
  if (error || !document.is_object()) return no_answer();
  const auto& object = document.get_object();
  const auto* schema = object.if_contains("schema");
  if (schema == nullptr || !schema->is_string()) return no_answer();
  Answer answer{.type = std::string(TextOf(object, "schemaType")),
                .schema = std::string(schema->get_string()),
                .id = NumberOf(object, "id").value_or(0),
                .version = NumberOf(object, "version").value_or(0)};
  const auto* references = object.if_contains("references");
  if (references == nullptr || !references->is_array()) return answer;
  for (const auto& entry : references->get_array()) {
    const auto* reference = entry.if_object();
    const auto version = reference == nullptr ? std::nullopt : NumberOf(*reference, "version");
    if (!version || TextOf(*reference, "name").empty() || TextOf(*reference, "subject").empty()) return no_answer();
    answer.references.push_back(
        {std::string(TextOf(*reference, "name")), std::string(TextOf(*reference, "subject")), *version});
  }
  return answer;
}

Result<std::uint32_t> ParseRegistered(const std::string& body) {
  boost::system::error_code error;
  const auto document = json::parse(body, error);
  const auto* object = error ? nullptr : document.if_object();
  const auto id = object == nullptr ? std::nullopt : NumberOf(*object, "id");
  if (!id || *id < 0 || *id > std::numeric_limits<std::uint32_t>::max()) {
    return Transient("it answered 200, and no id: '{}'; is the URL that of a registry's API?", Shortened(body));
  }
  return static_cast<std::uint32_t>(*id);
}

std::optional<ingest::SchemaLanguage> LanguageOf(std::string_view type) {
  if (type.empty() || type == "AVRO")
    return ingest::SchemaLanguage::kAvro;  // It is left out of old registries' answers.
  if (type == "PROTOBUF") return ingest::SchemaLanguage::kProtobuf;
  if (type == "JSON") return ingest::SchemaLanguage::kJson;
  return std::nullopt;
}

std::string_view TypeOf(ingest::SchemaLanguage language) {
  switch (language) {
    case ingest::SchemaLanguage::kAvro:
      return "AVRO";
    case ingest::SchemaLanguage::kProtobuf:
      return "PROTOBUF";
    case ingest::SchemaLanguage::kJson:
      return "JSON";
  }
  return {};
}

Problem ParseProblem(const std::string& body) {
  boost::system::error_code error;
  const auto document = json::parse(body, error);
  const auto* object = error ? nullptr : document.if_object();
  const auto code = object == nullptr ? std::nullopt : NumberOf(*object, "error_code");
  return {code, Shortened(code ? TextOf(*object, "message") : std::string_view(body))};
}

}  // namespace millrace::registry
