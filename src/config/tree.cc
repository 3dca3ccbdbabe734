#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <tuple>

#include "config/tree_internal.h"

namespace millrace::config {
namespace {

// Aliases may name the same node many times over: a small file can stand for an endless tree.
constexpr int kMaxDepth = 32;
constexpr int kMaxNodes = 100'000;

std::vector<std::string> SplitLines(const std::string& text) {
  std::vector<std::string> lines(1);
  for (const char c : text) {
    if (c == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += c;
    }
  }
  return lines;
}

class TreeBuilder {
 public:
  TreeBuilder(const std::string& text, std::string file, Findings& findings)
      : lines_(SplitLines(text)), file_(std::move(file)), findings_(findings) {}

  ConfigNode Build(const YAML::Node& yaml, int depth) {
    ConfigNode node;
    node.place = PlaceOf(yaml.Mark());
    if (too_large_) return node;
    if (depth > kMaxDepth || ++num_nodes_ > kMaxNodes) {
      too_large_ = true;
      findings_.Add(node.place, depth > kMaxDepth ? "the document is nested too deeply, or an alias names itself"
                                                  : "the document has too many values once its aliases are expanded");
      return node;
    }
    switch (yaml.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        break;
      case YAML::NodeType::Scalar:
        node.kind = ConfigNode::Kind::kScalar;
        node.text = yaml.Scalar();
        node.quoted = yaml.Tag() != "?";  // A tag of the user's own counts too.
        LocateText(node);
        break;
      case YAML::NodeType::Sequence:
        node.kind = ConfigNode::Kind::kSequence;
        for (const auto& item : yaml) node.items.push_back(Build(item, depth + 1));
        break;
      case YAML::NodeType::Map:
        node.kind = ConfigNode::Kind::kMap;
        for (const auto& entry : yaml) AddEntry(node, entry.first, entry.second, depth);
        break;
    }
    return node;
  }

 private:
  Place PlaceOf(const YAML::Mark& mark) const { return {file_, mark.line + 1, mark.column + 1}; }

  void AddEntry(ConfigNode& node, const YAML::Node& key, const YAML::Node& value, int depth) {
    const auto place = PlaceOf(key.Mark());
    if (!key.IsScalar()) {
      findings_.Add(place, "a key must be a plain word");
      return;
    }
    if (node.Find(key.Scalar()) != nullptr) {
      findings_.Add(place, fmt::format("key '{}' is here twice", key.Scalar()));
      return;
    }
    node.entries.push_back({key.Scalar(), place, Build(value, depth + 1)});
    // yaml-cpp places an absent value wherever the next token is.
    if (auto& built = node.entries.back().value; built.kind == ConfigNode::Kind::kNull) built.place = place;
  }

  // Finds the scalar's style by looking at the character that it begins with.
  void LocateText(ConfigNode& node) const {
    const auto line = static_cast<std::size_t>(node.place.line - 1);
    const auto column = static_cast<std::size_t>(node.place.column - 1);
    if (line >= lines_.size() || column >= lines_[line].size()) return;
    const char first = lines_[line][column];
    if (first == '|') {
      node.style = ConfigNode::Style::kLiteralBlock;
      node.first_line = node.place.line + 1;
      // The text's first line that is not empty shows how far the block is indented.
      const auto text_lines = SplitLines(node.text);
      for (std::size_t i = 0; i < text_lines.size() && line + 1 + i < lines_.size(); ++i) {
        if (text_lines[i].empty()) continue;
        node.indentation = static_cast<int>(lines_[line + 1 + i].size()) - static_cast<int>(text_lines[i].size());
        break;
      }
      return;
    }
    const bool quoted = first == '"' || first == '\'';
    const auto start = column + (quoted ? 1 : 0);
    if (first == '>') return LocateFolded(node, line + 1, 0);
    if (lines_[line].compare(start, node.text.size(), node.text) != 0) return LocateFolded(node, line, start);
    node.style = ConfigNode::Style::kOneLine;
    node.first_line = node.place.line;
    node.indentation = static_cast<int>(start);
  }

