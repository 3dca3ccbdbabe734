// What the senders of other protocols are told, by the door and by the words alone.
#include "gateway/dialects.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "gateway/door.h"
#include "gateway/test_log.h"
#include "gateway/test_wire.h"
#include "testing/manual_clock.h"
#include "testing/status_matchers.h"

namespace millrace::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kJson = "application/json";
constexpr const char* kProtobuf = "application/x-protobuf";

class GatewayDialects : public ::testing::Test {
 protected:
  void Open(DoorOptions options = {}) {
    if (options.topics.empty()) options.topics = {{.topic = "telemetry"}, {.topic = "readings"}};
    options.destinations = {.otlp = {{OtlpSignal::kLogs, "telemetry"}, {OtlpSignal::kMetrics, "telemetry"}},
                            .influx = {{"fleet", "readings"}, {"fleet/old", "telemetry"}}};
    auto door = Door::Make(std::move(options), log_.NewProducer(), nullptr, metrics_, clock_);
    MILLRACE_ASSERT_OK(door);
    door_ = *std::move(door);
  }

  http::Response Ask(const std::string& target, const std::string& type, const std::string& body,
                     const std::string& authorization = "") {
    http::Request request;
    request.method = "POST";
    request.target = target;
    request.content_type = type;
    request.body = body;
    request.client_address = "192.0.2.7";
    request.authorization = authorization;
    EXPECT_TRUE(Door::Takes(target));
    std::promise<http::Response> promise;
    http::Early early = door_->AtOnce(request);
    if (early.response) return *std::move(early.response);
    early.join([&](std::optional<http::Response> response) { promise.set_value(*std::move(response)); });
    return promise.get_future().get();
  }
  http::Response Logs(const std::string& body, const std::string& type = kProtobuf) {
    return Ask("/v1/logs", type, body);
  }
  http::Response Write(const std::string& body, const std::string& query = "?org=o&bucket=fleet") {
    return Ask("/api/v2/write" + query, "text/plain; charset=utf-8", body);
  }

  static std::string HeaderOf(const http::Response& response, const std::string& name) {
    for (const auto& [key, value] : response.headers) {
      if (key == name) return value;
    }
    return "";
  }
  static std::string LogsOf(const std::vector<std::string>& texts) {
    std::string records;
    for (const auto& text : texts) records += BytesField(2, BytesField(3, text));
    return BytesField(1, BytesField(2, records));
  }

