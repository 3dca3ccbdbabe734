#include "serve/tap_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/test_tap.h"
#include "testing/status_matchers.h"

namespace millrace::serve {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kStart =
    "event: start\ndata: {\"columns\":[\"country\",\"_offset\"],\"from\":{\"clicks\":{\"0\":7,\"1\":9}}}\n\n";

class TapStreamTest : public ::testing::Test {
 protected:
  void Open(const TapStream::Options& options = {}) {
    stream_ = std::make_shared<TapStream>(options, now_);
    client_ = stream_->Listen();
    stream_->Begin(source_);
  }
  void Look(Tapped seen = {}) {
    log_->Add(std::move(seen));
    MILLRACE_ASSERT_OK(stream_->Look(source_, now_, 0ms));
  }
  static Tapped Seen(const std::string& rows) {
    const auto batch = TappedRows(rows);
    return {.rows = {batch}, .looked_at = batch->num_rows()};
  }
  /// All that is there; then it waits, and what comes is taken by the next call.
  std::string Read() {
    std::string text;
    for (;;) {
      if (!std::exchange(waits_, true)) client_->Next([this](http::Chunk chunk) { chunk_ = std::move(chunk); });
      if (!chunk_) return text;
      waits_ = false;
      const auto chunk = *std::exchange(chunk_, std::nullopt);
      if (!chunk->has_value()) return text + "the end";
      text += **chunk;
    }
  }