  // A text that lines of the file make together, from `column` of `line` on (both from 0): what stands on each is there
  // unchanged, with white space between. Gives up at an escape.
  void LocateFolded(ConfigNode& node, std::size_t line, std::size_t column) const {
    constexpr const char* kSpace = " \t\r\n";
    std::vector<ConfigNode::Part> parts;
    for (std::size_t at = 0; line < lines_.size(); ++line, column = 0) {
      at = node.text.find_first_not_of(kSpace, at);
      if (at == std::string::npos) break;
      const std::size_t begin = lines_[line].find_first_not_of(kSpace, column);
      if (begin == std::string::npos) continue;
      const std::size_t length =
          std::min(lines_[line].find_last_not_of(kSpace) + 1 - begin, node.text.find_last_not_of(kSpace) + 1 - at);
      if (lines_[line].compare(begin, length, node.text, at, length) != 0) return;
      parts.push_back({at, static_cast<int>(line) + 1, static_cast<int>(begin) + 1});
      at += length;
    }
    node.style = ConfigNode::Style::kFolded;
    node.parts = std::move(parts);
  }

  const std::vector<std::string> lines_;
  const std::string file_;
  Findings& findings_;
  int num_nodes_ = 0;
  bool too_large_ = false;
};

// The parser notices some mistakes late: a tab, or "key:value", which is one word and goes on in the next line. So the
// line before, which is neither empty nor a comment, is looked at too.
void AddSyntaxFinding(const std::string& text, const Place& place, const std::string& message, Findings& findings) {
  const auto lines = SplitLines(text);
  auto last = static_cast<std::size_t>(std::max(place.line, 1)) - 1;
  last = std::min(last, lines.size() - 1);
  const auto findings_before = findings.size();
  bool is_first = true;
  for (std::size_t i = last + 1; i-- > 0;) {
    const std::string& line = lines[i];
    const std::size_t begin = line.find_first_not_of(" \t\r");
    if (begin == std::string::npos || line[begin] == '#') continue;
    const std::size_t tab = line.find('\t');
    const std::size_t word = line.find_first_not_of("- ");
    std::string missing_space = MissingSpaceIn(std::string_view(line).substr(word));
    // "- broker:9092" is a good value.
    const char behind = missing_space.empty() ? '\0' : line[line.find(':', word) + 1];
    if (word > begin && behind >= '0' && behind <= '9') missing_space.clear();
    const auto at = [&](std::size_t column) {
      return Place{place.file, static_cast<int>(i) + 1, static_cast<int>(column) + 1};
    };
    if (tab < begin) {
      findings.Add(at(tab), "not valid YAML: a tab in the indentation, where only spaces are allowed");
    } else if (!missing_space.empty()) {
      findings.Add(at(line.find(':', word) + 1), "not valid YAML" + missing_space);
    } else if (!is_first) {
      break;
    }
    is_first = false;
  }
  if (findings.size() == findings_before) findings.Add(place, "not valid YAML: " + message);
}

bool IsVariableName(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !name.empty() && letter(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

std::optional<std::string> ReadWholeFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  std::string content(std::istreambuf_iterator<char>(in), {});
  if (in.bad()) return std::nullopt;
  return content;
}

struct Substituted {
  std::string text;
  std::string problem;        // Not empty: what is wrong.
  bool value_absent = false;  // The problem is that the environment does not hold the value.
};

Substituted Value(std::string text) { return {std::move(text), "", false}; }
Substituted Mistake(std::string problem) { return {"", std::move(problem), false}; }
Substituted Absent(std::string problem) { return {"", std::move(problem), true}; }

// `inner` is what stands between ${ and }.
Substituted ValueOf(std::string_view inner) {
  if (inner.starts_with("file:")) {
    const std::string path(inner.substr(5));
    if (path.empty()) return Mistake("${file:} names no file");
    auto content = ReadWholeFile(path);
    if (!content) return Absent(fmt::format("cannot read the file '{}'", path));
    while (!content->empty() && (content->back() == '\n' || content->back() == '\r')) content->pop_back();
    return Value(*std::move(content));
  }
  const auto colon = inner.find(':');
  const std::string name(inner.substr(0, colon));
  if (!IsVariableName(name)) {
    return Mistake(
        fmt::format("'${{{}}}' is not a variable; write ${{NAME}}, ${{NAME:-default}}, ${{NAME:?message}} or "
                    "${{file:PATH}}, and $${{ for the characters ${{",
                    inner));
  }
  const char* value = std::getenv(name.c_str());
  if (colon == std::string_view::npos) {
    return value != nullptr ? Value(value) : Absent(fmt::format("the environment variable {} is not set", name));
  }
  const auto operation = inner.substr(colon, 2);
  const std::string argument(inner.substr(std::min(colon + 2, inner.size())));
  if (argument.find("${") != std::string::npos) {
    return Mistake(fmt::format("${{{}}}: a variable inside another one's default is not supported", inner));
  }
  const bool has_value = value != nullptr && *value != '\0';
  if (operation == ":-") return Value(has_value ? std::string(value) : argument);
  if (operation == ":?") {
    if (has_value) return Value(value);
    return Absent(fmt::format("the environment variable {} is not set: {}", name,
                              argument.empty() ? "it is required" : argument));
  }
  return Mistake(fmt::format("'${{{}}}': after the name of a variable only :- or :? may follow", inner));
}

void SubstituteScalar(ConfigNode& node, bool require_values, Findings& findings) {
  const std::string source = node.text;
  if (source.find("${") == std::string::npos) return;
  std::string result;
  std::size_t at = 0;
  int line = 1;
  std::size_t line_start = 0;
  while (at < source.size()) {
    if (source.compare(at, 3, "$${") == 0) {
      result += "${";
      at += 3;
      continue;
    }
    if (source.compare(at, 2, "${") != 0) {
      if (source[at] == '\n') {
        ++line;
        line_start = at + 1;
      }
      result += source[at++];
      continue;
    }
    const auto place = node.PlaceInText(line, static_cast<int>(at - line_start) + 1);
    // A nested ${ would end at the inner brace; take both, so that the message shows what was written.
    auto end = source.find('}', at);
    const auto nested = source.find("${", at + 2);
    if (end != std::string::npos && nested != std::string::npos && nested < end) end = source.find('}', end + 1);
    if (end == std::string::npos) {
      findings.Add(place, "'${' has no closing '}'");
      node.unresolved = true;
      break;
    }
    auto value = ValueOf(std::string_view(source).substr(at + 2, end - at - 2));
    if (!value.problem.empty()) {
      node.unresolved = true;
      if (require_values || !value.value_absent) findings.Add(place, std::move(value.problem));
    }
    result += value.text;
    at = end + 1;
  }
  node.text = std::move(result);
  node.substituted = true;
}

ConfigNode* Descend(ConfigNode& parent, const std::string& key, const Place& place, std::string& problem) {
  if (parent.kind == ConfigNode::Kind::kNull) parent.kind = ConfigNode::Kind::kMap;
  if (parent.kind == ConfigNode::Kind::kMap) {
    if (auto* found = parent.Find(key)) return found;
    parent.entries.push_back({key, place, {}});
    parent.entries.back().value.place = place;
    return &parent.entries.back().value;
  }
  if (parent.kind == ConfigNode::Kind::kSequence) {
    for (auto& item : parent.items) {
      const auto* name = item.Find("name");
      if (name != nullptr && name->text == key) return &item;
    }
    if (!key.empty() && key.size() < 7 && key.find_first_not_of("0123456789") == std::string::npos) {
      const auto index = static_cast<std::size_t>(std::stoul(key));
      if (index < parent.items.size()) return &parent.items[index];
    }
    problem = fmt::format("the list has no element '{}'", key);
    return nullptr;
  }
  problem = fmt::format("there is no key '{}' below a plain value", key);
  return nullptr;
}

void MovePlaces(ConfigNode& node, const Place& place) {
  node.place = place;
  node.style = ConfigNode::Style::kUnknown;
  for (auto& item : node.items) MovePlaces(item, place);
  for (auto& entry : node.entries) {
    entry.place = place;
    MovePlaces(entry.value, place);
  }
}

}  // namespace

std::string MissingSpaceIn(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto in_name = [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '-'; };
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == text.size() || !letter(text[0])) return "";
  if (!std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(colon), in_name)) return "";
  const char next = text[colon + 1];
  if (next == ' ' || next == '\t' || next == '\r' || next == '/') return "";
  return fmt::format("; a space is missing after '{}'", text.substr(0, colon + 1));
}

