// The Kafka log against a real broker: `broker.py run -- kafka_log_test`. Each test has a topic and a group of its own.
// KAFKA_DELIVERY=messages in the environment: librdkafka hands over messages instead of batches.
// A Member behaves as the pipeline does (waits on the descriptor, starts at the offsets it keeps, releases when told)
// and checks at each step what must always hold: contiguous ranges, nothing of a partition that was revoked.
#include "eventlog/kafka/kafka_log.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <poll.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "raw_client.h"
#include "testing/status_matchers.h"

namespace millrace::eventlog {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using Properties = std::map<std::string, std::string>;

KafkaDelivery Delivery() {
  const char* delivery = std::getenv("KAFKA_DELIVERY");
  return delivery != nullptr && std::string_view(delivery) == "messages" ? KafkaDelivery::kMessages
                                                                         : KafkaDelivery::kBatches;
}

std::string TestName() { return ::testing::UnitTest::GetInstance()->current_test_info()->name(); }

std::string UniqueName() {
  std::string name = TestName();
  std::replace(name.begin(), name.end(), '/', '-');
  return name;
}

Properties ConsumerProperties() {
  return {{"bootstrap.servers", Brokers()},
          {"group.id", UniqueName()},
          {"session.timeout.ms", "6000"},
          {"heartbeat.interval.ms", "200"}};
}

void DeleteTopic(const std::string& topic) {
  const RawHandle client = RawClient(RD_KAFKA_PRODUCER, {{"bootstrap.servers", Brokers()}});
  rd_kafka_DeleteTopic_t* wanted = rd_kafka_DeleteTopic_new(topic.c_str());
  rd_kafka_queue_t* queue = rd_kafka_queue_new(client.get());
  rd_kafka_DeleteTopics(client.get(), &wanted, 1, nullptr, queue);
  rd_kafka_event_t* event = rd_kafka_queue_poll(queue, 30'000);
  ASSERT_NE(event, nullptr);
  EXPECT_EQ(rd_kafka_event_error(event), RD_KAFKA_RESP_ERR_NO_ERROR);
  rd_kafka_event_destroy(event);
  rd_kafka_queue_destroy(queue);
  rd_kafka_DeleteTopic_destroy(wanted);
}

OutgoingRecord Record(const std::string& topic, std::string payload, std::int32_t partition = 0) {
  OutgoingRecord record;
  record.topic = topic;
  record.partition = partition;
  record.payload = std::move(payload);
  return record;
}

void Produce(const std::vector<OutgoingRecord>& records) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto producer, MakeKafkaProducer({{"bootstrap.servers", Brokers()}}));
  for (const OutgoingRecord& record : records) MILLRACE_ASSERT_OK(producer->Append(record));
  MILLRACE_ASSERT_OK(producer->Flush(30s));
}

/// What the tables hold: shared by the members of a group, as a lake is.
struct Lake {
  OffsetVector next;
  std::map<TopicPartition, std::vector<std::string>> payloads;
  std::size_t total() const {
    std::size_t sum = 0;
    for (const auto& [tp, list] : payloads) sum += list.size();
    return sum;
  }
};

class Member {
 public:
  Member(Properties properties, std::string topic, Lake* lake) : lake_(lake) {
    auto made = MakeKafkaConsumer(std::move(properties), Delivery());
    EXPECT_TRUE(made.ok()) << made.status().ToString();
    consumer = std::move(*made);
    const Status status = consumer->Subscribe({std::move(topic)}, 20s);
    EXPECT_TRUE(status.ok()) << status.ToString();
  }

  /// Waits for the descriptor, up to 100 ms, and handles what there is.
  void Step(std::size_t max_records = 500, std::size_t max_bytes = kPollBytesMax) {
    pollfd fd{consumer->wake_fd(), POLLIN, 0};
    if (::poll(&fd, 1, 100) == 0) return;
    std::size_t polled = 0;
    for (Event& event : consumer->Poll(max_records, max_bytes)) {
      if (const auto* fetched = std::get_if<FetchedRecords>(&event)) polled += fetched->bytes;
      std::visit([this](auto& e) { Handle(e); }, event);
    }
    polled_bytes_max = std::max(polled_bytes_max, polled);
  }

  std::unique_ptr<Consumer> consumer;
  std::set<TopicPartition> owned;
  std::map<TopicPartition, Offset> ends;
  std::vector<Failed> failures;
  std::size_t polled_bytes_max = 0;  ///< Of one Poll().
  std::int64_t generation = 0;
  int revocations = 0;
  int losses = 0;
  bool release = true;
  std::vector<TopicPartition> to_release;

