// Properties that other writers set: each is honoured, refused by name, or changes nothing that we do. The same list is
// in docs/lake.md; spark_test.py checks that no property of Spark's connector is missing there.
#include "delta/log/table_properties.h"

#include <arrow/table.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/uuid.h"
#include "delta/append.h"
#include "delta/data/scan.h"
#include "delta/upkeep/compaction.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::delta {
namespace {

namespace fs = std::filesystem;
using arrow::field;
using testing::BatchFromJson;
using Properties = std::map<std::string, std::string>;

constexpr const char* kList = "delta.dataSkippingStatsColumns";
constexpr const char* kNumber = "delta.dataSkippingNumIndexedCols";

class TableProperties : public ::testing::Test {
 protected:
  void SetUp() override { folder_ = fs::temp_directory_path() / ("delta-properties-" + RandomUuid()); }
  void TearDown() override { fs::remove_all(folder_); }

  // A new table each time.
  Result<std::shared_ptr<Table>> Create(const Properties& properties) {
    const std::string path = (folder_ / std::to_string(num_tables_++)).string();
    ARROW_ASSIGN_OR_RAISE(const auto store, objectstore::OpenStore(path));
    return Table::OpenOrCreate(
        store, {.schema = schema_, .partition_columns = {"day"}, .configuration = properties, .name = ""});
  }
  // As another writer's ALTER TABLE would.
  static Status Set(Table& table, const Properties& properties) {
    CommitRequest request;
    request.metadata = table.snapshot()->metadata;
    for (const auto& [key, value] : properties) request.metadata->configuration[key] = value;
    return table.Commit(request).status();
  }
  std::shared_ptr<arrow::RecordBatch> Row(int n) const {
    const std::string number = std::to_string(n);
    return BatchFromJson(
        schema_, "[[" + number + R"(, "d", "text", [1], {"x": )" + number + R"(, "in": {"y": 2, "z.z": 3}}, 4.5]])");
  }
  static std::string StatsOf(const Snapshot& snapshot) {
    return snapshot.files.size() == 1 ? (*snapshot.files.begin()).second.stats.value_or("none") : "not one file";
  }

  const std::shared_ptr<arrow::Schema> schema_ = arrow::schema(
      {field("a", arrow::int64()), field("day", arrow::utf8()), field("T", arrow::utf8()),
       field("l", arrow::list(arrow::int64())),
       field("s",
             arrow::struct_({field("x", arrow::int64()),
                             field("in", arrow::struct_({field("y", arrow::int64()), field("z.z", arrow::int64())}))})),
       field("d", arrow::float64())});
  fs::path folder_;
  int num_tables_ = 0;
};

TEST_F(TableProperties, StatisticsAreOfTheColumnsThatTheTableNames) {
  const std::string all_in_s = R"("s":{"x":0,"in":{"y":0,"z.z":0}})";
  struct Case {
    Properties properties;
    std::string nulls;  // Which columns have statistics is seen by their counts of nulls.
  };
  for (const auto& c : std::vector<Case>{{{}, R"("a":0,"T":0,)" + all_in_s + R"(,"d":0)"},
                                         {{{kNumber, "-1"}}, R"("a":0,"T":0,)" + all_in_s + R"(,"d":0)"},
                                         {{{kNumber, "0"}}, ""},
                                         {{{kNumber, "1"}}, R"("a":0)"},
                                         // The partition column between them does not count.
                                         {{{kNumber, "2"}}, R"("a":0,"T":0)"},
                                         // A list counts, though it has no statistics.
                                         {{{kNumber, "3"}}, R"("a":0,"T":0)"},
                                         {{{kNumber, "5"}}, R"("a":0,"T":0,"s":{"x":0,"in":{"y":0}})"},
                                         {{{kNumber, "6"}}, R"("a":0,"T":0,)" + all_in_s},
                                         {{{kNumber, "7"}}, R"("a":0,"T":0,)" + all_in_s + R"(,"d":0)"},
                                         {{{kNumber, "1000"}}, R"("a":0,"T":0,)" + all_in_s + R"(,"d":0)"},
                                         {{{kList, "d"}}, R"("d":0)"},
                                         // The list wins, has no order, and knows no case, as columns have none.
                                         {{{kList, "D,  t"}, {kNumber, "0"}}, R"("T":0,"d":0)"},
                                         {{{kList, "s"}}, all_in_s},
                                         {{{kList, "s.in.`z.z`"}}, R"("s":{"in":{"z.z":0}})"},
                                         {{{kList, "`s` . `in`, s.in.y"}}, R"("s":{"in":{"y":0,"z.z":0}})"},
                                         {{{kList, "l"}}, ""}}) {
    SCOPED_TRACE(::testing::PrintToString(c.properties));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Create(c.properties));
    const std::string want = R"("nullCount":{)" + c.nulls + "}}";
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto appended, Append(*table, {Row(1)}));
    EXPECT_TRUE(StatsOf(*appended.snapshot).ends_with(want)) << StatsOf(*appended.snapshot);
    // Compaction writes a file of two.
    MILLRACE_ASSERT_OK(Append(*table, {Row(2)}));
    MILLRACE_ASSERT_OK(Compact(*table, {.min_files = 2}));
    EXPECT_TRUE(StatsOf(*table->snapshot()).ends_with(want)) << StatsOf(*table->snapshot());
  }
}

