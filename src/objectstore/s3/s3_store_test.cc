// What the S3 store does with answers that no real server can be brought to give, where it finds credentials, and how
// it signs. A stub answers; the contract with real servers is tested in tests/s3.
#include "objectstore/s3/s3_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "base/uuid.h"
#include "objectstore/s3/credential_process.h"
#include "objectstore/s3/s3_upload.h"
#include "objectstore/s3/xml.h"
#include "testing/status_matchers.h"
#include "testing/stub_http_server.h"

namespace millrace::objectstore::s3 {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::StubHttpServer;
using testing::StubReply;
using testing::StubRequest;

Environment EnvironmentOf(std::map<std::string, std::string> variables) {
  variables.try_emplace("HOME", "/nonexistent");
  variables.try_emplace("AWS_EC2_METADATA_DISABLED", "true");
  return [variables = std::move(variables)](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
}

const std::map<std::string, std::string> kStaticKeys = {{"AWS_ACCESS_KEY_ID", "AKID"},
                                                        {"AWS_SECRET_ACCESS_KEY", "very-secret"}};

StubReply ErrorReply(int status, const std::string& code, const std::string& more = "") {
  return {status,
          fmt::format("<?xml version=\"1.0\"?><Error><Code>{}</Code><Message>made by the test</Message>{}</Error>",
                      code, more)};
}

// A store before a stub. The probe and its deletion are answered as a good store would; the rest is the test's.
class StubbedS3 : public ::testing::Test {
 protected:
  void Open(StubHttpServer::Handler handler) {
    server_ = std::make_unique<StubHttpServer>(
        [handler = std::move(handler), probes = 0](const StubRequest& request) mutable {
          if (request.target.find(".millrace-probe-") == std::string::npos) return handler(request);
          if (request.method == "PUT") return StubReply{probes++ == 0 ? 200 : 412};
          return StubReply{204};
        });
    auto opened = OpenAt("lake", IfMissing::kCreate);
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = *opened;
  }
  Result<std::shared_ptr<ObjectStore>> OpenAt(const std::string& prefix, IfMissing if_missing) {
    S3Options options;
    options.environment = EnvironmentOf(kStaticKeys);
    options.retry = {
        .attempts_max = 4, .backoff_min = std::chrono::milliseconds(1), .backoff_max = std::chrono::milliseconds(2)};
    options.timeouts.stall = std::chrono::seconds(1);
    return OpenS3Store("bucket", prefix, if_missing, {.endpoint = server_->url()}, options);
  }
  // Answers the next requests in order, then 200 to all.
  void Script(std::vector<StubReply> replies) {
    auto next = std::make_shared<std::size_t>(0);
    Open([replies = std::move(replies), next](const StubRequest&) {
      return *next < replies.size() ? replies[(*next)++] : StubReply{200};
    });
  }
  // Methods asked for after the probe.
  std::vector<StubRequest> Asked() const {
    std::vector<StubRequest> asked;
    for (const auto& request : server_->requests()) {
      if (request.target.find(".millrace-probe-") == std::string::npos) asked.push_back(request);
    }
    return asked;
  }

  std::unique_ptr<StubHttpServer> server_;
  std::shared_ptr<ObjectStore> store_;
};

TEST_F(StubbedS3, ConditionalPutAnswersMeanWhatTheProtocolSays) {
  struct Case {
    int status;
    const char* code;
    std::optional<PutOutcome> outcome;
    ErrorKind kind;
    std::size_t requests;
  };
  const Case cases[] = {
      {200, "", PutOutcome::kCreated, {}, 1},
      {412, "PreconditionFailed", PutOutcome::kExists, {}, 1},
      {304, "", PutOutcome::kExists, {}, 1},  // MinIO of before 2024.
      // Nothing was decided: the same PUT again, until it is.
      {409, "ConditionalRequestConflict", PutOutcome::kCreated, {}, 2},
      {429, "TooManyRequests", PutOutcome::kCreated, {}, 2},
      // Perhaps it landed before the server, or something before it, failed: never sent again blindly.
      {500, "InternalError", {}, ErrorKind::kUnknownOutcome, 1},
      {503, "SlowDown", {}, ErrorKind::kUnknownOutcome, 1},
      {501, "NotImplemented", {}, ErrorKind::kUnsupported, 1},
      {403, "AccessDenied", {}, ErrorKind::kInvalidInput, 1},
      {404, "NoSuchBucket", {}, ErrorKind::kInvalidInput, 1},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(fmt::format("{} {}", c.status, c.code));
    Script({c.status == 200 ? StubReply{200} : ErrorReply(c.status, c.code)});
    const auto put = store_->PutIfAbsent("t/_delta_log/0.json", "bytes");
    EXPECT_EQ(Asked().size(), c.requests);
    for (const auto& request : Asked()) {
      EXPECT_EQ(request.method, "PUT");
      EXPECT_EQ(request.target, "/bucket/lake/t/_delta_log/0.json");
      EXPECT_EQ(request.headers.at("if-none-match"), "*");
      EXPECT_EQ(request.body, "bytes");
    }
    if (c.outcome) {
      MILLRACE_ASSERT_OK(put);
      EXPECT_EQ(*put, *c.outcome);
    } else {
      MILLRACE_ASSERT_KIND(c.kind, put);
      EXPECT_THAT(put.status().message(), HasSubstr(c.code));
      EXPECT_THAT(put.status().message(), HasSubstr("s3://bucket/lake"));
    }
  }
}

TEST_F(StubbedS3, HadoopsNamesOfTheBucketAreItsOwn) {
  Script({});
  for (const std::string scheme : {"s3", "s3a", "s3n"}) {
    EXPECT_EQ(store_->KeyOf(scheme + "://bucket/lake/t/b.parquet"), "t/b.parquet");
    EXPECT_EQ(Below(store_, "t")->KeyOf(scheme + "://bucket/lake/t/b.parquet"), "b.parquet");
    EXPECT_EQ(Below(store_, "t")->KeyOf(scheme + "://bucket/lake/tt/b.parquet"), std::nullopt);
    EXPECT_EQ(store_->KeyOf(scheme + "://bucket/lake"), "");
    EXPECT_EQ(store_->KeyOf(scheme + "://bucket/lakes/b.parquet"), std::nullopt);
    EXPECT_EQ(store_->KeyOf(scheme + "://bucket/b.parquet"), std::nullopt);
    EXPECT_EQ(store_->KeyOf(scheme + "://bucket2/lake/b.parquet"), std::nullopt);
  }
  for (const char* other : {"gs://bucket/lake/b.parquet", "/bucket/lake/b.parquet", "file:///lake/b.parquet", ""}) {
    EXPECT_EQ(store_->KeyOf(other), std::nullopt) << other;
  }
}

TEST_F(StubbedS3, ALostReplyToAConditionalPutIsUnknownAndNotSentAgain) {
  Script({{.drop = true}});
  MILLRACE_ASSERT_KIND(ErrorKind::kUnknownOutcome, store_->PutIfAbsent("a", "x"));
  EXPECT_EQ(Asked().size(), 1u);
  Script({{.stall = true}});
  MILLRACE_ASSERT_KIND(ErrorKind::kUnknownOutcome, store_->PutIfAbsent("a", "x"));
  EXPECT_EQ(Asked().size(), 1u);
}

TEST_F(StubbedS3, WhatMayBeRepeatedIsRepeatedAndThenGivenUp) {
  Script({{.drop = true}, ErrorReply(500, "InternalError"), ErrorReply(503, "SlowDown")});
  MILLRACE_ASSERT_OK(store_->Put("a", "x"));
  EXPECT_EQ(Asked().size(), 4u);
  EXPECT_EQ(store_->usage().retries, 3);
  EXPECT_EQ(store_->usage().Of(RequestKind::kPut), 4 + 2);  // And the probe's.

  Open([](const StubRequest&) { return ErrorReply(503, "SlowDown"); });
  const auto read = store_->Read("a");
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, read);
  EXPECT_THAT(read.status().message(), HasSubstr("after 4 attempts"));
  EXPECT_THAT(read.status().message(), HasSubstr("SlowDown"));
}

TEST_F(StubbedS3, AServerThatIsAwayIsTransientForEverything) {
  Script({});
  server_.reset();
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, store_->PutIfAbsent("a", "x"));
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, store_->Read("a"));
}

