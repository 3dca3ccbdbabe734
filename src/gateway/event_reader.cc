#include "gateway/event_reader.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <string_view>

#include "base/ascii_case.h"
#include "base/percent_coding.h"
#include "gateway/key_field.h"
#include "gateway/packed_body.h"
#include "ingest/decode_spec.h"
#include "ingest/json/field_scan.h"
#include "ingest/records/splitter.h"
#include "ingest/values/base64.h"

namespace millrace::gateway {
namespace {

using http::Problem;
using http::Request;
using simdjson::ondemand::json_type;
using JsonValue = simdjson::ondemand::value;

constexpr std::string_view kMediaTypes =
    "application/json, application/x-ndjson, application/cloudevents+json, application/cloudevents-batch+json";

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const auto begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::string MediaTypeOf(std::string_view content_type) {
  return AsciiLower(Trimmed(content_type.substr(0, content_type.find(';'))));
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

class EventReader::Impl {
 public:
  std::variant<Batch, Problem> Read(const Request& request, const ReadRules& rules) {
    std::string_view body = request.body;
    if (auto problem = packed_.Unpack(request.content_encoding, rules.body_bytes_max, &body))
      return *std::move(problem);
    Batch batch;
    auto problem = ReadInto(request, body, rules, batch);
    packed_.Clear();
    if (parser_.capacity() > kBytesKept) parser_ = simdjson::ondemand::parser();
    for (std::string* text : {&copy_, &scratch_}) {
      if (text->capacity() > kBytesKept) std::string().swap(*text);
    }
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

  std::optional<Problem> TakeOne(std::string_view body, const ReadRules& rules, bool cloud_event, Batch& batch) {
    if (body.empty()) return Problem{400, "empty_body", "There is no event in the body.", {}};
    CopyOf(body);
    TakeDocument(0, copy_.data(), body.size(), rules, cloud_event, batch);
    // Of one event alone, what is wrong with it is wrong with the request.
    if (!batch.rejected.empty() && batch.rejected[0].code == "invalid_json") {
      return Problem{400, "invalid_json", batch.rejected[0].detail, {}};
    }
    return std::nullopt;
  }

  std::optional<Problem> TakeArray(std::string_view body, const ReadRules& rules, bool cloud_events, Batch& batch) {
    documents_.clear();
    if (auto problem = array_->Split(body, &documents_)) {
      if (problem->reason == ingest::TooManyDocuments().reason) return TooManyEvents();
      return Problem{400, "invalid_json", fmt::format("The body is not a JSON array: {}.", problem->detail), {}};
    }
    if (documents_.size() > kEventsMax) return TooManyEvents();
    CopyOf(body);
    batch.events.reserve(documents_.size());
    for (std::size_t i = 0; i < documents_.size(); ++i) {
      const std::string_view document = documents_[i].bytes;
      TakeDocument(i, copy_.data() + (document.data() - body.data()), document.size(), rules, cloud_events, batch);
    }
    return std::nullopt;
  }

  std::optional<Problem> TakeLines(std::string_view body, const ReadRules& rules, Batch& batch) {
    CopyOf(body);
    std::size_t index = 0;
    for (std::size_t begin = 0; begin < body.size();) {
      const auto end = std::min(body.find('\n', begin), body.size());
      const std::string_view line = Trimmed(body.substr(begin, end - begin));
      begin = end + 1;
      if (line.empty()) continue;
      if (index == kEventsMax) return TooManyEvents();
      if (index == 0) batch.events.reserve(std::min(kEventsMax, body.size() / end + 1));  // As if all were as long.
      TakeDocument(index++, copy_.data() + (line.data() - body.data()), line.size(), rules, /*cloud_event=*/false,
                   batch);
    }
    return std::nullopt;
  }

  // The body, in which documents can be ended, and behind which may be read.
  void CopyOf(std::string_view body) {
    copy_.reserve(body.size() + ingest::FieldScan::kBytesBehind);
    copy_.assign(body).append(ingest::FieldScan::kBytesBehind, '\0');
  }

  // What may be one, in copy_; the byte behind it is written over.
  void TakeDocument(std::size_t index, char* begin, std::size_t size, const ReadRules& rules, bool cloud_event,
                    Batch& batch) {
    const std::string_view text(begin, size);
    if (size > rules.event_bytes_max) return RejectTooLarge(index, size, rules, batch);
    begin[size] = '\0';
    ingest::FieldScan::Found found;
    const std::string_view field = rules.key && !cloud_event ? std::string_view(*rules.key) : std::string_view();
    if (const auto problem = scan_.Scan(text, field, &found)) {
      return Reject(index, "invalid_json", fmt::format("The event is not valid JSON: {}.", problem->detail), batch);
    }
    if (!found.is_object) {
      return Reject(index, "not_an_object", "An event is a JSON object; this is another value.", batch);
    }
    Event event{.index = index};
    if (cloud_event) {
      simdjson::ondemand::document document;
      auto fault = Open(text, document) == simdjson::SUCCESS ? TakeEnvelope(document, event)
                                                             : std::optional<std::string>("It cannot be read.");
      if (fault) return Reject(index, "invalid_cloudevent", *fault, batch);
      if (!key_field_.Take(rules, event, batch)) return;
    } else {
      event.payload = text;
      if (!TakeKey(std::move(found), rules, event, batch)) return;
    }
    AddEvent(std::move(event), rules, batch);
  }

  // Of a copy, which the parser may read beyond.
  simdjson::error_code Open(std::string_view text, simdjson::ondemand::document& document) {
    scratch_.reserve(text.size() + simdjson::SIMDJSON_PADDING);
    scratch_.assign(text);
    return parser_.iterate(scratch_.data(), scratch_.size(), scratch_.capacity()).get(document);
  }

  // What is wrong with it; else `event` has all of it.
  static std::optional<std::string> TakeEnvelope(simdjson::ondemand::document& document, Event& event) {
    simdjson::ondemand::object object;
    if (document.get_object().get(object) != simdjson::SUCCESS) return "It is not an object.";
    bool has_data = false;
    std::optional<std::string> text;  // Of `data`, if it is one.
    for (auto each : object) {
      std::string_view name;
      JsonValue at;
      if (each.unescaped_key().get(name) != simdjson::SUCCESS || each.value().get(at) != simdjson::SUCCESS) {
        return "It cannot be read.";
      }
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
        return Reject(0, "invalid_cloudevent", fmt::format("The header 'ce-{}' is no attribute of an event.", name),
                      batch);
      }
      if (name == "partitionkey") event.key = *decoded;
      event.headers.emplace_back(HeaderOf(name), *std::move(decoded));
    }
    if (!request.content_type.empty()) event.headers.emplace_back("content-type", request.content_type);
    if (auto fault = FaultOfAttributes(event.headers)) {
      return Reject(0, "invalid_cloudevent", *fault, batch);
    }
    if (key_field_.Take(rules, event, batch)) AddEvent(std::move(event), rules, batch);
  }

  static std::unique_ptr<ingest::Splitter> MakeArraySplitter() {
    ingest::DecodeSpec spec;
    spec.records = ingest::Records::kArray;
    return ingest::MakeSplitter(spec).ValueOrDie();
  }

  PackedBody packed_;
  const std::unique_ptr<ingest::Splitter> array_ = MakeArraySplitter();
  std::vector<ingest::Document> documents_;
  // Knows JSON to the letter, and has no opinion on how large a number may be.
  ingest::FieldScan scan_;
  std::string copy_;
  // Of CloudEvents.
  simdjson::ondemand::parser parser_;
  std::string scratch_;
  KeyField key_field_;
};

EventReader::EventReader() : impl_(std::make_unique<Impl>()) {}
EventReader::~EventReader() = default;

std::variant<Batch, Problem> EventReader::Read(const Request& request, const ReadRules& rules) {
  return impl_->Read(request, rules);
}

}  // namespace millrace::gateway
