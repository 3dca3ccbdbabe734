// A shard and its sinks: every record ends in the books of every table once, wherever the tables stood.
#include "pipeline/shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "eventlog/event_log.h"
#include "pipeline/test_pipeline_internal.h"
#include "testing/manual_clock.h"
#include "testing/packed_records.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

PartitionPart PartOf(const Result<SealedPart>& sealed) {
  EXPECT_TRUE(sealed.ok()) << sealed.status().ToString();
  EXPECT_EQ(sealed->partitions.size(), 1u);
  return sealed->partitions.at(kSource);
}

TEST(Shard, AFetchIsCutWhereTablesJoinIn) {
  TestPipeline pipeline;
  pipeline.StartAt({0, 5, 3});
  MILLRACE_ASSERT_OK(pipeline.shard().Process(FetchedRows({0, 10})));
  const model::OffsetRange want[] = {{0, 10}, {5, 10}, {3, 10}};
  for (const int t : {kRaw, kCleaned, kSums}) {
    SCOPED_TRACE(t);
    const auto part = PartOf(pipeline.shard().sink(t).Seal(1));
    const auto rows = want[t].end - want[t].begin;
    EXPECT_EQ(part.range, want[t]);
    EXPECT_EQ(part.ledger, (model::Ledger{.read = rows, .written = rows}));
  }
}

TEST(Shard, ATableThatIsAheadOfTheWholeFetchTakesNothing) {
  TestPipeline pipeline;
  pipeline.StartAt({0, 30, 10});
  MILLRACE_ASSERT_OK(pipeline.shard().Process(FetchedRows({0, 10})));
  EXPECT_TRUE(pipeline.shard().sink(kCleaned).empty());
  EXPECT_TRUE(pipeline.shard().sink(kSums).empty());
  MILLRACE_ASSERT_OK(pipeline.shard().Process(FetchedRows({10, 12})));
  EXPECT_TRUE(pipeline.shard().sink(kCleaned).empty());
  EXPECT_EQ(PartOf(pipeline.shard().sink(kSums).Seal(1)).range, (model::OffsetRange{10, 12}));
}

TEST(Shard, HolesAreCoveredAndNotCounted) {
  TestPipeline pipeline;
  pipeline.StartAt({0, 0, 0});
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 10}, {{2, Row(2)}, {3, Row(3)}})));
  const auto with_hole = PartOf(pipeline.shard().sink(kRaw).Seal(1));
  EXPECT_EQ(with_hole.range, (model::OffsetRange{0, 10}));
  EXPECT_EQ(with_hole.ledger, (model::Ledger{.read = 2, .written = 2}));
  EXPECT_EQ(with_hole.fingerprint, 0u) << "there is no record at offset 9";

  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({10, 20}, {})));
  EXPECT_EQ(PartOf(pipeline.shard().sink(kRaw).Seal(2)).range, (model::OffsetRange{10, 20}));

  const auto last = FetchedRows({20, 21});
  MILLRACE_ASSERT_OK(pipeline.shard().Process(last));
  EXPECT_EQ(PartOf(pipeline.shard().sink(kRaw).Seal(3)).fingerprint, eventlog::Fingerprint(last.records.back()));
}

TEST(ShardDeathTest, AGapIsADefectAndAborts) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        TestPipeline pipeline;
        pipeline.StartAt({0, 0, 0});
        static_cast<void>(pipeline.shard().Process(FetchedRows({0, 10})));
        static_cast<void>(pipeline.shard().Process(FetchedRows({12, 13})));
      },
      "continues at 12, but 10 comes next");
}

TEST(Shard, RecordsOfAnotherGenerationAreStale) {
  TestPipeline pipeline;
  pipeline.StartAt({0, 0, 0});
  auto stale = FetchedRows({40, 50});
  stale.generation = 0;
  MILLRACE_ASSERT_OK(pipeline.shard().Process(stale));
  EXPECT_TRUE(pipeline.shard().sink(kRaw).empty());
  pipeline.shard().Stop(kSource);
  MILLRACE_ASSERT_OK(pipeline.shard().Process(FetchedRows({0, 10})));
  EXPECT_TRUE(pipeline.shard().sink(kRaw).empty());
}

