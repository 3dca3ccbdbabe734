// The door: who may, what is answered, and what happens when the log cannot take it. Over a log that the test holds in
// its hand; the real ones are in tests/gateway.
#include "gateway/door.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <filesystem>
#include <future>
#include <thread>

#include "base/uuid.h"
#include "eventlog/embedded/embedded_log.h"
#include "gateway/test_log.h"
#include "testing/manual_clock.h"
#include "testing/status_matchers.h"

namespace millrace::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr UnixMicros kNow = 1'795'341'600'000'000;

class GatewayDoor : public ::testing::Test {
 protected:
  void Open(DoorOptions options = {}, std::unique_ptr<Repeats> repeats = nullptr) {
    if (options.topics.empty()) options.topics = {{.topic = "clicks"}};
    auto door = Door::Make(std::move(options), log_.NewProducer(), std::move(repeats), metrics_, clock_);
    MILLRACE_ASSERT_OK(door);
    door_ = *std::move(door);
  }

  static http::Request Post(const std::string& body, const std::string& target = "/v1/events/clicks",
                            const std::string& type = "application/x-ndjson") {
    http::Request request;
    request.method = "POST";
    request.target = target;
    request.content_type = type;
    request.client_address = "192.0.2.7";
    request.body = body;
    return request;
  }

  std::future<http::Response> Send(http::Request request) {
    auto promise = std::make_shared<std::promise<http::Response>>();
    auto future = promise->get_future();
    http::Early early = door_->AtOnce(request);
    if (early.response) {
      promise->set_value(*std::move(early.response));
    } else {
      early.join([promise](std::optional<http::Response> response) { promise->set_value(*std::move(response)); });
    }
    return future;
  }
  http::Response Ask(http::Request request) { return Send(std::move(request)).get(); }

  static std::string HeaderOf(const http::Response& response, const std::string& name) {
    for (const auto& [key, value] : response.headers) {
      if (key == name) return value;
    }
    return "";
  }
  static std::string CodeOf(const http::Response& response) {
    return std::string(boost::json::parse(response.body.Text()).at("code").as_string());
  }

  testing::ManualClock clock_{kNow};
  Metrics metrics_;
  TestLog log_;
  std::unique_ptr<Door> door_;
};

TEST_F(GatewayDoor, AnswersWhenTheEventsAreDurableAndNotBefore) {
  Open();
  log_.Hold();
  auto answer = Send(Post("{\"a\":1}\n{\"a\":2}"));
  EXPECT_EQ(answer.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
  log_.Release();
  const auto response = answer.get();
  EXPECT_EQ(response.status, 202);
  EXPECT_EQ(response.body.Text(), "{\"accepted\":2,\"offsets\":{\"0\":[0,1]}}\n");
  EXPECT_THAT(log_.payloads(), ElementsAre("{\"a\":1}", "{\"a\":2}"));
}

TEST_F(GatewayDoor, TheGoodOnesOfABatchAreAcceptedUnlessItIsAtomic) {
  Open();
  const std::string body = "{\"a\":1}\nx\n{\"a\":3}";
  const auto response = Ask(Post(body));
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.body.Text(), HasSubstr("{\"accepted\":2,\"offsets\":{\"0\":[0,1]},\"rejected\":[{\"index\":1,"
                                              "\"code\":\"invalid_json\""));
  const auto refused = Ask(Post(body, "/v1/events/clicks?atomic=true"));
  EXPECT_EQ(refused.status, 422);
  EXPECT_EQ(refused.content_type, "application/problem+json");
  EXPECT_THAT(refused.body.Text(), HasSubstr("\"rejected\":[{\"index\":1,\"code\":\"invalid_json\""));
  EXPECT_EQ(CodeOf(refused), "invalid_events");
  EXPECT_EQ(Ask(Post("x\ny")).status, 422) << "none of them";
  EXPECT_EQ(log_.records().size(), 2U);
  EXPECT_EQ(Ask(Post("\n\n")).status, 400);
}

