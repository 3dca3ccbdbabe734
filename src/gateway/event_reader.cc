#include "gateway/event_reader.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <string_view>

#include "base/ascii_case.h"
#include "base/percent_coding.h"
#include "ingest/decode_spec.h"
#include "ingest/records/splitter.h"
#include "ingest/records/unpacker.h"
#include "ingest/values/base64.h"

namespace millrace::gateway {
namespace {

using http::Problem;
using http::Request;
using simdjson::ondemand::json_type;
using JsonValue = simdjson::ondemand::value;

constexpr std::string_view kMediaTypes =
    "application/json, application/x-ndjson, application/cloudevents+json, application/cloudevents-batch+json";
constexpr std::size_t kBytesKept = 1 << 20;  // Of what was read with, for the next body.

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const auto begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::string MediaTypeOf(std::string_view content_type) {
  return AsciiLower(Trimmed(content_type.substr(0, content_type.find(';'))));
}

Rejection Reject(std::size_t index, std::string_view code, std::string detail) {
  if (detail.size() > kRejectionBytesMax) detail.resize(kRejectionBytesMax);
  return {index, std::string(code), std::move(detail)};
}

enum class Shape { kDocument, kLines, kCloudEvent, kCloudEvents };

std::variant<Shape, Problem> ShapeOf(const std::string& content_type) {
  const std::string type = MediaTypeOf(content_type);
  if (type == "application/json") return Shape::kDocument;
  if (type == "application/x-ndjson" || type == "application/jsonl" || type == "text/plain") return Shape::kLines;
  if (type == "application/cloudevents+json") return Shape::kCloudEvent;
  if (type == "application/cloudevents-batch+json") return Shape::kCloudEvents;
  const std::string what =
      type.empty() ? "The request has no Content-Type." : fmt::format("'{}' is not read here.", type);
  return Problem{415, "media_type", what, fmt::format("Send one of {}.", kMediaTypes)};
}

// As it was sent.
std::string_view RawText(JsonValue at) {
  std::string_view raw;
  return simdjson::to_json_string(at).get(raw) == simdjson::SUCCESS ? Trimmed(raw) : std::string_view();
}

// What a value is as a record's key or header: a text, or the number as it was sent; nullopt: it is an object or an
// array.
std::optional<std::string> TextOf(JsonValue at) {
  json_type type{};
  std::string_view text;
  if (at.type().get(type) != simdjson::SUCCESS || type == json_type::object || type == json_type::array) {
    return std::nullopt;
  }
  if (type == json_type::string) {
    if (at.get_string().get(text) != simdjson::SUCCESS) return std::nullopt;
    return std::string(text);
  }
  return std::string(Trimmed(at.raw_json_token()));
}

bool IsNull(JsonValue at) {
  json_type type{};
  return at.type().get(type) == simdjson::SUCCESS && type == json_type::null;
}

// CloudEvents 1.0.2, "Attribute naming convention".
bool IsAttributeName(std::string_view name) {
  return !name.empty() &&
         std::all_of(name.begin(), name.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
}

// The Kafka binding, 3.2.3: the type of the data is the record's own content-type.
std::string HeaderOf(std::string_view attribute) {
  return attribute == "datacontenttype" ? "content-type" : "ce_" + std::string(attribute);
}

// nullopt: all is there that each event must have.
std::optional<std::string> FaultOfAttributes(const std::vector<std::pair<std::string, std::string>>& headers) {
  const auto find = [&](std::string_view name) {
    return std::find_if(headers.begin(), headers.end(), [&](const auto& h) { return h.first == name; });
  };
  for (const std::string_view name : {"id", "source", "type", "specversion"}) {
    const auto found = find(HeaderOf(name));
    if (found == headers.end() || found->second.empty()) return fmt::format("The attribute '{}' is missing.", name);
  }
  const auto version = find("ce_specversion")->second;
  if (version != "1.0") return fmt::format("specversion is '{}'; 1.0 is read here.", version);
  return std::nullopt;
}

}  // namespace

std::size_t Event::bytes() const {
  std::size_t sum = payload.size() + (key ? key->size() : 0);
  for (const auto& [name, value] : headers) sum += name.size() + value.size();
  return sum;
}

class EventReader::Impl {
 public:
  std::variant<Batch, Problem> Read(const Request& request, const ReadRules& rules) {
    std::string_view body = request.body;
    if (auto problem = Unpack(request.content_encoding, rules, &body)) return *std::move(problem);
    Batch batch;
    auto problem = ReadInto(request, body, rules, batch);
    unpacker_.Clear();
    if (parser_.capacity() > kBytesKept) parser_ = simdjson::ondemand::parser();
    if (scratch_.capacity() > kBytesKept) std::string().swap(scratch_);
    if (problem) return *std::move(problem);
    return batch;
  }