TEST(Shard, EveryRecordIsInTheBooksOfEveryTable) {
  TestPipeline pipeline;
  pipeline.StartAt({0, 0, 0});
  MILLRACE_ASSERT_OK(
      pipeline.shard().Process(Fetched({0, 8}, {{0, Row(0)},
                                                {1, "{"},                                 // decode
                                                {2, std::nullopt},                        // tombstone
                                                {3, Row(-1)},                             // filtered
                                                {4, Row(4, "many")},                      // the cast fails
                                                {5, Row(5, "1", kLogTime + 61'000'000)},  // too far ahead
                                                {6, R"({"id": 6, "txt": "6"})"},          // no time
                                                {7, Row(-1, "many")}})));                 // filtered before the cast
  EXPECT_EQ(PartOf(pipeline.shard().sink(kRaw).Seal(1)).ledger,
            (model::Ledger{.read = 8, .written = 5, .dead_lettered = 2, .tombstones = 1}));
  EXPECT_EQ(PartOf(pipeline.shard().sink(kCleaned).Seal(1)).ledger,
            (model::Ledger{.read = 8, .written = 2, .dead_lettered = 3, .filtered = 2, .tombstones = 1}));
  EXPECT_EQ(PartOf(pipeline.shard().sink(kSums).Seal(1)).ledger,
            (model::Ledger{.read = 8, .written = 1, .dead_lettered = 4, .filtered = 2, .tombstones = 1}));

  const auto letters = pipeline.shard().TakeLetters();
  std::map<model::Offset, std::string> stages;
  for (const auto& letter : letters) {
    EXPECT_TRUE(stages.emplace(letter.offset, letter.stage + " " + letter.reason).second) << letter.offset;
    EXPECT_EQ(letter.source, kSource);
    EXPECT_EQ(letter.timestamp, kLogTime);
  }
  EXPECT_EQ(stages, (std::map<model::Offset, std::string>{{1, "decode bad_json"},
                                                          {4, "transform:clean transform_error"},
                                                          {5, "event_time future_timestamp"},
                                                          {6, "aggregate:sums aggregate_error"}}));
  for (const auto& letter : letters) {
    if (letter.offset == 4) {
      EXPECT_EQ(letter.payload, Row(4, "many"));
    }
  }
  EXPECT_TRUE(pipeline.shard().TakeLetters().empty());
}

TEST(Shard, RepeatsAreInTheBooksAndDeadRecordsRepeatNothing) {
  auto config = TestConfig();
  config.inputs[0].dedupe = config::DedupeConfig{.by = {"id"}, .within = std::chrono::hours(1)};
  TestPipeline pipeline(config);
  pipeline.StartAt({0, 0, 0});
  MILLRACE_ASSERT_OK(
      pipeline.shard().Process(Fetched({0, 8}, {{0, Row(1, "1", kLogTime + 61'000'000)},  // too far ahead
                                                {1, Row(1)},
                                                {2, Row(1)},          // repeat
                                                {3, std::nullopt},    // tombstone
                                                {4, Row(-1)},         // filtered
                                                {5, Row(-1)},         // repeat, and not looked at by the filter
                                                {6, Row(2, "many")},  // the cast fails
                                                {7, Row(2)}})));      // repeat of it all the same
  EXPECT_EQ(PartOf(pipeline.shard().sink(kRaw).Seal(1)).ledger,
            (model::Ledger{.read = 8, .written = 3, .dead_lettered = 1, .deduplicated = 3, .tombstones = 1}));
  const auto part = PartOf(pipeline.shard().sink(kCleaned).Seal(1));
  EXPECT_EQ(
      part.ledger,
      (model::Ledger{.read = 8, .written = 1, .dead_lettered = 2, .filtered = 1, .deduplicated = 3, .tombstones = 1}));
  EXPECT_EQ(part.dedupe_from, 0);
}

TEST(Shard, WhatIsReadForDedupeAloneHasNoLettersAndIsNobodysFailure) {
  auto config = TestConfig();
  config.inputs[0].dedupe = config::DedupeConfig{.by = {"id"}, .within = std::chrono::hours(1)};
  config.inputs[0].on_decode_error = config::OnDecodeError::kFail;
  TestPipeline pipeline(config);
  pipeline.StartAt({4, 4, 4}, {}, 0);
  MILLRACE_ASSERT_OK(pipeline.shard().Process(
      Fetched({0, 6}, {{0, Row(1)}, {1, "{"}, {2, Row(2, "many")}, {4, Row(1)}, {5, Row(3)}})));
  EXPECT_TRUE(pipeline.shard().TakeLetters().empty());
  EXPECT_EQ(PartOf(pipeline.shard().sink(kCleaned).Seal(1)).ledger,
            (model::Ledger{.read = 2, .written = 1, .deduplicated = 1}));
}

TEST(Shard, KeysPastTheirShareOfTheMemoryAreAFailureThatNamesIt) {
  auto config = TestConfig();
  config.inputs[0].dedupe = config::DedupeConfig{.by = {"id"}, .within = std::chrono::hours(1)};
  const auto dedupe_budget = MemoryBudget::Make(64 << 10);
  TestPipeline pipeline(config, {.dedupe_budget = dedupe_budget});
  pipeline.StartAt({0, 0, 0});
  const Status status = pipeline.shard().Process(FetchedRows({0, 8000})).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kTooLarge);
  EXPECT_THAT(status.message(), HasSubstr("events[0]: dedupe: the keys of the last 3600 s"));
  EXPECT_EQ(KindOf(pipeline.shard().Seal(kRaw, 1).status()), ErrorKind::kTransient) << "half a fetch is not committed";
  pipeline.shard().Discard();
  EXPECT_EQ(dedupe_budget->used(), 0);
}

// DuckDB quotes the value that it could not cast, and the letter has it in its payload already.
TEST(Shard, ALettersDetailIsShortWhateverTheValue) {
  for (const std::string text : {"x", "ä", "€", "😀"}) {
    SCOPED_TRACE(text);
    std::string value;
    while (value.size() < 100'000) value += text;
    TestPipeline pipeline;
    pipeline.StartAt({0, 0, 0});
    MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 1}, {{0, Row(0, value)}})));
    const auto letters = pipeline.shard().TakeLetters();
    ASSERT_EQ(letters.size(), 1u);
    EXPECT_EQ(letters[0].payload, Row(0, value));
    const std::string& detail = letters[0].detail;
    EXPECT_LE(detail.size(), model::kDetailBytesMax + 3);
    EXPECT_GT(detail.size(), model::kDetailBytesMax - 4);
    ASSERT_TRUE(detail.ends_with("…"));
    EXPECT_TRUE(detail.ends_with(text + "…")) << "a code point is whole or gone";
  }
}

