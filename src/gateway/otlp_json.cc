#include <fmt/format.h>

#include <bit>
#include <boost/json/basic_parser_impl.hpp>
#include <charconv>
#include <cmath>
#include <cstring>
#include <vector>

#include "gateway/batch.h"
#include "gateway/double_text.h"
#include "gateway/otlp_json_internal.h"
#include "ingest/values/base64.h"

namespace millrace::gateway::otlp {
namespace {

namespace json = boost::json;
using ErrorCode = boost::system::error_code;

// An AnyValue within another takes three; Protobuf's own parsers take a hundred messages within each other.
constexpr std::size_t kDepthMax = 160;
constexpr std::size_t kLengthBytes = 5;
constexpr std::size_t kShown = 40;  // Bytes of what is wrong.

enum Wire : std::uint32_t { kWireVarint = 0, kWireFixed64 = 1, kWireBytes = 2, kWireFixed32 = 5 };

// Boost.JSON's parser calls these in the order of the text; false ends it.
class Transcoder {
 public:
  static constexpr std::size_t max_object_size = std::size_t(-1);
  static constexpr std::size_t max_array_size = std::size_t(-1);
  static constexpr std::size_t max_key_size = std::size_t(-1);
  static constexpr std::size_t max_string_size = std::size_t(-1);

  Transcoder(const Message& message, std::string* wire) : message_(message), wire_(*wire) {}

  const std::string& fault() const { return fault_; }

  bool on_document_begin(ErrorCode&) { return true; }
  bool on_document_end(ErrorCode&) { return true; }

  bool on_object_begin(ErrorCode& error) {
    if (frames_.empty()) return Push({.message = &message_});
    const Field* const field = Expected();
    if (field == nullptr) return Push({});
    if (field->message == nullptr || field->is_repeated() != frames_.back().is_array) return Fail("an object", error);
    PutTag(*field, kWireBytes);
    wire_.append(kLengthBytes, '\0');
    return Push({.message = field->message, .begin = wire_.size()});
  }

  bool on_object_end(std::size_t, ErrorCode&) {
    const Frame frame = frames_.back();
    frames_.pop_back();
    if (frame.begin == 0) return true;
    // As many bytes as were left for it, however small it is: that is valid, and nothing has to be moved.
    std::size_t length = wire_.size() - frame.begin;
    for (std::size_t i = 0; i < kLengthBytes; ++i) {
      const bool is_last = i + 1 == kLengthBytes;
      wire_[frame.begin - kLengthBytes + i] = static_cast<char>((length & 0x7F) | (is_last ? 0 : 0x80));
      length >>= 7;
    }
    return true;
  }

  bool on_array_begin(ErrorCode& error) {
    if (frames_.empty()) return Fail("an array", error);
    const Field* const field = Expected();
    if (field != nullptr && (!field->is_repeated() || frames_.back().is_array)) return Fail("an array", error);
    return Push({.field = field, .is_array = true});
  }
  bool on_array_end(std::size_t, ErrorCode&) {
    frames_.pop_back();
    return true;
  }

  bool on_key_part(json::string_view part, std::size_t, ErrorCode&) { return Gather(part); }
  bool on_key(json::string_view part, std::size_t, ErrorCode&) {
    Gather(part);
    Frame& frame = frames_.back();
    frame.field = nullptr;
    if (frame.message != nullptr) {
      for (const auto& field : frame.message->fields) {
        if (field.json == text_) frame.field = &field;
      }
    }
    text_.clear();
    return true;
  }

  bool on_string_part(json::string_view part, std::size_t, ErrorCode&) { return Gather(part); }
  bool on_string(json::string_view part, std::size_t, ErrorCode& error) {
    Gather(part);
    const bool taken = TakeText(error);
    text_.clear();
    return taken;
  }

  bool on_number_part(json::string_view part, ErrorCode&) { return Gather(part); }
  bool on_int64(std::int64_t, json::string_view part, ErrorCode& error) { return OnNumber(part, error); }
  bool on_uint64(std::uint64_t, json::string_view part, ErrorCode& error) { return OnNumber(part, error); }
  bool on_double(double, json::string_view part, ErrorCode& error) { return OnNumber(part, error); }