TEST_F(TableProperties, StatisticsFollowAChangeOfTheProperty) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Create({}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto other, Table::Open(table->store()));
  MILLRACE_ASSERT_OK(Set(*other, {{kList, "a"}}));
  MILLRACE_ASSERT_OK(table->Refresh());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto appended, Append(*table, {Row(1)}));
  EXPECT_EQ(StatsOf(*appended.snapshot),
            R"({"numRecords":1,"minValues":{"a":1},"maxValues":{"a":1},"nullCount":{"a":0}})");
}

// The rows of files without statistics are found by every filter, and those with some are left out as before.
TEST_F(TableProperties, FilesWithoutStatisticsAreReadUnderEveryFilter) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Create({{kNumber, "0"}}));
  MILLRACE_ASSERT_OK(Append(*table, {Row(1)}));
  MILLRACE_ASSERT_OK(Set(*table, {{kNumber, "-1"}}));
  MILLRACE_ASSERT_OK(Append(*table, {Row(2)}));
  MILLRACE_ASSERT_OK(Set(*table, {{kList, "s.x"}}));
  MILLRACE_ASSERT_OK(Append(*table, {Row(3)}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto appended, Append(*table, {Row(4)}));
  const std::vector<std::int64_t> files_read = {3, 4, 3, 3};  // The second has statistics, and is left out of others'.
  for (int n = 1; n <= 4; ++n) {
    SCOPED_TRACE(n);
    ScanCounts counts;
    const ScanOptions options{.columns = {"a"}, .where = {{.column = "a", .values = {std::int64_t{n}}}}};
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto scan, OpenScan(table->store(), appended.snapshot, options, &counts));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto rows, scan->ToTable());
    EXPECT_EQ(rows->num_rows(), 1);
    EXPECT_EQ(counts.files_read, files_read[static_cast<std::size_t>(n - 1)]);
  }
}

TEST(StatsColumnsOf, ColumnsThatTheTableDoesNotHaveYetComeLast) {
  const auto known = arrow::schema({field("a", arrow::int64()), field("b", arrow::int64())});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto three, StatsColumnsOf(Metadata{.configuration = {{kNumber, "3"}}}, *known));
  EXPECT_EQ(three.leaves, (std::set<StatsColumns::Path>{{"a"}, {"b"}}));
  EXPECT_EQ(three.num_others, 1);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto listed, StatsColumnsOf(Metadata{.configuration = {{kList, "a"}}}, *known));
  EXPECT_EQ(listed.num_others, 0);
}

