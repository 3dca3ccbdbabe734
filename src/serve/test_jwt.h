/// Keys and tokens for tests, made in the test. That tokens of others are read too is what testdata/tokens.json shows.
#pragma once

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>

#include <memory>
#include <string>
#include <string_view>

namespace millrace::serve {

inline std::string EncodeBase64Url(std::string_view bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  out.resize(static_cast<std::size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                                      reinterpret_cast<const unsigned char*>(bytes.data()),
                                                      static_cast<int>(bytes.size()))));
  for (char& c : out) c = c == '+' ? '-' : c == '/' ? '_' : c;
  out.resize(out.find_last_not_of('=') + 1);
  return out;
}

/// A P-256 key, whose tokens have the algorithm ES256.
class TestSigner {
 public:
  explicit TestSigner(std::string key_id) : id(std::move(key_id)), key_(EVP_EC_gen("P-256"), &EVP_PKEY_free) {}

  /// As in a key set; `more`: such as R"("use":"sig",)".
  std::string Jwk(const std::string& more = "") const {
    return R"({"kty":"EC","crv":"P-256",)" + more + R"("kid":")" + id + R"(","x":")" +
           Coordinate(OSSL_PKEY_PARAM_EC_PUB_X) + R"(","y":")" + Coordinate(OSSL_PKEY_PARAM_EC_PUB_Y) + "\"}";
  }
  std::string Jwks() const { return R"({"keys":[)" + Jwk() + "]}"; }

  std::string Token(const std::string& claims) const {
    return TokenOf(R"({"alg":"ES256","typ":"JWT","kid":")" + id + "\"}", claims);
  }
  std::string TokenOf(const std::string& header, const std::string& payload) const {
    const std::string text = EncodeBase64Url(header) + "." + EncodeBase64Url(payload);
    const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
    unsigned char der[128];
    std::size_t size = sizeof der;
    EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get());
    EVP_DigestSign(context.get(), der, &size, reinterpret_cast<const unsigned char*>(text.data()), text.size());
    const unsigned char* at = der;
    const std::unique_ptr<ECDSA_SIG, void (*)(ECDSA_SIG*)> signature(
        d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(size)), &ECDSA_SIG_free);
    std::string numbers(64, '\0');
    BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), reinterpret_cast<unsigned char*>(numbers.data()), 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), reinterpret_cast<unsigned char*>(numbers.data()) + 32, 32);
    return text + "." + EncodeBase64Url(numbers);
  }

  const std::string id;

 private:
  std::string Coordinate(const char* name) const {
    BIGNUM* number = nullptr;
    EVP_PKEY_get_bn_param(key_.get(), name, &number);
    std::string bytes(32, '\0');
    BN_bn2binpad(number, reinterpret_cast<unsigned char*>(bytes.data()), 32);
    BN_free(number);
    return EncodeBase64Url(bytes);
  }

  std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key_;
};

}  // namespace millrace::serve
