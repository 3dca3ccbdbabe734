#include "infer/names.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/ascii_case.h"
#include "sql/own_relations.h"

namespace millrace::infer {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kNameBytesMax = 200;  // Delta takes 255; a number may still come behind it.

constexpr std::array kTimeWords = {"ts"sv,       "time"sv,    "timestamp"sv, "date"sv,     "datetime"sv, "at"sv,
                                   "when"sv,     "epoch"sv,   "created"sv,   "updated"sv,  "modified"sv, "occurred"sv,
                                   "received"sv, "started"sv, "ended"sv,     "expires"sv,  "since"sv,    "until"sv,
                                   "begin"sv,    "end"sv,     "start"sv,     "recorded"sv, "millis"sv,   "day"sv};
// A time, but not of the event.
constexpr std::array kOtherTimeWords = {"updated"sv,  "modified"sv, "expires"sv, "expiry"sv, "expiration"sv,
                                        "deleted"sv,  "birth"sv,    "born"sv,    "due"sv,    "until"sv,
                                        "received"sv, "ingested"sv, "end"sv,     "ended"sv,  "valid"sv};
constexpr std::array kMoneyWords = {"amount"sv,  "price"sv,  "cost"sv,    "total"sv, "subtotal"sv, "revenue"sv,
                                    "fee"sv,     "tax"sv,    "balance"sv, "fare"sv,  "salary"sv,   "discount"sv,
                                    "payment"sv, "refund"sv, "charge"sv,  "tip"sv,   "budget"sv,   "paid"sv};
constexpr std::array kPlaceWords = {"lat"sv, "lon"sv, "lng"sv, "latitude"sv, "longitude"sv, "x"sv, "y"sv, "z"sv};
constexpr std::array kIdentityWords = {"id"sv, "uuid"sv, "guid"sv, "key"sv};
constexpr std::array kSecretWords = {"password"sv,    "passwd"sv, "pwd"sv,           "passphrase"sv, "secret"sv,
                                     "token"sv,       "apikey"sv, "authorization"sv, "cookie"sv,     "credential"sv,
                                     "credentials"sv, "cvv"sv,    "cvc"sv,           "ssn"sv,        "bearer"sv};
constexpr std::array kKeysOfSecrets = {"api"sv, "private"sv, "access"sv, "secret"sv, "signing"sv, "encryption"sv};
// What DuckDB 1.5 does not take as a column's name without quotes (duckdb_keywords(): reserved, type_function), and
// what reads badly.
constexpr std::array kSqlWords = {"all"sv,
                                  "analyse"sv,
                                  "analyze"sv,
                                  "and"sv,
                                  "anti"sv,
                                  "any"sv,
                                  "array"sv,
                                  "as"sv,
                                  "asc"sv,
                                  "asof"sv,
                                  "asymmetric"sv,
                                  "at"sv,
                                  "authorization"sv,
                                  "between"sv,
                                  "binary"sv,
                                  "both"sv,
                                  "by"sv,
                                  "case"sv,
                                  "cast"sv,
                                  "check"sv,
                                  "collate"sv,
                                  "collation"sv,
                                  "column"sv,
                                  "columns"sv,
                                  "concurrently"sv,
                                  "constraint"sv,
                                  "create"sv,
                                  "cross"sv,
                                  "default"sv,
                                  "deferrable"sv,
                                  "desc"sv,
                                  "describe"sv,
                                  "distinct"sv,
                                  "do"sv,
                                  "else"sv,
                                  "end"sv,
                                  "except"sv,
                                  "exists"sv,
                                  "extract"sv,
                                  "false"sv,
                                  "fetch"sv,
                                  "for"sv,
                                  "foreign"sv,
                                  "freeze"sv,
                                  "from"sv,
                                  "full"sv,
                                  "generated"sv,
                                  "glob"sv,
                                  "group"sv,
                                  "having"sv,
                                  "ilike"sv,
                                  "in"sv,
                                  "initially"sv,
                                  "inner"sv,
                                  "intersect"sv,
                                  "interval"sv,
                                  "into"sv,
                                  "is"sv,
                                  "isnull"sv,
                                  "join"sv,
                                  "lambda"sv,
                                  "lateral"sv,
                                  "leading"sv,
                                  "left"sv,
                                  "like"sv,
                                  "limit"sv,
                                  "map"sv,
                                  "natural"sv,
                                  "not"sv,
                                  "notnull"sv,
                                  "null"sv,
                                  "offset"sv,
                                  "on"sv,
                                  "only"sv,
                                  "or"sv,
                                  "order"sv,
                                  "outer"sv,
                                  "overlaps"sv,
                                  "pivot"sv,
                                  "pivot_longer"sv,
                                  "pivot_wider"sv,
                                  "placing"sv,
                                  "positional"sv,
                                  "primary"sv,
                                  "qualify"sv,
                                  "references"sv,
                                  "returning"sv,
                                  "right"sv,
                                  "select"sv,
                                  "semi"sv,
                                  "show"sv,
                                  "similar"sv,
                                  "some"sv,
                                  "struct"sv,
                                  "summarize"sv,
                                  "symmetric"sv,
                                  "table"sv,
                                  "tablesample"sv,
                                  "then"sv,
                                  "to"sv,
                                  "trailing"sv,
                                  "true"sv,
                                  "try_cast"sv,
                                  "union"sv,
                                  "unique"sv,
                                  "unpack"sv,
                                  "unpivot"sv,
                                  "user"sv,
                                  "using"sv,
                                  "values"sv,
                                  "variadic"sv,
                                  "verbose"sv,
                                  "when"sv,
                                  "where"sv,
                                  "window"sv,
                                  "with"sv};

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }

