#include "gateway/otlp_reader.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <string_view>

#include "base/ascii_case.h"
#include "base/json_text.h"
#include "gateway/key_field.h"
#include "gateway/otlp_json_internal.h"
#include "gateway/otlp_schema_internal.h"
#include "gateway/packed_body.h"
#include "ingest/protobuf/wire.h"

namespace millrace::gateway {
namespace {

using http::Problem;
using ingest::protobuf::Tag;
using ingest::protobuf::Wire;
using ingest::protobuf::WireReader;
using ingest::protobuf::WireValue;
using otlp::Field;
using otlp::Kind;
using otlp::Message;
using otlp::Written;

constexpr std::string_view kServiceName = "service.name";

const Message& RequestOf(OtlpSignal signal) {
  switch (signal) {
    case OtlpSignal::kLogs:
      return otlp::kLogsRequest;
    case OtlpSignal::kMetrics:
      return otlp::kMetricsRequest;
    case OtlpSignal::kTraces:
      break;
  }
  return otlp::kTracesRequest;
}

// Whether `wire` is how values of the field are written; else it is another field of the same number, of nobody knows
// what.
bool IsWireOf(const Field& field, Wire wire) {
  switch (field.kind) {
    case Kind::kText:
    case Kind::kHexBytes:
    case Kind::kBase64Bytes:
    case Kind::kMessage:
    case Kind::kAttributes:
    case Kind::kAnyValue:
      return wire == Wire::kBytes;
    case Kind::kBool:
    case Kind::kVarint:
    case Kind::kZigzag:
      return wire == Wire::kVarint || (field.is_repeated() && wire == Wire::kBytes);
    case Kind::kFixed32:
      return wire == Wire::kFixed32;
    case Kind::kFixed64:
    case Kind::kDouble:
      return wire == Wire::kFixed64 || (field.is_repeated() && wire == Wire::kBytes);
  }
  return false;
}

void AppendMember(std::string_view name, std::string& out) { out.append(1, '"').append(name).append("\":"); }

// The last of what was written had a comma behind it, if there was anything.
void Close(char bracket, std::string& out) {
  if (out.back() == ',') {
    out.back() = bracket;
  } else {
    out += bracket;
  }
}

void AppendDouble(double value, std::string& out) {
  if (std::isfinite(value)) {
    fmt::format_to(std::back_inserter(out), "{}", value);
  } else {
    AppendJsonString(NonFiniteText(value), out);
  }
}

void AppendHex(std::string_view bytes, std::string& out) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out += '"';
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  out += '"';
}

void AppendBase64(std::string_view bytes, std::string& out) {
  out += '"';
  const std::size_t begin = out.size();
  out.resize(begin + (bytes.size() + 2) / 3 * 4 + 1);  // With a zero that OpenSSL writes.
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data() + begin),
                  reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.back() = '"';
}

}  // namespace

std::optional<bool> IsOtlpJson(std::string_view content_type) {
  const auto end = content_type.substr(0, content_type.find(';')).find_last_not_of(" \t");
  const std::string_view type = content_type.substr(0, end == std::string_view::npos ? 0 : end + 1);
  if (EqualsIgnoringAsciiCase(type, "application/json")) return true;
  if (EqualsIgnoringAsciiCase(type, "application/x-protobuf")) return false;
  return std::nullopt;
}

class OtlpReader::Impl {
 public:
  std::variant<Batch, Problem> Read(const http::Request& request, OtlpSignal signal, const ReadRules& rules) {
    const auto is_json = IsOtlpJson(request.content_type);
    if (!is_json) {
      return Problem{415, "media_type", fmt::format("'{}' is not read here.", request.content_type),
                     "Send application/x-protobuf or application/json."};
    }
    std::string_view body = request.body;
    if (auto problem = packed_.Unpack(request.content_encoding, rules.body_bytes_max, &body))
      return *std::move(problem);
    rules_ = &rules;
    batch_ = {};
    next_index_ = 0;
    bytes_left_ = kOtlpGrowthMax * rules.body_bytes_max;
    auto problem = ReadBody(body, signal, *is_json);
    packed_.Clear();
    for (std::string* text : {&wire_, &event_, &around_}) {
      if (text->capacity() > kBytesKept) std::string().swap(*text);
    }
    if (problem) return *std::move(problem);
    return std::move(batch_);
  }

