// Several processes as one source of hot rows: what each says comes once, whoever they are.
#include "peers/peer_hot_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "peers/hot_wire.h"
#include "peers/peers.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"
#include "testing/stub_http_server.h"

namespace millrace::peers {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::StubHttpServer;
using testing::StubReply;

model::AggregateDefinition ViewsByCountry() {
  model::AggregateDefinition definition;
  definition.name = "a";
  definition.window = model::Window::Tumbling(60'000'000);
  definition.keys = {{"country", arrow::utf8()}};
  definition.states = {{"_s0", arrow::int64(), "count"}};
  return definition;
}

query::HotRows Rows(const model::TopicPartition& source, model::Offset begin, delta::TableVersion version,
                    UnixMicros watermark) {
  return {.segments = {{{{source, {begin, begin + 1}}},
                        testing::BatchFromJson(model::PartialSchema(ViewsByCountry()),
                                               R"([["2026-11-22 10:00:00", "2026-11-22 10:01:00", "de", 1, 1]])")}},
          .version = version,
          .watermark = watermark,
          .begun = {{source, begin + 1}}};
}

class OwnRows final : public query::HotSource {
 public:
  Result<query::HotRows> Hot(const std::shared_ptr<const model::AggregateDefinition>&, const query::FoldRange&,
                             const query::FoldLimits&) override {
    return Rows({"clicks", 0}, 5, 3, 50);
  }
  query::HotRows Known() const override { return {.version = 3, .watermark = 50}; }
};

StubHttpServer::Handler Says(const std::string& instance, const query::HotRows& rows) {
  return [instance, rows](const testing::StubRequest& request) -> StubReply {
    const auto question = HotQuestionFromJson(request.body);
    if (!question.ok() || question->table_id != "table" || question->fingerprint != "f") return {.status = 400};
    return {.body = ToArrowStream({instance, rows}, ViewsByCountry(), 1 << 20).ValueOrDie()};
  };
}

class PeerHotSourceTest : public ::testing::Test {
 protected:
  Result<query::HotRows> Hot(std::vector<std::string> urls, query::HotSource* own = nullptr,
                             std::int64_t bytes_max = 1 << 20) {
    peers_ =
        std::make_unique<Peers>([this, urls = std::move(urls)] { return PeerList{.urls = urls, .unknown = unknown_}; },
                                PeerClient::Options{.patience = 2s});
    source_ = std::make_unique<PeerHotSource>(
        PeerHotSource::Options{.own = own,
                               .client = &peers_->client(),
                               .peers = peers_->list(),
                               .instance = "us",
                               .definition = ViewsByCountry(),
                               .fingerprint = "f",
                               .table_id = [](const auto&) { return Result<std::string>("table"); }});
    return source_->Hot(std::make_shared<const model::AggregateDefinition>(ViewsByCountry()), {},
                        {.bytes_max = bytes_max});
  }

  std::vector<query::MissingSource> unknown_;
  std::unique_ptr<Peers> peers_;
  std::unique_ptr<PeerHotSource> source_;
};

TEST_F(PeerHotSourceTest, OwnRowsAndThoseOfOthersAreOne) {
  const StubHttpServer other(Says("other", Rows({"clicks", 1}, 7, 4, 40)));
  OwnRows own;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto rows, Hot({other.url()}, &own));
  EXPECT_EQ(rows.segments.size(), 2u);
  EXPECT_EQ(rows.version, 4);
  EXPECT_EQ(rows.watermark, 40);
  EXPECT_EQ(rows.begun, (model::OffsetVector{{{"clicks", 0}, 6}, {{"clicks", 1}, 8}}));
  EXPECT_THAT(rows.missing, ElementsAre());
  EXPECT_EQ(source_->Known().version, 4);
  EXPECT_EQ(source_->Known().watermark, 40);
}

TEST_F(PeerHotSourceTest, AProcessWithTwoAddressesIsHeardOnceAndOurselvesNever) {
  const StubHttpServer one(Says("other", Rows({"clicks", 1}, 7, 4, 40)));
  const StubHttpServer two(Says("other", Rows({"clicks", 1}, 7, 4, 40)));
  const StubHttpServer us(Says("us", Rows({"clicks", 0}, 5, 3, 50)));
  OwnRows own;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto rows, Hot({one.url(), two.url(), us.url()}, &own));
  EXPECT_EQ(rows.segments.size(), 2u);
  EXPECT_THAT(rows.missing, ElementsAre());
  MILLRACE_ASSERT_OK(source_->Hot(std::make_shared<const model::AggregateDefinition>(ViewsByCountry()), {}, {}));
  EXPECT_EQ(us.requests().size(), 1u) << "we know that it is us";
}

