#include "postgres/statement.h"

#include <algorithm>
#include <cctype>

#include "base/ascii_case.h"
#include "postgres/catalog_sql.h"

namespace millrace::postgres {
namespace {

bool IsWordByte(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || (c & 0x80) != 0;
}

// Where the text that begins with the quote at `at` ends; `escapes`: a backslash takes the next byte.
std::size_t EndOfQuoted(std::string_view sql, std::size_t at, bool escapes) {
  const char quote = sql[at];
  for (++at; at < sql.size(); ++at) {
    if (escapes && sql[at] == '\\') {
      ++at;
    } else if (sql[at] == quote) {
      if (at + 1 >= sql.size() || sql[at + 1] != quote) return at + 1;
      ++at;
    }
  }
  return sql.size();
}

// Of $tag$ at `at`; npos: none is there.
std::size_t EndOfDollarText(std::string_view sql, std::size_t at) {
  std::size_t end = at + 1;
  while (end < sql.size() && IsWordByte(sql[end]) && sql[end] != '$') ++end;
  if (end >= sql.size() || sql[end] != '$') return std::string_view::npos;
  const std::string_view tag = sql.substr(at, end + 1 - at);
  const auto close = sql.find(tag, end + 1);
  return close == std::string_view::npos ? sql.size() : close + tag.size();
}

std::size_t EndOfComment(std::string_view sql, std::size_t at) {
  int depth = 0;  // They nest.
  while (at < sql.size()) {
    if (sql.substr(at, 2) == "/*") {
      ++depth;
      at += 2;
    } else if (sql.substr(at, 2) == "*/") {
      at += 2;
      if (--depth == 0) return at;
    } else {
      ++at;
    }
  }
  return at;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// A token's meaning as a setting's value: without quotes, theirs doubled.
std::string ValueOf(const Token& token) {
  if (token.kind != Token::Kind::kText && token.kind != Token::Kind::kQuotedName) return std::string(token.text);
  const auto open = std::min(token.text.find_first_of("'\""), token.text.size());
  const char quote = open < token.text.size() ? token.text[open] : '\'';
  std::string value;
  for (std::size_t i = open + 1; i + 1 < token.text.size(); ++i) {
    value += token.text[i];
    if (token.text[i] == quote) ++i;
  }
  return value;
}

std::string Upper(std::string_view text) {
  std::string upper(text);
  std::transform(upper.begin(), upper.end(), upper.begin(), [](unsigned char c) { return std::toupper(c); });
  return upper;
}

Statement ReadSet(const std::vector<Token>& tokens, const std::vector<std::string>& words) {
  Statement statement{.command = Command::kSet, .tag = "SET"};
  std::size_t at = 1;
  if (words.size() > 2 && (words[1] == "session" || words[1] == "local") && words[2] != "=" && words[2] != "to") ++at;
  if (at < words.size() && (words[at] == "transaction" || words[at] == "characteristics")) {
    statement.name = "transaction";
    for (const auto& word : words) statement.value += (statement.value.empty() ? "" : " ") + word;
    return statement;
  }
  if (at < words.size() && words[at] == "names") {
    statement.name = "client_encoding";
    ++at;
  } else if (at + 1 < words.size() && words[at] == "time" && words[at + 1] == "zone") {
    statement.name = "timezone";
    at += 2;
  } else {
    for (; at < words.size() && words[at] != "=" && words[at] != "to"; ++at) statement.name += words[at];
    ++at;
  }
  for (; at < tokens.size(); ++at) statement.value += ValueOf(tokens[at]);
  return statement;
}

}  // namespace

std::vector<Token> Tokens(std::string_view sql) {
  std::vector<Token> tokens;
  std::size_t at = 0;
  while (at < sql.size()) {
    const char c = sql[at];
    std::size_t end = at + 1;
    auto kind = Token::Kind::kSymbol;
    if (std::isspace(static_cast<unsigned char>(c)) != 0) {
      at = end;
      continue;
    }
    if (sql.substr(at, 2) == "--") {
      at = std::min(sql.find('\n', at), sql.size());
      continue;
    }
    if (sql.substr(at, 2) == "/*") {
      at = EndOfComment(sql, at);
      continue;
    }
    if (c == '\'' || ((c == 'e' || c == 'E') && sql.substr(at + 1, 1) == "'")) {
      kind = Token::Kind::kText;
      end = EndOfQuoted(sql, c == '\'' ? at : at + 1, c != '\'');
    } else if (c == '"') {
      kind = Token::Kind::kQuotedName;
      end = EndOfQuoted(sql, at, false);
    } else if (c == '$' && at + 1 < sql.size() && IsDigit(sql[at + 1])) {
      kind = Token::Kind::kParameter;
      while (end < sql.size() && IsDigit(sql[end])) ++end;
    } else if (c == '$' && EndOfDollarText(sql, at) != std::string_view::npos) {
      kind = Token::Kind::kText;
      end = EndOfDollarText(sql, at);
    } else if (IsDigit(c)) {
      kind = Token::Kind::kNumber;
      while (end < sql.size() && (IsWordByte(sql[end]) || sql[end] == '.')) ++end;
    } else if (IsWordByte(c)) {
      kind = Token::Kind::kWord;
      while (end < sql.size() && IsWordByte(sql[end])) ++end;
    } else if (sql.substr(at, 2) == "::") {
      end = at + 2;
    }
    tokens.push_back({kind, sql.substr(at, end - at)});
    at = end;
  }
  return tokens;
}

std::vector<std::string_view> SplitStatements(std::string_view sql) {
  std::vector<std::string_view> statements;
  const char* begin = nullptr;  // Of the first token of a statement.
  const char* end = nullptr;
  const auto finish = [&] {
    if (begin != nullptr) statements.emplace_back(begin, static_cast<std::size_t>(end - begin));
    begin = nullptr;
  };
  for (const auto& token : Tokens(sql)) {
    if (token.text == ";") {
      finish();
      continue;
    }
    if (begin == nullptr) begin = token.text.data();
    end = token.text.data() + token.text.size();
  }
  finish();
  return statements;
}

Statement ReadStatement(std::string_view sql) {
  const auto tokens = Tokens(sql);
  std::vector<std::string> words;
  for (const auto& token : tokens) words.push_back(AsciiLower(token.text));
  if (words.empty()) return {.command = Command::kEmpty};
  const std::string& first = words[0];
  const auto is = [&](std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), first) != names.end();
  };
  const auto has = [&](std::size_t at, std::string_view word) { return at < words.size() && words[at] == word; };
  if (first == "begin" || (first == "start" && has(1, "transaction"))) {
    return {.command = Command::kBegin, .tag = first == "begin" ? "BEGIN" : "START TRANSACTION"};
  }
  if (is({"commit", "end"})) return {.command = Command::kCommit, .tag = "COMMIT"};
  if (first == "rollback" && (has(1, "to") || has(2, "to"))) return {.command = Command::kSavepoint, .tag = "ROLLBACK"};
  if (is({"rollback", "abort"})) return {.command = Command::kRollback, .tag = "ROLLBACK"};
  if (is({"savepoint", "release"})) return {.command = Command::kSavepoint, .tag = Upper(first)};
  if (first == "set") return ReadSet(tokens, words);
  if (first == "reset" || first == "show") {
    Statement statement{.command = first == "show" ? Command::kShow : Command::kReset, .tag = Upper(first)};
    for (std::size_t i = 1; i < words.size(); ++i) statement.name += words[i] == "\"" ? "" : words[i];
    if (statement.name == "sessioncharacteristicsastransactionisolationlevel" ||
        statement.name == "transactionisolationlevel") {
      statement.name = "transaction_isolation";
    }
    if (statement.name == "timezone") statement.name = "timezone";
    return statement;
  }
  if (first == "discard")
    return {.command = Command::kDiscard, .tag = "DISCARD " + Upper(words.size() > 1 ? words[1] : "")};
  if (first == "deallocate") {
    const std::size_t at = has(1, "prepare") ? 2 : 1;
    const bool all = has(at, "all") && tokens[at].kind == Token::Kind::kWord;
    return {.command = Command::kDeallocate,
            .tag = all ? "DEALLOCATE ALL" : "DEALLOCATE",
            .name = all || at >= tokens.size() ? "" : ValueOf(tokens[at]),
            .value = all ? "all" : ""};
  }
  if (is({"unlisten", "close"}))
    return {.command = Command::kNothing, .tag = first == "close" ? "CLOSE CURSOR" : "UNLISTEN"};
  if (is({"insert",   "update",  "delete", "merge",    "create",   "alter",   "drop",
          "truncate", "grant",   "revoke", "comment",  "vacuum",   "analyze", "reindex",
          "cluster",  "refresh", "import", "security", "reassign", "call",    "do"})) {
    return {.command = Command::kWrite, .tag = Upper(first)};
  }
  if (is({"copy", "listen", "notify", "lock", "load", "prepare", "execute", "declare", "fetch", "move", "checkpoint",
          "attach", "detach", "install", "use", "pragma", "export"})) {
    return {.command = Command::kUnsupported, .tag = Upper(first)};
  }
  const bool may_name_catalog = std::any_of(words.begin(), words.end(), [](std::string_view word) {
    if (word.size() > 2 && word.front() == '"') word = word.substr(1, word.size() - 2);
    return MayNameCatalog(word);
  });
  return {.command = Command::kAsk, .tag = "SELECT", .may_name_catalog = may_name_catalog};
}

}  // namespace millrace::postgres
