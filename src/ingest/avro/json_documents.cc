#include "ingest/avro/json_documents.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/json_text.h"
#include "ingest/avro/framing_internal.h"
#include "ingest/avro/resolution_internal.h"
#include "ingest/avro/schema.h"
#include "ingest/avro/value_text_internal.h"
#include "ingest/avro/wire_internal.h"
#include "ingest/inner_documents.h"
#include "ingest/json/computed_fields.h"
#include "ingest/json/json_decoder.h"
#include "ingest/payload_form.h"
#include "ingest/writer_schemas.h"

namespace millrace::ingest {
namespace avro {
namespace {

constexpr std::size_t kMaxSchemas = 1000;  // Of writers; beyond them all are parsed anew.

// Behind the name of a field: the member that has its time as text. No name of Avro's has a colon.
constexpr std::string_view kTimeSuffix = ":time";

bool IsTime(Logical logical) {
  switch (logical) {
    case Logical::kNone:
    case Logical::kDecimal:
    case Logical::kUuid:
    case Logical::kDuration:
      return false;
    default:
      return true;
  }
}

// The same, whose dates and times are numbers. `known`: of what there is a copy already; a type may be named often.
SchemaPtr WithoutTimes(const SchemaPtr& schema, std::map<const Schema*, SchemaPtr>& known) {
  if (const auto found = known.find(schema.get()); found != known.end()) return found->second;
  auto copy = std::make_shared<Schema>(*schema);
  if (IsTime(copy->logical)) copy->logical = Logical::kNone;
  for (auto& branch : copy->branches) branch = WithoutTimes(branch, known);
  for (auto& field : copy->fields) field.type = WithoutTimes(field.type, known);
  return known[schema.get()] = copy;
}

// How records of one writer's schema are written.
struct Writing {
  SchemaPtr schema;   // Null: see `detail`.
  SchemaPtr numbers;  // Of `schema`.
  std::string detail;
};

// `reader`: as what its records are read; null: as they were written.
Writing MakeWriting(const WriterSchema& written, const SchemaPtr& reader = nullptr) {
  if (written.language != SchemaLanguage::kAvro) {
    return {.detail = fmt::format("it is {}, and the format is avro", LanguageName(written.language))};
  }
  auto schema = ParseSchema(written.text, written.references);
  if (!schema.ok()) return {.detail = schema.status().message()};
  if ((*schema)->type != Type::kRecord) {
    return {.detail = fmt::format("events are records, and the schema is a {}", Describe(**schema))};
  }
  if (reader != nullptr) {
    schema = Resolved(*schema, reader);
    if (!schema.ok()) return {.detail = schema.status().message()};
  }
  std::map<const Schema*, SchemaPtr> known;
  return {.schema = *schema, .numbers = WithoutTimes(*schema, known), .detail = ""};
}

class AvroThroughJson final : public Decoder {
 public:
  AvroThroughJson(const DecodeSpec& spec, std::set<std::string> times, std::unique_ptr<Decoder> json)
      : spec_(spec), times_(std::move(times)), json_(std::move(json)) {}

  Status Prepare() {
    if (!spec_.schema) return Status::OK();
    declared_ = MakeWriting({.text = *spec_.schema->bytes, .references = spec_.schema->references});
    if (declared_->schema == nullptr) return InvalidInput("{}: {}", spec_.schema->file, declared_->detail);
    fingerprint_ = Fingerprint(*declared_->schema);
    return Status::OK();
  }

  Result<DecodedDocuments> Decode(std::span<const Document> documents) override {
    std::deque<std::string> texts;
    inner_.Clear();
    for (std::size_t i = 0; i < documents.size(); ++i) {
      std::string text;
      ASSIGN_OR_RETURN(auto refusal, Write(documents[i], text));
      if (refusal) {
        refusal->document = i;
        inner_.Refuse(*std::move(refusal));
        continue;
      }
      Document document = documents[i];
      document.bytes = texts.emplace_back(std::move(text));
      inner_.Add(i, document);
    }
    return inner_.Decode(*json_);
  }

 private:
  using MaybeRefusal = std::optional<Refusal>;

  static Refusal Refuse(std::string reason, std::string detail) {
    return {.reason = std::move(reason), .detail = std::move(detail)};
  }

  Result<MaybeRefusal> Write(const Document& document, std::string& text) {
    const std::string_view payload = document.bytes;
    const Writing* writing = declared_ ? &*declared_ : nullptr;
    std::size_t frame = 0;
    if (document.writer_schema != nullptr) {
      writing = &WritingOfText(*document.writer_schema);
    } else if (spec_.framing != Framing::kNone) {
      const bool is_confluent = spec_.framing == Framing::kConfluent;
      const Frame expected = FrameOf(spec_.framing);
      frame = expected.size;
      if (!expected.IsBefore(payload)) {
        const std::string form = FormOfPayload(payload);
        return Refuse("bad_framing",
                      fmt::format("the payload of {} bytes does not begin with {} framing{}", payload.size(),
                                  FramingName(spec_.framing), form.empty() ? "" : "; it looks like " + form));
      }
      const std::uint64_t id = IdIn(spec_.framing, payload);
      ASSIGN_OR_RETURN(writing, WritingOf(id));
      if (writing == nullptr) {
        return Refuse("unknown_schema",
                      fmt::format("there is no schema of the {} {}", is_confluent ? "id" : "fingerprint",
                                  is_confluent ? fmt::format("{}", id) : fmt::format("{:016x}", id)));
      }
    }
    if (writing->schema == nullptr) return Refuse("incompatible_schema", writing->detail);
    return WriteRecord(*writing, payload, frame, text);
  }

