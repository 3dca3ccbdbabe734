// Tokens that are believed and tokens that are not: each algorithm with tokens of another library, each claim at its
// limits, and the known ways to forge one.
#include "serve/jwt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <fstream>
#include <iterator>

#include "serve/base64url.h"
#include "serve/test_jwt.h"
#include "testing/status_matchers.h"

namespace millrace::serve {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr UnixMicros kVerifiedAt = 1'795'341'600'000'000;
constexpr std::int64_t kVerifiedAtSeconds = kVerifiedAt / 1'000'000;

class JwtTest : public ::testing::Test {
 protected:
  JwtTest() : keys_(ParseJwkSet(signer_.Jwks()).ValueOrDie()) {}

  // Claims that are right, with these in their place or beside them.
  static std::string Claims(const std::string& more = "") {
    json::object claims = {
        {"exp", kVerifiedAtSeconds + 600}, {"iss", "https://idp"}, {"aud", "lake"}, {"sub", "alice"}};
    const json::value parsed = json::parse("{" + more + "}");
    for (const auto& [name, value] : parsed.as_object()) {
      if (value.is_null()) {
        claims.erase(name);
      } else {
        claims[name] = value;
      }
    }
    return json::serialize(claims);
  }
  Result<JwtClaims> Verify(const std::string& token, UnixMicros now = kVerifiedAt) const {
    return VerifyJwt(token, keys_, rules_, now);
  }
  std::string Refused(const std::string& token, UnixMicros now = kVerifiedAt) const {
    const auto claims = Verify(token, now);
    if (claims.ok()) return "";
    EXPECT_EQ(KindOf(claims.status()), ErrorKind::kInvalidInput);
    const std::string& why = claims.status().message();
    // It goes into a quoted text of a header.
    EXPECT_EQ(why.find_first_of("\"\\\r\n"), std::string::npos) << why;
    return why;
  }

  const TestSigner signer_{"one"};
  JwkSet keys_;
  JwtRules rules_{.issuer = "https://idp", .audiences = {"lake", "sea"}};
};

TEST(JwtOfAnother, EachAlgorithmIsVerifiedAndNoForgeryIs) {
  std::ifstream file(MILLRACE_TESTDATA "/tokens.json");
  const json::value document = json::parse(std::string(std::istreambuf_iterator<char>(file), {}));
  const UnixMicros now = document.at("now").as_int64() * 1'000'000;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto keys, ParseJwkSet(json::serialize(document.at("jwks"))));
  EXPECT_EQ(keys.keys.size(), 5u);
  EXPECT_THAT(keys.skipped, IsEmpty());
  const JwtRules rules{.issuer = "https://idp.example/", .audiences = {"lake"}};
  const auto& tokens = document.at("tokens").as_object();
  EXPECT_EQ(tokens.size(), 10u);
  for (const auto& [name, value] : tokens) {
    SCOPED_TRACE(std::string(name));
    const std::string token(value.as_string());
    const auto claims = VerifyJwt(token, keys, rules, now);
    ASSERT_TRUE(claims.ok()) << claims.status().ToString();
    EXPECT_EQ(claims->subject, "alice");
    EXPECT_THAT(claims->scopes, ElementsAre("openid", "read", "sql"));

    // One bit of any of the three parts.
    const auto first = token.find('.');
    const auto last = token.rfind('.');
    for (const std::size_t at : {first / 2, (first + last) / 2, (last + token.size()) / 2, last + 1}) {
      std::string changed = token;
      changed[at] = changed[at] == 'A' ? 'B' : 'A';
      EXPECT_FALSE(VerifyJwt(changed, keys, rules, now).ok()) << at;
    }
    EXPECT_FALSE(VerifyJwt(token.substr(0, last + 1), keys, rules, now).ok()) << "no signature";
    EXPECT_FALSE(VerifyJwt(token + "AA", keys, rules, now).ok()) << "a longer one";
    EXPECT_FALSE(VerifyJwt(token.substr(0, last + 1) + std::string(86, 'A'), keys, rules, now).ok()) << "zeros";

    // The same key under another algorithm, and a key that is for another.
    for (auto other : keys.keys) {
      other.algorithm = name == "RS256" ? "RS384" : "RS256";
      EXPECT_FALSE(VerifyJwt(token, JwkSet{{other}, {}}, rules, now).ok());
    }
  }
  for (const char* forged : {"confused", "unsigned"}) {
    SCOPED_TRACE(forged);
    const auto claims = VerifyJwt(std::string(document.at(forged).as_string()), keys, rules, now);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, claims);
    EXPECT_THAT(claims.status().message(), HasSubstr("The token's algorithm is none of RS256,"));
  }
}