TEST_F(GatewayDoor, WhatIsNotThereOrNotSoIsToldAsAProblem) {
  Open({.topics = {{.topic = "clicks", .event_bytes_max = 100}}, .body_bytes_max = 1000});
  EXPECT_EQ(CodeOf(Ask(Post("{}", "/v1/events/click"))), "not_found");
  EXPECT_THAT(Ask(Post("{}", "/v1/events/click")).body.Text(), HasSubstr("Did you mean 'clicks'?"));
  EXPECT_EQ(Ask(Post("{}", "/v1/events/a/b")).status, 404);
  EXPECT_EQ(CodeOf(Ask(Post("{}", "/v1/events/clicks?token=x"))), "unknown_parameter");
  EXPECT_EQ(CodeOf(Ask(Post("{}", "/v1/events/clicks?atomic=yes"))), "invalid_parameter");
  EXPECT_EQ(CodeOf(Ask(Post("{}", "/v1/events/%zz"))), "malformed_url");
  EXPECT_EQ(Ask(Post(std::string(1001, ' '))).status, 413);
  EXPECT_EQ(Ask(Post("{\"a\":\"" + std::string(100, 'x') + "\"}")).status, 422);
  const auto media = Ask(Post("{}", "/v1/events/clicks", "text/html"));
  EXPECT_EQ(media.status, 415);
  auto coded = Post("{}");
  coded.content_encoding = "br";
  const auto coding = Ask(coded);
  EXPECT_EQ(coding.status, 415);
  EXPECT_EQ(HeaderOf(coding, "Accept-Encoding"), "gzip, zstd");
  auto get = Post("");
  get.method = "GET";
  EXPECT_EQ(Ask(get).status, 405);
  EXPECT_EQ(HeaderOf(Ask(get), "Allow"), "POST");
  auto keyed = Post("{}");
  keyed.idempotency_key = "a, a";  // Two headers.
  EXPECT_EQ(CodeOf(Ask(keyed)), "invalid_idempotency_key");
  keyed.idempotency_key = "a b";
  EXPECT_EQ(CodeOf(Ask(keyed)), "invalid_idempotency_key");
  keyed.idempotency_key = "a";
  EXPECT_EQ(Ask(keyed).status, 501) << "nothing remembers it here";
  EXPECT_THAT(log_.records(), IsEmpty());
}

TEST_F(GatewayDoor, ATokenNeedsTheScopeOfTheTopic) {
  const std::vector<serve::AccessToken> tokens = {{"writer", {"write:clicks"}}, {"reader", {"read"}}};
  const serve::GuardOptions guard{.access = serve::Access(tokens)};
  Open({.topics = {{.topic = "clicks"}, {.topic = "open", .anonymous = true}, {.topic = "other"}}, .guard = guard});
  EXPECT_EQ(Ask(Post("{}")).status, 401);
  auto request = Post("{}");
  request.authorization = "Bearer writer";
  EXPECT_EQ(Ask(request).status, 202);
  request.authorization = "Bearer reader";
  EXPECT_EQ(Ask(request).status, 403);
  request.authorization = "Bearer wrong";
  EXPECT_EQ(Ask(request).status, 401);
  auto other = Post("{}", "/v1/events/other");
  other.authorization = "Bearer writer";
  EXPECT_EQ(Ask(other).status, 403);
  EXPECT_EQ(Ask(Post("{}", "/v1/events/not-there")).status, 401) << "a stranger does not learn which topics there are";
  EXPECT_EQ(Ask(Post("{}", "/v1/events/open")).status, 202);
}

