#include "answer_text.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <utility>

#include "text_table.h"

namespace millrace::app {
namespace {

namespace ondemand = simdjson::ondemand;

// "1.50 " -> "1.50"
std::string Trimmed(std::string_view token) {
  const auto last = token.find_last_not_of(" \t\r\n");
  return std::string(token.substr(0, last == std::string_view::npos ? 0 : last + 1));
}

std::string CellOf(ondemand::value value) {
  switch (value.type().value()) {
    case ondemand::json_type::string:
      return std::string(value.get_string().value());
    case ondemand::json_type::null:
      return "NULL";
    case ondemand::json_type::array:
      return std::string(value.get_array().value().raw_json().value());
    case ondemand::json_type::object:
      return std::string(value.get_object().value().raw_json().value());
    default:
      return Trimmed(value.raw_json_token());
  }
}

std::vector<std::vector<std::string>> CellsOf(ondemand::document& document) {
  std::vector<std::vector<std::string>> rows(1);
  for (auto column : document["meta"].get_array()) {
    rows.front().emplace_back(column["name"].get_string().value());
  }
  for (auto row : document["data"].get_array()) {
    auto& cells = rows.emplace_back();
    for (auto field : row.get_object()) cells.push_back(CellOf(field.value().value()));
    cells.resize(rows.front().size());
  }
  return rows;
}

std::vector<std::string> SentencesOf(ondemand::array errors) {
  std::vector<std::string> sentences;
  for (auto error : errors) {
    const std::string group(error["group"].get_object().value().raw_json().value());
    const std::string measure(error["measure"].get_string().value());
    const std::string detail(error["detail"].get_string().value());
    sentences.push_back(fmt::format("{} in {}: {}", measure, group, detail));
  }
  return sentences;
}

// What `read` makes of the document.
template <typename Read>
auto Parsed(const std::string& text, Read read) -> Result<decltype(read(std::declval<ondemand::document&>()))> {
  ondemand::parser parser;
  const simdjson::padded_string padded(text);
  try {
    ondemand::document document = parser.iterate(padded);
    return read(document);
  } catch (const simdjson::simdjson_error& error) {
    return Corrupt("this is no answer of Millrace: {}: {}", error.what(), text.substr(0, 200));
  }
}

}  // namespace

Result<std::string> AnswerToTable(const std::string& answer) {
  ASSIGN_OR_RETURN(const auto cells, Parsed(answer, [](auto& document) { return CellsOf(document); }));
  return RenderTable(cells);
}

Result<std::vector<std::string>> MissingValuesOfAnswer(const std::string& answer) {
  return Parsed(answer, [](ondemand::document& document) {
    auto errors = document["errors"].get_array();
    if (errors.error() == simdjson::NO_SUCH_FIELD) return std::vector<std::string>();
    return SentencesOf(std::move(errors).value());
  });
}

Result<std::vector<std::string>> MissingValues(const std::string& errors) {
  if (errors.empty()) return std::vector<std::string>();
  return Parsed(errors, [](ondemand::document& document) { return SentencesOf(document.get_array()); });
}

Result<std::vector<std::string>> SilentWorkersOfAnswer(const std::string& answer) {
  return Parsed(answer, [](ondemand::document& document) {
    std::vector<std::string> workers;
    auto reasons = document["partial_reasons"].get_object();
    if (reasons.error() == simdjson::NO_SUCH_FIELD) return workers;
    for (auto reason : std::move(reasons).value()) {
      const std::string name(reason.unescaped_key().value());
      workers.push_back(fmt::format("{} ({})", name, std::string_view(reason.value().get_string())));
    }
    return workers;
  });
}

Result<std::vector<std::string>> SilentWorkers(const std::string& partial) {
  std::vector<std::string> workers;
  if (partial.empty()) return workers;
  return Parsed(partial, [&workers](ondemand::document& document) {
    for (auto worker : document.get_array()) workers.emplace_back(worker.get_string().value());
    return workers;
  });
}

}  // namespace millrace::app
