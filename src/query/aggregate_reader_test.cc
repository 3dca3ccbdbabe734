// Goal: an answer holds each offset once, whatever the hot side says when; a question draws no more than it may and
// says so when that is not enough.
#include "query/aggregate_reader.h"

#include <arrow/array.h>
#include <arrow/table.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <deque>
#include <filesystem>
#include <functional>
#include <limits>
#include <random>

#include "delta/data/data_file.h"
#include "objectstore/object_store.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

const model::TopicPartition kSource{"clicks", 0};

// Says one thing after the other; the last for good.
class ScriptedHotSource final : public HotSource {
 public:
  Result<HotRows> Hot(const std::shared_ptr<const model::AggregateDefinition>&, const FoldRange&,
                      const FoldLimits& limits) override {
    asked_with.push_back(limits.bytes_max);
    auto said = says.front();
    if (says.size() > 1) says.pop_front();
    RETURN_NOT_OK(said.status());
    return HotRows{
        .segments = *std::move(said), .version = version, .watermark = 42, .begun = begun, .missing = missing};
  }
  HotRows Known() const override { return {.version = version, .watermark = known_watermark}; }
  std::optional<std::uint64_t> Changes() const override { return changes; }

  std::deque<Result<std::vector<HotSegment>>> says;
  delta::TableVersion version = -1;
  UnixMicros known_watermark = 41;
  std::optional<std::uint64_t> changes;
  model::OffsetVector begun{{kSource, 10}};
  std::vector<MissingSource> missing;
  std::vector<std::int64_t> asked_with;
};

// A table whose rows cover the offsets below 10: three events of "de".
class AggregateReaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    definition_.name = "a";
    definition_.sql = "-";
    definition_.window = model::Window::Tumbling(60'000'000);
    definition_.keys = {{"country", arrow::utf8()}};
    definition_.states = {{"_s0", arrow::int64(), "count"}};
    definition_.measures = {{"n", "CAST(_s0 AS BIGINT)", "BIGINT"}};
    definition_.output_order = {"window_start", "country", "n"};
    folder_ =
        std::filesystem::path(::testing::TempDir()) / ("aggregate_reader_" + std::to_string(::getpid()) + "_" +
                                                       ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    MILLRACE_ASSERT_OK_AND_ASSIGN(store_, objectstore::OpenStore(folder_.string()));
    delta::CreateOptions options;
    options.schema = model::PartialSchema(definition_);
    MILLRACE_ASSERT_OK_AND_ASSIGN(table_, delta::Table::OpenOrCreate(store_, options));
    Commit(3);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::shared_ptr<arrow::RecordBatch> Rows(std::int64_t events, int groups = 1) const {
    std::string rows;
    for (int g = 0; g < groups; ++g) {
      rows += fmt::format(R"({}["2026-11-22 10:00:00", "2026-11-22 10:01:00", "{}", {}, {}])", g == 0 ? "" : ",",
                          g == 0 ? "de" : "x" + std::to_string(g), events, events);
    }
    return testing::BatchFromJson(model::PartialSchema(definition_), "[" + rows + "]");
  }
  void Commit(std::int64_t events, int groups = 1) { CommitRows(*Rows(events, groups)); }
  void CommitRows(const arrow::RecordBatch& rows) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto writer,
                                  delta::DataFileWriter::Make(store_, model::PartialSchema(definition_), {}));
    MILLRACE_ASSERT_OK(writer->Append(rows));
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto file, writer->Finish());
    delta::CommitRequest request;
    request.adds = {file};
    MILLRACE_ASSERT_OK(table_->Commit(request));
  }

  AggregateReader Reader(std::int64_t limit_bytes = 1 << 30, std::int64_t cached_rows_bytes_max = 0) {
    return AggregateReader({.definition = definition_,
                            .table = std::make_shared<FollowedTable>([this] { return delta::Table::Open(store_); }, 1h),
                            .next_offsets =
                                [](const delta::Snapshot& snapshot) {
                                  return model::OffsetVector{{kSource, 10 * snapshot.version}};
                                },
                            .reads = [](const std::string& topic) { return topic == kSource.topic; },
                            .hot = hot_.says.empty() ? nullptr : &hot_,
                            .cached_rows_bytes_max = cached_rows_bytes_max},
                           ReaderResources::Make(limit_bytes, *budget_));
  }
  static std::int64_t N(const Answer& answer) {
    return static_cast<const arrow::Int64Array&>(*answer.rows->GetColumnByName("n")->chunk(0)).Value(0);
  }

  model::AggregateDefinition definition_;
  std::filesystem::path folder_;
  std::shared_ptr<objectstore::ObjectStore> store_;
  std::shared_ptr<delta::Table> table_;
  std::shared_ptr<MemoryBudget> budget_ = MemoryBudget::Make(1 << 30);
  ScriptedHotSource hot_;
};