TEST_F(TableProperties, EachIsHonouredRefusedByNameOrIgnored) {
  struct Case {
    const char* key;
    const char* value;
    const char* refused = "";      // In the refusal to write; empty: written.
    const char* not_created = "";  // The same for a table that is about to be made, where it differs.
  };
  const char* const protocol = "about a table's protocol";
  for (const auto& c : std::vector<Case>{
           {"delta.appendOnly", "true"},
           {"delta.autoOptimize", "true"},
           {"delta.autoOptimize.autoCompact", "true"},
           {"delta.autoOptimize.optimizeWrite", "true"},
           {"delta.checkpoint.writeStatsAsJson", "false"},
           {"delta.checkpoint.writeStatsAsStruct", "true"},
           {"delta.checkpointInterval", "7"},
           {"delta.checkpointInterval", "0", "checkpointInterval = '0'"},
           {"delta.checkpointInterval", "often", "checkpointInterval = 'often'"},
           {"delta.checkpointPolicy", "classic"},
           {"delta.checkpointPolicy", "v2", "", "v2Checkpoint"},
           {"delta.checkpointRetentionDuration", "interval 2 days"},
           {"delta.columnMapping.mode", "none"},
           {"delta.columnMapping.mode", "name", "", "columnMapping"},
           {"delta.columnMapping.maxColumnId", "5"},
           {"delta.compatibility.symlinkFormatManifest.enabled", "false"},
           {"delta.compatibility.symlinkFormatManifest.enabled", "true", "symlinkFormatManifest"},
           {"delta.constraints.positive", "a > 0", "positive"},
           {kNumber, "12"},
           {kNumber, "-2", "dataSkippingNumIndexedCols = '-2'"},
           {kNumber, "many", "dataSkippingNumIndexedCols = 'many'"},
           {kNumber, "", "dataSkippingNumIndexedCols = ''"},
           {kNumber, "99999999999", "dataSkippingNumIndexedCols"},
           {kList, "a,s.x"},
           {kList, "a,b", "names 'b'"},
           {kList, "s.in.q", "names 's.in.q'"},
           {kList, "a.x", "names 'a.x'"},
           {kList, "day", "names 'day'"},
           {kList, "", "no list of columns"},
           {kList, "a,", "no list of columns"},
           {kList, "a b", "no list of columns"},
           {kList, "`a", "no list of columns"},
           {kList, "s..x", "no list of columns"},
           {"delta.deletedFileRetentionDuration", "interval 3 days"},
           {"delta.enableChangeDataCapture", "true", "", "changeDataFeed"},
           {"delta.enableChangeDataFeed", "true", "", "changeDataFeed"},
           {"delta.enableDeletionVectors", "true", "", "deletionVectors"},
           {"delta.enableDeletionVectors", "false"},
           {"delta.enableExpiredLogCleanup", "false"},
           {"delta.enableFullRetentionRollback", "true"},
           {"delta.enableIcebergCompatV1", "true", "", "icebergCompatV1"},
           {"delta.enableIcebergCompatV2", "true", "", "icebergCompatV2"},
           {"delta.enableInCommitTimestamps", "true", "", "inCommitTimestamp"},
           {"delta.enableRowTracking", "true", "rowTracking"},
           {"delta.enableTypeWidening", "true", "", "typeWidening"},
           {"delta.enableVariantShredding", "true", "", "variantShredding"},
           {"delta.feature.deletionVectors", "supported", "", protocol},
           {"delta.ignoreProtocolDefaults", "true", "", protocol},
           {"delta.isolationLevel", "Serializable"},
           {"delta.isolationLevel", "SnapshotIsolation", "", "must be Serializable"},
           {"delta.logRetentionDuration", "interval 9 days"},
           {"delta.minReaderVersion", "3", "", protocol},
           {"delta.minWriterVersion", "7", "", protocol},
           {"delta.randomPrefixLength", "3"},
           {"delta.randomizeFilePrefixes", "true"},
           {"delta.sampleRetentionDuration", "interval 7 days"},
           {"delta.setTransactionRetentionDuration", "interval 7 days", "setTransactionRetentionDuration"},
           {"delta.targetFileSize", "100mb"},
           {"delta.tuneFileSizesForRewrites", "true"},
           {"delta.universalFormat.enabledFormats", "iceberg"},
           {"delta.nobodyHasHeardOfIt", "x"},
           {"owner", "somebody"}}) {
    SCOPED_TRACE(std::string(c.key) + " = " + c.value);
    const std::string refused = c.refused;
    const std::string not_created = *c.not_created == '\0' ? refused : c.not_created;
    const auto created = Create({{c.key, c.value}});
    if (not_created.empty()) {
      MILLRACE_ASSERT_OK(created);
    } else {
      MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, created);
      EXPECT_NE(created.status().message().find(not_created), std::string::npos) << created.status();
    }
    // A table that has it already: its commit is another writer's.
    Metadata metadata{.id = "1", .schema_string = SchemaToJson(*schema_).ValueOrDie(), .partition_columns = {"day"}};
    metadata.configuration = {{c.key, c.value}};
    const Status writable = CheckProperties(metadata);
    if (refused.empty() || refused == "rowTracking") {
      MILLRACE_ASSERT_OK(writable);  // Row tracking: by CheckWritable(), as the feature.
    } else {
      MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, writable);
      EXPECT_NE(writable.message().find(refused), std::string::npos) << writable;
    }
  }
}

