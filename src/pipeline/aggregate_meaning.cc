#include "pipeline/aggregate_meaning.h"

#include <fmt/ranges.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <chrono>
#include <string_view>
#include <vector>

#include "base/ascii_case.h"
#include "base/quantity_text.h"

namespace millrace::pipeline {

namespace json = boost::json;

namespace {

constexpr const char* kWindow = "window";
constexpr const char* kFrom = "from";
constexpr std::string_view kTumbling = "tumbling ";
constexpr std::string_view kMicros = " us";

// The size of a window is kept in microseconds, and said as people write it: "tumbling 1m".
std::string ForPeople(const std::string& part, const std::string& text) {
  if (part != kWindow || !text.starts_with(kTumbling)) return text;
  std::int64_t size_us = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data() + kTumbling.size(), end, size_us);
  if (error != std::errc() || std::string_view(rest, end) != kMicros) return text;
  return std::string(kTumbling) + DurationText(std::chrono::microseconds(size_us));
}

std::string WindowMeaning(const model::Window& window) {
  switch (window.kind) {
    case model::Window::Kind::kTumbling:
      return fmt::format("{}{}{}", kTumbling, window.size_us, kMicros);
    case model::Window::Kind::kCalendar:
      return fmt::format("calendar {} {} {}", window.days > 0 ? window.days : window.months,
                         window.days > 0 ? "days" : "months", window.zone->name());
    case model::Window::Kind::kHopping:
      return fmt::format("hopping {} us, slide {} us", window.size_us, window.pane_us);
    case model::Window::Kind::kCumulating:
      return fmt::format("cumulating {} us, step {} us", window.size_us, window.pane_us);
    case model::Window::Kind::kSession:
      return fmt::format("session {} us", window.size_us);
    case model::Window::Kind::kNone:
      return "none";
  }
  return "";
}

// `inputs`: the text of each of plan.inputs. `where`: empty: all rows are taken.
MeaningParts PartsOf(const process::AggregatePlan& plan, const std::vector<std::string>& inputs,
                     const std::string& where) {
  const auto& definition = plan.definition;
  MeaningParts meaning;
  meaning[kWindow] = WindowMeaning(definition.window);
  if (definition.window.has_windows()) meaning["time"] = inputs.front();
  if (!where.empty()) meaning["where"] = where;
  for (std::size_t k = 0; k < definition.keys.size(); ++k) {
    const auto& key = definition.keys[k];
    meaning["key " + key.name] = fmt::format("{} {}", inputs[plan.first_key() + k], key.type->ToString());
  }
  for (const auto& accumulator : plan.accumulators) {
    std::vector<std::string> arguments;
    for (const int argument : accumulator.arguments) arguments.push_back(inputs[argument]);
    if (arguments.empty()) arguments.emplace_back("*");
    const auto keeps = definition.states[accumulator.states.front()].keeps;
    if (keeps > 0) arguments.push_back(std::to_string(keeps));
    const std::string filter = accumulator.filter < 0 ? "" : fmt::format(" filter {}", inputs[accumulator.filter]);
    for (const std::size_t s : accumulator.states) {
      const auto& state = definition.states[s];
      meaning["state " + state.name] =
          fmt::format("{}({}){} {}", state.function, fmt::join(arguments, ", "), filter, state.type->ToString());
    }
  }
  return meaning;
}

// "sum(Amount) FILTER (kind = 'A')" -> "sum(amount) filter (kind = 'A')"
std::string FoldedCase(std::string_view sql) {
  std::string folded;
  bool in_literal = false;
  for (const char c : sql) {
    if (c == '\'') in_literal = !in_literal;
    folded += in_literal ? c : AsciiLower(c);
  }
  return folded;
}

// The part of this name but for its case; nullptr: there is none.
const std::string* OtherCase(const MeaningParts& parts, const std::string& part) {
  for (const auto& [name, text] : parts) {
    if (name != part && AsciiLower(name) == AsciiLower(part)) return &name;
  }
  return nullptr;
}

}  // namespace

std::string ToProperty(const MeaningParts& parts) {
  json::object object;
  for (const auto& [part, text] : parts) object[part] = text;
  return json::serialize(object);
}

Result<MeaningParts> FromProperty(const std::string& text, const char* property) {
  boost::system::error_code ec;
  const auto parsed = json::parse(text, ec);
  if (ec || !parsed.is_object()) return Corrupt("the property {} is not a JSON object: {}", property, text);
  MeaningParts parts;
  for (const auto& [part, value] : parsed.as_object()) {
    if (!value.is_string()) return Corrupt("the property {}: '{}' is not a text", property, std::string(part));
    parts[part] = value.as_string();
  }
  return parts;
}

