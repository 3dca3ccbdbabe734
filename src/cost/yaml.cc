#include <algorithm>
#include <tuple>

#include "cost/yaml_internal.h"

namespace millrace::cost {

void YamlFindings::Add(const YAML::Mark& mark, const std::string& message) {
  findings_.push_back({mark.line + 1, mark.column + 1, message});
}

Status YamlFindings::ToStatus() const {
  if (findings_.empty()) return Status::OK();
  auto sorted = findings_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Finding& a, const Finding& b) {
    return std::tie(a.line, a.column) < std::tie(b.line, b.column);
  });
  std::string text;
  for (const auto& finding : sorted) {
    if (!text.empty()) text += "\n";
    text += fmt::format("{}:{}:{}: {}", file_, finding.line, finding.column, finding.message);
  }
  return InvalidInput("{}", text);
}

std::optional<YAML::Node> ParseYamlMapping(const std::string& text, YamlFindings& findings) {
  try {
    const auto documents = YAML::LoadAll(text);
    if (documents.size() != 1) {
      findings.Add({}, fmt::format("{} documents; one is expected", documents.size()));
    } else if (!documents[0].IsMap()) {
      findings.Add(documents[0].Mark(), "a mapping is expected");
    } else {
      return documents[0];
    }
  } catch (const YAML::Exception& error) {
    findings.Add(error.mark, "not valid YAML: " + error.msg);
  }
  return std::nullopt;
}

}  // namespace millrace::cost
