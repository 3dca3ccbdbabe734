// Who may do what: each route with each kind of credential. And what stands before the routes besides: rates,
// cross-origin requests, what the answers say about it, and that no secret is ever in one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/json.hpp>
#include <sstream>

#include "serve/api.h"
#include "serve/test_jwt.h"
#include "serve/test_tap.h"
#include "testing/manual_clock.h"
#include "testing/status_matchers.h"

namespace millrace::serve {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr UnixMicros kAskedAt = 1'795'341'600'000'000;
constexpr const char* kReader = "reader-s3cret";
constexpr const char* kAnalyst = "analyst-s3cret";
constexpr const char* kDevice = "device-s3cret";

class EmptyBackend : public Backend {
 public:
  Result<json::value> Tables() override { return json::object(); }
  Result<json::value> Table(const std::string&) override {
    if (fails) return Internal("it fails");
    return json::object();
  }
  Result<json::value> Aggregates() override { return json::object(); }
  Result<query::Answer> Query(const std::string&, const query::AggregateRequest&, const std::stop_token&) override {
    if (!answers) return InvalidInput("asked");  // That it comes here is all that most want.
    query::Answer answer;
    answer.rows = arrow::Table::MakeEmpty(arrow::schema({arrow::field("views", arrow::int64())})).ValueOrDie();
    answer.columns = {{"views", "BIGINT"}};
    return answer;
  }
  Result<sql::StatementShape> SqlShape(const std::string&, const std::stop_token&) override {
    return InvalidInput("asked");
  }
  Result<std::vector<query::SqlTableShape>> SqlTables(const std::stop_token&) override { return InvalidInput("asked"); }
  Result<query::Answer> Sql(const query::SqlRequest&, const std::stop_token&) override { return InvalidInput("asked"); }
  Result<query::Answer> Rows(const query::RowsRequest&, const std::stop_token&) override {
    return InvalidInput("asked");
  }
  Result<json::value> History(const std::string&, std::int64_t) override { return json::object(); }
  Result<json::value> Files(const std::string&, std::optional<delta::TableVersion>, const std::string&,
                            std::int64_t) override {
    return json::object();
  }
  Result<json::value> Pipeline() override { return json::object(); }
  Result<json::value> Lag() override { return json::object(); }
  Result<json::value> DeadLetters(const std::string&, std::int64_t, const std::stop_token&) override {
    return json::object();
  }
  Result<std::unique_ptr<TapSource>> Tap(const TapRequest&) override {
    if (!answers) return InvalidInput("asked");
    return std::make_unique<FakeTapSource>(tap_log);
  }
  Result<json::value> CostUsage() override { return json::object(); }
  std::string Metrics() override { return "metrics\n"; }
  bool Ready() override { return true; }
  Pulse Feel() override { return {}; }

