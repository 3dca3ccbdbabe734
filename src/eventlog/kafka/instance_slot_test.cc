// Ids of group members that outlive a process: found again, and never had by two.
#include "eventlog/kafka/instance_slot.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <set>
#include <vector>

namespace millrace::eventlog {
namespace {

// Of this test process: other tests may run beside it.
std::string Group(const std::string& name) { return name + "-" + std::to_string(::getpid()); }

TEST(InstanceSlot, EachOfAGroupIsItsOwnAndTheLowestFreeOneIsTakenAgain) {
  const std::string group = Group("own");
  auto first = InstanceSlot::Take(group);
  auto second = InstanceSlot::Take(group);
  ASSERT_TRUE(first && second);
  EXPECT_NE(first->instance_id(), second->instance_id());
  const std::string id = first->instance_id();
  first.reset();
  const auto again = InstanceSlot::Take(group);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->instance_id(), id);
}

TEST(InstanceSlot, GroupsAreApart) {
  const auto one = InstanceSlot::Take(Group("one"));
  const auto other = InstanceSlot::Take(Group("other"));
  ASSERT_TRUE(one && other);
  EXPECT_EQ(one->instance_id(), other->instance_id()) << "both are the first of their group";
}

TEST(InstanceSlot, AKilledProcessLetsGo) {
  const std::string group = Group("killed");
  int told[2];
  ASSERT_EQ(::pipe(told), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto slot = InstanceSlot::Take(group);
    static_cast<void>(!::write(told[1], slot->instance_id().data(), slot->instance_id().size()));
    ::pause();
    ::_exit(0);
  }
  char id[300] = {};
  ASSERT_GT(::read(told[0], id, sizeof(id)), 0);
  const auto beside = InstanceSlot::Take(group);
  ASSERT_TRUE(beside);
  EXPECT_NE(beside->instance_id(), id);
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  const auto after = InstanceSlot::Take(group);
  ASSERT_TRUE(after);
  EXPECT_EQ(after->instance_id(), id) << "the process that is started in its place finds its id";
  ::close(told[0]);
  ::close(told[1]);
}

TEST(InstanceSlot, ThereAreOnlySoMany) {
  const std::string group = Group("many");
  std::vector<InstanceSlot> slots;
  std::set<std::string> ids;
  for (int i = 0; i < InstanceSlot::kSlotsMax; ++i) {
    auto slot = InstanceSlot::Take(group);
    ASSERT_TRUE(slot) << i;
    ids.insert(slot->instance_id());
    slots.push_back(*std::move(slot));
  }
  EXPECT_EQ(ids.size(), slots.size());
  EXPECT_FALSE(InstanceSlot::Take(group));
}

}  // namespace
}  // namespace millrace::eventlog