TEST_F(AggregateReaderTest, WithoutAHotSideTheAnswerIsWhatIsCommitted) {
  auto reader = Reader();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, reader.Ask({}, {}));
  EXPECT_EQ(N(answer), 3);
  EXPECT_EQ(answer.as_of.version, 1);
  EXPECT_EQ(answer.as_of.offsets.at(kSource), 10);
  EXPECT_EQ(answer.as_of.watermark, std::nullopt);
}

TEST_F(AggregateReaderTest, HotRowsComeOnTopUnlessTheyAreCommittedOrNotWanted) {
  hot_.says = {std::vector<HotSegment>{{{{kSource, {0, 10}}}, Rows(3)}, {{{kSource, {10, 12}}}, Rows(2)}}};
  auto reader = Reader();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, reader.Ask({}, {}));
  EXPECT_EQ(N(answer), 5) << "the first segment is in the table already";
  EXPECT_EQ(answer.as_of.offsets.at(kSource), 12);
  EXPECT_EQ(answer.as_of.watermark, 42);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto committed, reader.Ask({.freshness = Freshness::kCommitted}, {}));
  EXPECT_EQ(N(committed), 3);
  EXPECT_EQ(committed.as_of.watermark, 41);
}

TEST_F(AggregateReaderTest, WindowsOfPanesAreMergedHotAndCommitted) {
  definition_.window = model::Window::Hopping(60'000'000, 120'000'000);
  hot_.says = {std::vector<HotSegment>{{{{kSource, {10, 12}}}, Rows(2)}}};
  auto reader = Reader();
  // Begins a minute before the pane that its events are in.
  const UnixMicros start = std::int64_t{1'795'341'540} * 1'000'000;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, reader.Ask({.range = {.from = start, .to = start + 1}}, {}));
  ASSERT_EQ(answer.rows->num_rows(), 1);
  EXPECT_EQ(N(answer), 5);
  EXPECT_EQ(answer.rows_read, 2);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto both, reader.Ask({}, {}));
  EXPECT_EQ(both.rows->num_rows(), 2);
}