 private:
  void Handle(FetchedRecords& fetched) {
    EXPECT_TRUE(owned.contains(fetched.source)) << "a record of " << ToString(fetched.source) << ", which is not ours";
    EXPECT_EQ(fetched.range.begin, lake_->next[fetched.source]);
    EXPECT_EQ(fetched.generation, generations_[fetched.source]);
    EXPECT_LT(fetched.range.begin, fetched.range.end);
    const OffsetRange range = fetched.range;
    const Status unpacked = model::Unpack(&fetched);
    EXPECT_TRUE(unpacked.ok()) << unpacked.ToString();
    EXPECT_EQ(fetched.range, range);
    Offset before = fetched.range.begin - 1;
    for (const auto& record : fetched.records) {
      EXPECT_GT(record.offset, before);
      before = record.offset;
      lake_->payloads[fetched.source].emplace_back(record.payload.value_or("(none)"));
    }
    EXPECT_LT(before, fetched.range.end);
    lake_->next[fetched.source] = fetched.range.end;
  }
  void Handle(Assigned& assigned) {
    OffsetVector next;
    for (const TopicPartition& tp : assigned.partitions) {
      EXPECT_TRUE(owned.insert(tp).second);
      next[tp] = lake_->next[tp];
    }
    Start(next);
  }
  void Handle(Revoked& revoked) {
    ++revocations;
    losses += revoked.lost;
    for (const TopicPartition& tp : revoked.partitions) EXPECT_EQ(owned.erase(tp), 1u);
    if (!release) {
      to_release = revoked.partitions;
      return;
    }
    const Status status = consumer->Release(revoked.partitions);
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
  void Handle(ReachedEnd& end) {
    EXPECT_EQ(end.end, lake_->next[end.source]);
    ends[end.source] = end.end;
  }
  void Handle(Failed& failed) { failures.push_back(failed); }

 public:
  void Start(const OffsetVector& next) {
    const auto started = consumer->Start(next);
    ASSERT_TRUE(started.ok()) << started.status().ToString();
    EXPECT_GT(*started, generation);
    generation = *started;
    for (const auto& [tp, offset] : next) {
      generations_[tp] = generation;
      lake_->next[tp] = offset;
      ends.erase(tp);
    }
  }

 private:
  Lake* const lake_;
  std::map<TopicPartition, std::int64_t> generations_;
};

// Steps until the condition holds; the test fails after 30 s.
void StepUntil(std::vector<Member*> members, const std::function<bool()>& condition) {
  const auto deadline = steady_clock::now() + 120s;
  while (!condition()) {
    ASSERT_LT(steady_clock::now(), deadline) << "waited in vain";
    for (Member* member : members) member->Step();
  }
}

class KafkaLogTest : public ::testing::Test {
 protected:
  KafkaLogTest() : topic_(UniqueName()) {}
  const std::string topic_;
  const TopicPartition zero_{topic_, 0};
  const TopicPartition one_{topic_, 1};
  Lake lake_;
};

TEST_F(KafkaLogTest, DeliversWhatWasProduced) {
  CreateTopic(topic_, 1);
  OutgoingRecord full = Record(topic_, "payload");
  full.key = "key";
  full.timestamp = 1'700'000'000'123'000;
  full.headers = {{"a", "1"}, {"a", ""}, {"n", std::nullopt}, {"z", "2"}};
  OutgoingRecord tombstone = Record(topic_, "");
  tombstone.key = "gone";
  tombstone.payload.reset();
  Produce({full, tombstone, Record(topic_, "")});

  MILLRACE_ASSERT_OK_AND_ASSIGN(auto consumer, MakeKafkaConsumer(ConsumerProperties(), Delivery()));
  MILLRACE_ASSERT_OK(consumer->Subscribe({topic_}, 20s));
  FetchedRecords got;
  std::optional<ReachedEnd> end;
  const auto deadline = steady_clock::now() + 120s;
  while (!end && steady_clock::now() < deadline) {
    pollfd fd{consumer->wake_fd(), POLLIN, 0};
    ::poll(&fd, 1, 1000);
    for (Event& event : consumer->Poll(100)) {
      if (std::holds_alternative<Assigned>(event)) MILLRACE_ASSERT_OK(consumer->Start({{zero_, 0}}));
      if (auto* fetched = std::get_if<FetchedRecords>(&event)) got = std::move(*fetched);
      if (auto* reached = std::get_if<ReachedEnd>(&event)) end = *reached;
    }
  }
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->end, 3);
  EXPECT_EQ(consumer->KnownEnd(zero_), 3);
  EXPECT_EQ(consumer->KnownEnd({topic_, 7}), std::nullopt);
  consumer.reset();

  // The records outlive the consumer, and may be read and die on another thread.
  EXPECT_EQ(got.range, (OffsetRange{0, 3}));
  std::thread([&] { MILLRACE_ASSERT_OK(model::Unpack(&got)); }).join();
  EXPECT_EQ(got.range, (OffsetRange{0, 3}));
  EXPECT_EQ(got.bytes, 14u);
  ASSERT_EQ(got.records.size(), 3u);
  EXPECT_EQ(got.records[0].key, "key");
  EXPECT_EQ(got.records[0].payload, "payload");
  EXPECT_EQ(got.records[0].timestamp, 1'700'000'000'123'000);
  EXPECT_EQ(got.records[0].Headers(), (model::RecordHeaders{{"a", "1"}, {"a", ""}, {"n", std::nullopt}, {"z", "2"}}));
  EXPECT_EQ(got.records[1].key, "gone");
  EXPECT_EQ(got.records[1].payload, std::nullopt);
  EXPECT_EQ(got.records[2].key, std::nullopt);
  EXPECT_EQ(got.records[2].payload, "");
  EXPECT_TRUE(got.records[2].Headers().empty());
  std::thread([records = std::move(got)]() mutable { records = {}; }).join();
}

TEST_F(KafkaLogTest, PausedPartitionKeepsItsPlace) {
  CreateTopic(topic_, 2);
  std::vector<OutgoingRecord> records;
  for (int i = 0; i < 1000; ++i) records.push_back(Record(topic_, std::to_string(i), i % 2));
  Produce(records);
  Member member(ConsumerProperties(), topic_, &lake_);
  StepUntil({&member}, [&] { return lake_.payloads[zero_].size() > 0; });
  // More of it is in the client's queue by now, surely of this small topic.
  MILLRACE_ASSERT_OK(member.consumer->Pause({zero_}));
  const std::size_t before = lake_.payloads[zero_].size();
  StepUntil({&member}, [&] { return lake_.payloads[one_].size() == 500; });
  Produce({Record(topic_, "zero", 0), Record(topic_, "one", 1)});
  StepUntil({&member}, [&] { return lake_.payloads[one_].size() == 501; });
  EXPECT_EQ(lake_.payloads[zero_].size(), before);
  MILLRACE_ASSERT_OK(member.consumer->Resume({zero_}));
  StepUntil({&member}, [&] { return lake_.payloads[zero_].size() == 501; });
  for (std::size_t i = 0; i < 500; ++i) ASSERT_EQ(lake_.payloads[zero_][i], std::to_string(2 * i));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, member.consumer->Pause({TopicPartition{topic_, 9}}));
}

