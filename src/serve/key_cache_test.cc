// When an issuer's keys are read, how long they hold, and the thread that reads them.
#include "serve/key_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>
#include <vector>

#include "base/uuid.h"
#include "serve/key_fetcher.h"
#include "serve/test_jwt.h"
#include "testing/manual_clock.h"
#include "testing/status_matchers.h"
#include "testing/stub_http_server.h"

namespace millrace::serve {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

constexpr KeyCacheTimes kTimes{.refresh = 300s, .pause = 10s, .keep = 24h};

KeyCache::Time After(std::chrono::milliseconds since) { return KeyCache::Time(1000h) + since; }

std::shared_ptr<const JwkSet> SomeKeys() { return std::make_shared<const JwkSet>(); }

TEST(KeyCache, IsReadAtOnceAndThenEveryFiveMinutes) {
  KeyCache cache(kTimes, After(0s));
  EXPECT_EQ(cache.next(), After(0s));
  EXPECT_EQ(cache.Keys(After(0s)), nullptr);
  const auto keys = SomeKeys();
  cache.Took(keys, After(1s));
  EXPECT_EQ(cache.Keys(After(1s)), keys);
  EXPECT_EQ(cache.next(), After(301s));
}

TEST(KeyCache, AnUnknownKeyBringsTheNextReadingForwardNoFurtherThanThePause) {
  KeyCache cache(kTimes, After(0s));
  cache.WantNewer();
  EXPECT_LE(cache.next(), After(0s)) << "it is due already";
  cache.Took(SomeKeys(), After(0s));
  cache.WantNewer();
  cache.WantNewer();
  EXPECT_EQ(cache.next(), After(10s));
  cache.Took(SomeKeys(), After(10s));
  EXPECT_EQ(cache.next(), After(310s));
  cache.WantNewer();
  EXPECT_EQ(cache.next(), After(20s)) << "whoever makes up keys gets one reading each ten seconds";
}

TEST(KeyCache, KeysHoldForADayWhileTheyCannotBeRead) {
  KeyCache cache(kTimes, After(0s));
  const auto keys = SomeKeys();
  cache.Took(keys, After(0s));
  cache.Took(nullptr, After(300s));
  EXPECT_EQ(cache.next(), After(310s)) << "tried again soon";
  EXPECT_EQ(cache.Keys(After(24h - 1ms)), keys);
  EXPECT_EQ(cache.Keys(After(24h)), nullptr);
  const auto newer = SomeKeys();
  cache.Took(newer, After(25h));
  EXPECT_EQ(cache.Keys(After(25h)), newer);
}

// Documents come when the test says so.
class Issuer {
 public:
  Result<std::string> Read(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    ++readings_;
    changed_.notify_all();
    changed_.wait(lock, stop, [&] { return !documents_.empty(); });
    if (stop.stop_requested()) return Cancelled("stop");
    auto document = std::move(documents_.front());
    documents_.erase(documents_.begin());
    return document;
  }
  void Publish(Result<std::string> document) {
    const std::lock_guard lock(mutex_);
    documents_.push_back(std::move(document));
    changed_.notify_all();
  }
  void WaitForReading(int number) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return readings_ >= number; });
  }
  int readings() {
    const std::lock_guard lock(mutex_);
    return readings_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<Result<std::string>> documents_;
  int readings_ = 0;
};

TEST(KeyFetcher, KnowsANewKeyAsSoonAsSomebodyUsesIt) {
  testing::ManualClock clock(3'600'000'000);
  Issuer issuer;
  KeyFetcher fetcher(
      "idp", kTimes, [&](const std::stop_token& stop) { return issuer.Read(stop); }, clock);
  EXPECT_EQ(fetcher.Keys(), nullptr) << "nothing has come";
  issuer.Publish(TestSigner("one").Jwks());
  const auto first = fetcher.KeysAskedAnew();
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->keys[0].id, "one");

  EXPECT_EQ(fetcher.KeysAskedAnew(), first) << "asked a moment ago";
  EXPECT_EQ(issuer.readings(), 1);
  clock.Set(clock.Now() + 10'000'000);
  issuer.Publish(TestSigner("two").Jwks());
  const auto second = fetcher.KeysAskedAnew();
  EXPECT_EQ(second->keys[0].id, "two");
  EXPECT_EQ(issuer.readings(), 2);

  // While it fails what is known goes on.
  for (const auto& failure : {Result<std::string>(Transient("no answer")), Result<std::string>("<html>")}) {
    clock.Set(clock.Now() + 10'000'000);
    issuer.Publish(failure);
    EXPECT_EQ(fetcher.KeysAskedAnew(), second);
  }
  EXPECT_EQ(issuer.readings(), 4);
}