  testing::ManualClock clock_{1'795'341'600'000'000};
  Metrics metrics_;
  TestLog log_;
  std::unique_ptr<Door> door_;
};

TEST_F(GatewayDialects, OtlpIsAnsweredInItsEncoding) {
  Open();
  const auto taken = Logs(LogsOf({"a"}));
  EXPECT_EQ(taken.status, 200);
  EXPECT_EQ(taken.content_type, kProtobuf);
  EXPECT_EQ(taken.body.Text(), "");
  const auto json = Logs(R"({"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityText":"b"}]}]}]})", kJson);
  EXPECT_EQ(json.content_type, kJson);
  EXPECT_EQ(json.body.Text(), "{}");
  EXPECT_EQ(Logs("").status, 200) << "a collector may have nothing to tell";
  ASSERT_EQ(log_.records().size(), 2U);
  EXPECT_EQ(log_.records()[1].payload, R"({"severity_text":"b"})");
  EXPECT_EQ(log_.records()[1].topic, "telemetry");
}

TEST_F(GatewayDialects, OtlpTellsOfAPartThatIsRefusedForEver) {
  Open({.topics = {{.topic = "telemetry", .event_bytes_max = 100}, {.topic = "readings"}}});
  const auto some = Logs(LogsOf({"a", "\xff", "b"}));
  EXPECT_EQ(some.status, 200);
  EXPECT_EQ(some.body.Text(),
            BytesField(1, VarintField(1, 1) + BytesField(2, "The text of 'severity_text' is not UTF-8.")));
  const std::string large(100, 'x');
  const auto json =
      Logs(R"({"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityText":")" + large + R"("},{}]}]}]})", kJson);
  EXPECT_THAT(json.body.Text(),
              HasSubstr(R"({"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"The event has 120 bytes)"));
  const auto none = Logs(LogsOf({"\xff"}));
  EXPECT_EQ(none.status, 400) << "of which a client gives up";
  EXPECT_THAT(none.body.Text(), HasSubstr("not UTF-8"));
  EXPECT_EQ(log_.records().size(), 3U);
}

TEST_F(GatewayDialects, OtlpErrorsAreStatuses) {
  Open();
  const auto malformed = Logs("{}");
  EXPECT_EQ(malformed.status, 400);
  EXPECT_EQ(malformed.content_type, kProtobuf);
  EXPECT_TRUE(malformed.body.Text().starts_with(VarintField(1, 3) + TagOf(2, 2))) << "INVALID_ARGUMENT and a message";
  const auto json = Logs("[]", kJson);
  EXPECT_THAT(json.body.Text(), HasSubstr(R"({"code":3,"message":"The body is not OTLP's JSON)"));
  const auto nowhere = Ask("/v1/traces", kJson, "{}");
  EXPECT_EQ(nowhere.status, 404);
  EXPECT_THAT(nowhere.body.Text(), HasSubstr("gateway.http.otlp.traces"));
  EXPECT_EQ(Logs("", "text/plain").status, 415);
  log_.FailNext({Transient("the disk is full")});
  const auto full = Logs(LogsOf({"a"}));
  EXPECT_EQ(full.status, 503);
  EXPECT_EQ(HeaderOf(full, "Retry-After"), "1");
  EXPECT_THAT(full.body.Text(), HasSubstr("the disk is full"));
  log_.FailNext({Status::OK(), Transient("gone")});
  const auto half = Logs(LogsOf({"a", "b"}));
  EXPECT_EQ(half.status, 503) << "a partial success would never be sent again";
  EXPECT_EQ(HeaderOf(half, "Retry-After"), "1");
  EXPECT_THAT(half.body.Text(), HasSubstr("The log has not taken 1 of 2 events"));
}

TEST_F(GatewayDialects, OtlpObeysTokensRatesAndBackpressure) {
  const std::vector<serve::AccessToken> tokens = {{"writer", {"write:telemetry"}}, {"reader", {"read"}}};
  Open({.topics = {{.topic = "telemetry", .rate = serve::Rate{1, std::chrono::seconds(10)}}, {.topic = "readings"}},
        .guard = {.access = serve::Access(tokens)}});
  const auto send = [&](const std::string& authorization) {
    return Ask("/v1/logs", kJson, R"({"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]})", authorization);
  };
  EXPECT_EQ(send("").status, 401);
  EXPECT_THAT(send("").body.Text(), HasSubstr("\"code\":16"));
  EXPECT_NE(HeaderOf(send(""), "WWW-Authenticate"), "");
  EXPECT_EQ(send("Bearer reader").status, 403);
  EXPECT_EQ(send("Bearer writer").status, 200);
  const auto often = send("Bearer writer");
  EXPECT_EQ(often.status, 429);
  EXPECT_EQ(HeaderOf(often, "Retry-After"), "10");
}

TEST_F(GatewayDialects, InfluxIsToldInItsWords) {
  Open();
  const auto taken = Write("m x=1 1\nm x=2 2", "?org=o&bucket=fleet&precision=s");
  EXPECT_EQ(taken.status, 204);
  EXPECT_EQ(taken.body.Text(), "");
  EXPECT_EQ(log_.records().at(1).payload, R"({"measurement":"m","tags":{},"fields":{"x":2},"time":2000000000})");
  EXPECT_EQ(log_.records().at(1).topic, "readings");
  const auto some = Write("m x=1 1\nm\nm x=2 2");
  EXPECT_EQ(some.status, 400);
  EXPECT_EQ(some.content_type, kJson);
  EXPECT_EQ(
      some.body.Text(),
      R"({"code":"invalid","message":"partial write: 1 of 3 points were not accepted: line 2: there are no fields"})");
  EXPECT_EQ(log_.records().size(), 4U) << "the others are there";
  const auto none = Write("m\nn\no\np");
  EXPECT_EQ(none.status, 400);
  EXPECT_THAT(none.body.Text(), HasSubstr("line 3: there are no fields; and 1 more"));
  EXPECT_EQ(Write("# nothing").status, 400);
  log_.FailNext({Status::OK(), Transient("gone")});
  const auto half = Write("m x=1 1\nm x=2 2");
  EXPECT_EQ(half.status, 503);
  EXPECT_THAT(half.body.Text(), HasSubstr(R"("code":"unavailable")"));
  EXPECT_EQ(HeaderOf(half, "Retry-After"), "1");
}

TEST_F(GatewayDialects, InfluxBucketsAndDatabasesAreTopics) {
  Open();
  const auto v1 = [&](const std::string& query) { return Ask("/write" + query, "", "m x=1 1").status; };
  EXPECT_EQ(v1("?db=fleet"), 204);
  EXPECT_EQ(v1("?db=fleet&rp=autogen&precision=n&u=a&consistency=one"), 204);
  EXPECT_EQ(v1("?db=fleet&rp=old"), 204);
  EXPECT_EQ(log_.records().back().topic, "telemetry");
  EXPECT_EQ(v1("?db=fleet&rp=new"), 404);
  EXPECT_EQ(v1("?bucket=fleet"), 400);
  const auto unknown = Write("m x=1", "?bucket=fleeet");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_THAT(unknown.body.Text(),
              HasSubstr(R"("code":"not found","message":"There is no bucket 'fleeet' here. Did you mean 'fleet'?")"));
  EXPECT_EQ(Write("m x=1", "?bucket=fleet&precision=d").status, 400);
  EXPECT_EQ(Write("m x=1", "?bucket=%zz").status, 400);
}

TEST_F(GatewayDialects, InfluxTokensAreThoseOfOthers) {
  EXPECT_EQ(BearerOf("Token abc"), "Bearer abc");
  EXPECT_EQ(BearerOf("token abc"), "Bearer abc");
  EXPECT_EQ(BearerOf("Bearer abc"), "Bearer abc");
  EXPECT_EQ(BearerOf("Basic dXNlcjphYmM="), "Bearer abc");
  EXPECT_EQ(BearerOf("Basic YWJj"), "Bearer ") << "a user alone";
  EXPECT_EQ(BearerOf("Basic"), "Bearer ");
  EXPECT_EQ(BearerOf(""), "");
  const std::vector<serve::AccessToken> tokens = {{"writer", {"write:readings"}}};
  Open({.topics = {{.topic = "readings"}, {.topic = "telemetry"}}, .guard = {.access = serve::Access(tokens)}});
  EXPECT_EQ(Ask("/api/v2/write?bucket=fleet", "", "m x=1", "Token writer").status, 204);
  const auto wrong = Ask("/api/v2/write?bucket=fleet", "", "m x=1", "Token who");
  EXPECT_EQ(wrong.status, 401);
  EXPECT_THAT(wrong.body.Text(), HasSubstr(R"("code":"unauthorized")"));
  EXPECT_EQ(Ask("/api/v2/write?bucket=other", "", "m x=1", "Token who").status, 401)
      << "a stranger does not learn which there are";
  EXPECT_EQ(Ask("/api/v2/write?bucket=other", "", "m x=1", "Token writer").status, 404);
}

TEST(DialectsWords, AMessageIsUtf8WhateverASenderWrote) {
  http::Response answer;
  answer.status = 400;
  answer.body = "{\"detail\":\"half \xc3\"}";
  EXPECT_EQ(InOtlpWords(std::move(answer), OtlpSignal::kLogs, /*is_json=*/false).body.Text(),
            VarintField(1, 3) + BytesField(2, "half ?"));
}

}  // namespace
}  // namespace millrace::gateway
