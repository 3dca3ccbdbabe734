#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <optional>
#include <utility>

#include "ingest/jmespath/evaluation_internal.h"
#include "ingest/jmespath/json_value.h"

namespace millrace::ingest {
namespace {

namespace json = boost::json;
using Arguments = std::span<const Argument>;

double DoubleOf(const json::value& number) { return number.to_number<double>(); }

// "string", "number", ...: JMESPath's names.
std::string_view TypeOf(const Argument& argument) {
  if (argument.reference != nullptr) return "a reference (&)";
  const json::value& value = *argument.value;
  if (value.is_null()) return "null";
  if (value.is_bool()) return "a boolean";
  if (value.is_string()) return "a string";
  if (value.is_array()) return "an array";
  if (value.is_object()) return "an object";
  return "a number";
}

char LetterOf(const Argument& argument) {
  if (argument.reference != nullptr) return '&';
  const json::value& value = *argument.value;
  if (value.is_null()) return '0';
  if (value.is_bool()) return 'b';
  if (value.is_string()) return 's';
  if (value.is_array()) return 'a';
  if (value.is_object()) return 'o';
  return 'n';
}

std::string NamesOf(std::string_view letters) {
  static constexpr std::pair<char, std::string_view> kNames[] = {
      {'s', "a string"},  {'n', "a number"}, {'b', "a boolean"},      {'a', "an array"},
      {'o', "an object"}, {'0', "null"},     {'&', "a reference (&)"}};
  std::string names;
  for (const char letter : letters) {
    for (const auto& [one, name] : kNames) {
      if (one == letter) names += fmt::format("{}{}", names.empty() ? "" : " or ", name);
    }
  }
  return names;
}

// Bytes of the code point that begins here.
std::size_t LengthAt(std::string_view text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const std::size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  return std::min(length, text.size() - at);
}

std::string_view Text(const Argument& argument) { return argument.value->get_string(); }
const json::array& Array(const Argument& argument) { return argument.value->get_array(); }

// All numbers or all strings, which can be put in order. kInvalidInput: neither.
Status CheckOrdered(std::string_view function, std::span<const json::value* const> values) {
  const bool numbers = std::all_of(values.begin(), values.end(), [](const auto* value) { return value->is_number(); });
  const bool strings = std::all_of(values.begin(), values.end(), [](const auto* value) { return value->is_string(); });
  if (numbers || strings) return Status::OK();
  return InvalidInput("{}() takes numbers or strings, all of one kind", function);
}

std::vector<const json::value*> Pointers(const json::array& array) {
  std::vector<const json::value*> pointers;
  for (const auto& value : array) pointers.push_back(&value);
  return pointers;
}

Status CheckNumbers(std::string_view function, const json::array& array) {
  if (std::all_of(array.begin(), array.end(), [](const auto& value) { return value.is_number(); })) return Status::OK();
  return InvalidInput("{}() takes an array of numbers", function);
}

Result<json::value> Abs(Evaluation&, Arguments arguments) {
  const auto& number = *arguments[0].value;
  if (number.is_int64() && number.get_int64() > std::numeric_limits<std::int64_t>::min()) {
    return json::value(std::abs(number.get_int64()));
  }
  if (number.is_uint64()) return number;
  return json::value(std::abs(DoubleOf(number)));
}

// Whole numbers as they are; others rounded, whole again if they fit.
template <double (*kRound)(double)>
Result<json::value> Rounded(Evaluation&, Arguments arguments) {
  const auto& number = *arguments[0].value;
  if (!number.is_double()) return number;
  const double rounded = kRound(number.get_double());
  if (std::abs(rounded) < 9e18) return json::value(static_cast<std::int64_t>(rounded));
  return json::value(rounded);
}

double SumOf(const json::array& numbers) {
  double sum = 0;
  for (const auto& number : numbers) sum += DoubleOf(number);
  return sum;
}

Result<json::value> Sum(Evaluation&, Arguments arguments) {
  RETURN_NOT_OK(CheckNumbers("sum", Array(arguments[0])));
  std::int64_t whole = 0;
  for (const auto& number : Array(arguments[0])) {
    if (!number.is_int64() || __builtin_add_overflow(whole, number.get_int64(), &whole)) {
      return json::value(SumOf(Array(arguments[0])));
    }
  }
  return json::value(whole);
}

Result<json::value> Avg(Evaluation&, Arguments arguments) {
  RETURN_NOT_OK(CheckNumbers("avg", Array(arguments[0])));
  if (Array(arguments[0]).empty()) return json::value(nullptr);
  return json::value(SumOf(Array(arguments[0])) / static_cast<double>(Array(arguments[0]).size()));
}

Result<json::value> Contains(Evaluation&, Arguments arguments) {
  const auto& wanted = *arguments[1].value;
  if (arguments[0].value->is_string()) {
    return json::value(wanted.is_string() &&
                       Text(arguments[0]).find(std::string_view(wanted.get_string())) != std::string_view::npos);
  }
  const auto& array = Array(arguments[0]);
  return json::value(
      std::any_of(array.begin(), array.end(), [&](const auto& value) { return AreEqual(value, wanted); }));
}

Result<json::value> StartsWith(Evaluation&, Arguments arguments) {
  return json::value(Text(arguments[0]).starts_with(Text(arguments[1])));
}
Result<json::value> EndsWith(Evaluation&, Arguments arguments) {
  return json::value(Text(arguments[0]).ends_with(Text(arguments[1])));
}

Result<json::value> Join(Evaluation&, Arguments arguments) {
  std::string joined;
  bool first = true;
  for (const auto& value : Array(arguments[1])) {
    if (!value.is_string()) return InvalidInput("join() takes an array of strings");
    if (!std::exchange(first, false)) joined += Text(arguments[0]);
    joined += std::string_view(value.get_string());
  }
  return json::value(json::string(joined));
}

Result<json::value> Keys(Evaluation&, Arguments arguments) {
  json::array keys;
  for (const auto key : SortedKeys(arguments[0].value->get_object())) keys.emplace_back(key);
  return json::value(std::move(keys));
}

Result<json::value> Values(Evaluation&, Arguments arguments) {
  const auto& object = arguments[0].value->get_object();
  json::array values;
  for (const auto key : SortedKeys(object)) values.push_back(object.at(key));
  return json::value(std::move(values));
}

Result<json::value> Length(Evaluation&, Arguments arguments) {
  const auto& value = *arguments[0].value;
  if (value.is_array()) return json::value(value.get_array().size());
  if (value.is_object()) return json::value(value.get_object().size());
  std::int64_t length = 0;
  const std::string_view text = value.get_string();
  for (std::size_t at = 0; at < text.size(); at += LengthAt(text, at)) ++length;
  return json::value(length);
}

Result<json::value> Map(Evaluation& evaluation, Arguments arguments) {
  json::array mapped;
  for (const auto& element : Array(arguments[1])) {
    ASSIGN_OR_RETURN(const auto* const value, evaluation.Of(*arguments[0].reference, element));
    mapped.push_back(*value);
  }
  return json::value(std::move(mapped));
}

// The reference's values of all elements.
Result<std::vector<const json::value*>> ValuesBy(std::string_view function, Evaluation& evaluation,
                                                 Arguments arguments) {
  std::vector<const json::value*> values;
  for (const auto& element : Array(arguments[0])) {
    ASSIGN_OR_RETURN(values.emplace_back(), evaluation.Of(*arguments[1].reference, element));
  }
  RETURN_NOT_OK(CheckOrdered(function, values));
  return values;
}

// The first of those that no other is before. null: there are none.
json::value Extreme(const json::array& elements, const std::vector<const json::value*>& values, bool largest) {
  if (values.empty()) return nullptr;
  std::size_t extreme = 0;
  for (std::size_t i = 1; i < values.size(); ++i) {
    if (largest ? IsLess(*values[extreme], *values[i]) : IsLess(*values[i], *values[extreme])) extreme = i;
  }
  return elements[extreme];
}

template <bool kLargest>
Result<json::value> ExtremeOf(Evaluation&, Arguments arguments) {
  const auto values = Pointers(Array(arguments[0]));
  RETURN_NOT_OK(CheckOrdered(kLargest ? "max" : "min", values));
  return Extreme(Array(arguments[0]), values, kLargest);
}

template <bool kLargest>
Result<json::value> ExtremeBy(Evaluation& evaluation, Arguments arguments) {
  ASSIGN_OR_RETURN(const auto values, ValuesBy(kLargest ? "max_by" : "min_by", evaluation, arguments));
  return Extreme(Array(arguments[0]), values, kLargest);
}

json::value Sorted(const json::array& elements, const std::vector<const json::value*>& values) {
  std::vector<std::size_t> order(values.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return IsLess(*values[a], *values[b]); });
  json::array sorted;
  for (const std::size_t i : order) sorted.push_back(elements[i]);
  return sorted;
}

Result<json::value> Sort(Evaluation&, Arguments arguments) {
  const auto values = Pointers(Array(arguments[0]));
  RETURN_NOT_OK(CheckOrdered("sort", values));
  return Sorted(Array(arguments[0]), values);
}

Result<json::value> SortBy(Evaluation& evaluation, Arguments arguments) {
  ASSIGN_OR_RETURN(const auto values, ValuesBy("sort_by", evaluation, arguments));
  return Sorted(Array(arguments[0]), values);
}

Result<json::value> Merge(Evaluation&, Arguments arguments) {
  json::object merged;
  for (const auto& argument : arguments) {
    for (const auto& member : argument.value->get_object()) merged[member.key()] = member.value();
  }
  return json::value(std::move(merged));
}

Result<json::value> NotNull(Evaluation&, Arguments arguments) {
  for (const auto& argument : arguments) {
    if (!argument.value->is_null()) return *argument.value;
  }
  return json::value(nullptr);
}

Result<json::value> Reverse(Evaluation&, Arguments arguments) {
  if (arguments[0].value->is_array()) {
    const auto& array = Array(arguments[0]);
    return json::value(json::array(std::make_reverse_iterator(array.end()), std::make_reverse_iterator(array.begin())));
  }
  const std::string_view text = Text(arguments[0]);
  std::string reversed(text.size(), '\0');
  for (std::size_t at = 0, end = text.size(); at < text.size();) {
    const std::size_t length = LengthAt(text, at);
    end -= length;
    text.copy(reversed.data() + end, length, at);
    at += length;
  }
  return json::value(json::string(reversed));
}

Result<json::value> ToArray(Evaluation&, Arguments arguments) {
  if (arguments[0].value->is_array()) return *arguments[0].value;
  return json::value(json::array{*arguments[0].value});
}

Result<json::value> ToNumber(Evaluation&, Arguments arguments) {
  const auto& value = *arguments[0].value;
  if (value.is_number()) return value;
  if (!value.is_string()) return json::value(nullptr);
  auto number = ParseJsonValue(value.get_string());
  return number && number->is_number() ? *std::move(number) : json::value(nullptr);
}

Result<json::value> ToString(Evaluation&, Arguments arguments) {
  if (arguments[0].value->is_string()) return *arguments[0].value;
  return json::value(json::string(ToJsonText(*arguments[0].value)));
}

Result<json::value> Type(Evaluation&, Arguments arguments) {
  std::string_view name = TypeOf(arguments[0]);
  if (const auto space = name.find(' '); space != std::string_view::npos) name.remove_prefix(space + 1);
  return json::value(json::string(name));
}

// A number of characters: fractions are cut off, what is below 0 is 0.
std::size_t CountOf(const Argument& argument) {
  const double count = DoubleOf(*argument.value);
  if (!(count > 0)) return 0;
  return count < 1e18 ? static_cast<std::size_t>(count) : static_cast<std::size_t>(1e18);
}

Result<json::value> Substr(Evaluation&, Arguments arguments) {
  const std::string_view text = Text(arguments[0]);
  std::size_t at = 0;
  for (std::size_t skip = CountOf(arguments[1]); skip > 0 && at < text.size(); --skip) at += LengthAt(text, at);
  std::size_t end = at;
  for (std::size_t take = CountOf(arguments[2]); take > 0 && end < text.size(); --take) end += LengthAt(text, end);
  return json::value(json::string(text.substr(at, end - at)));
}

// The whole number at or below; nullopt: beyond 64 bits.
std::optional<std::int64_t> WholeOf(const json::value& number) {
  if (number.is_int64()) return number.get_int64();
  if (number.is_uint64()) return std::nullopt;
  const double value = number.get_double();
  if (!(std::abs(value) < 9e18)) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

template <std::int64_t kPerSecond>
Result<json::value> Iso8601(Evaluation&, Arguments arguments) {
  const auto count = WholeOf(*arguments[0].value);
  constexpr std::int64_t kSecondsMin = -62'135'596'800;  // 0001-01-01
  constexpr std::int64_t kSecondsMax = 253'402'300'799;  // 9999-12-31T23:59:59
  const std::int64_t seconds = !count ? kSecondsMax + 1 : *count / kPerSecond - (*count % kPerSecond < 0 ? 1 : 0);
  if (seconds < kSecondsMin || seconds > kSecondsMax) {
    return InvalidInput("{} is no time between the years 0001 and 9999", ToJsonText(*arguments[0].value));
  }
  const std::int64_t fraction = *count - seconds * kPerSecond;
  const std::chrono::sys_seconds time{std::chrono::seconds(seconds)};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  std::string text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                                 static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                                 clock.hours().count(), clock.minutes().count(), clock.seconds().count());
  if (fraction != 0) text += fmt::format(".{:0{}}", fraction, kPerSecond == 1000 ? 3 : 6);
  return json::value(json::string(text + "Z"));
}

Result<json::value> MillisToMicro(Evaluation&, Arguments arguments) {
  const auto& number = *arguments[0].value;
  std::int64_t micros = 0;
  if (number.is_int64() && !__builtin_mul_overflow(number.get_int64(), 1000, &micros)) return json::value(micros);
  return json::value(DoubleOf(number) * 1000);
}

constexpr std::string_view kOneNumber[] = {"n"};
constexpr std::string_view kArray[] = {"a"};
constexpr std::string_view kArrayOrText[] = {"as"};
constexpr std::string_view kArrayOrTextThenAny[] = {"as", "*"};
constexpr std::string_view kText[] = {"s"};
constexpr std::string_view kTextAndArray[] = {"s", "a"};
constexpr std::string_view kObject[] = {"o"};
constexpr std::string_view kSized[] = {"sao"};
constexpr std::string_view kReferenceAndArray[] = {"&", "a"};
constexpr std::string_view kArrayAndReference[] = {"a", "&"};
constexpr std::string_view kAny[] = {"*"};
constexpr std::string_view kTextAndNumbers[] = {"s", "n"};

constexpr JmesPathFunction kFunctions[] = {
    {"abs", 1, 1, kOneNumber, Abs},
    {"avg", 1, 1, kArray, Avg},
    {"ceil", 1, 1, kOneNumber, Rounded<std::ceil>},
    {"contains", 2, 2, kArrayOrTextThenAny, Contains},
    {"ends_with", 2, 2, kText, EndsWith},
    {"epoch_micros_to_iso8601", 1, 1, kOneNumber, Iso8601<1'000'000>},
    {"epoch_millis_to_iso8601", 1, 1, kOneNumber, Iso8601<1000>},
    {"epoch_millis_to_micro", 1, 1, kOneNumber, MillisToMicro},
    {"epoch_seconds_to_iso8601", 1, 1, kOneNumber, Iso8601<1>},
    {"floor", 1, 1, kOneNumber, Rounded<std::floor>},
    {"join", 2, 2, kTextAndArray, Join},
    {"keys", 1, 1, kObject, Keys},
    {"length", 1, 1, kSized, Length},
    {"map", 2, 2, kReferenceAndArray, Map},
    {"max", 1, 1, kArray, ExtremeOf<true>},
    {"max_by", 2, 2, kArrayAndReference, ExtremeBy<true>},
    {"merge", 1, JmesPathFunction::kAnyNumber, kObject, Merge},
    {"min", 1, 1, kArray, ExtremeOf<false>},
    {"min_by", 2, 2, kArrayAndReference, ExtremeBy<false>},
    {"not_null", 1, JmesPathFunction::kAnyNumber, kAny, NotNull},
    {"reverse", 1, 1, kArrayOrText, Reverse},
    {"sort", 1, 1, kArray, Sort},
    {"sort_by", 2, 2, kArrayAndReference, SortBy},
    {"starts_with", 2, 2, kText, StartsWith},
    {"substr", 3, 3, kTextAndNumbers, Substr},
    {"sum", 1, 1, kArray, Sum},
    {"to_array", 1, 1, kAny, ToArray},
    {"to_number", 1, 1, kAny, ToNumber},
    {"to_string", 1, 1, kAny, ToString},
    {"type", 1, 1, kAny, Type},
    {"values", 1, 1, kObject, Values},
};

}  // namespace

const JmesPathFunction* FindJmesPathFunction(std::string_view name) {
  const auto* const found =
      std::find_if(std::begin(kFunctions), std::end(kFunctions), [&](const auto& one) { return one.name == name; });
  return found == std::end(kFunctions) ? nullptr : found;
}

std::vector<std::string> JmesPathFunctionNames() {
  std::vector<std::string> names;
  for (const auto& function : kFunctions) names.emplace_back(function.name);
  return names;
}

Result<json::value> Call(const JmesPathFunction& function, Evaluation& evaluation, Arguments arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view letters = function.types[std::min(i, function.types.size() - 1)];
    const char letter = LetterOf(arguments[i]);
    if (letters == "*" ? letter != '&' : letters.find(letter) != std::string_view::npos) continue;
    return InvalidInput("{}() takes {} as argument {}, not {}", function.name,
                        letters == "*" ? "a value" : NamesOf(letters), i + 1, TypeOf(arguments[i]));
  }
  return function.call(evaluation, arguments);
}

}  // namespace millrace::ingest