 private:
  std::optional<Problem> ReadInto(const Request& request, std::string_view body, const ReadRules& rules, Batch& batch) {
    const auto is_version = [](const auto& attribute) { return attribute.first == "specversion"; };
    if (std::any_of(request.cloud_event.begin(), request.cloud_event.end(), is_version)) {
      TakeBinary(request, body, rules, batch);
      return std::nullopt;
    }
    const auto shape = ShapeOf(request.content_type);
    if (const auto* problem = std::get_if<Problem>(&shape)) return *problem;
    body = Trimmed(body);
    switch (std::get<Shape>(shape)) {
      case Shape::kDocument:
        if (body.starts_with('[')) return TakeArray(body, rules, /*cloud_events=*/false, batch);
        return TakeOne(body, rules, /*cloud_event=*/false, batch);
      case Shape::kCloudEvent:
        return TakeOne(body, rules, /*cloud_event=*/true, batch);
      case Shape::kCloudEvents:
        return TakeArray(body, rules, /*cloud_events=*/true, batch);
      case Shape::kLines:
        return TakeLines(body, rules, batch);
    }
    return std::nullopt;
  }

  std::optional<Problem> Unpack(std::string_view encoding, const ReadRules& rules, std::string_view* body) {
    const std::string coding = AsciiLower(Trimmed(encoding));
    std::optional<ingest::Packing> packing;
    if (coding == "gzip" || coding == "x-gzip") packing = ingest::Packing::kGzip;
    if (coding == "zstd") packing = ingest::Packing::kZstd;
    if (!packing && !coding.empty() && coding != "identity") {
      return Problem{415, "content_encoding", fmt::format("A body with the coding '{}' is not read here.", coding),
                     "Send it plain, or as gzip or zstd alone."};
    }
    if (!packing) {
      if (body->size() <= rules.body_bytes_max) return std::nullopt;
      return Problem{413, "body_too_large", fmt::format("The body exceeds {} bytes.", rules.body_bytes_max), {}};
    }
    auto problem = unpacker_.Unpack(*packing, *body, rules.body_bytes_max, body);
    if (!problem) return std::nullopt;
    unpacker_.Clear();
    if (problem->reason == "too_large") {
      return Problem{413, "body_too_large", fmt::format("{}.", problem->detail), "Send it in several requests."};
    }
    return Problem{400, "bad_compression", fmt::format("{}.", problem->detail), {}};
  }

  std::optional<Problem> TakeOne(std::string_view body, const ReadRules& rules, bool cloud_event, Batch& batch) {
    if (body.empty()) return Problem{400, "empty_body", "There is no event in the body.", {}};
    TakeUnread(0, body, rules, cloud_event, batch);
    // Of one event alone, what is wrong with it is wrong with the request.
    if (!batch.rejected.empty() && batch.rejected[0].code == "invalid_json") {
      return Problem{400, "invalid_json", batch.rejected[0].detail, {}};
    }
    return std::nullopt;
  }

  std::optional<Problem> TakeArray(std::string_view body, const ReadRules& rules, bool cloud_events, Batch& batch) {
    std::vector<ingest::Document> documents;
    if (auto problem = array_->Split(body, &documents)) {
      if (problem->reason == ingest::TooManyDocuments().reason) return TooManyEvents();
      return Problem{400, "invalid_json", fmt::format("The body is not a JSON array: {}.", problem->detail), {}};
    }
    if (documents.size() > kEventsMax) return TooManyEvents();
    for (std::size_t i = 0; i < documents.size(); ++i) {
      TakeDocument(i, documents[i].bytes, rules, cloud_events, batch);
    }
    return std::nullopt;
  }

  std::optional<Problem> TakeLines(std::string_view body, const ReadRules& rules, Batch& batch) {
    std::size_t index = 0;
    while (!body.empty()) {
      const auto end = std::min(body.find('\n'), body.size());
      const std::string_view line = Trimmed(body.substr(0, end));
      body.remove_prefix(std::min(end + 1, body.size()));
      if (line.empty()) continue;
      if (index == kEventsMax) return TooManyEvents();
      TakeUnread(index++, line, rules, /*cloud_event=*/false, batch);
    }
    return std::nullopt;
  }

