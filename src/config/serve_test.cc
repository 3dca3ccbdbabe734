// serve: in the configuration: who may ask, over what, from where; and that no finding shows a token.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/uuid.h"
#include "config/load.h"
#include "http/test_certificates.h"
#include "serve/test_jwt.h"

namespace millrace::config {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class ConfigServe : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) / ("serve_" + RandomUuid());
    std::filesystem::create_directories(folder_);
    const http::TestCertificate server("server");
    const http::TestCertificate other("other");
    Write("tls.crt", server.Pem());
    Write("tls.key", server.KeyPem());
    Write("other.key", other.KeyPem());
    Write("ca.crt", other.Pem());
    Write("jwks.json", serve::TestSigner("one").Jwks());
    Write("bad.json", "{}");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // `serve` begins on line 7; DIR is a folder with the files above.
  LoadedConfig Load(std::string serve, const LoadOptions& options = {}) const {
    for (std::size_t at; (at = serve.find("DIR")) != std::string::npos;) serve.replace(at, 3, folder_.string());
    return LoadConfigText(R"yaml(version: 1
pipeline: clicks
source: {embedded: {path: ./log}, topics: [clicks]}
decode: {columns: {ts: timestamp}}
tables: [{name: clicks}]
serve:
)yaml" + serve,
                          "p.yaml", options);
  }
  std::vector<std::string> Findings(const std::string& serve, const LoadOptions& options = {}) const {
    std::vector<std::string> messages;
    for (const auto& finding : Load(serve, options).findings) messages.push_back(ToString(finding));
    return messages;
  }

 private:
  void Write(const char* name, const std::string& text) const { std::ofstream(folder_ / name) << text; }

  std::filesystem::path folder_;
};

TEST_F(ConfigServe, Everything) {
  const auto loaded = Load(R"(  listen: 0.0.0.0:8443
  health: {listen: "127.0.0.1:9090"}
  tls: {certificate_file: DIR/tls.crt, key_file: DIR/tls.key, client_ca_file: DIR/ca.crt}
  auth:
    bearer: first
    tokens:
      - {token: second, scopes: [read, sql]}
      - {token: third, scopes: write:clicks}
    jwt: {jwks: DIR/jwks.json, issuer: "https://idp/", audience: [lake, sea], scopes_claim: scp, ca_file: DIR/ca.crt}
  cors: {origins: ["https://bi.example", "http://[::1]:3000"]}
  limits: {rate: 600/m}
)");
  for (const auto& finding : loaded.findings) ADD_FAILURE() << ToString(finding);
  const ServeConfig& serve = *loaded.config.serve;
  EXPECT_EQ(serve.listen.port, 8443);
  EXPECT_EQ(serve.health->address, "127.0.0.1");
  EXPECT_EQ(serve.health->port, 9090);
  EXPECT_THAT(serve.tls->key_file, HasSubstr("tls.key"));
  EXPECT_THAT(serve.tls->client_ca_file, HasSubstr("ca.crt"));
  ASSERT_EQ(serve.auth->tokens.size(), 3u);
  EXPECT_THAT(serve.auth->tokens[0].scopes, ElementsAre("read", "sql")) << "of the one bearer token";
  EXPECT_EQ(serve.auth->tokens[2].token, "third");
  EXPECT_THAT(serve.auth->tokens[2].scopes, ElementsAre("write:clicks"));
  EXPECT_EQ(serve.auth->jwt->rules.issuer, "https://idp/");
  EXPECT_THAT(serve.auth->jwt->rules.audiences, ElementsAre("lake", "sea"));
  EXPECT_EQ(serve.auth->jwt->rules.scopes_claim, "scp");
  EXPECT_THAT(serve.auth->jwt->keys.jwks, HasSubstr("jwks.json"));
  EXPECT_THAT(serve.cors_origins, ElementsAre("https://bi.example", "http://[::1]:3000"));
  EXPECT_EQ(serve.rate->count, 600);
}

TEST_F(ConfigServe, WorkersMayStandBehindOneName) {
  const auto loaded = Load("  workers: {dns: workers.default.svc, port: 81}\n");
  ASSERT_THAT(loaded.findings, IsEmpty());
  const auto& serve = *loaded.config.serve;
  ASSERT_TRUE(serve.workers_by_name);
  EXPECT_EQ(serve.workers_by_name->dns, "workers.default.svc");
  EXPECT_EQ(serve.workers_by_name->port, 81);
  EXPECT_THAT(serve.workers, IsEmpty());
  EXPECT_THAT(Findings("  workers: {dns: w}\n  tls: {certificate_file: DIR/tls.crt, key_file: DIR/tls.key}\n"),
              ElementsAre(HasSubstr("serve.workers.dns: what a name stands for is asked over plain HTTP")));
}

