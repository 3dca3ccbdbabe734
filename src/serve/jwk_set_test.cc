// Key sets: what is taken, what is skipped and why, what is refused.
#include "serve/jwk_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/test_jwt.h"
#include "testing/status_matchers.h"

namespace millrace::serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Set(const std::string& keys) { return R"({"keys":[)" + keys + "]}"; }

TEST(JwkSet, WhatCannotVerifyIsSkippedWithItsReason) {
  const TestSigner signer("one");
  const std::string good = signer.Jwk();
  // RFC 8037, appendix A.2.
  const std::string ed = R"({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})";
  const std::string zeros(43, 'A');
  struct Case {
    std::string key;
    const char* why;
  };
  const Case cases[] = {
      {signer.Jwk(R"("use":"enc",)"), "it is not for signatures"},
      {signer.Jwk(R"("key_ops":["sign"],)"), "it is not for verifying"},
      {R"({"kty":"oct","k":"c2VjcmV0"})", "it is a shared key"},
      {R"({"kty":"AKP","alg":"ML-DSA-44"})", "its kind (kty) is not"},
      {R"({})", "its kind (kty) is not"},
      {"7", "it is not an object"},
      {R"({"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"})", "its curve is not P-256"},
      {R"({"kty":"EC","crv":"P-256","x":"AA","y":"AA"})", "32 bytes a coordinate"},
      {R"({"kty":"EC","crv":"P-256","x":")" + zeros + R"(","y":")" + zeros + "\"}",
       "its numbers are not those of a key"},
      {R"({"kty":"EC","crv":"P-256","x":"!"})", "its 'x' is not there or not base64url"},
      {R"({"kty":"OKP","crv":"X25519","x":"AA"})", "its curve is not Ed25519"},
      {R"({"kty":"OKP","crv":"Ed25519","x":"AAAA"})", "its numbers are not those of a key"},
      {R"({"kty":"RSA","n":"AQAB","e":"AQAB"})", "it has 17 bits, and not 2048 to 8192"},
      {R"({"kty":"RSA","n":")" + std::string(2000, '_') + R"(","e":"AQAB"})", "it has 12000 bits"},
      {R"({"kty":"RSA","e":"AQAB"})", "its 'n' is not there"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.key);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto set, ParseJwkSet(Set(c.key + "," + good + "," + ed)));
    ASSERT_EQ(set.keys.size(), 2u);
    EXPECT_EQ(set.keys[0].id, "one");
    EXPECT_EQ(set.keys[1].id, "");
    ASSERT_EQ(set.skipped.size(), 1u);
    EXPECT_THAT(set.skipped[0], HasSubstr("key 1 of 3: "));
    EXPECT_THAT(set.skipped[0], HasSubstr(c.why));
    const auto alone = ParseJwkSet(Set(c.key));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, alone);
    EXPECT_THAT(alone.status().message(), HasSubstr(c.why));
  }
}

TEST(JwkSet, WhatIsNoKeySet) {
  struct Case {
    std::string document;
    const char* why;
  };
  std::string many = "0";
  for (int i = 0; i < 100; ++i) many += ",0";
  const Case cases[] = {{"", "not JSON"},
                        {"<html>", "not JSON"},
                        {"[]", "not a key set"},
                        {R"({"key":[]})", "not a key set"},
                        {R"({"keys":{}})", "not a key set"},
                        {Set(""), "no key that signatures could be verified with"},
                        {Set(many), "it has 101 keys; 100 may be"}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.document);
    const auto set = ParseJwkSet(c.document);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, set);
    EXPECT_THAT(set.status().message(), HasSubstr(c.why));
  }
}

}  // namespace
}  // namespace millrace::serve
