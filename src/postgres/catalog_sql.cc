#include "postgres/catalog_sql.h"

#include <algorithm>
#include <set>
#include <vector>

#include "base/ascii_case.h"
#include "postgres/catalog_relations_internal.h"
#include "postgres/statement.h"
#include "sql/sql_session.h"

namespace millrace::postgres {
namespace {

constexpr std::string_view kCatalogSchema = "pg_catalog";
constexpr std::string_view kInformationSchema = "information_schema";

// What may stand behind a table without being its alias.
bool GoesOnAfterTable(std::string_view word) {
  static const std::set<std::string, std::less<>> kWords = {
      "where", "join",   "left",  "right", "inner",  "full",   "cross",     "natural", "on",    "using", "group",
      "order", "having", "limit", "union", "offset", "except", "intersect", "window",  "fetch", "for",   "tablesample"};
  return kWords.contains(word);
}

// What may stand before an expression in brackets without calling something.
bool GoesBeforeExpression(std::string_view word) {
  static const std::set<std::string, std::less<>> kWords = {
      "select", "where", "and", "or", "not", "on", "when", "then", "else", "case", "by", "having", "distinct", "in"};
  return kWords.contains(word);
}

// Types whose values are numbers of things and look like their names.
bool IsTypeOfThings(std::string_view word) {
  return word == "regclass" || word == "regtype" || word == "regproc" || word == "regnamespace" || word == "regrole";
}

// Columns that each relation of PostgreSQL's has without their being listed.
bool IsColumnOfSystem(std::string_view word) {
  return word == "tableoid" || word == "xmin" || word == "xmax" || word == "cmin" || word == "cmax";
}

std::string WordOf(const Token& token) {
  if (token.kind == Token::Kind::kWord) return AsciiLower(token.text);
  if (token.kind == Token::Kind::kQuotedName && token.text.size() >= 2) {
    return std::string(token.text.substr(1, token.text.size() - 2));
  }
  return {};
}

class Rewriting {
 public:
  Rewriting(std::string_view sql, const CatalogCaller& caller) : sql_(sql), caller_(caller), tokens_(Tokens(sql)) {
    for (const auto& token : tokens_) {
      words_.push_back(WordOf(token));
      texts_.emplace_back(token.text);
    }
  }

  CatalogSql Run() {
    FindFroms();
    CatalogSql result{.asks_catalog = AsksCatalog()};
    TakeQualifiers();
    for (std::size_t i = 0; i < live_.size(); ++i) {
      if (result.asks_catalog) {
        Translate(i);
      } else {
        WriteConstant(i);
      }
    }
    const char* from = sql_.data();
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const auto& token = tokens_[i].text;
      result.sql.append(from, token.data());
      result.sql += texts_[i];
      from = token.data() + token.size();
    }
    result.sql.append(from, sql_.data() + sql_.size());
    result.keeps_places = keeps_places_;
    return result;
  }

 private:
  bool Is(std::size_t token, std::string_view word) const {
    return token < tokens_.size() && tokens_[token].kind != Token::Kind::kText && words_[token] == word;
  }
  bool IsSymbol(std::size_t token, std::string_view symbol) const {
    return token < tokens_.size() && tokens_[token].kind == Token::Kind::kSymbol && tokens_[token].text == symbol;
  }
  bool IsName(std::size_t token) const { return token < tokens_.size() && !words_[token].empty(); }
  // Nothing stands between the two.
  bool Touch(std::size_t token) const {
    return token + 1 < tokens_.size() &&
           tokens_[token].text.data() + tokens_[token].text.size() == tokens_[token + 1].text.data();
  }

  // Which tokens are of a FROM, but for calls, subqueries and conditions in it.
  void FindFroms() {
    enum class Clause { kOther, kSelect, kFrom };
    std::vector<Clause> clauses = {Clause::kOther};
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const std::string_view word = tokens_[i].kind == Token::Kind::kWord ? words_[i] : std::string_view();
      if (IsSymbol(i, "(")) {
        const bool is_call = i > 0 && IsName(i - 1) && !Is(i - 1, "from") && !Is(i - 1, "join");
        clauses.push_back(is_call ? Clause::kOther : clauses.back());
      } else if (IsSymbol(i, ")") && clauses.size() > 1) {
        clauses.pop_back();
      } else if (word == "select") {
        clauses.back() = Clause::kSelect;
      } else if (word == "join" || (word == "from" && clauses.back() == Clause::kSelect)) {  // Not extract(x FROM y).
        clauses.back() = Clause::kFrom;
      } else if (word == "where" || word == "group" || word == "having" || word == "order" || word == "limit" ||
                 word == "on") {
        clauses.back() = Clause::kOther;
      }
      is_in_from_.push_back(clauses.back() == Clause::kFrom);
    }
  }

