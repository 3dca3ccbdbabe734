/// Who asks, and what they may do: a bearer token in; a caller and their scopes, or why not, out.
///
/// A scope is a word: "read" (tables, aggregates, the pipeline's state), "sql", "admin", and "write:TOPIC" for one
/// topic. None of them implies another. Each route says which one it wants (api.cc).
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "serve/jwt.h"

namespace millrace::serve {

/// What is wrong with a word as a scope, with the nearest one that exists; nullopt: it is one.
std::optional<std::string> FaultOfScope(const std::string& word);

struct AccessToken {
  std::string token;
  std::vector<std::string> scopes;
};

struct Caller {
  /// To tell callers apart; never a secret: "token " and 32 hex digits (NameOfToken), "subject alice". Empty: one like
  /// any other without a name.
  std::string id;
  std::vector<std::string> scopes;
  std::optional<UnixMicros> believed_until{};  ///< From then on it is nobody; nullopt: that does not end.

  bool May(std::string_view scope) const;
};

/// What a token of the file is called: its own name wherever it stands in the list, in every process, and over
/// restarts, for by it requests are known again that are sent twice (gateway/repeats.h). Takes about a millisecond.
///
/// Hashed once more, with the topic and the request's key, a name is in the log, where who may read the topic can
/// compare guesses with it. So it is made as slowly as SCRAM makes its keys (PBKDF2, 4096 rounds, RFC 7677): a token
/// that was drawn, as docs/security.md asks, is not found that way in any time, and one that somebody has thought of
/// costs thousands of times what its hash would. 128 bits: no two tokens meet.
std::string NameOfToken(std::string_view token);

/// Where an issuer's keys come from. Any thread.
class KeySource {
 public:
  virtual ~KeySource() = default;

  /// nullptr: none are known, or they have not been confirmed for too long.
  virtual std::shared_ptr<const JwkSet> Keys() = 0;

  /// Somebody came with a key that is not in Keys(). Asks the issuer again unless that was done a moment ago, waits for
  /// the answer, but not long, and returns what is known then.
  virtual std::shared_ptr<const JwkSet> KeysAskedAnew() = 0;
};

/// Immutable; any thread.
class Access {
 public:
  /// `keys` comes with `rules`; nullptr: no JWT is taken. Of the tokens only digests and names are kept.
  explicit Access(const std::vector<AccessToken>& tokens, JwtRules rules = {},
                  std::shared_ptr<KeySource> keys = nullptr);

  /// kInvalidInput: not believed, in a sentence that shows nothing of the token. kTransient: the issuer's keys are not
  /// to be had at the moment. Which of the tokens it is, or that it is none, does not show in the time that this takes.
  /// Blocks while keys are asked for anew.
  Result<Caller> Judge(std::string_view token, UnixMicros now) const;
  /// False: Judge() takes a few microseconds, and asks nobody.
  bool MayBlock() const { return keys_ != nullptr; }

 private:
  using Digest = std::array<unsigned char, 32>;
  struct Known {
    Digest digest;
    Caller caller;
  };
  static Digest DigestOf(std::string_view token);

  std::vector<Known> known_;
  JwtRules rules_;
  std::shared_ptr<KeySource> keys_;
};

}  // namespace millrace::serve
