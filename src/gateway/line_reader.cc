#include "gateway/line_reader.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

#include "base/json_text.h"
#include "gateway/double_text.h"
#include "gateway/key_field.h"
#include "gateway/packed_body.h"

namespace millrace::gateway {
namespace {

using http::Problem;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// As JSON writes numbers; then its digits can stay as they are.
bool IsJsonNumber(std::string_view text) {
  std::size_t at = 0;
  const auto digits = [&] {
    const std::size_t begin = at;
    while (at < text.size() && IsDigit(text[at])) ++at;
    return at > begin;
  };
  if (text.starts_with('-')) ++at;
  const std::size_t first = at;
  if (!digits() || (text[first] == '0' && at > first + 1)) return false;
  if (at < text.size() && text[at] == '.' && (++at, !digits())) return false;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    if (!digits()) return false;
  }
  return at == text.size();
}

// Where the line that begins at `begin` ends: at a line break that is not within a string, of which there are only in
// the fields, behind the first blank.
std::size_t EndOfLine(std::string_view body, std::size_t begin) {
  bool in_fields = false;
  bool quoted = false;
  for (std::size_t at = begin; at < body.size(); ++at) {
    const char c = body[at];
    if (c == '\\' && at + 1 < body.size() && body[at + 1] != '\n') {
      ++at;
    } else if (c == '\n' && !quoted) {
      return at;
    } else if (c == ' ') {
      in_fields = true;
    } else if (c == '"' && in_fields && (quoted || body[at - 1] == '=')) {
      quoted = !quoted;
    }
  }
  // A string without an end is the fault of this line, not of all that follow.
  return quoted ? std::min(body.find('\n', begin), body.size()) : body.size();
}

class Line {
 public:
  /// `names` and `json` are to be written over.
  Line(std::string_view text, std::int64_t precision, UnixMicros now, std::vector<std::string_view>& names,
       std::string& json)
      : text_(text), precision_(precision), now_(now), names_(names), json_(json) {}

  // What is wrong with it; empty: nothing, and `json` is the event.
  std::string Write() {
    json_ = "{\"measurement\":";
    names_.clear();
    TakeName(", ");
    if (name_.empty()) return "there is no measurement";
    AppendJsonString(name_, json_);
    json_ += ",\"tags\":{";
    for (bool first = true; Skip(','); first = false) {
      if (!first) json_ += ',';
      if (!TakeMember("a tag")) return fault_;
      TakeName(", ");
      if (name_.empty()) return fmt::format("the tag '{}' has no value", Shown(key_));
      AppendJsonString(name_, json_);
    }
    if (IsOneTwice("tag")) return fault_;
    if (!SkipBlanks()) return "there are no fields";
    json_ += "},\"fields\":{";
    for (bool more = true; more; more = Skip(',')) {
      if (json_.back() != '{') json_ += ',';
      if (!TakeMember("a field") || !TakeFieldValue()) return fault_;
    }
    if (IsOneTwice("field")) return fault_;
    json_ += "},\"time\":";
    return TakeTime() ? "" : fault_;
  }