TEST(Shard, DurableDeadLettersAreNotRepeated) {
  TestPipeline pipeline;
  pipeline.StartAt({0, 0, 0}, {{"decode", 5}, {"event_time", 5}, {"transform:clean", 3}, {"aggregate:sums", 0}});
  const auto no_time = [](int id) { return fmt::format(R"({{"id": {}, "txt": "1"}})", id); };
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 10}, {{0, "{"},
                                                                {1, no_time(1)},
                                                                {2, Row(2, "many")},
                                                                {3, Row(3, "many")},
                                                                {4, Row(4, "1", kLogTime + 61'000'000)},
                                                                {5, "{"}})));
  std::vector<model::Offset> offsets;
  for (const auto& letter : pipeline.shard().TakeLetters()) offsets.push_back(letter.offset);
  EXPECT_THAT(offsets, ::testing::UnorderedElementsAre(1, 3, 5));
  EXPECT_EQ(PartOf(pipeline.shard().sink(kRaw).Seal(1)).ledger.dead_lettered, 3) << "the books count them all the same";
}

/// One record as a device sent it: what its own clock says in the payload, and what the log has as its timestamp.
model::FetchedRecords Sent(UnixMicros event_time, UnixMicros timestamp, bool append_time) {
  auto fetched = Fetched({0, 1}, {{0, Row(0, "1", event_time)}});
  fetched.records.front().timestamp = timestamp;
  fetched.append_time = append_time;
  return fetched;
}

// The file was edited between: what the first table took does not decode any more for the others. A letter of decoding
// would say of the first table too that it has no row, and a replay of it would bring it one more.
TEST(Shard, ARecordThatFailsWhenItIsReadAgainIsALetterOfTheTablesThatTakeIt) {
  TestPipeline pipeline;
  Shard::PartitionStart start{.source = kSource,
                              .generation = 1,
                              .sinks = {{.next = 10}, {.next = 0}, {.next = 0}},
                              .letter_stages = {},
                              .earlier = std::make_shared<const EarlierJudgements>(EarlierJudgements{
                                  .end = 10, .letters = {{"decode", {{3}}}, {"aggregate:sums", {{1}}}}}),
                              .progress = std::make_shared<PartitionProgress>()};
  pipeline.shard().Start(std::move(start));
  MILLRACE_ASSERT_OK(pipeline.shard().Process(
      Fetched({0, 12}, {{1, "{"}, {2, "{"}, {3, "{"}, {4, Row(4, "many")}, {10, "{"}, {11, Row(11)}})));
  std::vector<std::string> letters;
  for (const auto& letter : pipeline.shard().TakeLetters()) {
    letters.push_back(fmt::format("{} {} {}", letter.offset, letter.stage, letter.detail.substr(0, 8)));
  }
  EXPECT_THAT(letters,
              ::testing::UnorderedElementsAre(
                  // Read a third time: what a table has as its own letter already is not written again.
                  ::testing::StartsWith("1 table:cleaned decode: "), ::testing::StartsWith("2 table:cleaned decode: "),
                  ::testing::StartsWith("2 aggregate:sums decode: "),
                  // Offset 3 is one already; the transform is before both of its takers and nobody else.
                  ::testing::StartsWith("4 transform:clean "), ::testing::StartsWith("10 decode ")));
}