TEST_F(StubbedS3, AMissingBucketIsNotAMissingKey) {
  Open([](const StubRequest&) { return ErrorReply(404, "NoSuchBucket"); });
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store_->Read("a"));
  Open([](const StubRequest&) { return StubReply{404, "<html>Not here</html>"}; });
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store_->Read("a"));
  Open([](const StubRequest&) { return ErrorReply(404, "NoSuchKey"); });
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, store_->Read("a"));
}

TEST_F(StubbedS3, ABucketOfAnotherRegionIsNamed) {
  Open([](const StubRequest&) {
    return ErrorReply(400, "AuthorizationHeaderMalformed", "<Region>eu-central-1</Region>");
  });
  const auto read = store_->Read("a");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, read);
  EXPECT_THAT(read.status().message(), HasSubstr("is in region eu-central-1, not us-east-1"));
}

TEST_F(StubbedS3, ProbeRefusesAStoreThatCannotPutIfAbsent) {
  server_ = std::make_unique<StubHttpServer>([](const StubRequest&) { return StubReply{200}; });
  const auto ignores = OpenAt("lake", IfMissing::kCreate);
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, ignores);
  EXPECT_THAT(ignores.status().message(), HasSubstr("ignores If-None-Match"));
  EXPECT_EQ(server_->requests().back().method, "DELETE") << "the probe is taken away";

  server_ = std::make_unique<StubHttpServer>([](const StubRequest& request) {
    return request.headers.contains("if-none-match") ? ErrorReply(501, "NotImplemented") : StubReply{200};
  });
  const auto refuses = OpenAt("lake", IfMissing::kCreate);
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, refuses);
  EXPECT_THAT(refuses.status().message(), HasSubstr("only if it is absent (If-None-Match)"));

  server_ = std::make_unique<StubHttpServer>([](const StubRequest&) { return ErrorReply(403, "AccessDenied"); });
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, OpenAt("lake", IfMissing::kCreate));
}

