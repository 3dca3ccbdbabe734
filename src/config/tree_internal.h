/// A YAML document as our own tree: every key and value knows its place, variables are substituted in values only.
///
/// Text in, tree and findings out. yaml-cpp stays in tree.cc. Values are substituted after parsing, so that what
/// a variable holds can never become a key, a list or a comment.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/load.h"

namespace millrace::config {

/// Where something was written. Line and column count from 1; line 0: there is no such thing (an override).
struct Place {
  std::string file;
  int line = 0;
  int column = 0;
};

/// Collects what is wrong; the order is made at the end.
class Findings {
 public:
  void Add(const Place& place, std::string message);
  /// By file order, then line and column; each finding once.
  std::vector<Finding> Sorted() const;
  bool empty() const { return findings_.empty(); }
  std::size_t size() const { return findings_.size(); }

 private:
  std::vector<Finding> findings_;
};

struct ConfigEntry;

struct ConfigNode {
  enum class Kind { kNull, kScalar, kSequence, kMap };

  Kind kind = Kind::kNull;
  Place place;
  std::string text;         ///< Scalars: the value, variables substituted.
  bool quoted = false;      ///< Scalars: written as a text, in quotes or as a block.
  bool unresolved = false;  ///< Scalars: a variable had no value and that was allowed; `text` is not to be checked.
  std::vector<ConfigNode> items;
  std::vector<ConfigEntry> entries;  ///< In file order. A key that was written twice is here once.

  const ConfigNode* Find(std::string_view key) const;
  ConfigNode* Find(std::string_view key);

  /// The place of a line and column (from 1) of `text`. Exact but for escapes in quotes; after a substitution, as near
  /// as is known.
  Place PlaceInText(int line, int column) const;

  enum class Style { kUnknown, kOneLine, kLiteralBlock, kFolded };
  Style style = Style::kUnknown;
  int first_line = 0;   ///< Of the text's first character in the file.
  int indentation = 0;  ///< Columns before the text's lines in the file.
  /// kFolded: the parts of `text` that stand on a line of the file each, ascending.
  struct Part {
    std::size_t begin = 0;  ///< In `text`.
    int line = 0;
    int column = 0;
  };
  std::vector<Part> parts;
  bool substituted = false;
};

struct ConfigEntry {
  std::string key;
  Place place;  ///< Of the key.
  ConfigNode value;
};

/// "; a space is missing after 'country:'" if the text is such as "country:string", which YAML takes for one word; else
/// empty.
std::string MissingSpaceIn(std::string_view text);

/// One document. On a syntax error, or if there is not exactly one document, a finding and a null node.
ConfigNode ParseConfigTree(const std::string& text, const std::string& file, Findings& findings);

/// `key` is a dotted path; a list's element is named by its index from 0 or by its `name`. Below `source.kafka` and
/// `properties` the rest of the path is one key. Missing maps on the way are made.
void ApplyOverride(ConfigNode& root, const std::string& key, const std::string& yaml_value, Findings& findings);

/// Replaces ${VAR}, ${VAR:-default}, ${VAR:?message} and ${file:PATH} in every value; `$${` stands for `${`.
/// With `require_values` off a variable or file that is not there only marks the value as unresolved.
void SubstituteVariables(ConfigNode& node, bool require_values, Findings& findings);

}  // namespace millrace::config
