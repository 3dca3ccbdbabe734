#include "serve/answer_feed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "testing/status_matchers.h"

namespace millrace::serve {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr AnswerFeed::SteadyTime kThen{};

LiveAnswer Value(int value, std::size_t width = 0) {
  LiveAnswer answer;
  answer.meta = "[]";
  answer.as_of = "{}";
  answer.order = {"{}"};
  answer.rows["{}"].json = fmt::format(R"({{"v":{},"pad":"{}"}})", value, std::string(width, 'x'));
  return answer;
}

/// Asks for what comes until it has to wait; what comes then is taken by the next call.
class Client {
 public:
  explicit Client(std::unique_ptr<http::BodySource> source) : source_(std::move(source)) {}

  std::string Read() {
    std::string text;
    for (;;) {
      if (!waits_) {
        waits_ = true;
        source_->Next([this](http::Chunk chunk) { chunk_ = std::move(chunk); });
      }
      if (!chunk_) return text;
      waits_ = false;
      const http::Chunk chunk = *std::exchange(chunk_, std::nullopt);
      EXPECT_TRUE(chunk.ok()) << chunk.status().ToString();
      if (!chunk->has_value()) {
        ended = true;
        return text;
      }
      text += **chunk;
    }
  }
  /// One chunk that is there.
  std::string ReadOne() {
    source_->Next([this](http::Chunk chunk) { chunk_ = std::move(chunk); });
    const http::Chunk chunk = *std::exchange(chunk_, std::nullopt);
    EXPECT_TRUE(chunk.ok()) << chunk.status().ToString();
    ended = !chunk->has_value();
    return chunk->value_or("");
  }

  bool ended = false;

