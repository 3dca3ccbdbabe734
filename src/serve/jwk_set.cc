#include "serve/jwk_set.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <algorithm>
#include <boost/json.hpp>

#include "serve/base64url.h"

namespace millrace::serve {
namespace {

namespace json = boost::json;

constexpr std::size_t kKeysMax = 100;
constexpr int kRsaBitsMin = 2048;  // RFC 7518, 3.3.
constexpr int kRsaBitsMax = 8192;  // Beyond, a single signature takes milliseconds.

using KeyPointer = std::shared_ptr<EVP_PKEY>;

struct Free {
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
  void operator()(OSSL_PARAM_BLD* builder) const { OSSL_PARAM_BLD_free(builder); }
  void operator()(OSSL_PARAM* params) const { OSSL_PARAM_free(params); }
  void operator()(BIGNUM* number) const { BN_free(number); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

// "" if there is no such text.
std::string TextIn(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

Result<std::string> BytesIn(const json::object& object, std::string_view name) {
  const auto bytes = DecodeBase64Url(TextIn(object, name));
  if (!bytes || bytes->empty()) return InvalidInput("its '{}' is not there or not base64url", name);
  return *bytes;
}

// nullptr: OpenSSL refuses the numbers, because a point is not on its curve and the like.
KeyPointer MakeKey(const char* type, OSSL_PARAM_BLD* builder) {
  const Owned<OSSL_PARAM> params(OSSL_PARAM_BLD_to_param(builder));
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  if (EVP_PKEY_fromdata_init(context.get()) == 1) {
    EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get());
  }
  KeyPointer made;
  if (key != nullptr) made.reset(key, &EVP_PKEY_free);
  if (made != nullptr) {
    const Owned<EVP_PKEY_CTX> check(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
    if (EVP_PKEY_public_check(check.get()) != 1) made.reset();
  }
  ERR_clear_error();
  return made;
}

Result<KeyPointer> RsaKey(const json::object& jwk) {
  ASSIGN_OR_RETURN(const auto modulus, BytesIn(jwk, "n"));
  ASSIGN_OR_RETURN(const auto exponent, BytesIn(jwk, "e"));
  const auto number = [](const std::string& bytes) {
    return Owned<BIGNUM>(
        BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()), nullptr));
  };
  const auto n = number(modulus);
  const auto e = number(exponent);
  const int bits = BN_num_bits(n.get());
  if (bits < kRsaBitsMin || bits > kRsaBitsMax) {
    return InvalidInput("it has {} bits, and not {} to {}", bits, kRsaBitsMin, kRsaBitsMax);
  }
  if (BN_num_bits(e.get()) > 64) return InvalidInput("its exponent has more than 64 bits");
  const Owned<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get());
  return MakeKey("RSA", builder.get());
}

Result<KeyPointer> EllipticKey(const json::object& jwk) {
  struct Curve {
    const char* name;
    const char* group;
    std::size_t bytes;  // Of a coordinate.
  };
  static constexpr Curve kCurves[] = {
      {"P-256", "prime256v1", 32}, {"P-384", "secp384r1", 48}, {"P-521", "secp521r1", 66}};
  const std::string name = TextIn(jwk, "crv");
  const auto* const curve =
      std::find_if(std::begin(kCurves), std::end(kCurves), [&](const Curve& c) { return c.name == name; });
  if (curve == std::end(kCurves)) return InvalidInput("its curve is not P-256, P-384 or P-521");
  ASSIGN_OR_RETURN(const auto x, BytesIn(jwk, "x"));
  ASSIGN_OR_RETURN(const auto y, BytesIn(jwk, "y"));
  if (x.size() != curve->bytes || y.size() != curve->bytes) {
    return InvalidInput("its point does not have {} bytes a coordinate", curve->bytes);
  }
  const std::string point = "\x04" + x + y;  // Uncompressed: SEC 1, 2.3.3.
  const Owned<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, curve->group, 0);
  OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
  return MakeKey("EC", builder.get());
}

Result<KeyPointer> EdwardsKey(const json::object& jwk) {
  if (TextIn(jwk, "crv") != "Ed25519") return InvalidInput("its curve is not Ed25519");
  ASSIGN_OR_RETURN(const auto x, BytesIn(jwk, "x"));
  KeyPointer key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr,
                                             reinterpret_cast<const unsigned char*>(x.data()), x.size()),
                 &EVP_PKEY_free);
  ERR_clear_error();
  return key;
}

Result<KeyPointer> KeyOf(const json::object& jwk) {
  const std::string use = TextIn(jwk, "use");
  if (!use.empty() && use != "sig") return InvalidInput("it is not for signatures");
  if (const auto* operations = jwk.if_contains("key_ops"); operations != nullptr && operations->is_array()) {
    const auto& list = operations->get_array();
    if (std::find(list.begin(), list.end(), json::value("verify")) == list.end()) {
      return InvalidInput("it is not for verifying signatures");
    }
  }
  const std::string type = TextIn(jwk, "kty");
  if (type == "RSA") return RsaKey(jwk);
  if (type == "EC") return EllipticKey(jwk);
  if (type == "OKP") return EdwardsKey(jwk);
  if (type == "oct") return InvalidInput("it is a shared key, and those are never used");
  return InvalidInput("its kind (kty) is not RSA, EC or OKP");
}

}  // namespace

Result<JwkSet> ParseJwkSet(std::string_view document) {
  boost::system::error_code error;
  const auto parsed = json::parse(document, error);
  if (error) return InvalidInput("it is not JSON: {}", error.message());
  const auto* keys = parsed.is_object() ? parsed.get_object().if_contains("keys") : nullptr;
  if (keys == nullptr || !keys->is_array()) return InvalidInput("it is not a key set: {{\"keys\": [...]}} is expected");
  const auto& list = keys->get_array();
  if (list.size() > kKeysMax) return InvalidInput("it has {} keys; {} may be", list.size(), kKeysMax);
  JwkSet set;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const json::object* const jwk = list[i].if_object();
    auto key = jwk == nullptr ? Result<KeyPointer>(InvalidInput("it is not an object")) : KeyOf(*jwk);
    if (key.ok() && *key == nullptr) key = InvalidInput("its numbers are not those of a key");
    if (key.ok()) {
      set.keys.push_back({TextIn(*jwk, "kid"), TextIn(*jwk, "alg"), *std::move(key)});
    } else {
      set.skipped.push_back(fmt::format("key {} of {}: {}", i + 1, list.size(), key.status().message()));
    }
  }
  if (set.keys.empty()) {
    return InvalidInput("it has no key that signatures could be verified with{}{}", set.skipped.empty() ? "" : "; ",
                        fmt::join(set.skipped, "; "));
  }
  return set;
}

}  // namespace millrace::serve
