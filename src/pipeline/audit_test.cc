// The audit: silent on a sound lake, and each kind of damage is found and named.
#include "pipeline/audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "pipeline/test_pipeline_internal.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

class AuditTest : public ::testing::Test {
 protected:
  // Two epochs in every table, with a dead letter, a filtered record, a tombstone and a hole.
  void SetUp() override {
    pipeline_.Start();
    MILLRACE_ASSERT_OK(pipeline_.shard().Process(FetchedRows({0, 10})));
    MILLRACE_ASSERT_OK(pipeline_.CommitAll());
    MILLRACE_ASSERT_OK(pipeline_.shard().Process(
        Fetched({10, 20},
                {{10, Row(10)}, {11, "{"}, {12, Row(-1)}, {13, std::nullopt}, {15, Row(15, "many")}, {16, Row(16)}})));
    MILLRACE_ASSERT_OK(pipeline_.CommitAll());
  }

  AuditReport Report() {
    auto report = Audit(pipeline_.plan(), pipeline_.lake());
    EXPECT_TRUE(report.ok()) << report.status().ToString();
    return *std::move(report);
  }
  std::vector<std::string> Findings(int table) { return Report().tables[table].findings; }

  delta::AddFile AnyFile(int table) { return (*pipeline_.table(table).snapshot()->files.begin()).second; }
  std::filesystem::path PathOf(int table, const delta::AddFile& file) {
    return pipeline_.folder() / pipeline_.plan().tables[table].name / file.path;
  }
  void Commit(int table, const delta::CommitRequest& request) {
    MILLRACE_ASSERT_OK(pipeline_.table(table).Commit(request).status());
  }
  static delta::Txn Txn(std::string id, std::int64_t version) {
    return {.app_id = std::move(id), .version = version, .last_updated_ms = {}};
  }

  TestPipeline pipeline_;
};

TEST_F(AuditTest, ASoundLakeHasNoFindings) {
  const auto report = Report();
  EXPECT_TRUE(report.ok());
  for (const auto& table : report.tables) {
    for (const auto& finding : table.findings) ADD_FAILURE() << table.name << ": " << finding;
  }
  EXPECT_EQ(report.tables[kRaw].rows, 14);
  EXPECT_EQ(report.tables[kRaw].num_files, 2);
  EXPECT_EQ(report.tables[kRaw].totals,
            (model::Ledger{.read = 16, .written = 14, .dead_lettered = 1, .tombstones = 1}));
  EXPECT_EQ(report.tables[kSums].rows, 12);
  EXPECT_EQ(report.tables[kSums].totals,
            (model::Ledger{.read = 16, .written = 12, .dead_lettered = 2, .filtered = 1, .tombstones = 1}));
  EXPECT_EQ(report.tables[kLetters].rows, 2);
  EXPECT_EQ(report.tables[kRaw].next, (model::OffsetVector{{kSource, 20}}));
}

TEST_F(AuditTest, AFileThatIsGoneIsFound) {
  for (const int table : {kRaw, kSums, kLetters}) {
    const auto file = AnyFile(table);
    std::filesystem::remove(PathOf(table, file));
    EXPECT_THAT(Findings(table), Contains(HasSubstr(file.path)));
  }
}

TEST_F(AuditTest, AFileThatWasCutIsFound) {
  const auto file = AnyFile(kRaw);
  std::filesystem::resize_file(PathOf(kRaw, file), static_cast<std::uintmax_t>(file.size - 1));
  EXPECT_THAT(Findings(kRaw), Contains(HasSubstr(file.path)));
}

TEST_F(AuditTest, RowsThatAreThereTwiceAreFound) {
  for (const int table : {kRaw, kSums, kLetters}) {
    auto file = AnyFile(table);
    const auto original = PathOf(table, file);
    file.path = "copy-of-" + original.filename().string();
    std::filesystem::copy(original, PathOf(table, file));
    Commit(table, {.adds = {file}});
  }
  EXPECT_THAT(Findings(kRaw), Contains(HasSubstr("is in the table more than once")));
  EXPECT_THAT(Findings(kSums), Contains(HasSubstr("the books say 12 rows were written")));
  EXPECT_THAT(Findings(kLetters), Contains(HasSubstr("is dead-lettered more than once")));
}