TEST(Shard, ClocksThatAreWrongMoveNothingAndRightEventsAreKept) {
  constexpr UnixMicros kMinute = 60'000'000;
  constexpr UnixMicros kNow = kLogTime;
  struct Case {
    const char* name;
    UnixMicros event_time;
    UnixMicros timestamp;
    bool append_time;
    UnixMicros our_clock;
    bool is_row;
    std::optional<UnixMicros> latest;  // What the watermark is made from.
  };
  const Case cases[] = {
      // max_future is a minute.
      {"right, CreateTime", kNow - 1, kNow, false, kNow, true, kNow - 1},
      {"right, LogAppendTime", kNow - 1, kNow, true, kNow, true, kNow - 1},
      {"a little ahead, CreateTime", kNow + 500'000, kNow + 500'000, false, kNow, true, kNow},
      {"a little ahead, LogAppendTime", kNow + 500'000, kNow, true, kNow, true, kNow},
      {"50 minutes ahead in both, CreateTime", kNow + 50 * kMinute, kNow + 50 * kMinute, false, kNow, true,
       std::nullopt},
      {"50 minutes ahead, LogAppendTime", kNow + 50 * kMinute, kNow, true, kNow, false, std::nullopt},
      {"years ahead in the payload alone, CreateTime", kNow + 999 * kMinute, kNow, false, kNow, false, std::nullopt},
      {"sent an hour after it was made, CreateTime", kNow - 1, kNow - 60 * kMinute, false, kNow, true, kNow - 1},
      {"an old CreateTime, and the payload's time is right", kNow, kNow - 60 * kMinute, false, kNow, true, kNow},
      {"right, and our clock is a day behind, CreateTime", kNow, kNow, false, kNow - 1440 * kMinute, true,
       std::nullopt},
      {"right, and our clock is a day behind, LogAppendTime", kNow, kNow, true, kNow - 1440 * kMinute, true, kNow},
      {"right, and our clock is a day ahead, CreateTime", kNow, kNow, false, kNow + 1440 * kMinute, true, kNow},
      {"an hour late", kNow - 60 * kMinute, kNow, false, kNow, true, kNow - 60 * kMinute},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const testing::ManualClock clock(c.our_clock);
    TestPipeline pipeline(TestConfig(), {}, {}, clock);
    const auto progress = pipeline.StartAt({0, 0, 0});
    MILLRACE_ASSERT_OK(pipeline.shard().Process(Sent(c.event_time, c.timestamp, c.append_time)));
    EXPECT_EQ(PartOf(pipeline.shard().sink(kRaw).Seal(1)).ledger.written, c.is_row ? 1 : 0);
    EXPECT_EQ(pipeline.shard().TakeLetters().size(), c.is_row ? 0u : 1u);
    EXPECT_EQ(progress->times().latest, c.latest);
  }
}

TEST(Shard, QuarantineComparesWithTheLogsTimestamp) {
  // The log's time here is years from the wall clock: what is judged must not depend on when it is read.
  TestPipeline pipeline;
  pipeline.StartAt({0, 0, 0});
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched(
      {0, 3},
      {{0, Row(0, "1", kLogTime + 60'000'000)}, {1, Row(1, "1", kLogTime + 60'000'001)}, {2, Row(2, "1", 0)}})));
  const auto letters = pipeline.shard().TakeLetters();
  ASSERT_EQ(letters.size(), 1u);
  EXPECT_EQ(letters[0].offset, 1);
  EXPECT_THAT(letters[0].detail, HasSubstr("'ts' is 60.0 s ahead"));
}

TEST(Shard, WithOnErrorFailABadRecordIsNamed) {
  auto config = TestConfig();
  config.inputs[0].on_decode_error = config::OnDecodeError::kFail;
  TestPipeline pipeline(config);
  pipeline.StartAt({0, 0, 0});
  const Status status = pipeline.shard().Process(Fetched({0, 3}, {{0, Row(0)}, {2, "{"}})).status();
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, status);
  EXPECT_THAT(status.message(), HasSubstr("events[0] offset 2: bad_json"));
}

// MakePlan() makes one input of a file. Here is a second, `views` of another shape and without event time, with a table
// `viewed`.
Plan PlanOfTwoInputs() {
  Plan plan = *MakePlan(TestConfig()).ValueOrDie();
  plan.inputs.push_back({.name = "views",
                         .topics = {"views"},
                         .decode = {.columns = {{.name = "page", .type = arrow::utf8(), .path = {"page"}}}}});
  plan.relations.insert(plan.relations.begin() + 1,
                        {.name = "views", .input = 1, .schema = ingest::EventSchema(plan.inputs[1].decode)});
  plan.tables[kCleaned].relation = plan.tables[kSums].relation = 2;
  const auto& schema = plan.relations[1].schema;
  config::TablePlan viewed{.name = "viewed", .relation = 1, .schema = schema};
  for (int i = 0; i < schema->num_fields(); ++i) viewed.columns.push_back(i);
  plan.tables.insert(plan.tables.end() - 1, viewed);
  return plan;
}

TEST(Shard, ATopicIsDecodedByItsInputAndFeedsTheTablesOfThatAlone) {
  constexpr int kViewed = 3;
  const model::TopicPartition views{"views", 0};
  const TestPipeline lake;
  auto plan = PlanOfTwoInputs();
  EXPECT_EQ(plan.InputOf("views"), 1);
  EXPECT_THAT(plan.topics(), ElementsAre("events", "views"));
  EXPECT_THAT(plan.StagesOf(kViewed), ElementsAre("decode", "event_time", "table:viewed"));

  std::vector<std::shared_ptr<objectstore::ObjectStore>> stores;
  for (const auto& table : plan.tables) stores.push_back(objectstore::Below(lake.lake(), table.name));
  const auto make = [&](const Plan& of) { return Shard::Make(std::make_shared<const Plan>(of), stores).ValueOrDie(); };
  const auto start = [](Shard& shard, const model::TopicPartition& source) {
    shard.Start({.source = source,
                 .generation = 1,
                 .sinks = std::vector<SinkStart>(4),
                 .progress = std::make_shared<PartitionProgress>()});
  };
  const auto shard = make(plan);
  start(*shard, kSource);
  start(*shard, views);
  auto fetched = Fetched({0, 3}, {{0, R"({"page": "/a"})"}, {1, Row(1)}, {2, R"({"page": 7})"}});
  fetched.source = views;
  MILLRACE_ASSERT_OK(shard->Process(fetched));
  MILLRACE_ASSERT_OK(shard->Process(FetchedRows({0, 5})));

  const auto letters = shard->TakeLetters();
  ASSERT_EQ(letters.size(), 1u);
  EXPECT_EQ(letters[0].source, views);
  EXPECT_EQ(letters[0].offset, 2);
  for (const int t : {kRaw, kCleaned, kSums}) {
    SCOPED_TRACE(t);
    const auto part = PartOf(shard->sink(t).Seal(1));
    EXPECT_EQ(part.range, (model::OffsetRange{0, 5}));
    EXPECT_EQ(part.ledger, (model::Ledger{.read = 5, .written = 5}));
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto viewed, shard->sink(kViewed).Seal(1));
  ASSERT_EQ(viewed.partitions.size(), 1u);
  EXPECT_EQ(viewed.partitions.at(views).ledger, (model::Ledger{.read = 3, .written = 2, .dead_lettered = 1}));

  // What is to be done about a record that does not fit is the input's too.
  plan.inputs[1].on_decode_error = config::OnDecodeError::kFail;
  const auto strict = make(plan);
  start(*strict, kSource);
  start(*strict, views);
  MILLRACE_ASSERT_OK(strict->Process(Fetched({0, 1}, {{0, "no"}})));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, strict->Process(fetched));
}

