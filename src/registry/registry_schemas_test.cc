// Who asks for a schema, how often the registry is asked for it, and what happens while it does not answer.
#include "registry/registry_schemas.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "testing/status_matchers.h"
#include "testing/stub_http_server.h"

namespace millrace::registry {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using testing::StubHttpServer;
using testing::StubReply;
using testing::StubRequest;

constexpr auto kLong = 20s;

class RegistrySchemasTest : public ::testing::Test {
 protected:
  RegistrySchemas& Open(RegistrySchemas::Options options = {}) {
    options.pause = {.min = 1ms, .max = 5ms};
    options.ask_again = 1ms;
    schemas_ = std::make_unique<RegistrySchemas>(RegistrySpec{.urls = {server_.url()}}, options);
    return *schemas_;
  }

  // As a decoder's partition does: again whenever there are other answers.
  Result<std::shared_ptr<const ingest::WriterSchema>> Await(std::uint64_t id) {
    for (;;) {
      const auto answers = schemas_->answers();
      auto found = schemas_->Find(id);
      if (found.ok() || KindOf(found.status()) != ErrorKind::kTransient) return found;
      if (!ingest::AwaitOtherAnswers(*schemas_, answers, kLong)) return found;
    }
  }

  std::size_t asked(const std::string& target) const {
    std::size_t count = 0;
    for (const auto& request : server_.requests()) count += request.target == target ? 1 : 0;
    return count;
  }

  std::atomic<bool> is_down_{false};
  std::atomic<bool> has_all_{true};
  StubHttpServer server_{[this](const StubRequest& request) -> StubReply {
    if (is_down_) return {.drop = true};
    if (!has_all_) return {404, R"({"error_code":40403,"message":"no such"})"};
    return {200, R"({"schema":")" + request.target + R"("})"};
  }};
  std::unique_ptr<RegistrySchemas> schemas_;
};

TEST_F(RegistrySchemasTest, EachIsAskedForOnceWhoeverWantsIt) {
  Open({.wait_max = kLong});
  std::vector<std::thread> decoders;
  for (int i = 0; i < 4; ++i) {
    decoders.emplace_back([this] {
      for (const std::uint64_t id : {1, 2, 1, 3, 2}) {
        const auto found = Await(id);
        EXPECT_TRUE(found.ok() && (*found)->text == "/schemas/ids/" + std::to_string(id));
      }
    });
  }
  for (auto& decoder : decoders) decoder.join();
  EXPECT_EQ(server_.requests().size(), 3u);
  const auto state = *schemas_->state();
  EXPECT_EQ(state.schemas, 3);
  EXPECT_EQ(state.requests, 3);
  EXPECT_EQ(state.failures + state.unknown + state.wanted, 0);
  EXPECT_GE(state.from_memory, 8) << "what each of four asks for the second time";
  const auto before = state.from_memory;
  MILLRACE_ASSERT_OK(schemas_->Find(2).status());
  EXPECT_EQ(schemas_->state()->from_memory, before + 1);
}

TEST_F(RegistrySchemasTest, WhileItIsDownNobodyWaitsAndNothingIsSaidToBeUnknown) {
  is_down_ = true;
  Open({.wait_max = kLong});
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, schemas_->Find(1));
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < 1000; ++i) {
    const auto found = schemas_->Find(1 + i % 3);
    MILLRACE_ASSERT_KIND(ErrorKind::kTransient, found);
    EXPECT_THAT(found.status().message(), HasSubstr("cannot be had from the schema registry " + server_.url()));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begun, kLong) << "none of a thousand waits";
  EXPECT_EQ(schemas_->state()->wanted, 3);
  EXPECT_NE(schemas_->state()->error, "");
  is_down_ = false;
  for (const std::uint64_t id : {1, 2, 3}) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto found, Await(id));
    EXPECT_EQ(found->text, "/schemas/ids/" + std::to_string(id));
  }
  EXPECT_EQ(schemas_->state()->error, "");
  EXPECT_GT(schemas_->state()->failures, 0);
}