// How far a session reaches is not known before it is read.
TEST_F(AggregateReaderTest, SessionsAreReadUntilTheirEndAndNotToTheNewest) {
  definition_.window = model::Window::Session(60'000'000);
  const auto time = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  definition_.states.push_back({model::kFirstEvent, time, "min"});
  definition_.states.push_back({model::kLastEvent, time, "max"});
  definition_.output_order = {"window_start", "window_end", "country", "n"};
  MILLRACE_ASSERT_OK_AND_ASSIGN(store_, objectstore::OpenStore((folder_ / "sessions").string()));
  delta::CreateOptions options;
  options.schema = model::PartialSchema(definition_);
  MILLRACE_ASSERT_OK_AND_ASSIGN(table_, delta::Table::OpenOrCreate(store_, options));
  const UnixMicros begin = std::int64_t{1'795'341'600} * 1'000'000;
  const auto row = [&](std::int64_t minute, const char* country) {
    const UnixMicros pane = begin + minute * 60'000'000;
    return fmt::format("[{0}, {1}, \"{2}\", 1, {3}, {3}, 1]", pane, pane + 60'000'000, country, pane + 1'000'000);
  };
  // One event each 60 s is each time another session; each 59 s, as in "fr", one. A file for every ten minutes.
  for (std::int64_t minute = 0; minute < 2000; minute += 10) {
    std::string rows;
    for (std::int64_t m = minute; m < minute + 10; ++m) rows += (rows.empty() ? "" : ", ") + row(m, "de");
    CommitRows(*testing::BatchFromJson(model::PartialSchema(definition_), "[" + rows + "]"));
  }
  std::string visit;
  for (std::int64_t i = 0; i < 150; ++i) {
    const UnixMicros event = begin + i * 59'000'000 + 500'000;
    const UnixMicros pane = model::Window::Floor(event, 60'000'000);
    visit += fmt::format("{0}[{1}, {2}, \"fr\", 1, {3}, {3}, 1]", i == 0 ? "" : ", ", pane, pane + 60'000'000, event);
  }
  CommitRows(*testing::BatchFromJson(model::PartialSchema(definition_), "[" + visit + "]"));
  auto reader = Reader();
  const auto ask = [&](std::optional<UnixMicros> from, std::optional<UnixMicros> to, const std::string& where = "") {
    return reader.Ask({.range = {.from = from, .to = to}, .where = where}, {}).ValueOrDie();
  };
  const auto all = ask(begin, std::nullopt);
  ASSERT_EQ(all.rows->num_rows(), 2001);
  const auto first = ask(begin, begin + 60'000'000);
  ASSERT_EQ(first.rows->num_rows(), 2) << "the first of de, and fr, which goes on for two hours and a half";
  const auto& n = static_cast<const arrow::Int64Array&>(*first.rows->GetColumnByName("n")->chunk(0));
  EXPECT_EQ(n.Value(0) + n.Value(1), 151);
  EXPECT_LT(first.rows_read, 500);
  const auto later = ask(begin + 1'000 * 60'000'000LL, begin + 1'001 * 60'000'000LL);
  EXPECT_EQ(later.rows->num_rows(), 1);
  EXPECT_LT(later.rows_read, 20);
  EXPECT_GT(all.rows_read, 2000);
  EXPECT_EQ(ask(std::nullopt, model::kWindowsEnd).rows->num_rows(), 2001);
  EXPECT_EQ(ask(std::nullopt, std::numeric_limits<UnixMicros>::max()).rows->num_rows(), 2001);
  EXPECT_EQ(ask(std::nullopt, model::kWindowsBegin).rows->num_rows(), 0);
}

// Pages of whatever question, with commits between them, are the answer of one page.
TEST_F(AggregateReaderTest, PagesTogetherAreTheAnswerOfTheVersionThatTheFirstOneRead) {
  definition_.states.push_back({"_s1", arrow::float64(), "sum"});
  definition_.measures.push_back({"x", "_s1", "DOUBLE"});
  definition_.output_order = {"window_start", "country", "n", "x"};
  MILLRACE_ASSERT_OK_AND_ASSIGN(store_, objectstore::OpenStore((folder_ / "pages").string()));
  delta::CreateOptions options;
  options.schema = model::PartialSchema(definition_);
  MILLRACE_ASSERT_OK_AND_ASSIGN(table_, delta::Table::OpenOrCreate(store_, options));
  std::mt19937_64 random(20261129);
  const auto below = [&](std::uint64_t end) { return static_cast<std::int64_t>(random() % end); };
  constexpr UnixMicros kBegin = std::int64_t{1'795'341'600} * 1'000'000;
  const auto commit = [&] {
    std::string rows;
    for (std::int64_t i = 0, count = 1 + below(20); i < count; ++i) {
      const UnixMicros window = kBegin + below(5) * 60'000'000;
      const std::int64_t events = 1 + below(3);  // Few different sums: many ties.
      const auto key = below(8);
      rows += fmt::format("{}[{}, {}, {}, {}, {}, {}]", i == 0 ? "" : ",", window, window + 60'000'000,
                          key == 0 ? "null" : fmt::format("\"c{}\"", key), events,
                          std::ldexp(1.0, static_cast<int>(below(3)) * 52) / 3, events);
    }
    CommitRows(*testing::BatchFromJson(model::PartialSchema(definition_), "[" + rows + "]"));
  };
  for (int i = 0; i < 6; ++i) commit();
  using Names = std::vector<std::string>;
  std::int64_t num_pages = 0;
  for (const auto& having : {"", "_s0 > 2"}) {
    definition_.having_sql = having;
    auto reader = Reader(1 << 30, 1 << 20);
    for (const auto& order_by : {Names{}, Names{"n desc"}, Names{"n", "country desc"}, Names{"x desc"}}) {
      for (const auto& group_by : {std::optional<Names>(), std::optional(Names{"country", "window_start"})}) {
        for (const std::int64_t limit : {3, 7}) {
          SCOPED_TRACE(fmt::format("{} {} {} {}", having, fmt::join(order_by, ","), group_by.has_value(), limit));
          AggregateRequest request{.range = {.from = kBegin, .to = kBegin + 4 * 60'000'000},
                                   .group_by = group_by,
                                   .order_by = order_by,
                                   .limit = 1'000'000,
                                   .freshness = Freshness::kCommitted};
          MILLRACE_ASSERT_OK_AND_ASSIGN(auto whole, reader.Ask(request, {}));
          whole.held.reset();  // Of what answers may take together.
          EXPECT_EQ(whole.next, std::nullopt);
          ASSERT_GT(whole.rows->num_rows(), 10);
          request.limit = limit;
          std::vector<std::shared_ptr<arrow::Table>> pages;
          do {
            MILLRACE_ASSERT_OK_AND_ASSIGN(auto page, reader.Ask(request, {}));
            page.held.reset();
            EXPECT_EQ(page.as_of.version, whole.as_of.version);
            EXPECT_EQ(page.as_of.offsets, whole.as_of.offsets);
            EXPECT_LE(page.rows->num_rows(), limit);
            pages.push_back(page.rows);
            request.cursor = page.next.value_or("");
            request.range = {};  // Those of the first page count: "-1h" has moved on.
            if (below(8) == 0) {
              commit();
              MILLRACE_ASSERT_OK(reader.Ask({}, {}).status());  // What is kept folded moves on.
            }
          } while (!request.cursor.empty());
          num_pages += std::ssize(pages);
          MILLRACE_ASSERT_OK_AND_ASSIGN(const auto together, arrow::ConcatenateTables(pages));
          EXPECT_EQ(together->CombineChunksToBatch().ValueOrDie()->ToString(),
                    whole.rows->CombineChunksToBatch().ValueOrDie()->ToString());
        }
      }
    }
  }
  EXPECT_GT(num_pages, 100);
}

TEST_F(AggregateReaderTest, ACursorIsOfOneQuestionAndOfAVersionThatIsThere) {
  Commit(4, 5);
  auto reader = Reader();
  const AggregateRequest first{.order_by = {"n"}, .limit = 2, .freshness = Freshness::kCommitted};
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto page, reader.Ask(first, {}));
  page.held.reset();  // Of what answers may take together.
  ASSERT_TRUE(page.next);
  const auto fails = [&](const std::function<void(AggregateRequest&)>& change, ErrorKind kind, const char* message) {
    AggregateRequest request = first;
    request.cursor = *page.next;
    change(request);
    const auto answer = reader.Ask(request, {});
    ASSERT_FALSE(answer.ok());
    EXPECT_EQ(KindOf(answer.status()), kind);
    EXPECT_THAT(answer.status().message(), HasSubstr(message));
  };
  constexpr auto kInvalid = ErrorKind::kInvalidInput;
  const char* const other = "cursor: it belongs to another question";
  fails([](auto& r) { r.freshness = Freshness::kHot; }, kInvalid, "ask with freshness=committed");
  fails([](auto& r) { r.order_by = {"country"}; }, kInvalid, other);
  fails([](auto& r) { r.where = "true"; }, kInvalid, other);
  fails([](auto& r) { r.measures = {"n"}; }, kInvalid, other);
  fails([](auto& r) { r.group_by.emplace(); }, kInvalid, other);
  fails([](auto& r) { r.step_us = 0; }, kInvalid, other);
  fails([](auto& r) { r.range_text.first = "-1h"; }, kInvalid, other);
  for (const char* wrong : {"1", "....", "1.2.3.4.5", "-1.2....0", "1.2....0123456789abcdef", "9.x....0"}) {
    SCOPED_TRACE(wrong);
    fails([&](auto& r) { r.cursor = wrong; }, kInvalid, "cursor: ");
  }
  AggregateRequest rest = first;
  rest.cursor = *page.next;
  rest.limit.reset();
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto rows, reader.Ask(rest, {}));
  rows.held.reset();
  EXPECT_EQ(rows.rows->num_rows(), 3) << "without a limit: all that is left";
  rest.limit = 1000;
  rest.rows_max = 2;
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto most, reader.Ask(rest, {}));
  most.held.reset();
  EXPECT_EQ(most.rows->num_rows(), 2) << "a page is not longer than an answer may be";
  EXPECT_TRUE(most.next);

  // A file of that version is vacuumed.
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    if (entry.path().extension() == ".parquet") std::filesystem::remove(entry.path());
  }
  rest = first;
  rest.cursor = *page.next;
  auto fresh = Reader();
  const auto vacuumed = fresh.Ask(rest, {});
  ASSERT_FALSE(vacuumed.ok());
  EXPECT_EQ(KindOf(vacuumed.status()), ErrorKind::kNotFound) << vacuumed.status().ToString();

  // The commits before the newest are cleaned up.
  MILLRACE_ASSERT_OK(table_->WriteCheckpoint());
  Commit(4);
  MILLRACE_ASSERT_OK(table_->WriteCheckpoint());
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "_delta_log")) {
    const std::string name = entry.path().filename();
    if (name.starts_with("00000000000000000003")) continue;
    if (!name.starts_with("_")) std::filesystem::remove(entry.path());
  }
  auto later = Reader();
  const auto gone = later.Ask(rest, {});
  ASSERT_FALSE(gone.ok());
  EXPECT_EQ(KindOf(gone.status()), ErrorKind::kNotFound);
  EXPECT_THAT(gone.status().message(), HasSubstr("cursor: version 2 is in the log of"));
}