TEST_F(StubbedS3, ProbesOfKilledProcessesAreDeletedAfterADay) {
  const auto object = [](const std::string& key, const std::string& modified) {
    return "<Contents><Key>lake/.millrace-probe-" + key + "</Key><LastModified>" + modified +
           "</LastModified><Size>1</Size></Contents>";
  };
  std::vector<std::string> deletions;
  server_ = std::make_unique<StubHttpServer>([&, probes = 0](const StubRequest& request) mutable {
    if (request.method == "PUT") return StubReply{probes++ == 0 ? 200 : 412};
    if (request.method == "GET") {
      return StubReply{200, "<ListBucketResult>" + object("old", "2020-01-01T00:00:00.000Z") +
                                object("young", "2099-01-01T00:00:00.000Z") + "</ListBucketResult>"};
    }
    if (request.method == "POST") {
      deletions.push_back(request.body);
      return StubReply{200, "<DeleteResult></DeleteResult>"};
    }
    return StubReply{204};
  });
  MILLRACE_ASSERT_OK(OpenAt("lake", IfMissing::kCreate));
  ASSERT_EQ(deletions.size(), 1u);
  EXPECT_THAT(deletions[0], HasSubstr(".millrace-probe-old<"));
  EXPECT_THAT(deletions[0], Not(HasSubstr("young")));
}

TEST_F(StubbedS3, ProbeSurvivesALostReply) {
  int puts = 0;
  server_ = std::make_unique<StubHttpServer>([&puts](const StubRequest& request) -> StubReply {
    if (request.method != "PUT") return {204};
    return ++puts % 2 == 1 ? StubReply{.drop = true} : StubReply{puts == 2 ? 200 : 412};
  });
  MILLRACE_ASSERT_OK(OpenAt("lake", IfMissing::kCreate));
}

TEST_F(StubbedS3, ACompletedUploadWhoseReplyWasLostIsRecognised) {
  const std::string large(static_cast<std::size_t>(kPartBytes), 'x');
  Open([](const StubRequest& request) -> StubReply {
    if (request.target.ends_with("?uploads=")) {
      return {200, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"};
    }
    if (request.method == "PUT") return {200, "", {{"ETag", "\"e\""}}};
    if (request.method == "POST") return ErrorReply(404, "NoSuchUpload");
    return {200, std::string(static_cast<std::size_t>(kPartBytes) + 1, ' ')};  // HEAD: its length.
  });
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto upload, store_->StartUpload("d/f"));
  MILLRACE_ASSERT_OK(upload->Write(large.data(), static_cast<std::int64_t>(large.size())));
  EXPECT_EQ(upload->buffered_bytes(), static_cast<std::int64_t>(large.size()));
  MILLRACE_ASSERT_OK(upload->Write("x", 1));
  MILLRACE_ASSERT_OK(upload->Finish());
  EXPECT_EQ(upload->buffered_bytes(), 0);
}

