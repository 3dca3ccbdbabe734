// The door's socket: who is let in, and how each kind of client that does not go on is got rid of.
#include "postgres/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "http/test_client.h"
#include "postgres/test_backend.h"
#include "testing/status_matchers.h"

namespace millrace::postgres {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

std::string WithLength(const std::string& body) {
  std::string bytes;
  AppendInt32(bytes, static_cast<std::int32_t>(body.size() + 4));
  return bytes + body;
}
std::string StartupBytes() {
  std::string body;
  AppendInt32(body, 3 << 16);
  return WithLength(body + std::string("user\0me\0\0", 9));
}
std::string Terminated(const std::string& text) { return text + '\0'; }
std::string QueryBytes(const std::string& sql) { return "Q" + WithLength(Terminated(sql)); }
// That the server waits for the next message.
const std::string kReady("Z\0\0\0\5I", 6);

class ServerTest : public ::testing::Test {
 protected:
  void Start() {
    options_.context = [this] { return context_; };
    context_->memory = memory_;
    options_.on_connections = [this](std::size_t open) {
      const std::scoped_lock lock(mutex_);
      open_ = open;
      changed_.notify_all();
    };
    MILLRACE_ASSERT_OK_AND_ASSIGN(server_, Server::Start(options_));
  }
  http::TestClient Client() { return http::TestClient(server_->port()); }
  // Whether so many connections are open before half a minute is over.
  bool Comes(std::size_t open) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(120), [&] { return open_ == open; });
  }

  SqlBackend backend_;
  std::shared_ptr<SessionContext> context_ = std::make_shared<SessionContext>(SessionContext{.backend = &backend_});
  std::shared_ptr<MemoryBudget> memory_ = MemoryBudget::Make(1 << 30);
  ServerOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t open_ = 0;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, OneTooManyTakesTheOldestStrangersPlaceOrIsRefused) {
  options_.connections_max = 2;
  Start();
  auto known = Client();
  known.Send(StartupBytes());
  known.ReadUntil(kReady);
  auto stranger = Client();
  ASSERT_TRUE(Comes(2));
  auto second = Client();
  second.Send(StartupBytes());
  EXPECT_THAT(second.ReadUntil(kReady), HasSubstr(kReady));
  EXPECT_EQ(stranger.ReadAll(), "");
  ASSERT_TRUE(Comes(2));
  EXPECT_EQ(memory_->used(), 2 * kConnectionBytes);
  auto refused = Client();
  refused.Send(StartupBytes());
  EXPECT_THAT(refused.ReadAll(), HasSubstr("C53300"));
  ASSERT_TRUE(Comes(2));
  known.Send("X" + WithLength(""));
  ASSERT_TRUE(Comes(1));
  auto third = Client();
  third.Send(StartupBytes());
  EXPECT_THAT(third.ReadUntil(kReady), HasSubstr(kReady));
}

TEST_F(ServerTest, WhoHasNotSaidWhoTheyAreInTimeIsClosed) {
  options_.startup_timeout = milliseconds(50);
  context_->passwords =
      std::make_shared<Passwords>(std::vector<serve::AccessToken>{{.token = "secret", .scopes = {"sql"}}});
  Start();
  auto silent = Client();
  auto halfway = Client();
  halfway.Send(StartupBytes().substr(0, 6));
  auto asked = Client();
  asked.Send(StartupBytes());
  EXPECT_EQ(silent.ReadAll(), "");
  EXPECT_EQ(halfway.ReadAll(), "");
  EXPECT_TRUE(asked.ReadAll().starts_with("R"));  // It was asked for its password, and that was all.
  EXPECT_TRUE(Comes(0));
}

TEST_F(ServerTest, WhoDoesNotReadIsClosed) {
  options_.write_timeout = milliseconds(100);
  Start();
  auto client = Client();
  client.Send(StartupBytes());
  client.ReadUntil(kReady);
  client.Send(QueryBytes("SELECT i, 'some text that takes room' FROM range(2000000) t(i)"));
  EXPECT_TRUE(Comes(0));
}

TEST_F(ServerTest, WhoHoldsAnAnswerWithoutGoingOnIsClosedAndWhoHoldsNoneIsNot) {
  options_.write_timeout = milliseconds(100);
  Start();
  auto idle = Client();
  idle.Send(StartupBytes());
  idle.ReadUntil(kReady);
  auto holds = Client();
  holds.Send(StartupBytes());
  holds.ReadUntil(kReady);
  std::string none;
  AppendInt16(none, 0);
  std::string one_row;
  AppendInt32(one_row, 1);
  holds.Send("P" + WithLength(Terminated("") + Terminated("SELECT i FROM range(10) t(i)") + none));
  holds.Send("B" + WithLength(Terminated("") + Terminated("") + none + none + none));
  holds.Send("E" + WithLength(Terminated("") + one_row));
  holds.Send("H" + WithLength(""));
  const std::string said = holds.ReadAll();
  EXPECT_TRUE(said.ends_with(std::string("s\0\0\0\4", 5))) << said;  // The portal has more.
  ASSERT_TRUE(Comes(1));
  idle.Send(QueryBytes("SELECT 1"));
  EXPECT_THAT(idle.ReadUntil(kReady), HasSubstr("SELECT 1"));
}

TEST_F(ServerTest, StoppingSaysGoodbye) {
  Start();
  auto client = Client();
  client.Send(StartupBytes());
  client.ReadUntil(kReady);
  server_->Stop(std::chrono::steady_clock::now() + std::chrono::seconds(30));
  EXPECT_THAT(client.ReadAll(), HasSubstr("C57P01"));
}

TEST_F(ServerTest, AnAddressThatIsNoneOrTakenIsSaid) {
  Start();
  options_.address = "nowhere";
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, Server::Start(options_));
  options_.address = "127.0.0.1";
  options_.port = server_->port();
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, Server::Start(options_));
}

}  // namespace
}  // namespace millrace::postgres