TEST(KeyFetcher, StrangersWithMadeUpKeysHoldTwoThreadsAtMost) {
  testing::ManualClock clock(3'600'000'000);
  Issuer issuer;
  KeyFetcher fetcher(
      "idp", kTimes, [&](const std::stop_token& stop) { return issuer.Read(stop); }, clock);
  issuer.Publish(TestSigner("one").Jwks());
  const auto known = fetcher.KeysAskedAnew();
  ASSERT_NE(known, nullptr);
  clock.Set(clock.Now() + 10'000'000);
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::shared_ptr<const JwkSet>> answers;
  std::vector<std::jthread> strangers;
  for (int i = 0; i < 10; ++i) {
    strangers.emplace_back([&] {
      auto keys = fetcher.KeysAskedAnew();
      const std::lock_guard lock(mutex);
      answers.push_back(std::move(keys));
      changed.notify_all();
    });
  }
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return answers.size() >= 8; });
    EXPECT_EQ(answers, std::vector(8, known)) << "at once, while the issuer has not answered";
  }
  issuer.Publish(TestSigner("two").Jwks());
  strangers.clear();
  ASSERT_EQ(answers.size(), 10u);
  for (const std::size_t i : {8, 9}) EXPECT_EQ(answers[i]->keys[0].id, "two");
  EXPECT_EQ(issuer.readings(), 2);
}

TEST(KeyFetcher, EndsWhileItReads) {
  Issuer issuer;
  {
    KeyFetcher fetcher("idp", kTimes, [&](const std::stop_token& stop) { return issuer.Read(stop); });
    issuer.WaitForReading(1);
  }
  EXPECT_EQ(issuer.readings(), 1);
}

TEST(KeyPlace, WhatIsWrongWithIt) {
  const std::string folder = ::testing::TempDir() + "key_cache_" + RandomUuid() + "/";
  std::filesystem::create_directory(folder);
  const auto file = [&](const char* name, const std::string& text) {
    std::ofstream(folder + name) << text;
    return folder + name;
  };
  struct Case {
    std::string jwks;
    const char* fault;
  };
  const Case cases[] = {
      {"https://idp.example/jwks", ""},
      {"http://127.0.0.1:9000/jwks", ""},
      {"http://[::1]:9000/jwks", ""},
      {"http://localhost/jwks", ""},
      {"http://idp.example/jwks", "http:// is for 127.0.0.1, [::1] and localhost alone"},
      {"http://127.0.0.1.example/jwks", "http:// is for 127.0.0.1"},
      {"http://127.0.0.1@idp.example/jwks", "a user or a password"},
      {"https://user:pass@idp.example/jwks", "a user or a password"},
      {"ftp://idp.example/jwks", "neither a file nor an https:// URL"},
      {"https://", "neither a file nor an https:// URL"},
      {"/nowhere/jwks.json", "cannot read '/nowhere/jwks.json': No such file"},
      {folder, "cannot read"},
      {file("bad_jwks", "{}"), "cannot be used: it is not a key set"},
      {file("large_jwks", std::string(2 << 20, ' ')), "more than 1048576 bytes"},
      {file("good_jwks", TestSigner("one").Jwks()), ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.jwks);
    const std::string fault = FaultOfKeyPlace({c.jwks, {}}, true).value_or("");
    EXPECT_EQ(fault.empty(), *c.fault == '\0') << fault;
    EXPECT_THAT(fault, HasSubstr(c.fault));
    EXPECT_EQ(fault.find("pass@"), std::string::npos);
  }
  std::filesystem::remove_all(folder);
  EXPECT_EQ(FaultOfKeyPlace({"/nowhere/jwks.json", {}}, false), std::nullopt);
  EXPECT_EQ(TimesFor({"/etc/jwks.json", {}}).refresh, 10s);
  EXPECT_EQ(TimesFor({"https://idp/jwks", {}}).refresh, 5min);
}

TEST(KeyPlace, IsReadOverHttpWithLimits) {
  testing::StubReply reply;
  testing::StubHttpServer server([&](const testing::StubRequest&) { return reply; });
  const auto read = [&] { return ReadKeyDocument({server.url() + "/jwks", {}}, {}); };
  reply.body = "hello";
  EXPECT_EQ(read().ValueOrDie(), "hello");
  EXPECT_EQ(server.requests()[0].target, "/jwks");
  reply = {.status = 302, .headers = {{"Location", server.url() + "/other"}}};
  EXPECT_THAT(read().status().message(), HasSubstr("it answered 302")) << "who may redirect could send us anywhere";
  reply = {.status = 500};
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, read());
  reply = {.body = std::string((1 << 20) + 1, 'x')};
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, read());
  reply = {.drop = true};
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, read());
  reply = {.stall = true};
  std::stop_source stop;
  stop.request_stop();
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, ReadKeyDocument({server.url(), {}}, stop.get_token()));
}

}  // namespace
}  // namespace millrace::serve