TEST_F(KafkaLogTest, StartMovesAndDropsWhatIsStale) {
  CreateTopic(topic_, 1);
  std::vector<OutgoingRecord> records;
  for (int i = 0; i < 2000; ++i) records.push_back(Record(topic_, std::to_string(i)));
  Produce(records);
  Member member(ConsumerProperties(), topic_, &lake_);
  // Backwards and forwards, in the middle of a stream and at its end. The member checks each range and generation.
  for (const Offset to : {1500, 0, 100, 1999, 2000, 3}) {
    StepUntil({&member}, [&] { return lake_.next[zero_] > 0; });
    lake_.payloads.clear();
    member.Start({{zero_, to}});
    StepUntil({&member}, [&] { return member.ends.contains(zero_); });
    EXPECT_EQ(member.ends[zero_], 2000);
    ASSERT_EQ(lake_.payloads[zero_].size(), static_cast<std::size_t>(2000 - to));
    for (std::size_t i = 0; i < lake_.payloads[zero_].size(); ++i) {
      ASSERT_EQ(lake_.payloads[zero_][i], std::to_string(static_cast<std::size_t>(to) + i));
    }
  }
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, member.consumer->Start({{TopicPartition{topic_, 9}, 0}}));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, member.consumer->Start({{zero_, -1}}));
}

class KafkaGroupTest : public KafkaLogTest, public ::testing::WithParamInterface<const char*> {
 protected:
  Properties MemberProperties() {
    Properties properties = ConsumerProperties();
    properties["partition.assignment.strategy"] = GetParam();
    return properties;
  }
  bool cooperative() const { return std::string_view(GetParam()) == "cooperative-sticky"; }
};

TEST_P(KafkaGroupTest, PartitionsChangeHandsWithoutLossOrRepeat) {
  CreateTopic(topic_, 4);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto producer, MakeKafkaProducer({{"bootstrap.servers", Brokers()}}));
  int sent = 0;
  const auto produce = [&] {
    for (int i = 0; i < 400; ++i, ++sent)
      MILLRACE_ASSERT_OK(producer->Append(Record(topic_, std::to_string(sent), sent % 4)));
    MILLRACE_ASSERT_OK(producer->Flush(30s));
  };
  produce();
  Member a(MemberProperties(), topic_, &lake_);
  StepUntil({&a}, [&] { return a.owned.size() == 4 && lake_.total() == 400; });

  // The second member gets nothing before the first has let go.
  a.release = false;
  Member b(MemberProperties(), topic_, &lake_);
  StepUntil({&a, &b}, [&] { return a.revocations == 1; });
  EXPECT_EQ(a.to_release.size(), cooperative() ? 2u : 4u);
  produce();
  for (int i = 0; i < 5; ++i) b.Step();
  EXPECT_TRUE(b.owned.empty());
  a.release = true;
  MILLRACE_ASSERT_OK(a.consumer->Release(a.to_release));
  StepUntil({&a, &b}, [&] { return a.owned.size() == 2 && b.owned.size() == 2 && lake_.total() == 800; });
  produce();
  StepUntil({&a, &b}, [&] { return lake_.total() == 1200; });

  b.consumer->Close();
  produce();
  StepUntil({&a}, [&] { return a.owned.size() == 4 && lake_.total() == 1600; });
  for (const auto& [tp, payloads] : lake_.payloads) {
    ASSERT_EQ(payloads.size(), 400u);
    for (std::size_t i = 0; i < 400; ++i)
      ASSERT_EQ(payloads[i], std::to_string(4 * i + static_cast<std::size_t>(tp.partition)));
  }
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, a.consumer->Release({zero_}));
  EXPECT_TRUE(a.failures.empty());
  EXPECT_EQ(a.losses + b.losses, 0);
}

TEST_P(KafkaGroupTest, SubscribedAgainItHasTheNewTopicsAndNoOthers) {
  CreateTopic(topic_, 2);
  Produce({Record(topic_, "a", 0)});
  Member member(MemberProperties(), topic_, &lake_);
  StepUntil({&member}, [&] { return member.owned.size() == 2 && lake_.total() == 1; });
  const std::string more = topic_ + "-more";
  CreateTopic(more, 1);
  const auto is_listed = [&] {
    const auto topics = member.consumer->Topics(20s);
    EXPECT_TRUE(topics.ok()) << topics.status().ToString();
    return topics.ok() && std::find(topics->begin(), topics->end(), more) != topics->end() &&
           std::find(topics->begin(), topics->end(), topic_) != topics->end();
  };
  StepUntil({&member}, is_listed);
  MILLRACE_ASSERT_OK(member.consumer->Subscribe({topic_, more}, 20s));
  Produce({Record(topic_, "b", 1), Record(more, "c", 0)});
  StepUntil({&member}, [&] { return member.owned.size() == 3 && lake_.total() == 3; });
  if (cooperative()) EXPECT_EQ(member.revocations, 0) << "those that it had go on";
  MILLRACE_ASSERT_OK(member.consumer->Subscribe({more}, 20s));
  StepUntil({&member}, [&] { return member.owned == std::set<TopicPartition>{{more, 0}}; });
  Produce({Record(topic_, "d", 1), Record(more, "e", 0)});
  StepUntil({&member}, [&] { return lake_.total() == 4; });
  EXPECT_TRUE(member.failures.empty());
}

TEST_P(KafkaGroupTest, CloseIsQuickWithTheGroupWaitingForAnAnswer) {
  CreateTopic(topic_, 2);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto unanswered, MakeKafkaConsumer(MemberProperties(), Delivery()));
  MILLRACE_ASSERT_OK(unanswered->Subscribe({topic_}, 20s));
  bool assigned = false;
  while (!assigned) {
    pollfd fd{unanswered->wake_fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&fd, 1, 30'000), 1);
    for (const Event& event : unanswered->Poll(10)) assigned |= std::holds_alternative<Assigned>(event);
  }
  const auto begun = steady_clock::now();
  unanswered.reset();
  Member a(MemberProperties(), topic_, &lake_);
  StepUntil({&a}, [&] { return a.owned.size() == 2; });
  a.release = false;
  Member b(MemberProperties(), topic_, &lake_);
  StepUntil({&a, &b}, [&] { return a.revocations == 1; });
  a.consumer->Close();
  StepUntil({&b}, [&] { return b.owned.size() == 2; });
  EXPECT_LT(steady_clock::now() - begun, 20s);
}