 private:
  bool AtEnd() const { return at_ == text_.size(); }
  bool Skip(char c) {
    if (AtEnd() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool SkipBlanks() {
    const std::size_t begin = at_;
    while (Skip(' ')) {
    }
    return at_ > begin;
  }

  // Up to one of these, which a backslash before it makes a part of the name. False: there is none of them.
  bool TakeName(std::string_view ends) {
    name_.clear();
    for (; !AtEnd(); ++at_) {
      const char c = text_[at_];
      if (ends.find(c) != std::string_view::npos) return true;
      const bool escapes = c == '\\' && at_ + 1 < text_.size() &&
                           (text_[at_ + 1] == ',' || text_[at_ + 1] == '=' || text_[at_ + 1] == ' ');
      if (escapes) ++at_;
      name_ += text_[at_];
    }
    return false;
  }

  // "key":
  bool TakeMember(std::string_view what) {
    const std::size_t begin = at_;
    if (!TakeName("=, ") || text_[at_] != '=' || name_.empty()) {
      fault_ =
          name_.empty() ? fmt::format("{} has no name", what) : fmt::format("'{}' has no '=' behind it", Shown(name_));
      return false;
    }
    names_.push_back(text_.substr(begin, at_ - begin));
    ++at_;
    key_ = name_;
    AppendJsonString(key_, json_);
    json_ += ':';
    return true;
  }

  // Of the members since the last call: which value is meant, nobody can tell.
  bool IsOneTwice(std::string_view what) {
    // As they are written: no name is written in two ways.
    std::sort(names_.begin(), names_.end());
    const auto twice = std::adjacent_find(names_.begin(), names_.end());
    if (twice != names_.end()) fault_ = fmt::format("the {} '{}' is there twice", what, Shown(*twice));
    names_.clear();
    return !fault_.empty();
  }

  bool TakeFieldValue() {
    if (Skip('"')) return TakeString();
    const std::size_t end = std::min(text_.find_first_of(", ", at_), text_.size());
    const std::string_view value = text_.substr(at_, end - at_);
    at_ = end;
    if (AppendWord(value) || AppendNumber(value)) return true;
    fault_ = fmt::format("the field '{}' is '{}', which is neither a number, a boolean nor a string in quotes",
                         Shown(key_), Shown(value));
    return false;
  }

  bool TakeString() {
    name_.clear();
    for (; !AtEnd(); ++at_) {
      char c = text_[at_];
      if (c == '"') {
        ++at_;
        if (!AtEnd() && text_[at_] != ',' && text_[at_] != ' ') break;
        AppendJsonString(name_, json_);
        return true;
      }
      if (c == '\\' && at_ + 1 < text_.size() && (text_[at_ + 1] == '"' || text_[at_ + 1] == '\\')) c = text_[++at_];
      name_ += c;
    }
    fault_ = fmt::format("the string of the field '{}' {}", Shown(key_),
                         AtEnd() ? "does not end" : "has something behind it");
    return false;
  }

  bool AppendWord(std::string_view value) {
    for (const std::string_view word : {"t", "T", "true", "True", "TRUE"}) {
      if (value == word) return json_ += "true", true;
    }
    for (const std::string_view word : {"f", "F", "false", "False", "FALSE"}) {
      if (value == word) return json_ += "false", true;
    }
    return false;
  }

  bool AppendNumber(std::string_view value) {
    if (value.empty()) return false;
    const std::string_view digits = value.substr(0, value.size() - 1);
    const auto append_whole = [&](auto whole) {
      const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), whole);
      if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size()) return false;
      json_ += fmt::format_int(whole).c_str();
      return true;
    };
    if (value.back() == 'i') return append_whole(std::int64_t{0});
    if (value.back() == 'u') return append_whole(std::uint64_t{0});
    const std::string_view number = value.substr(value.front() == '+' ? 1 : 0);
    if (number.starts_with('+') || (number.size() < value.size() && number.starts_with('-'))) return false;
    const auto real = DoubleOf(number);
    if (!real) return false;
    if (IsJsonNumber(number)) {
      json_ += number;
    } else {
      fmt::format_to(std::back_inserter(json_), "{}", *real);
    }
    return true;
  }

  bool TakeTime() {
    SkipBlanks();
    std::int64_t nanoseconds = now_ * 1000;
    if (!AtEnd()) {
      const std::string_view value = text_.substr(at_);
      const auto parsed = std::from_chars(value.data(), value.data() + value.size(), nanoseconds);
      if (parsed.ec == std::errc::invalid_argument || parsed.ptr != value.data() + value.size()) {
        fault_ = fmt::format("'{}' is no time", Shown(value));
        return false;
      }
      if (parsed.ec != std::errc() || __builtin_mul_overflow(nanoseconds, precision_, &nanoseconds)) {
        fault_ = fmt::format("the time {} is beyond what 64 bits have in nanoseconds", Shown(value));
        return false;
      }
    }
    json_ += fmt::format_int(nanoseconds).c_str();
    json_ += '}';
    return true;
  }

