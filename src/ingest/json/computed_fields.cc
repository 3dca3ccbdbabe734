#include "ingest/json/computed_fields.h"

#include <simdjson.h>

#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "ingest/inner_documents.h"
#include "ingest/jmespath/jmespath.h"
#include "ingest/jmespath/json_value.h"

namespace millrace::ingest {
namespace {

namespace json = boost::json;

/// What an expression is of the record instead of its document.
using OfRecord = json::value (*)(const Document& document);

// Null: the expression is JMESPath.
OfRecord FindOfRecord(std::string_view expression) {
  static constexpr std::pair<std::string_view, OfRecord> kOfRecords[] = {
      {"kafka.topic", [](const Document& document) { return json::value(document.source->topic); }},
      {"kafka.partition", [](const Document& document) { return json::value(document.source->partition); }},
      {"kafka.offset", [](const Document& document) { return json::value(document.record->offset); }},
      {"kafka.timestamp", [](const Document& document) { return json::value(document.record->timestamp); }},
      {kTimestampType, [](const Document& document) { return json::value(document.append_time ? 1 : 0); }}};
  for (const auto& [name, of_record] : kOfRecords) {
    if (name == expression) return of_record;
  }
  return nullptr;
}

struct Computed {
  std::vector<std::string> path;
  OfRecord of_record = nullptr;        // Null: see `expression`.
  std::optional<JmesPath> expression;  // nullopt: see `of_record`.

  Result<json::value> Of(const json::value& document, const Document& source) const {
    if (of_record != nullptr) return of_record(source);
    auto value = expression->Search(document);
    if (!value.ok()) return WithContext(value.status(), "'{}'", expression->expression());
    if (!IsFinite(*value)) {
      return InvalidInput("'{}': gives a number that is out of the range of double", expression->expression());
    }
    return value;
  }
};

// Takes the place of what is at the path.
void Set(json::object& object, std::span<const std::string> path, json::value value) {
  if (path.size() == 1) {
    object[path.front()] = std::move(value);
    return;
  }
  auto& next = object[path.front()];
  if (!next.is_object()) next = json::object();
  Set(next.get_object(), path.subspan(1), std::move(value));
}

class ComputingDecoder final : public Decoder {
 public:
  ComputingDecoder(std::vector<Computed> computed, std::unique_ptr<Decoder> documents)
      : computed_(std::move(computed)), documents_(std::move(documents)) {}

  Result<DecodedDocuments> Decode(std::span<const Document> documents) override {
    std::deque<std::string> texts;
    inner_.Clear();
    for (std::size_t i = 0; i < documents.size(); ++i) {
      auto text = Compute(documents[i]);
      if (!text.ok()) {
        inner_.Refuse({i, "transform", text.status().message()});
        continue;
      }
      Document document = documents[i];
      if (*text) document.bytes = texts.emplace_back(*std::move(*text));
      inner_.Add(i, document);
    }
    return inner_.Decode(*documents_);
  }

 private:
  // nullopt: it is no object, which the decoder behind says better.
  Result<std::optional<std::string>> Compute(const Document& source) {
    const auto document = ParseJsonValue(source.bytes);
    if (!document || !document->is_object()) return std::nullopt;
    json::object changed;  // The members that something is computed in, as they will be.
    for (const auto& computed : computed_) {
      ASSIGN_OR_RETURN(auto value, computed.Of(*document, source));
      if (value.is_null()) continue;
      const auto& first = computed.path.front();
      const auto* const before = document->get_object().if_contains(first);
      if (before != nullptr && !changed.contains(first)) changed[first] = *before;
      Set(changed, computed.path, std::move(value));
    }
    return Replaced(source.bytes, changed);
  }

  std::optional<std::string> Replaced(std::string_view bytes, const json::object& changed) {
    std::string text = "{";
    const simdjson::padded_string padded(bytes);
    simdjson::ondemand::document document;
    simdjson::ondemand::object object;
    if (parser_.iterate(padded).get(document) != simdjson::SUCCESS) return std::nullopt;
    if (document.get_object().get(object) != simdjson::SUCCESS) return std::nullopt;
    for (auto member : object) {
      std::string_view name;
      if (member.unescaped_key().get(name) != simdjson::SUCCESS) return std::nullopt;
      if (changed.contains(name)) continue;
      const std::string key = ToJsonText(json::string(name));
      std::string_view value;
      if (simdjson::to_json_string(member.value()).get(value) != simdjson::SUCCESS) return std::nullopt;
      Append(key, value, &text);
    }
    for (const auto& member : changed) {
      Append(ToJsonText(json::string(member.key())), ToJsonText(member.value()), &text);
    }
    return text + "}";
  }

  static void Append(std::string_view key, std::string_view value, std::string* text) {
    if (text->size() > 1) *text += ',';
    *text += key;
    *text += ':';
    *text += value;
  }

  const std::vector<Computed> computed_;
  const std::unique_ptr<Decoder> documents_;
  InnerDocuments inner_;
  simdjson::ondemand::parser parser_;
};

}  // namespace

Result<std::unique_ptr<Decoder>> MakeComputingDecoder(const DecodeSpec& spec, std::unique_ptr<Decoder> documents) {
  std::vector<Computed> computed;
  for (const auto& field : spec.computed) {
    if (field.path.empty() || std::count(field.path.begin(), field.path.end(), "") > 0) {
      return InvalidInput("'{}': a name of its path is empty", field.expression);
    }
    Computed one{.path = field.path, .of_record = FindOfRecord(field.expression), .expression = std::nullopt};
    if (one.of_record == nullptr) {
      ASSIGN_OR_RETURN(one.expression, JmesPath::Parse(field.expression));
    }
    computed.push_back(std::move(one));
  }
  return std::make_unique<ComputingDecoder>(std::move(computed), std::move(documents));
}

}  // namespace millrace::ingest