TEST(Sink, AnEpochBeginsWhereTheOneBeforeEnded) {
  TestPipeline pipeline;
  pipeline.StartAt({0, 0, 0});
  MILLRACE_ASSERT_OK(pipeline.shard().Process(FetchedRows({0, 10})));
  const auto first = PartOf(pipeline.shard().sink(kSums).Seal(1));
  MILLRACE_ASSERT_OK(pipeline.shard().Process(FetchedRows({10, 15})));
  const auto second = PartOf(pipeline.shard().sink(kSums).Seal(2));
  EXPECT_EQ(first.fence, std::nullopt);
  EXPECT_EQ(second.range, (model::OffsetRange{10, 15}));
  EXPECT_EQ(second.fence, 9);
  const auto nothing = pipeline.shard().sink(kSums).Seal(3);
  MILLRACE_ASSERT_OK(nothing.status());
  EXPECT_TRUE(nothing->partitions.empty());
}

TEST(Sink, ARecordedGapBelongsToTheFirstEpoch) {
  TestPipeline pipeline;
  const auto store = OpenTableStore(pipeline.plan(), kRaw, pipeline.lake());
  MILLRACE_ASSERT_OK(store.status());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sink, Sink::Make(pipeline.plan().tables[kSums], *store));
  sink->Start(kSource, {.next = 50, .covered_from = 20, .fence = 19});
  MILLRACE_ASSERT_OK(sink->Take(kSource, {50, 60}, nullptr, {.read = 3, .filtered = 3}, {}).status());
  const auto part = PartOf(sink->Seal(1));
  EXPECT_EQ(part.range, (model::OffsetRange{20, 60}));
  EXPECT_EQ(part.fence, 19);
  EXPECT_EQ(part.ledger.read, 3);
}

TEST(Sink, RowsStayHotUntilTheirEpochIsCommitted) {
  TestPipeline pipeline;
  pipeline.StartAt({0, 0, 0});
  auto& sink = pipeline.shard().sink(kSums);
  const auto& definition = pipeline.plan().tables[kSums].aggregate->definition;
  const auto ranges = [&sink, &definition] {
    std::vector<std::pair<model::Offset, model::Offset>> found;
    const auto segments = sink.Hot(definition, {}, INT64_MAX).ValueOrDie();
    for (const auto& segment : segments) {
      const auto& range = segment.ranges.at(kSource);
      found.emplace_back(range.begin, range.end);
      EXPECT_NE(segment.rows, nullptr);
    }
    return found;
  };
  using Ranges = std::vector<std::pair<model::Offset, model::Offset>>;
  EXPECT_EQ(ranges(), Ranges{});
  MILLRACE_ASSERT_OK(pipeline.shard().Process(FetchedRows({0, 10})));
  EXPECT_EQ(ranges(), (Ranges{{0, 10}}));
  MILLRACE_ASSERT_OK(sink.Seal(1).status());
  MILLRACE_ASSERT_OK(pipeline.shard().Process(FetchedRows({10, 12})));
  EXPECT_EQ(ranges(), (Ranges{{0, 10}, {10, 12}}));
  sink.Committed(1);
  EXPECT_EQ(ranges(), (Ranges{{10, 12}}));
  pipeline.shard().Discard();
  EXPECT_EQ(ranges(), Ranges{});
  EXPECT_EQ(sink.Next(kSource), std::nullopt);
  EXPECT_EQ(sink.num_rows(), 0);
}