  static std::string Shown(std::string_view text) {
    constexpr std::size_t kShown = 40;
    return std::string(CutText(text, kShown)) + (text.size() > kShown ? "..." : "");
  }

  const std::string_view text_;
  const std::int64_t precision_;
  const UnixMicros now_;
  std::vector<std::string_view>& names_;  // As they are written.
  std::string& json_;
  std::size_t at_ = 0;
  std::string name_;  // Unescaped.
  std::string key_;
  std::string fault_;
};

}  // namespace

std::optional<std::int64_t> PrecisionOf(std::string_view word) {
  if (word.empty() || word == "ns" || word == "n") return 1;
  if (word == "us" || word == "u" || word == "µ") return 1'000;
  if (word == "ms") return 1'000'000;
  if (word == "s") return 1'000'000'000;
  if (word == "m") return std::int64_t{60} * 1'000'000'000;
  if (word == "h") return std::int64_t{3600} * 1'000'000'000;
  return std::nullopt;
}

class LineReader::Impl {
 public:
  std::variant<Batch, Problem> Read(const http::Request& request, std::int64_t precision, UnixMicros now,
                                    const ReadRules& rules) {
    std::string_view body = request.body;
    if (auto problem = packed_.Unpack(request.content_encoding, rules.body_bytes_max, &body))
      return *std::move(problem);
    Batch batch;
    auto problem = ReadLines(body, precision, now, rules, batch);
    packed_.Clear();
    if (json_.capacity() > kBytesKept) std::string().swap(json_);
    if (names_.capacity() * sizeof(names_[0]) > kBytesKept) std::vector<std::string_view>().swap(names_);
    if (problem) return *std::move(problem);
    return batch;
  }

 private:
  std::optional<Problem> ReadLines(std::string_view body, std::int64_t precision, UnixMicros now,
                                   const ReadRules& rules, Batch& batch) {
    std::size_t index = 0;
    std::size_t number = 1;
    for (std::size_t begin = 0; begin < body.size();) {
      begin = std::min(body.find_first_not_of(" \t\r", begin), body.size());
      const bool is_comment = begin < body.size() && body[begin] == '#';
      const std::size_t end = is_comment ? std::min(body.find('\n', begin), body.size()) : EndOfLine(body, begin);
      std::string_view line = body.substr(begin, end - begin);
      const std::size_t breaks = static_cast<std::size_t>(std::count(line.begin(), line.end(), '\n'));
      begin = end + 1;
      while (line.ends_with(' ') || line.ends_with('\r') || line.ends_with('\t')) line.remove_suffix(1);
      if (!line.empty() && !is_comment) {
        if (index == kEventsMax) return TooManyEvents();
        TakeLine(index++, number, line, precision, now, rules, batch);
      }
      number += 1 + breaks;
    }
    return std::nullopt;
  }

  void TakeLine(std::size_t index, std::size_t number, std::string_view line, std::int64_t precision, UnixMicros now,
                const ReadRules& rules, Batch& batch) {
    if (line.size() > rules.event_bytes_max) return RejectTooLarge(index, line.size(), rules, batch);
    if (!simdjson::validate_utf8(line.data(), line.size())) {
      return Reject(index, "invalid_utf8", fmt::format("line {}: it is not UTF-8", number), batch);
    }
    const std::string fault = Line(line, precision, now, names_, json_).Write();
    if (!fault.empty()) return Reject(index, "invalid_line", fmt::format("line {}: {}", number, fault), batch);
    Event event{.index = index, .payload = json_};
    if (key_field_.Take(rules, event, batch)) AddEvent(std::move(event), rules, batch);
  }

  PackedBody packed_;
  KeyField key_field_;
  std::vector<std::string_view> names_;  // Of one line.
  std::string json_;                     // Likewise.
};

LineReader::LineReader() : impl_(std::make_unique<Impl>()) {}
LineReader::~LineReader() = default;

std::variant<Batch, Problem> LineReader::Read(const http::Request& request, std::int64_t precision, UnixMicros now,
                                              const ReadRules& rules) {
  return impl_->Read(request, precision, now, rules);
}

}  // namespace millrace::gateway
