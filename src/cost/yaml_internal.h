/// What the readers of this folder share: YAML nodes with their places, and findings that name them.
#pragma once

#include <yaml-cpp/yaml.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace millrace::cost {

/// Collects "file:line:column: message".
class YamlFindings {
 public:
  explicit YamlFindings(std::string file) : file_(std::move(file)) {}
  void Add(const YAML::Mark& mark, const std::string& message);
  /// kInvalidInput with a line each, in the order of the file; OK if there is none.
  Status ToStatus() const;

 private:
  struct Finding {
    int line;
    int column;
    std::string message;
  };
  std::string file_;
  std::vector<Finding> findings_;
};

/// One document that is a mapping; else a finding, and nothing to read.
std::optional<YAML::Node> ParseYamlMapping(const std::string& text, YamlFindings& findings);

}  // namespace millrace::cost