TEST(Sink, RowsArePartitionedByTheFlooredDate) {
  auto config = TestConfig();
  config.tables[0].partition_by = {"date(ts)"};
  TestPipeline pipeline(config);
  pipeline.StartAt({0, 0, 0});
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched(
      {0, 4}, {{0, Row(0, "1", -1)}, {1, Row(1, "1", 0)}, {2, Row(2, "1", 86'399'999'999)}, {3, R"({"id": 3})"}})));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto epoch, pipeline.Prepare(kRaw));
  std::map<std::string, std::int64_t> rows;
  for (const auto& file : epoch.files) {
    rows[file.partition_values.at("ts_date").value_or("null")] = delta::NumRecords(file).value_or(-1);
  }
  EXPECT_EQ(rows, (std::map<std::string, std::int64_t>{{"1969-12-31", 1}, {"1970-01-01", 2}, {"null", 1}}));
}

/// The rows of a table's epoch by partition value, once it is committed.
std::map<std::string, std::int64_t> RowsByPartition(const PreparedEpoch& epoch, const std::string& column) {
  std::map<std::string, std::int64_t> rows;
  for (const auto& file : epoch.files) {
    rows[file.partition_values.at(column).value_or("null")] += delta::NumRecords(file).value_or(-1);
  }
  return rows;
}

// A table may be stricter than the pipeline: made by somebody else, or altered since.
TEST(Sink, ANullThatTheTableInTheLakeForbidsIsALetterOfThatTableAlone) {
  const auto id_required = [](const arrow::Schema& schema) {
    auto fields = schema.fields();
    for (auto& field : fields) {
      if (field->name() == "id") field = field->WithNullable(false);
    }
    return arrow::schema(fields);
  };
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, MakePlan(TestConfig()));
  TestPipeline pipeline(TestConfig(), {}, {{kRaw, id_required(*plan->tables[kRaw].schema)}});
  pipeline.StartAt({0, 0, 0});
  auto fetched = Fetched({0, 4}, {{0, Row(0)}, {1, R"({"txt": "1", "ts": 0})"}, {2, "{"}, {3, Row(3)}});
  fetched.records[1].key = "k";
  MILLRACE_ASSERT_OK(pipeline.shard().Process(fetched));
  const auto letters = pipeline.shard().TakeLetters();
  ASSERT_EQ(letters.size(), 2u);
  const auto& letter = letters[1];
  EXPECT_EQ(letter.offset, 1);
  EXPECT_EQ(letter.stage, "table:raw");
  EXPECT_EQ(letter.reason, "null_value");
  EXPECT_EQ(letter.detail, "'id' is null; the table in the lake has it as NOT NULL");
  EXPECT_EQ(letter.payload, R"({"txt": "1", "ts": 0})");
  EXPECT_EQ(letter.key, "k");
  EXPECT_EQ(PartOf(pipeline.shard().sink(kRaw).Seal(1)).ledger,
            (model::Ledger{.read = 4, .written = 2, .dead_lettered = 2}));
  EXPECT_EQ(PartOf(pipeline.shard().sink(kCleaned).Seal(1)).ledger,
            (model::Ledger{.read = 4, .written = 2, .dead_lettered = 1, .filtered = 1}));

  // Read again after these letters became durable: the books count them, and they are not written twice.
  pipeline.shard().Discard();
  pipeline.StartAt({0, 0, 0}, {{"decode", 4}, {"table:raw", 4}});
  MILLRACE_ASSERT_OK(pipeline.shard().Process(fetched));
  EXPECT_TRUE(pipeline.shard().TakeLetters().empty());
  EXPECT_EQ(PartOf(pipeline.shard().sink(kRaw).Seal(2)).ledger.dead_lettered, 2);
}

TEST(Sink, APartitionValueThatCannotBeIsALetterAndTheOthersGoOn) {
  auto config = TestConfig();
  config.transforms = {{"clean", "SELECT id, CAST(txt AS DOUBLE) AS ratio, ts, txt FROM input"}};
  config.tables[0].partition_by = {"txt"};
  config.tables[1].partition_by = {"ratio"};
  config.aggregates.clear();
  TestPipeline pipeline(config);
  pipeline.StartAt({0, 0});
  const std::string digits = "1." + std::string(300, '0');
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 6}, {{0, Row(0, "0.5")},
                                                               {1, Row(1, "nan")},
                                                               {2, Row(2, "-inf")},
                                                               {3, Row(3, digits)},
                                                               {4, R"({"id": 4})"},
                                                               {5, Row(5, "1")}})));
  std::map<model::Offset, std::string> stages;
  for (const auto& letter : pipeline.shard().TakeLetters()) {
    EXPECT_TRUE(stages.emplace(letter.offset, letter.stage + " " + letter.reason).second) << letter.offset;
  }
  EXPECT_EQ(stages, (std::map<model::Offset, std::string>{{1, "table:cleaned partition_value"},
                                                          {2, "table:cleaned partition_value"},
                                                          {3, "table:raw partition_value"}}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto cleaned, pipeline.Prepare(1));
  EXPECT_EQ(RowsByPartition(cleaned, "ratio"),
            (std::map<std::string, std::int64_t>{{"0.5", 1}, {"1", 2}, {"null", 1}}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto raw, pipeline.Prepare(0));
  EXPECT_EQ(raw.files.size(), 5u);
  EXPECT_EQ(raw.partitions.at(kSource).ledger, (model::Ledger{.read = 6, .written = 5, .dead_lettered = 1}));
}

TEST(Sink, AFetchOfRefusedRowsAloneIsCovered) {
  auto config = TestConfig();
  config.transforms = {{"clean", "SELECT id, CAST('nan' AS DOUBLE) AS ratio FROM input"}};
  config.tables = {{.name = "cleaned", .from = "clean", .partition_by = {"ratio"}}};
  config.aggregates.clear();
  TestPipeline pipeline(config);
  pipeline.StartAt({0});
  MILLRACE_ASSERT_OK(pipeline.shard().Process(FetchedRows({0, 3})));
  EXPECT_EQ(pipeline.shard().TakeLetters().size(), 3u);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto epoch, pipeline.Prepare(0));
  EXPECT_TRUE(epoch.files.empty());
  EXPECT_EQ(epoch.partitions.at(kSource).range, (model::OffsetRange{0, 3}));
  EXPECT_EQ(epoch.partitions.at(kSource).ledger, (model::Ledger{.read = 3, .dead_lettered = 3}));
}

