#include "infer/field_profile.h"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <functional>

#include "infer/json_kind.h"
#include "infer/names.h"

namespace millrace::infer {
namespace {

namespace ondemand = simdjson::ondemand;

void CountDistinct(std::string_view value, FieldProfile& field) {
  const auto hash = static_cast<std::uint64_t>(std::hash<std::string_view>{}(value));
  if (field.distinct.contains(hash)) {
    ++field.repeats;
  } else if (field.distinct.size() < kDistinctMax) {
    field.distinct.insert(hash);
  }
}

// Of no kind of its own: it may be a time of another shape, or bytes.
void ObserveOtherText(std::string_view text, FieldProfile& field) {
  if (ingest::CouldBeBase64(text)) ++field.base64;
  const auto formats = ingest::UsualTimeFormatsOf(text);
  for (std::size_t i = 0; formats != 0 && i < field.time_formats.size(); ++i) field.time_formats[i] += formats >> i & 1;
}

// Walks a document that is known to be one; a fault in the middle of it is told all the same.
class JsonWalk {
 public:
  JsonWalk(std::optional<std::string_view> key, DocumentProfile& profile) : key_(key), profile_(profile) {}

  simdjson::error_code Object(ondemand::object object, FieldProfile& field, int depth) {
    for (auto member : object) {
      std::string_view name;
      ondemand::value value;
      if (const auto error = member.unescaped_key().get(name)) return error;
      if (const auto error = member.value().get(value)) return error;
      FieldProfile* const at = depth < kDepthMax ? Member(name, field, profile_) : nullptr;
      if (at == nullptr) {
        profile_.has_more = true;
        continue;
      }
      if (const auto error = Value(value, *at, depth)) return error;
    }
    return simdjson::SUCCESS;
  }

 private:
  simdjson::error_code Value(ondemand::value value, FieldProfile& field, int depth) {
    ondemand::json_type type;
    if (const auto error = value.type().get(type)) return error;
    switch (type) {
      case ondemand::json_type::object: {
        ++field.objects;
        ondemand::object object;
        if (const auto error = value.get_object().get(object)) return error;
        return Object(object, field, depth + 1);
      }
      case ondemand::json_type::array: {
        ++field.arrays;
        ondemand::array array;
        if (const auto error = value.get_array().get(array)) return error;
        return Array(array, field, depth + 1);
      }
      case ondemand::json_type::string: {
        std::string_view text;
        if (const auto error = value.get_string().get(text)) return error;
        if (key_ && text == *key_) ++field.equal_to_key;
        ObserveText(text, field);
        return simdjson::SUCCESS;
      }
      case ondemand::json_type::number: {
        std::string_view text = value.raw_json_token();
        text = text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
        field.numbers.Add(ingest::ShapeOfText(text), text);
        if (key_ && text == *key_) ++field.equal_to_key;
        CountDistinct(text, field);
        return simdjson::SUCCESS;
      }
      case ondemand::json_type::boolean: {
        bool truth = false;
        if (const auto error = value.get_bool().get(truth)) return error;
        ++field.bools;
        CountDistinct(truth ? "true" : "false", field);
        return simdjson::SUCCESS;
      }
      default:
        ++field.nulls;
        return simdjson::SUCCESS;
    }
  }

  simdjson::error_code Array(ondemand::array array, FieldProfile& field, int depth) {
    if (depth >= kDepthMax) {
      profile_.has_more = true;
      return simdjson::SUCCESS;
    }
    if (field.items == nullptr) field.items = std::make_unique<FieldProfile>();
    for (auto item : array) {
      ondemand::value value;
      if (const auto error = std::move(item).get(value)) return error;
      if (const auto error = Value(value, *field.items, depth)) return error;
    }
    return simdjson::SUCCESS;
  }

  const std::optional<std::string_view> key_;
  DocumentProfile& profile_;
};

}  // namespace

void NumberProfile::Add(const ingest::TextShape& shape, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  // The other end of the range is nearly 0, which is one.
  if (error == std::errc::result_out_of_range && shape.digits_before_point > 0) ++beyond_double;
  // Seconds with a fraction are times, too; numbers beyond 64 bits have no bounds here.
  std::optional<std::int64_t> bound = shape.whole;
  if (!bound && shape.kind == ingest::TextKind::kFraction) {
    constexpr double kExact = 9e15;
    if (error == std::errc() && value > -kExact && value < kExact) bound = static_cast<std::int64_t>(value);
  }
  if (bound) {
    min = bounded == 0 ? *bound : std::min(min, *bound);
    max = bounded == 0 ? *bound : std::max(max, *bound);
    ++bounded;
  }
  const bool is_whole = shape.kind == ingest::TextKind::kWhole;
  ++(is_whole ? wholes : fractions);
  if (is_whole && !shape.whole) ++beyond_64_bits;
  if (shape.has_leading_zero) ++leading_zeros;
  digits_before_point = std::max(digits_before_point, shape.digits_before_point);
  digits_after_point = std::max(digits_after_point, shape.digits_after_point);
}

bool ObserveJson(std::string_view document, std::optional<std::string_view> key, DocumentProfile& profile) {
  // The parser does not look at what nobody asks for.
  if (JsonKindOf(document) != JsonKind::kObject) return false;
  const simdjson::padded_string padded(document);
  ondemand::parser parser;
  ondemand::document parsed;
  ondemand::object object;
  if (parser.iterate(padded).get(parsed) != simdjson::SUCCESS) return false;
  if (parsed.get_object().get(object) != simdjson::SUCCESS) return false;
  ++profile.root.objects;
  return JsonWalk(key, profile).Object(object, profile.root, 0) == simdjson::SUCCESS;
}

void ObserveText(std::string_view text, FieldProfile& field) {
  ++field.texts;
  CountDistinct(text, field);
  for (std::size_t i = 0; i < kNumNullTexts; ++i) field.null_texts[i] += text == kNullTexts[i] ? 1 : 0;
  if (LooksSecret(text)) ++field.secrets;
  const auto shape = ingest::ShapeOfText(text);
  switch (shape.kind) {
    case ingest::TextKind::kWhole:
    case ingest::TextKind::kFraction:
      field.text_numbers.Add(shape, text);
      break;
    case ingest::TextKind::kBool:
      ++field.text_bools;
      break;
    case ingest::TextKind::kDate:
      ++field.dates;
      break;
    case ingest::TextKind::kTimestamp:
      ++field.timestamps;
      break;
    case ingest::TextKind::kUuid:
      ++field.uuids;
      break;
    case ingest::TextKind::kLocalTimestamp:
    case ingest::TextKind::kOther:
      ObserveOtherText(text, field);
      break;
  }
}

FieldProfile* Member(std::string_view name, FieldProfile& object, DocumentProfile& profile) {
  const auto found = object.member_index.find(std::string(name));
  if (found != object.member_index.end()) return object.members[found->second].get();
  if (profile.num_fields >= kFieldsMax) {
    profile.has_more = true;
    return nullptr;
  }
  ++profile.num_fields;
  object.member_index.emplace(name, object.members.size());
  object.members.push_back(std::make_unique<FieldProfile>());
  object.members.back()->name = name;
  return object.members.back().get();
}

}  // namespace millrace::infer