TEST_F(PeerHotSourceTest, ANameThatStandsForNobodyKnownIsMissing) {
  unknown_ = {{"workers.test", "no such name"}};
  OwnRows own;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto rows, Hot({}, &own));
  EXPECT_EQ(rows.missing, unknown_);
  EXPECT_EQ(rows.segments.size(), 1u);
  EXPECT_EQ(source_->Known().watermark, std::nullopt) << "of others nothing is known";
}

TEST_F(PeerHotSourceTest, AnotherVersionIsNamedWithItsReason) {
  const StubHttpServer other([](const auto&) {
    auto newer = ViewsByCountry();
    newer.states.push_back({"_s1", arrow::int64(), "sum"});
    return StubReply{.body = ToArrowStream({"other", {}}, newer, 1 << 20).ValueOrDie()};
  });
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto rows, Hot({other.url()}));
  ASSERT_EQ(rows.missing.size(), 1u);
  EXPECT_EQ(rows.missing[0].name, other.url());
  EXPECT_THAT(rows.missing[0].reason, HasSubstr("its rows have the columns"));
  EXPECT_EQ(source_->Known().watermark, std::nullopt);
}

TEST_F(PeerHotSourceTest, AllTogetherMayNotBeMoreThanTheQuestionHasMemoryFor) {
  const StubHttpServer one(Says("one", Rows({"clicks", 1}, 7, 4, 40)));
  const StubHttpServer two(Says("two", Rows({"clicks", 2}, 7, 4, 40)));
  const auto size = static_cast<std::int64_t>(
      ToArrowStream({"one", Rows({"clicks", 1}, 7, 4, 40)}, ViewsByCountry(), 1 << 20).ValueOrDie().size());
  MILLRACE_ASSERT_OK(Hot({one.url(), two.url()}, nullptr, 2 * size));
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, Hot({one.url(), two.url()}, nullptr, 2 * size - 1));
}

TEST_F(PeerHotSourceTest, WhatIsNotKnownOfTheTableEndsTheQuestion) {
  Peers peers([] { return PeerList{}; }, {});
  PeerHotSource source({.client = &peers.client(),
                        .peers = peers.list(),
                        .instance = "us",
                        .definition = ViewsByCountry(),
                        .fingerprint = "f",
                        .table_id = [](const auto&) { return Result<std::string>(Transient("the lake is away")); }});
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient,
                       source.Hot(std::make_shared<const model::AggregateDefinition>(ViewsByCountry()), {}, {}));
}

TEST(PulseWatch, MovesWhenAnyOfThemDoes) {
  std::atomic<std::uint64_t> changes = 1;
  const StubHttpServer other([&](const auto&) { return StubReply{.body = ToJson(Pulse{"other", changes, 7})}; });
  Peers peers([&] { return PeerList{.urls = {other.url()}}; }, {});
  const auto moves_from = [&](std::uint64_t before) {
    while (peers.pulses().Changes() == before) std::this_thread::yield();
    return peers.pulses().Changes();
  };
  const std::uint64_t first = moves_from(0);
  ++changes;
  moves_from(first);
}

TEST(PulseWatch, ReadsWhatItWrites) {
  const Pulse pulse{"x", 1ULL << 40, std::nullopt, "clicks"};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto read, PulseFromJson(ToJson(pulse)));
  EXPECT_EQ(read, pulse);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto earlier,
                                PulseFromJson(R"({"instance": "x", "changes": 1, "watermark": 7})"));
  EXPECT_EQ(earlier, (Pulse{"x", 1, 7, ""})) << "of a build that does not say its pipeline";
  for (const char* text :
       {"", "[]", R"({"instance": "x"})", R"({"instance": "x", "changes": 1, "watermark": 7, "pipeline": 1})"}) {
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, PulseFromJson(text));
  }
}

}  // namespace
}  // namespace millrace::peers