  TapStream::SteadyTime now_{};
  std::shared_ptr<FakeTapLog> log_ = std::make_shared<FakeTapLog>();
  FakeTapSource source_{log_};
  std::shared_ptr<TapStream> stream_;
  std::unique_ptr<http::BodySource> client_;
  bool waits_ = false;
  std::optional<http::Chunk> chunk_;
};

TEST_F(TapStreamTest, TellsWhereItBeganAndThenRowsAndLetters) {
  Open();
  EXPECT_EQ(Read(), kStart);
  Tapped seen = Seen(R"([["DE", 7], ["F\nR", 8]])");
  seen.letters = {model::ToReadableBatch(std::vector{model::DeadLetter{.source = {"clicks", 1},
                                                                       .offset = 9,
                                                                       .key = std::nullopt,
                                                                       .payload = "not json",
                                                                       .headers = {},
                                                                       .stage = "decode",
                                                                       .reason = "bad_json",
                                                                       .detail = "It is no JSON."}})};
  Look(std::move(seen));
  const std::string text = Read();
  EXPECT_THAT(text, HasSubstr("event: row\ndata: {\"country\":\"DE\",\"_offset\":7}\n\n"
                              "event: row\ndata: {\"country\":\"F\\nR\",\"_offset\":8}\n\n"
                              "event: dead_letter\ndata: {\"topic\":\"clicks\",\"partition\":1,\"offset\":9,"));
  EXPECT_THAT(
      text,
      HasSubstr("\"stage\":\"decode\",\"reason\":\"bad_json\",\"detail\":\"It is no JSON.\",\"index\":null}\n\n"));
  Look();
  EXPECT_EQ(Read(), "");
}

TEST_F(TapStreamTest, AsksForAsMuchAsASecondAllows) {
  Open({.shown_per_second = 10, .looked_at_per_second = 100});
  Look(Seen(R"([["a", 1], ["b", 2], ["c", 3]])"));
  EXPECT_EQ(log_->limits().shown, 10);
  EXPECT_EQ(log_->limits().looked_at, 100);
  Tapped many = Seen(R"([["a", 4], ["b", 5], ["c", 6], ["d", 7], ["e", 8], ["f", 9], ["g", 10]])");
  many.looked_at = 200;  // A piece of records is looked at as a whole.
  Look(std::move(many));
  EXPECT_EQ(log_->limits().shown, 7);
  EXPECT_EQ(log_->limits().looked_at, 97);
  Look();
  EXPECT_EQ(log_->limits().shown, 0);
  EXPECT_EQ(log_->limits().looked_at, 0);
  now_ += 500ms;
  Look();
  EXPECT_EQ(log_->limits().shown, 5);
  EXPECT_EQ(log_->limits().looked_at, 0) << "103 were too many";
  now_ += 1h;
  Look();
  EXPECT_EQ(log_->limits().shown, 10) << "no more than of a second, however long nothing came";
  EXPECT_EQ(log_->limits().looked_at, 100);
}

TEST_F(TapStreamTest, TellsOnceASecondHowManyWereSkipped) {
  Open();
  EXPECT_EQ(Read(), kStart);
  Look({.skipped = 3});
  EXPECT_EQ(Read(), "event: skipped\ndata: {\"records\":3}\n\n");
  Look({.skipped = 10});
  now_ += 999ms;
  Look({.skipped = 10});
  EXPECT_EQ(Read(), "");
  now_ += 1ms;
  Look();
  EXPECT_EQ(Read(), "event: skipped\ndata: {\"records\":20}\n\n");
  now_ += 2s;
  Look();
  EXPECT_EQ(Read(), "");
}

TEST_F(TapStreamTest, AClientThatDoesNotReadIsSkippedAndTold) {
  const std::string row = "event: row\ndata: {\"country\":\"a\",\"_offset\":1}\n\n";
  Open({.queued_bytes_max = static_cast<std::int64_t>(kStart.size() + 2 * row.size())});
  Look(Seen(R"([["a", 1], ["a", 1], ["a", 1], ["a", 1]])"));
  for (int i = 0; i < 100; ++i) {
    now_ += 2s;
    Look({.skipped = 1});
    EXPECT_EQ(log_->limits().shown, 0) << "nothing is decoded for it";
  }
  // Two fit, and one event that says what does not: nothing more, for as long as nobody reads.
  EXPECT_EQ(Read(), std::string(kStart) + row + row + "event: skipped\ndata: {\"records\":2}\n\n");
  Look();
  EXPECT_EQ(Read(), "event: skipped\ndata: {\"records\":100}\n\n");
}

TEST_F(TapStreamTest, ARowThatNeverFitsIsSkipped) {
  Open({.queued_bytes_max = 300});
  EXPECT_EQ(Read(), kStart);
  Look(Seen(R"([[")" + std::string(300, 'x') + R"(", 1], ["b", 2]])"));
  EXPECT_EQ(Read(), "event: row\ndata: {\"country\":\"b\",\"_offset\":2}\n\nevent: skipped\ndata: {\"records\":1}\n\n");
}

TEST_F(TapStreamTest, ManyEventsGoInChunksOfAModestSizeAndWhole) {
  Open();
  std::string rows = "[";
  for (int i = 0; i < 200; ++i) {
    rows += fmt::format("{}[\"{}\", {}]", i == 0 ? "" : ",", std::string(1000, 'x'), i);
  }
  Look(Seen(rows + "]"));
  int chunks = 0;
  for (bool more = true; more; ++chunks) {
    more = false;
    client_->Next([&more](http::Chunk chunk) {
      EXPECT_LE((*chunk)->size(), 64 << 10);
      EXPECT_TRUE((*chunk)->ends_with("\n\n"));
      more = true;
    });
  }
  EXPECT_EQ(chunks, 5);  // 207 kB, and one that waits.
}

TEST_F(TapStreamTest, AClientThatWaitsHearsACommentNowAndThen) {
  Open({.keep_alive = 10s});
  EXPECT_EQ(Read(), kStart);
  now_ += 9s;
  Look();
  EXPECT_EQ(Read(), "");
  now_ += 1s;
  Look();
  EXPECT_EQ(Read(), ": \n\n");
  now_ += 9s;
  Look(Seen(R"([["a", 1]])"));
  EXPECT_THAT(Read(), HasSubstr("event: row"));
  now_ += 9s;
  Look();
  EXPECT_EQ(Read(), "") << "it has had an event since";
}

TEST_F(TapStreamTest, ATroubleIsToldAndAnErrorEndsIt) {
  Open();
  EXPECT_EQ(Read(), kStart);
  Look({.troubles = {"broker \"a\" is away"}});
  EXPECT_EQ(Read(), "event: trouble\ndata: {\"detail\":\"broker \\\"a\\\" is away\"}\n\n");
  log_->Add(NotFound("the topic is gone"));
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, stream_->Look(source_, now_, 0ms));
  stream_->End("{\"status\":404}");
  stream_->End("another");
  EXPECT_EQ(Read(), "event: error\ndata: {\"status\":404}\n\nthe end");
}

TEST_F(TapStreamTest, WhatWaitsIsSentBeforeTheEnd) {
  Open();
  Look(Seen(R"([["a", 1]])"));
  stream_->End(std::nullopt);
  const std::string text = Read();
  EXPECT_THAT(text, HasSubstr("event: row"));
  EXPECT_TRUE(text.ends_with("the end"));
  EXPECT_THAT(text, Not(HasSubstr("event: error")));
}

TEST_F(TapStreamTest, KnowsWhetherItsClientIsThere) {
  Open();
  Read();
  EXPECT_TRUE(stream_->is_wanted());
  client_ = nullptr;
  EXPECT_FALSE(stream_->is_wanted());
  Look(Seen(R"([["a", 1]])"));  // Heard by nobody.
}

}  // namespace
}  // namespace millrace::serve