TEST_F(StubbedS3, ACompletionThatFailsInsideOf200IsAnError) {
  const std::string large(static_cast<std::size_t>(kPartBytes) + 1, 'x');
  Open([](const StubRequest& request) -> StubReply {
    if (request.target.ends_with("?uploads=")) return {200, "<R><UploadId>u</UploadId></R>"};
    if (request.method == "PUT") return {200, "", {{"ETag", "\"e\""}}};
    if (request.method == "POST") return ErrorReply(200, "InternalError");
    return {404};
  });
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto upload, store_->StartUpload("d/f"));
  MILLRACE_ASSERT_OK(upload->Write(large.data(), static_cast<std::int64_t>(large.size())));
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, upload->Finish());
}

TEST_F(StubbedS3, InterruptEndsACallThatHangs) {
  Open([](const StubRequest&) { return StubReply{.stall = true}; });
  std::thread interrupter([this] {
    while (Asked().empty()) std::this_thread::yield();
    store_->Interrupt();
  });
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, store_->Read("a"));
  interrupter.join();
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, store_->PutIfAbsent("b", "x"));
}

TEST_F(StubbedS3, ExpiredCredentialsAreAskedForOnceMoreAndNamedWithoutTheirSecret) {
  Script({ErrorReply(403, "ExpiredToken")});
  MILLRACE_ASSERT_OK(store_->Put("a", "x"));
  Open([](const StubRequest&) { return ErrorReply(403, "InvalidAccessKeyId"); });
  const auto read = store_->Read("a");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, read);
  EXPECT_THAT(read.status().message(), HasSubstr("InvalidAccessKeyId"));
  EXPECT_THAT(read.status().message(), Not(HasSubstr("very-secret")));
  EXPECT_EQ(Asked().size(), 2u);
}

TEST_F(StubbedS3, AListingThatDoesNotSayHowToGoOnIsAnError) {
  Script({{200, "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"}});
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, store_->List("t/"));
  Script({{200, "<ListBucketResult><Contents><Key>elsewhere/a</Key><Size>1</Size></Contents></ListBucketResult>"}});
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, store_->List("t/"));
  Script({{200, "<html>"}});
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, store_->List("t/"));
}

