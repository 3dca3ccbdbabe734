// Bodies that are made while they are sent, over real sockets: how they are framed, who waits for whom, and every way
// in which one ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "http/server.h"
#include "http/test_client.h"
#include "testing/status_matchers.h"

namespace millrace::http {
namespace {

using namespace std::chrono_literals;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kGet = "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n";
const std::string kGetOld = "GET /stream HTTP/1.0\r\n\r\n";

// A body that the test gives piece by piece, from its own thread.
class Feed {
 public:
  // Answers what is asked for, now or as soon as it is. nullopt: the end.
  void Give(Chunk chunk) {
    std::function<void(Chunk)> take;
    {
      const std::scoped_lock lock(mutex_);
      if (!take_) {
        given_.push_back(std::move(chunk));
        return;
      }
      take = std::exchange(take_, nullptr);
    }
    take(std::move(chunk));
  }
  void WaitForAsked(int times) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return asked_ >= times; });
  }
  void WaitForDropped() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return dropped_; });
  }
  int asked() {
    const std::scoped_lock lock(mutex_);
    return asked_;
  }
  bool stop_requested() {
    const std::scoped_lock lock(mutex_);
    return stop_.stop_requested();
  }
  // What the server waits for, to be called too late.
  std::function<void(Chunk)> TakeTake() {
    const std::scoped_lock lock(mutex_);
    return std::exchange(take_, nullptr);
  }

  // The handler that answers with it.
  Response operator()(const Request& request) {
    const std::scoped_lock lock(mutex_);
    stop_ = request.stop;
    Response response{200, "text/plain", {}, {}};
    response.body = Body(std::make_unique<Source>(*this));
    return response;
  }

 private:
  class Source final : public BodySource {
   public:
    explicit Source(Feed& feed) : feed_(feed) {}
    ~Source() override {
      const std::scoped_lock lock(feed_.mutex_);
      feed_.dropped_ = true;
      feed_.changed_.notify_all();
    }
    void Next(std::function<void(Chunk)> take) override { feed_.Ask(std::move(take)); }

   private:
    Feed& feed_;
  };

  void Ask(std::function<void(Chunk)> take) {
    std::unique_lock lock(mutex_);
    ++asked_;
    changed_.notify_all();
    if (given_.empty()) {
      take_ = std::move(take);
      return;
    }
    Chunk chunk = std::move(given_.front());
    given_.pop_front();
    lock.unlock();
    take(std::move(chunk));
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Chunk> given_;
  std::function<void(Chunk)> take_;
  std::stop_token stop_;
  int asked_ = 0;
  bool dropped_ = false;
};

// Says at once, and for ever, that it has nothing.
class EmptySource final : public BodySource {
  void Next(std::function<void(Chunk)> take) override { take(""); }
};

std::unique_ptr<Server> Serving(ServerOptions options, Handler handler) {
  auto server = Server::Start(options, std::move(handler));
  EXPECT_TRUE(server.ok()) << server.status().ToString();
  return *std::move(server);
}

// /stream from the feed, anything else at once.
Handler Feeding(Feed& feed) {
  return [&feed](const Request& request) {
    return request.target == "/stream" ? feed(request) : Response{200, "text/plain", "here", {}};
  };
}

std::string BodyOf(const std::string& response) { return response.substr(response.find("\r\n\r\n") + 4); }