  bool on_bool(bool value, ErrorCode& error) {
    const Field* field = nullptr;
    if (!TakeField("a boolean", &field, error)) return false;
    if (field == nullptr) return true;
    if (field->kind != Kind::kBool) return Fail("a boolean", error);
    PutTag(*field, kWireVarint);
    PutVarint(value ? 1 : 0);
    return true;
  }

  // As if it were not there.
  bool on_null(ErrorCode& error) {
    if (frames_.empty() || (frames_.back().is_array && frames_.back().field != nullptr)) return Fail("null", error);
    return true;
  }

  bool on_comment_part(json::string_view, ErrorCode&) { return true; }
  bool on_comment(json::string_view, ErrorCode&) { return true; }

 private:
  struct Frame {
    const Message* message = nullptr;  // Of an object; nullptr: nobody wants to know what is in it.
    const Field* field = nullptr;      // Of an array, or of the object's last key.
    bool is_array = false;
    std::size_t begin = 0;  // In `wire`; its length stands before it. 0: it has none.
  };

  bool Push(const Frame& frame) {
    frames_.push_back(frame);
    return true;
  }

  bool Gather(json::string_view part) {
    text_.append(part.data(), part.size());
    return true;
  }

  // What the value that comes is for; nullptr: for nothing.
  const Field* Expected() const { return frames_.back().field; }

  bool TakeField(std::string_view found, const Field** field, ErrorCode& error) {
    if (frames_.empty()) return Fail(found, error);
    *field = Expected();
    if (*field == nullptr) return true;
    return (*field)->is_repeated() == frames_.back().is_array || Fail(found, error);
  }

  bool TakeText(ErrorCode& error) {
    const Field* field = nullptr;
    if (!TakeField("a string", &field, error)) return false;
    if (field == nullptr) return true;
    switch (field->kind) {
      case Kind::kText:
        PutBytes(*field, text_);
        return true;
      case Kind::kHexBytes:
        return PutHex(*field) || FailText(error);
      case Kind::kBase64Bytes: {
        std::string bytes;
        if (!ingest::DecodeBase64(text_, &bytes)) return FailText(error);
        PutBytes(*field, bytes);
        return true;
      }
      case Kind::kDouble:
        if (text_ == "NaN") return PutDouble(*field, std::nan(""));
        if (text_ == "Infinity") return PutDouble(*field, HUGE_VAL);
        if (text_ == "-Infinity") return PutDouble(*field, -HUGE_VAL);
        [[fallthrough]];
      default:
        return PutNumber(*field) || FailText(error);
    }
  }

  bool FailText(ErrorCode& error) { return Fail(fmt::format("the string '{}'", CutText(text_, kShown)), error); }

  bool OnNumber(json::string_view part, ErrorCode& error) {
    Gather(part);
    const Field* field = nullptr;
    const bool taken =
        TakeField("a number", &field, error) &&
        (field == nullptr || PutNumber(*field) || Fail(fmt::format("the number {}", CutText(text_, kShown)), error));
    text_.clear();
    return taken;
  }