// The requests and signatures of "Signature Calculations for the Authorization Header" in Amazon's S3 documentation.
TEST(SigV4, SignsTheExamplesOfTheDocumentation) {
  const Credentials example{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "", {}};
  const UnixMicros time = 1369353600LL * 1'000'000;  // 2013-05-24
  ASSERT_EQ(AmzDate(time), "20130524T000000Z");
  const std::string nothing = Sha256Hex("");
  const auto signature = [&](std::string_view method, std::string_view path, NameValues query, NameValues headers,
                             const std::string& payload) {
    headers.emplace_back("host", "examplebucket.s3.amazonaws.com");
    headers.emplace_back("x-amz-content-sha256", payload);
    headers.emplace_back("x-amz-date", "20130524T000000Z");
    const std::string value = Authorization({.method = method,
                                             .path = path,
                                             .query = std::move(query),
                                             .headers = std::move(headers),
                                             .payload_sha256 = payload,
                                             .region = "us-east-1",
                                             .time = time},
                                            example);
    return value.substr(value.find("Signature=") + 10);
  };
  EXPECT_EQ(signature("GET", "/test.txt", {}, {{"range", "bytes=0-9"}}, nothing),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
  EXPECT_EQ(signature("PUT", "/" + UriEncode("test$file.text", true), {},
                      {{"date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
                      Sha256Hex("Welcome to Amazon S3.")),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
  EXPECT_EQ(signature("GET", "/", {{"lifecycle", ""}}, {}, nothing),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
  EXPECT_EQ(signature("GET", "/", {{"prefix", "J"}, {"max-keys", "2"}}, {}, nothing),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

TEST(SigV4, EncodesAsTheSignatureWantsIt) {
  EXPECT_EQ(UriEncode("a/b c+d=é~", true), "a/b%20c%2Bd%3D%C3%A9~");
  EXPECT_EQ(UriEncode("a/b", false), "a%2Fb");
  EXPECT_EQ(CanonicalQuery({{"b", "x y"}, {"a", ""}, {"a", "&"}}), "a=&a=%26&b=x%20y");
  EXPECT_EQ(Md5Base64(""), "1B2M2Y8AsgTpgAmY7PhCfg==");
}

TEST(ResolveTarget, JoinsSettingsEnvironmentAndDefaults) {
  struct Case {
    const char* what;
    std::string bucket;
    S3Settings settings;
    std::map<std::string, std::string> environment;
    std::string want;  // scheme://host/path region
  };
  const Case cases[] = {
      {"AWS", "lake", {}, {}, "https://lake.s3.us-east-1.amazonaws.com us-east-1"},
      {"a region", "lake", {}, {{"AWS_REGION", "eu-west-1"}}, "https://lake.s3.eu-west-1.amazonaws.com eu-west-1"},
      {"China", "lake", {.region = "cn-north-1"}, {}, "https://lake.s3.cn-north-1.amazonaws.com.cn cn-north-1"},
      {"a dot would break the certificate's name",
       "my.lake",
       {},
       {},
       "https://s3.us-east-1.amazonaws.com/my.lake us-east-1"},
      {"path style is asked for",
       "lake",
       {.path_style = true},
       {},
       "https://s3.us-east-1.amazonaws.com/lake us-east-1"},
      {"an endpoint", "lake", {.endpoint = "http://minio:9000/"}, {}, "http://minio:9000/lake us-east-1"},
      {"the environment's",
       "lake",
       {},
       {{"AWS_ENDPOINT_URL", "http://a"}, {"AWS_ENDPOINT_URL_S3", "http://b"}},
       "http://b/lake us-east-1"},
      {"as host name",
       "lake",
       {.endpoint = "https://r2.example:443", .path_style = false},
       {},
       "https://lake.r2.example us-east-1"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    const auto target = ResolveTarget(c.bucket, c.settings, EnvironmentOf(c.environment));
    MILLRACE_ASSERT_OK(target);
    EXPECT_EQ(fmt::format("{}://{}{} {}", target->scheme, target->host, target->base_path, target->region), c.want);
  }
  for (const char* bucket : {"", "ab", "Lake", "a_b", "a/b"}) {
    SCOPED_TRACE(bucket);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, ResolveTarget(bucket, {}, EnvironmentOf({})));
  }
  for (const char* endpoint : {"minio:9000", "ftp://minio", "http://", "http://minio/path", "http://user@minio"}) {
    SCOPED_TRACE(endpoint);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, ResolveTarget("lake", {.endpoint = endpoint}, EnvironmentOf({})));
  }
}

class CredentialsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("credentials-" + RandomUuid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string File(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return (folder_ / name).string();
  }
  static Result<Credentials> Get(std::map<std::string, std::string> environment) {
    return CredentialsChain(EnvironmentOf(std::move(environment)), "eu-west-1", "").Get();
  }

  std::filesystem::path folder_;
};

TEST_F(CredentialsTest, TheEnvironmentComesFirst) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto found, Get({{"AWS_ACCESS_KEY_ID", "id"},
                                                       {"AWS_SECRET_ACCESS_KEY", "secret"},
                                                       {"AWS_SESSION_TOKEN", "token"},
                                                       {"AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent"},
                                                       {"AWS_ROLE_ARN", "role"}}));
  EXPECT_EQ(found.access_key_id, "id");
  EXPECT_EQ(found.session_token, "token");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, Get({{"AWS_ACCESS_KEY_ID", "id"}}));
}

TEST_F(CredentialsTest, ProfilesOfTheSharedFiles) {
  const std::string credentials =
      File("credentials",
           "# a comment\n[default]\naws_access_key_id = d-id\naws_secret_access_key=d-secret\n\n"
           "[ other ]\naws_access_key_id=o-id\naws_secret_access_key=o-secret\n"
           "aws_session_token = o=token\n[half]\naws_access_key_id=h-id\n");
  const std::string config = File("config",
                                  "[default]\nregion = eu-north-1\ns3 =\n  region = wrong\n"
                                  "[profile only-config]\naws_access_key_id=c-id\naws_secret_access_key=c-secret\n"
                                  "[profile sso]\nsso_session=corp\n[profile chained]\nsource_profile=other\n");
  const auto with_profile = [&](const char* profile) {
    std::map<std::string, std::string> variables = {{"AWS_SHARED_CREDENTIALS_FILE", credentials},
                                                    {"AWS_CONFIG_FILE", config}};
    if (*profile != '\0') variables["AWS_PROFILE"] = profile;
    return variables;
  };
  EXPECT_EQ(Get(with_profile(""))->access_key_id, "d-id");
  EXPECT_EQ(Get(with_profile("other"))->session_token, "o=token");
  EXPECT_EQ(Get(with_profile("only-config"))->secret_access_key, "c-secret");
  EXPECT_EQ(ProfileValue(EnvironmentOf(with_profile("")), "region"), "eu-north-1");
  for (const auto& [profile, message] :
       {std::pair{"half", "has no aws_secret_access_key"}, std::pair{"sso", "has no sso_start_url"},
        std::pair{"chained", "source_profile, which is not supported"},
        std::pair{"none", "the AWS profile 'none' has no aws_access_key_id"}}) {
    SCOPED_TRACE(profile);
    const auto found = Get(with_profile(profile));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, found);
    EXPECT_THAT(found.status().message(), HasSubstr(message));
  }
}

TEST_F(CredentialsTest, AProgramOfTheProfileIsAsked) {
  const auto get = [&](const std::string& command) {
    const std::string config = File("config", "[default]\ncredential_process = " + command + "\n");
    return Get({{"AWS_SHARED_CREDENTIALS_FILE", "/nonexistent"}, {"AWS_CONFIG_FILE", config}});
  };
  const std::string script = File(
      "helper.sh",
      R"(echo '{"Version": 1, "AccessKeyId": "'"$1"'", "SecretAccessKey": "S", "SessionToken": "T", "Expiration": "2099-01-01T00:00:00Z"}')");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto found, get("sh " + script + " 'an id'"));
  EXPECT_EQ(found.access_key_id, "an id");
  EXPECT_EQ(found.secret_access_key, "S");
  EXPECT_EQ(found.session_token, "T");
  EXPECT_TRUE(found.expires.has_value());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto lasting,
                                get(R"(echo '{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S"}')"));
  EXPECT_FALSE(lasting.expires.has_value());
  struct Case {
    const char* command;
    const char* want;
  };
  for (const auto& c : {Case{"echo TOPSECRET; exit 3", "status 3"}, Case{"kill -9 $$", "signal 9"},
                        Case{"echo TOPSECRET", "did not answer with JSON"},
                        Case{R"(echo '{"Version": 1, "SecretAccessKey": "TOPSECRET"}')", "without AccessKeyId"},
                        Case{"/nonexistent/helper", "status 127"}, Case{"yes TOPSECRET", "more than credentials"}}) {
    SCOPED_TRACE(c.command);
    const auto refused = get(c.command);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, refused);
    EXPECT_THAT(refused.status().message(), HasSubstr(c.want));
    EXPECT_THAT(refused.status().message(), ::testing::Not(HasSubstr("TOPSECRET")));
  }
}

