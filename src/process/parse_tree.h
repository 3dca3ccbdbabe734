/// DuckDB's parse tree as a value: read from its JSON, looked at, changed, and written back.
///
/// Numbers keep their text, so that a tree that is only passed on is the same tree. Of the folder only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace millrace::process {

struct ParseTree {
  enum class Kind { kNull, kLiteral, kString, kArray, kObject };

  Kind kind = Kind::kNull;
  std::string text;                ///< kLiteral: a number, true or false as written. kString: the value.
  std::vector<std::string> names;  ///< kObject: of the items, in order.
  std::vector<ParseTree> items;    ///< kArray, kObject.

  /// kInternal: not JSON; it is DuckDB's own.
  static Result<ParseTree> FromJson(std::string_view json);
  std::string ToJson() const;

  static ParseTree String(std::string value);

  /// The field of an object; a null tree if there is none.
  const ParseTree& operator[](std::string_view name) const;
  void Set(std::string_view name, ParseTree value);

  bool empty() const { return items.empty(); }
  /// For nodes of expressions and of table references.
  const std::string& node_class() const { return (*this)["class"].text; }
  const std::string& type() const { return (*this)["type"].text; }
  const std::string& alias() const { return (*this)["alias"].text; }
  bool is_column() const { return node_class() == "COLUMN_REF"; }
  bool is_function() const { return node_class() == "FUNCTION"; }
};

/// Equal for two expressions that differ only in their place in the text, their alias and the case of names.
std::string Canonical(const ParseTree& expression);

}  // namespace millrace::process
