// Acknowledged is what is safe, in the order of its coming; what comes again after a break is known.
#include "mqtt/inbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

namespace millrace::mqtt {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<int> Acks(Inbox& inbox) {
  std::vector<int> ids;
  for (const auto& one : inbox.TakeAcks()) ids.push_back(one.packet_id);
  return ids;
}

TEST(MqttInbox, AcknowledgesInTheOrderOfComing) {
  Inbox inbox;
  inbox.Connected(false);
  const auto first = inbox.Arrived(7, false, 1).ticket;
  const auto second = inbox.Arrived(3, false, 2).ticket;
  const auto third = inbox.Arrived(9, false, 3).ticket;
  EXPECT_THAT(Acks(inbox), IsEmpty());
  inbox.Settle(second);
  EXPECT_THAT(Acks(inbox), IsEmpty());
  inbox.Settle(first);
  EXPECT_THAT(Acks(inbox), ElementsAre(7, 3));
  EXPECT_EQ(inbox.unacknowledged(), 1U);
  EXPECT_TRUE(inbox.IsWaiting(9));
  EXPECT_FALSE(inbox.IsWaiting(7));
  inbox.Settle(third, reason::kQuotaExceeded);
  EXPECT_THAT(inbox.TakeAcks(), ElementsAre(Inbox::Acked{9, reason::kQuotaExceeded}));
}

TEST(MqttInbox, WhatComesAgainIsStoredOnce) {
  Inbox inbox;
  inbox.Connected(false);
  const auto safe = inbox.Arrived(1, false, 11).ticket;
  const auto on_its_way = inbox.Arrived(2, false, 22).ticket;
  inbox.Settle(safe);
  EXPECT_THAT(Acks(inbox), ElementsAre(1));

  inbox.Connected(true);
  EXPECT_EQ(inbox.unacknowledged(), 0U);
  EXPECT_FALSE(inbox.Arrived(1, true, 11).is_new);
  EXPECT_THAT(Acks(inbox), ElementsAre(1)) << "the acknowledgement was lost";
  const auto again = inbox.Arrived(2, true, 22);
  EXPECT_FALSE(again.is_new);
  EXPECT_EQ(again.ticket, on_its_way);
  EXPECT_THAT(Acks(inbox), IsEmpty());
  inbox.Settle(on_its_way);
  EXPECT_THAT(Acks(inbox), ElementsAre(2));
}

TEST(MqttInbox, AnIdentifierThatIsUsedAgainIsAnotherMessage) {
  Inbox inbox;
  inbox.Connected(false);
  inbox.Settle(inbox.Arrived(1, false, 11).ticket);
  EXPECT_THAT(Acks(inbox), ElementsAre(1));
  EXPECT_TRUE(inbox.Arrived(1, false, 11).is_new) << "the same bytes, sent anew";
  EXPECT_TRUE(inbox.Arrived(2, true, 22).is_new) << "marked DUP, and never seen";
  inbox.Connected(true);
  EXPECT_TRUE(inbox.Arrived(2, true, 23).is_new) << "another message";
  EXPECT_TRUE(inbox.Arrived(1, false, 11).is_new) << "not marked";
}

TEST(MqttInbox, WhatCouldNotBeStoredIsNewWhenItComesAgain) {
  Inbox inbox;
  inbox.Connected(false);
  inbox.Forget(inbox.Arrived(1, false, 11).ticket);
  EXPECT_THAT(Acks(inbox), IsEmpty());
  inbox.Connected(true);
  const auto again = inbox.Arrived(1, true, 11);
  EXPECT_TRUE(again.is_new);
  inbox.Settle(again.ticket);
  EXPECT_THAT(Acks(inbox), ElementsAre(1));
}

TEST(MqttInbox, WithoutASessionNothingIsKnown) {
  Inbox inbox;
  inbox.Connected(false);
  const auto old = inbox.Arrived(1, false, 11).ticket;
  inbox.Connected(false);
  EXPECT_TRUE(inbox.Arrived(1, true, 11).is_new);
  inbox.Settle(old);
  EXPECT_THAT(Acks(inbox), IsEmpty()) << "what the one before came to says nothing of this one";
}

// Goal: over any course of arrivals, settlements and breaks nothing is acknowledged before it is settled, and each
// message is stored once as long as the session lives. A sender that obeys the specification is simulated.
TEST(MqttInbox, NoCourseOfEventsAcknowledgesWhatIsNotSafe) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    Inbox inbox;
    inbox.Connected(false);
    struct Sent {
      std::uint64_t content;
      bool is_delivered;  // In this connection.
    };
    std::map<std::uint16_t, Sent> flying;            // What the sender has no acknowledgement of.
    std::map<Inbox::Ticket, std::uint64_t> storing;  // Contents on their way.
    std::set<std::uint64_t> stored;
    std::uint64_t last = 0;
    const auto deliver = [&](std::uint16_t id, Sent& sent, bool dup) {
      sent.is_delivered = true;
      const auto arrival = inbox.Arrived(id, dup, sent.content);
      if (!arrival.is_new) return;
      ASSERT_FALSE(stored.contains(sent.content)) << "seed " << seed;
      storing[arrival.ticket] = sent.content;
    };
    for (int step = 0; step < 300; ++step) {
      switch (pick(5)) {
        case 0:
        case 1: {
          const auto id = static_cast<std::uint16_t>(1 + pick(8));
          if (flying.contains(id)) break;
          deliver(id, flying[id] = {++last, false}, false);
          break;
        }
        case 2:
          if (!storing.empty()) {
            const auto at = std::next(storing.begin(), pick(static_cast<int>(storing.size())));
            ASSERT_TRUE(stored.insert(at->second).second) << "seed " << seed;
            inbox.Settle(at->first);
            storing.erase(at);
          }
          break;
        case 3:
          for (const auto& ack : inbox.TakeAcks()) {
            ASSERT_TRUE(stored.contains(flying.at(ack.packet_id).content)) << "seed " << seed;
            // It may be lost on its way, if the connection breaks.
            if (pick(4) > 0) flying.erase(ack.packet_id);
          }
          break;
        default:
          if (pick(4) == 0) {
            inbox.Connected(true);
            for (auto& [id, sent] : flying) deliver(id, sent, true);
          }
      }
    }
  }
}

}  // namespace
}  // namespace millrace::mqtt
