#include "serve/jwt.h"

#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cmath>
#include <memory>
#include <optional>

#include "base/ascii_case.h"
#include "serve/base64url.h"

namespace millrace::serve {
namespace {

namespace json = boost::json;

constexpr std::size_t kTokenBytesMax = 8 << 10;
constexpr std::size_t kSubjectBytesMax = 255;  // OpenID Connect Core, 2.

struct Algorithm {
  std::string_view name;
  int key_type;               // EVP_PKEY_RSA and so on.
  std::string_view group;     // Of elliptic keys.
  const EVP_MD* (*digest)();  // nullptr: the algorithm has its own.
  bool pss = false;
  std::size_t number_bytes = 0;  // ECDSA: of each of the two numbers that are the signature (RFC 7518, 3.4).
};
const std::array<Algorithm, 11> kAlgorithms = {{
    {"RS256", EVP_PKEY_RSA, "", &EVP_sha256},
    {"RS384", EVP_PKEY_RSA, "", &EVP_sha384},
    {"RS512", EVP_PKEY_RSA, "", &EVP_sha512},
    {"PS256", EVP_PKEY_RSA, "", &EVP_sha256, true},
    {"PS384", EVP_PKEY_RSA, "", &EVP_sha384, true},
    {"PS512", EVP_PKEY_RSA, "", &EVP_sha512, true},
    {"ES256", EVP_PKEY_EC, "prime256v1", &EVP_sha256, false, 32},
    {"ES384", EVP_PKEY_EC, "secp384r1", &EVP_sha384, false, 48},
    {"ES512", EVP_PKEY_EC, "secp521r1", &EVP_sha512, false, 66},
    {"EdDSA", EVP_PKEY_ED25519, "", nullptr},
    {"Ed25519", EVP_PKEY_ED25519, "", nullptr},  // RFC 9864's name for it.
}};

const unsigned char* Bytes(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

bool IsFor(const JsonWebKey& key, const Algorithm& algorithm) {
  if (!key.algorithm.empty() && key.algorithm != algorithm.name) return false;
  if (EVP_PKEY_get_base_id(key.key.get()) != algorithm.key_type) return false;
  if (algorithm.group.empty()) return true;
  std::array<char, 32> group{};
  std::size_t size = 0;
  return EVP_PKEY_get_group_name(key.key.get(), group.data(), group.size(), &size) == 1 &&
         std::string_view(group.data(), size) == algorithm.group;
}

// JOSE has the two numbers side by side, OpenSSL wants them in ASN.1. nullopt: another length.
std::optional<std::string> EcdsaSignature(std::string_view numbers, std::size_t bytes) {
  if (numbers.size() != 2 * bytes) return std::nullopt;
  const std::unique_ptr<ECDSA_SIG, void (*)(ECDSA_SIG*)> signature(ECDSA_SIG_new(), &ECDSA_SIG_free);
  const int size = static_cast<int>(bytes);
  ECDSA_SIG_set0(signature.get(), BN_bin2bn(Bytes(numbers), size, nullptr),
                 BN_bin2bn(Bytes(numbers.substr(bytes)), size, nullptr));
  unsigned char* der = nullptr;
  const int der_size = i2d_ECDSA_SIG(signature.get(), &der);
  if (der_size <= 0) return std::nullopt;
  std::string out(reinterpret_cast<const char*>(der), static_cast<std::size_t>(der_size));
  OPENSSL_free(der);
  return out;
}

bool Verifies(const Algorithm& algorithm, EVP_PKEY* key, std::string_view text, std::string_view signature) {
  std::optional<std::string> der;
  if (algorithm.number_bytes != 0) {
    der = EcdsaSignature(signature, algorithm.number_bytes);
    if (!der) return false;
    signature = *der;
  }
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  EVP_PKEY_CTX* parameters = nullptr;  // Belongs to the context.
  const EVP_MD* const digest = algorithm.digest == nullptr ? nullptr : algorithm.digest();
  bool fits = EVP_DigestVerifyInit(context.get(), &parameters, digest, nullptr, key) == 1;
  if (fits && algorithm.pss) {
    fits = EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) == 1;
  }
  fits = fits && EVP_DigestVerify(context.get(), Bytes(signature), signature.size(), Bytes(text), text.size()) == 1;
  ERR_clear_error();
  return fits;
}

Result<json::object> ObjectIn(std::string_view part, const char* what) {
  const auto bytes = DecodeBase64Url(part);
  if (!bytes) return InvalidInput("The token's {} is not base64url.", what);
  boost::system::error_code error;
  auto parsed = json::parse(*bytes, error);
  if (error || !parsed.is_object()) return InvalidInput("The token's {} is not a JSON object.", what);
  return std::move(parsed.get_object());
}

struct Header {
  const Algorithm* algorithm = nullptr;
  std::optional<std::string> key_id;
};

Result<Header> ReadHeader(std::string_view part) {
  ASSIGN_OR_RETURN(const auto object, ObjectIn(part, "header"));
  Header header;
  const auto* const alg = object.if_contains("alg");
  const std::string name = alg != nullptr && alg->is_string() ? std::string(alg->get_string()) : "";
  header.algorithm =
      std::find_if(kAlgorithms.begin(), kAlgorithms.end(), [&](const Algorithm& a) { return a.name == name; });
  if (header.algorithm == kAlgorithms.end()) {
    return InvalidInput(
        "The token's algorithm is none of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, "
        "ES512 and EdDSA.");
  }
  // Extensions that must be understood (RFC 7515, 4.1.11), and we know none.
  if (object.contains("crit")) return InvalidInput("The token's header has critical extensions that are not known.");
  if (const auto* const typ = object.if_contains("typ"); typ != nullptr) {
    const std::string type = typ->is_string() ? AsciiLower(std::string(typ->get_string())) : "";
    if (type != "jwt" && type != "at+jwt" && type != "application/at+jwt") {
      return InvalidInput("The token's type is neither JWT nor at+jwt.");
    }
  }
  if (const auto* const kid = object.if_contains("kid"); kid != nullptr) {
    if (!kid->is_string()) return InvalidInput("The token's kid is not a text.");
    header.key_id = std::string(kid->get_string());
  }
  return header;
}

Status VerifySignature(const Header& header, const JwkSet& keys, std::string_view text, std::string_view signature) {
  bool known = !header.key_id;
  bool fitting = false;
  for (const auto& key : keys.keys) {
    if (header.key_id && key.id != *header.key_id) continue;
    known = true;
    if (!IsFor(key, *header.algorithm)) continue;
    fitting = true;
    if (Verifies(*header.algorithm, key.key.get(), text, signature)) return Status::OK();
  }
  if (!known) return NotFound("The token is signed with a key that its issuer does not publish.");
  if (!fitting) return InvalidInput("The issuer has no such key for {}.", header.algorithm->name);
  return InvalidInput("The token's signature is wrong.");
}

// Seconds since 1970; nullopt: not there.
Result<std::optional<double>> TimeIn(const json::object& claims, const char* name) {
  const auto* const value = claims.if_contains(name);
  if (value == nullptr) return std::nullopt;
  boost::system::error_code error;
  const double seconds = value->to_number<double>(error);
  if (error || !std::isfinite(seconds)) return InvalidInput("The token's {} is not a time.", name);
  return seconds;
}

/// Until when it holds.
Result<UnixMicros> CheckTimes(const json::object& claims, UnixMicros now) {
  ASSIGN_OR_RETURN(const auto expires, TimeIn(claims, "exp"));
  ASSIGN_OR_RETURN(const auto begins, TimeIn(claims, "nbf"));
  const double seconds = static_cast<double>(now) / 1e6;
  const auto skew = static_cast<double>(kJwtClockSkew.count());
  if (!expires) return InvalidInput("The token never expires; one without exp is not taken.");
  if (seconds >= *expires + skew) return InvalidInput("The token has expired.");
  if (begins && seconds < *begins - skew) return InvalidInput("The token is not valid yet.");
  constexpr double kLastMicros = 9e18;
  return static_cast<UnixMicros>(std::min((*expires + skew) * 1e6, kLastMicros));
}

// A text, or a list of texts; what else is in the list is left out.
std::vector<std::string> TextsIn(const json::object& claims, std::string_view name) {
  std::vector<std::string> texts;
  const auto* const value = claims.if_contains(name);
  if (value == nullptr) return texts;
  if (value->is_string()) texts.emplace_back(value->get_string());
  if (value->is_array()) {
    for (const auto& item : value->get_array()) {
      if (item.is_string()) texts.emplace_back(item.get_string());
    }
  }
  return texts;
}

Status CheckParties(const json::object& claims, const JwtRules& rules) {
  const auto* const issuer = claims.if_contains("iss");
  if (!rules.issuer.empty() && (issuer == nullptr || !issuer->is_string() || issuer->get_string() != rules.issuer)) {
    return InvalidInput("The token is of another issuer.");
  }
  if (rules.audiences.empty()) return Status::OK();
  const auto audience = TextsIn(claims, "aud");
  const bool ours = std::any_of(audience.begin(), audience.end(), [&](const std::string& one) {
    return std::find(rules.audiences.begin(), rules.audiences.end(), one) != rules.audiences.end();
  });
  return ours ? Status::OK() : InvalidInput("The token is for another audience.");
}

std::vector<std::string> Words(const std::vector<std::string>& texts) {
  std::vector<std::string> words;
  for (const auto& text : texts) {
    for (std::size_t at = 0; at < text.size();) {
      const auto end = std::min(text.find(' ', at), text.size());
      if (end > at) words.push_back(text.substr(at, end - at));
      at = end + 1;
    }
  }
  return words;
}

}  // namespace

Result<JwtClaims> VerifyJwt(std::string_view token, const JwkSet& keys, const JwtRules& rules, UnixMicros now) {
  if (token.size() > kTokenBytesMax) return InvalidInput("The token has more than {} bytes.", kTokenBytesMax);
  const auto first = token.find('.');
  const auto last = token.rfind('.');
  if (first == last || token.find('.', first + 1) != last) {
    return InvalidInput("The token is not known, and not a signed JWT.");
  }
  ASSIGN_OR_RETURN(const auto header, ReadHeader(token.substr(0, first)));
  const auto signature = DecodeBase64Url(token.substr(last + 1));
  if (!signature) return InvalidInput("The token's signature is not base64url.");
  RETURN_NOT_OK(VerifySignature(header, keys, token.substr(0, last), *signature));
  // Only now that it is known whose words they are.
  ASSIGN_OR_RETURN(const auto claims, ObjectIn(token.substr(first + 1, last - first - 1), "payload"));
  JwtClaims believed;
  ASSIGN_OR_RETURN(believed.believed_until, CheckTimes(claims, now));
  RETURN_NOT_OK(CheckParties(claims, rules));
  if (const auto* const subject = claims.if_contains("sub"); subject != nullptr) {
    if (!subject->is_string() || subject->get_string().size() > kSubjectBytesMax) {
      return InvalidInput("The token's sub is not a text of at most {} bytes.", kSubjectBytesMax);
    }
    believed.subject = subject->get_string();
  }
  believed.scopes = Words(TextsIn(claims, rules.scopes_claim));
  return believed;
}

}  // namespace millrace::serve