  static Problem TooManyEvents() {
    return {413, "too_many_events", fmt::format("The body has more than {} events.", kEventsMax),
            "Send them in several requests."};
  }

  static void RejectJson(std::size_t index, std::string_view why, Batch& batch) {
    batch.rejected.push_back(Reject(index, "invalid_json", fmt::format("The event is not valid JSON: {}.", why)));
  }

  // A document that nobody has looked at yet: whether it is one, to the last character.
  void TakeUnread(std::size_t index, std::string_view text, const ReadRules& rules, bool cloud_event, Batch& batch) {
    if (text.size() > rules.event_bytes_max) return RejectTooLarge(index, text.size(), rules, batch);
    scratch_.assign(1, '[').append(text).append(1, ']');
    documents_.clear();
    if (const auto problem = array_->Split(scratch_, &documents_)) return RejectJson(index, problem->detail, batch);
    if (documents_.size() != 1) return RejectJson(index, "there are several values", batch);
    TakeDocument(index, text, rules, cloud_event, batch);
  }

  // A document that is JSON, but perhaps not UTF-8.
  void TakeDocument(std::size_t index, std::string_view text, const ReadRules& rules, bool cloud_event, Batch& batch) {
    if (text.size() > rules.event_bytes_max) return RejectTooLarge(index, text.size(), rules, batch);
    simdjson::ondemand::document document;
    if (const auto error = Open(text, document)) return RejectJson(index, simdjson::error_message(error), batch);
    if (!text.starts_with('{')) {
      batch.rejected.push_back(Reject(index, "not_an_object", "An event is a JSON object; this is another value."));
      return;
    }
    Event event{.index = index};
    if (cloud_event) {
      if (auto fault = TakeEnvelope(document, event)) {
        batch.rejected.push_back(Reject(index, "invalid_cloudevent", *std::move(fault)));
        return;
      }
      const bool has_fields = rules.key && Open(event.payload, document) == simdjson::SUCCESS;
      if (has_fields && !TakeKey(document, rules, event, batch)) return;
    } else {
      event.payload = text;
      if (!TakeKey(document, rules, event, batch)) return;
    }
    Add(std::move(event), rules, batch);
  }

  // Of a copy, which the parser may read beyond.
  simdjson::error_code Open(std::string_view text, simdjson::ondemand::document& document) {
    scratch_.reserve(text.size() + simdjson::SIMDJSON_PADDING);
    scratch_.assign(text);
    return parser_.iterate(scratch_.data(), scratch_.size(), scratch_.capacity()).get(document);
  }

  struct KeyField {
    std::optional<std::string> text;
    bool is_composite = false;
  };

  // As the decoder reads it: names may be written with escapes, and of two fields of one name the last counts.
  static KeyField FindKey(simdjson::ondemand::object object, std::string_view path) {
    const std::string_view wanted = path.substr(0, path.find('.'));
    KeyField found;
    for (auto each : object) {
      simdjson::ondemand::field field;
      std::string_view name;
      if (std::move(each).get(field) != simdjson::SUCCESS) return {};
      if (field.unescaped_key().get(name) != simdjson::SUCCESS || name != wanted) continue;
      found = {};
      JsonValue at = field.value();
      simdjson::ondemand::object inner;
      if (wanted.size() < path.size()) {
        if (at.get_object().get(inner) == simdjson::SUCCESS) found = FindKey(inner, path.substr(wanted.size() + 1));
      } else if (!IsNull(at)) {
        found.text = TextOf(at);
        found.is_composite = !found.text;
      }
    }
    return found;
  }

  // The field's value, if there is one that is not null. False: the event is rejected.
  static bool TakeKey(simdjson::ondemand::document& document, const ReadRules& rules, Event& event, Batch& batch) {
    if (!rules.key) return true;
    simdjson::ondemand::object object;
    if (document.get_object().get(object) != simdjson::SUCCESS) return true;
    auto found = FindKey(object, *rules.key);
    event.key = std::move(found.text);
    if (!found.is_composite) return true;
    batch.rejected.push_back(Reject(event.index, "invalid_key",
                                    fmt::format("The field '{}' is an object or an array, and no key.", *rules.key)));
    return false;
  }

  static void Add(Event event, const ReadRules& rules, Batch& batch) {
    if (event.bytes() > rules.event_bytes_max) return RejectTooLarge(event.index, event.bytes(), rules, batch);
    batch.events.push_back(std::move(event));
  }