TEST_F(ConfigServe, WhatIsNotSaidIsOff) {
  const auto loaded = Load("  listen: 127.0.0.1:0\n");
  const ServeConfig& serve = *loaded.config.serve;
  EXPECT_FALSE(serve.tls || serve.auth || serve.health || serve.rate);
  EXPECT_THAT(serve.cors_origins, IsEmpty());
  const auto jwt = Load("  auth: {jwt: {jwks: \"https://idp/jwks\"}}\n").config.serve->auth->jwt;
  EXPECT_EQ(jwt->rules.scopes_claim, "scope");
  EXPECT_THAT(jwt->rules.audiences, IsEmpty());
}

TEST_F(ConfigServe, EachMistakeHasItsPlace) {
  struct Case {
    const char* serve;
    const char* want;
  };
  const Case cases[] = {
      {"  health: {listen: \"9090\"}\n", "p.yaml:7:20: serve.health.listen must be an address and a port"},
      {"  health: {}\n", "p.yaml:7:11: serve.health: the key 'listen' is missing"},
      {"  health: {listen: \"127.0.0.1:8080\"}\n", "serve.health.listen is serve.listen; give it another port"},
      {"  postgres: \"5433\"\n", "p.yaml:7:13: serve.postgres must be an address and a port such as 127.0.0.1:5433"},
      {"  postgres: \"127.0.0.1:8080\"\n", "p.yaml:7:13: serve.postgres is serve.listen; give it another port"},
      {"  postgres: \"0.0.0.0:8080\"\n", "serve.postgres is serve.listen; give it another port"},
      {"  listen: \"[::]:80\"\n  health: {listen: \"127.0.0.1:80\"}\n", "serve.health.listen is serve.listen"},
      {"  listen: \"[::1]:80\"\n  health: {listen: \"[0:0::1]:80\"}\n", "serve.health.listen is serve.listen"},
      {"  health: {listen: \"127.0.0.1:5433\"}\n  postgres: \"127.0.0.1:5433\"\n",
       "serve.postgres is serve.health.listen; give it another port"},
      {"  postgres: \"127.0.0.1:5433\"\n  auth: {tokens: [{token: a, scopes: [read]}]}\n",
       "p.yaml:7:13: serve.postgres lets nobody in"},
      {"  tls: {certificate_file: DIR/tls.crt}\n", "p.yaml:7:8: serve.tls: the key 'key_file' is missing"},
      {"  tls: {certificate_file: DIR/no.crt, key_file: DIR/tls.key}\n",
       "p.yaml:7:27: serve.tls.certificate_file: cannot read '"},
      {"  tls:\n    certificate_file: DIR/tls.crt\n    key_file: DIR/other.key\n",
       "p.yaml:9:15: serve.tls.key_file: '"},
      {"  tls:\n    certificate_file: DIR/tls.crt\n    key_file: DIR/tls.key\n    client_ca_file: DIR/tls.key\n",
       "p.yaml:10:21: serve.tls.client_ca_file: '"},
      {"  tls: {certificate_file: DIR/tls.crt, key_file: DIR/tls.key, client_ca_fil: x}\n",
       "unknown key 'client_ca_fil' in serve.tls; did you mean 'client_ca_file'?"},
      {"  auth: {}\n", "p.yaml:7:9: serve.auth lets nobody in"},
      {"  auth: {tokens: []}\n", "p.yaml:7:9: serve.auth lets nobody in"},
      {"  auth: {bearer: \"\"}\n", "p.yaml:7:18: serve.auth.bearer is empty"},
      {"  auth: {tokens: [{token: \"\", scopes: [read]}]}\n", "p.yaml:7:27: serve.auth.tokens[0].token is empty"},
      {"  auth: {tokens: [{scopes: [read]}]}\n", "serve.auth.tokens[0]: the key 'token' is missing"},
      {"  auth: {tokens: [{token: s3cret}]}\n", "serve.auth.tokens[0]: the key 'scopes' is missing"},
      {"  auth: {tokens: [{token: s3cret, scopes: []}]}\n", "p.yaml:7:43: serve.auth.tokens[0].scopes is empty"},
      {"  auth: {tokens: [{token: \"s3 cret\", scopes: [read]}]}\n",
       "p.yaml:7:27: serve.auth.tokens[0].token holds a blank"},
      {"  auth: {tokens: [{token: \"s3crét\", scopes: [read]}]}\n", "a token is visible ASCII"},
      {"  auth:\n    tokens:\n      - {token: s3cret, scopes: [read]}\n      - {token: s3cret, scopes: [sql]}\n",
       "p.yaml:10:17: serve.auth.tokens[1] is the same token as that of line 9"},
      {"  auth:\n    bearer: s3cret\n    tokens: [{token: s3cret, scopes: [sql]}]\n",
       "p.yaml:9:22: serve.auth.tokens[0] is the same token as that of line 8"},
      {"  auth: {tokens: [{token: s3cret, scopes: [read, reed]}]}\n",
       "p.yaml:7:50: serve.auth.tokens[0].scopes: 'reed' is not a scope; there are read, sql, admin and write:TOPIC; "
       "did you mean 'read'?"},
      {"  auth: {tokens: [{token: s3cret, scopes: [\"write:\"]}]}\n", "'write:' does not name a topic"},
      {"  auth: {tokens: [{tokn: s3cret, token: x, scopes: [read]}]}\n", "did you mean 'token'?"},
      {"  auth: {tokens: [s3cret]}\n", "serve.auth.tokens[0] must be a mapping"},
      {"  auth: {token: s3cret, bearer: x}\n", "unknown key 'token' in serve.auth; did you mean 'tokens'?"},
      {"  auth: {jwt: {issuer: x}}\n", "serve.auth.jwt: the key 'jwks' is missing"},
      {"  auth: {jwt: {jwks: DIR/bad.json}}\n", "cannot be used: it is not a key set"},
      {"  auth: {jwt: {jwks: DIR/none.json}}\n", "p.yaml:7:22: serve.auth.jwt.jwks: cannot read '"},
      {"  auth: {jwt: {jwks: \"http://idp.example/jwks\"}}\n", "use https://"},
      {"  auth: {jwt: {jwks: \"https://u:s3cret@idp/jwks\"}}\n", "a URL with a user or a password"},
      {"  auth: {jwt: {jwks: \"https://idp/jwks\", ca_file: DIR/tls.key}}\n", "serve.auth.jwt.ca_file: '"},
      {"  cors: {}\n", "serve.cors: the key 'origins' is missing"},
      {"  cors: {origins: [\"https://bi.example/\"]}\n",
       "p.yaml:7:20: serve.cors.origins: 'https://bi.example/' is not"},
      {"  cors: {origins: [bi.example]}\n", "is not an origin as browsers send it"},
      {"  cors: {origins: [\"https://BI.example\"]}\n", "is not an origin"},
      {"  cors: {origins: [\"https://bi.example:443\"]}\n", "is not an origin"},
      {"  cors: {origins: [\"https://*.example\"]}\n", "is not an origin"},
      {"  cors: {origins: [\"null\"]}\n", "is not an origin"},
      {"  limits: {rate: 100}\n", "p.yaml:7:18: serve.limits.rate: '100' is not a rate such as 100/s"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.serve);
    EXPECT_THAT(Findings(c.serve),
                ElementsAre(AllOf(StartsWith("p.yaml:"), HasSubstr(c.want), Not(HasSubstr("s3cr")))));
  }
  std::string many = "  auth:\n    tokens:\n";
  for (int i = 0; i < 1001; ++i) many += fmt::format("      - {{token: t{}, scopes: [read]}}\n", i);
  EXPECT_THAT(Findings(many), ElementsAre(HasSubstr("has 1001 tokens; 1000 may be")));
  std::string origins = "  cors: {origins: [";
  for (int i = 0; i < 101; ++i) origins += fmt::format("\"https://h{}\",", i);
  EXPECT_THAT(Findings(origins + "]}\n"), ElementsAre(HasSubstr("has 101 origins; 100 may be")));
}

TEST_F(ConfigServe, WithoutAnEnvironmentFilesAndSecretsNeedNotBeThere) {
  const LoadOptions without{.environment = false, .overrides = {}};
  EXPECT_THAT(Findings(R"(  tls: {certificate_file: /nowhere/tls.crt, key_file: "${MILLRACE_TEST_UNSET}"}
  auth:
    tokens: [{token: "${file:/nowhere/a}", scopes: [read]}, {token: "${file:/nowhere/b}", scopes: [read]}]
    jwt: {jwks: /nowhere/jwks.json, ca_file: /nowhere/ca.crt}
)",
                       without),
              IsEmpty());
  EXPECT_THAT(Findings("  auth: {jwt: {jwks: \"http://idp/jwks\"}}\n", without),
              ElementsAre(HasSubstr("use https://")));
}

}  // namespace
}  // namespace millrace::config
