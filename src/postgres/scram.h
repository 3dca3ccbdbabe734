/// SCRAM-SHA-256 as a server does it (RFC 5802, RFC 7677, PostgreSQL's "SASL Authentication"), with a turn of our own:
/// a token opens the door under any user name, so the client is not asked whose it is but held against all of them.
/// They share a salt, which is new at each start; tokens are long and random, so that gives nobody anything.
///
/// In memory is what RFC 5802 calls StoredKey and ServerKey, of which the token cannot be computed.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace millrace::postgres {

/// Immutable; any thread.
class ScramSecrets {
 public:
  /// Costs about a millisecond a password.
  explicit ScramSecrets(const std::vector<std::string>& passwords);

 private:
  friend class ScramExchange;
  using Key = std::array<unsigned char, 32>;
  struct Secret {
    Key stored_key;
    Key server_key;
  };
  std::string salt_;  // Base64.
  std::vector<Secret> secrets_;
};

inline constexpr const char* kScramMechanism = "SCRAM-SHA-256";
inline constexpr const char* kScramPlusMechanism = "SCRAM-SHA-256-PLUS";

/// One client's exchange: its first message, our first, its final, our final. One thread.
class ScramExchange {
 public:
  /// `secrets` outlives it. `end_point`: tls-server-end-point of the connection (RFC 5929); empty: without TLS, or it
  /// is not known, and then there is no SCRAM-SHA-256-PLUS. `nonce`: ours; random unless a test says.
  ScramExchange(const ScramSecrets& secrets, std::string end_point, std::string nonce = RandomNonce());

  static std::string RandomNonce();

  /// The server's first message. kInvalidInput: not SCRAM, or not as the mechanism binds it.
  Result<std::string> First(std::string_view mechanism, std::string_view client_first);

  struct Done {
    std::size_t password = 0;  ///< Which of the passwords it was.
    std::string server_final;
  };
  /// nullopt: it was none of them. Which one it was does not show in the time that this takes. kInvalidInput: not of
  /// its form.
  Result<std::optional<Done>> Final(std::string_view client_final);

 private:
  const ScramSecrets& secrets_;
  const std::string end_point_;
  std::string nonce_;  // Ours, then both.
  std::string gs2_header_;
  std::string client_first_bare_;
  std::string server_first_;
};

/// Of RFC 4648, with padding. nullopt: not of its form.
std::string ToBase64(std::string_view bytes);
std::optional<std::string> FromBase64(std::string_view text);

}  // namespace millrace::postgres