TEST(CredentialProcess, OneThatDoesNotEndIsEnded) {
  const auto never = [] { return false; };
  // Its child holds the pipe, too, and must go with it.
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient,
                       RunCredentialProcess("sleep 1000 & sleep 1000", std::chrono::milliseconds(50), never));
  int asked = 0;
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled,
                       RunCredentialProcess("sleep 1000", std::chrono::hours(1), [&] { return ++asked > 1; }));
}

class SsoTest : public CredentialsTest {
 protected:
  void SetUp() override {
    CredentialsTest::SetUp();
    std::filesystem::create_directories(folder_ / ".aws/sso/cache");
    File(".aws/config",
         "[profile work]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Read Only\n"
         "[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://corp.awsapps.com/start\n"
         "[profile old]\nsso_start_url = https://corp.awsapps.com/start\nsso_region = eu-west-1\n"
         "sso_account_id = 123456789012\nsso_role_name = Read Only\n");
  }
  // By `aws sso login`: named after the session, or, without one, the start URL.
  void Login(const std::string& name, const std::string& expires) {
    File(".aws/sso/cache/" + name + ".json",
         R"({"startUrl": "https://corp.awsapps.com/start", "accessToken": "TOPSECRET", "expiresAt": ")" + expires +
             R"("})");
  }
  Result<Credentials> GetAs(const std::string& profile) {
    return Get({{"HOME", folder_.string()}, {"AWS_PROFILE", profile}, {"AWS_ENDPOINT_URL_SSO", portal_.url()}});
  }

  static constexpr const char* kSession = "ee0bfd2552fbd840c02cc48b6e823320543c450f";
  static constexpr const char* kStartUrl = "a51746d4aa793ae07b25e90c3a5db96fc7832bd7";
  StubHttpServer portal_{[](const StubRequest& request) -> StubReply {
    if (request.headers.at("x-amz-sso_bearer_token") != "TOPSECRET") return {401};
    if (request.target != "/federation/credentials?account_id=123456789012&role_name=Read%20Only") return {404};
    return {200, R"({"roleCredentials": {"accessKeyId": "A", "secretAccessKey": "S", "sessionToken": "T",)"
                 R"( "expiration": 4070908800000}})"};
  }};
};

