// What is asked again: kept answers, and who has an answer already by its ETag.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/test_api.h"

namespace millrace::serve {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using namespace std::chrono_literals;

TEST_F(ApiTest, AnAnswerIsGivenAgainForAsLongAsItsStateIsTheSame) {
  backend_.state = {.table_id = "t", .version = 4, .changes = 1};
  const std::string question = "/v1/aggregates/clicks_1m?group_by=country&from=-1h";
  const auto first = Get(question);
  EXPECT_EQ(backend_.queries, 1);
  // What would show if it were asked again.
  backend_.views = 5;
  clock_.now += 10;
  const auto second = Get(question);
  EXPECT_EQ(backend_.queries, 1) << "-1h means the same windows still";
  EXPECT_EQ(backend_.answered_again, 1);
  EXPECT_EQ(second.body.Text(), first.body.Text());
  EXPECT_EQ(second.headers, first.headers);
  EXPECT_EQ(second.content_type, first.content_type);
  const auto at_once = AtOnce({.method = "GET", .target = question});
  ASSERT_TRUE(at_once);
  EXPECT_EQ(at_once->body.Text(), first.body.Text());

  // Each is another question.
  int queries = 1;
  const auto expect_new = [&](const char* what, http::Request request) {
    SCOPED_TRACE(what);
    EXPECT_FALSE(AtOnce(request));
    EXPECT_EQ(Send(request).status, 200);
    EXPECT_EQ(backend_.queries, ++queries);
    EXPECT_TRUE(AtOnce(request));
  };
  expect_new("keys", {.method = "GET", .target = "/v1/aggregates/clicks_1m?from=-1h"});
  expect_new("range", {.method = "GET", .target = question + "&to=0"});
  expect_new("measures", {.method = "GET", .target = question + "&measures=views"});
  expect_new("condition", {.method = "GET", .target = question + "&where=true"});
  expect_new("order", {.method = "GET", .target = question + "&order_by=views"});
  expect_new("limit", {.method = "GET", .target = question + "&limit=3"});
  expect_new("step", {.method = "GET", .target = question + "&step=1h"});
  expect_new("freshness", {.method = "GET", .target = question + "&freshness=committed"});
  expect_new("format", {.method = "GET", .target = question + "&format=csv"});
  expect_new("coding", {.method = "GET", .target = question, .accept_encoding = "gzip"});
  clock_.now += FakeBackend::kMinute;
  expect_new("time", {.method = "GET", .target = question});

  backend_.state->changes = 2;
  EXPECT_FALSE(AtOnce({.method = "GET", .target = question}));
  EXPECT_THAT(Get(question).body.Text(), HasSubstr(R"("views":5)"));
  EXPECT_THAT(Get("/metrics").body.Text(),
              AllOf(HasSubstr("millrace_answer_cache_hits_total 13"),
                    HasSubstr("millrace_answer_cache_misses_total 13"), HasSubstr("millrace_answer_cache_bytes ")));
}

TEST_F(ApiTest, WhoAsksWhatIsBeingMadeIsGivenThatAnswer) {
  Api& api = MakeApi();
  const std::string question = "/v1/aggregates/clicks_1m?group_by=country";
  http::Request first{.method = "GET", .target = question};
  const http::Early nothing = api.HandleAtOnce(first);
  EXPECT_FALSE(nothing.response);
  EXPECT_FALSE(nothing.join) << "there is nobody else";
  std::vector<http::Response> given;
  const auto join = [&](http::Request request) {
    const http::Early early = api.HandleAtOnce(request);
    ASSERT_TRUE(early.join);
    early.join([&given](std::optional<http::Response> response) {
      ASSERT_TRUE(response);
      given.push_back(*std::move(response));
    });
  };
  join({.method = "GET", .target = question});
  join({.method = "HEAD", .target = question + "&format=json"});
  join({.method = "GET", .target = question, .if_none_match = "*"});
  http::Request other{.method = "GET", .target = question + "&format=csv"};
  EXPECT_FALSE(api.HandleAtOnce(other).join) << "other bytes";
  EXPECT_TRUE(given.empty());
  const auto made = Send(first);
  EXPECT_EQ(backend_.queries, 1);
  ASSERT_EQ(given.size(), 3u);
  EXPECT_EQ(made.status, 200);
  EXPECT_EQ(given[0].body.Text(), made.body.Text());
  EXPECT_EQ(given[0].headers, made.headers);
  EXPECT_EQ(given[1].body.Text(), made.body.Text()) << "the server sends no body to HEAD";
  EXPECT_EQ(given[2].status, 304);
  EXPECT_EQ(backend_.answered_again, 3);
  EXPECT_THAT(Get("/metrics").body.Text(), AllOf(HasSubstr("millrace_answer_cache_hits_total 3"),
                                                 HasSubstr(R"(route="/v1/aggregates/{aggregate}",status="200"} 3)"),
                                                 HasSubstr(R"(route="/v1/aggregates/{aggregate}",status="304"} 1)")));
  http::Request next{.method = "GET", .target = question};
  EXPECT_FALSE(api.HandleAtOnce(next).join) << "it is over, and nobody knows whether it would be the same";
}

TEST_F(ApiTest, AnErrorIsForAllWhoWaitAndAStoppedAnswerForNone) {
  Api& api = MakeApi();
  for (const bool is_stopped : {false, true}) {
    std::stop_source stop;
    http::Request first{.method = "GET", .target = "/v1/aggregates/clicks_1m", .stop = stop.get_token()};
    EXPECT_FALSE(api.HandleAtOnce(first).join);
    http::Request second{.method = "GET", .target = "/v1/aggregates/clicks_1m"};
    const http::Early early = api.HandleAtOnce(second);
    ASSERT_TRUE(early.join);
    int given = 0;
    early.join([&](std::optional<http::Response> response) {
      ++given;
      ASSERT_EQ(response.has_value(), !is_stopped);
      if (response) {
        EXPECT_EQ(response->status, 503);
      }
    });
    backend_.fail = is_stopped ? Cancelled("the question is not waited for any more") : Transient("the store is away");
    if (is_stopped) stop.request_stop();
    Send(first);
    first.prepared.reset();
    EXPECT_EQ(given, 1);
    if (!is_stopped) continue;
    EXPECT_FALSE(api.HandleAtOnce(second).join) << "now it is the second who makes it";
    backend_.fail = Status::OK();
    EXPECT_EQ(Send(second).status, 200);
  }
}

TEST_F(ApiTest, NobodyWaitsForAnAnswerThatHeMayNotHaveNorIsCountedTwice) {
  options_.guard.access.emplace(std::vector<AccessToken>{{"reader", {"read"}}, {"writer", {"write:clicks"}}});
  options_.guard.rate = Rate{3, 1min};
  Api& api = MakeApi();
  const auto ask = [&](const char* token) {
    return http::Request{.method = "GET", .target = "/v1/aggregates/clicks_1m", .authorization = token};
  };
  http::Request first = ask("Bearer reader");
  EXPECT_FALSE(api.HandleAtOnce(first).join);
  for (const auto& [token, status] : {std::pair("", 401), {"Bearer no", 401}, {"Bearer writer", 403}}) {
    http::Request refused = ask(token);
    const http::Early early = api.HandleAtOnce(refused);
    ASSERT_TRUE(early.response);
    EXPECT_EQ(early.response->status, status);
  }
  http::Request second = ask("Bearer reader");
  EXPECT_TRUE(api.HandleAtOnce(second).join);
  first.prepared.reset();
  EXPECT_FALSE(api.HandleAtOnce(second).join);
  EXPECT_EQ(Send(second).status, 200) << "the second of three";
  http::Request third = ask("Bearer reader");
  EXPECT_FALSE(api.HandleAtOnce(third).response);
  http::Request fourth = ask("Bearer reader");
  EXPECT_EQ(api.HandleAtOnce(fourth).response->status, 429);
}

TEST_F(ApiTest, NothingIsGivenAgainThatMayHaveChanged) {
  const std::string question = "/v1/aggregates/clicks_1m";
  const auto expect_asked_each_time = [&](const char* why) {
    SCOPED_TRACE(why);
    const int before = backend_.queries;
    for (int i = 0; i < 2; ++i) Get(question);
    EXPECT_EQ(backend_.queries, before + 2);
    EXPECT_FALSE(AtOnce({.method = "GET", .target = question}));
  };
  expect_asked_each_time("the state is not known");
  backend_.state = query::AnswerState{.table_id = "t", .version = 4};
  backend_.fail = Transient("the store is away");
  expect_asked_each_time("an error");
  backend_.fail = Status::OK();
  backend_.overflows = 10'000;
  const auto too_large = "/v1/aggregates/clicks_1m?format=csv";
  EXPECT_EQ(Get(too_large).status, 413);
  EXPECT_EQ(Get(too_large).status, 413);
  for (const char* other :
       {"/v1/aggregates/clicks_1h", "/v1/aggregates/clicks_1m/stream", "/v1/aggregates/", "/v1/tables",
        "/v1/aggregates/clicks_1m?grup_by=x", "/v1/aggregates/clicks_1m?token=x", "/%zz"}) {
    EXPECT_FALSE(AtOnce({.method = "GET", .target = other})) << other;
  }
}

TEST_F(ApiTest, WhatIsGivenAgainIsGivenToThoseAloneWhoMayHaveIt) {
  options_.guard.access.emplace(std::vector<AccessToken>{{"reader", {"read"}}, {"writer", {"write:clicks"}}});
  options_.guard.rate = Rate{4, 1min};
  options_.guard.origins = {"https://bi.example"};
  backend_.state = query::AnswerState{.table_id = "t", .version = 4};
  http::Request request{.method = "GET", .target = "/v1/aggregates/clicks_1m", .authorization = "Bearer reader"};
  EXPECT_EQ(Send(request).status, 200);
  request.origin = "https://bi.example";
  const auto given = AtOnce(request);
  ASSERT_TRUE(given);
  EXPECT_EQ(given->status, 200);
  EXPECT_EQ(Header(*given, "Access-Control-Allow-Origin"), "https://bi.example");
  for (const auto& [authorization, status] : {std::pair("", 401), {"Bearer no", 401}, {"Bearer writer", 403}}) {
    request.authorization = authorization;
    const auto refused = AtOnce(request);
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->status, status);
    EXPECT_EQ(refused->body.Text().find("views"), std::string::npos);
  }
  request.authorization = "Bearer reader";
  EXPECT_EQ(AtOnce(request)->status, 200);
  EXPECT_EQ(AtOnce(request)->status, 200);
  EXPECT_EQ(AtOnce(request)->status, 429) << "it counts against the rate like any other";
}

