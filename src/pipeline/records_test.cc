// Records that hold several documents: each document is a row or a letter of its own, through every table, replay and
// audit, and the books count records and documents.
#include <arrow/array.h>
#include <arrow/util/compression.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "delta/data/scan.h"
#include "pipeline/audit.h"
#include "pipeline/places.h"
#include "pipeline/relation_reader.h"
#include "pipeline/replay.h"
#include "pipeline/test_pipeline_internal.h"
#include "testing/manual_clock.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

config::PipelineConfig ConfigOf(ingest::Records records) {
  auto config = TestConfig();
  config.inputs[0].decode.records = records;
  return config;
}
config::PipelineConfig Lines() { return ConfigOf(ingest::Records::kLines); }

/// Takes every txt but "few"; see ReplayTest.
config::PipelineConfig Mended(config::PipelineConfig config) {
  config.transforms[0].sql =
      "SELECT id, coalesce(TRY_CAST(txt AS INTEGER), -1)::INTEGER AS num, ts FROM input "
      "WHERE id >= 0 AND txt <> 'few'";
  return config;
}

std::string Gzip(const std::string& text) {
  const auto codec = arrow::util::Codec::Create(arrow::Compression::GZIP).ValueOrDie();
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(text.data());
  std::string packed(static_cast<std::size_t>(codec->MaxCompressedLen(std::ssize(text), bytes)), '\0');
  packed.resize(static_cast<std::size_t>(
      codec->Compress(std::ssize(text), bytes, std::ssize(packed), reinterpret_cast<std::uint8_t*>(packed.data()))
          .ValueOrDie()));
  return packed;
}

/// Of each row "offset.index", sorted.
std::vector<std::string> PlacesIn(const TestPipeline& pipeline, const std::string& name) {
  auto store = objectstore::Below(pipeline.lake(), name);
  const auto table = delta::Table::Open(store).ValueOrDie();
  const auto rows = delta::OpenScan(table->store(), table->snapshot(), {.columns = {"_offset", "_index"}}).ValueOrDie();
  std::vector<model::DocumentPlace> places;
  for (std::shared_ptr<arrow::RecordBatch> batch;;) {
    EXPECT_TRUE(rows->ReadNext(&batch).ok());
    if (batch == nullptr) break;
    const Places of(*batch, "_offset", "_index");
    for (std::int64_t i = 0; i < batch->num_rows(); ++i) places.push_back(of.At(i));
  }
  std::sort(places.begin(), places.end());
  std::vector<std::string> texts;
  for (const auto place : places) texts.push_back(fmt::format("{}.{}", place.offset, place.index));
  return texts;
}

/// "offset.index stage reason" of each, with "replay N" behind those of replays.
std::vector<std::string> LettersIn(const TestPipeline& pipeline) {
  const auto tables = OpenTablesToRead(pipeline.plan(), pipeline.lake()).ValueOrDie();
  std::vector<std::string> letters;
  const auto keep = [&letters](const StoredLetter& stored) {
    const auto& letter = stored.letter;
    letters.push_back(fmt::format("{}.{} {} {}", letter.offset, letter.index, letter.stage, letter.reason));
    if (stored.replay != 0) letters.back() += fmt::format(" replay {}", stored.replay);
    return Status::OK();
  };
  EXPECT_TRUE(VisitLetters(*tables.back().table, {}, keep).ok());
  return letters;
}

void ExpectBooksBalance(const TestPipeline& pipeline, const Plan* plan = nullptr) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Audit(plan == nullptr ? pipeline.plan() : *plan, pipeline.lake()));
  for (const auto& table : report.tables) {
    for (const auto& finding : table.findings) ADD_FAILURE() << table.name << ": " << finding;
  }
}

/// A record of six documents, one of four, one of none, a tombstone, one of a single document.
model::FetchedRecords Several() {
  return Fetched({0, 8}, {{0, Row(1) + "\n" + Row(2, "many") + "\n{\n\n" + Row(3, "1", kLogTime + kHour) + "\n" +
                                  Row(-4) + "\n" + Row(5)},
                          {2, Row(6) + "\r\n" + Row(7) + "\r\n{}\n" + Row(8, "few") + "\n"},
                          {3, "\n"},
                          {5, std::nullopt},
                          {7, Row(9)}});
}