TEST_F(JwtTest, TimesHoldWithAMinuteOfSkew) {
  struct Case {
    const char* claims;
    std::int64_t seconds;  // From now.
    const char* refused;
  };
  const Case cases[] = {
      {R"("exp":1795341600)", 59, ""},
      {R"("exp":1795341600)", 60, "has expired"},
      {R"("exp":1795341600.5)", 60, ""},
      {R"("exp":1795341600.5)", 61, "has expired"},
      {R"("exp":1795345200,"nbf":1795341600)", -60, ""},
      {R"("exp":1795345200,"nbf":1795341600)", -61, "is not valid yet"},
      {R"("exp":null)", 0, "never expires"},
      {R"("exp":"1795345200")", 0, "exp is not a time"},
      {R"("exp":1e400)", 0, "payload is not a JSON object"},
      {R"("exp":true)", 0, "exp is not a time"},
      {R"("exp":-1)", 0, "has expired"},
      {R"("exp":1e300)", 0, ""},
      {R"("nbf":"soon")", 0, "nbf is not a time"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(c.claims) + " " + std::to_string(c.seconds));
    const std::string why = Refused(signer_.Token(Claims(c.claims)), kVerifiedAt + c.seconds * 1'000'000);
    EXPECT_EQ(why.empty(), *c.refused == '\0') << why;
    EXPECT_THAT(why, HasSubstr(c.refused));
  }
}

TEST_F(JwtTest, IssuerAudienceSubjectAndScopes) {
  struct Case {
    const char* claims;
    const char* refused;
    std::vector<std::string> scopes{};
  };
  const Case cases[] = {
      {R"("iss":"https://idp/")", "another issuer"},
      {R"("iss":null)", "another issuer"},
      {R"("iss":["https://idp"])", "another issuer"},
      {R"("aud":null)", "another audience"},
      {R"("aud":"lakes")", "another audience"},
      {R"("aud":["x",7,"sea"])", ""},
      {R"("aud":[])", "another audience"},
      {R"("aud":{"lake":1})", "another audience"},
      {R"("sub":null)", ""},
      {R"("sub":7)", "sub is not a text"},
      {R"("scope":"read  sql ")", "", {"read", "sql"}},
      {R"("scope":["read","write:a write:b",7,null])", "", {"read", "write:a", "write:b"}},
      {R"("scope":{"read":true})", ""},
      {R"("scp":"read")", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.claims);
    const std::string token = signer_.Token(Claims(c.claims));
    const std::string why = Refused(token);
    EXPECT_EQ(why.empty(), *c.refused == '\0') << why;
    EXPECT_THAT(why, HasSubstr(c.refused));
    if (!why.empty()) continue;
    EXPECT_EQ(Verify(token)->scopes, c.scopes);
  }
  EXPECT_EQ(Verify(signer_.Token(Claims(R"("sub":null)")))->subject, "");
  EXPECT_EQ(Refused(signer_.Token(Claims(R"("sub":")" + std::string(255, 'a') + "\""))), "");
  EXPECT_THAT(Refused(signer_.Token(Claims(R"("sub":")" + std::string(256, 'a') + "\""))), HasSubstr("255 bytes"));

  rules_ = {.scopes_claim = "scp"};
  EXPECT_THAT(Verify(signer_.Token(Claims(R"("iss":"x","aud":null,"scp":["sql"])")))->scopes, ElementsAre("sql"))
      << "what the rules do not name may be anything";
}