TEST_F(AuditTest, ATotalThatWasChangedIsFound) {
  Commit(kSums, {.txns = {Txn("test-events-0#written", 13)}});
  EXPECT_THAT(Findings(kSums), Contains(HasSubstr("events[0]: read 16 + further 0 is not written 13")));
  EXPECT_THAT(Findings(kSums), Contains(HasSubstr("the books say 13 rows were written, the files hold 12")));
  // Two changes that balance each other do not hide from the files.
  Commit(kRaw, {.txns = {Txn("test-events-0#written", 13), Txn("test-events-0#filtered", 1)}});
  EXPECT_THAT(Findings(kRaw), Contains(HasSubstr("the books say 13 rows were written, the files hold 14")));
  // Nor from the dead letters.
  Commit(kCleaned, {.txns = {Txn("test-events-0#dead_lettered", 1), Txn("test-events-0#filtered", 2)}});
  EXPECT_THAT(Findings(kCleaned),
              Contains(HasSubstr("the books say 1 records were dead-lettered, the dead-letter table holds 2")));
}

TEST_F(AuditTest, MoreRecordsThanOffsetsAreFound) {
  Commit(kRaw, {.txns = {Txn("test-events-0#read", 21), Txn("test-events-0#filtered", 5)}});
  EXPECT_THAT(Findings(kRaw), Contains(HasSubstr("events[0]: 21 records read from the 20 offsets [0, 20)")));
}

TEST_F(AuditTest, AGapBetweenCommitsIsFound) {
  delta::CommitRequest request{.txns = {Txn("test-events-0", 39)}};
  request.info["millrace"] = R"({"partitions":[{"topic":"events","partition":0,"begin":30,"end":40}]})";
  Commit(kCleaned, request);
  EXPECT_THAT(Findings(kCleaned), Contains(HasSubstr("ends at offset 20, but the next commit begins at 30")));
}

TEST_F(AuditTest, AnOffsetThatNoCommitAccountsForIsFound) {
  Commit(kCleaned, {.txns = {Txn("test-events-0", 39)}});
  EXPECT_THAT(Findings(kCleaned), Contains(HasSubstr("the newest commit's books end at offset 20, but 40 comes next")));
}

TEST_F(AuditTest, AnOffsetThatWasMovedBackIsFound) {
  Commit(kRaw, {.txns = {Txn("test-events-0", 14)}});
  EXPECT_THAT(Findings(kRaw), Contains(HasSubstr("rows of offsets 0 to 16, but [0, 15) is covered")));
}

TEST_F(AuditTest, ADeadLetterThatIsMissingIsFound) {
  const auto file = AnyFile(kLetters);
  Commit(kLetters, {.removes = {{.path = file.path,
                                 .deletion_timestamp_ms = 1,
                                 .data_change = true,
                                 .extended_file_metadata = false,
                                 .partition_values = {},
                                 .size = file.size,
                                 .deletion_vector = {}}},
                    .is_blind_append = false});
  EXPECT_THAT(Findings(kLetters), Contains(HasSubstr("the books say 2 rows were written")));
  EXPECT_THAT(Findings(kRaw), Contains(HasSubstr("1 records were dead-lettered, the dead-letter table holds 0")));
}

TEST_F(AuditTest, AnotherWritersCommitInfoIsNotOurs) {
  delta::CommitRequest request{.txns = {Txn("other", 1)}};
  request.info["millrace"] = R"("a text")";
  Commit(kRaw, request);
  EXPECT_TRUE(Report().ok());
}

TEST_F(AuditTest, ATableThatIsNotThereIsNamed) {
  std::filesystem::remove_all(pipeline_.folder() / "sums");
  const auto report = Audit(pipeline_.plan(), pipeline_.lake());
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, report.status());
  EXPECT_THAT(report.status().message(), HasSubstr("table sums"));
}

}  // namespace
}  // namespace millrace::pipeline