  static void RejectTooLarge(std::size_t index, std::size_t bytes, const ReadRules& rules, Batch& batch) {
    batch.rejected.push_back(
        Reject(index, "event_too_large",
               fmt::format("The event has {} bytes; {} are the most for this topic.", bytes, rules.event_bytes_max)));
  }

  // What is wrong with it; else `event` has all of it.
  static std::optional<std::string> TakeEnvelope(simdjson::ondemand::document& document, Event& event) {
    simdjson::ondemand::object object;
    if (document.get_object().get(object) != simdjson::SUCCESS) return "It is not an object.";
    bool has_data = false;
    std::optional<std::string> text;  // Of `data`, if it is one.
    for (auto each : object) {
      simdjson::ondemand::field field;
      std::string_view name;
      if (std::move(each).get(field) != simdjson::SUCCESS || field.unescaped_key().get(name) != simdjson::SUCCESS) {
        return "It cannot be read.";
      }
      JsonValue at = field.value();
      if (name == "data" || name == "data_base64") {
        if (std::exchange(has_data, true)) return "There is both 'data' and 'data_base64'.";
        if (name == "data_base64") {
          const auto encoded = TextOf(at);
          if (!encoded || !ingest::DecodeBase64(*encoded, &event.payload)) return "'data_base64' is not Base64.";
          continue;
        }
        // The bytes that were sent: a number may have more digits than a double.
        json_type type{};
        if (at.type().get(type) == simdjson::SUCCESS && type == json_type::string) {
          event.payload = Trimmed(at.raw_json_token());
          text = TextOf(at);
        } else {
          event.payload = RawText(at);
        }
        continue;
      }
      if (IsNull(at)) continue;
      if (!IsAttributeName(name)) return fmt::format("'{}' is not the name of an attribute: a-z and 0-9.", name);
      const std::string header = HeaderOf(name);
      const bool is_partition_key = name == "partitionkey";
      auto attribute = TextOf(at);
      if (!attribute) return fmt::format("The attribute '{}' is an object or an array.", header);
      if (is_partition_key) event.key = *attribute;
      event.headers.emplace_back(header, *std::move(attribute));
    }
    // The JSON format, 3.1.1: a text that is data of another type than JSON is that text.
    const auto type = std::find_if(event.headers.begin(), event.headers.end(),
                                   [](const auto& header) { return header.first == "content-type"; });
    const bool is_json = type == event.headers.end() || MediaTypeOf(type->second).ends_with("json");
    if (text && !is_json) event.payload = *std::move(text);
    return FaultOfAttributes(event.headers);
  }

  // The HTTP binding, 3.1: each attribute is a header, percent-encoded.
  void TakeBinary(const Request& request, std::string_view body, const ReadRules& rules, Batch& batch) {
    Event event;
    event.payload = body;
    for (const auto& [name, value] : request.cloud_event) {
      auto decoded = PercentDecode(value);
      if (!decoded.ok() || !IsAttributeName(name)) {
        batch.rejected.push_back(
            Reject(0, "invalid_cloudevent", fmt::format("The header 'ce-{}' is no attribute of an event.", name)));
        return;
      }
      if (name == "partitionkey") event.key = *decoded;
      event.headers.emplace_back(HeaderOf(name), *std::move(decoded));
    }
    if (!request.content_type.empty()) event.headers.emplace_back("content-type", request.content_type);
    if (auto fault = FaultOfAttributes(event.headers)) {
      batch.rejected.push_back(Reject(0, "invalid_cloudevent", *std::move(fault)));
      return;
    }
    simdjson::ondemand::document document;
    if (rules.key && Open(body, document) == simdjson::SUCCESS && !TakeKey(document, rules, event, batch)) return;
    Add(std::move(event), rules, batch);
  }

  static std::unique_ptr<ingest::Splitter> MakeArraySplitter() {
    ingest::DecodeSpec spec;
    spec.records = ingest::Records::kArray;
    return ingest::MakeSplitter(spec).ValueOrDie();
  }

  ingest::Unpacker unpacker_;
  // Knows JSON to the letter, and has no opinion on how large a number may be.
  const std::unique_ptr<ingest::Splitter> array_ = MakeArraySplitter();
  std::vector<ingest::Document> documents_;
  simdjson::ondemand::parser parser_;
  std::string scratch_;
};

EventReader::EventReader() : impl_(std::make_unique<Impl>()) {}
EventReader::~EventReader() = default;

std::variant<Batch, Problem> EventReader::Read(const Request& request, const ReadRules& rules) {
  return impl_->Read(request, rules);
}

}  // namespace millrace::gateway