TEST_F(GatewayDoor, APageMaySendOnlyFromAnOriginThatIsNamed) {
  Open({.guard = {.origins = {"https://shop.example"}}});
  auto request = Post("{}", "/v1/events/clicks", "text/plain;charset=UTF-8");
  request.origin = "https://shop.example";
  const auto response = Ask(request);
  EXPECT_EQ(response.status, 202);
  EXPECT_EQ(HeaderOf(response, "Access-Control-Allow-Origin"), "https://shop.example");
  request.origin = "https://evil.example";
  EXPECT_EQ(CodeOf(Ask(request)), "origin_not_allowed");
  auto preflight = Post("");
  preflight.method = "OPTIONS";
  preflight.asks_to_send = "POST";
  preflight.origin = "https://shop.example";
  EXPECT_EQ(Ask(preflight).status, 204);
  EXPECT_THAT(HeaderOf(Ask(preflight), "Access-Control-Allow-Headers"), HasSubstr("Idempotency-Key"));
}

TEST_F(GatewayDoor, RatesAndQuotasAreOfEventsAndOfEachClient) {
  Open({.topics = {{.topic = "clicks", .rate = serve::Rate{10, std::chrono::seconds(1)}},
                   {.topic = "few", .quota = QuotaRule{3, std::chrono::hours(1)}}}});
  std::string many;
  for (int i = 0; i < 30; ++i) many += "{}\n";
  EXPECT_EQ(Ask(Post(many)).status, 202) << "a batch is never too large for a rate; those behind it wait";
  const auto refused = Ask(Post("{}"));
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(CodeOf(refused), "too_many_events");
  EXPECT_EQ(HeaderOf(refused, "Retry-After"), "3") << "21 tenths";
  auto other = Post("{}");
  other.client_address = "192.0.2.8";
  EXPECT_EQ(Ask(other).status, 202);
  clock_.Set(kNow + 2'100'000);
  EXPECT_EQ(Ask(Post("{}")).status, 202);

  EXPECT_EQ(Ask(Post("{}\n{}", "/v1/events/few")).status, 202);
  const auto over = Ask(Post("{}\n{}", "/v1/events/few"));
  EXPECT_EQ(CodeOf(over), "quota_exceeded");
  EXPECT_GT(std::stoi(HeaderOf(over, "Retry-After")), 60);
  EXPECT_EQ(Ask(Post("{}", "/v1/events/few")).status, 202);
}

// With what it has answered in a folder, over restarts.
class GatewayDoorThatRemembers : public GatewayDoor {
 protected:
  GatewayDoorThatRemembers() {
    watched_ = eventlog::EmbeddedLog::Open({.path = (folder_ / "log").string()}).ValueOrDie();
  }
  ~GatewayDoorThatRemembers() override {
    door_ = nullptr;
    watched_ = nullptr;
    std::filesystem::remove_all(folder_);
  }

