// lookups: of pipeline.yaml.
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/nearest_name.h"
#include "config/config_internal.h"

namespace millrace::config {
namespace {

using lookup::SourceKind;

constexpr std::array kPlaces = {SourceKind::kDelta, SourceKind::kParquet, SourceKind::kCsv, SourceKind::kJson};

bool HasOwnTypes(SourceKind kind) { return kind != SourceKind::kCsv && kind != SourceKind::kJson; }

// What is wrong with a place; empty: nothing that can be seen without going there.
std::string ProblemOfUri(const lookup::LookupSpec& spec) {
  const auto scheme = spec.uri.substr(0, spec.uri.find("://"));
  if (scheme != spec.uri && scheme != "file" && scheme != "s3" && scheme != "s3a") {
    return fmt::format("'{}' is neither a path nor file:// nor s3://", spec.uri);
  }
  if (spec.kind != SourceKind::kDelta && spec.uri.ends_with("/")) return fmt::format("'{}' names no file", spec.uri);
  return "";
}

void ReadFrom(Section& section, lookup::LookupSpec& spec) {
  auto from = section.Child("from");
  std::vector<std::string> words;
  std::vector<std::string> given;
  for (const auto kind : kPlaces) {
    words.emplace_back(ToString(kind));
    if (!from.Has(words.back())) {
      from.Find(words.back());  // Becomes known.
      continue;
    }
    given.push_back(words.back());
    spec.kind = kind;
    const auto* node = from.RequireText(words.back(), spec.uri);
    if (node == nullptr) continue;
    if (auto problem = ProblemOfUri(spec); !problem.empty()) {
      from.AddFinding(node->place, fmt::format("{}.{}: {}", from.path(), words.back(), problem));
    }
  }
  words.emplace_back(ToString(SourceKind::kPostgres));
  if (from.Has(words.back())) {
    given.push_back(words.back());
    spec.kind = SourceKind::kPostgres;
  }
  auto postgres = from.Child(words.back());
  postgres.RequireText("connection", spec.uri);
  postgres.RequireText("query", spec.query);
  postgres.Finish();
  if (from.exists() && given.size() != 1) {
    from.AddFinding(from.place(), fmt::format("{}: give one of the keys {}", from.path(), fmt::join(words, ", ")));
  }
  from.Finish();
}

// The columns of CSV and JSON are known here, those of the others once they are opened.
void CheckColumn(Section& section, const lookup::LookupSpec& spec, std::string_view key, const ConfigNode& node,
                 const std::string& name) {
  if (spec.columns.empty()) return;
  std::vector<std::string> names;
  for (const auto& column : spec.columns) names.push_back(column.name);
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  section.AddFinding(node.place, fmt::format("{}.{}: there is no column '{}' in {}.columns{}", section.path(), key,
                                             name, section.path(), DidYouMean(name, names)));
}

}  // namespace

void ReadLookups(Section& root, PipelineConfig& config, ConfigNodes& nodes) {
  for (auto& section : root.Children("lookups")) {
    const auto findings_before = section.context().findings.size();
    lookup::LookupSpec spec;
    ConfigNodes::Lookup at;
    at.name = section.RequireText("name", spec.name);
    if (at.name != nullptr && !CheckName(spec.name, "a lookup's name", false, *at.name, section)) at.name = nullptr;
    if (section.Require("from") != nullptr) ReadFrom(section, spec);
    const auto* columns = section.Find("columns");
    if (!HasOwnTypes(spec.kind)) {
      ingest::DecodeSpec declared;
      if (ReadColumns(section, "lookups[]", ColumnsOf::kOthers, declared)) spec.columns = std::move(declared.columns);
      for (const auto& column : spec.columns) {
        if (spec.kind == SourceKind::kCsv && column.path.size() > 1) {
          section.AddFinding(columns->place,
                             fmt::format("{}.columns.{}: the path of a CSV column is one name of the header",
                                         section.path(), column.name));
        } else if (spec.kind == SourceKind::kCsv && column.type->id() == arrow::Type::LIST) {
          section.AddFinding(columns->place,
                             fmt::format("{}.columns.{}: a CSV column is no list", section.path(), column.name));
        }
      }
    } else if (columns != nullptr) {
      section.AddFinding(columns->place,
                         fmt::format("{}.columns: a {} lookup has its own columns and types; select them in the "
                                     "transform",
                                     section.path(), ToString(spec.kind)));
    }
    const auto keys = section.TextList("key", spec.key);
    if (!section.Has("key")) {
      section.Require("key");
    } else if (section.Find("key") != nullptr && spec.key.empty()) {
      section.AddFinding(section.Find("key")->place, section.path() + ".key names no column");
    }
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (std::find(spec.key.begin(), spec.key.begin() + static_cast<std::ptrdiff_t>(i), spec.key[i]) !=
          spec.key.begin() + static_cast<std::ptrdiff_t>(i)) {
        section.AddFinding(keys[i]->place, fmt::format("{}.key: '{}' is here twice", section.path(), spec.key[i]));
      }
      CheckColumn(section, spec, "key", *keys[i], spec.key[i]);
    }
    const auto* valid_from = section.Text("valid_from", spec.valid_from);
    const auto* valid_to = section.Text("valid_to", spec.valid_to);
    if (valid_from != nullptr) CheckColumn(section, spec, "valid_from", *valid_from, spec.valid_from);
    if (valid_to != nullptr) CheckColumn(section, spec, "valid_to", *valid_to, spec.valid_to);
    if (valid_to != nullptr && !section.Has("valid_from")) {
      section.AddFinding(valid_to->place, section.path() + ".valid_to needs valid_from beside it");
    }
    section.Duration("refresh", std::chrono::seconds(1), spec.refresh);
    section.Finish();
    const auto* from = section.Find("from");
    if (section.context().findings.size() == findings_before && !spec.uri.empty()) at.from = from;
    config.lookups.push_back(std::move(spec));
    nodes.lookups.push_back(at);
  }
}

}  // namespace millrace::config
