// Faults between the store and a real S3 server, made by fault_proxy.py: a fault may cost time, never data.
// s3_server.py run
// --proxy starts both beside this test. Each test has a prefix of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <set>
#include <thread>

#include "base/uuid.h"
#include "delta/log/checkpoint.h"
#include "delta/log/log_replay.h"
#include "delta/table.h"
#include "http/client.h"
#include "objectstore/s3/s3_store.h"
#include "testing/status_matchers.h"

namespace millrace {
namespace {

using objectstore::IfMissing;
using objectstore::ObjectStore;
using objectstore::PutOutcome;
using objectstore::s3::S3Options;
using ::testing::HasSubstr;

std::string Variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Patient enough for a machine that stands still now and then; tests of timeouts say otherwise.
S3Options Options() {
  S3Options options;
  options.timeouts = {.connect = std::chrono::minutes(1), .stall = std::chrono::minutes(5)};
  options.retry.backoff_max = std::chrono::milliseconds(200);
  options.retry.give_up_after = std::chrono::minutes(10);
  return options;
}

S3Options HastyOptions() {
  S3Options options;
  options.timeouts = {.connect = std::chrono::milliseconds(300), .stall = std::chrono::seconds(1)};
  options.retry = {.attempts_max = 2, .backoff_min = std::chrono::milliseconds(1)};
  return options;
}

class S3Faults : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_FALSE(Variable("S3_TEST_DIRECT_ENDPOINT").empty()) << "run this by tests/s3/s3_server.py run --proxy";
    prefix_ = "faults-" + RandomUuid();
    Quiet();
    direct_ = Open(Options(), Variable("S3_TEST_DIRECT_ENDPOINT"));
    store_ = Open(Options());
  }
  void TearDown() override { Quiet(); }

  std::shared_ptr<ObjectStore> Open(const S3Options& options, const std::string& endpoint = "") {
    return OpenS3Store(Variable("S3_TEST_BUCKET"), prefix_, IfMissing::kCreate, {.endpoint = endpoint}, options)
        .ValueOrDie();
  }

  // The proxy's small language: see fault_proxy.py.
  static void Tell(const std::string& path, const std::string& json) {
    http::Client client({.timeouts = {.connect = std::chrono::minutes(1), .stall = std::chrono::minutes(5)}});
    http::ClientReply reply;
    http::ClientError error;
    ASSERT_TRUE(client.Send({"PUT", Variable("AWS_ENDPOINT_URL") + "/-proxy-/" + path, {}, json}, reply, error))
        << error.message;
    ASSERT_EQ(reply.status, 200);
  }
  static void Once(const std::string& fault, const std::string& method, const std::string& match) {
    Tell("plan", fmt::format(R"([{{"fault":"{}","method":"{}","match":"{}"}}])", fault, method, match));
  }
  static void Always(const std::string& fault) { Tell("plan", fmt::format(R"([{{"fault":"{}","times":-1}}])", fault)); }
  static void Random(double rate, int seed) { Tell("random", fmt::format(R"({{"rate":{},"seed":{}}})", rate, seed)); }
  static void Quiet() {
    Tell("plan", "[]");
    Random(0, 0);
  }

  static delta::CreateOptions CreateOptions() {
    delta::CreateOptions options;
    options.schema = arrow::schema({arrow::field("n", arrow::int64())});
    return options;
  }
  static delta::CommitRequest Request(const std::string& app_id, std::int64_t n) {
    delta::CommitRequest request;
    request.txns.push_back({.app_id = app_id, .version = n, .last_updated_ms = {}});
    return request;
  }
  // Which (application, version) each commit carries, seen without the proxy; every one once.
  std::set<std::pair<std::string, std::int64_t>> Committed(delta::TableVersion& latest) {
    std::set<std::pair<std::string, std::int64_t>> found;
    for (latest = -1;; ++latest) {
      const auto actions = delta::ReadCommit(*direct_, latest + 1).ValueOrDie();
      if (!actions) return found;
      for (const auto& action : *actions) {
        const auto* txn = std::get_if<delta::Txn>(&action);
        if (txn == nullptr) continue;
        EXPECT_TRUE(found.emplace(txn->app_id, txn->version).second) << txn->app_id << " " << txn->version << " twice";
      }
    }
  }

  std::string prefix_;
  std::shared_ptr<ObjectStore> direct_;
  std::shared_ptr<ObjectStore> store_;
};