TEST_F(SsoTest, ATokenThatALoginHasLeftBuysCredentials) {
  Login(kSession, "2099-01-01T00:00:00Z");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto found, GetAs("work"));
  EXPECT_EQ(found.access_key_id, "A");
  EXPECT_EQ(found.session_token, "T");
  EXPECT_EQ(found.expires, 4'070'908'800'000'000);
  Login(kStartUrl, "2099-01-01T00:00:00UTC");
  MILLRACE_ASSERT_OK(GetAs("old"));
}

TEST_F(SsoTest, WithoutAGoodTokenTheMessageSaysHowToGetOne) {
  const auto refused = [&] {
    const auto found = GetAs("work");
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, found);
    EXPECT_THAT(found.status().message(), HasSubstr("aws sso login --profile work"));
    EXPECT_THAT(found.status().message(), ::testing::Not(HasSubstr("TOPSECRET")));
  };
  refused();
  Login(kSession, "2020-01-01T00:00:00Z");
  refused();
  File(std::string(".aws/sso/cache/") + kSession + ".json", "{}");
  refused();
  File(std::string(".aws/sso/cache/") + kSession + ".json",
       R"({"accessToken": "revoked", "expiresAt": "2099-01-01T00:00:00Z"})");
  refused();
}

TEST_F(CredentialsTest, WebIdentityAsksSts) {
  StubHttpServer sts([](const StubRequest&) -> StubReply {
    return {
        200,
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
        "<AssumeRoleWithWebIdentityResult><Credentials><SessionToken>st</SessionToken><SecretAccessKey>sk"
        "</SecretAccessKey><Expiration>2099-01-01T00:00:00Z</Expiration><AccessKeyId>ASIA</AccessKeyId></Credentials>"
        "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"};
  });
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto found, Get({{"AWS_WEB_IDENTITY_TOKEN_FILE", File("token", "jwt+1\n")},
                                                       {"AWS_ROLE_ARN", "arn:aws:iam::1:role/r"},
                                                       {"AWS_ENDPOINT_URL_STS", sts.url()}}));
  EXPECT_EQ(found.access_key_id, "ASIA");
  EXPECT_EQ(found.secret_access_key, "sk");
  EXPECT_EQ(found.session_token, "st");
  EXPECT_EQ(found.expires, 4070908800LL * 1'000'000);
  ASSERT_EQ(sts.requests().size(), 1u);
  EXPECT_THAT(sts.requests()[0].body, HasSubstr("WebIdentityToken=jwt%2B1"));
  EXPECT_THAT(sts.requests()[0].body, HasSubstr("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr"));
  EXPECT_THAT(sts.requests()[0].target, Not(HasSubstr("jwt"))) << "URLs end up in logs";
}

