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
constexpr const char* kOf = "of";
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
    case model::Window::Kind::kNone:
      return "none";
  }
  return "";
}

// `inputs`: the text of each of plan.inputs. `where`: empty: all rows are taken.
AggregateMeaning Meaning(const process::AggregatePlan& plan, const std::vector<std::string>& inputs,
                         const std::string& where) {
  const auto& definition = plan.definition;
  AggregateMeaning meaning;
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
const std::string* OtherCase(const AggregateMeaning& meaning, const std::string& part) {
  for (const auto& [name, text] : meaning) {
    if (name != part && AsciiLower(name) == AsciiLower(part)) return &name;
  }
  return nullptr;
}

}  // namespace

AggregateMeaning MeaningOf(const process::AggregatePlan& plan, const process::RowOrigin& inputs) {
  auto meaning = Meaning(plan, inputs.columns, fmt::format("{}", fmt::join(inputs.conditions, " AND ")));
  meaning[kOf] = "events";
  return meaning;
}

AggregateMeaning MeaningByColumns(const process::AggregatePlan& plan) {
  std::vector<std::string> inputs;
  for (const auto& input : plan.inputs) inputs.push_back(input.sql);
  return Meaning(plan, inputs, plan.where_sql);
}

bool IsByColumns(const AggregateMeaning& meaning) { return !meaning.contains(kOf); }

std::string ToProperty(const AggregateMeaning& meaning) {
  json::object object;
  for (const auto& [part, text] : meaning) object[part] = text;
  return json::serialize(object);
}

Result<AggregateMeaning> FromProperty(const std::string& text) {
  boost::system::error_code ec;
  const auto parsed = json::parse(text, ec);
  if (ec || !parsed.is_object()) return Corrupt("the property {} is not a JSON object: {}", kAggregateProperty, text);
  AggregateMeaning meaning;
  for (const auto& [part, value] : parsed.as_object()) {
    if (!value.is_string())
      return Corrupt("the property {}: '{}' is not a text", kAggregateProperty, std::string(part));
    meaning[part] = value.as_string();
  }
  return meaning;
}

std::string Difference(const AggregateMeaning& table, const AggregateMeaning& pipeline) {
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

}  // namespace millrace::pipeline
