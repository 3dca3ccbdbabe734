// Goal: workers behind one name come and go, and a name server that fails or hangs holds nobody.
#include "peers/peer_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace millrace::peers {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// A name server that says what the test has it say.
class ScriptedNames {
 public:
  void Say(Result<std::vector<std::string>> addresses) {
    const std::scoped_lock lock(mutex_);
    addresses_ = std::move(addresses);
    lookups_ = 0;
  }
  Lookup Function() {
    return [this](const std::string& name) -> Result<std::vector<std::string>> {
      EXPECT_EQ(name, "workers.test");
      const std::scoped_lock lock(mutex_);
      ++lookups_;
      said_.notify_all();
      return addresses_;
    };
  }
  // After that, what it said last is known: the lookup before has been taken.
  void WaitForTwoLookups() {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(said_.wait_for(lock, 120s, [this] { return lookups_ >= 2; }));
  }

 private:
  std::mutex mutex_;
  std::condition_variable said_;
  Result<std::vector<std::string>> addresses_ = std::vector<std::string>();
  int lookups_ = 0;
};

TEST(PeerNamesTest, AddressesComeAndGo) {
  ScriptedNames server;
  server.Say(std::vector<std::string>{"10.0.0.8", "fd00::7", "10.0.0.7", "10.0.0.8"});
  const PeerNames names({.name = "workers.test", .port = 81, .interval = 1ms, .lookup = server.Function()});
  server.WaitForTwoLookups();
  EXPECT_THAT(names.Known().urls, ElementsAre("http://10.0.0.7:81", "http://10.0.0.8:81", "http://[fd00::7]:81"));
  EXPECT_THAT(names.Known().unknown, IsEmpty());
  server.Say(std::vector<std::string>{"10.0.0.9"});
  server.WaitForTwoLookups();
  EXPECT_THAT(names.Known().urls, ElementsAre("http://10.0.0.9:81"));
}

TEST(PeerNamesTest, ANameThatCannotBeLookedUpIsMissingUntilItCanBeAndKeepsItsAddressesAfter) {
  ScriptedNames server;
  server.Say(Transient("no such name"));
  const PeerNames names({.name = "workers.test", .interval = 1ms, .lookup = server.Function()});
  server.WaitForTwoLookups();
  EXPECT_THAT(names.Known(), (PeerList{.urls = {}, .unknown = {{"workers.test", "no such name"}}}));
  server.Say(std::vector<std::string>{"10.0.0.7"});
  server.WaitForTwoLookups();
  const PeerList found{.urls = {"http://10.0.0.7:8080"}, .unknown = {}};
  EXPECT_EQ(names.Known(), found);
  server.Say(Transient("the name server is away"));
  server.WaitForTwoLookups();
  EXPECT_EQ(names.Known(), found);
  server.Say(std::vector<std::string>());
  server.WaitForTwoLookups();
  EXPECT_EQ(names.Known(), found) << "a service without any worker looks the same as one that starts anew";
}

TEST(PeerNamesTest, AtMostSoManyAreAsked) {
  std::vector<std::string> many;
  for (int i = 0; i < 300; ++i) many.push_back(fmt::format("10.0.{}.{}", i / 200, i % 200));
  ScriptedNames server;
  server.Say(many);
  const PeerNames names({.name = "workers.test", .interval = 1ms, .lookup = server.Function()});
  server.WaitForTwoLookups();
  EXPECT_THAT(names.Known().urls, SizeIs(kPeersMax));
}

TEST(PeerNamesTest, ALookupThatHangsHoldsNobody) {
  struct Gate {
    std::mutex mutex;
    std::condition_variable opened;
    bool open = false;
  };
  const auto gate = std::make_shared<Gate>();
  {
    const PeerNames names({.name = "workers.test", .lookup = [gate](const std::string&) {
                             std::unique_lock lock(gate->mutex);
                             gate->opened.wait(lock, [&] { return gate->open; });
                             return Result<std::vector<std::string>>(std::vector<std::string>());
                           }});
    EXPECT_THAT(names.Known().urls, IsEmpty());
    ASSERT_THAT(names.Known().unknown, SizeIs(1));
    EXPECT_EQ(names.Known().unknown[0].name, "workers.test");
  }
  const std::scoped_lock lock(gate->mutex);
  gate->open = true;
  gate->opened.notify_all();
}

TEST(PeerNamesTest, TheSystemKnowsThisMachine) {
  const auto found = LookUpBySystem("localhost");
  ASSERT_TRUE(found.ok()) << found.status().ToString();
  EXPECT_THAT(*found, ::testing::AnyOf(Contains("127.0.0.1"), Contains("::1")));
  const auto none = LookUpBySystem("no-such-name.invalid");
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.status().message(), HasSubstr("no-such-name.invalid"));
}

}  // namespace
}  // namespace millrace::peers
