/// What a client's SQL is, before anybody answers it: its statements, and which of them the engine has nothing to do
/// with.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::postgres {

/// A piece of SQL: what it is and its bytes. Blanks and comments are between the pieces.
struct Token {
  enum class Kind { kWord, kQuotedName, kText, kNumber, kParameter, kSymbol };
  Kind kind = Kind::kSymbol;
  std::string_view text;
};

/// Of PostgreSQL's lexical form; what has no end goes to the end.
std::vector<Token> Tokens(std::string_view sql);

/// The statements between the semicolons, without those that are empty.
std::vector<std::string_view> SplitStatements(std::string_view sql);

enum class Command {
  kAsk,  ///< For the engine: SELECT, and everything that it may refuse in its own words.
  kEmpty,
  kBegin,
  kCommit,
  kRollback,
  kSavepoint,  ///< SAVEPOINT, RELEASE, ROLLBACK TO: nothing changes, so there is nothing to go back from.
  kSet,
  kReset,
  kShow,
  kDiscard,
  kDeallocate,
  kNothing,  ///< UNLISTEN, CLOSE: of what there is none.
  kWrite,    ///< Would change something.
  kUnsupported,
};

struct Statement {
  Command command = Command::kAsk;
  std::string tag{};    ///< For CommandComplete: "BEGIN"; of kAsk "SELECT"; of what is refused, its name.
  std::string name{};   ///< Of SET, RESET and SHOW, in lower case; of DEALLOCATE: as it was written. "all": all.
  std::string value{};  ///< Of SET; "default" is without quotes what it is with them.
  bool may_name_catalog = false;  ///< Of kAsk: ReadCatalogSql() is to look at it.
};

/// Of one statement.
Statement ReadStatement(std::string_view sql);

}  // namespace millrace::postgres
