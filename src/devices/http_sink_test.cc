// What a gateway may answer, and what its sender makes of it. The gateway is a stub, which says what a sound one rarely
// does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "devices/sink.h"
#include "testing/status_matchers.h"
#include "testing/stub_http_server.h"

namespace millrace::devices {
namespace {

using ::testing::HasSubstr;
using testing::StubHttpServer;
using testing::StubReply;
using testing::StubRequest;
using namespace std::chrono_literals;

/// Of each event.
class Told {
 public:
  OnOutcome callback() {
    return [this](std::int64_t first, std::int64_t end, Outcome outcome, std::string_view detail) {
      const std::lock_guard lock(mutex_);
      for (; first < end; ++first) {
        EXPECT_TRUE(outcomes_.emplace(first, outcome).second) << first << " is told of twice";
        if (!detail.empty()) details_[first] = detail;
      }
    };
  }
  std::size_t Count(Outcome outcome) {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(
        std::count_if(outcomes_.begin(), outcomes_.end(), [&](const auto& one) { return one.second == outcome; }));
  }
  std::string Detail(std::int64_t number) { return details_[number]; }

 private:
  std::mutex mutex_;
  std::map<std::int64_t, Outcome> outcomes_;
  std::map<std::int64_t, std::string> details_;
};

class HttpSinkTest : public ::testing::Test {
 protected:
  // Sends so many and finishes.
  Status SendAll(const StubHttpServer& server, int events) { return SendAll(server, events, told_); }
  static Status SendAll(const StubHttpServer& server, int events, Told& told) {
    const auto sink = MakeHttpSink({.url = server.url() + "/v1/events/clicks", .token = "secret"}, told.callback());
    for (int i = 0; i < events; ++i) {
      const std::string payload = "{\"n\":" + std::to_string(i) + "}";
      RETURN_NOT_OK(sink->Send({.number = i, .payload = payload, .key = "d"}, {}));
    }
    return sink->Finish(10s);
  }