// librdkafka 2.0 aborted the process between the answers to JoinGroup and to SyncGroup.
TEST_P(KafkaGroupTest, ClosesAtEachMomentOfJoining) {
  CreateTopic(topic_, 2);
  for (int round = 0; round < 40; ++round) {
    Properties properties = MemberProperties();
    properties["group.id"] += "-" + std::to_string(round);
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto joining, MakeKafkaConsumer(std::move(properties), Delivery()));
    MILLRACE_ASSERT_OK(joining->Subscribe({topic_}, 20s));
    std::this_thread::sleep_for(round * 1ms);
    joining->Close();
  }
}

INSTANTIATE_TEST_SUITE_P(Strategies, KafkaGroupTest, ::testing::Values("cooperative-sticky", "range", "roundrobin"),
                         [](const auto& strategy) { return std::string(strategy.param).substr(0, 5); });

TEST_F(KafkaLogTest, TransactionsLeaveNoGap) {
  CreateTopic(topic_, 1);
  const RawHandle producer =
      RawClient(RD_KAFKA_PRODUCER, {{"bootstrap.servers", Brokers()}, {"transactional.id", topic_}});
  ASSERT_EQ(rd_kafka_init_transactions(producer.get(), 30'000), nullptr);
  const auto transaction = [&](const std::string& payload, int count, bool commit) {
    ASSERT_EQ(rd_kafka_begin_transaction(producer.get()), nullptr);
    for (int i = 0; i < count; ++i) {
      ASSERT_EQ(rd_kafka_producev(producer.get(), RD_KAFKA_V_TOPIC(topic_.c_str()), RD_KAFKA_V_PARTITION(0),
                                  RD_KAFKA_V_VALUE(const_cast<char*>(payload.data()), payload.size()),
                                  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
                RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    rd_kafka_flush(producer.get(), 30'000);
    ASSERT_EQ(commit ? rd_kafka_commit_transaction(producer.get(), 30'000)
                     : rd_kafka_abort_transaction(producer.get(), 30'000),
              nullptr);
  };
  Member member(ConsumerProperties(), topic_, &lake_);
  // Offsets 0-4, marker 5; 6-8 aborted, marker 9; 10-11, marker 12; 13-16 aborted, marker 17.
  transaction("a", 5, true);
  StepUntil({&member}, [&] { return member.ends[zero_] == 6; });
  EXPECT_EQ(lake_.payloads[zero_].size(), 5u);
  transaction("no", 3, false);
  StepUntil({&member}, [&] { return member.ends[zero_] == 10; });
  transaction("b", 2, true);
  transaction("no", 4, false);
  StepUntil({&member}, [&] { return member.ends[zero_] == 18; });
  EXPECT_EQ(lake_.payloads[zero_], (std::vector<std::string>{"a", "a", "a", "a", "a", "b", "b"}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto bounds, member.consumer->Bounds({zero_}, 60s));
  EXPECT_EQ(bounds[zero_], (OffsetRange{0, 18}));
  // The whole again, from the middle of what was aborted.
  lake_.payloads.clear();
  member.Start({{zero_, 7}});
  StepUntil({&member}, [&] { return member.ends.contains(zero_) && member.ends[zero_] == 18; });
  EXPECT_EQ(lake_.payloads[zero_], (std::vector<std::string>{"b", "b"}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto marker, member.consumer->FingerprintAt(zero_, 5, 60s));
  EXPECT_EQ(marker, std::nullopt);
}

TEST_F(KafkaLogTest, LooksUpOffsetsTimesAndFingerprints) {
  CreateTopic(topic_, 2);
  std::vector<OutgoingRecord> records;
  for (int i = 0; i < 10; ++i) {
    records.push_back(Record(topic_, "p" + std::to_string(i)));
    records.back().timestamp = 1'700'000'000'000'000 + i * 1'000'000;
    if (i % 2 == 0) records.back().key = "k";
  }
  Produce(records);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto consumer, MakeKafkaConsumer(ConsumerProperties(), Delivery()));
  MILLRACE_ASSERT_OK(consumer->Subscribe({topic_}, 20s));
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto partitions, consumer->Partitions({topic_}, 60s));
  EXPECT_EQ(partitions, (std::vector<TopicPartition>{zero_, one_}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto bounds, consumer->Bounds(partitions, 60s));
  EXPECT_EQ(bounds[zero_], (OffsetRange{0, 10}));
  EXPECT_EQ(bounds[one_], (OffsetRange{0, 0}));
  const auto at = [&](UnixMicros time) { return consumer->OffsetsAt(time, partitions, 60s).ValueOrDie()[zero_]; };
  EXPECT_EQ(at(1'700'000'003'000'000), 3);
  EXPECT_EQ(at(1'700'000'003'000'001), 4) << "at or after, and not at the millisecond below";
  EXPECT_EQ(at(0), 0);
  EXPECT_EQ(at(1'800'000'000'000'000), 10);
  EXPECT_EQ(consumer->OffsetsAt(0, partitions, 60s).ValueOrDie()[one_], 0);
  for (const Offset offset : {4, 5, 0, 9}) {
    const OutgoingRecord& sent = records[static_cast<std::size_t>(offset)];
    model::RawRecord same;
    same.timestamp = *sent.timestamp;
    if (sent.key) same.key = *sent.key;
    same.payload = *sent.payload;
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto sum, consumer->FingerprintAt(zero_, offset, 60s));
    EXPECT_EQ(sum, Fingerprint(same)) << offset;
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto none, consumer->FingerprintAt(zero_, 10, 60s));
  EXPECT_EQ(none, std::nullopt);
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, consumer->FingerprintAt({topic_, 7}, 0, 3s));
}

// More partitions than are asked side by side, some places twice in one, holes of two kinds, and what was aborted.
TEST_F(KafkaLogTest, FingerprintsOfManyPartitionsAreLookedUpTogether) {
  constexpr int kPartitions = 150;
  CreateTopic(topic_, kPartitions);
  std::vector<OutgoingRecord> records;
  for (int p = 0; p < kPartitions - 1; ++p) {
    for (int i = 0; i < 3; ++i) {
      records.push_back(Record(topic_, fmt::format("p{} {}", p, i)));
      records.back().partition = p;
      records.back().timestamp = 1'700'000'000'000'000 + p * 1'000'000;
    }
  }
  Produce(records);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto consumer, MakeKafkaConsumer(ConsumerProperties(), Delivery()));
  std::set<RecordPlace> places;
  for (int p = 0; p < kPartitions; ++p) {
    for (const Offset offset : {2, 0, 3}) places.insert({{topic_, p}, offset});
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto found, consumer->FingerprintsAt(places, 60s));
  ASSERT_EQ(found.size(), places.size());
  for (const auto& [place, fingerprint] : found) {
    const int p = place.source.partition;
    if (p == kPartitions - 1 || place.offset == 3) {
      EXPECT_EQ(fingerprint, std::nullopt) << p << " " << place.offset;
      continue;
    }
    const OutgoingRecord& sent = records[static_cast<std::size_t>(3 * p + place.offset)];
    EXPECT_EQ(fingerprint, Fingerprint({.timestamp = *sent.timestamp, .payload = *sent.payload}))
        << p << " " << place.offset;
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto none, consumer->FingerprintsAt({}, 60s));
  EXPECT_TRUE(none.empty());
  places.insert({{topic_, kPartitions}, 0});
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, consumer->FingerprintsAt(places, 3s));
}

// Kafka's own session timeout, 45 s: a stop must not make the others wait for it, and a start not for the one before.
TEST_F(KafkaLogTest, AMemberThatClosesLeavesItsPartitionsToTheOthersAtOnce) {
  CreateTopic(topic_, 2);
  Properties properties = ConsumerProperties();
  properties.erase("session.timeout.ms");
  Member stays(properties, topic_, &lake_);
  auto leaves = std::make_unique<Member>(properties, topic_, &lake_);
  StepUntil({&stays, leaves.get()}, [&] { return stays.owned.size() == 1 && leaves->owned.size() == 1; });
  const auto begun = steady_clock::now();
  leaves.reset();
  StepUntil({&stays}, [&] { return stays.owned.size() == 2; });
  EXPECT_LT(steady_clock::now() - begun, 20s);
}

TEST_F(KafkaLogTest, AFencedMemberSaysWhatFencedIt) {
  CreateTopic(topic_, 1);
  Properties properties = ConsumerProperties();
  properties["group.instance.id"] = "twice";
  Member first(properties, topic_, &lake_);
  StepUntil({&first}, [&] { return first.owned.size() == 1; });
  Lake other_lake;
  Member second(properties, topic_, &other_lake);
  StepUntil({&first, &second}, [&] { return !first.failures.empty(); });
  EXPECT_THAT(first.failures.front().status.message(), HasSubstr("under our group.instance.id 'twice' and fenced us"));
  EXPECT_NE(KindOf(first.failures.front().status), ErrorKind::kTransient);
}

TEST_F(KafkaLogTest, ReportsProgressToTheGroup) {
  CreateTopic(topic_, 1);
  Produce({Record(topic_, "x")});
  Member member(ConsumerProperties(), topic_, &lake_);
  StepUntil({&member}, [&] { return lake_.total() == 1; });
  member.consumer->ReportProgress({{zero_, 1}, {{topic_, 9}, 5}});
  const RawHandle group = RawClient(RD_KAFKA_CONSUMER, {{"bootstrap.servers", Brokers()}, {"group.id", UniqueName()}});
  std::unique_ptr<rd_kafka_topic_partition_list_t, void (*)(rd_kafka_topic_partition_list_t*)> list(
      rd_kafka_topic_partition_list_new(1), rd_kafka_topic_partition_list_destroy);
  rd_kafka_topic_partition_list_add(list.get(), topic_.c_str(), 0);
  StepUntil({&member}, [&] {
    return rd_kafka_committed(group.get(), list.get(), 10'000) == RD_KAFKA_RESP_ERR_NO_ERROR &&
           list->elems[0].offset == 1;
  });
}

// librdkafka sleeps a second whenever its queue was full, unless told otherwise: here at each fetch, for one fills it.
TEST_F(KafkaLogTest, SmallQueueDoesNotSlowReading) {
  CreateTopic(topic_, 2);
  const std::string payload(1000, 'x');
  std::vector<OutgoingRecord> records;
  for (int i = 0; i < 40'000; ++i) records.push_back(Record(topic_, payload, i % 2));
  Produce(records);
  for (const auto& [limit, value] : {std::pair{"queued.max.messages.kbytes", "256"}, {"queued.min.messages", "250"}}) {
    SCOPED_TRACE(limit);
    Lake lake;
    Properties properties = ConsumerProperties();
    properties["group.id"] += limit;
    properties[limit] = value;
    Member member(properties, topic_, &lake);
    StepUntil({&member}, [&] { return lake.total() > 0; });
    const auto begun = steady_clock::now();
    StepUntil({&member}, [&] { return lake.total() == records.size(); });
    EXPECT_LT(steady_clock::now() - begun, 15s);
  }
}

TEST_F(KafkaLogTest, PollStopsAtItsBytesWithAtLeastOneRecord) {
  constexpr std::size_t kSize = 100'000;
  CreateTopic(topic_, 2);
  std::vector<OutgoingRecord> records;
  for (int i = 0; i < 200; ++i) records.push_back(Record(topic_, std::string(kSize, 'x'), i % 2));
  Produce(records);
  for (const std::size_t limit : {std::size_t{1}, 5 * kSize, 30 * kSize}) {
    SCOPED_TRACE(limit);
    Lake lake;
    Properties properties = ConsumerProperties();
    properties["group.id"] += std::to_string(limit);
    Member member(properties, topic_, &lake);
    const auto begun = steady_clock::now();
    while (lake.total() < records.size() && steady_clock::now() - begun < 60s) member.Step(8192, limit);
    EXPECT_EQ(lake.total(), records.size());
    // The first of a poll shows how large they are: messages, or the batches of the producer, a megabyte at most.
    const std::size_t one = Delivery() == KafkaDelivery::kMessages ? kSize : 1'000'000;
    EXPECT_LE(member.polled_bytes_max, limit + one);
  }
}

TEST_F(KafkaLogTest, MissingTopicIsNamedWithTheNearestAndNotWithAll) {
  CreateTopic(topic_, 1);
  for (int i = 0; i < 6; ++i) CreateTopic(fmt::format("{}-{}-of-many-topics-of-another-kind", topic_, i), 1);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto consumer, MakeKafkaConsumer(ConsumerProperties(), Delivery()));
  const Status missing = consumer->Subscribe({topic_, "no-such-topic"}, 20s);
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, missing);
  EXPECT_THAT(missing.message(), HasSubstr("topic no-such-topic does not exist in Kafka at " + Brokers()));
  EXPECT_THAT(missing.message(), HasSubstr("; there are "));
  EXPECT_THAT(missing.message(), HasSubstr(" more"));
  EXPECT_EQ(std::ranges::count(missing.message(), ','), 4 + std::ranges::count(Brokers(), ',')) << missing.message();
  MILLRACE_ASSERT_OK_AND_ASSIGN(consumer, MakeKafkaConsumer(ConsumerProperties(), Delivery()));
  const Status misspelt = consumer->Subscribe({topic_ + "x"}, 20s);
  EXPECT_THAT(misspelt.message(), HasSubstr("; did you mean '" + topic_ + "'?"));
}

TEST_F(KafkaLogTest, DeletedTopicIsReported) {
  CreateTopic(topic_, 1);
  Produce({Record(topic_, "x")});
  Properties properties = ConsumerProperties();
  properties["topic.metadata.refresh.interval.ms"] = "300";
  Member member(properties, topic_, &lake_);
  StepUntil({&member}, [&] { return lake_.total() == 1; });
  DeleteTopic(topic_);
  StepUntil({&member}, [&] { return !member.failures.empty(); });
  EXPECT_EQ(KindOf(member.failures[0].status), ErrorKind::kNotFound) << member.failures[0].status.ToString();
  EXPECT_THAT(member.failures[0].status.message(), HasSubstr(topic_));
}

TEST_F(KafkaLogTest, OffsetOutsideTheLogIsNamedWithItsRange) {
  CreateTopic(topic_, 1);
  Produce({Record(topic_, "a"), Record(topic_, "b")});
  lake_.next[zero_] = 1000;
  Member member(ConsumerProperties(), topic_, &lake_);
  StepUntil({&member}, [&] { return !member.failures.empty(); });
  EXPECT_EQ(member.failures[0].source, zero_);
  EXPECT_EQ(KindOf(member.failures[0].status), ErrorKind::kCorrupt);
  EXPECT_EQ(member.failures[0].status.message(),
            "offset 1000 of " + ToString(zero_) + " is out of range: the log holds [0, 2)");
  EXPECT_EQ(lake_.total(), 0u) << "and nothing was read from elsewhere";
}

TEST(KafkaProperties, MistakesComeBackInLibrdkafkasWords) {
  struct Case {
    const char* name;
    Properties properties;
    const char* want;
  };
  for (const Case& c : {
           Case{"unknown", {{"no.such.property", "1"}}, "Kafka: 'no.such.property' is not a property of librdkafka"},
           Case{"value", {{"fetch.wait.max.ms", "soon"}}, "fetch.wait.max.ms"},
           Case{"combination",
                {{"session.timeout.ms", "5000"}, {"max.poll.interval.ms", "1000"}},
                "max.poll.interval.ms"},
           Case{"no servers", {{"bootstrap.servers", ""}}, "bootstrap.servers is missing"},
           Case{"no group", {{"group.id", ""}}, "group.id is missing"},
       }) {
    SCOPED_TRACE(c.name);
    Properties properties{{"bootstrap.servers", "127.0.0.1:1"}, {"group.id", "g"}};
    for (const auto& [name, value] : c.properties) properties[name] = value;
    const auto made = MakeKafkaConsumer(properties);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, made);
    EXPECT_THAT(made.status().message(), HasSubstr(c.want));
  }
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, MakeKafkaProducer({{"bootstrap.servers", "x"}, {"no.such", "1"}}));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, MakeKafkaProducer({}));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, MakeKafkaConfirmingProducer({}));
}

TEST(KafkaProperties, OffsetsAreNeverTakenFromTheGroup) {
  // A user's own choice is overruled, with a warning, and does not fail.
  MILLRACE_ASSERT_OK(MakeKafkaConsumer({{"bootstrap.servers", "127.0.0.1:1"},
                                        {"group.id", "g"},
                                        {"enable.auto.commit", "true"},
                                        {"auto.offset.reset", "earliest"}}));
}

// Port 1 of loopback refuses connections.
TEST(KafkaDown, SubscribeSaysWhichBrokerRefused) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto consumer,
                                MakeKafkaConsumer({{"bootstrap.servers", "127.0.0.1:1"}, {"group.id", "g"}}));
  const auto begun = steady_clock::now();
  const Status status = consumer->Subscribe({"clicks"}, 1500ms);
  EXPECT_LT(steady_clock::now() - begun, 5s);
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, status);
  EXPECT_THAT(status.message(), HasSubstr("no answer from 127.0.0.1:1 within 1500 ms"));
  EXPECT_THAT(status.message(), HasSubstr("refused"));
  // It goes on trying, and says so through Poll() too.
  const std::vector<Event> events = consumer->Poll(10);
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(KindOf(std::get<Failed>(events[0]).status), ErrorKind::kTransient);
}

TEST(KafkaDown, ProducerSaysWhatIsNotDurable) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto producer, MakeKafkaProducer({{"bootstrap.servers", "127.0.0.1:1"}}));
  MILLRACE_ASSERT_OK(producer->Append(Record("clicks", "x", -1)));
  const Status status = producer->Flush(500ms);
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, status);
  EXPECT_THAT(status.message(), ContainsRegex("^up to [1-9][0-9]* records not yet durable after 500 ms: "));
  EXPECT_THAT(status.message(), HasSubstr("127.0.0.1:1"));
}

TEST_F(KafkaLogTest, ProducerReportsWhatFailed) {
  CreateTopic(topic_, 1);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto producer, MakeKafkaProducer({{"bootstrap.servers", Brokers()},
                                                                  {"topic.metadata.propagation.max.ms", "100"}}));
  MILLRACE_ASSERT_OK(producer->Append(Record("nowhere", "x", -1)));
  const Status status = producer->Flush(30s);
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, status);
  EXPECT_THAT(status.message(), HasSubstr("appending to topic nowhere"));
  MILLRACE_ASSERT_OK(producer->Append(Record(topic_, "x")));
  MILLRACE_ASSERT_OK(producer->Flush(30s));
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, producer->Append(Record(topic_, std::string(2'000'000, 'x'))));
}

