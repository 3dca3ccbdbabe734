/// Reads one mapping of the configuration: typed values by key, and a finding for everything that does not fit.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "config/tree_internal.h"

namespace millrace::registry {
class RegistrySchemas;
}  // namespace millrace::registry

namespace millrace::config {

struct StandInSchema;

/// What is shared by the reading of one document.
struct ReadContext {
  Findings findings;
  std::set<std::string> known_keys;  ///< Every key that was asked for, such as "tables[].commit.interval".
  bool files = true;                 ///< Files that values name must be there.
  bool has_registry = false;         ///< There is a source.schema_registry.
  /// That source.schema_registry names; nullptr: none, or it is not to be asked.
  std::shared_ptr<registry::RegistrySchemas> registry = nullptr;
  const std::vector<StandInSchema>* schemas = nullptr;  ///< LoadOptions::schemas.
  std::size_t unanswered = 0;                           ///< Findings that say no more than that it did not answer.
};

/// A typical use asks for every key that may be there and then calls Finish(), which reports the others.
/// A value that is absent, wrong or unresolved leaves the caller's default as it is.
class Section {
 public:
  /// `path` as messages name it, "" for the document. `node` may be any kind; if it is not a map that is a finding.
  Section(const ConfigNode& node, std::string path, ReadContext& context);
  /// Its keys become known as those of `pattern` instead of `path`.
  Section(const ConfigNode& node, std::string path, std::string pattern, ReadContext& context);
  /// A section that is not there: nothing is found in it, but its keys become known.
  Section(std::string path, ReadContext& context);

  /// The value, or nullptr if the key is absent. A key without a value is a finding and counts as absent.
  const ConfigNode* Find(const std::string& key);
  /// Likewise, and it is a finding if the key is absent.
  const ConfigNode* Require(const std::string& key);
  Section Child(const std::string& key);
  /// The mappings of a list. Their paths name them by `name` where they have one: "tables.clicks", else "tables[0]".
  std::vector<Section> Children(const std::string& key);
  bool Has(const std::string& key) const;
  /// It was written, and as a mapping.
  bool exists() const;

  const ConfigNode* Text(const std::string& key, std::string& out);
  /// It may be empty.
  const ConfigNode* TextOrNothing(const std::string& key, std::string& out);
  const ConfigNode* RequireText(const std::string& key, std::string& out);
  void Bool(const std::string& key, bool& out);
  void Int(const std::string& key, std::int64_t min, std::int64_t max, int& out);
  /// At least `min`.
  void Duration(const std::string& key, std::chrono::microseconds min, std::chrono::microseconds& out);
  void Size(const std::string& key, std::int64_t min, std::int64_t& out);
  /// Values of any scalar kind, as text.
  void TextMap(const std::string& key, std::map<std::string, std::string>& out);
  /// A list of texts; a single text counts as a list of one.
  std::vector<const ConfigNode*> TextList(const std::string& key, std::vector<std::string>& out);

  /// One of a few words. `later` are words of the format that this version cannot do yet.
  template <typename T>
  void Choice(const std::string& key, const std::vector<std::pair<std::string, T>>& choices, T& out,
              const std::vector<std::string>& later = {}) {
    std::vector<std::string> words;
    for (const auto& [word, value] : choices) words.push_back(word);
    const int index = ChoiceIndex(key, words, later);
    if (index >= 0) out = choices[static_cast<std::size_t>(index)].second;
  }

  /// A key of the format that would change what the pipeline does, and that this version cannot do yet.
  void Later(const std::string& key);
  /// Reports every key that was not asked for.
  void Finish();

  const std::string& path() const { return path_; }
  /// As known_keys has it.
  const std::string& pattern() const { return pattern_; }
  const Place& place() const { return node_->place; }
  ReadContext& context() { return context_; }
  void AddFinding(const Place& place, std::string message);

 private:
  Section WithPattern(std::string pattern) &&;
  /// -1: absent, unresolved or not one of them.
  int ChoiceIndex(const std::string& key, const std::vector<std::string>& words, const std::vector<std::string>& later);
  /// With something in it, too; else there is a finding.
  bool IsScalar(const std::string& key, const ConfigNode& node);
  std::string NameOf(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }

  const ConfigNode* node_;
  std::string path_;
  std::string pattern_;  ///< As known_keys names the path: "tables[].commit" for "tables.clicks.commit".
  ReadContext& context_;
  std::vector<std::string> asked_;
};

/// What a node is, in the words of messages: "a mapping", "a list", "a value".
std::string_view KindName(const ConfigNode& node);

}  // namespace millrace::config