  Told told_;
};

TEST_F(HttpSinkTest, SendsBatchesOfLines) {
  StubHttpServer gateway([](const StubRequest&) { return StubReply{202, R"({"accepted":1,"offsets":{}})"}; });
  MILLRACE_ASSERT_OK(SendAll(gateway, 1200));
  EXPECT_EQ(told_.Count(Outcome::kAcknowledged), 1200u);
  const auto requests = gateway.requests();
  ASSERT_EQ(requests.size(), 3u);
  std::string lines;
  std::set<std::string> keys;
  for (const auto& request : requests) {
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.target, "/v1/events/clicks");
    EXPECT_EQ(request.headers.at("content-type"), "application/x-ndjson");
    EXPECT_EQ(request.headers.at("authorization"), "Bearer secret");
    EXPECT_TRUE(keys.insert(request.headers.at("idempotency-key")).second);
    EXPECT_LE(std::count(request.body.begin(), request.body.end(), '\n'), 500);
    lines += request.body;
  }
  for (int i = 0; i < 1200; ++i) EXPECT_THAT(lines, HasSubstr("{\"n\":" + std::to_string(i) + "}\n"));
}

TEST_F(HttpSinkTest, WhatTheGatewayRejectsIsRefused) {
  StubHttpServer gateway([](const StubRequest&) {
    return StubReply{
        200,
        R"({"accepted":8,"rejected":[{"index":7,"code":"bad_json","detail":"cut"},{"index":0,"code":"too_large","detail":"x"}]})"};
  });
  MILLRACE_ASSERT_OK(SendAll(gateway, 10));
  EXPECT_EQ(told_.Count(Outcome::kAcknowledged), 8u);
  EXPECT_EQ(told_.Count(Outcome::kRefused), 2u);
  EXPECT_EQ(told_.Detail(7), "bad_json: cut");
  EXPECT_EQ(told_.Detail(0), "too_large: x");
}

TEST_F(HttpSinkTest, ABatchThatIsRefusedIsRefusedWhole) {
  for (const int status : {400, 413, 422}) {
    Told told;
    StubHttpServer gateway([status](const StubRequest&) { return StubReply{status, R"({"title":"no"})"}; });
    MILLRACE_ASSERT_OK(SendAll(gateway, 10, told));
    EXPECT_EQ(told.Count(Outcome::kRefused), 10u);
    EXPECT_EQ(told.Detail(3), "HTTP " + std::to_string(status));
  }
}

TEST_F(HttpSinkTest, LaterIsTriedAgainAsTheSameRequest) {
  std::atomic<int> asked{0};
  StubHttpServer gateway([&](const StubRequest&) {
    switch (asked++) {
      case 0:
        return StubReply{503, "busy"};
      case 1:
        return StubReply{429, "slower", {{"Retry-After", "1"}}};
      case 2:
        return StubReply{.drop = true};
      default:
        return StubReply{202, R"({"accepted":5})"};
    }
  });
  MILLRACE_ASSERT_OK(SendAll(gateway, 5));
  EXPECT_EQ(told_.Count(Outcome::kAcknowledged), 5u);
  std::set<std::string> keys;
  for (const auto& request : gateway.requests()) keys.insert(request.headers.at("idempotency-key"));
  EXPECT_EQ(keys.size(), 1u);
}

TEST_F(HttpSinkTest, AnythingElseEndsTheSending) {
  struct Case {
    const char* name;
    StubReply reply;
    const char* message;
  };
  for (const auto& c :
       {Case{"a token that is none", {401, "who are you"}, "it answered 401: who are you"},
        Case{"a proxy's page", {200, "<html>"}, "is no gateway's: it answered 200: <html>"},
        Case{"a rejection of nothing", {200, R"({"accepted":1,"rejected":[{"index":"x"}]})"}, "is no gateway's"}}) {
    SCOPED_TRACE(c.name);
    Told told;
    StubHttpServer gateway([&](const StubRequest&) { return c.reply; });
    {
      const auto sink = MakeHttpSink({.url = gateway.url()}, told.callback());
      MILLRACE_ASSERT_OK(sink->Send({.number = 0, .payload = "{}", .key = "d"}, {}));
      const Status finished = sink->Finish(10s);
      MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, finished);
      EXPECT_THAT(finished.message(), HasSubstr(c.message));
      MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, sink->Push());
    }
    EXPECT_EQ(told.Count(Outcome::kUnknown), 1u);
  }
}

TEST_F(HttpSinkTest, RejectionsOutsideOfTheBatchAreNotBelieved) {
  StubHttpServer gateway([](const StubRequest&) {
    return StubReply{
        200, R"({"accepted":1,"rejected":[{"index":1,"code":"c","detail":"d"},{"index":5,"code":"c","detail":"d"}]})"};
  });
  EXPECT_FALSE(SendAll(gateway, 3).ok());
  EXPECT_EQ(told_.Count(Outcome::kAcknowledged), 1u);
  EXPECT_EQ(told_.Count(Outcome::kRefused), 1u);
  EXPECT_EQ(told_.Count(Outcome::kUnknown), 1u);
}

TEST_F(HttpSinkTest, AGatewayThatIsSilentKeepsNobodyWaiting) {
  StubHttpServer gateway([](const StubRequest&) { return StubReply{.stall = true}; });
  {
    const auto sink = MakeHttpSink({.url = gateway.url()}, told_.callback());
    MILLRACE_ASSERT_OK(sink->Send({.number = 0, .payload = "{}", .key = "d"}, {}));
    MILLRACE_ASSERT_KIND(ErrorKind::kTransient, sink->Finish(50ms));
    // More than the queue holds.
    std::stop_source stop;
    stop.request_stop();
    Status sent;
    for (int i = 1; i < 10'000 && sent.ok(); ++i)
      sent = sink->Send({.number = i, .payload = "{}", .key = "d"}, stop.get_token());
    MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, sent);
  }
  EXPECT_GT(told_.Count(Outcome::kUnknown), 4000u) << "each that was taken is told of";
}

}  // namespace
}  // namespace millrace::devices