TEST_F(AggregateReaderTest, WithoutWindowsThereIsNothingToChooseByTime) {
  definition_.window = model::Window::None();
  auto reader = Reader();
  const auto from = reader.Ask({.range = {.from = 0, .to = std::nullopt}}, {});
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, from);
  EXPECT_THAT(from.status().message(), HasSubstr("from: a has no windows"));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, reader.Ask({.range = {.from = std::nullopt, .to = 5}}, {}));
}

TEST_F(AggregateReaderTest, ASideThatIsBehindIsAskedAgain) {
  hot_.says = {std::vector<HotSegment>{{{{kSource, {12, 14}}}, Rows(9)}},  // 10 and 11 are on their way.
               std::vector<HotSegment>{{{{kSource, {10, 14}}}, Rows(4)}}};
  auto reader = Reader();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, reader.Ask({}, {}));
  EXPECT_EQ(N(answer), 7);
  EXPECT_EQ(hot_.asked_with.size(), 2u);
}

// The reader's own looks at the log are an hour apart here.
TEST_F(AggregateReaderTest, ANewerVersionThatTheHotSideKnowsIsLookedForAtOnce) {
  hot_.says = {std::vector<HotSegment>{{{{kSource, {10, 12}}}, Rows(2)}},
               std::vector<HotSegment>{{{{kSource, {20, 21}}}, Rows(1)}}, std::vector<HotSegment>{}};
  auto reader = Reader();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto first, reader.Ask({}, {}));
  EXPECT_EQ(N(first), 5);
  Commit(10);  // Offsets 10 to 19.
  hot_.version = 2;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto second, reader.Ask({}, {}));
  EXPECT_EQ(N(second), 14);
  EXPECT_EQ(second.as_of.version, 2);
  Commit(7);  // Nothing says so.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto third, reader.Ask({}, {}));
  EXPECT_EQ(third.as_of.version, 2);
  hot_.version = 3;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto committed, reader.Ask({.freshness = Freshness::kCommitted}, {}));
  EXPECT_EQ(committed.as_of.version, 3);
}