  bool fails = false;
  bool answers = false;
  std::shared_ptr<FakeTapLog> tap_log = std::make_shared<FakeTapLog>();
};

class OneIssuer : public KeySource {
 public:
  std::shared_ptr<const JwkSet> Keys() override { return keys; }
  std::shared_ptr<const JwkSet> KeysAskedAnew() override { return keys; }
  const TestSigner signer{"one"};
  std::shared_ptr<const JwkSet> keys = std::make_shared<const JwkSet>(ParseJwkSet(signer.Jwks()).ValueOrDie());
};

std::string Header(const http::Response& response, const std::string& name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

class GuardedApi : public ::testing::Test {
 protected:
  GuardedApi() {
    options_.guard.access.emplace(
        std::vector<AccessToken>{
            {kReader, {"read"}}, {kAnalyst, {"read", "sql"}}, {kDevice, {"write:clicks", "admin", "sql"}}},
        JwtRules{.issuer = "https://idp"}, issuer_);
  }
  Api& api() {
    if (!api_) api_ = std::make_unique<Api>(backend_, metrics_, options_, clock_);
    return *api_;
  }
  http::Response Ask(const std::string& method, const std::string& target, const std::string& authorization = "") {
    http::Request request{method, target, "", authorization, ""};
    request.client_address = address_;
    request.origin = origin_;
    return api().Handle(request);
  }
  std::string Jwt(const std::string& claims) const { return issuer_->signer.Token(claims); }

  Metrics metrics_;
  EmptyBackend backend_;
  testing::ManualClock clock_{kAskedAt};
  std::shared_ptr<OneIssuer> issuer_ = std::make_shared<OneIssuer>();
  ApiOptions options_{.version = "1.2.3"};
  std::string address_ = "192.0.2.7";
  std::string origin_;
  std::unique_ptr<Api> api_;
};

// Every operation of the contract, and the scope that it says it wants; empty: it is open.
struct Operation {
  std::string method;
  std::string target;
  std::string scope;
};

std::vector<Operation> Operations(const std::string& open_api) {
  std::vector<Operation> operations;
  const auto document = json::parse(open_api);
  for (const auto& [path, item] : document.at("paths").as_object()) {
    for (const auto& [method, operation] : item.as_object()) {
      Operation one{method == "get" ? "GET" : "POST", std::string(path), ""};
      for (auto at = one.target.find('{'); at != std::string::npos; at = one.target.find('{')) {
        one.target.replace(at, one.target.find('}') - at + 1, "x");
      }
      if (path.starts_with("/v1")) {
        for (const char* status : {"401", "403", "429"}) {
          EXPECT_TRUE(operation.at("responses").as_object().contains(status)) << one.target << " " << status;
        }
      }
      // A missing `security` is that of the document, of which there is none: open.
      if (const auto* security = operation.as_object().if_contains("security")) {
        for (const auto& way : security->as_array()) {
          if (way.as_object().contains("bearer")) one.scope = std::string(way.at("bearer").at(0).as_string());
        }
      }
      operations.push_back(one);
    }
  }
  return operations;
}

TEST_F(GuardedApi, EachRouteAsksEachCallerForTheScopeThatTheContractSays) {
  const std::string good = R"("iss":"https://idp","sub":"alice",)";
  const std::string later = R"("exp":1795342200,)";
  const TestSigner stranger("one");
  enum class Known { kNo, kWrong, kYes };
  struct Credential {
    const char* name;
    std::string authorization;
    Known known;
    std::vector<std::string> scopes{};
  };
  const std::vector<Credential> credentials = {
      {"none", "", Known::kNo},
      {"no scheme", kReader, Known::kNo},
      {"another scheme", "Basic cmVhZGVyOnMzY3JldA==", Known::kNo},
      {"two", std::string("Basic x, Bearer ") + kReader, Known::kNo},
      {"empty", "Bearer ", Known::kWrong},
      {"wrong", "Bearer reader-s3creT", Known::kWrong},
      {"twice", std::string("Bearer ") + kReader + ", Bearer " + kReader, Known::kWrong},
      {"reader", std::string("Bearer ") + kReader, Known::kYes, {"read"}},
      {"scheme in other letters", std::string("bEARER ") + kReader, Known::kYes, {"read"}},
      {"analyst", std::string("Bearer ") + kAnalyst, Known::kYes, {"read", "sql"}},
      {"device", std::string("Bearer ") + kDevice, Known::kYes, {"write:clicks", "admin", "sql"}},
      {"jwt", "Bearer " + Jwt("{" + later + good + R"("scope":"read openid"})"), Known::kYes, {"read"}},
      {"jwt without scopes", "Bearer " + Jwt("{" + later + good + R"("x":1})"), Known::kYes},
      {"jwt that expired", "Bearer " + Jwt("{" + good + R"("exp":1795341000,"scope":"read"})"), Known::kWrong},
      {"jwt of another issuer", "Bearer " + Jwt("{" + later + R"("iss":"https://x","scope":"read"})"), Known::kWrong},
      {"jwt of a stranger", "Bearer " + stranger.Token("{" + later + good + R"("scope":"read"})"), Known::kWrong},
      {"jwt without a signature", "Bearer eyJhbGciOiJub25lIn0.eyJzY29wZSI6InJlYWQifQ.", Known::kWrong},
  };
  const auto operations = Operations(Ask("GET", "/openapi.json").body.Text());
  EXPECT_GE(operations.size(), 13u);
  for (const auto& operation : operations) {
    EXPECT_EQ(operation.scope.empty(), !operation.target.starts_with("/v1")) << operation.target;
    for (const auto& c : credentials) {
      SCOPED_TRACE(operation.method + " " + operation.target + ": " + c.name);
      std::vector<std::string> methods = {operation.method};
      if (operation.method == "GET") methods.push_back("HEAD");
      for (const auto& method : methods) {
        const auto response = Ask(method, operation.target, c.authorization);
        const std::string challenge = Header(response, "WWW-Authenticate");
        const bool may = std::find(c.scopes.begin(), c.scopes.end(), operation.scope) != c.scopes.end();
        if (operation.scope.empty() || may) {
          EXPECT_TRUE(response.status == 200 || response.status == 400) << response.status;
          EXPECT_EQ(challenge, "");
          continue;
        }
        EXPECT_EQ(response.status, c.known == Known::kYes ? 403 : 401);
        EXPECT_EQ(response.content_type, "application/problem+json");
        // RFC 6750, 3.1: without credentials there is no error yet.
        const std::string want = c.known == Known::kNo ? ""
                                 : c.known == Known::kWrong
                                     ? ", error=\"invalid_token\", error_description=\""
                                     : ", error=\"insufficient_scope\", scope=\"" + operation.scope;
        EXPECT_THAT(challenge, StartsWith("Bearer realm=\"millrace\"" + want));
        EXPECT_EQ(want.empty(), challenge == "Bearer realm=\"millrace\"");
      }
    }
  }
  for (const auto& c : credentials) {
    SCOPED_TRACE(c.name);
    const int want = c.known == Known::kYes ? 404 : 401;
    EXPECT_EQ(Ask("GET", "/v1/nothing", c.authorization).status, want) << "what is not there";
    EXPECT_EQ(Ask("DELETE", "/v1/nothing", c.authorization).status, want);
    const bool reads = std::find(c.scopes.begin(), c.scopes.end(), "read") != c.scopes.end();
    EXPECT_EQ(Ask("DELETE", "/v1/tables", c.authorization).status, reads ? 405 : want == 404 ? 403 : 401);
  }
}

TEST_F(GuardedApi, WithoutTheIssuersKeysItsTokensAreToldToComeAgain) {
  issuer_->keys = nullptr;
  const auto response = Ask("GET", "/v1/tables", "Bearer " + Jwt(R"({"exp":1795342200,"iss":"https://idp"})"));
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(Header(response, "Retry-After"), "1");
  EXPECT_EQ(Ask("GET", "/v1/tables", std::string("Bearer ") + kReader).status, 200);
}

TEST_F(GuardedApi, ATokenInTheUrlIsNotTaken) {
  for (const char* target :
       {"/v1/tables?access_token=reader-s3cret", "/?token=reader-s3cret", "/v1/x?a=b&Bearer=reader-s3cret"}) {
    const auto response = Ask("GET", target, std::string("Bearer ") + kReader);
    EXPECT_EQ(response.status, 400) << target;
    EXPECT_THAT(response.body.Text(), HasSubstr("token_in_url"));
  }
}

TEST_F(GuardedApi, NoSecretIsInAnAnswerOrInTheLog) {
  std::ostringstream log;
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)));
  spdlog::set_level(spdlog::level::trace);
  options_.guard.rate = Rate{20, std::chrono::seconds(1)};
  const std::string jwt = Jwt(R"({"exp":1795342200,"iss":"https://idp","sub":"alice-s3cret","scope":"x"})");
  std::string said;
  const auto ask = [&](const std::string& target, const std::string& authorization) {
    const auto response = Ask("GET", target, authorization);
    said += response.body.Text();
    for (const auto& [name, value] : response.headers) said += name + ": " + value + "\n";
    return response.status;
  };
  std::vector<int> statuses;
  backend_.fails = true;
  for (const std::string& token :
       {std::string(kReader), std::string(kDevice), std::string("wrong-s3cret"), jwt, jwt + "x"}) {
    for (const char* target : {"/v1/tables", "/v1/tables/x", "/v1/nothing", "/v1/aggregates/x?limit=y"}) {
      statuses.push_back(ask(target, "Bearer " + token));
      statuses.push_back(ask(target, "Basic " + token));
    }
    statuses.push_back(ask("/v1/tables?access_token=" + token, ""));
    statuses.push_back(ask("/v1/aggregates/x?token=" + token, "Bearer " + token));
  }
  for (const int status : {200, 400, 401, 403, 404, 429, 500}) EXPECT_THAT(statuses, ::testing::Contains(status));
  said += Ask("GET", "/metrics").body.Text() + metrics_.Render();
  spdlog::set_default_logger(before);
  EXPECT_THAT(log.str(), HasSubstr("request failed")) << "it was listened to";
  for (const std::string& text : {said, log.str()}) {
    EXPECT_EQ(text.find("s3cret"), std::string::npos) << text.substr(text.find("s3cret") - 200, 300);
    EXPECT_EQ(text.find(jwt.substr(0, jwt.find('.'))), std::string::npos);
  }
}

TEST_F(GuardedApi, EachCallerHasARateOfItsOwn) {
  options_.guard.rate = Rate{3, std::chrono::seconds(1)};
  const std::string reader = std::string("Bearer ") + kReader;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask("GET", "/v1/tables", reader).status, 200);
  const auto refused = Ask("GET", "/v1/tables", reader);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(Header(refused, "Retry-After"), "1");
  EXPECT_EQ(refused.content_type, "application/problem+json");
  EXPECT_THAT(refused.body.Text(), HasSubstr("\"code\":\"too_many_requests\""));
  address_ = "192.0.2.8";
  EXPECT_EQ(Ask("GET", "/v1/tables", reader).status, 429) << "the token, wherever it comes from";
  EXPECT_EQ(Ask("GET", "/v1/tables", std::string("Bearer ") + kAnalyst).status, 200) << "another token";
  EXPECT_EQ(Ask("GET", "/livez").status, 200);
  EXPECT_EQ(Ask("GET", "/").status, 200) << "what is open is not counted";

  // Whoever is not let in is told apart by the address, and runs out of tries there.
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask("GET", "/v1/tables", "Bearer guess" + std::to_string(i)).status, 401);
  EXPECT_EQ(Ask("GET", "/v1/tables", "Bearer guess3").status, 429);
  EXPECT_EQ(Ask("GET", "/v1/tables").status, 429);
  EXPECT_EQ(Ask("GET", "/v1/tables", std::string("Bearer ") + kAnalyst).status, 200)
      << "who is known goes on from there";
  address_ = "192.0.2.9";
  EXPECT_EQ(Ask("GET", "/v1/tables").status, 401);
  // Two subjects of one issuer.
  const auto subject = [&](const std::string& name) {
    return "Bearer " + Jwt(R"({"exp":1795342200,"iss":"https://idp","scope":"read","sub":")" + name + "\"}");
  };
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask("GET", "/v1/tables", subject("alice")).status, 200);
  EXPECT_EQ(Ask("GET", "/v1/tables", subject("alice")).status, 429);
  EXPECT_EQ(Ask("GET", "/v1/tables", subject("bob")).status, 200);
  clock_.Set(kAskedAt + 1'000'000);
  EXPECT_EQ(Ask("GET", "/v1/tables", reader).status, 200);
}

TEST_F(GuardedApi, WithoutTokensAnAddressHasARate) {
  options_.guard.access.reset();
  options_.guard.rate = Rate{1, std::chrono::minutes(1)};
  EXPECT_EQ(Ask("GET", "/v1/tables").status, 200);
  const auto refused = Ask("GET", "/v1/tables");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(Header(refused, "Retry-After"), "60");
  address_ = "192.0.2.8";
  EXPECT_EQ(Ask("GET", "/v1/tables").status, 200);
}

TEST_F(GuardedApi, PagesOfTheListedOriginsMayRead) {
  options_.guard.origins = {"https://bi.example", "http://localhost:3000"};
  struct Case {
    const char* origin;
    bool allowed;
  };
  for (const Case& c : {Case{"https://bi.example", true}, Case{"http://localhost:3000", true}, Case{"", false},
                        Case{"https://bi.example.evil", false}, Case{"http://bi.example", false},
                        Case{"https://bi.example:8443", false}, Case{"null", false}, Case{"*", false}}) {
    SCOPED_TRACE(c.origin);
    origin_ = c.origin;
    // Also where there is an error: a page wants to show which.
    for (const std::string& authorization : {std::string("Bearer ") + kReader, std::string()}) {
      const auto response = Ask("GET", "/v1/tables", authorization);
      EXPECT_EQ(response.status, authorization.empty() ? 401 : 200);
      EXPECT_EQ(Header(response, "Access-Control-Allow-Origin"), c.allowed ? c.origin : "");
      EXPECT_EQ(Header(response, "Access-Control-Allow-Credentials"), "") << "there are no cookies";
      EXPECT_EQ(Header(response, "Vary"), "Origin") << "for caches, whether it is allowed or not";
    }
    http::Request preflight{"OPTIONS", "/v1/cost/estimate", "", "", ""};
    preflight.origin = c.origin;
    preflight.asks_to_send = "POST";
    const auto response = api().Handle(preflight);
    EXPECT_EQ(response.status, c.allowed ? 204 : 401) << "it carries no token";
    EXPECT_EQ(Header(response, "Access-Control-Allow-Methods"), c.allowed ? "POST" : "");
    EXPECT_THAT(Header(response, "Access-Control-Allow-Headers"), HasSubstr(c.allowed ? "Authorization" : ""));
  }
  origin_ = "https://bi.example";
  EXPECT_EQ(Ask("OPTIONS", "/v1/tables", std::string("Bearer ") + kReader).status, 405) << "no preflight";
}

TEST_F(GuardedApi, WithoutOriginsNothingIsSaidOfThem) {
  origin_ = "https://bi.example";
  const auto response = Ask("GET", "/openapi.json");
  EXPECT_EQ(Header(response, "Access-Control-Allow-Origin"), "");
  EXPECT_EQ(Header(response, "Vary"), "Accept-Encoding");
  options_.guard.origins = {"*"};
  api_.reset();
  EXPECT_EQ(Header(Ask("GET", "/openapi.json"), "Access-Control-Allow-Origin"), "https://bi.example");
}

TEST_F(GuardedApi, MonitoringHasADoorOfItsOwn) {
  options_.metrics_elsewhere = true;
  const auto health = [&](const std::string& method, const std::string& target) {
    return api().HandleHealth({method, target, "", "", ""});
  };
  EXPECT_EQ(health("GET", "/metrics").body.Text(), "metrics\n");
  for (const char* target : {"/livez", "/readyz?verbose"}) EXPECT_EQ(health("HEAD", target).status, 200) << target;
  EXPECT_EQ(health("POST", "/livez").status, 405);
  for (const char* target : {"/", "/v1/tables", "/openapi.json", "/metrics/x", "%zz", "*"}) {
    EXPECT_EQ(health("GET", target).status, 404) << target;
  }
  EXPECT_EQ(Ask("GET", "/metrics").status, 404);
  EXPECT_EQ(Ask("GET", "/livez").status, 200);
  EXPECT_EQ(Ask("GET", "/readyz").status, 200);
}

// The policy names the scripts and styles of the page by what they hold, and the page has nothing that it would stop.
TEST_F(GuardedApi, ThePagesRunNothingButTheirOwn) {
  for (const char* target : {"/", "/cost"}) {
    SCOPED_TRACE(target);
    const auto page = Ask("GET", target);
    const std::string html = page.body.Text();
    const std::string policy = Header(page, "Content-Security-Policy");
    EXPECT_THAT(policy, StartsWith("default-src 'none'; script-src 'sha256-"));
    for (const char* part : {"; style-src 'sha256-", "connect-src 'self'", "form-action 'none'", "base-uri 'none'",
                             "frame-ancestors 'none'"}) {
      EXPECT_THAT(policy, HasSubstr(part));
    }
    EXPECT_EQ(policy.find("unsafe"), std::string::npos);
    EXPECT_EQ(Header(page, "Referrer-Policy"), "no-referrer");
    EXPECT_EQ(Header(page, "X-Frame-Options"), "DENY");
    std::size_t hashes = 0;
    for (auto at = policy.find("'sha256-"); at != std::string::npos; at = policy.find("'sha256-", at + 1)) ++hashes;
    std::size_t elements = 0;
    for (const char* tag : {"<script", "<style"}) {
      for (auto at = html.find(tag); at != std::string::npos; at = html.find(tag, at + 1)) ++elements;
    }
    EXPECT_EQ(hashes, elements);
    // The last script, hashed here.
    const auto begin = html.rfind("<script>") + 8;
    const std::string script = html.substr(begin, html.rfind("</script>") - begin);
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(script.data()), script.size(), digest);
    unsigned char base64[64];
    EVP_EncodeBlock(base64, digest, sizeof digest);
    EXPECT_THAT(policy, HasSubstr("'sha256-" + std::string(reinterpret_cast<char*>(base64)) + "'"));
    for (const char* stopped : {" style=\"", " onclick=", " onload=", " onsubmit=", " oninput=", " onchange=",
                                "javascript:", "style: `", "setAttribute('style'", "eval(", "new Function"}) {
      EXPECT_EQ(html.find(stopped), std::string::npos) << stopped;
    }
  }
}

TEST_F(GuardedApi, AStreamEndsWithTheTokenThatBeganIt) {
  backend_.answers = true;
  const auto next_of = [](http::BodySource& source) {
    std::string text = "nothing yet";
    source.Next([&text](http::Chunk chunk) { text = chunk->value_or("the end"); });
    return text;
  };
  for (const auto& [target, first] :
       {std::pair("/v1/aggregates/x/stream", "event: snapshot"), std::pair("/v1/tap", "event: start")}) {
    SCOPED_TRACE(target);
    clock_.Set(kAskedAt);
    const auto stream_of = [&](const std::string& token) { return Ask("GET", target, "Bearer " + token).body; };
    auto of_jwt = std::move(stream_of(Jwt(R"({"iss":"https://idp","scope":"read","exp":1795341660})"))).TakeSource();
    auto of_token = std::move(stream_of(kReader)).TakeSource();
    EXPECT_THAT(next_of(*of_jwt), HasSubstr(first));
    clock_.Set(kAskedAt + 120'000'000);  // What it claims, and what clocks may be apart.
    EXPECT_THAT(next_of(*of_jwt), HasSubstr("token_expired"));
    EXPECT_EQ(next_of(*of_jwt), "the end");
    EXPECT_THAT(next_of(*of_token), HasSubstr(first));
  }
}

}  // namespace
}  // namespace millrace::serve