TEST(HttpStream, IsChunkedInHttp11AndTheConnectionGoesOn) {
  Feed feed;
  const auto server = Serving({}, Feeding(feed));
  TestClient client(server->port());
  client.Send(kGet);
  const std::string head = client.ReadUntil("\r\n\r\n");
  EXPECT_EQ(StatusOf(head), 200);
  EXPECT_THAT(head, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(head, Not(HasSubstr("Content-Length")));
  EXPECT_THAT(head, Not(HasSubstr("Connection: close")));
  // Each chunk is there before the next is given.
  feed.Give("one");
  EXPECT_EQ(client.ReadUntil("one\r\n"), "3\r\none\r\n");
  feed.Give("");  // Not an end.
  feed.Give(std::string(1000, 'x'));
  EXPECT_EQ(client.ReadUntil("x\r\n"), "3e8\r\n" + std::string(1000, 'x') + "\r\n");
  feed.Give(std::nullopt);
  EXPECT_EQ(client.ReadUntil("\r\n\r\n"), "0\r\n\r\n");
  feed.WaitForDropped();
  client.Send("GET /next HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.ReadOne(), HasSubstr("here"));
}

TEST(HttpStream, EndsWithTheConnectionInHttp10) {
  Feed feed;
  const auto server = Serving({}, Feeding(feed));
  TestClient client(server->port());
  client.Send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  feed.Give("one");
  feed.Give("two");
  feed.Give(std::nullopt);
  const std::string response = client.ReadAll();
  EXPECT_THAT(response, Not(HasSubstr("Transfer-Encoding")));
  EXPECT_THAT(response, Not(HasSubstr("Content-Length")));
  EXPECT_THAT(response, HasSubstr("Connection: close\r\n"));
  EXPECT_EQ(BodyOf(response), "onetwo");
  EXPECT_EQ(client.error(), boost::asio::error::eof);
}

TEST(HttpStream, ClosesWhenTheClientWantsIt) {
  Feed feed;
  const auto server = Serving({}, Feeding(feed));
  TestClient client(server->port());
  client.Send("GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  feed.Give("one");
  feed.Give(std::nullopt);
  const std::string response = client.ReadAll();
  EXPECT_THAT(response, HasSubstr("Connection: close\r\n"));
  EXPECT_EQ(BodyOf(response), "3\r\none\r\n0\r\n\r\n");
}

TEST(HttpStream, IsNotAskedForItsBodyByHead) {
  Feed feed;
  const auto server = Serving({}, Feeding(feed));
  TestClient client(server->port());
  client.Send("HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.ReadOne(/*head=*/true), HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(client.ReadOne(), HasSubstr("here"));
  feed.WaitForDropped();
  EXPECT_EQ(feed.asked(), 0);
}

TEST(HttpStream, SilentOnesHoldNoThread) {
  const ServerOptions options{.short_handlers_max = 1, .waiting_max = 0};
  std::vector<std::unique_ptr<Feed>> feeds;
  for (int i = 0; i < 20; ++i) feeds.push_back(std::make_unique<Feed>());
  const auto server = Serving(options, [&](const Request& request) {
    return request.target == "/next" ? Response{200, "text/plain", "here", {}}
                                     : (*feeds[std::stoul(request.target.substr(1))])(request);
  });
  std::vector<std::unique_ptr<TestClient>> clients;
  for (std::size_t i = 0; i < feeds.size(); ++i) {
    clients.push_back(std::make_unique<TestClient>(server->port()));
    clients.back()->Send("GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(StatusOf(clients.back()->ReadUntil("\r\n\r\n")), 200);
    feeds[i]->WaitForAsked(1);
  }
  TestClient other(server->port());
  other.Send("GET /next HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(other.ReadOne(), HasSubstr("here"));
  for (std::size_t i = feeds.size(); i-- > 0;) {
    feeds[i]->Give(std::to_string(i));
    EXPECT_THAT(clients[i]->ReadUntil("\r\n" + std::to_string(i) + "\r\n"), HasSubstr(std::to_string(i)));
  }
}

TEST(HttpStream, IsAskedOnlyAsFastAsItsClientReads) {
  constexpr int kChunks = 64;
  constexpr std::size_t kChunkBytes = 1 << 20;
  Feed feed;
  for (int i = 0; i < kChunks; ++i) feed.Give(std::string(kChunkBytes, static_cast<char>('a' + i % 26)));
  feed.Give(std::nullopt);
  const auto server = Serving({}, Feeding(feed));
  TestClient client(server->port());
  client.Send(kGetOld);
  client.ReadUntil("\r\n\r\n");
  // What nobody has read yet lies in the kernel's buffers for the socket, some MiB, and in one chunk.
  feed.WaitForAsked(1);
  TestClient other(server->port());
  for (int i = 0; i < 20; ++i) {
    other.Send("GET /next HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(other.ReadOne(), HasSubstr("here"));
  }
  EXPECT_LT(feed.asked(), kChunks / 2);
  const std::string body = client.ReadAll();
  EXPECT_EQ(client.error(), boost::asio::error::eof);
  ASSERT_EQ(body.size(), kChunks * kChunkBytes);
  for (int i = 0; i < kChunks; ++i) EXPECT_EQ(body[i * kChunkBytes], 'a' + i % 26);
  EXPECT_EQ(feed.asked(), kChunks + 1);
}

TEST(HttpStream, AClientThatDoesNotReadIsCutOff) {
  Feed feed;
  for (int i = 0; i < 64; ++i) feed.Give(std::string(1 << 20, 'a'));
  const auto server = Serving({.write_timeout = 100ms}, Feeding(feed));
  TestClient client(server->port());
  client.Send(kGetOld);
  feed.WaitForDropped();
  EXPECT_TRUE(feed.stop_requested());
  EXPECT_LT(feed.asked(), 64);
  client.ReadAll();
  EXPECT_EQ(client.error(), boost::asio::error::connection_reset);
}

TEST(HttpStream, OfEmptyChunksOnlyKeepsNobodyWaiting) {
  const auto server = Serving({}, [&](const Request& request) {
    Response response{200, "text/plain", "here", {}};
    if (request.target == "/stream") response.body = Body(std::make_unique<EmptySource>());
    return response;
  });
  TestClient client(server->port());
  client.Send(kGet);
  client.ReadUntil("\r\n\r\n");
  TestClient other(server->port());
  other.Send("GET /next HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(other.ReadOne(), HasSubstr("here"));
}

TEST(HttpStream, AClientThatLeavesRequestsTheStop) {
  for (const Lane lane : {Lane::kAtOnce, Lane::kShort, Lane::kLong}) {
    SCOPED_TRACE(static_cast<int>(lane));
    Feed feed;
    const auto server = Serving({.lane = [lane](const Request&) { return lane; }}, Feeding(feed));
    {
      TestClient client(server->port());
      client.Send(kGet);
      client.ReadUntil("\r\n\r\n");
      feed.Give("one");
      client.ReadUntil("one\r\n");
      feed.WaitForAsked(2);
      EXPECT_FALSE(feed.stop_requested());
    }
    feed.WaitForDropped();
    EXPECT_TRUE(feed.stop_requested());
  }
}

TEST(HttpStream, AClientThatSendsItsNextRequestHasNotLeft) {
  Feed feed;
  // Of a long request more is read ahead twice: while it is answered, and while the answer is written.
  const auto server = Serving({.lane = [](const Request&) { return Lane::kLong; }}, Feeding(feed));
  TestClient client(server->port());
  client.Send(kGet);
  feed.WaitForAsked(1);
  // More than is read ahead.
  const std::string post =
      "POST /next HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + std::string(100'000, 'p');
  client.Send(post);
  feed.Give("one");
  feed.Give(std::nullopt);
  EXPECT_THAT(client.ReadUntil("0\r\n\r\n"), EndsWith("3\r\none\r\n0\r\n\r\n"));
  EXPECT_THAT(client.ReadOne(), HasSubstr("here"));
}

// What fails in the middle must not look whole, whichever way the client finds the end.
TEST(HttpStream, AFailureInTheMiddleIsSeenByTheClient) {
  class Throwing final : public BodySource {
    void Next(std::function<void(Chunk)>) override { throw std::runtime_error("lost"); }
  };
  for (const std::string& get : {kGet, kGetOld}) {
    SCOPED_TRACE(get);
    Feed feed;
    const auto server = Serving({}, [&](const Request& request) {
      if (request.target == "/stream") return feed(request);
      Response response{200, "text/plain", {}, {}};
      response.body = Body(std::make_unique<Throwing>());
      return response;
    });
    TestClient client(server->port());
    client.Send(get);
    client.ReadUntil("\r\n\r\n");
    feed.Give("half");
    EXPECT_THAT(client.ReadUntil("half"), EndsWith("half"));
    feed.Give(Transient("the store is gone"));
    EXPECT_THAT(client.ReadAll(), Not(HasSubstr("0\r\n\r\n")));
    EXPECT_EQ(client.error(), boost::asio::error::connection_reset);
    feed.WaitForDropped();

    TestClient other(server->port());
    other.Send(get == kGet ? "GET /throw HTTP/1.1\r\nHost: x\r\n\r\n" : "GET /throw HTTP/1.0\r\n\r\n");
    EXPECT_THAT(other.ReadAll(), Not(HasSubstr("0\r\n\r\n")));
    EXPECT_EQ(other.error(), boost::asio::error::connection_reset);
  }
}

TEST(HttpStream, ASilentSourceIsCutOff) {
  Feed feed;
  const auto server = Serving({.chunk_timeout = 100ms}, Feeding(feed));
  TestClient client(server->port());
  const auto begin = std::chrono::steady_clock::now();
  client.Send(kGet);
  client.ReadUntil("\r\n\r\n");
  EXPECT_THAT(client.ReadAll(), Not(HasSubstr("0\r\n\r\n")));
  EXPECT_EQ(client.error(), boost::asio::error::connection_reset);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 90ms);
  feed.WaitForDropped();
  EXPECT_TRUE(feed.stop_requested());
}

// Only what is between two chunks counts, not how long it goes on in all.
TEST(HttpStream, MayGoOnForEver) {
  Feed feed;
  const auto server = Serving({.handler_timeout = 1s, .write_timeout = 1s, .idle_timeout = 1s}, Feeding(feed));
  TestClient client(server->port());
  client.Send(kGet);
  client.ReadUntil("\r\n\r\n");
  TestClient idle(server->port());
  EXPECT_EQ(idle.ReadAll(), "") << "the second is over";
  feed.Give("late");
  EXPECT_THAT(client.ReadUntil("late"), HasSubstr("late"));
}

TEST(HttpStream, StopLetsItEndAndCutsItOffAtItsDeadline) {
  Feed ends;
  auto server = Serving({}, Feeding(ends));
  TestClient client(server->port());
  client.Send(kGet);
  client.ReadUntil("\r\n\r\n");
  auto stopped = std::async(std::launch::async, [&] { server->Stop(std::chrono::steady_clock::now() + 30s); });
  ends.Give("last");
  ends.Give(std::nullopt);
  EXPECT_THAT(client.ReadAll(), EndsWith("4\r\nlast\r\n0\r\n\r\n"));
  stopped.wait();

  Feed endless;
  server = Serving({}, Feeding(endless));
  TestClient cut(server->port());
  cut.Send(kGetOld);
  cut.ReadUntil("\r\n\r\n");
  endless.WaitForAsked(1);
  server->Stop(std::chrono::steady_clock::now() + 50ms);
  cut.ReadAll();
  EXPECT_EQ(cut.error(), boost::asio::error::connection_reset);
  endless.WaitForDropped();
  EXPECT_TRUE(endless.stop_requested());
}

TEST(HttpStream, WhatComesTooLateIsHeardByNobody) {
  Feed feed;
  auto server = Serving({}, Feeding(feed));
  {
    TestClient client(server->port());
    client.Send(kGet);
    feed.WaitForAsked(1);
  }
  feed.WaitForDropped();
  const auto take = feed.TakeTake();
  take("late");
  server = nullptr;
  take("later than the server");
}

}  // namespace
}  // namespace millrace::http