TEST_F(AggregateReaderTest, RowsThatGoOnFromAVersionThatIsNowhereAreRefused) {
  hot_.says = {std::vector<HotSegment>{{{{kSource, {10, 12}}}, Rows(2)}}};
  hot_.version = 7;
  auto reader = Reader();
  const auto refused = reader.Ask({}, {});
  MILLRACE_ASSERT_KIND(ErrorKind::kConflict, refused);
  EXPECT_THAT(refused.status().message(), HasSubstr("go on from version 7 of the table, which ends at 1"));
}

TEST_F(AggregateReaderTest, WhatNeverJoinsIsLeftOutAndItsWatermarkToo) {
  hot_.says = {std::vector<HotSegment>{{{{kSource, {5, 14}}}, Rows(9)}}};
  hot_.begun = {{kSource, 14}};
  hot_.missing = {{"http://worker-2:8080", "it did not answer"}};
  auto reader = Reader();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, reader.Ask({}, {}));
  EXPECT_EQ(N(answer), 3);
  EXPECT_EQ(answer.as_of.offsets.at(kSource), 10);
  EXPECT_EQ(answer.as_of.watermark, std::nullopt);
  EXPECT_EQ(answer.missing, hot_.missing);
  EXPECT_GT(hot_.asked_with.size(), 1u);
}