TEST(Sink, ATimeThatReadersDoNotAgreeAboutIsALetter) {
  auto config = TestConfig();
  config.transforms = {{"clean", "SELECT id, CAST(txt AS TIMESTAMP) AS at FROM input"}};
  config.tables[1].partition_by = {"date(at)"};
  config.aggregates.clear();
  TestPipeline pipeline(config);
  pipeline.StartAt({0, 0});
  MILLRACE_ASSERT_OK(pipeline.shard().Process(
      Fetched({0, 3}, {{0, Row(0, "infinity")}, {1, Row(1, "2024-01-02 03:04:05")}, {2, Row(2, "-infinity")}})));
  std::vector<std::pair<model::Offset, std::string>> reasons;
  for (const auto& letter : pipeline.shard().TakeLetters()) {
    EXPECT_EQ(letter.stage, "table:cleaned");
    reasons.emplace_back(letter.offset, letter.reason);
  }
  EXPECT_THAT(reasons, ::testing::ElementsAre(std::pair{0, "out_of_range"}, std::pair{2, "out_of_range"}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto epoch, pipeline.Prepare(1));
  EXPECT_EQ(RowsByPartition(epoch, "at_date"), (std::map<std::string, std::int64_t>{{"2024-01-02", 1}}));
}

// One batch of all would be more than an Arrow column holds, and several times its size while it is made.
TEST(Shard, AFetchIsDecodedInPiecesOfBoundedBytes) {
  const std::size_t row = Row(0).size();
  for (const std::size_t limit : {std::size_t{1}, row - 1, row, 3 * row - 1, 3 * row, 1000 * row}) {
    SCOPED_TRACE(limit);
    TestPipeline pipeline(TestConfig(), {.piece_bytes_max = limit});
    pipeline.StartAt({0, 5, 3});
    // With holes at the ends and in between, and a letter in the middle.
    auto payloads = std::map<model::Offset, std::optional<std::string>>();
    for (int id = 2; id < 18; ++id) payloads[id + (id >= 10 ? 5 : 0)] = Row(id % 10);
    payloads[20] = "{";
    const auto fetched = Fetched({0, 30}, payloads);
    MILLRACE_ASSERT_OK(pipeline.shard().Process(fetched));
    EXPECT_EQ(pipeline.shard().TakeLetters().size(), 1u);
    const auto raw = PartOf(pipeline.shard().sink(kRaw).Seal(1));
    EXPECT_EQ(raw.range, (model::OffsetRange{0, 30}));
    EXPECT_EQ(raw.ledger, (model::Ledger{.read = 16, .written = 15, .dead_lettered = 1}));
    EXPECT_EQ(raw.fingerprint, 0u) << "the fetch ends in a hole";
    const auto cleaned = PartOf(pipeline.shard().sink(kCleaned).Seal(1));
    EXPECT_EQ(cleaned.range, (model::OffsetRange{5, 30}));
    EXPECT_EQ(cleaned.ledger.read, 13);
    EXPECT_EQ(PartOf(pipeline.shard().sink(kSums).Seal(1)).ledger.read, 15);
  }
}

// However many records a batch has, and however the pieces fall: the same rows, letters and books.
TEST(Shard, APackedFetchIsReadInPiecesOfBoundedRecordsAndBytes) {
  auto payloads = std::map<model::Offset, std::optional<std::string>>();
  for (int id = 2; id < 18; ++id) payloads[id + (id >= 10 ? 5 : 0)] = Row(id % 10);
  payloads[20] = "{";
  payloads[24] = std::nullopt;
  const std::size_t row = Row(0).size();
  for (const auto& [records_max, bytes_max] :
       {std::pair<std::size_t, std::size_t>{1, 1000 * row}, {3, 1000 * row}, {8192, row}, {8192, 1000 * row}}) {
    SCOPED_TRACE(records_max);
    TestPipeline pipeline(TestConfig(), {.piece_bytes_max = bytes_max, .piece_records_max = records_max});
    pipeline.StartAt({0, 5, 3});
    MILLRACE_ASSERT_OK(pipeline.shard().Process(testing::Packed(Fetched({0, 30}, payloads))));
    EXPECT_EQ(pipeline.shard().TakeLetters().size(), 1u);
    const auto raw = PartOf(pipeline.shard().sink(kRaw).Seal(1));
    EXPECT_EQ(raw.range, (model::OffsetRange{0, 30}));
    EXPECT_EQ(raw.ledger, (model::Ledger{.read = 17, .written = 15, .dead_lettered = 1, .tombstones = 1}));
    EXPECT_EQ(PartOf(pipeline.shard().sink(kCleaned).Seal(1)).range, (model::OffsetRange{5, 30}));
  }
}

TEST(Shard, AFetchThatCannotBeReadToItsEndIsNotCommittedInPart) {
  TestPipeline pipeline(TestConfig(), {.piece_records_max = 2});
  pipeline.StartAt({0, 0, 0});
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, pipeline.shard().Process(testing::Packed(FetchedRows({0, 9}), 5)));
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, pipeline.shard().Seal(kRaw, 1));
  pipeline.shard().Discard();
}