TEST_F(S3Faults, ARandomThirdOfFailuresCostsTimeAndNoData) {
  for (int seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Random(0.3, seed);
    const std::string folder = fmt::format("s{}/", seed);
    const std::string large(9'000'000, static_cast<char>('a' + seed));
    for (int i = 0; i < 20; ++i) {
      const std::string key = folder + std::to_string(i);
      MILLRACE_ASSERT_OK(store_->Put(key, key));
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto bytes, store_->Read(key));
      ASSERT_EQ(bytes->ToString(), key);
    }
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto upload, store_->StartUpload(folder + "large"));
    MILLRACE_ASSERT_OK(upload->Write(large.data(), static_cast<std::int64_t>(large.size())));
    MILLRACE_ASSERT_OK(upload->Finish());
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto file, store_->Open(folder + "large"));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto range, file->ReadAt(8'000'000, 900'000));
    ASSERT_TRUE(range->ToString() == large.substr(8'000'000, 900'000));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto listed, store_->List(folder));
    ASSERT_EQ(listed.size(), 21u);
    std::vector<std::string> keys;
    for (const auto& info : listed) keys.push_back(info.key);
    MILLRACE_ASSERT_OK(store_->DeleteMany(keys));
    Quiet();
    EXPECT_TRUE(direct_->List(folder).ValueOrDie().empty());
  }
  EXPECT_GT(store_->usage().retries, 20);
}

TEST_F(S3Faults, AStoreThatOnlyFailsIsGivenUpAndThenUsedAgain) {
  const auto hasty = Open(HastyOptions());
  for (const char* fault : {"error_500", "error_503", "error_429", "reset"}) {
    SCOPED_TRACE(fault);
    Always(fault);
    MILLRACE_ASSERT_KIND(ErrorKind::kTransient, hasty->Put("a", "x"));
    MILLRACE_ASSERT_KIND(ErrorKind::kTransient, hasty->Read("a"));
    MILLRACE_ASSERT_KIND(ErrorKind::kTransient, hasty->List(""));
    Quiet();
    MILLRACE_ASSERT_OK(Open(Options())->Put("a", fault));
    EXPECT_EQ(direct_->Read("a").ValueOrDie()->ToString(), fault);
  }
}

TEST_F(S3Faults, HangsEndByTimeouts) {
  MILLRACE_ASSERT_OK(store_->Put("a", std::string(100'000, 'x')));
  const auto hasty = Open(HastyOptions());
  // The first byte never comes, or a byte comes each second.
  for (const char* fault : {"hang", "trickle"}) {
    SCOPED_TRACE(fault);
    Always(fault);
    MILLRACE_ASSERT_KIND(ErrorKind::kTransient, hasty->Read("a"));
    MILLRACE_ASSERT_KIND(ErrorKind::kUnknownOutcome, hasty->PutIfAbsent(std::string("log/") + fault, "x"));
  }
  Quiet();
  EXPECT_FALSE(direct_->Stat("log/hang").ValueOrDie().has_value());
  EXPECT_TRUE(direct_->Stat("log/trickle").ValueOrDie().has_value()) << "it was carried out, only the reply was slow";
}

TEST_F(S3Faults, AConnectionThatIsNeverMadeEndsByATimeout) {
  // A listener whose queue is full: the kernel leaves further connections unanswered.
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener, 0), 0);
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  std::vector<int> waiting;
  for (int i = 0; i < 4; ++i) {
    waiting.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    ::connect(waiting.back(), reinterpret_cast<sockaddr*>(&address), size);
  }
  const auto opened =
      OpenS3Store(Variable("S3_TEST_BUCKET"), prefix_, IfMissing::kCreate,
                  {.endpoint = fmt::format("http://127.0.0.1:{}", ntohs(address.sin_port))}, HastyOptions());
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, opened);
  for (const int fd : waiting) ::close(fd);
  ::close(listener);
}

TEST_F(S3Faults, ACommitWhoseReplyIsLostIsRecognisedByItsId) {
  auto options = HastyOptions();
  // A server that is slow now and then is not to be given up.
  options.timeouts = {.connect = std::chrono::seconds(5), .stall = std::chrono::seconds(3)};
  options.retry.attempts_max = 5;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, delta::Table::OpenOrCreate(Open(options), CreateOptions()));
  std::int64_t n = 0;
  for (const char* fault : {"drop_reply", "error_500_after", "hang_after", "truncate"}) {
    SCOPED_TRACE(fault);
    ++n;
    Once(fault, "PUT", "_delta_log/");
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto outcome, table->Commit(Request("a", n)));
    ASSERT_TRUE(std::holds_alternative<delta::Committed>(outcome));
    EXPECT_EQ(std::get<delta::Committed>(outcome).version, n);
  }
  delta::TableVersion latest = 0;
  EXPECT_EQ(Committed(latest).size(), 4u);
  EXPECT_EQ(latest, n);
}