 private:
  std::unique_ptr<http::BodySource> source_;
  bool waits_ = false;
  std::optional<http::Chunk> chunk_;
};

std::string LastId(const std::string& text) {
  const auto at = text.rfind("id: ") + 4;
  return text.substr(at, text.find('\n', at) - at);
}

TEST(AnswerFeed, BeginsWithTheAnswerAndGoesOnWithWhatChanged) {
  const auto feed = std::make_shared<AnswerFeed>("f");
  feed->Publish(Value(1));
  Client client(feed->Listen(""));
  EXPECT_THAT(client.Read(), AllOf(StartsWith("event: snapshot\nid: f-0\ndata: "), HasSubstr(R"("v":1)")));
  EXPECT_EQ(client.Read(), "");
  feed->Publish(Value(1));
  EXPECT_EQ(client.Read(), "") << "nothing changed";
  feed->Publish(Value(2));
  EXPECT_THAT(client.Read(), AllOf(StartsWith("event: upsert\nid: f-1\ndata: "), HasSubstr(R"("v":2)")));
  Client later(feed->Listen(""));
  EXPECT_THAT(later.Read(), AllOf(StartsWith("event: snapshot\nid: f-1\n"), HasSubstr(R"("v":2)")));
}

TEST(AnswerFeed, GoesOnAfterTheLastEventIfItIsKept) {
  const auto feed = std::make_shared<AnswerFeed>("f");
  feed->Publish(Value(0));
  std::string last;
  {
    Client client(feed->Listen(""));
    feed->Publish(Value(1));
    last = LastId(client.Read());
    EXPECT_EQ(last, "f-1");
  }
  for (int value = 2; value <= 4; ++value) feed->Publish(Value(value));
  Client resumed(feed->Listen(last));
  const std::string text = resumed.Read();
  EXPECT_THAT(
      text, AllOf(Not(HasSubstr("snapshot")), HasSubstr("id: f-2\n"), HasSubstr("id: f-3\n"), HasSubstr("id: f-4\n")));
  for (const char* id : {"", "g-1", "f-", "f-x", "f-5", "f-99999999999999999999", "f--1", "f-1x"}) {
    Client other(feed->Listen(id));
    EXPECT_THAT(other.Read(), StartsWith("event: snapshot\nid: f-4\n")) << id;
  }
  Client up_to_date(feed->Listen("f-4"));
  EXPECT_EQ(up_to_date.Read(), "");
}

TEST(AnswerFeed, WhoIsTooFarBehindGetsASnapshotAndIsCutInTheEnd) {
  const auto feed = std::make_shared<AnswerFeed>("f");
  constexpr std::size_t kWide = 300'000;
  int value = 0;
  const auto fall_behind = [&] {
    for (int i = 0; i < 6; ++i) feed->Publish(Value(++value, kWide));
  };
  fall_behind();
  EXPECT_LE(feed->bytes(), AnswerFeed::kKeptBytesMax + 4 * std::int64_t{kWide});

  Client slow(feed->Listen(""));
  slow.Read();
  fall_behind();
  const std::string text = slow.Read();
  EXPECT_THAT(text, AllOf(StartsWith("event: upsert"), HasSubstr(R"("v":7,)"))) << "it waited, and was given the first";
  EXPECT_THAT(text, HasSubstr("event: snapshot")) << "what came since is not kept";
  EXPECT_THAT(text, HasSubstr(fmt::format(R"("v":{},)", value)));

  // One chunk of five, while all that is kept is replaced.
  Client slower(feed->Listen(""));
  int chunks = 0;
  for (std::string got; got.find("too_slow") == std::string::npos; got = slower.ReadOne()) {
    fall_behind();
    ASSERT_LT(++chunks, 60);
  }
  EXPECT_GT(chunks, 5 * AnswerFeed::kSnapshotsMax);
  EXPECT_EQ(slower.ReadOne(), "");
  EXPECT_TRUE(slower.ended);
}

TEST(AnswerFeed, SilenceIsBrokenByComments) {
  const auto feed = std::make_shared<AnswerFeed>("f");
  feed->Publish(Value(1));
  Client client(feed->Listen(""));
  client.Read();
  const auto keep_alive = [&](int second) {
    feed->KeepAlive(kThen + std::chrono::seconds(second), std::chrono::seconds(15));
    return client.Read();
  };
  EXPECT_EQ(keep_alive(100), "") << "it has begun to wait";
  EXPECT_EQ(keep_alive(114), "");
  EXPECT_EQ(keep_alive(115), ": \n\n");
  EXPECT_EQ(keep_alive(116), "");
  EXPECT_EQ(keep_alive(130), "");
  feed->Publish(Value(2));
  EXPECT_NE(client.Read(), "");
  EXPECT_EQ(keep_alive(131), "") << "an event is no silence";
  EXPECT_EQ(keep_alive(146), ": \n\n");
}

TEST(AnswerFeed, EndsWithItsReason) {
  const auto feed = std::make_shared<AnswerFeed>("f");
  feed->Publish(Value(1));
  Client first(feed->Listen(""));
  Client second(feed->Listen(""));
  first.Read();
  EXPECT_EQ(feed->listeners(), 2);
  feed->Close(R"({"status":413})");
  EXPECT_EQ(first.Read(), "event: error\ndata: {\"status\":413}\n\n");
  EXPECT_TRUE(first.ended);
  EXPECT_EQ(second.Read(), "event: error\ndata: {\"status\":413}\n\n");
  feed->Publish(Value(2));
  EXPECT_TRUE(feed->closed());

  const auto quiet = std::make_shared<AnswerFeed>("g");
  quiet->Publish(Value(1));
  Client third(quiet->Listen(""));
  third.Read();
  quiet->Close({});
  EXPECT_EQ(third.Read(), "");
  EXPECT_TRUE(third.ended);
}

TEST(AnswerFeed, WhoLeavesIsForgotten) {
  const auto feed = std::make_shared<AnswerFeed>("f");
  feed->Publish(Value(1));
  {
    Client gone(feed->Listen(""));
    gone.Read();
  }
  EXPECT_EQ(feed->listeners(), 0);
  feed->Publish(Value(2));
}

}  // namespace
}  // namespace millrace::serve
