/// JSON Web Tokens (RFC 7519, as RFC 8725 says that they should be judged): a token, keys and a time in; what it
/// claims, or why it is not believed, out. Plain functions on values; the signatures are verified by OpenSSL.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "serve/jwk_set.h"

namespace millrace::serve {

struct JwtRules {
  std::string issuer;                  ///< What `iss` must be; empty: anything, or nothing.
  std::vector<std::string> audiences;  ///< One of them must be in `aud`; none: anything, or nothing.
  std::string scopes_claim = "scope";  ///< A text of words, or a list of texts.
};

/// How far the issuer's clock and ours may be apart.
inline constexpr std::chrono::seconds kJwtClockSkew{60};

struct JwtClaims {
  std::string subject;              ///< `sub`, at most 255 bytes; empty: it has none.
  std::vector<std::string> scopes;  ///< All words of the claim, also those that mean nothing here.
  UnixMicros believed_until = 0;    ///< `exp` and the skew: from then on it is refused.
};

/// The algorithms are RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 and EdDSA (Ed25519); the key
/// decides which of them it is for, so `none`, and HS256 with a public key for its secret, are refused whatever is in
/// `keys`. A token must expire: `exp` is a must, `nbf` holds if it is there.
///
/// kNotFound: no key has the token's `kid`; newer keys may. kInvalidInput: every other reason, in a sentence that shows
/// nothing of the token but names of algorithms. `now`: the time of day.
Result<JwtClaims> VerifyJwt(std::string_view token, const JwkSet& keys, const JwtRules& rules, UnixMicros now);

}  // namespace millrace::serve
