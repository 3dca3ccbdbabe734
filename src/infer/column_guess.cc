#include "infer/column_guess.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "base/ascii_case.h"

namespace millrace::infer {
namespace {

// Values of another kind than most that a column is guessed in spite of: they become dead letters.
constexpr double kStraysMax = 0.02;
constexpr int kDecimalDigits = 18;  // Of money, unless there are more: 64 bits.
constexpr int kDecimalDigitsMax = 38;
constexpr int kCentDigits = 2;
constexpr int kMoneyDigitsMax = 6;  // After the point; with more it is a measure.
constexpr std::size_t kHeadersMax = 20;
// An object with more members than this, few of which are in each record, is a map from keys that are data.
constexpr std::size_t kMembersOfRecord = 50;
constexpr std::size_t kMembersOfStruct = 50;  // With more nobody could read its type.
constexpr std::size_t kMemberBytesMax = 255;

struct TimeUnit {
  const char* type;
  const char* name;
  std::int64_t per_second;
};
constexpr std::array kTimeUnits = {
    TimeUnit{"timestamp_s", "seconds", 1}, TimeUnit{"timestamp_ms", "milliseconds", 1'000},
    TimeUnit{"timestamp_us", "microseconds", 1'000'000}, TimeUnit{"timestamp_ns", "nanoseconds", 1'000'000'000}};

// 2000-01-01 to 2100-01-01: the ranges of the units do not meet.
constexpr std::int64_t kFirstSecond = 946'684'800;
constexpr std::int64_t kLastSecond = 4'102'444'800;
constexpr std::int64_t kNearSeconds = std::int64_t{2} * 366 * 86'400;

const TimeUnit* UnitOf(const NumberProfile& numbers) {
  if (numbers.bounded == 0 || numbers.bounded < numbers.count()) return nullptr;
  for (const auto& unit : kTimeUnits) {
    if (numbers.min / unit.per_second >= kFirstSecond && numbers.max / unit.per_second < kLastSecond) return &unit;
  }
  return nullptr;
}

// All of them within two years of when the records came.
bool AreNear(const NumberProfile& numbers, const TimeUnit& unit, const TimeFrame& frame) {
  return numbers.min / unit.per_second > frame.first / 1'000'000 - kNearSeconds &&
         numbers.max / unit.per_second < frame.last / 1'000'000 + kNearSeconds;
}

std::string Of(std::int64_t count, std::int64_t all) { return fmt::format("{} of {}", count, all); }

void NoteStrays(std::int64_t strays, std::int64_t all, std::string_view what, TypeGuess& guess) {
  guess.strays += strays;
  if (strays > 0) guess.notes.push_back(fmt::format("{} {}: dead letters", Of(strays, all), what));
}

bool AreFew(std::int64_t strays, std::int64_t all) {
  return static_cast<double>(strays) <= kStraysMax * static_cast<double>(all);
}

std::string DecimalType(const NumberProfile& numbers, int scale) {
  const int precision = std::min(std::max(kDecimalDigits, numbers.digits_before_point + scale), kDecimalDigitsMax);
  return fmt::format("decimal({},{})", precision, scale);
}

bool FitsDecimal(const NumberProfile& numbers) {
  return numbers.digits_before_point + numbers.digits_after_point <= kDecimalDigitsMax;
}

// `as_written`: the type of what no type for numbers takes without a loss.
TypeGuess GuessNumber(const NumberProfile& numbers, const NameHints& hints, const std::optional<TimeFrame>& frame,
                      const char* as_written) {
  TypeGuess guess;
  if (const auto* const unit = UnitOf(numbers)) {
    const bool near = frame && AreNear(numbers, *unit, *frame) && unit->per_second > 1;
    if (hints.time || near) {
      guess.notes.push_back(fmt::format("numbers that are {} since 1970 from 2000 on", unit->name));
      guess.type = unit->type;
      return guess;
    }
    if (unit->per_second > 1) guess.notes.push_back(fmt::format("could be times: {}", unit->type));
  }
  if (numbers.fractions == 0) {
    guess.type = "int64";
    if (numbers.beyond_64_bits > 0) {
      // As many digits as there can be: who counts beyond 64 bits has not stopped at those of the sample.
      guess.type = FitsDecimal(numbers) ? fmt::format("decimal({},0)", kDecimalDigitsMax) : as_written;
      guess.notes.push_back(
          fmt::format("{} are more than {}", Of(numbers.beyond_64_bits, numbers.count()),
                      FitsDecimal(numbers) ? "64 bits hold" : "any number holds: as they are written"));
    } else if (hints.money) {
      guess.notes.emplace_back("whole so far; decimal(18,2) if it is money with cents");
    }
    return guess;
  }
  const int scale = std::max(kCentDigits, numbers.digits_after_point);
  if (hints.money && scale <= kMoneyDigitsMax && numbers.digits_before_point + scale <= kDecimalDigitsMax) {
    guess.type = DecimalType(numbers, scale);
    guess.notes.push_back(
        fmt::format("money by its name: exact, and more than {} digits after the point are dead letters", scale));
    return guess;
  }
  if (numbers.beyond_double > 0) {
    guess.type = as_written;
    guess.notes.push_back(fmt::format("{} are more than a double holds: as they are written",
                                      Of(numbers.beyond_double, numbers.count())));
    return guess;
  }
  guess.type = "double";
  if (numbers.wholes > 0) {
    guess.notes.push_back(
        fmt::format("mixed: {} whole numbers, {} with a fraction", numbers.wholes, numbers.fractions));
  }
  return guess;
}

// Of kUsualTimeFormats, those that all but few of the texts are of.
std::vector<std::string> FormatsOf(const FieldProfile& field, std::int64_t all) {
  std::vector<std::string> formats;
  for (std::size_t i = 0; i < field.time_formats.size(); ++i) {
    const auto count = field.time_formats[i];
    if (count > 0 && AreFew(all - count, all)) formats.emplace_back(ingest::kUsualTimeFormats[i]);
  }
  return formats;
}

std::int64_t TimesOf(const FieldProfile& field, std::string_view format) {
  const auto at = std::find(ingest::kUsualTimeFormats.begin(), ingest::kUsualTimeFormats.end(), format);
  return field.time_formats[static_cast<std::size_t>(at - ingest::kUsualTimeFormats.begin())];
}

bool HasZone(std::string_view format) { return format.ends_with("%z") || format.ends_with("%Z"); }

// Of texts, `all` of which are not null. Numbers in quotes are the caller's.
TypeGuess GuessTimeOrText(const FieldProfile& field, std::int64_t all) {
  TypeGuess guess;
  struct Kind {
    std::int64_t count;
    const char* type;
    const char* name;
  };
  for (const auto& kind : {Kind{field.timestamps, "timestamp", "RFC 3339 times"}, Kind{field.dates, "date", "dates"}}) {
    if (kind.count > 0 && AreFew(all - kind.count, all)) {
      guess.type = kind.type;
      NoteStrays(all - kind.count, all, fmt::format("are no {}", kind.name), guess);
      return guess;
    }
  }
  if (field.uuids == all) return {"uuid", {"in lower case, however they come"}};
  guess.type = "string";
  const auto formats = FormatsOf(field, all);
  if (formats.size() == 1 && HasZone(formats.front())) {
    guess.type = "timestamp";
    guess.format = formats.front();
    NoteStrays(all - TimesOf(field, formats.front()), all, "are no times of this format", guess);
  } else if (!formats.empty()) {
    std::vector<std::string> types;
    for (const auto& format : formats) types.push_back(fmt::format("{{type: timestamp, format: \"{}\"}}", format));
    guess.notes.push_back(fmt::format("times without an offset: if they are UTC, {}", fmt::join(types, " or ")));
  } else if (field.base64 == all) {
    guess.notes.emplace_back("could be bytes in base64: type binary");
  } else if (2 * (field.timestamps + field.dates) > all) {
    guess.notes.push_back(fmt::format("{} are times or dates", Of(field.timestamps + field.dates, all)));
  }
  return guess;
}

TypeGuess GuessTextOfJson(const FieldProfile& field) {
  const auto& numbers = field.text_numbers;
  if (numbers.count() == field.texts && numbers.fractions > 0 && numbers.leading_zeros == 0 && FitsDecimal(numbers)) {
    return {DecimalType(numbers, numbers.digits_after_point),
            {fmt::format("numbers in quotes; more than {} digits after the point are dead letters",
                         numbers.digits_after_point)}};
  }
  auto guess = GuessTimeOrText(field, field.texts);
  if (numbers.count() == field.texts && guess.type == "string") {
    guess.notes.emplace_back(numbers.leading_zeros > 0 ? "digits with leading zeros" : "whole numbers in quotes");
  }
  return guess;
}

// What else than `most` there was: "3 texts, 1 object".
std::string OtherKinds(const FieldProfile& field) {
  std::vector<std::string> kinds;
  const auto add = [&](std::int64_t count, const char* one, const char* many) {
    if (count > 0) kinds.push_back(fmt::format("{} {}", count, count == 1 ? one : many));
  };
  add(field.bools, "boolean", "booleans");
  add(field.numbers.count(), "number", "numbers");
  add(field.texts, "text", "texts");
  add(field.objects, "object", "objects");
  add(field.arrays, "array", "arrays");
  return fmt::format("{}", fmt::join(kinds, ", "));
}

TypeGuess GuessList(const FieldProfile& field, const std::optional<TimeFrame>& frame) {
  if (field.items == nullptr || field.items->values() == 0) return {"", {"empty in all records: of what is not known"}};
  auto guess = GuessJsonType(*field.items, frame);
  if (guess.type.empty()) return {"json", {"arrays of mixed values, as they came"}};
  // As text a list of JSON is one, too.
  if (guess.type != "json") guess.type = "list<" + guess.type + ">";
  return guess;
}

bool IsMap(const FieldProfile& field) {
  std::int64_t values = 0;
  for (const auto& member : field.members) values += member->values();
  return field.members.size() > kMembersOfRecord && field.objects > 0 &&
         static_cast<double>(values) / static_cast<double>(field.objects) <
             static_cast<double>(field.members.size()) / 5;
}

// As the types of pipeline.yaml can spell it.
bool CanBeMember(std::string_view name) {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= kMemberBytesMax && std::all_of(name.begin(), name.end(), is_letter);
}

// Its type is empty if a member has no type of its own.
TypeGuess GuessStruct(const FieldProfile& object, const std::optional<TimeFrame>& frame) {
  if (object.members.empty() || object.members.size() > kMembersOfStruct) return {};
  TypeGuess guess;
  std::set<std::string> names;
  for (const auto& member : object.members) {
    auto one = GuessJsonType(*member, frame);
    const bool fits = CanBeMember(member->name) && names.insert(AsciiLower(member->name)).second;
    if (!fits || one.type.empty() || one.strays > 0) return {};
    if (!one.format.empty()) one = {"string", {fmt::format("times of the format \"{}\"", one.format)}};
    guess.type += fmt::format("{}{}: {}", guess.type.empty() ? "struct<" : ", ", member->name, one.type);
    for (const auto& note : one.notes) guess.notes.push_back(fmt::format("{}: {}", member->name, note));
  }
  guess.type += ">";
  return guess;
}

// Of an object whose keys are data.
TypeGuess GuessMap(const FieldProfile& object, const std::optional<TimeFrame>& frame) {
  const std::string what = fmt::format("objects with {} different keys", object.members.size());
  TypeGuess values;
  for (const auto& member : object.members) {
    auto one = GuessJsonType(*member, frame);
    if (one.type.empty() && member->values() == 0) continue;  // Null in all.
    const bool is_same = values.type.empty() || (one.type == values.type && one.format == values.format);
    if (one.type.empty() || one.strays > 0 || !is_same) return {"json", {what + ", as they came"}};
    values = std::move(one);
  }
  if (values.type.empty()) return {"json", {what + ", as they came"}};
  return {"map<string, " + values.type + ">", {what}, values.format};
}

TypeGuess GuessObject(const FieldProfile& object, const std::optional<TimeFrame>& frame) {
  if (IsMap(object)) return GuessMap(object, frame);
  auto guess = GuessStruct(object, frame);
  if (guess.type.empty()) return {"json", {"objects whose members have not one type each, as they came"}};
  return guess;
}

ColumnFacts FactsOf(const FieldProfile& field, std::int64_t nulls_among_texts = 0) {
  return {.present = field.values() - nulls_among_texts, .distinct = field.distinct.size(), .repeats = field.repeats};
}

class JsonFlattening {
 public:
  JsonFlattening(std::int64_t records, const std::optional<TimeFrame>& frame, ColumnNames& names)
      : records_(records), frame_(frame), names_(names) {}

  void Members(const FieldProfile& object) {
    for (const auto& member : object.members) {
      path_.push_back(member->name);
      Field(*member);
      path_.pop_back();
    }
  }

  std::vector<DraftColumn> Take() { return std::move(columns_); }

 private:
  void Field(const FieldProfile& field) {
    // A path cannot name a key without letters.
    const bool has_path = std::none_of(path_.begin(), path_.end(), [](const auto& key) { return key.empty(); });
    const auto others = field.values() - field.objects;
    if (field.objects > 0 && AreFew(others, field.values()) && has_path && !IsMap(field) && !field.members.empty()) {
      const auto first = columns_.size();
      Members(field);
      if (others > 0 && columns_.size() > first) {
        columns_[first].notes.push_back(
            fmt::format("{} records have no object in {}: dead letters", Of(others, records_), path_.back()));
      }
      return;
    }
    if (columns_.size() >= kColumnsMax) return;
    DraftColumn column;
    column.name = names_.Take(fmt::format("{}", fmt::join(path_, "_")));
    column.path = path_;
    column.facts = FactsOf(field);
    column.hints = HintsOf(path_.back());
    auto guess = Guess(field);
    column.type = std::move(guess.type);
    column.format = std::move(guess.format);
    column.notes = std::move(guess.notes);
    if (!has_path) column.notes.emplace_back("a key without letters has no path");
    column.left_out = column.type.empty() || !has_path;
    const auto absent = records_ - field.values();
    if (!column.left_out && absent > 0) column.notes.push_back(fmt::format("null in {} records", Of(absent, records_)));
    Protect(field, column);
    columns_.push_back(std::move(column));
  }

  TypeGuess Guess(const FieldProfile& field) const {
    if (field.values() == 0) return {"", {fmt::format("null in all {} records: its type is not known", field.nulls)}};
    if (field.objects == field.values() && field.members.empty()) return {"", {"an object without keys"}};
    return GuessJsonType(field, frame_);
  }

  static void Protect(const FieldProfile& field, DraftColumn& column) {
    if (!HoldsSecret(field)) return;
    column.left_out = true;
    column.hints.secret = true;
    column.notes = {"looks like a secret, so it is left out"};
  }

  const std::int64_t records_;
  const std::optional<TimeFrame>& frame_;
  ColumnNames& names_;
  std::vector<std::string> path_;
  std::vector<DraftColumn> columns_;
};

// Texts of the records' keys, or of one header.
struct PartProfile {
  FieldProfile field;
  std::int64_t not_utf8 = 0;
};

void Observe(std::string_view text, PartProfile& part) {
  if (simdjson::validate_utf8(text.data(), text.size())) {
    ObserveText(text, part.field);
  } else {
    ++part.not_utf8;
  }
}

DraftColumn PartColumn(const PartProfile& part, std::string_view wanted, std::string from, std::int64_t records,
                       const std::optional<TimeFrame>& frame, ColumnNames& names) {
  DraftColumn column{.name = names.Take(wanted), .type = {}, .from = std::move(from)};
  auto guess = GuessTextType(part.field, "", frame);
  // A key is a name: 007 and 7 are two of them, and the next one may be abc.
  if (column.from == "key" && guess.type != "string")
    guess = {"string", {"all of them are " + guess.type + " in the sample"}};
  column.type = std::move(guess.type);
  column.format = std::move(guess.format);
  column.notes = std::move(guess.notes);
  column.facts = FactsOf(part.field);
  column.hints = HintsOf(wanted);
  const auto absent = records - part.field.texts - part.not_utf8;
  if (absent > 0) column.notes.push_back(fmt::format("null in {} records", Of(absent, records)));
  if (part.not_utf8 > 0) {
    column.type = "binary";
    column.format.clear();
    column.notes = {fmt::format("{} are bytes that are not UTF-8", Of(part.not_utf8, records))};
  }
  if (column.hints.secret || part.field.secrets > 0) {
    column.left_out = true;
    column.hints.secret = true;
    column.notes = {"looks like a secret, so it is left out"};
  }
  return column;
}

}  // namespace

std::optional<TimeFrame> TimeFrameOf(const Sample& sample) {
  if (!sample.from_log || sample.records.empty()) return std::nullopt;
  const auto [first, last] =
      std::minmax_element(sample.records.begin(), sample.records.end(),
                          [](const auto& a, const auto& b) { return a.timestamp < b.timestamp; });
  return TimeFrame{first->timestamp, last->timestamp};
}

TypeGuess GuessJsonType(const FieldProfile& field, const std::optional<TimeFrame>& frame) {
  const auto all = field.values();
  const auto hints = HintsOf(field.name);
  TypeGuess guess;
  if (field.numbers.count() > 0 && AreFew(all - field.numbers.count(), all)) {
    guess = GuessNumber(field.numbers, hints, frame, "json");
    if (guess.type != "json") NoteStrays(all - field.numbers.count(), all, "are no numbers", guess);
  } else if (field.texts > 0 && AreFew(all - field.texts, all)) {
    guess = GuessTextOfJson(field);
    NoteStrays(all - field.texts, all, "are no texts", guess);
  } else if (field.bools > 0 && AreFew(all - field.bools, all)) {
    guess.type = "bool";
    NoteStrays(all - field.bools, all, "are no booleans", guess);
  } else if (field.arrays > 0 && AreFew(all - field.arrays, all)) {
    guess = GuessList(field, frame);
    NoteStrays(all - field.arrays, all, "are no arrays", guess);
  } else if (field.objects > 0 && AreFew(all - field.objects, all)) {
    guess = GuessObject(field, frame);
    if (guess.type != "json") NoteStrays(all - field.objects, all, "are no objects", guess);
  } else {
    guess.notes.push_back(fmt::format("mixed, and no type but json takes all: {}", OtherKinds(field)));
  }
  return guess;
}

TypeGuess GuessTextType(const FieldProfile& field, std::string_view null_text, const std::optional<TimeFrame>& frame) {
  const auto null_at = std::find(std::begin(kNullTexts), std::end(kNullTexts), null_text) - std::begin(kNullTexts);
  const auto all = field.texts - (null_at < std::ssize(kNullTexts) ? field.null_texts[null_at] : 0);
  const auto hints = HintsOf(field.name);
  if (all == 0) return {"string", {"null in all: its type is not known"}};
  const auto& numbers = field.text_numbers;
  TypeGuess guess;
  if (numbers.count() > 0 && AreFew(all - numbers.count(), all)) {
    if (numbers.leading_zeros > 0) return {"string", {"digits with leading zeros"}};
    guess = GuessNumber(numbers, hints, frame, "string");
    if (guess.type != "string") NoteStrays(all - numbers.count(), all, "are no numbers", guess);
  } else if (field.text_bools > 0 && AreFew(all - field.text_bools, all)) {
    guess.type = "bool";
    NoteStrays(all - field.text_bools, all, "are no booleans", guess);
  } else {
    guess = GuessTimeOrText(field, all);
  }
  return guess;
}

bool HoldsSecret(const FieldProfile& field) {
  if (field.secrets > 0 || (field.texts > 0 && HintsOf(field.name).secret)) return true;
  if (field.items != nullptr && HoldsSecret(*field.items)) return true;
  return std::any_of(field.members.begin(), field.members.end(),
                     [](const auto& member) { return HoldsSecret(*member); });
}

std::vector<DraftColumn> JsonColumns(const DocumentProfile& profile, const std::optional<TimeFrame>& frame,
                                     ColumnNames& names) {
  JsonFlattening flattening(profile.root.objects, frame, names);
  flattening.Members(profile.root);
  return flattening.Take();
}

std::vector<DraftColumn> CsvColumns(const std::vector<FieldProfile>& fields, std::string_view null_text,
                                    const std::optional<TimeFrame>& frame, ColumnNames& names) {
  const auto null_at = std::find(std::begin(kNullTexts), std::end(kNullTexts), null_text) - std::begin(kNullTexts);
  std::vector<DraftColumn> columns;
  for (const auto& field : fields) {
    DraftColumn column{.name = names.Take(field.name), .type = {}, .path = {field.name}};
    auto guess = GuessTextType(field, null_text, frame);
    column.type = std::move(guess.type);
    column.format = std::move(guess.format);
    column.notes = std::move(guess.notes);
    const auto nulls = null_at < std::ssize(kNullTexts) ? field.null_texts[null_at] : 0;
    column.facts = FactsOf(field, nulls);
    column.hints = HintsOf(field.name);
    if (nulls > 0 && nulls < field.texts)
      column.notes.push_back(fmt::format("null in {} records", Of(nulls, field.texts)));
    if (field.secrets > 0 || (column.hints.secret && field.texts > nulls && column.type == "string")) {
      column.left_out = true;
      column.hints.secret = true;
      column.notes = {"looks like a secret, so it is left out"};
    }
    columns.push_back(std::move(column));
  }
  return columns;
}

std::string GuessNullText(const std::vector<FieldProfile>& fields) {
  std::int64_t counts[kNumNullTexts] = {};
  for (const auto& field : fields) {
    const auto values = field.text_numbers.count() + field.text_bools + field.dates + field.timestamps;
    const bool is_typed = 2 * values > field.texts - field.null_texts[0];
    for (std::size_t i = 0; i < kNumNullTexts; ++i) counts[i] += is_typed ? field.null_texts[i] : 0;
  }
  // The first, which is no text at all, unless another is seen more often.
  return std::string(kNullTexts[std::max_element(std::begin(counts), std::end(counts)) - std::begin(counts)]);
}

std::vector<DraftColumn> RecordColumns(const Sample& sample, const std::string& key_field,
                                       const std::optional<TimeFrame>& frame, ColumnNames& names) {
  PartProfile keys;
  std::map<std::string, PartProfile> headers;
  for (const auto& record : sample.records) {
    if (record.key) Observe(*record.key, keys);
    std::map<std::string_view, std::string_view> last;  // Of a header that is there twice, the last counts.
    for (const auto& [name, value] : record.headers) {
      if (value) last[name] = *value;
    }
    for (const auto& [name, value] : last) {
      const bool has_name = !name.empty() && simdjson::validate_utf8(name.data(), name.size());
      if (!has_name || (headers.size() >= kHeadersMax && !headers.contains(std::string(name)))) continue;
      Observe(value, headers[std::string(name)]);
    }
  }
  const auto records = std::ssize(sample.records);
  std::vector<DraftColumn> columns;
  const bool has_key = keys.field.texts + keys.not_utf8 > 0;
  if (has_key && key_field.empty()) columns.push_back(PartColumn(keys, "key", "key", records, frame, names));
  for (const auto& [name, part] : headers) {
    columns.push_back(PartColumn(part, name, "header." + name, records, frame, names));
  }
  return columns;
}

}  // namespace millrace::infer
