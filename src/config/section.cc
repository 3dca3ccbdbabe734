#include <algorithm>
#include <charconv>

#include "base/nearest_name.h"
#include "base/quantity_text.h"
#include "config/section_internal.h"

namespace millrace::config {
namespace {

const ConfigNode& AbsentNode() {
  static const ConfigNode node = [] {
    ConfigNode map;
    map.kind = ConfigNode::Kind::kMap;
    return map;
  }();
  return node;
}

std::string List(const std::vector<std::string>& words) { return fmt::format("{}", fmt::join(words, ", ")); }

}  // namespace

std::string_view KindName(const ConfigNode& node) {
  switch (node.kind) {
    case ConfigNode::Kind::kNull:
      return "nothing";
    case ConfigNode::Kind::kScalar:
      return "a value";
    case ConfigNode::Kind::kSequence:
      return "a list";
    case ConfigNode::Kind::kMap:
      return "a mapping";
  }
  return "a value";
}

Section::Section(const ConfigNode& node, std::string path, ReadContext& context)
    : node_(&node), path_(std::move(path)), pattern_(path_), context_(context) {
  if (node.kind == ConfigNode::Kind::kMap) return;
  AddFinding(node.place,
             fmt::format("{} must be a mapping (keys with values), not {}{}", path_.empty() ? "the document" : path_,
                         KindName(node), MissingSpaceIn(node.text)));
  node_ = &AbsentNode();
}

Section::Section(std::string path, ReadContext& context)
    : node_(&AbsentNode()), path_(std::move(path)), pattern_(path_), context_(context) {}

Section::Section(const ConfigNode& node, std::string path, std::string pattern, ReadContext& context)
    : Section(node, std::move(path), context) {
  pattern_ = std::move(pattern);
}

Section Section::WithPattern(std::string pattern) && {
  pattern_ = std::move(pattern);
  return std::move(*this);
}

void Section::AddFinding(const Place& place, std::string message) { context_.findings.Add(place, std::move(message)); }

bool Section::exists() const { return node_ != &AbsentNode(); }

bool Section::Has(const std::string& key) const { return node_->Find(key) != nullptr; }

const ConfigNode* Section::Find(const std::string& key) {
  context_.known_keys.insert(pattern_.empty() ? key : pattern_ + "." + key);
  const bool first_time = std::find(asked_.begin(), asked_.end(), key) == asked_.end();
  if (first_time) asked_.push_back(key);
  const auto* value = node_->Find(key);
  if (value == nullptr || value->kind != ConfigNode::Kind::kNull) return value;
  if (first_time) AddFinding(value->place, fmt::format("{} has no value; give it one or remove the key", NameOf(key)));
  return nullptr;
}

const ConfigNode* Section::Require(const std::string& key) {
  const auto* value = Find(key);
  if (value == nullptr && !Has(key) && exists()) {
    AddFinding(node_->place, path_.empty() ? fmt::format("the key '{}' is missing", key)
                                           : fmt::format("{}: the key '{}' is missing", path_, key));
  }
  return value;
}

Section Section::Child(const std::string& key) {
  const auto* value = Find(key);
  auto pattern = pattern_.empty() ? key : pattern_ + "." + key;
  if (value == nullptr) return Section(NameOf(key), context_).WithPattern(std::move(pattern));
  return Section(*value, NameOf(key), context_).WithPattern(std::move(pattern));
}

std::vector<Section> Section::Children(const std::string& key) {
  std::vector<Section> children;
  const auto* value = Find(key);
  if (value == nullptr) return children;
  if (value->kind != ConfigNode::Kind::kSequence) {
    AddFinding(value->place,
               fmt::format("{} must be a list (lines that begin with '-'), not {}", NameOf(key), KindName(*value)));
    return children;
  }
  for (std::size_t i = 0; i < value->items.size(); ++i) {
    const auto* name = value->items[i].Find("name");
    const bool named = name != nullptr && name->kind == ConfigNode::Kind::kScalar && !name->text.empty();
    auto path = named ? fmt::format("{}.{}", NameOf(key), name->text) : fmt::format("{}[{}]", NameOf(key), i);
    children.push_back(Section(value->items[i], std::move(path), context_)
                           .WithPattern((pattern_.empty() ? key : pattern_ + "." + key) + "[]"));
  }
  return children;
}

bool Section::IsScalar(const std::string& key, const ConfigNode& node) {
  if (node.kind == ConfigNode::Kind::kScalar) {
    if (node.unresolved || !node.text.empty()) return true;
    AddFinding(node.place, fmt::format("{} is empty", NameOf(key)));
    return false;
  }
  AddFinding(node.place, fmt::format("{} must be a single value, not {}", NameOf(key), KindName(node)));
  return false;
}

const ConfigNode* Section::Text(const std::string& key, std::string& out) {
  const auto* value = Find(key);
  if (value == nullptr || !IsScalar(key, *value) || value->unresolved) return nullptr;
  out = value->text;
  return value;
}

const ConfigNode* Section::TextOrNothing(const std::string& key, std::string& out) {
  const auto* value = Find(key);
  const bool is_empty = value != nullptr && value->kind == ConfigNode::Kind::kScalar && value->text.empty();
  if (!is_empty || value->unresolved) return Text(key, out);
  out.clear();
  return value;
}

const ConfigNode* Section::RequireText(const std::string& key, std::string& out) {
  return Require(key) == nullptr ? nullptr : Text(key, out);
}

void Section::Bool(const std::string& key, bool& out) {
  const auto* value = Find(key);
  if (value == nullptr || !IsScalar(key, *value) || value->unresolved) return;
  if (value->text == "true" || value->text == "false") {
    out = value->text == "true";
  } else {
    AddFinding(value->place, fmt::format("{} must be true or false, not '{}'", NameOf(key), value->text));
  }
}

void Section::Int(const std::string& key, std::int64_t min, std::int64_t max, int& out) {
  const auto* value = Find(key);
  if (value == nullptr || !IsScalar(key, *value) || value->unresolved) return;
  std::int64_t number = 0;
  const char* end = value->text.data() + value->text.size();
  const auto [rest, error] = std::from_chars(value->text.data(), end, number);
  if (error != std::errc() || rest != end || number < min || number > max) {
    AddFinding(value->place,
               fmt::format("{} must be a whole number from {} to {}, not '{}'", NameOf(key), min, max, value->text));
    return;
  }
  out = static_cast<int>(number);
}

void Section::Duration(const std::string& key, std::chrono::microseconds min, std::chrono::microseconds& out) {
  const auto* value = Find(key);
  if (value == nullptr || !IsScalar(key, *value) || value->unresolved) return;
  const auto parsed = ParseDuration(value->text);
  if (!parsed.ok()) {
    AddFinding(value->place, NameOf(key) + ": " + parsed.status().message());
  } else if (*parsed < min) {
    AddFinding(value->place,
               fmt::format("{} must be at least {}, not {}", NameOf(key), DurationText(min), value->text));
  } else {
    out = *parsed;
  }
}

void Section::Size(const std::string& key, std::int64_t min, std::int64_t& out) {
  const auto* value = Find(key);
  if (value == nullptr || !IsScalar(key, *value) || value->unresolved) return;
  const auto parsed = ParseSize(value->text);
  if (!parsed.ok()) {
    AddFinding(value->place, NameOf(key) + ": " + parsed.status().message());
  } else if (*parsed < min) {
    AddFinding(value->place, fmt::format("{} must be at least {}, not {}", NameOf(key), SizeText(min), value->text));
  } else {
    out = *parsed;
  }
}

void Section::TextMap(const std::string& key, std::map<std::string, std::string>& out) {
  const auto* value = Find(key);
  if (value == nullptr) return;
  if (value->kind != ConfigNode::Kind::kMap) {
    AddFinding(value->place,
               fmt::format("{} must be a mapping (keys with values), not {}", NameOf(key), KindName(*value)));
    return;
  }
  for (const auto& entry : value->entries) {
    if (entry.value.kind == ConfigNode::Kind::kScalar) {
      out[entry.key] = entry.value.text;
    } else {
      AddFinding(entry.value.place,
                 fmt::format("{}: '{}' must be a single value, not {}", NameOf(key), entry.key, KindName(entry.value)));
    }
  }
}

std::vector<const ConfigNode*> Section::TextList(const std::string& key, std::vector<std::string>& out) {
  std::vector<const ConfigNode*> nodes;
  const auto* value = Find(key);
  if (value == nullptr) return nodes;
  const auto add = [&](const ConfigNode& item) {
    if (!IsScalar(key, item) || item.unresolved) return;
    out.push_back(item.text);
    nodes.push_back(&item);
  };
  if (value->kind == ConfigNode::Kind::kSequence) {
    for (const auto& item : value->items) add(item);
  } else {
    add(*value);
  }
  return nodes;
}

int Section::ChoiceIndex(const std::string& key, const std::vector<std::string>& words,
                         const std::vector<std::string>& later) {
  const auto* value = Find(key);
  if (value == nullptr || !IsScalar(key, *value) || value->unresolved) return -1;
  const auto found = std::find(words.begin(), words.end(), value->text);
  if (found != words.end()) return static_cast<int>(found - words.begin());
  if (std::find(later.begin(), later.end(), value->text) != later.end()) {
    AddFinding(value->place, fmt::format("{}: '{}' is not yet supported in this version (it has {})", NameOf(key),
                                         value->text, List(words)));
  } else {
    AddFinding(value->place, fmt::format("{} must be one of {}, not '{}'{}", NameOf(key), List(words), value->text,
                                         DidYouMean(value->text, words)));
  }
  return -1;
}

void Section::Later(const std::string& key) {
  if (Find(key) == nullptr) return;
  for (const auto& entry : node_->entries) {
    if (entry.key == key) AddFinding(entry.place, fmt::format("{} is not yet supported in this version", NameOf(key)));
  }
}

void Section::Finish() {
  for (const auto& entry : node_->entries) {
    if (std::find(asked_.begin(), asked_.end(), entry.key) != asked_.end()) continue;
    const std::string missing_space = MissingSpaceIn(entry.key);
    AddFinding(entry.place, fmt::format("unknown key '{}'{}{}", entry.key, path_.empty() ? "" : " in " + path_,
                                        missing_space.empty() ? DidYouMean(entry.key, asked_) : missing_space));
  }
}

}  // namespace millrace::config
