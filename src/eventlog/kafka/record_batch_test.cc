#include "eventlog/kafka/record_batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>
#include <vector>

#include "testing/status_matchers.h"

namespace millrace::eventlog {
namespace {

using model::FetchedRecords;
using model::Offset;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Text = std::optional<std::string>;

constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();

std::string Varint(std::int64_t value) {
  auto raw = (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
  std::string bytes;
  for (; raw >= 0x80; raw >>= 7) bytes.push_back(static_cast<char>(raw | 0x80));
  bytes.push_back(static_cast<char>(raw));
  return bytes;
}

std::string Bytes(const Text& text) { return text ? Varint(std::ssize(*text)) + *text : Varint(-1); }

struct Sent {
  std::int64_t offset_delta = 0;
  Text key;
  Text payload;
  std::int64_t time_delta = 0;
  std::vector<std::pair<std::string, Text>> headers{};
  char attributes = 0;
};

std::string Framed(const std::string& body) { return Varint(std::ssize(body)) + body; }

std::string Packed(const Sent& sent) {
  std::string body(1, sent.attributes);
  body += Varint(sent.time_delta) + Varint(sent.offset_delta) + Bytes(sent.key) + Bytes(sent.payload);
  body += Varint(std::ssize(sent.headers));
  for (const auto& [name, value] : sent.headers) body += Bytes(name) + Bytes(value);
  return Framed(body);
}

std::string Packed(const std::vector<Sent>& sent) {
  std::string bytes;
  for (const Sent& one : sent) bytes += Packed(one);
  return bytes;
}

/// Of as many records as `bytes` are, or look like.
RecordBatch Batch(std::string_view bytes, Offset last_offset = 1099) {
  RecordBatch batch{.left = bytes,
                    .records_left = static_cast<std::int64_t>(bytes.size()) + 1,
                    .base_offset = 1000,
                    .last_offset = last_offset,
                    .base_time_ms = 5'000,
                    .max_time_ms = 9'000};
  RecordBatch counted = batch;
  FetchedRecords unused{.range = {1000, 1000}};
  EXPECT_FALSE(ReadRecords(&counted, kAll, kAll, &unused).ok()) << "more records than bytes";
  batch.records_left -= counted.records_left;
  // One that cannot be read counts as well.
  if (!counted.left.empty()) ++batch.records_left;
  return batch;
}

FetchedRecords From(Offset begin) { return {.source = {"t", 3}, .range = {begin, begin}, .append_time = true}; }

std::vector<Offset> OffsetsOf(const FetchedRecords& piece) {
  std::vector<Offset> offsets;
  for (const auto& record : piece.records) offsets.push_back(record.offset);
  return offsets;
}

TEST(RecordBatch, EveryFieldIsRead) {
  const std::string bytes = Packed({{.offset_delta = 0,
                                     .key = "key",
                                     .payload = std::string(300, 'p'),
                                     .time_delta = -70,
                                     .headers = {{"a", "1"}, {"a", ""}, {"", std::nullopt}}},
                                    {.offset_delta = 7, .key = "", .payload = std::nullopt, .time_delta = 100'000},
                                    {.offset_delta = 64, .key = std::nullopt, .payload = ""}});
  RecordBatch batch = Batch(bytes);
  FetchedRecords piece = From(1000);
  MILLRACE_ASSERT_OK(ReadRecords(&batch, kAll, kAll, &piece));
  EXPECT_TRUE(batch.left.empty());
  EXPECT_EQ(piece.range, (model::OffsetRange{1000, 1065}));
  EXPECT_EQ(piece.bytes, 303u);
  EXPECT_FALSE(piece.append_time);
  ASSERT_THAT(OffsetsOf(piece), ElementsAre(1000, 1007, 1064));
  EXPECT_EQ(piece.records[0].key, "key");
  EXPECT_EQ(piece.records[0].payload, std::string(300, 'p'));
  EXPECT_EQ(piece.records[0].timestamp, 4'930'000);
  EXPECT_EQ(piece.records[0].Headers(), (model::RecordHeaders{{"a", "1"}, {"a", ""}, {"", std::nullopt}}));
  EXPECT_EQ(piece.records[1].key, "");
  EXPECT_EQ(piece.records[1].payload, std::nullopt);
  EXPECT_EQ(piece.records[1].timestamp, 105'000'000);
  EXPECT_TRUE(piece.records[1].Headers().empty());
  EXPECT_EQ(piece.records[2].key, std::nullopt);
  EXPECT_EQ(piece.records[2].payload, "");
  EXPECT_GE(piece.records[0].payload->data(), bytes.data()) << "a view, not a copy";
  EXPECT_LT(piece.records[0].payload->data(), bytes.data() + bytes.size());
}

TEST(RecordBatch, TheBrokersTimeIsThatOfAllRecords) {
  const std::string bytes = Packed({{.offset_delta = 0, .time_delta = 1}, {.offset_delta = 1, .time_delta = 2}});
  RecordBatch batch = Batch(bytes);
  batch.append_time = true;
  FetchedRecords piece = From(1000);
  MILLRACE_ASSERT_OK(ReadRecords(&batch, kAll, kAll, &piece));
  EXPECT_TRUE(piece.append_time);
  for (const auto& record : piece.records) EXPECT_EQ(record.timestamp, 9'000'000);
  // One producer's time among them, and they are not all the broker's.
  batch = Batch(bytes);
  MILLRACE_ASSERT_OK(ReadRecords(&batch, kAll, kAll, &(piece = From(1000))));
  EXPECT_FALSE(piece.append_time);
  // A record may say it, too.
  const std::string single = Packed({{.time_delta = 1, .attributes = 0x08}});
  batch = Batch(single);
  MILLRACE_ASSERT_OK(ReadRecords(&batch, kAll, kAll, &(piece = From(1000))));
  EXPECT_TRUE(piece.append_time);
  EXPECT_EQ(piece.records[0].timestamp, 9'000'000);
}

TEST(RecordBatch, TimesThatProducersMadeUpAreClampedAndNotOverflown) {
  for (const std::int64_t base : {std::numeric_limits<std::int64_t>::min(), std::int64_t{-1}, std::int64_t{0},
                                  std::numeric_limits<std::int64_t>::max()}) {
    for (const std::int64_t delta : {std::numeric_limits<std::int64_t>::min(), std::int64_t{-1}, std::int64_t{0},
                                     std::numeric_limits<std::int64_t>::max()}) {
      const std::string bytes = Packed({{.time_delta = delta}});
      RecordBatch batch = Batch(bytes);
      batch.base_time_ms = base;
      FetchedRecords piece = From(1000);
      MILLRACE_ASSERT_OK(ReadRecords(&batch, kAll, kAll, &piece));
      EXPECT_GE(piece.records[0].timestamp, 0);
      EXPECT_LE(piece.records[0].timestamp, std::numeric_limits<UnixMicros>::max() / 2);
    }
  }
}

std::vector<Sent> Tens() {
  std::vector<Sent> sent;
  for (int i = 0; i < 10; ++i) sent.push_back({.offset_delta = 2 * i, .key = "k", .payload = std::string(9, 'p')});
  return sent;
}

TEST(RecordBatch, RecordsBeforeTheBeginningAreLeftOut) {
  const std::string bytes = Packed(Tens());
  for (const auto& [begin, first] : {std::pair<Offset, Offset>{0, 1000}, {1000, 1000}, {1001, 1002}, {1017, 1018}}) {
    RecordBatch batch = Batch(bytes);
    FetchedRecords piece = From(begin);
    MILLRACE_ASSERT_OK(ReadRecords(&batch, kAll, kAll, &piece));
    EXPECT_EQ(piece.records.front().offset, first);
    EXPECT_EQ(piece.bytes, 10 * piece.records.size());
  }
  RecordBatch batch = Batch(bytes);
  FetchedRecords piece = From(1019);
  MILLRACE_ASSERT_OK(ReadRecords(&batch, kAll, kAll, &piece));
  EXPECT_TRUE(piece.records.empty());
  EXPECT_TRUE(batch.left.empty());
  EXPECT_EQ(piece.range, (model::OffsetRange{1019, 1019}));
}

TEST(RecordBatch, PiecesEndAtTheirLimitsAndGoOnThere) {
  const std::string bytes = Packed(Tens());
  struct Case {
    std::size_t records;
    std::size_t bytes;
    std::vector<std::size_t> pieces;
  };
  for (const Case& c :
       {Case{4, kAll, {4, 4, 2}}, Case{5, kAll, {5, 5}}, Case{kAll, 39, {3, 3, 3, 1}}, Case{kAll, 40, {4, 4, 2}},
        Case{kAll, 1, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1}}, Case{2, 1000, {2, 2, 2, 2, 2}}}) {
    SCOPED_TRACE(c.records);
    SCOPED_TRACE(c.bytes);
    RecordBatch batch = Batch(bytes);
    std::vector<std::size_t> pieces;
    std::vector<Offset> offsets;
    Offset next = 1000;
    while (!batch.left.empty()) {
      FetchedRecords piece = From(next);
      MILLRACE_ASSERT_OK(ReadRecords(&batch, c.records, c.bytes, &piece));
      pieces.push_back(piece.records.size());
      for (const Offset offset : OffsetsOf(piece)) offsets.push_back(offset);
      next = piece.range.end;
      EXPECT_EQ(next, offsets.back() + 1);
    }
    EXPECT_EQ(pieces, c.pieces);
    EXPECT_THAT(offsets, ElementsAre(1000, 1002, 1004, 1006, 1008, 1010, 1012, 1014, 1016, 1018));
  }
}

TEST(RecordBatch, WhatCannotBeTrueIsNamedWithItsPlace) {
  const std::string tail = Varint(-1) + Varint(-1) + Varint(0);
  const auto at = [&](std::int64_t offset_delta) {
    return Framed(std::string(1, '\0') + Varint(0) + Varint(offset_delta) + tail);
  };
  struct Case {
    const char* name;
    std::string bytes;
    const char* want;
  };
  for (const Case& c : {
           Case{"longer than the batch", Varint(100) + "x", "a record ends beyond it"},
           Case{"negative length", Varint(-1), "a record ends beyond it"},
           Case{"no end of a length", std::string(11, '\x80'), "a record ends beyond it"},
           Case{"empty", Varint(0), "a field ends beyond its record"},
           Case{"no offset", Framed(std::string(1, '\0') + Varint(0)), "a field ends beyond its record"},
           Case{"key of length -2", Framed(std::string(1, '\0') + Varint(0) + Varint(0) + Varint(-2) + tail),
                "a field ends beyond its record"},
           Case{"key beyond the record", Framed(std::string(1, '\0') + Varint(0) + Varint(0) + Varint(9)) + at(1),
                "a field ends beyond its record"},
           Case{"payload of 2^62",
                Framed(std::string(1, '\0') + Varint(0) + Varint(0) + Varint(-1) + Varint(1LL << 62)),
                "a field ends beyond its record"},
           Case{"same offset twice", at(4) + at(4), "an offset is out of order"},
           Case{"going back", at(4) + at(3), "an offset is out of order"},
           Case{"before the batch", at(-1), "an offset is out of order"},
           Case{"behind the batch", at(100), "an offset is out of order"},
           Case{"far behind", at(std::numeric_limits<std::int64_t>::max()), "an offset is out of order"},
       }) {
    SCOPED_TRACE(c.name);
    RecordBatch batch = Batch(c.bytes);
    FetchedRecords piece = From(1000);
    const Status status = ReadRecords(&batch, kAll, kAll, &piece);
    MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, status);
    EXPECT_THAT(status.message(), HasSubstr("t[3]: the batch of offsets [1000, 1099] cannot be read"));
    EXPECT_THAT(status.message(), HasSubstr(c.want));
  }
}

TEST(RecordBatch, AsManyRecordsAsItsHeaderSaysAreInIt) {
  const std::string bytes = Packed(Tens());
  for (const auto& [records, want] : {std::pair<std::int64_t, const char*>{9, "it has more records than its header"},
                                      {11, "it has fewer records than its header"},
                                      {0, "it has more records than its header"},
                                      {10, ""}}) {
    SCOPED_TRACE(records);
    // Whether those are of it that are left out, and however it is cut.
    for (const Offset begin : {1000, 1009, 1090}) {
      RecordBatch batch = Batch(bytes);
      batch.records_left = records;
      FetchedRecords piece = From(begin);
      Status status = Status::OK();
      while (status.ok() && !batch.left.empty()) status = ReadRecords(&batch, 3, kAll, &(piece = From(begin)));
      if (*want == '\0') {
        MILLRACE_ASSERT_OK(status);
      } else {
        MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, status);
        EXPECT_THAT(status.message(), HasSubstr(want));
      }
    }
  }
}

TEST(RecordBatch, HeadersThatAreNotWhatTheyShouldBeAreNone) {
  const std::string front = std::string(1, '\0') + Varint(0) + Varint(0) + Varint(-1) + Varint(-1);
  for (const std::string& headers :
       {std::string(), Varint(1), Varint(1) + Varint(5) + "ab", Varint(-3), Varint(1) + Varint(-1),
        Varint(2) + Bytes("a") + Bytes("b"), Varint(std::numeric_limits<std::int64_t>::max())}) {
    const std::string bytes = Framed(front + headers);
    RecordBatch batch = Batch(bytes);
    FetchedRecords piece = From(1000);
    MILLRACE_ASSERT_OK(ReadRecords(&batch, kAll, kAll, &piece));
    ASSERT_EQ(piece.records.size(), 1u);
    EXPECT_TRUE(piece.records[0].Headers().empty());
  }
}

// Each batch in a buffer of exactly its size: with AddressSanitizer a byte beyond it is seen.
TEST(RecordBatch, NoDamageLeadsOutOfTheBatch) {
  std::mt19937 random(7);
  std::vector<Sent> sent = Tens();
  sent[3].headers = {{"name", "value"}, {"none", std::nullopt}};
  const std::string good = Packed(sent);
  int read = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::vector<char> damaged(good.begin(), good.end());
    damaged.resize(random() % (good.size() + 1));
    damaged.shrink_to_fit();
    for (auto left = random() % 4; left > 0 && !damaged.empty(); --left) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    RecordBatch batch = Batch({damaged.data(), damaged.size()});
    FetchedRecords piece = From(1000);
    if (ReadRecords(&batch, kAll, kAll, &piece).ok()) ++read;
    Offset before = 999;
    for (const auto& record : piece.records) {
      EXPECT_GT(record.offset, before);
      EXPECT_LE(record.offset, 1099);
      before = record.offset;
      for (const auto& bytes : {record.key, record.payload}) {
        if (!bytes || bytes->empty()) continue;
        EXPECT_GE(bytes->data(), damaged.data());
        EXPECT_LE(bytes->data() + bytes->size(), damaged.data() + damaged.size());
      }
      static_cast<void>(record.Headers());
    }
  }
  EXPECT_GT(read, 100) << "not everything is refused for the same reason";
}

}  // namespace
}  // namespace millrace::eventlog