TEST_F(RegistrySchemasTest, ANoIsAskedAgainBeforeItIsBelieved) {
  has_all_ = false;
  Open({.wait_max = kLong});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto none, Await(7));
  EXPECT_EQ(none, nullptr);
  EXPECT_EQ(asked("/schemas/ids/7"), 2u);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto still_none, schemas_->Find(7));
  EXPECT_EQ(still_none, nullptr);
  EXPECT_EQ(schemas_->state()->unknown, 1) << "an id, however often it was asked for";
  EXPECT_EQ(schemas_->state()->requests, 2);
  EXPECT_EQ(asked("/schemas/ids/7"), 2u) << "and is remembered";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto beyond, schemas_->Find(std::uint64_t{1} << 32));
  EXPECT_EQ(beyond, nullptr) << "no id of a registry";
}

TEST_F(RegistrySchemasTest, ANoIsNotForEver) {
  has_all_ = false;
  Open({.wait_max = kLong, .no_kept = 200ms});
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto found, Await(7));
  EXPECT_EQ(found, nullptr);
  has_all_ = true;  // A follower that was late, or a schema that was made after all.
  const auto until = std::chrono::steady_clock::now() + kLong;
  while (found == nullptr && std::chrono::steady_clock::now() < until) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(found, Await(7));
  }
  EXPECT_NE(found, nullptr);
}

TEST_F(RegistrySchemasTest, WhatIsRememberedIsBounded) {
  Open({.wait_max = kLong, .waits_per_second_max = 1000, .schemas_max = 3});
  for (std::uint64_t id = 1; id <= 10; ++id) {
    MILLRACE_ASSERT_OK(Await(id).status());
    EXPECT_LE(schemas_->state()->schemas, 3);
    MILLRACE_ASSERT_OK(Await(1).status());
  }
  EXPECT_EQ(asked("/schemas/ids/1"), 1u) << "what is wanted often stays";
  Open({.wait_max = kLong, .waits_per_second_max = 1000, .bytes_max = 1});
  for (const std::uint64_t id : {1, 2, 1}) MILLRACE_ASSERT_OK(Await(id).status());
  EXPECT_EQ(schemas_->state()->schemas, 1) << "one is always had, whatever its size";
}

TEST_F(RegistrySchemasTest, IdsThatAreAskedForAtOnceAreBounded) {
  is_down_ = true;
  Open({.wanted_max = 2});
  for (const std::uint64_t id : {1, 2, 3, 4}) MILLRACE_ASSERT_KIND(ErrorKind::kTransient, schemas_->Find(id));
  EXPECT_EQ(schemas_->state()->wanted, 2);
  is_down_ = false;
  for (const std::uint64_t id : {4, 3, 2, 1}) MILLRACE_ASSERT_OK(Await(id).status());
}

TEST_F(RegistrySchemasTest, StrangersDoNotMakeTheOthersWait) {
  StubHttpServer silent([](const StubRequest&) { return StubReply{.stall = true}; });
  RegistrySchemas schemas({.urls = {silent.url()}}, {.wait_max = 30ms});
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, schemas.Find(1));
  const auto begun = std::chrono::steady_clock::now();
  for (std::uint64_t id = 2; id < 100; ++id) MILLRACE_ASSERT_KIND(ErrorKind::kTransient, schemas.Find(id));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 98 * 30ms) << "who waited in vain was the last to wait";
  // Its destructor ends the request that hangs.
}

TEST_F(RegistrySchemasTest, TheLatestVersionIsTriedForUntilPatienceIsOver) {
  is_down_ = true;
  Open();
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, schemas_->Latest("s", 1s));
  EXPECT_GT(server_.requests().size(), 1u);
  std::thread restart([this, tried = server_.requests().size()] {
    while (server_.requests().size() < tried + 5) std::this_thread::yield();
    is_down_ = false;
  });
  MILLRACE_ASSERT_OK(schemas_->Latest("s", kLong).status());
  restart.join();
  has_all_ = false;
  const auto before = server_.requests().size();
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, schemas_->Latest("s", kLong));
  EXPECT_EQ(server_.requests().size(), before + 1);
}

}  // namespace
}  // namespace millrace::registry