// What a ConfirmingProducer says of its records, by their payloads.
class Settled {
 public:
  OnSettled Of(std::string payload) {
    return [this, payload = std::move(payload)](const Result<Appended>& fate) {
      const std::scoped_lock lock(mutex_);
      EXPECT_TRUE(fates_.emplace(payload, fate).second) << payload << " is settled twice";
      changed_.notify_all();
    };
  }
  const std::map<std::string, Result<Appended>>& Wait(std::size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, 120s, [&] { return fates_.size() >= count; }));
    return fates_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Result<Appended>> fates_;
};

TEST_F(KafkaLogTest, EachRecordHearsWhereItLies) {
  CreateTopic(topic_, 2);
  Settled settled;
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      auto producer,
      MakeKafkaConfirmingProducer({{"bootstrap.servers", Brokers()}, {"topic.metadata.propagation.max.ms", "100"}}));
  for (int i = 0; i < 200; ++i) {
    const std::string payload = std::to_string(i);
    MILLRACE_ASSERT_OK(producer->Append(Record(topic_, payload, i % 2), settled.Of(payload)));
    // One that fails is that one's matter.
    if (i == 100) MILLRACE_ASSERT_OK(producer->Append(Record("nowhere", "lost", -1), settled.Of("lost")));
  }
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge,
                       producer->Append(Record(topic_, std::string(2'000'000, 'x')), settled.Of("large")));
  const auto& fates = settled.Wait(201);
  ASSERT_EQ(fates.size(), 201u);
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, fates.at("lost"));
  EXPECT_THAT(fates.at("lost").status().message(), HasSubstr("appending to topic nowhere"));
  Member member(ConsumerProperties(), topic_, &lake_);
  StepUntil({&member}, [&] { return lake_.total() == 200; });
  for (int i = 0; i < 200; ++i) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const Appended at, fates.at(std::to_string(i)));
    EXPECT_EQ(at.partition, i % 2);
    const auto& payloads = lake_.payloads[{topic_, at.partition}];
    ASSERT_LT(static_cast<std::size_t>(at.offset), payloads.size());
    EXPECT_EQ(payloads[static_cast<std::size_t>(at.offset)], std::to_string(i));
  }
}