TEST(RecordsOfDocuments, EachDocumentIsInTheBooksOfEveryTableAndALetterHasItsOwnBytes) {
  TestPipeline pipeline(Lines());
  pipeline.Start();
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Several()));
  std::vector<std::string> letters;
  for (const auto& letter : pipeline.shard().TakeLetters()) {
    letters.push_back(fmt::format("{}.{} {} {}", letter.offset, letter.index, letter.stage, letter.payload));
  }
  EXPECT_THAT(letters,
              UnorderedElementsAre("0.2 decode {", "0.3 event_time " + Row(3, "1", kLogTime + kHour),
                                   "0.1 transform:clean " + Row(2, "many"), "2.3 transform:clean " + Row(8, "few")));
  const auto ledger = [&](int table) {
    return pipeline.shard().Seal(table, 1).ValueOrDie().partitions.at(kSource).ledger;
  };
  EXPECT_EQ(ledger(kRaw), (model::Ledger{.read = 5, .further = 8, .written = 9, .dead_lettered = 2, .tombstones = 2}));
}

TEST(RecordsOfDocuments, TheIndexGoesThroughTransformsIntoTheTables) {
  auto config = Lines();
  config.tables.push_back({.name = "bare", .metadata = false});
  TestPipeline pipeline(std::move(config));
  pipeline.Start();
  MILLRACE_ASSERT_OK(
      pipeline.shard().Process(Fetched({0, 2}, {{0, Row(1) + "\n" + Row(-1) + "\n" + Row(2)}, {1, Row(3)}})));
  MILLRACE_ASSERT_OK(pipeline.CommitAll());
  EXPECT_THAT(PlacesIn(pipeline, "raw"), ElementsAre("0.0", "0.1", "0.2", "1.0"));
  EXPECT_THAT(PlacesIn(pipeline, "cleaned"), ElementsAre("0.0", "0.2", "1.0"));
  EXPECT_EQ(pipeline.plan().tables[2].schema->GetFieldIndex("_index"), -1);
  ExpectBooksBalance(pipeline);
}

TEST(RecordsOfDocuments, OfOneDocumentNothingChanges) {
  TestPipeline pipeline;
  EXPECT_EQ(pipeline.plan().tables[kRaw].schema->GetFieldIndex("_index"), -1);
  pipeline.Start();
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 2}, {{0, Row(1)}, {1, "{"}})));
  MILLRACE_ASSERT_OK(pipeline.CommitAll());
  EXPECT_THAT(LettersIn(pipeline), ElementsAre("1.-1 decode bad_json"));
  EXPECT_FALSE(pipeline.table(kRaw).snapshot()->TxnVersion("test-events-0#further").has_value());
}

TEST(RecordsOfDocuments, AFetchThatBecomesTooMuchIsTakenInPartsWithoutAGap) {
  TestPipeline pipeline(Lines());
  pipeline.Start();
  std::string many;
  for (int i = 0; i < 40'000; ++i) many += Row(i) + "\n";
  std::map<model::Offset, std::optional<std::string>> payloads;
  for (model::Offset offset = 0; offset < 10; offset += 2) payloads[offset] = many;
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 12}, payloads)));
  EXPECT_EQ(pipeline.shard().sink(kRaw).Next(kSource), 12);
  EXPECT_EQ(pipeline.shard().Seal(kRaw, 1).ValueOrDie().partitions.at(kSource).ledger,
            (model::Ledger{.read = 5, .further = 199'995, .written = 200'000}));
}