  // Again: with the same folder.
  void Open(DoorOptions options) {
    door_ = nullptr;
    Repeats::Options repeats{.folder = (folder_ / "state").string(), .topics = {"clicks"}, .clock = &clock_};
    repeats.open_log = [log = watched_] { return Result<std::unique_ptr<eventlog::Consumer>>(log->NewConsumer()); };
    repeats.arrives_within = std::chrono::milliseconds(0);
    GatewayDoor::Open(std::move(options), Repeats::Open(std::move(repeats)).ValueOrDie());
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    while (!door_->ready() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    ASSERT_TRUE(door_->ready());
  }

  static http::Request Keyed(const std::string& body, const std::string& key, const std::string& token = "") {
    auto request = Post(body);
    request.idempotency_key = key;
    if (!token.empty()) request.authorization = "Bearer " + token;
    return request;
  }

 private:
  const std::filesystem::path folder_ = std::filesystem::path(::testing::TempDir()) / ("gateway_door_" + RandomUuid());
  std::shared_ptr<eventlog::EmbeddedLog> watched_;  // Empty: who asks it learns that nothing was made anew.
};

TEST_F(GatewayDoorThatRemembers, AKeyIsItsTokensWhereverThatStandsInTheList) {
  const auto rules = [](const std::vector<serve::AccessToken>& tokens) {
    return DoorOptions{.topics = {{.topic = "clicks"}}, .guard = {.access = serve::Access(tokens)}};
  };
  Open(rules({{"a", {"write:clicks"}}}));
  const auto first = Ask(Keyed("{}", "1", "a"));
  EXPECT_EQ(first.status, 202);
  Open(rules({{"b", {"write:clicks"}}, {"a", {"write:clicks"}}}));
  const auto of_another = Ask(Keyed("{}", "1", "b"));
  EXPECT_EQ(of_another.status, 202);
  EXPECT_EQ(HeaderOf(of_another, "Idempotency-Replayed"), "") << "the place was another's before";
  EXPECT_EQ(log_.records().size(), 2U);
  const auto again = Ask(Keyed("{}", "1", "a"));
  EXPECT_EQ(HeaderOf(again, "Idempotency-Replayed"), "true");
  EXPECT_EQ(again.body.Text(), first.body.Text());
  EXPECT_EQ(log_.records().size(), 2U);
}

TEST_F(GatewayDoorThatRemembers, WhatWasAnsweredStaysAnsweredUnderStricterRules) {
  const std::string text = R"({"n":"x"})";
  const std::string texts = text + "\n" + R"({"n":"y"})";
  Open({.topics = {{.topic = "clicks"}}});
  const auto first = Ask(Keyed(text, "whole"));
  EXPECT_EQ(first.status, 202);
  log_.FailNext({Status::OK(), Transient("the disk is full")});
  EXPECT_EQ(Ask(Keyed(texts, "half")).status, 503);
  ingest::DecodeSpec numbers;
  numbers.columns = {{.name = "n", .type = arrow::int64()}};
  for (const auto& stricter :
       {TopicRule{.topic = "clicks", .event_bytes_max = 5}, TopicRule{.topic = "clicks", .check = numbers}}) {
    Open({.topics = {stricter}});
    const auto again = Ask(Keyed(text, "whole"));
    EXPECT_EQ(again.status, 202);
    EXPECT_EQ(HeaderOf(again, "Idempotency-Replayed"), "true");
    EXPECT_EQ(again.body.Text(), first.body.Text());
    EXPECT_EQ(Ask(Keyed(text, "new")).status, 422);
    EXPECT_EQ(Ask(Keyed(text, "new")).status, 422) << "and it is not said to be going on";
    const auto half = Ask(Keyed(texts, "half"));
    EXPECT_EQ(half.status, 200) << "one of the two is there";
    const auto body = boost::json::parse(half.body.Text());
    EXPECT_EQ(body.at("accepted"), 1);
    ASSERT_EQ(body.at("rejected").as_array().size(), 1U);
    EXPECT_EQ(body.at("rejected").at(0).at("index"), 1);
  }
  EXPECT_EQ(log_.records().size(), 2U);
}

// Of one key: which requests are the same one.
TEST_F(GatewayDoorThatRemembers, ARequestIsTheSameByItsSenderItsBodyAndWhatIsSaidOfIt) {
  const std::vector<serve::AccessToken> tokens = {{"a", {"write:clicks"}}, {"b", {"write:clicks"}}};
  Open({.topics = {{.topic = "clicks", .anonymous = true}}, .guard = {.access = serve::Access(tokens)}});
  const auto keyed = [](const std::string& token, const std::string& ce_id, const std::string& type) {
    auto request = Keyed("{}", "k", token);
    request.content_type = type;
    if (!ce_id.empty()) {
      request.cloud_event = {{"specversion", "1.0"}, {"id", ce_id}, {"source", "/s"}, {"type", "t"}};
    }
    return request;
  };
  const std::string json = "application/json";
  EXPECT_EQ(Ask(keyed("a", "1", json)).status, 202);
  EXPECT_EQ(HeaderOf(Ask(keyed("a", "1", json)), "Idempotency-Replayed"), "true");
  EXPECT_EQ(CodeOf(Ask(keyed("a", "2", json))), "idempotency_key_reused");
  EXPECT_EQ(CodeOf(Ask(keyed("a", "", json))), "idempotency_key_reused");
  for (const char* token : {"b", ""}) {
    const auto answer = Ask(keyed(token, "1", json));
    EXPECT_EQ(answer.status, 202);
    EXPECT_EQ(HeaderOf(answer, "Idempotency-Replayed"), "") << "the key is another sender's";
  }
  EXPECT_EQ(Ask(keyed("wrong", "1", json)).status, 401);
  EXPECT_EQ(log_.records().size(), 3U);
}

TEST_F(GatewayDoor, WhatIsRefusedLeavesTheQuotaAsItWas) {
  Open({.topics = {{.topic = "clicks",
                    .rate = serve::Rate{2, std::chrono::minutes(1)},
                    .quota = QuotaRule{4, std::chrono::hours(24)}}}});
  EXPECT_EQ(CodeOf(Ask(Post("{}\n{}\n{}\n{}\n{}"))), "too_many_events") << "it could never be taken";
  EXPECT_EQ(Ask(Post("{}\n{}")).status, 202);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(CodeOf(Ask(Post("{}\n{}"))), "too_many_events") << "of the rate";
  clock_.Set(clock_.Now() + 60'000'000);
  log_.RefuseAppends(Transient("not now"));
  EXPECT_EQ(Ask(Post("{}\n{}")).status, 503);
  log_.RefuseAppends(Status::OK());
  clock_.Set(clock_.Now() + 60'000'000);
  EXPECT_EQ(Ask(Post("{}\n{}")).status, 202) << "half of the quota is left";
  clock_.Set(clock_.Now() + 60'000'000);
  EXPECT_EQ(CodeOf(Ask(Post("{}"))), "quota_exceeded");
}

TEST_F(GatewayDoor, WhatIsOnItsWayIsBoundedAndMoreIsAskedToComeBack) {
  Open({.intake = {.bytes_max = 100, .records_max = 3}});
  log_.Hold();
  auto first = Send(Post("{}\n{}"));
  auto second = Send(Post("{}"));
  const auto refused = Ask(Post("{}"));
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(CodeOf(refused), "backpressure");
  EXPECT_EQ(HeaderOf(refused, "Retry-After"), "1");
  log_.Release();
  EXPECT_EQ(first.get().status, 202);
  EXPECT_EQ(second.get().status, 202);
  EXPECT_EQ(Ask(Post("{}\n{}\n{}\n{}\n{}")).status, 202) << "alone, a large one finds its place";
  EXPECT_EQ(log_.records().size(), 8U) << "and nothing of what was refused";
}

// Nothing of it is stored, for who sends it again would have that twice.
TEST_F(GatewayDoor, WhatTheLogNeverTakesWholeIsTooLarge) {
  Open({.intake = {.batch_bytes_max = 1000}});
  const auto refused =
      Ask(Post(R"({"a":")" + std::string(500, 'x') + "\"}\n{\"a\":\"" + std::string(500, 'x') + R"("})"));
  EXPECT_EQ(refused.status, 413);
  EXPECT_EQ(CodeOf(refused), "too_large");
  EXPECT_EQ(Ask(Post("{}")).status, 202);
  EXPECT_EQ(log_.records().size(), 1U);
}