TEST_F(JwtTest, HeadersThatAreNotWhatTheySeem) {
  const std::string claims = Claims();
  struct Case {
    const char* header;
    const char* refused;
  };
  const Case cases[] = {
      {R"({"alg":"ES256","kid":"one"})", ""},
      {R"({"alg":"ES256","kid":"one","typ":"AT+JWT"})", ""},
      {R"({"alg":"ES256","kid":"one","typ":"application/at+jwt"})", ""},
      {R"({"alg":"ES256"})", ""},  // No kid: any key that fits.
      {R"({"alg":"ES256","kid":"one","typ":"logout+jwt"})", "neither JWT nor at+jwt"},
      {R"({"alg":"ES256","kid":"one","typ":7})", "neither JWT nor at+jwt"},
      {R"({"alg":"ES256","kid":"one","crit":["b64"],"b64":false})", "critical extensions"},
      {R"({"alg":"ES256","kid":7})", "kid is not a text"},
      {R"({"alg":"none","kid":"one"})", "algorithm is none of"},
      {R"({"alg":"None","kid":"one"})", "algorithm is none of"},
      {R"({"alg":"es256","kid":"one"})", "algorithm is none of"},
      {R"({"alg":"HS256","kid":"one"})", "algorithm is none of"},
      {R"({"alg":["ES256"],"kid":"one"})", "algorithm is none of"},
      {R"({"kid":"one"})", "algorithm is none of"},
      {R"({"alg":"ES384","kid":"one"})", "no such key for ES384"},
      {R"({"alg":"RS256","kid":"one"})", "no such key for RS256"},
      {R"({"alg":"EdDSA","kid":"one"})", "no such key for EdDSA"},
      {R"(["ES256"])", "header is not a JSON object"},
      {R"({"alg":"ES256")", "header is not a JSON object"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.header);
    const std::string why = Refused(signer_.TokenOf(c.header, claims));
    EXPECT_EQ(why.empty(), *c.refused == '\0') << why;
    EXPECT_THAT(why, HasSubstr(c.refused));
  }
  EXPECT_THAT(Refused(signer_.TokenOf(R"({"alg":"ES256"})", "[1]")), HasSubstr("payload is not a JSON object"));
  // A key that comes with the token is nobody's.
  const TestSigner forger("one");
  EXPECT_THAT(Refused(forger.TokenOf(R"({"alg":"ES256","kid":"one","jwk":)" + forger.Jwk() + "}", claims)),
              HasSubstr("signature is wrong"));
}

TEST_F(JwtTest, AKeyThatIsNotThereIsNotFound) {
  const TestSigner other("two");
  const std::string token = other.Token(Claims());
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, Verify(token));
  MILLRACE_ASSERT_OK_AND_ASSIGN(keys_, ParseJwkSet(R"({"keys":[)" + signer_.Jwk() + "," + other.Jwk() + "]}"));
  EXPECT_EQ(Refused(token), "");
  EXPECT_EQ(Refused(signer_.Token(Claims())), "");
  EXPECT_EQ(Refused(other.TokenOf(R"({"alg":"ES256"})", Claims())), "") << "the second of two that fit";
  // Two keys of one name, as in a careless rotation.
  const TestSigner same("one");
  MILLRACE_ASSERT_OK_AND_ASSIGN(keys_, ParseJwkSet(R"({"keys":[)" + signer_.Jwk() + "," + same.Jwk() + "]}"));
  EXPECT_EQ(Refused(same.Token(Claims())), "");
}

TEST_F(JwtTest, WhatIsNoTokenAtAll) {
  const std::string good = signer_.Token(Claims());
  for (const std::string& token :
       {std::string(), std::string("s3cret"), std::string("a.b"), std::string("a.b.c.d"), std::string(".."), good + "=",
        " " + good, good.substr(1), "." + good, good.substr(0, good.rfind('.')), std::string(8193, 'a')}) {
    SCOPED_TRACE(token);
    EXPECT_NE(Refused(token), "");
  }
  EXPECT_EQ(Refused(good), "");
  std::string deep = R"({"alg":"ES256","x":)";
  deep.append(2000, '[');
  EXPECT_NE(Refused(signer_.TokenOf(deep, Claims())), "");
}

TEST(Base64Url, OnlyOneSpelling) {
  for (const std::string bytes : {"", "f", "fo", "foo", "foob", "\xff\xfe\xfd"}) {
    EXPECT_EQ(DecodeBase64Url(EncodeBase64Url(bytes)), bytes);
  }
  EXPECT_EQ(DecodeBase64Url("-_8"), "\xfb\xff");
  for (const char* text : {"A", "Zg==", "Zh", "Zm9", "Zm 9v", "Zm+/", "Zm9v\n", "Z"}) {
    EXPECT_EQ(DecodeBase64Url(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace millrace::serve