TEST_F(AggregateReaderTest, TheStateOfAnAnswerIsWhatItRestsOn) {
  hot_.says = {std::vector<HotSegment>{{{{kSource, {10, 12}}}, Rows(2)}}};
  hot_.changes = 7;
  hot_.version = 1;
  auto reader = Reader();
  EXPECT_EQ(reader.KnownState(Freshness::kHot), std::nullopt) << "the table was not looked at yet";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, reader.Ask({}, {}));
  ASSERT_TRUE(answer.state);
  EXPECT_EQ(answer.state->table_id, table_->snapshot()->metadata.id);
  EXPECT_EQ(answer.state->version, 1);
  EXPECT_EQ(reader.KnownState(Freshness::kHot), answer.state);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto committed, reader.Ask({.freshness = Freshness::kCommitted}, {}));
  ASSERT_TRUE(committed.state);
  EXPECT_EQ(reader.KnownState(Freshness::kCommitted), committed.state);

  hot_.changes = 8;
  EXPECT_NE(reader.KnownState(Freshness::kHot), answer.state);
  EXPECT_EQ(reader.KnownState(Freshness::kCommitted), committed.state) << "hot rows are none of its business";
  hot_.changes = 7;
  hot_.known_watermark = 42;
  EXPECT_NE(reader.KnownState(Freshness::kHot), answer.state);
  EXPECT_NE(reader.KnownState(Freshness::kCommitted), committed.state) << "the watermark stands in it";
  hot_.known_watermark = 41;
  EXPECT_EQ(reader.KnownState(Freshness::kHot), answer.state);
  Commit(4);
  hot_.version = 2;
  EXPECT_EQ(reader.KnownState(Freshness::kHot), std::nullopt) << "a look finds what the hot side has seen";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto later, reader.Ask({}, {}));
  EXPECT_EQ(later.state->version, 2);
  EXPECT_EQ(reader.KnownState(Freshness::kHot), later.state);
}

