// The server over real sockets on loopback: every limit, and how it stops. What is malformed is in conformance_test.
#include "http/server.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>

#include "http/test_client.h"
#include "testing/status_matchers.h"

namespace millrace::http {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

Response Echo(const Request& request) {
  return {200, "text/plain", request.method + " " + request.target + " " + request.body + "|" + request.accept, {}};
}

std::unique_ptr<Server> StartServer(ServerOptions options = {}, Handler handler = Echo) {
  auto server = Server::Start(options, std::move(handler));
  EXPECT_TRUE(server.ok()) << server.status().ToString();
  return *std::move(server);
}

std::string Ask(std::uint16_t port, const std::string& bytes) {
  TestClient client(port);
  client.Send(bytes);
  return client.ReadAll();
}

TEST(HttpServer, AnswersOneRequestAfterTheOtherOnAConnection) {
  const auto server = StartServer();
  TestClient client(server->port());
  // The second arrives with the first.
  client.Send(
      "GET /a HTTP/1.1\r\nHost: x\r\nAccept: a\r\nAccept: b\r\n\r\nPOST /b HTTP/1.1\r\nHost: x\r\nContent-Length: "
      "2\r\n\r\nhi");
  EXPECT_THAT(client.ReadOne(), HasSubstr("GET /a |a, b"));
  EXPECT_THAT(client.ReadOne(), HasSubstr("POST /b hi|"));
  client.Send("HEAD /c HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::string head = client.ReadOne(/*head=*/true);
  EXPECT_EQ(StatusOf(head), 200);
  EXPECT_THAT(head, HasSubstr("Content-Length: 9\r\n"));
  EXPECT_THAT(head, HasSubstr("Cache-Control: no-cache\r\n"));
  client.Send("GET http://x/d?e=f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string last = client.ReadAll();
  EXPECT_THAT(last, HasSubstr("GET /d?e=f |"));
  EXPECT_THAT(last, HasSubstr("Connection: close\r\n"));
}

TEST(HttpServer, SaysWhoAsksAndFromWhichPage) {
  const auto who = [](const Request& request) {
    return Response{200, "text/plain", request.client_address + "|" + request.origin + "|" + request.asks_to_send, {}};
  };
  for (const char* address : {"127.0.0.1", "::"}) {
    SCOPED_TRACE(address);
    const auto started = Server::Start({.address = address}, who);
    if (address == std::string("::") && !started.ok()) continue;  // A machine without IPv6.
    MILLRACE_ASSERT_OK(started);
    const auto& server = *started;
    EXPECT_THAT(Ask(server->port(), "GET / HTTP/1.0\r\n\r\n"), HasSubstr("\r\n\r\n127.0.0.1||"));
    EXPECT_THAT(Ask(server->port(),
                    "OPTIONS / HTTP/1.0\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n"),
                HasSubstr("127.0.0.1|https://a.example|PUT"));
  }
}

TEST(HttpServer, AnAnswerWithoutContentHasNoLength) {
  const auto server = StartServer({}, [](const Request&) { return Response{.status = 204}; });
  TestClient client(server->port());
  for (int i = 0; i < 2; ++i) {
    client.Send("OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n");
    const std::string answer = client.ReadOne();
    EXPECT_EQ(StatusOf(answer), 204);
    EXPECT_EQ(answer.find("Content-Length"), std::string::npos);
  }
}

TEST(HttpServer, AnAnswerThatIsNotSentAgainHasNeitherLengthNorType) {
  const auto server = StartServer({}, [](const Request& request) {
    return Response{.status = request.if_none_match == "\"a\", W/\"b\"" ? 304 : 500,
                    .headers = {{"ETag", "W/\"b\""}, {"Cache-Control", "private, no-cache"}}};
  });
  TestClient client(server->port());
  for (int i = 0; i < 2; ++i) {
    client.Send("GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"a\"\r\nif-none-match: W/\"b\"\r\n\r\n");
    const std::string answer = client.ReadOne();
    EXPECT_EQ(StatusOf(answer), 304);
    EXPECT_EQ(answer.find("Content-"), answer.find("Content-Type-Options"));
    EXPECT_THAT(answer, HasSubstr("ETag: W/\"b\"\r\n"));
    EXPECT_THAT(answer, HasSubstr("Cache-Control: private, no-cache\r\n"));
    EXPECT_EQ(answer.find("Cache-Control: no-cache"), std::string::npos);
  }
}

TEST(HttpServer, SendsABodyThatOthersSendTooAndDoesNotTakeItFromThem) {
  Body kept;
  for (const std::size_t size : {100'000, 1, 50'000}) kept.Append(std::string(size, 'x'));
  const auto server = StartServer({}, [&kept](const Request&) {
    return Response{200, "text/plain", kept.Share(), {}};
  });
  for (int i = 0; i < 3; ++i) {
    const std::string answer = Ask(server->port(), "GET / HTTP/1.0\r\n\r\n");
    EXPECT_THAT(answer, HasSubstr("Content-Length: 150001\r\n"));
    EXPECT_EQ(answer.substr(answer.find("\r\n\r\n") + 4), kept.Text());
  }
}

TEST(HttpServer, SendsABodyInPieces) {
  const auto server = StartServer({}, [](const Request& request) {
    Response response{200, "text/plain", {}, {}};
    for (int i = 0; i < (request.target == "/none" ? 0 : 1000); ++i) {
      response.body.Append(std::to_string(i) + std::string(1000, '.'));
      response.body.Append("");
    }
    return response;
  });
  std::string whole;
  for (int i = 0; i < 1000; ++i) whole += std::to_string(i) + std::string(1000, '.');
  TestClient client(server->port());
  client.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /none HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::string answer = client.ReadOne();
  EXPECT_EQ(answer.substr(answer.find("\r\n\r\n") + 4), whole);
  EXPECT_THAT(client.ReadOne(), HasSubstr("Content-Length: 0\r\n"));
  client.Send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.ReadOne(/*head=*/true), HasSubstr("Content-Length: " + std::to_string(whole.size()) + "\r\n"));
}

TEST(HttpServer, TakesChunkedBodiesAndHttp10AndExpect) {
  const auto server = StartServer();
  EXPECT_THAT(
      Ask(server->port(),
          "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
      HasSubstr("POST / hi|"));
  for (const char* coding : {"Chunked", "CHUNKED", " chunked \t", "\tchunked"}) {
    EXPECT_THAT(Ask(server->port(), "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding:" +
                                        std::string(coding) + "\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
                HasSubstr("POST / hi|"))
        << coding;
  }
  EXPECT_THAT(Ask(server->port(), "GET /old HTTP/1.0\r\n\r\n"), HasSubstr("GET /old |"));
  TestClient client(server->port());
  client.Send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.ReadOne(), "HTTP/1.1 100 Continue\r\n\r\n");
  client.Send("hi");
  EXPECT_THAT(client.ReadOne(), HasSubstr("POST / hi|"));
}

TEST(HttpServer, AHalfRequestGetsNoAnswer) {
  const auto server = StartServer();
  {
    TestClient client(server->port());
    client.Send("GET / HTT");
  }
  EXPECT_EQ(StatusOf(Ask(server->port(), "GET / HTTP/1.0\r\n\r\n")), 200);
}

TEST(HttpServer, SlowClientsAreCutOff) {
  const auto gives_up_idle = StartServer({.idle_timeout = 100ms});
  const auto server = StartServer({.header_timeout = 100ms, .body_timeout = 100ms});
  struct Case {
    const char* name;
    const Server& asked;
    std::string bytes;
    int want;
  };
  for (const auto& c : std::vector<Case>{
           {"nothing", *gives_up_idle, "", 0},
           {"half a request line", *server, "GET / ", 408},
           {"no end of headers", *server, "GET / HTTP/1.1\r\nHost: x\r\n", 408},
           {"half a body", *server, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", 408}}) {
    SCOPED_TRACE(c.name);
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(StatusOf(Ask(c.asked.port(), c.bytes)), c.want);
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 90ms);
  }
  // A byte now and then does not buy more time: the limit is for the whole head.
  TestClient drip(server->port());
  std::thread dripper([&] {
    for (int i = 0; i < 100 && drip.Send("G"); ++i) std::this_thread::sleep_for(10ms);
  });
  EXPECT_EQ(StatusOf(drip.ReadAll()), 408);
  dripper.join();
}

// A read that ends just as its time does is not cancelled: the next one is.
TEST(HttpServer, BytesAtTheVeryDeadlineBuyNoTime) {
  const auto server = StartServer({.header_timeout = 100ms, .body_timeout = 100ms});
  for (const std::string& begin : {std::string("GET / HTTP/1.1\r\nHost: x\r\nX-A: "),
                                   std::string("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n")}) {
    for (int i = 0; i < 20; ++i) {
      TestClient client(server->port());
      client.Send(begin);
      const auto begun = std::chrono::steady_clock::now();
      std::this_thread::sleep_until(begun + 96ms);
      while (std::chrono::steady_clock::now() < begun + 106ms && client.Send("a")) {
      }
      ASSERT_TRUE(client.HasNewsWithin(5s)) << begin;
    }
  }
}

TEST(HttpServer, AClientThatDoesNotReadIsCutOff) {
  const auto server = StartServer({.write_timeout = 100ms}, [](const Request&) {
    return Response{200, "text/plain", std::string(64 << 20, 'a'), {}};
  });
  TestClient client(server->port());
  client.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(client.WaitUntilCutOff());
  EXPECT_LT(client.ReadAll().size(), std::size_t{64} << 20);
}

TEST(HttpServer, AHandlerThatThrowsIsA500) {
  const auto server = StartServer({}, [](const Request&) -> Response { throw std::runtime_error("secret"); });
  const std::string response = Ask(server->port(), "GET / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(StatusOf(response), 500);
  EXPECT_EQ(response.find("secret"), std::string::npos);
}

TEST(HttpServer, HandlersRunSideBySide) {
  // Each waits for the other: this ends only if both run at once.
  std::promise<void> a, b;
  const auto server = StartServer({.short_handlers_max = 2}, [&](const Request& request) {
    (request.target == "/a" ? a : b).set_value();
    (request.target == "/a" ? b : a).get_future().wait();
    return Echo(request);
  });
  auto other = std::async(std::launch::async, [&] { return Ask(server->port(), "GET /b HTTP/1.0\r\n\r\n"); });
  EXPECT_EQ(StatusOf(Ask(server->port(), "GET /a HTTP/1.0\r\n\r\n")), 200);
  EXPECT_EQ(StatusOf(other.get()), 200);
}

// Blocks until it is told to leave, or until nobody waits for it any more.
class Gate {
 public:
  Response operator()(const Request& request) {
    std::unique_lock lock(mutex_);
    ++entered_;
    changed_.notify_all();
    changed_.wait(lock, heeds_stop ? request.stop : std::stop_token(), [&] { return open_; });
    if (request.stop.stop_requested()) ++stopped_;
    changed_.notify_all();
    return Echo(request);
  }
  void WaitForEntered(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return entered_ >= count; });
  }
  void WaitForStopped(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopped_ >= count; });
  }
  void Open() {
    const std::scoped_lock lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  int entered() {
    const std::scoped_lock lock(mutex_);
    return entered_;
  }
  bool heeds_stop = true;

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  int entered_ = 0;
  int stopped_ = 0;
  bool open_ = false;
};

// /health at once, /short, /long and /stream in their lanes.
Lane LaneByTarget(const Request& request) {
  if (request.target == "/health") return Lane::kAtOnce;
  if (request.target == "/stream") return Lane::kStream;
  return request.target == "/long" ? Lane::kLong : Lane::kShort;
}

Handler BehindGate(Gate& gate) {
  return [&gate](const Request& request) { return request.target == "/health" ? Echo(request) : gate(request); };
}

const std::string kGetLong = "GET /long HTTP/1.1\r\nHost: x\r\n\r\n";
const std::string kGetHealth = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";

// After a restart all who listened come back at once.
TEST(HttpServer, AnyNumberOfStreamsWaitForTheirTurn) {
  Gate gate;
  const auto server = StartServer({.lane = LaneByTarget, .stream_handlers_max = 1, .waiting_max = 2}, BehindGate(gate));
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(std::make_unique<TestClient>(server->port()));
    clients.back()->Send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  gate.WaitForEntered(1);
  TestClient prober(server->port());
  prober.Send(kGetHealth);
  EXPECT_EQ(StatusOf(prober.ReadOne()), 200);
  gate.Open();
  for (auto& client : clients) EXPECT_EQ(StatusOf(client->ReadOne()), 200);
}

TEST(HttpServer, HealthIsAnsweredAtOnceWhileEveryHandlerBlocks) {
  Gate gate;
  const auto server =
      StartServer({.lane = LaneByTarget, .short_handlers_max = 2, .long_handlers_max = 8}, BehindGate(gate));
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < 64; ++i) {
    clients.push_back(std::make_unique<TestClient>(server->port()));
    clients.back()->Send(i % 4 == 0 ? "GET /short HTTP/1.1\r\nHost: x\r\n\r\n" : kGetLong);
  }
  gate.WaitForEntered(10);  // All threads of both lanes.
  TestClient prober(server->port());
  int soon = 0;
  for (int i = 0; i < 20; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    prober.Send(kGetHealth);
    EXPECT_EQ(StatusOf(prober.ReadOne()), 200);
    if (std::chrono::steady_clock::now() - begin < 50ms) ++soon;
  }
  EXPECT_GE(soon, 10) << "this machine may stand still now and then, and not all the time";
  EXPECT_EQ(gate.entered(), 10);
  gate.Open();
  for (auto& client : clients) EXPECT_EQ(StatusOf(client->ReadOne()), 200);
}

TEST(HttpServer, WhatIsKnownIsAnsweredWhileEveryHandlerBlocks) {
  Gate gate;
  const auto known = [](const Request& request) -> Early {
    if (request.target == "/throws") throw std::runtime_error("no");
    if (request.target != "/known") return {};
    return {Response{200, "text/plain", "known", {}}};
  };
  const auto server = StartServer({.at_once = known, .short_handlers_max = 1}, std::ref(gate));
  TestClient blocked(server->port());
  blocked.Send(kGetLong);
  gate.WaitForEntered(1);
  TestClient client(server->port());
  client.Send("GET /known HTTP/1.1\r\nHost: x\r\n\r\nGET /throws HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.ReadOne(), HasSubstr("\r\n\r\nknown"));
  EXPECT_EQ(StatusOf(client.ReadOne()), 500);
  gate.Open();
  EXPECT_EQ(StatusOf(blocked.ReadOne()), 200);
}

// Keeps what is to be called back, in the order in which it came.
class Joins {
 public:
  Early AtOnce(Request& request) {
    request.prepared = std::make_shared<int>(7);
    if (!request.target.starts_with("/joins")) return {};
    return {.join = [this](Early::Take take) {
      const std::scoped_lock lock(mutex_);
      waiting_.push_back(std::move(take));
      changed_.notify_all();
    }};
  }
  Early::Take Next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !waiting_.empty(); });
    Early::Take take = std::move(waiting_.front());
    waiting_.pop_front();
    return take;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Early::Take> waiting_;
};