TEST_F(S3Faults, ACommitThatLandsLateIsNotMadeTwice) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, delta::Table::OpenOrCreate(store_, CreateOptions()));
  for (std::int64_t n = 1; n <= 3; ++n) {
    // The connection breaks, the version is absent when it is looked for, and then the first PUT lands all the same.
    Once("land_late", "PUT", "_delta_log/");
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto outcome, table->Commit(Request("a", n)));
    EXPECT_EQ(std::get<delta::Committed>(outcome).version, n);
  }
  delta::TableVersion latest = 0;
  EXPECT_EQ(Committed(latest).size(), 3u);
  EXPECT_EQ(latest, 3);
}

TEST_F(S3Faults, AReadThatFailsIsNotTakenForABrokenFile) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, delta::Table::OpenOrCreate(store_, CreateOptions()));
  delta::CommitRequest request;
  for (int i = 0; i < 5000; ++i) {
    request.adds.push_back({.path = RandomUuid() + ".parquet", .size = i + 1, .data_change = true});
  }
  MILLRACE_ASSERT_OK(table->Commit(request));
  MILLRACE_ASSERT_OK(table->WriteCheckpoint());
  const std::string checkpoint = delta::CheckpointKey(1);
  ASSERT_GT(direct_->Stat(checkpoint).ValueOrDie()->size, 100'000) << "its footer is not the whole of it";
  const auto hasty = Open(HastyOptions());
  // The footer arrives, the rest does not.
  Tell("plan", R"([{"fault":"error_503","method":"GET","match":"checkpoint.parquet","skip":1,"times":-1}])");
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, delta::Table::Open(hasty));
  Tell("plan", R"([{"fault":"error_503","method":"GET","match":"checkpoint.parquet","skip":1,"times":-1}])");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto reader, delta::Table::Open(direct_));
  EXPECT_EQ(reader->snapshot()->files.size(), 5000u);
  const auto again = delta::ReadCheckpointFiles(*hasty, {checkpoint}, [](delta::Action&&) { return Status::OK(); });
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, again);
  EXPECT_TRUE(direct_->Stat(checkpoint).ValueOrDie().has_value());
}

TEST_F(S3Faults, FiveRivalsWinEachVersionOnce) {
  constexpr int kRivals = 5;
  constexpr int kCommitsEach = 8;
  MILLRACE_ASSERT_OK(delta::Table::OpenOrCreate(direct_, CreateOptions()));
  Random(0.1, 5);
  std::atomic<int> committed{0};
  std::vector<std::thread> rivals;
  for (int r = 0; r < kRivals; ++r) {
    rivals.emplace_back([&, r] {
      const auto table = delta::Table::Open(Open(Options())).ValueOrDie();
      for (int n = 1; n <= kCommitsEach; ++n) {
        const auto outcome = table->Commit(Request("rival-" + std::to_string(r), n), {.attempts_max = 500});
        ASSERT_TRUE(outcome.ok()) << outcome.status();
        committed += std::holds_alternative<delta::Committed>(*outcome) ? 1 : 0;
      }
    });
  }
  for (auto& rival : rivals) rival.join();
  EXPECT_EQ(committed, kRivals * kCommitsEach);
  delta::TableVersion latest = 0;
  EXPECT_EQ(Committed(latest).size(), static_cast<std::size_t>(kRivals * kCommitsEach));
  EXPECT_EQ(latest, kRivals * kCommitsEach) << "as many versions as commits, no gap";
}

TEST_F(S3Faults, AStoreWithoutConditionalPutIsRefusedAtTheStart) {
  // The first PUT is an ordinary one.
  Tell("plan", R"([{"fault":"error_501","method":"PUT","skip":1,"times":-1}])");
  const auto opened = OpenS3Store(Variable("S3_TEST_BUCKET"), prefix_, IfMissing::kCreate, {}, Options());
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, opened);
  EXPECT_THAT(opened.status().message(), HasSubstr("If-None-Match"));
}

TEST_F(S3Faults, UndecidedConditionalPutsAreSentAgain) {
  Once("error_409", "PUT", "log/");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto put, store_->PutIfAbsent("log/0", "x"));
  EXPECT_EQ(put, PutOutcome::kCreated);
  Once("error_409", "PUT", "log/");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto again, store_->PutIfAbsent("log/0", "y"));
  EXPECT_EQ(again, PutOutcome::kExists);
  EXPECT_EQ(direct_->Read("log/0").ValueOrDie()->ToString(), "x");
}

}  // namespace
}  // namespace millrace