TEST_F(GatewayDoor, ALogThatFailsIsToldEventByEvent) {
  Open();
  log_.FailNext({Transient("the disk is full"), Transient("the disk is full")});
  const auto full = Ask(Post("{\"a\":1}\n{\"a\":2}"));
  EXPECT_EQ(full.status, 503);
  EXPECT_EQ(CodeOf(full), "log_unavailable");
  EXPECT_EQ(HeaderOf(full, "Retry-After"), "1");
  EXPECT_THAT(full.body.Text(), HasSubstr("the disk is full"));
  log_.FailNext({UnknownOutcome("the reply was lost")});
  EXPECT_EQ(CodeOf(Ask(Post("{}"))), "outcome_unknown");
  log_.FailNext({Status::OK(), TooLarge("larger than the broker takes"), Transient("gone")});
  const auto some = Ask(Post("{\"a\":1}\n{\"a\":2}\n{\"a\":3}"));
  EXPECT_EQ(some.status, 200);
  const auto body = boost::json::parse(some.body.Text());
  EXPECT_EQ(body.at("accepted"), 1);
  EXPECT_EQ(body.at("rejected").at(0).at("code"), "event_too_large");
  EXPECT_EQ(body.at("rejected").at(1).at("code"), "unavailable");
  EXPECT_THAT(log_.payloads(), ElementsAre("{\"a\":1}"));
  log_.FailNext({InvalidInput("not authorized")});
  EXPECT_EQ(Ask(Post("{}")).status, 503) << "not what a device could mend";
  log_.RefuseAppends(Transient("closed"));
  EXPECT_EQ(Ask(Post("{}")).status, 503);
}