// Which of the process's threads come first is theirs to say: the lower the earlier.
int Niceness() { return ::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid())); }

TEST(HttpServer, ALongRequestYieldsToOthersAndAShortOneDoesNot) {
  const int ordinary = Niceness();
  std::atomic<bool> gives_up{false};
  const auto handler = [&](const Request& request) {
    while (request.target == "/long/slow" && Niceness() == ordinary && !gives_up) std::this_thread::yield();
    return Response{200, "text/plain", std::to_string(Niceness() - ordinary) + " more", {}};
  };
  const auto server =
      StartServer({.lane = [](const Request&) { return Lane::kLong; }, .long_handlers_max = 1}, handler);
  TestClient client(server->port());
  for (int i = 0; i < 3; ++i) {
    client.Send("GET /long/quick HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(client.ReadOne(), HasSubstr("\r\n\r\n0 more")) << "also after one that was slow";
    client.Send("GET /long/slow HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(client.ReadOne(), HasSubstr("\r\n\r\n10 more"));
  }
  gives_up = true;
}

TEST(HttpServer, WhatIsMadeForAnotherIsWaitedForWithoutAHandler) {
  Joins joins;
  std::atomic<int> handled{0};
  const auto handler = [&handled](const Request& request) {
    EXPECT_NE(request.prepared, nullptr);
    ++handled;
    return Response{200, "text/plain", "handled", {}};
  };
  const auto server = StartServer({.at_once = [&joins](Request& request) { return joins.AtOnce(request); }}, handler);
  TestClient client(server->port());
  client.Send("GET /joins HTTP/1.1\r\nHost: x\r\n\r\n");
  joins.Next()(Response{200, "text/plain", "of another", {}});
  EXPECT_THAT(client.ReadOne(), HasSubstr("\r\n\r\nof another"));
  EXPECT_EQ(handled, 0);

  client.Send("GET /joins HTTP/1.1\r\nHost: x\r\n\r\n");
  joins.Next()(std::nullopt);
  joins.Next()(Response{200, "text/plain", "of a third", {}});
  EXPECT_THAT(client.ReadOne(), HasSubstr("\r\n\r\nof a third")) << "it is asked once more";

  client.Send("GET /joins HTTP/1.1\r\nHost: x\r\n\r\n");
  joins.Next()(std::nullopt);
  joins.Next()(std::nullopt);
  EXPECT_THAT(client.ReadOne(), HasSubstr("\r\n\r\nhandled")) << "and no more than that";
  EXPECT_EQ(handled, 1);
}

TEST(HttpServer, WhoWaitsForAnotherWaitsUpToTheDeadline) {
  Joins joins;
  const auto server =
      StartServer({.at_once = [&joins](Request& request) { return joins.AtOnce(request); }, .handler_timeout = 1s},
                  [](const Request&) { return Response{}; });
  TestClient client(server->port());
  client.Send("GET /joins HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(StatusOf(client.ReadOne()), 504);
  joins.Next()(Response{200, "text/plain", "too late", {}});
  client.Send("GET /other HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(StatusOf(client.ReadOne()), 200);
  // A stop does not wait for it.
  client.Send("GET /joins HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto take = joins.Next();
  server->Stop(std::chrono::steady_clock::now());
}

TEST(HttpServer, OneConnectionTooManyIsTold) {
  Gate gate;
  const auto server = StartServer({.connections_max = 1}, std::ref(gate));
  TestClient first(server->port());
  first.Send(kGetLong);
  gate.WaitForEntered(1);
  const std::string refused = Ask(server->port(), "");
  EXPECT_EQ(StatusOf(refused), 503);
  EXPECT_THAT(refused, HasSubstr("Retry-After: 1\r\n"));
  gate.Open();
  EXPECT_EQ(StatusOf(first.ReadOne()), 200);
  first.Send(kGetLong);
  EXPECT_EQ(StatusOf(first.ReadOne()), 200);
}

TEST(HttpServer, ConnectionsWithoutARequestKeepNobodyOut) {
  const auto server = StartServer({.connections_max = 8});
  std::vector<std::unique_ptr<TestClient>> idle;
  for (int i = 0; i < 100; ++i) {
    idle.push_back(std::make_unique<TestClient>(server->port()));
    if (i % 2 == 0) idle.back()->Send("GET / HTTP/1.1\r\nHos");
    EXPECT_EQ(StatusOf(Ask(server->port(), "GET / HTTP/1.0\r\n\r\n")), 200) << i;
  }
  EXPECT_EQ(idle.front()->ReadAll(), "") << "the oldest went";
}

TEST(HttpServer, OneRequestTooManyIsTold) {
  Gate gate;
  const auto server = StartServer({.lane = LaneByTarget, .long_handlers_max = 1, .waiting_max = 1}, BehindGate(gate));
  TestClient running(server->port());
  running.Send(kGetLong);
  gate.WaitForEntered(1);
  TestClient waiting(server->port());
  waiting.Send(kGetLong);
  // The I/O thread takes one after the other: once the prober is answered, the one before waits.
  TestClient prober(server->port());
  prober.Send(kGetHealth);
  EXPECT_EQ(StatusOf(prober.ReadOne()), 200);
  const std::string refused = Ask(server->port(), "GET /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(StatusOf(refused), 503);
  EXPECT_THAT(refused, HasSubstr("\"code\":\"overloaded\""));
  EXPECT_THAT(refused, HasSubstr("Retry-After: 1\r\n"));
  gate.Open();
  EXPECT_EQ(StatusOf(running.ReadOne()), 200);
  EXPECT_EQ(StatusOf(waiting.ReadOne()), 200);
}

TEST(HttpServer, AHandlerHasADeadline) {
  Gate gate;
  const auto server =
      StartServer({.lane = LaneByTarget, .long_handlers_max = 1, .handler_timeout = 1s}, BehindGate(gate));
  TestClient running(server->port());
  TestClient waiting(server->port());
  gate.heeds_stop = false;  // As one that hangs in a request to a store.
  running.Send(kGetLong);
  gate.WaitForEntered(1);
  waiting.Send(kGetLong);
  const std::string late = running.ReadOne();
  EXPECT_EQ(StatusOf(late), 504);
  EXPECT_THAT(late, HasSubstr("\"code\":\"deadline_exceeded\""));
  EXPECT_THAT(late, HasSubstr("1000 ms"));
  // Its thread is still taken, so the other never had its turn.
  const std::string never = waiting.ReadOne();
  EXPECT_EQ(StatusOf(never), 503);
  EXPECT_THAT(never, HasSubstr("Retry-After: 1\r\n"));
  EXPECT_EQ(gate.entered(), 1);
  gate.Open();
  // What it answers too late goes nowhere, and the connection goes on.
  TestClient next(server->port());
  next.Send(kGetLong);
  EXPECT_THAT(next.ReadOne(), HasSubstr("GET /long"));
  running.Send(kGetHealth);
  EXPECT_THAT(running.ReadOne(), HasSubstr("GET /health"));
}

TEST(HttpServer, ALongHandlerEndsWhenItsClientLeaves) {
  Gate gate;
  const auto server = StartServer({.lane = LaneByTarget, .long_handlers_max = 1}, BehindGate(gate));
  auto running = std::make_unique<TestClient>(server->port());
  running->Send(kGetLong);
  gate.WaitForEntered(1);
  auto waiting = std::make_unique<TestClient>(server->port());
  waiting->Send(kGetLong);
  TestClient prober(server->port());
  prober.Send(kGetHealth);
  EXPECT_EQ(StatusOf(prober.ReadOne()), 200);
  waiting = nullptr;  // Gives its place in the queue up, too: it never enters.
  prober.Send(kGetHealth);
  EXPECT_EQ(StatusOf(prober.ReadOne()), 200);
  running = nullptr;
  gate.WaitForStopped(1);
  gate.Open();
  EXPECT_EQ(StatusOf(Ask(server->port(), "GET /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")), 200);
  EXPECT_EQ(gate.entered(), 2);
}

TEST(HttpServer, AClientThatSendsItsNextRequestHasNotLeft) {
  Gate gate;
  const auto server = StartServer({.lane = LaneByTarget}, BehindGate(gate));
  TestClient client(server->port());
  client.Send(kGetLong);
  gate.WaitForEntered(1);
  client.Send(kGetHealth);
  TestClient prober(server->port());
  prober.Send(kGetHealth);
  EXPECT_EQ(StatusOf(prober.ReadOne()), 200);
  gate.Open();
  EXPECT_THAT(client.ReadOne(), HasSubstr("GET /long"));
  EXPECT_THAT(client.ReadOne(), HasSubstr("GET /health"));
}

TEST(HttpServer, ManyLongRequestsSentAtOnceAreAllAnswered) {
  const auto server = StartServer({.lane = LaneByTarget});
  TestClient client(server->port());
  std::string bytes;
  for (int i = 0; i < 500; ++i) bytes += kGetLong;
  client.Send(bytes);
  for (int i = 0; i < 500; ++i) ASSERT_THAT(client.ReadOne(), HasSubstr("GET /long")) << i;
}

TEST(HttpServer, LargeBodiesDoNotKeepSmallOnesOut) {
  Gate gate;
  const auto server =
      StartServer({.lane = LaneByTarget, .body_bytes_max = 6400, .bodies_bytes_max = 6400}, BehindGate(gate));
  const auto ask = [&](const std::string& target, std::size_t bytes) {
    TestClient client(server->port());
    client.Send(fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", target, bytes) +
                std::string(bytes, 'a'));
    return StatusOf(client.ReadOne());
  };
  TestClient large(server->port());
  large.Send("POST /long HTTP/1.1\r\nHost: x\r\nContent-Length: 6400\r\n\r\n" + std::string(6400, 'a'));
  gate.WaitForEntered(1);
  EXPECT_EQ(ask("/health", 101), 503);
  EXPECT_EQ(ask("/health", 100), 200);
  // Small ones have their limit too: a quarter.
  std::vector<std::unique_ptr<TestClient>> small;
  for (int i = 0; i < 16; ++i) {
    small.push_back(std::make_unique<TestClient>(server->port()));
    small.back()->Send("POST /short HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + std::string(99, 'a'));
  }
  for (int tries = 0; ask("/health", 100) != 503; ++tries) ASSERT_LT(tries, 10'000) << "what is half sent counts";
  for (auto& client : small) client->Send("a");
  gate.Open();
  EXPECT_EQ(StatusOf(large.ReadOne()), 200);
  for (auto& client : small) EXPECT_EQ(StatusOf(client->ReadOne()), 200);
}

TEST(HttpServer, BodiesTogetherAreBounded) {
  Gate gate;
  const auto server =
      StartServer({.lane = LaneByTarget, .body_bytes_max = 100, .bodies_bytes_max = 150}, BehindGate(gate));
  TestClient first(server->port());
  first.Send("POST /long HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + std::string(100, 'a'));
  gate.WaitForEntered(1);
  // One that says how much will come, and sends nothing, takes nothing.
  TestClient silent(server->port());
  silent.Send("POST /long HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n");
  const auto chunked = [](int bytes) {
    return fmt::format("POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
                       bytes, std::string(bytes, 'a'));
  };
  const auto ask = [&](const std::string& bytes) {
    TestClient client(server->port());
    client.Send(bytes);
    return client.ReadOne();
  };
  EXPECT_EQ(StatusOf(ask(chunked(50))), 200);
  for (const std::string& too_much :
       {chunked(51), "POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 51\r\n\r\n" + std::string(51, 'a')}) {
    const std::string refused = ask(too_much);
    EXPECT_EQ(StatusOf(refused), 503);
    EXPECT_THAT(refused, HasSubstr("\"code\":\"overloaded\""));
  }
  gate.Open();
  EXPECT_EQ(StatusOf(first.ReadOne()), 200);
  EXPECT_EQ(StatusOf(ask(chunked(51))), 200);
}

TEST(HttpServer, ConnectionsLeaveDescriptorsForOthers) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit few = before;
  few.rlim_cur = 64;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  const auto server = StartServer();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  std::vector<std::unique_ptr<TestClient>> idle;
  for (int i = 0; i < 32; ++i) {
    idle.push_back(std::make_unique<TestClient>(server->port()));
    idle.back()->Send(kGetHealth);
    EXPECT_EQ(StatusOf(idle.back()->ReadOne()), 200);
  }
  idle.push_back(std::make_unique<TestClient>(server->port()));
  EXPECT_EQ(idle.front()->ReadAll(), "") << "a half of 64 are 32";
  idle[1]->Send(kGetHealth);
  EXPECT_EQ(StatusOf(idle[1]->ReadOne()), 200);
}

TEST(HttpServer, StopLetsARunningRequestEndAndClosesIdleConnections) {
  std::promise<void> entered, leave;
  auto server = StartServer({}, [&](const Request& request) {
    entered.set_value();
    leave.get_future().wait();
    return Echo(request);
  });
  TestClient idle(server->port());
  auto running =
      std::async(std::launch::async, [&] { return Ask(server->port(), "GET /last HTTP/1.1\r\nHost: x\r\n\r\n"); });
  entered.get_future().wait();
  auto stopped = std::async(std::launch::async, [&] { server->Stop(std::chrono::steady_clock::now() + 30s); });
  EXPECT_EQ(idle.ReadAll(), "");
  leave.set_value();
  const std::string last = running.get();
  EXPECT_THAT(last, HasSubstr("GET /last |"));
  EXPECT_THAT(last, HasSubstr("Connection: close\r\n"));
  stopped.wait();
  EXPECT_THROW(TestClient client(server->port()), boost::system::system_error);
}

TEST(HttpServer, StopCutsOffAtItsDeadline) {
  const auto server = StartServer();
  TestClient slow(server->port());
  slow.Send("GET / HTTP/1.1\r\n");
  TestClient other(server->port());  // Accepted after `slow`, so `slow` is being read when this one is answered.
  other.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(StatusOf(other.ReadOne()), 200);
  server->Stop(std::chrono::steady_clock::now() + 50ms);
  EXPECT_EQ(slow.ReadAll(), "");
}

TEST(HttpServer, StopEndsWhatHeedsIt) {
  Gate gate;
  const auto server = StartServer({.lane = LaneByTarget}, BehindGate(gate));
  TestClient client(server->port());
  client.Send(kGetLong);
  gate.WaitForEntered(1);
  server->Stop(std::chrono::steady_clock::now() + 50ms);
  EXPECT_EQ(client.ReadAll(), "");
}

TEST(HttpServer, StartSaysWhyItCannotListen) {
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, Server::Start({.address = "localhost"}, Echo));
  const auto server = StartServer();
  const auto second = Server::Start({.port = server->port()}, Echo);
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, second);
  EXPECT_THAT(second.status().message(), HasSubstr("127.0.0.1:" + std::to_string(server->port())));
}

}  // namespace
}  // namespace millrace::http