TEST(RecordsOfDocuments, WhatIsReadAgainIsJudgedAsItWasDocumentByDocument) {
  TestPipeline pipeline(Lines());
  Shard::PartitionStart start{
      .source = kSource,
      .generation = 1,
      .sinks = {{.next = 10}, {.next = 0}, {.next = 10}},
      .letter_stages = {},
      .earlier = std::make_shared<const EarlierJudgements>(EarlierJudgements{
          .end = 10, .letters = {{"decode", {{0, 1}, {4}}}, {"transform:clean", {{0, 2}}}, {"event_time", {{0, 3}}}}}),
      .progress = std::make_shared<PartitionProgress>()};
  pipeline.shard().Start(std::move(start));
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched(
      {0, 10}, {{0, Row(0) + "\n" + Row(1) + "\n" + Row(2) + "\n" + Row(3) + "\n" + Row(4, "many")}, {4, Row(5)}})));
  std::vector<std::string> letters;
  for (const auto& letter : pipeline.shard().TakeLetters()) {
    letters.push_back(fmt::format("{}.{} {}", letter.offset, letter.index, letter.stage));
  }
  EXPECT_THAT(letters, ElementsAre("0.4 table:cleaned"));
  EXPECT_EQ(pipeline.shard().Seal(kCleaned, 1).ValueOrDie().partitions.at(kSource).ledger,
            (model::Ledger{.read = 2, .further = 4, .written = 1, .dead_lettered = 5}));
}

TEST(RecordsOfDocuments, TheTapSeesEachDocument) {
  TestPipeline pipeline(Lines());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto reader, RelationReader::Make(pipeline.shared_plan(), 1));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto made, reader->Read(Several()));
  EXPECT_EQ(static_cast<std::int64_t>(made.num_records) + made.further,
            made.rows->num_rows() + std::ssize(made.letters) + made.filtered + made.tombstones);
  std::set<std::string> payloads;
  for (const auto& letter : made.letters) payloads.insert(letter.payload);
  EXPECT_TRUE(payloads.contains(Row(2, "many")));
}

// ---- Replays ----------------------------------------------------------------------------------------------------

class ReplayedDocumentsTest : public ::testing::Test {
 protected:
  Result<ReplayReport> Replay(const TestPipeline& pipeline, config::PipelineConfig config, ReplayOptions options = {}) {
    return ReplayLetters(MakePlan(std::move(config)).ValueOrDie(), pipeline.lake(), options, clock_);
  }
  testing::ManualClock clock_{kLogTime + 2 * kHour};
};

TEST_F(ReplayedDocumentsTest, ALetterOfOneDocumentBringsThatRowAlone) {
  TestPipeline pipeline(Lines());
  pipeline.Start();
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Several()));
  MILLRACE_ASSERT_OK(pipeline.CommitAll());
  EXPECT_THAT(PlacesIn(pipeline, "cleaned"), ElementsAre("0.0", "0.5", "2.0", "2.1", "7.0"));
  const auto letters = LettersIn(pipeline);
  ExpectBooksBalance(pipeline);

  // A few at a time, so that documents of one record are of several replays.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Replay(pipeline, Mended(Lines()), {.batch_bytes_max = 300}));
  EXPECT_EQ(report.letters, std::ssize(letters));
  EXPECT_GT(report.replays, 1);
  EXPECT_THAT(PlacesIn(pipeline, "raw"),
              ElementsAre("0.0", "0.1", "0.3", "0.4", "0.5", "2.0", "2.1", "2.2", "2.3", "7.0"));
  // 2.2, `{}`, has no id, so it is filtered by now.
  EXPECT_THAT(PlacesIn(pipeline, "cleaned"), ElementsAre("0.0", "0.1", "0.3", "0.5", "2.0", "2.1", "7.0"));
  ExpectBooksBalance(pipeline);
  // The line that is no JSON fails for ever, each time by itself.
  for (int again = 0; again < 2; ++again) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto second, Replay(pipeline, Mended(Lines())));
    EXPECT_EQ(second.letters, 1);
    ExpectBooksBalance(pipeline);
  }
  EXPECT_EQ(std::ssize(LettersIn(pipeline)), std::ssize(letters) + 3);
}