std::string Difference(const MeaningParts& table, const MeaningParts& pipeline) {
  std::string difference;
  const auto add = [&](const std::string& text) { difference += (difference.empty() ? "" : "; ") + text; };
  for (const auto& [part, text] : table) {
    const auto now = pipeline.find(part);
    if (const auto* other = now == pipeline.end() ? OtherCase(pipeline, part) : nullptr) {
      add(fmt::format("{} is written so in the table, '{}' in the pipeline", part, *other));
    } else if (now == pipeline.end()) {
      add(fmt::format("{} is gone, it is '{}' in the table", part, ForPeople(part, text)));
    } else if (FoldedCase(now->second) != FoldedCase(text)) {
      add(fmt::format("{}: it is '{}' in the table, '{}' in the pipeline", part, ForPeople(part, text),
                      ForPeople(part, now->second)));
    }
  }
  for (const auto& [part, text] : pipeline) {
    if (!table.contains(part) && OtherCase(table, part) == nullptr)
      add(fmt::format("{} is new: '{}'", part, ForPeople(part, text)));
  }
  return difference;
}

AggregateMeaning MeaningOf(const process::AggregatePlan& plan, const process::RowOrigin& inputs) {
  std::vector<std::string> columns;
  for (const auto& input : plan.inputs) columns.push_back(input.sql);
  AggregateMeaning meaning{
      .parts = PartsOf(plan, columns, plan.where_sql),
      .source = PartsOf(plan, inputs.columns, fmt::format("{}", fmt::join(inputs.conditions, " AND ")))};
  meaning.source[kFrom] = plan.definition.input;
  return meaning;
}

std::string FingerprintOf(const process::AggregatePlan& plan, const process::RowOrigin& inputs) {
  std::string text = ToProperty(MeaningOf(plan, inputs).parts) + model::PartialSchema(plan.definition)->ToString();
  for (const auto& state : plan.definition.states) text += fmt::format(";{} {}", state.function, state.part);
  std::uint64_t hash = 0xCBF29CE484222325;  // FNV-1a: it tells versions apart, and keeps nobody out.
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return fmt::format("{:016x}", hash);
}

std::map<std::string, std::string> ToProperties(const AggregateMeaning& meaning) {
  return {{kAggregateProperty, ToProperty(meaning.parts)}, {kAggregateSourceProperty, ToProperty(meaning.source)}};
}

Result<std::optional<AggregateMeaning>> MeaningIn(const std::map<std::string, std::string>& configuration) {
  const auto parts = configuration.find(kAggregateProperty);
  if (parts == configuration.end()) return std::nullopt;
  AggregateMeaning meaning;
  ASSIGN_OR_RETURN(meaning.parts, FromProperty(parts->second, kAggregateProperty));
  if (const auto source = configuration.find(kAggregateSourceProperty); source != configuration.end()) {
    ASSIGN_OR_RETURN(meaning.source, FromProperty(source->second, kAggregateSourceProperty));
  }
  return meaning;
}

MeaningComparison Compare(const AggregateMeaning& table, const AggregateMeaning& pipeline,
                          const std::set<std::string>& relations, const std::set<std::string>& of_other_inputs) {
  using Verdict = MeaningComparison::Verdict;
  auto kept = table.source;
  auto now = pipeline.source;
  const std::string kept_from = kept[kFrom];
  const std::string from = now[kFrom];
  kept.erase(kFrom);
  now.erase(kFrom);
  // The same words over the events of another input mean something else.
  if (of_other_inputs.contains(AsciiLower(kept_from))) {
    return {Verdict::kAnother, Difference({{kFrom, kept_from}}, {{kFrom, from}})};
  }
  std::string of_source = Difference(kept, now);
  if (!kept.empty() && of_source.empty()) return {};
  if (std::string of_parts = Difference(table.parts, pipeline.parts); !of_parts.empty()) {
    return {Verdict::kAnother, std::move(of_parts)};
  }
  if (kept.empty()) return {};
  const bool is_another_relation =
      AsciiLower(kept_from) != AsciiLower(from) && relations.contains(AsciiLower(kept_from));
  if (!is_another_relation) return {Verdict::kFedOtherwise, std::move(of_source)};
  return {Verdict::kAnother, Difference({{kFrom, kept_from}}, {{kFrom, from}}) + "; " + of_source};
}

}  // namespace millrace::pipeline