TEST_F(AggregateReaderTest, AnAnswerThatTheNextOneMayBetterHasNoState) {
  hot_.says = {std::vector<HotSegment>{{{{kSource, {10, 12}}}, Rows(2)}}};
  auto reader = Reader();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto others, reader.Ask({}, {}));
  EXPECT_EQ(others.state, std::nullopt) << "nobody here knows when the rows of others change";
  EXPECT_EQ(reader.KnownState(Freshness::kHot), std::nullopt);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto committed, reader.Ask({.freshness = Freshness::kCommitted}, {}));
  EXPECT_TRUE(committed.state);

  hot_.changes = 7;
  hot_.missing = {{"http://worker-2", "is gone"}};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto partial, reader.Ask({}, {}));
  EXPECT_EQ(partial.state, std::nullopt);
  hot_.missing.clear();
  hot_.says = {std::vector<HotSegment>{{{{kSource, {20, 30}}}, Rows(2)}}};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto left_out, reader.Ask({}, {}));
  EXPECT_EQ(left_out.state, std::nullopt);
  EXPECT_TRUE(reader.KnownState(Freshness::kHot));
}

TEST_F(AggregateReaderTest, AnAnswerIsClosedWhenTheWatermarkHasPassedAllThatItCouldHave) {
  constexpr UnixMicros kMinute = 60'000'000;
  hot_.says = {std::vector<HotSegment>{}};
  const auto is_closed = [this](std::optional<UnixMicros> to, UnixMicros watermark) {
    hot_.known_watermark = watermark;
    const auto answer = Reader().Ask({.range = {std::nullopt, to}, .freshness = Freshness::kCommitted}, {});
    return answer.ok() && answer->is_closed;
  };
  EXPECT_TRUE(is_closed(kMinute, kMinute));
  EXPECT_FALSE(is_closed(kMinute, kMinute - 1));
  EXPECT_FALSE(is_closed(kMinute + 1, 2 * kMinute - 1)) << "a window that begins before `to`";
  EXPECT_TRUE(is_closed(kMinute + 1, 2 * kMinute));
  EXPECT_FALSE(is_closed(std::nullopt, 1000 * kMinute)) << "there is always another window";
  EXPECT_FALSE(is_closed(model::kWindowsEnd, 1000 * kMinute));
  definition_.window = model::Window::Session(kMinute);
  EXPECT_FALSE(is_closed(kMinute, 1000 * kMinute)) << "one may go on and on";
}

TEST_F(AggregateReaderTest, RequestsForTheSameWindowsAreAlike) {
  constexpr UnixMicros kMinute = 60'000'000;
  const auto canonical = [this](const FoldRange& range) { return Reader().Canonical({.range = range}).range; };
  EXPECT_EQ(canonical({}), FoldRange{});
  EXPECT_EQ(canonical({1, kMinute + 1}), (FoldRange{kMinute, 2 * kMinute}));
  EXPECT_EQ(canonical({kMinute, 2 * kMinute}), (FoldRange{kMinute, 2 * kMinute}));
  EXPECT_EQ(canonical({-1, 0}), (FoldRange{0, 0}));
  EXPECT_EQ(canonical({INT64_MIN, INT64_MAX}), (FoldRange{model::kWindowsBegin, model::kWindowsEnd}));
  definition_.window = model::Window::Session(kMinute);
  EXPECT_EQ(canonical({1, 2}), (FoldRange{1, 2})) << "sessions begin anywhere";
}

TEST_F(AggregateReaderTest, AnAnswerHoldsItsMemoryUntilItIsSent) {
  auto reader = Reader();
  const auto used = [&] { return budget_->ByName().at("answers"); };
  {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, reader.Ask({}, {}));
    EXPECT_GT(used(), 0);
  }
  EXPECT_EQ(used(), 0);
}

