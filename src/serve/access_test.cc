// Tokens to callers: those of the file, those of an issuer, and what happens while its keys are not to be had.
#include "serve/access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/test_jwt.h"
#include "testing/status_matchers.h"

namespace millrace::serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr UnixMicros kJudgedAt = 1'795'341'600'000'000;
constexpr const char* kClaims = R"({"exp":1795342200,"sub":"alice","scope":"read write:clicks openid"})";

class FakeKeys : public KeySource {
 public:
  std::shared_ptr<const JwkSet> Keys() override { return known; }
  std::shared_ptr<const JwkSet> KeysAskedAnew() override {
    ++asked_anew;
    return known = published;
  }
  void Publish(const std::string& document) {
    published = std::make_shared<const JwkSet>(ParseJwkSet(document).ValueOrDie());
  }

  std::shared_ptr<const JwkSet> known;
  std::shared_ptr<const JwkSet> published;
  int asked_anew = 0;
};

TEST(Access, ATokenOfTheFileIsItsCaller) {
  const Access access({{"s3cret", {"read", "sql"}}, {"other", {"write:clicks"}}});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto first, access.Judge("s3cret", kJudgedAt));
  EXPECT_EQ(first.id, NameOfToken("s3cret"));
  EXPECT_TRUE(first.May("read"));
  EXPECT_TRUE(first.May("sql"));
  EXPECT_FALSE(first.May("admin"));
  EXPECT_FALSE(first.May("write:clicks"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto second, access.Judge("other", kJudgedAt));
  EXPECT_EQ(second.id, NameOfToken("other"));
  EXPECT_TRUE(second.May("write:clicks"));
  EXPECT_FALSE(second.May("write:click"));
  EXPECT_FALSE(second.May("write:clicks2"));
  EXPECT_FALSE(second.May("write:"));
  EXPECT_FALSE(second.May("read")) << "no scope implies another";
  for (const char* wrong :
       {"", "s3cre", "s3crett", "s3creT", "S3cret", " s3cret", "s3cret ", "s3crets3cret", "a.b.c"}) {
    const auto caller = access.Judge(wrong, kJudgedAt);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, caller);
    EXPECT_EQ(caller.status().message(), "The token is not known.");
  }
}

// By Python: hashlib.pbkdf2_hmac("sha256", b"s3cret", b"millrace token", 4096).hex()[:32]. What gateways have answered
// is known again by it, also by the next version.
TEST(Access, ATokenHasTheSameNameWhereverItStands) {
  EXPECT_EQ(NameOfToken("s3cret"), "token 8ed202b1a5da6156715d7f48b3c35ccf");
  EXPECT_EQ(NameOfToken("other"), "token 2fa465f12b738da9a869c68f8ce6df77");
  const Access before(std::vector<AccessToken>{{"s3cret", {"read"}}});
  const Access after(std::vector<AccessToken>{{"other", {"read"}}, {"s3cret", {"read", "sql"}}});
  EXPECT_EQ(before.Judge("s3cret", kJudgedAt)->id, after.Judge("s3cret", kJudgedAt)->id);
  EXPECT_NE(before.Judge("s3cret", kJudgedAt)->id, after.Judge("other", kJudgedAt)->id);
}

TEST(Access, ATokenOfTheIssuerIsItsSubject) {
  const TestSigner signer("one");
  const auto keys = std::make_shared<FakeKeys>();
  keys->Publish(signer.Jwks());
  keys->known = keys->published;
  const Access access({{"s3cret", {"read"}}}, {}, keys);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto alice, access.Judge(signer.Token(kClaims), kJudgedAt));
  EXPECT_EQ(alice.id, "subject alice");
  EXPECT_THAT(alice.scopes, ElementsAre("read", "write:clicks", "openid"));
  EXPECT_EQ(access.Judge("s3cret", kJudgedAt)->id, NameOfToken("s3cret")) << "beside the file's";
  EXPECT_EQ(access.Judge("s3cret", kJudgedAt)->believed_until, std::nullopt);
  EXPECT_EQ(access.Judge(signer.Token(R"({"exp":1795342200})"), kJudgedAt)->id, "");
  EXPECT_EQ(access.Judge(signer.Token(R"({"exp":1795342200})"), kJudgedAt)->believed_until, 1'795'342'260'000'000);
  EXPECT_GT(access.Judge(signer.Token(R"({"exp":1e300})"), kJudgedAt)->believed_until, 1'795'342'260'000'000);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, access.Judge("s3cret2", kJudgedAt));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, access.Judge(signer.Token(R"({"exp":1})"), kJudgedAt));
  EXPECT_EQ(keys->asked_anew, 0);
}

TEST(Access, AnUnknownKeyIsAskedForOnce) {
  const TestSigner before("one");
  const TestSigner after("two");
  const TestSigner forger("three");
  const auto keys = std::make_shared<FakeKeys>();
  keys->Publish(before.Jwks());
  keys->known = keys->published;
  keys->Publish(after.Jwks());
  const Access access({}, {}, keys);
  EXPECT_EQ(access.Judge(after.Token(kClaims), kJudgedAt)->id, "subject alice");
  EXPECT_EQ(keys->asked_anew, 1);
  EXPECT_EQ(access.Judge(after.Token(kClaims), kJudgedAt)->id, "subject alice");
  EXPECT_EQ(keys->asked_anew, 1);
  const auto forged = access.Judge(forger.Token(kClaims), kJudgedAt);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, forged);
  EXPECT_THAT(forged.status().message(), HasSubstr("a key that its issuer does not publish"));
}

TEST(Access, WithoutTheIssuersKeysItsTokensWaitAndTheFilesGoOn) {
  const TestSigner signer("one");
  const auto keys = std::make_shared<FakeKeys>();
  const Access access({{"s3cret", {"read"}}}, {}, keys);
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, access.Judge(signer.Token(kClaims), kJudgedAt));
  EXPECT_EQ(access.Judge("s3cret", kJudgedAt)->id, NameOfToken("s3cret"));
  // They were dropped between one look and the next.
  keys->known = std::make_shared<const JwkSet>(ParseJwkSet(TestSigner("other").Jwks()).ValueOrDie());
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, access.Judge(signer.Token(kClaims), kJudgedAt));
}

TEST(Access, ScopesThatThereAre) {
  for (const char* scope : {"read", "sql", "admin", "write:clicks", "write:a.b_c-1"}) {
    EXPECT_EQ(FaultOfScope(scope), std::nullopt) << scope;
  }
  EXPECT_THAT(FaultOfScope("reed").value_or(""),
              HasSubstr("there are read, sql, admin and write:TOPIC; did you mean 'read'?"));
  for (const char* scope : {"", "Read", "write", "read sql"}) {
    EXPECT_THAT(FaultOfScope(scope).value_or(""), HasSubstr("is not a scope")) << scope;
  }
  for (const std::string& scope :
       {std::string("write:"), std::string("write:a b"), std::string("write:*"), "write:" + std::string(250, 'a')}) {
    EXPECT_THAT(FaultOfScope(scope).value_or(""), HasSubstr("does not name a topic")) << scope;
  }
}

}  // namespace
}  // namespace millrace::serve