TEST(Shard, EverythingItHoldsIsInTheBudgetUntilItIsGone) {
  const auto budget = MemoryBudget::Make(1 << 30);
  {
    TestPipeline pipeline(TestConfig(), {.budget = budget});
    pipeline.StartAt({0, 0, 0});
    MILLRACE_ASSERT_OK(pipeline.shard().Process(FetchedRows({0, 500})));
    MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({500, 501}, {{500, std::string(100'000, '{')}})));
    EXPECT_EQ(budget->used(), pipeline.shard().memory_bytes());
    EXPECT_GE(budget->ByName().at("dead letters"), 100'000);
    EXPECT_GT(budget->ByName().at("open epochs"), 500 * 8);
    pipeline.shard().TakeLetters();
    EXPECT_EQ(budget->ByName().at("dead letters"), 0) << "they are the taker's now";

    // Files that are sealed take memory until they are written.
    const auto open = budget->used();
    auto sealed = pipeline.shard().Seal(kRaw, 1);
    MILLRACE_ASSERT_OK(sealed.status());
    EXPECT_GT(budget->ByName().at("sealed epochs"), 0);
    EXPECT_EQ(budget->used(), open);
    sealed = Transient("gone");
    EXPECT_EQ(budget->ByName().at("sealed epochs"), 0);

    // An aggregate's rows are asked for until their commit.
    MILLRACE_ASSERT_OK(pipeline.Prepare(kSums).status());
    const auto uncommitted = budget->used();
    pipeline.shard().sink(kSums).Committed(100);
    EXPECT_LT(budget->used(), uncommitted);
    pipeline.shard().Discard();
    EXPECT_EQ(budget->used(), pipeline.shard().memory_bytes());
  }
  EXPECT_EQ(budget->used(), 0);
}

TEST(Shard, AHundredDataFilesAreOpenAtMostWhateverThePlanAndTheMachine) {
  auto config = TestConfig();
  for (const int num_tables : {1, 2, 20}) {
    config.tables.assign(static_cast<std::size_t>(num_tables), {});
    for (int t = 0; t < num_tables; ++t) config.tables[static_cast<std::size_t>(t)].name = fmt::format("t{}", t);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, MakePlan(config));
    for (const int num_shards : {1, 4, 64}) {
      const int each = OpenFilesPerTable(*plan, num_shards);
      EXPECT_GE(each, 1);
      EXPECT_LE(each, 16);
      EXPECT_TRUE(each == 1 || each * num_tables * num_shards <= 128) << each;
    }
  }
}

TEST(Sink, AFileThatCannotBeStartedIsTransient) {
  TestPipeline pipeline;
  pipeline.StartAt({0, 0, 0});
  const std::int64_t empty = pipeline.shard().memory_bytes();
  pipeline.store().Inject(testing::StoreOperation::kStartUpload, 1, testing::StoreFault::kFail, "raw/");
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, pipeline.shard().Process(FetchedRows({0, 10})));
  EXPECT_GT(pipeline.shard().memory_bytes(), 0) << "it is measured before it is discarded";
  pipeline.shard().Discard();
  EXPECT_EQ(pipeline.shard().memory_bytes(), empty);
}

// What was read before the failure is known to the shard only later: fetches and cuts may be on the way to it.
TEST(Shard, AfterAFetchThatFailedHalfwayNothingIsTakenOrSealedUntilDiscard) {
  TestPipeline pipeline;
  pipeline.StartAt({0, 0, 0});
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 1}, {{0, std::nullopt}})));
  pipeline.store().Inject(testing::StoreOperation::kStartUpload, 1, testing::StoreFault::kFail, "cleaned/");
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, pipeline.shard().Process(FetchedRows({1, 10})));
  MILLRACE_ASSERT_OK(pipeline.shard().Process(FetchedRows({10, 20})));
  EXPECT_EQ(pipeline.shard().sink(kRaw).Next(kSource), 10);
  EXPECT_EQ(pipeline.shard().sink(kCleaned).Next(kSource), 1);
  for (const int t : {kRaw, kCleaned, kSums}) {
    MILLRACE_ASSERT_KIND(ErrorKind::kTransient, pipeline.shard().Seal(t, 1).status());
  }
  pipeline.shard().Discard();
  pipeline.StartAt({0, 0, 0});
  MILLRACE_ASSERT_OK(pipeline.shard().Process(FetchedRows({0, 10})));
  for (const int t : {kRaw, kCleaned, kSums}) {
    EXPECT_EQ(PartOf(pipeline.shard().Seal(t, 2)).ledger, (model::Ledger{.read = 10, .written = 10}));
  }
}

TEST(Sink, AFileThatCannotBeWrittenIsTransient) {
  TestPipeline pipeline;
  pipeline.StartAt({0, 0, 0});
  MILLRACE_ASSERT_OK(pipeline.shard().Process(FetchedRows({0, 10})));
  pipeline.store().Inject(testing::StoreOperation::kFinish, 1, testing::StoreFault::kFail);
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, pipeline.Prepare(kRaw).status());
}

}  // namespace
}  // namespace millrace::pipeline