// spark_test.py asks Spark's connector about the same values.
TEST(CheckTableProperties, AValueThatDeltaRefusesIsNamedWithWhatIsAllowed) {
  struct Case {
    const char* key;
    std::vector<const char*> good;
    std::vector<const char*> bad;
    const char* allowed;
  };
  for (const auto& c : std::vector<Case>{
           {"delta.appendOnly",
            {"true", "false", "TRUE", "False"},
            {"maybe", "", "1", "yes", " true"},
            "true or false"},
           {"delta.enableExpiredLogCleanup", {"true", "false"}, {"maybe"}, "true or false"},
           {"delta.enableDeletionVectors", {"false"}, {"maybe"}, "true or false"},
           {"delta.checkpointInterval",
            {"1", "10", "2147483647"},
            {"0", "-1", "often", "", "1.5", "10 ", "2147483648"},
            "a whole number above 0"},
           {kNumber, {"-1", "0", "32"}, {"-2", "all", ""}, "or -1"},
           {"delta.deletedFileRetentionDuration",
            {"interval 7 days", "1 week", "INTERVAL 720 HOURS", "0 hours"},
            {"a week", "7", "1 month", "-1 day", "", "7d"},
            "interval 7 days"},
           {"delta.logRetentionDuration", {"30 days"}, {"forever"}, "interval 7 days"},
           {"delta.checkpointPolicy", {"classic"}, {"v3", "CLASSIC"}, "classic or v2"},
           {"delta.autoOptimize.autoCompact", {"true", "false"}, {"auto"}, "true or false"},
           {"delta.columnMapping.mode", {"none"}, {"names"}, "none, name or id"},
           {"delta.isolationLevel", {"Serializable", "serializable"}, {"WriteSerializable"}, "Serializable"},
           {kList, {"a", "a, s.x"}, {"", "a,", "`a"}, "list of columns"}}) {
    for (const char* value : c.good) {
      MILLRACE_ASSERT_OK(CheckTableProperties({{c.key, value}}));
    }
    for (const char* value : c.bad) {
      const Status status = CheckTableProperties({{"owner", "somebody"}, {c.key, value}});
      MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, status);
      for (const std::string& part : {std::string(c.key), "'" + std::string(value) + "'", std::string(c.allowed)}) {
        EXPECT_NE(status.message().find(part), std::string::npos) << status << "\n" << part;
      }
    }
  }
}

TEST(CheckTableProperties, AKeyInAnotherCaseIsAnsweredWithItsSpelling) {
  const Status status = CheckTableProperties({{"delta.appendonly", "true"}});
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, status);
  EXPECT_EQ(status.message(), "the property delta.appendonly is spelled delta.appendOnly");
}

}  // namespace
}  // namespace millrace::delta