void Findings::Add(const Place& place, std::string message) {
  findings_.push_back({place.file, place.line, place.column, std::move(message)});
}

std::string ToString(const Finding& finding) {
  if (finding.line == 0) return fmt::format("{}: {}", finding.file, finding.message);
  return fmt::format("{}:{}:{}: {}", finding.file, finding.line, finding.column, finding.message);
}

std::vector<Finding> Findings::Sorted() const {
  auto sorted = findings_;
  const auto position = [](const Finding& f) { return std::tie(f.line, f.column, f.file, f.message); };
  std::stable_sort(sorted.begin(), sorted.end(),
                   [&](const Finding& a, const Finding& b) { return position(a) < position(b); });
  sorted.erase(std::unique(sorted.begin(), sorted.end(),
                           [&](const Finding& a, const Finding& b) { return position(a) == position(b); }),
               sorted.end());
  return sorted;
}

const ConfigNode* ConfigNode::Find(std::string_view key) const {
  for (const auto& entry : entries) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

ConfigNode* ConfigNode::Find(std::string_view key) { return const_cast<ConfigNode*>(std::as_const(*this).Find(key)); }

Place ConfigNode::PlaceInText(int line, int column) const {
  if (style == Style::kUnknown || line < 1 || column < 1) return place;
  if (style == Style::kOneLine && (line != 1 || substituted)) return place;
  if (style == Style::kFolded) {
    std::size_t at = 0;
    for (int i = 1; i < line && at != std::string::npos; ++i) at = text.find('\n', at) + 1;
    at += static_cast<std::size_t>(column) - 1;
    const auto next = std::upper_bound(parts.begin(), parts.end(), at,
                                       [](std::size_t value, const Part& part) { return value < part.begin; });
    if (substituted || next == parts.begin()) return place;
    const Part& part = *std::prev(next);
    return {place.file, part.line, part.column + static_cast<int>(at - part.begin)};
  }
  return {place.file, first_line + line - 1, substituted ? indentation + 1 : indentation + column};
}

ConfigNode ParseConfigTree(const std::string& text, const std::string& file, Findings& findings) {
  try {
    const auto documents = YAML::LoadAll(text);
    if (documents.size() == 1) return TreeBuilder(text, file, findings).Build(documents[0], 0);
    findings.Add({file, 1, 1}, documents.empty()
                                   ? std::string("the file holds no document")
                                   : fmt::format("the file holds {} documents; one is expected", documents.size()));
  } catch (const YAML::Exception& error) {
    AddSyntaxFinding(text, {file, error.mark.line + 1, error.mark.column + 1}, error.msg, findings);
  }
  return {};
}

void ApplyOverride(ConfigNode& root, const std::string& key, const std::string& yaml_value, Findings& findings) {
  const Place place{"--set " + key, 0, 0};
  const auto findings_before = findings.size();
  auto value = ParseConfigTree(yaml_value.empty() ? "\"\"" : yaml_value, place.file, findings);
  if (findings.size() > findings_before) return;
  MovePlaces(value, place);

  std::vector<std::string> parts;
  std::string rest = key;
  for (;;) {
    const bool one_key_follows = (parts.size() == 2 && parts[0] == "source" && parts[1] == "kafka") ||
                                 (!parts.empty() && parts.back() == "properties");
    const auto dot = one_key_follows ? std::string::npos : rest.find('.');
    parts.push_back(rest.substr(0, dot));
    if (dot == std::string::npos) break;
    rest = rest.substr(dot + 1);
  }
  if (std::any_of(parts.begin(), parts.end(), [](const auto& part) { return part.empty(); })) {
    findings.Add(place, "not a dotted key");
    return;
  }
  ConfigNode* node = &root;
  for (const auto& part : parts) {
    std::string problem;
    node = Descend(*node, part, place, problem);
    if (node == nullptr) {
      findings.Add(place, std::move(problem));
      return;
    }
  }
  *node = std::move(value);
}

void SubstituteVariables(ConfigNode& node, bool require_values, Findings& findings) {
  if (node.kind == ConfigNode::Kind::kScalar) SubstituteScalar(node, require_values, findings);
  for (auto& item : node.items) SubstituteVariables(item, require_values, findings);
  for (auto& entry : node.entries) SubstituteVariables(entry.value, require_values, findings);
}

}  // namespace millrace::config