TEST_F(ApiTest, AnETagIsOfWhatTheAnswerSaysAndNotOfItsMoment) {
  const std::string question = "/v1/aggregates/clicks_1m?group_by=country";
  const auto first = Get(question);
  const std::string tag = Header(first, "ETag");
  EXPECT_THAT(tag, AllOf(StartsWith("W/\""), EndsWith("\"")));
  EXPECT_EQ(Header(first, "Cache-Control"), "private, no-cache");
  EXPECT_EQ(Header(first, "Vary"), "Accept, Accept-Encoding");
  EXPECT_NE(Header(Get(question + "&format=csv"), "ETag"), tag) << "another representation";
  EXPECT_NE(Header(Get(question + "&format=ndjson"), "ETag"), tag);
  EXPECT_EQ(Header(Get(question + "&format=arrow"), "ETag"), "");

  // Events came, but not for these windows.
  backend_.offset = 12;
  for (const std::string& sent : {tag, tag.substr(2), "\"x\", " + tag, std::string("*")}) {
    SCOPED_TRACE(sent);
    const auto same = Send({.method = "GET", .target = question, .if_none_match = sent});
    EXPECT_EQ(same.status, 304);
    EXPECT_EQ(same.body.bytes(), 0u);
    EXPECT_EQ(same.content_type, "");
    EXPECT_EQ(Header(same, "ETag"), tag);
    EXPECT_EQ(Header(same, "Vary"), "Accept, Accept-Encoding");
    EXPECT_EQ(Header(same, "Cache-Control"), "private, no-cache");
    EXPECT_THAT(Header(same, "Millrace-As-Of"), HasSubstr(R"("0":12)")) << "what the client has is as of now";
  }
  EXPECT_EQ(Send({.method = "HEAD", .target = question, .if_none_match = tag}).status, 304);
  EXPECT_EQ(Send({.method = "GET", .target = question + "&format=csv", .if_none_match = tag}).status, 200);
  EXPECT_EQ(Send({.method = "GET", .target = question, .if_none_match = tag.substr(0, tag.size() - 2)}).status, 200);

  // A late event.
  backend_.views = 4;
  const auto changed = Send({.method = "GET", .target = question, .if_none_match = tag});
  EXPECT_EQ(changed.status, 200);
  EXPECT_NE(Header(changed, "ETag"), tag);

  // When its windows are closed it is strong; who came with the weak one has the same.
  backend_.is_closed = true;
  const auto closed = Send({.method = "GET", .target = question, .if_none_match = Header(changed, "ETag")});
  EXPECT_EQ(closed.status, 304);
  EXPECT_EQ("W/" + Header(closed, "ETag"), Header(changed, "ETag"));
  backend_.is_closed = false;

  // Of what is kept, too.
  backend_.state = query::AnswerState{.table_id = "t", .version = 4};
  const std::string now = Header(Get(question), "ETag");
  EXPECT_EQ(now, Header(changed, "ETag"));
  const auto kept = AtOnce({.method = "GET", .target = question, .if_none_match = now});
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->status, 304);
  EXPECT_EQ(AtOnce({.method = "GET", .target = question, .if_none_match = tag})->status, 200);
}

TEST_F(ApiTest, RowsHaveAnETagAndErrorsAndSqlHaveNone) {
  const auto rows = Get("/v1/tables/clicks/rows");
  const std::string tag = Header(rows, "ETag");
  EXPECT_THAT(tag, StartsWith("W/\""));
  EXPECT_EQ(Header(Get("/v1/tables/clicks/rows"), "ETag"), tag);
  EXPECT_EQ(Send({.method = "GET", .target = "/v1/tables/clicks/rows", .if_none_match = tag}).status, 304);
  EXPECT_NE(Header(Get("/v1/tables/clicks/rows?cursor=4-1-00"), "ETag"), tag) << "there is no next page";
  EXPECT_EQ(Header(Get("/v1/tables/nothing/rows"), "ETag"), "");
  EXPECT_EQ(Send({.method = "GET", .target = "/v1/tables/nothing/rows", .if_none_match = "*"}).status, 404);
  const auto sql = Send({.method = "POST", .target = "/v1/sql", .body = R"({"sql":"SELECT 1"})", .if_none_match = "*"});
  EXPECT_EQ(sql.status, 200);
  EXPECT_EQ(Header(sql, "ETag"), "");
}

}  // namespace
}  // namespace millrace::serve