std::vector<Result<Appended>> AppendAll(ConfirmingProducer& producer, std::vector<OutgoingRecord> records) {
  std::promise<std::vector<Result<Appended>>> settled;
  producer.AppendAll(std::move(records), [&settled](auto outcomes) { settled.set_value(std::move(outcomes)); });
  return settled.get_future().get();
}

// Of each kind, since the client takes some of them many at a time and others one by one.
TEST_F(KafkaLogTest, RecordsAppendedTogetherHearTogether) {
  CreateTopic(topic_, 2);
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      auto producer,
      MakeKafkaConfirmingProducer({{"bootstrap.servers", Brokers()}, {"topic.metadata.propagation.max.ms", "100"}}));
  EXPECT_TRUE(AppendAll(*producer, {}).empty());
  std::vector<OutgoingRecord> records;
  for (int i = 0; i < 700; ++i) {
    auto& record = records.emplace_back(Record(topic_, std::to_string(i), -1));
    if (i % 7 < 5) record.key = std::to_string(i % 3);
    if (i % 7 == 1) record.headers = {{"name", "value"}, {"null", std::nullopt}};
    if (i % 7 == 2) record.timestamp = 1'700'000'000'000'000;
    if (i % 7 == 3) record.partition = 1;
    if (i % 7 == 4) record.payload = std::string();
    if (i == 300) record.topic = "nowhere";
    if (i == 301 || i == 302) record.payload = std::string(2'000'000, 'x');
    if (i == 302) record.headers = {{"name", "value"}};
  }
  const auto outcomes = AppendAll(*producer, records);
  ASSERT_EQ(outcomes.size(), records.size());
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, outcomes[300]);
  EXPECT_THAT(outcomes[300].status().message(), HasSubstr("appending to topic nowhere"));
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, outcomes[301]);
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, outcomes[302]);
  Member member(ConsumerProperties(), topic_, &lake_);
  StepUntil({&member}, [&] { return lake_.total() == 697; });
  std::map<std::pair<std::int32_t, std::string>, Offset> last;
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (i >= 300 && i <= 302) continue;
    MILLRACE_ASSERT_OK_AND_ASSIGN(const Appended at, outcomes[i]);
    const auto& payloads = lake_.payloads[{topic_, at.partition}];
    ASSERT_LT(static_cast<std::size_t>(at.offset), payloads.size());
    EXPECT_EQ(payloads[static_cast<std::size_t>(at.offset)], *records[i].payload) << i;
    if (records[i].partition >= 0) EXPECT_EQ(at.partition, records[i].partition);
    if (!records[i].key) continue;
    const auto [before, is_first] = last.try_emplace({at.partition, *records[i].key}, at.offset);
    if (!is_first) EXPECT_GT(at.offset, std::exchange(before->second, at.offset)) << i;
  }
}

