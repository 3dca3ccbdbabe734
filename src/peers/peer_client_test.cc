// Goal: one peer that is slow, gone, or wrong costs the others nothing, and is named. Over real sockets.
#include "peers/peer_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <map>

#include "testing/manual_clock.h"
#include "testing/status_matchers.h"
#include "testing/stub_http_server.h"

namespace millrace::peers {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::StubHttpServer;
using testing::StubReply;

// Nobody listens there.
constexpr const char* kNobody = "http://127.0.0.1:1";

class PeerClientTest : public ::testing::Test {
 protected:
  Result<std::vector<query::MissingSource>> Ask(const std::vector<std::string>& urls, std::int64_t bytes_max = 1000) {
    bodies_.clear();
    return client_.Ask(
        urls, {.path = "/q", .body = "{}", .bytes_max = bytes_max},
        [this](const std::string& url, std::string body) {
          bodies_[url] = std::move(body);
          return take_;
        },
        stop_.get_token());
  }
  PeerState StateOf(const std::string& url) const {
    for (const auto& state : client_.States()) {
      if (state.url == url) return state;
    }
    return {};
  }

  testing::ManualClock clock_{1'000'000};
  PeerClient client_{{.token = "secret", .patience = 2s, .failures_max = 2}, clock_};
  std::map<std::string, std::string> bodies_;
  Status take_ = Status::OK();
  std::stop_source stop_;
};

TEST_F(PeerClientTest, AllAreAskedWithTheTokenAndTheBody) {
  const StubHttpServer a([](const auto&) { return StubReply{.body = "one"}; });
  const StubHttpServer b([](const auto&) { return StubReply{.body = "two"}; });
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto missing, Ask({a.url(), b.url()}));
  EXPECT_THAT(missing, ElementsAre());
  EXPECT_EQ(bodies_, (std::map<std::string, std::string>{{a.url(), "one"}, {b.url(), "two"}}));
  ASSERT_EQ(a.requests().size(), 1u);
  EXPECT_EQ(a.requests()[0].method, "POST");
  EXPECT_EQ(a.requests()[0].target, "/q");
  EXPECT_EQ(a.requests()[0].body, "{}");
  EXPECT_EQ(a.requests()[0].headers.at("authorization"), "Bearer secret");
  EXPECT_EQ(StateOf(a.url()).last_answer, 1'000'000);
  EXPECT_EQ(StateOf(a.url()).num_answers, 1);
}

TEST_F(PeerClientTest, WhoIsSlowOrGoneOrRefusesIsNamedAndTheOthersAreHeard) {
  const StubHttpServer good([](const auto&) { return StubReply{.body = "x"}; });
  const StubHttpServer slow([](const auto&) { return StubReply{.stall = true}; });
  const StubHttpServer rude(
      [](const auto&) { return StubReply{.status = 401, .body = R"({"detail": "who are you?"})"}; });
  const auto begun = std::chrono::steady_clock::now();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto missing, Ask({kNobody, slow.url(), good.url(), rude.url()}));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 8s);
  EXPECT_EQ(bodies_.size(), 1u);
  ASSERT_EQ(missing.size(), 3u);
  std::map<std::string, std::string> reasons;
  for (const auto& [name, reason] : missing) reasons[name] = reason;
  EXPECT_THAT(reasons.at(slow.url()), HasSubstr("timed out"));
  EXPECT_THAT(reasons.at(kNobody), HasSubstr("connect"));
  EXPECT_EQ(reasons.at(rude.url()), "it answered 401: who are you?");
}

TEST_F(PeerClientTest, AnAnswerThatDoesNotFitIsNone) {
  const StubHttpServer a([](const auto&) { return StubReply{.body = "x"}; });
  take_ = InvalidInput("its rows are strange");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto missing, Ask({a.url()}));
  EXPECT_THAT(missing, ElementsAre(query::MissingSource{a.url(), "its rows are strange"}));
  EXPECT_EQ(StateOf(a.url()).error, "its rows are strange");
}

TEST_F(PeerClientTest, WhatIsTooLargeEndsTheQuestion) {
  const StubHttpServer a([](const auto&) { return StubReply{.body = std::string(1001, 'x')}; });
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, Ask({a.url()}));
  MILLRACE_ASSERT_OK(Ask({a.url()}, 1001));
  const StubHttpServer b([](const auto&) { return StubReply{.status = 413, .body = R"({"detail": "much"})"}; });
  const auto refused = Ask({b.url()});
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, refused);
  EXPECT_THAT(refused.status().message(), HasSubstr("much"));
  EXPECT_EQ(StateOf(b.url()).num_failures, 0) << "it is well";
}

TEST_F(PeerClientTest, WhoFailsAgainAndAgainIsLeftInPeaceAndThenAskedByOne) {
  int status = 500;
  const StubHttpServer a([&status](const auto&) { return StubReply{.status = status, .body = "{}"}; });
  for (int i = 0; i < 5; ++i) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto missing, Ask({a.url()}));
    EXPECT_THAT(missing, ElementsAre(query::MissingSource{a.url(), "it answered 500"}));
  }
  EXPECT_EQ(a.requests().size(), 2u) << "failures_max";
  EXPECT_TRUE(StateOf(a.url()).is_paused);
  clock_.Set(clock_.Now() + 1'000'000);  // The first pause.
  MILLRACE_ASSERT_OK(Ask({a.url()}));
  MILLRACE_ASSERT_OK(Ask({a.url()}));
  EXPECT_EQ(a.requests().size(), 3u);
  status = 200;
  clock_.Set(clock_.Now() + 2'000'000);  // Twice as long.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto missing, Ask({a.url()}));
  EXPECT_THAT(missing, ElementsAre());
  EXPECT_FALSE(StateOf(a.url()).is_paused);
  EXPECT_EQ(StateOf(a.url()).failures, 0);
  MILLRACE_ASSERT_OK(Ask({a.url()}));
  EXPECT_EQ(a.requests().size(), 5u);
}

TEST_F(PeerClientTest, OurselvesWeNeedNotAskAndWhoIsNoLongerNamedIsForgotten) {
  const StubHttpServer a([](const auto&) { return StubReply{.body = "x"}; });
  client_.SetOurselves(a.url());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto missing, Ask({a.url(), kNobody}));
  EXPECT_EQ(missing.size(), 1u);
  EXPECT_TRUE(a.requests().empty());
  EXPECT_TRUE(StateOf(a.url()).is_ourselves);
  MILLRACE_ASSERT_OK(Ask({a.url()}));
  EXPECT_EQ(client_.States().size(), 1u);
}

TEST_F(PeerClientTest, AQuestionThatNobodyWaitsForEnds) {
  const StubHttpServer slow([](const auto&) { return StubReply{.stall = true}; });
  stop_.request_stop();
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, Ask({slow.url()}));
}

}  // namespace
}  // namespace millrace::peers