 private:
  std::optional<Problem> ReadBody(std::string_view body, OtlpSignal signal, bool is_json) {
    const char* const what = is_json ? "JSON" : "Protobuf";
    if (is_json) {
      wire_.clear();
      if (const auto fault = otlp::ToWire(body, RequestOf(signal), &wire_)) {
        return Problem{400, "invalid_json", fmt::format("The body is not OTLP's JSON: {}.", *fault), {}};
      }
      body = wire_;
    }
    wire_reader_.Begin(body);
    signal_ = signal;
    const bool read = ForEach(body, otlp::kParts, 1, [this](std::string_view part) { return ReadResource(part); });
    if (read) return std::nullopt;
    if (problem_) return std::exchange(problem_, std::nullopt);
    return Problem{400,
                   is_json ? "invalid_json" : "invalid_protobuf",
                   fmt::format("The body is not OTLP's {}: {}.", what, wire_reader_.TakeFailure().detail),
                   {}};
  }

  // False: the reader, or `take`, has failed. `depth`: how many messages there are with this one.
  template <typename Take>
  bool ForEachField(std::string_view message, int depth, Take take) {
    if (depth > ingest::protobuf::kMaxMessageDepth) {
      return wire_reader_.Fail("too_deep", message.data(), "messages nest too deep") != nullptr;
    }
    const char* p = message.data();
    const char* const end = p + message.size();
    while (p < end) {
      Tag tag;
      WireValue value;
      p = wire_reader_.ReadTag(p, end, &tag);
      if (p == nullptr) return false;
      p = wire_reader_.ReadValue(tag, p, end, depth, &value);
      if (p == nullptr || !take(value)) return false;
    }
    return true;
  }

  // Of the messages of one field alone.
  template <typename Take>
  bool ForEach(std::string_view message, std::uint32_t number, int depth, Take take) {
    return ForEachField(message, depth, [&](const WireValue& value) {
      return value.number != number || value.wire != Wire::kBytes || take(value.bytes());
    });
  }

  bool ReadResource(std::string_view part) {
    // What is around an event is written once, to be copied behind each.
    around_.clear();
    around_fault_.clear();
    fault_.clear();
    if (!WriteOwner(part, otlp::kResource, "resource_schema_url", around_)) return false;
    const std::size_t resource_end = around_.size();
    const std::string resource_fault = std::exchange(fault_, {});
    return ForEach(part, otlp::kInner, 2, [&](std::string_view scope) {
      around_.resize(resource_end);
      fault_ = resource_fault;
      if (!WriteOwner(scope, otlp::kScope, "scope_schema_url", around_)) return false;
      around_fault_ = std::exchange(fault_, {});
      return ForEach(scope, otlp::kInner, 3, [this](std::string_view record) { return ReadRecord(record); });
    });
  }

  // The resource or scope of a part, and its schema.
  bool WriteOwner(std::string_view part, const Message& message, std::string_view url_name, std::string& out) {
    std::string_view owner;
    std::string_view url;
    const bool read = ForEachField(part, 2, [&](const WireValue& value) {
      if (value.wire != Wire::kBytes) return true;
      if (value.number == otlp::kOwner) owner = value.bytes();
      if (value.number == otlp::kSchemaUrl) url = value.bytes();
      return true;
    });
    if (!read || !WriteFields(message, owner, 3, out)) return false;
    if (!url.empty()) {
      AppendMember(url_name, out);
      AppendText(url_name, url, out);
      out += ',';
    }
    return &message != &otlp::kResource || WriteServiceName(owner, out);
  }

  bool WriteServiceName(std::string_view resource, std::string& out) {
    return ForEach(resource, kAttributesOfResource, 3, [&](std::string_view attribute) {
      std::string_view key;
      std::string_view any;
      if (!ReadKeyValue(attribute, 4, &key, &any)) return false;
      if (key != kServiceName) return true;
      return ForEach(any, otlp::any_value::kString, 5, [&](std::string_view name) {
        AppendMember("service_name", out);
        AppendText(kServiceName, name, out);
        out += ',';
        return true;
      });
    });
  }

  bool ReadRecord(std::string_view record) {
    if (signal_ == OtlpSignal::kMetrics) return ReadMetric(record);
    return TakeEvent("", signal_ == OtlpSignal::kLogs ? otlp::kLogRecord : otlp::kSpan, record, 4);
  }

  bool ReadMetric(std::string_view metric) {
    fault_ = around_fault_;
    metric_.assign(1, '{');
    if (!WriteFields(otlp::kMetric, metric, 4, metric_)) return false;
    const std::size_t metric_end = metric_.size();
    const std::string metric_fault = std::exchange(fault_, {});
    return ForEachField(metric, 4, [&](const WireValue& value) {
      const auto kind = std::find_if(otlp::kMetricKinds.begin(), otlp::kMetricKinds.end(),
                                     [&](const auto& one) { return one.number == value.number; });
      if (kind == otlp::kMetricKinds.end() || value.wire != Wire::kBytes) return true;
      metric_.resize(metric_end);
      AppendMember("type", metric_);
      metric_.append(1, '"').append(kind->name).append("\",");
      if (!WriteFields(*kind->data, value.bytes(), 5, metric_)) return false;
      return ForEach(value.bytes(), otlp::kDataPoints, 5, [&](std::string_view point) {
        fault_ = metric_fault;
        return TakeEvent(metric_, *kind->point, point, 6);
      });
    });
  }