TEST(KafkaDown, OfThoseAppendedTogetherTheQueueTakesWhatItCan) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto producer, MakeKafkaConfirmingProducer({{"bootstrap.servers", "127.0.0.1:1"},
                                                                            {"queue.buffering.max.messages", "50"}}));
  std::promise<std::vector<Result<Appended>>> settled;
  producer->AppendAll(std::vector<OutgoingRecord>(60, Record("clicks", "x", -1)),
                      [&settled](auto outcomes) { settled.set_value(std::move(outcomes)); });
  auto told = settled.get_future();
  EXPECT_EQ(told.wait_for(200ms), std::future_status::timeout) << "50 of them still wait";
  producer = nullptr;
  const auto outcomes = told.get();
  ASSERT_EQ(outcomes.size(), 60u);
  for (std::size_t i = 0; i < 60; ++i) {
    MILLRACE_ASSERT_KIND(i < 50 ? ErrorKind::kCancelled : ErrorKind::kTransient, outcomes[i]);
  }
}

TEST(KafkaDown, AFullQueueIsSaidAtOnceAndGivenUpAtTheEnd) {
  Settled settled;
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto producer, MakeKafkaConfirmingProducer({{"bootstrap.servers", "127.0.0.1:1"},
                                                                            {"queue.buffering.max.messages", "50"}}));
  for (int i = 0; i < 50; ++i) {
    MILLRACE_ASSERT_OK(producer->Append(Record("clicks", "x", -1), settled.Of(std::to_string(i))));
  }
  const Status full = producer->Append(Record("clicks", "x", -1), settled.Of("50"));
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, full);
  EXPECT_THAT(full.message(), HasSubstr("full"));
  producer = nullptr;
  const auto& fates = settled.Wait(50);
  EXPECT_EQ(fates.size(), 50u);
  for (const auto& [payload, fate] : fates) MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, fate);
}