TEST_F(GatewayDoor, EventsAreCheckedAsThePipelineReadsThem) {
  ingest::DecodeSpec spec;
  spec.columns = {{.name = "n", .type = arrow::int64()}};
  Open({.topics = {{.topic = "clicks", .check = spec}}});
  const auto response = Ask(Post("{\"n\":1}\n{\"n\":\"x\"}\n{\"n\":null}"));
  EXPECT_EQ(response.status, 200);
  const auto body = boost::json::parse(response.body.Text());
  EXPECT_EQ(body.at("accepted"), 2);
  EXPECT_EQ(body.at("rejected").at(0).at("index"), 1);
  EXPECT_EQ(body.at("rejected").at(0).at("code"), "type_mismatch");
}

TEST_F(GatewayDoor, WhatACheckSaysIsCutBetweenCharacters) {
  // One byte more before the characters, and then none: one of the two cuts is within a character.
  for (const std::string begin : {"", "x"}) {
    std::string name = begin;
    for (int i = 0; i < 400; ++i) name += "\u00fc";
    ingest::DecodeSpec spec;
    spec.columns = {{.name = name, .type = arrow::int64()}};
    Open({.topics = {{.topic = "clicks", .check = spec}}});
    const auto response = Ask(Post("{\"" + name + "\":\"x\"}"));
    const auto rejected = boost::json::parse(response.body.Text()).at("rejected").at(0);
    EXPECT_EQ(rejected.at("code"), "type_mismatch");
    const std::string detail(rejected.at("detail").as_string());
    EXPECT_THAT(detail, HasSubstr("\u00fc"));
    EXPECT_LE(detail.size(), kRejectionBytesMax);
    EXPECT_THAT(detail, ::testing::Not(HasSubstr("\ufffd")));
  }
}

TEST_F(GatewayDoor, ServesASnippetOfAKilobyte) {
  Open();
  auto request = Post("", "/v1/collect.js");
  request.method = "GET";
  const auto script = Ask(request);
  EXPECT_EQ(script.status, 200);
  EXPECT_THAT(script.content_type, HasSubstr("text/javascript"));
  EXPECT_LE(script.body.bytes(), 1024U);
  EXPECT_EQ(HeaderOf(script, "Cross-Origin-Resource-Policy"), "cross-origin");
  request.method = "POST";
  EXPECT_EQ(Ask(request).status, 405);
}

TEST_F(GatewayDoor, TakesItsOwnPathsAndNoOthers) {
  EXPECT_TRUE(Door::Takes("/v1/events/clicks?atomic=true"));
  EXPECT_TRUE(Door::Takes("/v1/collect.js"));
  EXPECT_FALSE(Door::Takes("/v1/tables?x=/v1/events/"));
  EXPECT_FALSE(Door::Takes("/v1/collect.json"));
}

TEST_F(GatewayDoor, ManyThreadsMaySendAtOnce) {
  Open();
  std::vector<std::future<void>> senders;
  for (int t = 0; t < 4; ++t) {
    senders.push_back(std::async(std::launch::async, [this] {
      for (int i = 0; i < 200; ++i) EXPECT_EQ(Ask(Post("{}" + std::string(i % 2 * 20'000, '\n'))).status, 202);
    }));
  }
  senders.clear();
  EXPECT_EQ(log_.records().size(), 800U);
}

}  // namespace
}  // namespace millrace::gateway