TEST_F(CredentialsTest, ContainersAndInstancesHaveTheirServices) {
  const std::string json = R"({"Code":"Success","AccessKeyId":"A","SecretAccessKey":"S","Token":"T",)"
                           R"("Expiration":"2099-01-01T00:00:00Z"})";
  StubHttpServer container([&](const StubRequest& request) -> StubReply {
    return request.headers.at("authorization") == "bearer" ? StubReply{200, json} : StubReply{403};
  });
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto from_container,
                                Get({{"AWS_CONTAINER_CREDENTIALS_FULL_URI", container.url() + "/v1/creds"},
                                     {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", File("container-token", "bearer\n")}}));
  EXPECT_EQ(from_container.session_token, "T");
  const auto refused =
      Get({{"AWS_CONTAINER_CREDENTIALS_FULL_URI", container.url()}, {"AWS_CONTAINER_AUTHORIZATION_TOKEN", "x"}});
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, refused);

  StubHttpServer instance([&](const StubRequest& request) -> StubReply {
    if (request.method == "PUT") return {200, "session"};
    if (request.headers.at("x-aws-ec2-metadata-token") != "session") return {401};
    return request.target.ends_with("/security-credentials/") ? StubReply{200, "my-role\n"}
           : request.target.ends_with("/my-role")             ? StubReply{200, json}
                                                              : StubReply{404};
  });
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto from_instance, Get({{"AWS_EC2_METADATA_SERVICE_ENDPOINT", instance.url()},
                                                               {"AWS_EC2_METADATA_DISABLED", "false"}}));
  EXPECT_EQ(from_instance.access_key_id, "A");
}

TEST_F(CredentialsTest, WithoutAnyTheMessageSaysWhereTheyWereLookedFor) {
  const auto found = Get({});
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, found);
  for (const char* place :
       {"AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "profile 'default'", "instance's metadata"}) {
    EXPECT_THAT(found.status().message(), HasSubstr(place));
  }
}

TEST_F(CredentialsTest, AreKeptUntilShortlyBeforeTheyExpire) {
  class SetClock final : public Clock {
   public:
    UnixMicros Now() const override { return now; }
    std::chrono::steady_clock::time_point SteadyNow() const override { return {}; }
    UnixMicros now = 0;
  } clock;
  int asked = 0;
  bool down = false;
  StubHttpServer container([&](const StubRequest&) -> StubReply {
    if (down) return {403};
    ++asked;
    return {200, R"({"AccessKeyId":"A","SecretAccessKey":"S","Token":"T","Expiration":"1970-01-01T01:00:00Z"})"};
  });
  CredentialsChain chain(EnvironmentOf({{"AWS_CONTAINER_CREDENTIALS_FULL_URI", container.url()}}), "eu-west-1", "",
                         clock);
  constexpr UnixMicros kMinute = 60'000'000;
  for (const UnixMicros now : {0 * kMinute, 54 * kMinute}) {
    clock.now = now;
    MILLRACE_ASSERT_OK(chain.Get());
    EXPECT_EQ(asked, 1);
  }
  clock.now = 56 * kMinute;
  MILLRACE_ASSERT_OK(chain.Get());
  EXPECT_EQ(asked, 2);
  down = true;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto still_good, chain.Get());
  clock.now = 61 * kMinute;
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, chain.Get());
  down = false;
  MILLRACE_ASSERT_OK(chain.Get());
  const int before = asked;
  chain.Forget(still_good);
  MILLRACE_ASSERT_OK(chain.Get());
  EXPECT_EQ(asked, before + 1);
}

TEST(Xml, ReadsWhatStoresAnswer) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto root,
      ParseXml("\xEF\xBB\xBF<?xml version=\"1.0\" encoding='UTF-8'?>\n<!-- c --><s:List xmlns:s=\"x>y\">\n"
               "<Key>a&amp;b&#233;&#x1F600;</Key><Empty/><Empty  a = 'b' /><![CDATA[<raw>]]></s:List>\n"));
  EXPECT_EQ(root.name, "List");
  EXPECT_EQ(root.TextOf("Key"), "a&bé😀");
  EXPECT_EQ(root.children.size(), 3u);
  EXPECT_THAT(root.text, HasSubstr("<raw>"));
  EXPECT_EQ(root.TextOf("None"), "");
}

TEST(Xml, RefusesWhatIsBroken) {
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "<a>";
  for (const std::string& text :
       {std::string(), std::string("text"), std::string("<a>"), std::string("<a></b>"), std::string("<a/><b/>"),
        std::string("<a>&x;</a>"), std::string("<a>&#x110000;</a>"), std::string("<a>&amp</a>"),
        std::string("<a b></a>"), std::string("<a b=c></a>"), std::string("<!DOCTYPE a><a/>"),
        std::string("<a><!-- </a>"), std::string("<"), std::string("<>"), deep}) {
    SCOPED_TRACE(text.substr(0, 40));
    MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, ParseXml(text));
  }
}

}  // namespace
}  // namespace millrace::objectstore::s3