std::vector<std::string> WordsOf(std::string_view name) {
  std::vector<std::string> words(1);
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    if (!IsLetter(c) && static_cast<unsigned char>(c) < 0x80) {
      words.emplace_back();
      continue;
    }
    // "eventTime", "APIKey".
    const bool after_small = i > 0 && IsUpper(c) && !IsUpper(name[i - 1]);
    const bool before_small =
        i > 0 && IsUpper(c) && IsUpper(name[i - 1]) && i + 1 < name.size() && name[i + 1] >= 'a' && name[i + 1] <= 'z';
    if (after_small || before_small) words.emplace_back();
    words.back() += AsciiLower(c);
  }
  std::erase(words, "");
  return words;
}

template <std::size_t N>
bool HasOneOf(const std::vector<std::string>& words, const std::array<std::string_view, N>& wanted) {
  return std::any_of(words.begin(), words.end(),
                     [&](const auto& word) { return std::find(wanted.begin(), wanted.end(), word) != wanted.end(); });
}

bool Has(const std::vector<std::string>& words, std::string_view wanted) {
  return std::find(words.begin(), words.end(), wanted) != words.end();
}

bool IsSecretName(const std::vector<std::string>& words) {
  return HasOneOf(words, kSecretWords) || (Has(words, "key") && HasOneOf(words, kKeysOfSecrets)) ||
         (Has(words, "card") && Has(words, "number"));
}

bool IsBase64Url(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return IsLetter(c) || IsDigit(c) || c == '-' || c == '_'; });
}

bool IsJwt(std::string_view text) {
  const auto first = text.find('.');
  const auto second = first == text.npos ? text.npos : text.find('.', first + 1);
  return text.starts_with("eyJ") && second != text.npos && IsBase64Url(text.substr(0, first)) &&
         IsBase64Url(text.substr(first + 1, second - first - 1)) && IsBase64Url(text.substr(second + 1));
}

}  // namespace

NameHints HintsOf(std::string_view name) {
  const auto words = WordsOf(name);
  NameHints hints;
  hints.time = HasOneOf(words, kTimeWords);
  hints.event = hints.time && !HasOneOf(words, kOtherTimeWords);
  hints.money = HasOneOf(words, kMoneyWords);
  hints.identity = HasOneOf(words, kIdentityWords);
  hints.place = HasOneOf(words, kPlaceWords);
  hints.secret = IsSecretName(words);
  return hints;
}

bool LooksSecret(std::string_view text) {
  constexpr std::size_t kAccessKeyBytes = 20;
  for (const auto begin : {"-----BEGIN"sv, "sk_live_"sv, "rk_live_"sv, "ghp_"sv, "gho_"sv, "github_pat_"sv, "glpat-"sv,
                           "xoxb-"sv, "xoxp-"sv, "Bearer "sv, "Basic "sv}) {
    if (text.size() > begin.size() && text.starts_with(begin)) return true;
  }
  if ((text.starts_with("AKIA") || text.starts_with("ASIA")) && text.size() == kAccessKeyBytes) {
    return std::all_of(text.begin(), text.end(), [](char c) { return IsUpper(c) || IsDigit(c); });
  }
  return IsJwt(text);
}

std::string ColumnNames::Take(std::string_view wanted) {
  std::string name(wanted.substr(0, kNameBytesMax));
  // Not in the middle of a letter of UTF-8.
  if (name.size() < wanted.size()) {
    while (!name.empty() && (static_cast<unsigned char>(wanted[name.size()]) & 0xC0) == 0x80) name.pop_back();
  }
  for (char& c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || " ,;{}()=\"\x7F"sv.find(c) != std::string_view::npos) c = '_';
  }
  if (name.empty()) name = "field";
  for (const auto reserved : {"_topic"sv, "_partition"sv, "_offset"sv, "_timestamp"sv, "_rescued"sv, "_index"sv}) {
    if (EqualsIgnoringAsciiCase(name, reserved)) name = "payload" + name;
  }
  // Aggregates have these of their own.
  for (const auto reserved : {"window_start"sv, "window_end"sv}) {
    if (EqualsIgnoringAsciiCase(name, reserved)) name = "payload_" + name;
  }
  std::string unique = name;
  for (int n = 2; !taken_.insert(AsciiLower(unique)).second; ++n) unique = name + "_" + std::to_string(n);
  return unique;
}

std::string TableName(std::string_view wanted) {
  std::string name;
  for (const char c : wanted) {
    if (name.size() < kNameBytesMax) name += IsLetter(c) || IsDigit(c) ? c : '_';
  }
  return name.empty() || !IsLetter(name.front()) || sql::IsOwnRelation(name) ? "t_" + name : name;
}

std::string SqlName(std::string_view name) {
  const bool plain =
      !name.empty() && (IsLetter(name.front()) || name.front() == '_') &&
      std::all_of(name.begin(), name.end(), [](char c) { return IsLetter(c) || IsDigit(c) || c == '_'; });
  if (plain && std::find(kSqlWords.begin(), kSqlWords.end(), AsciiLower(name)) == kSqlWords.end()) {
    return std::string(name);
  }
  std::string quoted = "\"";
  for (const char c : name) {
    quoted += c;
    if (c == '"') quoted += c;
  }
  return quoted + '"';
}

}  // namespace millrace::infer
