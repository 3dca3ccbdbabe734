/// The public keys that an issuer of tokens publishes: a JSON Web Key Set (RFC 7517) as keys of OpenSSL.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

struct evp_pkey_st;  // EVP_PKEY of OpenSSL.

namespace millrace::serve {

struct JsonWebKey {
  std::string id;         ///< kid; empty: it has none.
  std::string algorithm;  ///< alg; not empty: the only one that the key is for.
  std::shared_ptr<evp_pkey_st> key;
};

/// Immutable once made; any thread.
struct JwkSet {
  std::vector<JsonWebKey> keys;      ///< At least one; in the document's order.
  std::vector<std::string> skipped;  ///< Why others are not here, a sentence each.
};

/// Takes what can verify signatures: RSA of 2048 to 8192 bits, P-256, P-384 and P-521, Ed25519. What is for encryption,
/// of another kind, shared (oct) or broken is skipped; a shared key is never used, for whoever can read it could sign.
/// kInvalidInput: not JSON, not a key set, more than 100 keys, or none that can be used.
Result<JwkSet> ParseJwkSet(std::string_view document);

}  // namespace millrace::serve
