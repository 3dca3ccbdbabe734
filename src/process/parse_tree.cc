#include "process/parse_tree.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/ascii_case.h"
#include "base/utf8.h"

namespace millrace::process {

namespace {

// A reader of what DuckDB's JSON writer writes; anything else is an internal error.
class Reader {
 public:
  explicit Reader(std::string_view json) : rest_(json) {}

  Result<ParseTree> Document() {
    ASSIGN_OR_RETURN(auto tree, Value());
    SkipSpace();
    if (!rest_.empty()) return Broken();
    return tree;
  }

 private:
  Status Broken() const { return Internal("broken JSON of a parse tree before '{}'", rest_.substr(0, 40)); }

  void SkipSpace() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\n' || rest_[0] == '\t' || rest_[0] == '\r')) {
      rest_.remove_prefix(1);
    }
  }

  bool Take(char c) {
    SkipSpace();
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  Result<ParseTree> Value() {
    SkipSpace();
    if (rest_.empty()) return Broken();
    ParseTree tree;
    if (rest_[0] == '"') {
      tree.kind = ParseTree::Kind::kString;
      ASSIGN_OR_RETURN(tree.text, Text());
      return tree;
    }
    if (Take('[')) {
      tree.kind = ParseTree::Kind::kArray;
      if (Take(']')) return tree;
      do {
        ASSIGN_OR_RETURN(auto item, Value());
        tree.items.push_back(std::move(item));
      } while (Take(','));
      if (!Take(']')) return Broken();
      return tree;
    }
    if (Take('{')) {
      tree.kind = ParseTree::Kind::kObject;
      if (Take('}')) return tree;
      do {
        SkipSpace();
        ASSIGN_OR_RETURN(auto name, Text());
        if (!Take(':')) return Broken();
        ASSIGN_OR_RETURN(auto item, Value());
        tree.names.push_back(std::move(name));
        tree.items.push_back(std::move(item));
      } while (Take(','));
      if (!Take('}')) return Broken();
      return tree;
    }
    const std::size_t length = std::min(rest_.find_first_of(",]} \n\t\r"), rest_.size());
    tree.text = rest_.substr(0, length);
    rest_.remove_prefix(length);
    if (tree.text == "null") return ParseTree{};
    if (tree.text.empty()) return Broken();
    tree.kind = ParseTree::Kind::kLiteral;
    return tree;
  }

  Result<std::uint32_t> Hex4() {
    std::uint32_t code = 0;
    if (rest_.size() < 4) return Broken();
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + 4, code, 16);
    if (error != std::errc() || end != rest_.data() + 4) return Broken();
    rest_.remove_prefix(4);
    return code;
  }

  Result<std::string> Text() {
    if (!Take('"')) return Broken();
    std::string text;
    while (!rest_.empty()) {
      const char c = rest_[0];
      rest_.remove_prefix(1);
      if (c == '"') return text;
      if (c != '\\') {
        text.push_back(c);
        continue;
      }
      if (rest_.empty()) break;
      const char escaped = rest_[0];
      rest_.remove_prefix(1);
      switch (escaped) {
        case 'b':
          text.push_back('\b');
          break;
        case 'f':
          text.push_back('\f');
          break;
        case 'n':
          text.push_back('\n');
          break;
        case 'r':
          text.push_back('\r');
          break;
        case 't':
          text.push_back('\t');
          break;
        case 'u': {
          ASSIGN_OR_RETURN(std::uint32_t code, Hex4());
          if (code >= 0xD800 && code < 0xDC00 && rest_.starts_with("\\u")) {
            rest_.remove_prefix(2);
            ASSIGN_OR_RETURN(const std::uint32_t low, Hex4());
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
          }
          AppendUtf8(code, &text);
          break;
        }
        default:
          text.push_back(escaped);
      }
    }
    return Broken();
  }

  std::string_view rest_;
};

void WriteText(std::string_view text, std::string* out) {
  out->push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      *out += fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      out->push_back(c);
    }
  }
  out->push_back('"');
}

void Write(const ParseTree& tree, std::string* out) {
  switch (tree.kind) {
    case ParseTree::Kind::kNull:
      *out += "null";
      break;
    case ParseTree::Kind::kLiteral:
      *out += tree.text;
      break;
    case ParseTree::Kind::kString:
      WriteText(tree.text, out);
      break;
    case ParseTree::Kind::kArray:
    case ParseTree::Kind::kObject: {
      const bool object = tree.kind == ParseTree::Kind::kObject;
      out->push_back(object ? '{' : '[');
      for (std::size_t i = 0; i < tree.items.size(); ++i) {
        if (i > 0) out->push_back(',');
        if (object) {
          WriteText(tree.names[i], out);
          out->push_back(':');
        }
        Write(tree.items[i], out);
      }
      out->push_back(object ? '}' : ']');
      break;
    }
  }
}

// Drops what Canonical() ignores.
void Strip(ParseTree* tree) {
  for (std::size_t i = 0; i < tree->items.size(); ++i) {
    if (tree->kind == ParseTree::Kind::kObject && (tree->names[i] == "alias" || tree->names[i] == "query_location")) {
      tree->items[i] = ParseTree{};
    } else if (tree->kind == ParseTree::Kind::kObject && tree->names[i] == "column_names") {
      for (auto& name : tree->items[i].items) name.text = AsciiLower(name.text);
    } else {
      Strip(&tree->items[i]);
    }
  }
}

}  // namespace

Result<ParseTree> ParseTree::FromJson(std::string_view json) { return Reader(json).Document(); }

std::string ParseTree::ToJson() const {
  std::string json;
  Write(*this, &json);
  return json;
}

ParseTree ParseTree::String(std::string value) {
  ParseTree tree;
  tree.kind = Kind::kString;
  tree.text = std::move(value);
  return tree;
}

const ParseTree& ParseTree::operator[](std::string_view name) const {
  static const ParseTree kNone;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return items[i];
  }
  return kNone;
}

void ParseTree::Set(std::string_view name, ParseTree value) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) {
      items[i] = std::move(value);
      return;
    }
  }
  names.emplace_back(name);
  items.push_back(std::move(value));
}

std::string Canonical(const ParseTree& expression) {
  ParseTree stripped = expression;
  Strip(&stripped);
  return stripped.ToJson();
}

}  // namespace millrace::process