  // `before`: what the event begins with; empty: nothing.
  bool TakeEvent(std::string_view before, const Message& message, std::string_view record, int depth) {
    if (next_index_ == kEventsMax) {
      problem_ = TooManyEvents();
      return false;
    }
    if (before.empty()) {
      fault_ = around_fault_;
      event_.assign(1, '{');
    } else {
      event_.assign(before);
    }
    if (!WriteFields(message, record, depth, event_)) return false;
    event_ += around_;
    Close('}', event_);
    const std::size_t index = next_index_++;
    if (!fault_.empty()) {
      Reject(index, "invalid_utf8", fault_, batch_);
      return true;
    }
    if (event_.size() > rules_->event_bytes_max) {
      RejectTooLarge(index, event_.size(), *rules_, batch_);
      return true;
    }
    if (event_.size() > bytes_left_) {
      problem_ = Problem{413, "body_too_large",
                         fmt::format("Its events have more than {} bytes, each with its resource and scope.",
                                     kOtlpGrowthMax * rules_->body_bytes_max),
                         "Send it in several requests."};
      return false;
    }
    bytes_left_ -= event_.size();
    Event event{.index = index, .payload = event_};
    if (key_field_.Take(*rules_, event, batch_)) AddEvent(std::move(event), *rules_, batch_);
    return true;
  }

  // "name":value, for each field that is to be written.
  bool WriteFields(const Message& message, std::string_view bytes, int depth, std::string& out) {
    // The last one counts, as everywhere in Protobuf; of a repeated one it is enough to know that there is one.
    std::array<WireValue, otlp::kFieldsMax> found{};
    const bool read = ForEachField(bytes, depth, [&](const WireValue& value) {
      const std::size_t at = message.IndexOf(value.number);
      if (at < otlp::kFieldsMax && IsWireOf(message.fields[at], value.wire)) found[at] = value;
      return true;
    });
    if (!read) return false;
    for (std::size_t at = 0; at < message.fields.size(); ++at) {
      const Field& field = message.fields[at];
      const bool is_there = found[at].number != 0;
      if (field.name.empty() || (!is_there && field.written != Written::kAlways)) continue;
      const std::size_t before = out.size();
      AppendMember(field.name, out);
      bool is_zero = false;
      if (!is_there) {
        out += field.kind == Kind::kBool ? "false" : "0";
      } else if (field.is_repeated()) {
        if (!WriteAll(field, bytes, depth, out)) return false;
      } else if (!WriteValue(field, found[at], depth, out, &is_zero)) {
        return false;
      }
      if (is_zero && field.written == Written::kUnlessZero) {
        out.resize(before);
      } else {
        out += ',';
      }
    }
    return true;
  }

  // An object of attributes, or an array.
  bool WriteAll(const Field& field, std::string_view message, int depth, std::string& out) {
    const bool is_object = field.kind == Kind::kAttributes;
    out += is_object ? '{' : '[';
    const bool read = ForEachField(message, depth, [&](const WireValue& value) {
      if (value.number != field.number || !IsWireOf(field, value.wire)) return true;
      if (is_object) return WriteAttribute(value.bytes(), depth + 1, out);
      const bool is_number = field.message == nullptr;
      if (is_number && value.wire == Wire::kBytes) return WritePacked(field, value, out);
      bool is_zero = false;
      if (!WriteValue(field, value, depth, out, &is_zero)) return false;
      out += ',';
      return true;
    });
    Close(is_object ? '}' : ']', out);
    return read;
  }

  bool WritePacked(const Field& field, const WireValue& packed, std::string& out) {
    const Tag one{field.number,
                  field.kind == Kind::kFixed64 || field.kind == Kind::kDouble ? Wire::kFixed64 : Wire::kVarint};
    for (const char* p = packed.begin; p < packed.end;) {
      WireValue value;
      bool is_zero = false;
      p = wire_reader_.ReadValue(one, p, packed.end, 0, &value);
      if (p == nullptr || !WriteValue(field, value, 0, out, &is_zero)) return false;
      out += ',';
    }
    return true;
  }