TEST_F(AggregateReaderTest, MoreGroupsThanAnswersHaveMemoryForAreRefused) {
  constexpr std::int64_t kLimit = 64 << 20;  // Of which answers may have 16 MiB.
  Commit(1, 300'000);
  auto reader = Reader(kLimit);
  const auto refused = reader.Ask({}, {});
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, refused);
  EXPECT_THAT(refused.status().message(), HasSubstr("aggregate a"));
  EXPECT_EQ(budget_->ByName().at("answers"), 0);
  // Fewer groups of the same rows fit.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto all, reader.Ask({.step_us = 0, .group_by = std::vector<std::string>{}}, {}));
  EXPECT_EQ(N(all), 3 + 300'000);
}

TEST_F(AggregateReaderTest, AConditionTakesTheMemoryOfTheKeysThatItLooksAt) {
  definition_.keys.push_back({"user", arrow::utf8()});
  constexpr int kUsers = 300'000;  // Far more groups than answers have memory for.
  std::string rows;
  for (int i = 0; i < kUsers; ++i) {
    rows += fmt::format(R"({}["2026-11-22 10:{:02}:00", "2026-11-22 10:{:02}:59", "{}", "u{}", 1, 1])",
                        i == 0 ? "" : ",", i % 60, i % 60, i % 3 == 0 ? "de" : "fr", i);
  }
  hot_.says = {std::vector<HotSegment>{}};
  std::filesystem::remove_all(folder_);
  delta::CreateOptions options;
  options.schema = model::PartialSchema(definition_);
  MILLRACE_ASSERT_OK_AND_ASSIGN(table_, delta::Table::OpenOrCreate(store_, options));
  CommitRows(*testing::BatchFromJson(options.schema, "[" + rows + "]"));
  auto reader = Reader(64 << 20);
  const AggregateRequest one_group{.step_us = 0, .group_by = std::vector<std::string>{}};
  const auto n_where = [&](const char* where) -> Result<std::int64_t> {
    AggregateRequest request = one_group;
    request.where = where;
    ASSIGN_OR_RETURN(const auto answer, reader.Ask(request, {}));
    return N(answer);
  };
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto of_key, n_where("Country = 'de'"));
  EXPECT_EQ(of_key, kUsers / 3);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto of_window, n_where("window_start < TIMESTAMPTZ '2026-11-22 10:15:00Z'"));
  EXPECT_EQ(of_window, kUsers / 4);
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, n_where("user <> 'u7'"));
  // Few of the groups, whether or not statistics and plain comparisons say so.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto of_user, n_where("user = 'u7'"));
  EXPECT_EQ(of_user, 1);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto of_users, n_where("length(\"USER\") = 3 AND country <> 'fr'"));
  EXPECT_EQ(of_users, 30);
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge,
                       n_where("user = 'u7' OR window_start < TIMESTAMPTZ '2026-11-22 09:00:00Z'"));
  AggregateRequest each{.range = {.from = 1'795'341'600'000'000 + 7 * 60'000'000},
                        .where = "user IN ('u6', 'u7', 'u67')"};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto windows, reader.Ask(each, {}));
  EXPECT_EQ(windows.rows->num_rows(), 2);
}

TEST_F(AggregateReaderTest, RowsThatAreKeptForLaterAreNotTheQuestionsOwn) {
  hot_.says = {std::vector<HotSegment>{}};
  Commit(1, 50'000);
  auto reader = Reader(64 << 20, 32 << 20);
  const AggregateRequest one_group{.step_us = 0, .group_by = std::vector<std::string>{}};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, reader.Ask(one_group, {}));
  EXPECT_EQ(N(answer), 3 + 50'000);
  EXPECT_EQ(hot_.asked_with.size(), 1u) << "it was asked again with all of the memory";
}

TEST_F(AggregateReaderTest, WhatTheHotSideRefusesIsTriedWithAllOfTheMemoryOnce) {
  hot_.says = {TooLarge("hot: too many groups")};
  auto reader = Reader();
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, reader.Ask({}, {}));
  ASSERT_EQ(hot_.asked_with.size(), 2u);
  EXPECT_LT(hot_.asked_with[0], hot_.asked_with[1]);
  EXPECT_EQ(hot_.asked_with[1], AnswersBytesMax(1 << 30));
}

TEST_F(AggregateReaderTest, AStoppedQuestionEnds) {
  hot_.says = {std::vector<HotSegment>{{{{kSource, {12, 14}}}, Rows(9)}}};  // Joins never.
  auto reader = Reader();
  std::stop_source stop;
  stop.request_stop();
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, reader.Ask({}, stop.get_token()));
}

}  // namespace
}  // namespace millrace::query