// More records than the queue holds: Append() waits for room.
TEST_F(KafkaLogTest, ProducerBlocksWhileItsQueueIsFull) {
  CreateTopic(topic_, 1);
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      auto producer, MakeKafkaProducer({{"bootstrap.servers", Brokers()}, {"queue.buffering.max.messages", "50"}}));
  for (int i = 0; i < 1000; ++i) MILLRACE_ASSERT_OK(producer->Append(Record(topic_, std::to_string(i))));
  MILLRACE_ASSERT_OK(producer->Flush(30s));
  Member member(ConsumerProperties(), topic_, &lake_);
  StepUntil({&member}, [&] { return lake_.total() == 1000; });
  for (std::size_t i = 0; i < 1000; ++i) ASSERT_EQ(lake_.payloads[zero_][i], std::to_string(i));
}

// A reader beside the groups: it sees all partitions from where it is told, and the broker knows of nobody more.
TEST(KafkaReader, ReadsBesideAGroupWithoutJoiningOrCommitting) {
  const std::string topic = UniqueName();
  CreateTopic(topic, 2);
  Produce({Record(topic, "a0", 0), Record(topic, "a1", 0), Record(topic, "b0", 1)});
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto reader, MakeKafkaReader(ConsumerProperties(), Delivery()));
  MILLRACE_ASSERT_OK(reader->Subscribe({topic}, 30s));
  auto events = reader->Poll(1000);
  ASSERT_EQ(events.size(), 1u);
  const auto assigned = std::get<Assigned>(events[0]).partitions;
  EXPECT_EQ(assigned, (std::vector<TopicPartition>{{topic, 0}, {topic, 1}}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto bounds, reader->Bounds(assigned, 30s));
  EXPECT_EQ(bounds.at({topic, 0}), (OffsetRange{0, 2}));
  MILLRACE_ASSERT_OK(reader->Start({{{topic, 0}, 1}, {{topic, 1}, 0}}));

  std::set<std::string> read;
  std::set<TopicPartition> ended;
  const auto read_until = [&](auto done) {
    const auto deadline = steady_clock::now() + 120s;
    while (!done() && steady_clock::now() < deadline) {
      pollfd wake{reader->wake_fd(), POLLIN, 0};
      poll(&wake, 1, 1000);
      for (const Event& event : reader->Poll(1000)) {
        if (const auto* fetched = std::get_if<FetchedRecords>(&event)) {
          FetchedRecords records = *fetched;
          MILLRACE_ASSERT_OK(model::Unpack(&records));
          for (const auto& record : records.records) read.emplace(*record.payload);
        } else if (const auto* end = std::get_if<ReachedEnd>(&event)) {
          ended.insert(end->source);
        } else if (const auto* failed = std::get_if<Failed>(&event)) {
          ADD_FAILURE() << failed->status.message();
        }
      }
    }
  };
  read_until([&] { return ended.size() == 2; });
  EXPECT_EQ(read, (std::set<std::string>{"a1", "b0"}));
  Produce({Record(topic, "a2", 0)});
  read_until([&] { return read.contains("a2"); });
  EXPECT_TRUE(read.contains("a2")) << "it goes on as records come";
  reader->ReportProgress({{{topic, 0}, 3}});

  const RawHandle client = RawClient(RD_KAFKA_CONSUMER, {{"bootstrap.servers", Brokers()}});
  const struct rd_kafka_group_list* groups = nullptr;
  ASSERT_EQ(rd_kafka_list_groups(client.get(), UniqueName().c_str(), &groups, 30'000), RD_KAFKA_RESP_ERR_NO_ERROR);
  for (int i = 0; i < groups->group_cnt; ++i) {
    EXPECT_EQ(groups->groups[i].member_cnt, 0);
    EXPECT_STREQ(groups->groups[i].state, "Dead") << "which is what a broker says of a group that there is not";
  }
  rd_kafka_group_list_destroy(groups);
  reader->Close();
}

TEST(KafkaReader, SaysWhichTopicIsNotThereAndMakesNone) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto reader, MakeKafkaReader(ConsumerProperties(), Delivery()));
  for (int i = 0; i < 2; ++i) {
    const Status status = reader->Subscribe({UniqueName() + "-nowhere"}, 30s);
    MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, status);
    EXPECT_THAT(status.message(), HasSubstr("-nowhere does not exist"));
  }
}

TEST(KafkaReader, AnOffsetOutOfRangeIsTold) {
  const std::string topic = UniqueName();
  CreateTopic(topic, 1);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto reader, MakeKafkaReader(ConsumerProperties(), Delivery()));
  MILLRACE_ASSERT_OK(reader->Subscribe({topic}, 30s));
  MILLRACE_ASSERT_OK(reader->Start({{{topic, 0}, 7}}));
  Status said;
  for (const auto deadline = steady_clock::now() + 120s; said.ok() && steady_clock::now() < deadline;) {
    pollfd wake{reader->wake_fd(), POLLIN, 0};
    poll(&wake, 1, 1000);
    for (const Event& event : reader->Poll(1000)) {
      if (const auto* failed = std::get_if<Failed>(&event)) said = failed->status;
    }
  }
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, said);
  EXPECT_THAT(said.message(), HasSubstr("is out of range: the log holds [0, 0)"));
}

}  // namespace
}  // namespace millrace::eventlog