  // Null: there is none.
  Result<const Writing*> WritingOf(std::uint64_t id) {
    if (declared_ && spec_.framing == Framing::kSingleObject && id == fingerprint_) return &*declared_;
    if (const auto known = writings_.find(id); known != writings_.end()) return &known->second;
    if (spec_.writer_schemas == nullptr) return nullptr;
    const auto found = spec_.writer_schemas->Find(id);
    if (!found.ok() && KindOf(found.status()) == ErrorKind::kInvalidInput) {
      unusable_ = {.detail = found.status().message()};
      return &unusable_;
    }
    RETURN_NOT_OK(found.status());
    if (*found == nullptr) return nullptr;
    if (writings_.size() >= kMaxSchemas) writings_.clear();
    return &writings_.emplace(id, MakeWriting(**found)).first->second;
  }

  // Of a container file's schema.
  const Writing& WritingOfText(const std::string& schema) {
    if (const auto known = container_writings_.find(schema); known != container_writings_.end()) return known->second;
    if (container_writings_.size() >= kMaxSchemas) container_writings_.clear();
    auto writing = MakeWriting({.text = schema}, declared_ ? declared_->schema : nullptr);
    return container_writings_.emplace(schema, std::move(writing)).first->second;
  }

  MaybeRefusal WriteRecord(const Writing& writing, std::string_view payload, std::size_t frame, std::string& text) {
    const std::size_t limit = JsonBytesMax(payload.size());
    const auto* const begin = reinterpret_cast<Bytes>(payload.data());
    Bytes p = begin + frame;
    wire_.Begin(p, begin + payload.size(), frame);
    text = "{";
    for (std::size_t f = 0; f < writing.schema->fields.size() && p != nullptr; ++f) {
      const Field& field = writing.schema->fields[f];
      const Schema& numbers = *writing.numbers->fields[f].type;
      switch (field.presence) {
        case Field::Presence::kThere:
          p = WriteMember(field, numbers, p, limit, text);
          break;
        case Field::Presence::kLeftOut:
          p = SkipValue(wire_, *field.type, p);
          break;
        case Field::Presence::kDefault: {
          const Wire of_record = std::exchange(wire_, Wire());
          const auto* const value = reinterpret_cast<Bytes>(field.default_bytes->data());
          wire_.Begin(value, value + field.default_bytes->size(), 0);
          if (WriteMember(field, numbers, value, limit, text) == nullptr) {
            p = nullptr;
          } else {
            wire_ = of_record;
          }
        }
      }
    }
    if (p != nullptr && p != wire_.end()) {
      p = wire_.Fail("bad_avro", p,
                     fmt::format("the record ends there, and the payload has {} bytes more", wire_.left(p)));
    }
    text += '}';
    if (p != nullptr) return std::nullopt;
    const auto failure = wire_.TakeFailure();
    return Refuse(std::string(failure.reason), failure.problem);
  }

  // The value at `p` as a member, and again as a time if a column wants it so. Null: it failed.
  Bytes WriteMember(const Field& field, const Schema& numbers, Bytes p, std::size_t limit, std::string& text) {
    AddKey(field.name, text);
    const Bytes end = AppendJson(wire_, numbers, p, limit, text);
    if (end == nullptr || !times_.contains(field.name)) return end;
    AddKey(field.name + std::string(kTimeSuffix), text);
    return AppendJson(wire_, *field.type, p, limit, text);
  }

  static void AddKey(std::string_view name, std::string& text) {
    if (text.size() > 1) text += ',';
    AppendJsonString(name, text);
    text += ':';
  }

  const DecodeSpec spec_;
  const std::set<std::string> times_;  // Fields whose times are columns as they are.
  const std::unique_ptr<Decoder> json_;
  InnerDocuments inner_;
  std::optional<Writing> declared_;                              // Of spec_.schema; set by Prepare().
  std::uint64_t fingerprint_ = 0;                                // Likewise.
  std::unordered_map<std::uint64_t, Writing> writings_;          // By id.
  std::unordered_map<std::string, Writing> container_writings_;  // By the text of the schema.
  Writing unusable_;                                             // Of the last id whose schema nobody can use.
  Wire wire_;
};

bool IsComputed(const DecodeSpec& spec, const std::string& field) {
  return std::any_of(spec.computed.begin(), spec.computed.end(),
                     [&](const auto& computed) { return computed.path.front() == field; });
}

}  // namespace
}  // namespace avro

Result<std::unique_ptr<Decoder>> MakeAvroThroughJsonDecoder(const DecodeSpec& spec) {
  DecodeSpec of_json = spec;
  of_json.format = "json";
  of_json.schema.reset();
  of_json.framing = Framing::kNone;
  std::set<std::string> times;
  for (auto& column : of_json.columns) {
    const bool is_time = column.type->id() == arrow::Type::DATE32 || column.type->id() == arrow::Type::TIMESTAMP;
    if (!is_time || column.path.size() != 1 || avro::IsComputed(spec, column.path.front())) continue;
    times.insert(column.path.front());
    column.path = {column.path.front() + std::string(avro::kTimeSuffix)};
  }
  ASSIGN_OR_RETURN(auto json, MakeJsonDecoder(of_json));
  if (!spec.computed.empty()) {
    ASSIGN_OR_RETURN(json, MakeComputingDecoder(of_json, std::move(json)));
  }
  auto decoder = std::make_unique<avro::AvroThroughJson>(spec, std::move(times), std::move(json));
  RETURN_NOT_OK(decoder->Prepare());
  return decoder;
}

}  // namespace millrace::ingest