  // A relation, or a function that gives rows, may stand there.
  bool BeginsRelation(std::size_t i) const {
    return IsName(i) && is_in_from_[i] && i > 0 &&
           (Is(i - 1, "from") || Is(i - 1, "join") || Is(i - 1, "lateral") || IsSymbol(i - 1, ",") ||
            IsSymbol(i - 1, "("));
  }

  bool AsksCatalog() const {
    bool has_from = false;
    bool calls = false;
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      has_from = has_from || Is(i, "from");
      if (BeginsRelation(i)) {
        std::size_t name = i;
        if (words_[i] == caller_.database && IsName(i + 2) && IsSymbol(i + 3, ".")) name += 2;
        const bool is_qualified = IsSymbol(name + 1, ".");
        if (is_qualified && (Is(name, kInformationSchema) || Is(name, kCatalogSchema))) return true;
        if (!is_qualified && FindRelation(words_[name]) != nullptr) return true;
      }
      if (IsName(i) && IsCatalogFunction(words_[i])) calls = true;
      if (IsSymbol(i, "::") && IsName(i + 1)) {
        calls = calls || IsTypeOfThings(words_[i + 1]) || Is(i + 1, kCatalogSchema);
      }
    }
    return calls && !has_from;
  }

  // "pg_catalog.", "public." and "database.public." go, and so does what else says where a thing is.
  void TakeQualifiers() {
    const bool public_is_theirs = NamesSomethingPublic();
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const bool before_name = IsSymbol(i + 1, ".") && IsName(i + 2);
      const bool after_dot = i > 0 && IsSymbol(i - 1, ".") && texts_[i - 1] == ".";
      if (IsName(i) && before_name && !after_dot && words_[i] == caller_.database && IsSymbol(i + 3, ".") &&
          (Is(i + 2, "public") || Is(i + 2, kCatalogSchema) || Is(i + 2, kInformationSchema))) {
        Take(i);
        Take(i + 1);
        i += 1;
      } else if (Is(i, kCatalogSchema) && before_name) {
        Take(i);
        Take(i + 1);
        i += 1;
      } else if (Is(i, "public") && before_name && !after_dot && !public_is_theirs) {
        Take(i);
        Take(i + 1);
        i += 1;
      } else if (Is(i, kInformationSchema) && before_name) {
        Take(i);
        Take(i + 1);
        const bool is_type = i > 0 && IsSymbol(i - 1, "::");
        if (!is_type && !IsSymbol(i + 3, "(") && !IsSymbol(i + 3, ".")) WriteInformationTable(i + 2);
        live_.push_back(i + 2);
        i += 2;
      } else if (Is(i, "operator") && IsSymbol(i + 1, "(")) {
        Take(i);
        Take(i + 1);
        std::size_t end = i + 2;
        for (; end < tokens_.size() && !IsSymbol(end, ")"); ++end) {
          if (IsName(end) || IsSymbol(end, ".")) {
            Take(end);
          } else {
            live_.push_back(end);
          }
        }
        Take(end);
        i = end;
      } else if (Is(i, "collate") && IsName(i + 1)) {
        std::size_t end = i + 1;
        if (IsSymbol(i + 2, ".")) end = i + 3;
        for (std::size_t gone = i; gone <= end; ++gone) Take(gone);
        i = end;
      } else {
        live_.push_back(i);
      }
    }
  }

  // An alias of the statement's own, before which no schema is meant.
  bool NamesSomethingPublic() const {
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      if (Is(i, "public") && !IsSymbol(i + 1, ".")) return true;
    }
    return false;
  }

  void WriteInformationTable(std::size_t token) {
    const std::string& name = words_[token];
    const std::size_t next = token + 1;
    const bool has_alias = Is(next, "as") || (IsName(next) && !GoesOnAfterTable(words_[next]));
    Write(token, "\"information_schema." + AsciiLower(name) + "\"" + (has_alias ? "" : " AS " + name));
  }

  // One that is about the catalog: what PostgreSQL takes and DuckDB does not. `i` is of live_.
  void Translate(std::size_t i) {
    const std::size_t token = live_[i];
    const std::string& word = words_[token];
    if (IsSymbol(token, "~")) return TranslateMatch(i);
    if ((word == "like" || word == "ilike") && i + 1 < live_.size()) return TranslateLike(i);
    if (IsSymbol(token, "::") && i + 1 < live_.size()) return TranslateCast(i);
    if (i > 1 && IsSymbol(live_[i - 1], ".") && IsName(live_[i - 2]) && IsColumnOfSystem(word)) {
      Take(live_[i - 2]);
      Take(live_[i - 1]);
      return Write(token, "0");
    }
    if (is_in_from_[token] && !word.empty() && i + 1 < live_.size() && IsSymbol(live_[i + 1], "(")) TranslateRows(i);
  }

  // PostgreSQL finds a pattern anywhere in the text, DuckDB wants it to be all of it.
  void TranslateMatch(std::size_t i) {
    const auto touches = [&](std::size_t from) { return from + 1 < live_.size() && Touch(live_[from]); };
    if (i > 0 && IsSymbol(live_[i - 1], "~") && touches(i - 1)) return;  // ~~ is LIKE.
    std::size_t pattern = i + 1;
    if (touches(i) && IsSymbol(live_[i + 1], "~")) return;
    const bool ignores_case = touches(i) && IsSymbol(live_[i + 1], "*");
    if (ignores_case) Take(live_[pattern++]);
    if (pattern >= live_.size()) return;
    const auto kind = tokens_[live_[pattern]].kind;
    if (kind != Token::Kind::kText && kind != Token::Kind::kParameter) return;
    Write(live_[pattern], std::string("('") + (ignores_case ? "(?i)" : "") + "(?s:.*)(?:' || " +
                              texts_[live_[pattern]] + " || ')(?s:.*)')");
  }

  // A backslash takes the next character as it is, without being asked to.
  void TranslateLike(std::size_t i) {
    const std::size_t pattern = live_[i + 1];
    const auto kind = tokens_[pattern].kind;
    const bool has_backslash = kind == Token::Kind::kText && texts_[pattern].find('\\') != std::string::npos;
    if (!has_backslash && kind != Token::Kind::kParameter) return;
    const std::size_t after = i + 2 < live_.size() ? live_[i + 2] : tokens_.size();
    if (Is(after, "escape") || IsSymbol(after, "|") || IsSymbol(after, "::")) return;
    Write(pattern, texts_[pattern] + " ESCAPE '\\'");
  }

  // x::regclass and its like name things, in both directions; '{a,b}'::text[] is a list.
  void TranslateCast(std::size_t i) {
    const std::size_t type = live_[i + 1];
    const std::string& name = words_[type];
    if (i == 0) return;
    const std::size_t operand = live_[i - 1];
    const auto kind = tokens_[operand].kind;
    const bool is_value = kind == Token::Kind::kText || kind == Token::Kind::kParameter;
    const bool is_list = i + 2 < live_.size() && IsSymbol(live_[i + 2], "[");
    if (is_list) {
      const auto open = texts_[operand].find("'{");
      if (kind != Token::Kind::kText || open == std::string::npos || !texts_[operand].ends_with("}'")) return;
      std::string list = texts_[operand];
      list[open + 1] = '[';
      list[list.size() - 2] = ']';
      return Write(operand, std::move(list));
    }
    if (!IsTypeOfThings(name)) return;
    Take(live_[i]);
    Take(type);
    // A text names what is wanted as a number, all else is the number of what is wanted by name.
    const std::string& last = words_[operand];
    const bool is_text = is_value || (i > 2 && IsSymbol(live_[i - 2], "::") && (last == "text" || last == "varchar"));
    const std::size_t begin = live_[OperandBegin(i - 1)];
    Write(begin, "millrace_" + name + (is_text ? "(" : "_name(") + texts_[begin]);
    Write(operand, texts_[operand] + ")");
  }

  // Where the operand of a cast that ends there begins: a name with its qualifiers, a call, something in brackets, a
  // cast.
  std::size_t OperandBegin(std::size_t end) const {
    std::size_t at = end;
    while (true) {
      if (IsSymbol(live_[at], ")") || IsSymbol(live_[at], "]")) {
        int depth = 0;
        while (true) {
          if (IsSymbol(live_[at], ")") || IsSymbol(live_[at], "]")) ++depth;
          if (IsSymbol(live_[at], "(") || IsSymbol(live_[at], "[")) --depth;
          if (depth == 0 || at == 0) break;
          --at;
        }
        const bool is_index = IsSymbol(live_[at], "[");
        const bool goes_on =
            at > 0 && (is_index ? IsName(live_[at - 1]) || IsSymbol(live_[at - 1], "]") || IsSymbol(live_[at - 1], ")")
                                : IsName(live_[at - 1]) && !GoesBeforeExpression(words_[live_[at - 1]]));
        if (!goes_on) return at;
        --at;
      } else if (at > 1 && (IsSymbol(live_[at - 1], ".") || IsSymbol(live_[at - 1], "::"))) {
        at -= 2;
      } else {
        return at;
      }
    }
  }

  // A function in FROM: its alias names its only column too, and one that gives a value gives a row of it.
  void TranslateRows(std::size_t i) {
    const std::string& name = words_[live_[i]];
    if (i == 0 || !(Is(live_[i - 1], "from") || Is(live_[i - 1], "join") || Is(live_[i - 1], "lateral") ||
                    IsSymbol(live_[i - 1], ","))) {
      return;
    }
    int depth = 0;
    std::size_t end = i + 1;
    for (; end < live_.size(); ++end) {
      if (IsSymbol(live_[end], "(")) ++depth;
      if (IsSymbol(live_[end], ")") && --depth == 0) break;
    }
    if (end == live_.size()) return;
    if (name == "pg_get_keywords") {
      for (std::size_t gone = i + 1; gone <= end; ++gone) Take(live_[gone]);
      return;
    }
    const bool makes_rows = name == "generate_series" || name == "range" || name == "unnest";
    if (!makes_rows) {
      Write(live_[i], "(SELECT " + texts_[live_[i]]);
      Write(live_[end], "))");
    }
    std::size_t alias = end + 1;
    if (alias < live_.size() && Is(live_[alias], "as")) ++alias;
    if (alias >= live_.size() || !IsName(live_[alias]) || GoesOnAfterTable(words_[live_[alias]])) {
      if (!makes_rows) Write(live_[end], texts_[live_[end]] + " AS " + name + "(" + name + ")");
      return;
    }
    if (alias + 1 < live_.size() && IsSymbol(live_[alias + 1], "(")) return;
    Write(live_[alias], texts_[live_[alias]] + "(" + texts_[live_[alias]] + ")");
  }

  // One for the engine, which does not know who asks. `i` is of live_.
  void WriteConstant(std::size_t i) {
    const std::size_t token = live_[i];
    if (tokens_[token].kind != Token::Kind::kWord || (i > 0 && IsSymbol(live_[i - 1], "."))) return;
    const std::string& word = words_[token];
    const bool is_call = i + 2 < live_.size() && IsSymbol(live_[i + 1], "(") && IsSymbol(live_[i + 2], ")");
    std::string value;
    if (word == "current_user" || word == "session_user" || word == "current_role") {
      value = caller_.user;
    } else if (word == "current_catalog" || (word == "current_database" && is_call)) {
      value = caller_.database;
    } else if (word == "current_schema") {
      value = "public";
    } else if (word == "version" && is_call) {
      value = kVersionText;
    } else {
      return;
    }
    Write(token, sql::QuoteLiteral(value));
    if (!is_call) return;
    Take(live_[i + 1]);
    Take(live_[i + 2]);
  }

  void Take(std::size_t token) {
    if (token < texts_.size()) texts_[token].assign(texts_[token].size(), ' ');
  }
  void Write(std::size_t token, std::string text) {
    keeps_places_ = false;
    texts_[token] = std::move(text);
  }

  const std::string_view sql_;
  const CatalogCaller& caller_;
  const std::vector<Token> tokens_;
  std::vector<std::string> words_;  // Of names: in lower case, without quotes. Of what is no name: empty.
  std::vector<std::string> texts_;  // What becomes of them.
  std::vector<std::size_t> live_;   // Those that are left, by number.
  std::vector<bool> is_in_from_;    // Of each of tokens_.
  bool keeps_places_ = true;
};

}  // namespace

bool MayNameCatalog(std::string_view word) {
  return word == "public" || word == kInformationSchema || word.starts_with("pg_") || IsTypeOfThings(word) ||
         IsCatalogFunction(word);
}

CatalogSql ReadCatalogSql(std::string_view sql, const CatalogCaller& caller) { return Rewriting(sql, caller).Run(); }

}  // namespace millrace::postgres