  // False: text_ is none, or none of the field's type.
  bool PutNumber(const Field& field) {
    const char* const end = text_.data() + text_.size();
    const auto parse = [&](auto* value) {
      const auto parsed = std::from_chars(text_.data(), end, *value);
      return parsed.ec == std::errc() && parsed.ptr == end;
    };
    double real = 0;
    const bool is_integer = field.kind == Kind::kVarint || field.kind == Kind::kZigzag ||
                            field.kind == Kind::kFixed32 || field.kind == Kind::kFixed64;
    if (!is_integer) {
      const auto any = DoubleOf(text_);
      return field.kind == Kind::kDouble && any && PutDouble(field, *any);
    }
    std::int64_t whole = 0;
    std::uint64_t natural = 0;
    // 1e3 and 5.0 are whole numbers too; beyond 2^53 such a one may not be the one that was meant.
    constexpr double kExactMax = 9007199254740992.0;
    if (parse(&whole)) {
      natural = static_cast<std::uint64_t>(whole);
    } else if (!parse(&natural)) {
      if (!parse(&real) || real != std::floor(real) || std::abs(real) > kExactMax) return false;
      whole = static_cast<std::int64_t>(real);
      natural = static_cast<std::uint64_t>(whole);
    } else if (TakesNegative(field)) {
      return false;
    }
    if (whole < 0 && !TakesNegative(field)) return false;
    switch (field.kind) {
      case Kind::kZigzag:
        PutTag(field, kWireVarint);
        PutVarint(natural << 1 ^ (whole < 0 ? ~std::uint64_t{0} : 0));
        return true;
      case Kind::kFixed32:
        if (natural > 0xFFFF'FFFF) return false;
        PutTag(field, kWireFixed32);
        PutFixed(static_cast<std::uint32_t>(natural));
        return true;
      case Kind::kFixed64:
        PutTag(field, kWireFixed64);
        PutFixed(natural);
        return true;
      default:
        PutTag(field, kWireVarint);
        PutVarint(natural);
        return true;
    }
  }

  bool PutDouble(const Field& field, double value) {
    PutTag(field, kWireFixed64);
    PutFixed(std::bit_cast<std::uint64_t>(value));
    return true;
  }

  bool PutHex(const Field& field) {
    std::string bytes;
    if (text_.size() % 2 != 0) return false;
    for (std::size_t i = 0; i < text_.size(); i += 2) {
      std::uint8_t byte = 0;
      const auto parsed = std::from_chars(text_.data() + i, text_.data() + i + 2, byte, 16);
      if (parsed.ec != std::errc() || parsed.ptr != text_.data() + i + 2) return false;
      bytes += static_cast<char>(byte);
    }
    PutBytes(field, bytes);
    return true;
  }

  void PutBytes(const Field& field, std::string_view bytes) {
    PutTag(field, kWireBytes);
    PutVarint(bytes.size());
    wire_.append(bytes);
  }

  void PutTag(const Field& field, Wire wire) { PutVarint(field.number << 3 | wire); }

  void PutVarint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) wire_ += static_cast<char>(value | 0x80);
    wire_ += static_cast<char>(value);
  }

  template <typename Integer>
  void PutFixed(Integer value) {
    wire_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }

  bool Fail(std::string_view found, ErrorCode& error) {
    std::string path;
    const Field* last = nullptr;
    for (const auto& frame : frames_) {
      if (frame.field == nullptr || frame.field == last) continue;
      last = frame.field;
      path += (path.empty() ? "" : ".") + std::string(last->json);
    }
    const bool wants_array = last != nullptr && last->is_repeated() && !frames_.back().is_array;
    fault_ = fmt::format("{} has {} where {} is wanted", path.empty() ? "the body" : path, found,
                         wants_array ? "an array" : WantedOf(last));
    error = json::error::syntax;
    return false;
  }

  static std::string_view WantedOf(const Field* field) {
    if (field == nullptr) return "an object";
    switch (field->kind) {
      case Kind::kText:
        return "a string";
      case Kind::kHexBytes:
        return "a string of hexadecimal digits";
      case Kind::kBase64Bytes:
        return "a string of Base64";
      case Kind::kBool:
        return "a boolean";
      case Kind::kDouble:
        return "a number";
      case Kind::kMessage:
      case Kind::kAttributes:
      case Kind::kAnyValue:
        return "an object";
      case Kind::kVarint:
      case Kind::kZigzag:
      case Kind::kFixed32:
      case Kind::kFixed64:
        break;
    }
    return TakesNegative(*field) ? "a whole number" : "a whole number that is not negative";
  }

  static bool TakesNegative(const Field& field) { return field.is_signed || field.kind == Kind::kZigzag; }

  const Message& message_;
  std::string& wire_;
  std::vector<Frame> frames_;
  std::string text_;  // Of a key, string or number, as far as it has come.
  std::string fault_;
};

}  // namespace

std::optional<std::string> ToWire(std::string_view text, const Message& message, std::string* wire) {
  json::parse_options options;
  options.max_depth = kDepthMax;
  json::basic_parser<Transcoder> parser(options, message, wire);
  ErrorCode error;
  const std::size_t read = parser.write_some(false, text.data(), text.size(), error);
  if (!error && read < text.size() && text.find_first_not_of(" \t\r\n", read) != std::string_view::npos) {
    error = json::error::extra_data;
  }
  if (!error) return std::nullopt;
  const std::string& fault = parser.handler().fault();
  return fmt::format("{} at byte {}", fault.empty() ? error.message() : fault, read);
}

}  // namespace millrace::gateway::otlp