TEST_F(ReplayedDocumentsTest, AWholeRecordBringsAllOfItsDocumentsAndLettersOfThoseThatFail) {
  auto config = ConfigOf(ingest::Records::kArray);
  TestPipeline pipeline(config);
  pipeline.Start();
  const auto packed = Gzip("[" + Row(1) + R"(,{"id":"x"},)" + Row(-3) + "," + Row(4) + "]");
  MILLRACE_ASSERT_OK(
      pipeline.shard().Process(Fetched({0, 3}, {{0, "[" + Row(0) + "]"}, {1, packed}, {2, Gzip("[]")}})));
  MILLRACE_ASSERT_OK(pipeline.CommitAll());
  EXPECT_THAT(LettersIn(pipeline), UnorderedElementsAre("1.-1 decode bad_json", "2.-1 decode bad_json"));

  config.inputs[0].decode.compression = ingest::Compression::kAuto;
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto report, Replay(pipeline, config));
  EXPECT_EQ(report.letters, 2);
  EXPECT_THAT(PlacesIn(pipeline, "raw"), ElementsAre("0.0", "1.0", "1.2", "1.3"));
  EXPECT_THAT(PlacesIn(pipeline, "cleaned"), ElementsAre("0.0", "1.0", "1.3"));
  EXPECT_THAT(LettersIn(pipeline), UnorderedElementsAre("1.-1 decode bad_json", "2.-1 decode bad_json",
                                                        "1.1 decode type_mismatch replay 1"));
  ExpectBooksBalance(pipeline);

  // From now on the document alone is open.
  MILLRACE_ASSERT_OK_AND_ASSIGN(report, Replay(pipeline, config));
  EXPECT_EQ(report.letters, 1);
  ExpectBooksBalance(pipeline);

  // A table that comes later reads the record, is told that it is dead, and gets it by a replay: once.
  config.tables.push_back({.name = "late"});
  TestPipeline later(config);
  std::filesystem::remove_all(later.folder());
  std::filesystem::copy(pipeline.folder(), later.folder(), std::filesystem::copy_options::recursive);
  const auto plan = later.shared_plan();
  MILLRACE_ASSERT_OK(OpenTables(*plan, later.lake()).status());
  // The worker that read it for `late` left all of it to the letters.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto tables, OpenTables(*plan, later.lake()));
  const auto& late = tables[2];
  ASSERT_EQ(plan->tables[2].name, "late");
  PartitionPart part{.range = {0, 3}, .ledger = {.read = 3, .written = 0, .dead_lettered = 2, .filtered = 1}};
  delta::CommitRequest request;
  for (auto& txn : late.progress.Advance(*late.table->snapshot(), kSource, part))
    request.txns.push_back(std::move(txn));
  for (auto& txn : late.progress.Markers(*late.table->snapshot(), {kSource})) request.txns.push_back(std::move(txn));
  MILLRACE_ASSERT_OK(late.table->Commit(request).status());
  MILLRACE_ASSERT_OK_AND_ASSIGN(report, Replay(later, config));
  EXPECT_EQ(report.letters, 3) << "two records for the table that is late, and the document for the others";
  EXPECT_THAT(PlacesIn(later, "late"), ElementsAre("1.0", "1.2", "1.3"));
  EXPECT_THAT(PlacesIn(later, "raw"), ElementsAre("0.0", "1.0", "1.2", "1.3"));
  ExpectBooksBalance(later);
}

TEST_F(ReplayedDocumentsTest, DyingAtAnyRequestLosesAndDoublesNothing) {
  for (int nth = 1;; ++nth) {
    SCOPED_TRACE(nth);
    TestPipeline pipeline(Lines());
    pipeline.Start();
    MILLRACE_ASSERT_OK(pipeline.shard().Process(Several()));
    MILLRACE_ASSERT_OK(pipeline.CommitAll());
    pipeline.store().Inject(testing::StoreOperation::kPutIfAbsent, nth, testing::StoreFault::kCrashAfter);
    const bool died = !Replay(pipeline, Mended(Lines())).ok();
    ExpectBooksBalance(pipeline);
    if (!died) {
      EXPECT_GT(nth, 3) << "there are that many requests";
      break;
    }
    MILLRACE_ASSERT_OK(Replay(pipeline, Mended(Lines())).status());
    EXPECT_THAT(PlacesIn(pipeline, "cleaned"), ElementsAre("0.0", "0.1", "0.3", "0.5", "2.0", "2.1", "7.0"));
    ExpectBooksBalance(pipeline);
  }
}

}  // namespace
}  // namespace millrace::pipeline