  // Of a message with the depth `depth`.
  bool WriteValue(const Field& field, const WireValue& value, int depth, std::string& out, bool* is_zero) {
    std::uint64_t bits = 0;
    if (value.wire == Wire::kVarint) {
      wire_reader_.ReadVarint(value.begin, value.end, &bits);
    } else if (value.wire != Wire::kBytes) {
      std::memcpy(&bits, value.begin, static_cast<std::size_t>(value.end - value.begin));
    }
    *is_zero = value.wire == Wire::kBytes ? value.begin == value.end : bits == 0;
    switch (field.kind) {
      case Kind::kText:
        AppendText(field.name, value.bytes(), out);
        return true;
      case Kind::kHexBytes:
        AppendHex(value.bytes(), out);
        return true;
      case Kind::kBase64Bytes:
        AppendBase64(value.bytes(), out);
        return true;
      case Kind::kBool:
        out += bits != 0 ? "true" : "false";
        return true;
      case Kind::kZigzag:
        out += fmt::format_int(static_cast<std::int64_t>(bits >> 1 ^ (~(bits & 1) + 1))).c_str();
        return true;
      case Kind::kDouble:
        *is_zero = std::bit_cast<double>(bits) == 0;
        AppendDouble(std::bit_cast<double>(bits), out);
        return true;
      case Kind::kVarint:
      case Kind::kFixed32:
      case Kind::kFixed64:
        out +=
            field.is_signed ? fmt::format_int(static_cast<std::int64_t>(bits)).c_str() : fmt::format_int(bits).c_str();
        return true;
      case Kind::kAnyValue:
        *is_zero = false;
        if (!field.name.empty()) any_name_ = field.name;
        return WriteAny(value.bytes(), depth + 1, out);
      case Kind::kMessage:
      case Kind::kAttributes:
        break;
    }
    *is_zero = false;
    out += '{';
    if (!WriteFields(*field.message, value.bytes(), depth + 1, out)) return false;
    Close('}', out);
    return true;
  }

  bool ReadKeyValue(std::string_view attribute, int depth, std::string_view* key, std::string_view* any) {
    return ForEachField(attribute, depth, [&](const WireValue& value) {
      if (value.wire != Wire::kBytes) return true;
      if (value.number == otlp::kKey) *key = value.bytes();
      if (value.number == otlp::kValue) *any = value.bytes();
      return true;
    });
  }

  bool WriteAttribute(std::string_view attribute, int depth, std::string& out) {
    std::string_view key;
    std::string_view any;
    if (!ReadKeyValue(attribute, depth, &key, &any)) return false;
    AppendText("key", key, out);
    out += ':';
    const std::string_view outer = std::exchange(any_name_, key);
    if (!WriteAny(any, depth + 1, out)) return false;
    any_name_ = outer;
    out += ',';
    return true;
  }

  bool WriteAny(std::string_view any, int depth, std::string& out) {
    WireValue found;
    const bool read = ForEachField(any, depth, [&](const WireValue& value) {
      const std::size_t at = otlp::kAnyValue.IndexOf(value.number);
      if (at < otlp::kFieldsMax && IsWireOf(otlp::kAnyValue.fields[at], value.wire)) found = value;
      return true;
    });
    if (!read) return false;
    if (found.number == otlp::any_value::kArray || found.number == otlp::any_value::kKvlist) {
      const Field& values = otlp::kAnyValue.fields[otlp::kAnyValue.IndexOf(found.number)].message->fields[0];
      return WriteAll(values, found.bytes(), depth + 1, out);
    }
    if (found.number == 0) {
      out += "null";
      return true;
    }
    bool is_zero = false;
    return WriteValue(otlp::kAnyValue.fields[otlp::kAnyValue.IndexOf(found.number)], found, depth, out, &is_zero);
  }

  void AppendText(std::string_view field, std::string_view text, std::string& out) {
    if (!ingest::IsUtf8(text)) {
      if (fault_.empty()) fault_ = fmt::format("The text of '{}' is not UTF-8.", field.empty() ? any_name_ : field);
      text = {};
    }
    AppendJsonString(text, out);
  }

  static constexpr std::uint32_t kAttributesOfResource = 1;

  PackedBody packed_;
  KeyField key_field_;
  WireReader wire_reader_;

  // Whose AnyValue is being written: an attribute's key, or a field.
  std::string_view any_name_;

  // Of a request.
  const ReadRules* rules_ = nullptr;
  OtlpSignal signal_ = OtlpSignal::kLogs;
  Batch batch_;
  std::size_t next_index_ = 0;
  std::size_t bytes_left_ = 0;      // For events.
  std::optional<Problem> problem_;  // Of its size.
  std::string wire_;                // What came as JSON.

  std::string around_;        // "name":value, of the resource and the scope.
  std::string around_fault_;  // Of these; what is wrong with them is wrong with each event.
  std::string metric_;        // What a point begins with.
  std::string event_;
  std::string fault_;  // Of what is being written; empty: none.
};

OtlpReader::OtlpReader() : impl_(std::make_unique<Impl>()) {}
OtlpReader::~OtlpReader() = default;

std::variant<Batch, Problem> OtlpReader::Read(const http::Request& request, OtlpSignal signal, const ReadRules& rules) {
  return impl_->Read(request, signal, rules);
}

}  // namespace millrace::gateway
