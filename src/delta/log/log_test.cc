// The log as text and as state: actions and schemas there and back, replay of good and broken logs, checkpoints. Broken
// logs are made by writing their files by hand into a fresh folder.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/uuid.h"
#include "delta/log/action_json.h"
#include "delta/log/checkpoint.h"
#include "delta/log/log_replay.h"
#include "delta/log/protocol_support.h"
#include "delta/table.h"
#include "delta/text/json_text.h"
#include "delta/text/time_text.h"
#include "testing/faulty_store.h"
#include "testing/status_matchers.h"

namespace millrace::delta {
namespace {

namespace fs = std::filesystem;

constexpr const char* kProtocolLine = R"({"protocol":{"minReaderVersion":1,"minWriterVersion":2}})";

std::string MetadataLine(const std::string& configuration = "{}", const std::string& field_metadata = "{}") {
  const std::string schema =
      R"({"type":"struct","fields":[{"name":"n","type":"long","nullable":true,"metadata":)" + field_metadata + "}]}";
  return R"({"metaData":{"id":"t","format":{"provider":"parquet","options":{}},"schemaString":)" + Quoted(schema) +
         R"(,"partitionColumns":[],"configuration":)" + configuration + "}}";
}

std::string AddLine(const std::string& path, std::int64_t size = 10) {
  return R"({"add":{"path":")" + path + R"(","partitionValues":{},"size":)" + std::to_string(size) +
         R"(,"modificationTime":1,"dataChange":true}})";
}

std::string TxnLine(const std::string& app_id, std::int64_t version) {
  return R"({"txn":{"appId":")" + app_id + R"(","version":)" + std::to_string(version) + "}}";
}

class LogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("delta-log-" + RandomUuid());
    MILLRACE_ASSERT_OK_AND_ASSIGN(store_, objectstore::OpenStore(folder_.string()));
  }
  void TearDown() override { fs::remove_all(folder_); }

  void Put(const std::string& name, const std::string& text) {
    ASSERT_TRUE(store_->Put("_delta_log/" + name, text).ok());
  }
  void Commit(TableVersion version, const std::vector<std::string>& lines) {
    std::string text;
    for (const auto& line : lines) text += line + "\n";
    ASSERT_TRUE(store_->Put(CommitKey(version), text).ok());
  }
  // Versions 0 to `last`: version v adds file f<v> and moves application "a" to v.
  void GoodLog(TableVersion last) {
    Commit(0, {kProtocolLine, MetadataLine(), AddLine("f0"), TxnLine("a", 0)});
    for (TableVersion v = 1; v <= last; ++v) Commit(v, {AddLine("f" + std::to_string(v)), TxnLine("a", v)});
  }
  Status CheckpointAt(TableVersion version) {
    // The snapshot of an older version: open a copy of the log that ends there.
    ARROW_ASSIGN_OR_RAISE(auto copy, objectstore::OpenStore((folder_ / "copy").string()));
    for (TableVersion v = 0; v <= version; ++v) {
      ARROW_ASSIGN_OR_RAISE(auto bytes, store_->Read(CommitKey(v)));
      ARROW_RETURN_NOT_OK(copy->Put(CommitKey(v), std::string_view(*bytes)));
    }
    ARROW_ASSIGN_OR_RAISE(auto snapshot, LoadLatest(*copy));
    fs::remove_all(folder_ / "copy");
    return WriteCheckpointFile(*store_, *snapshot, 0);
  }
  Status OpenStatus() { return LoadLatest(*store_).status(); }

  fs::path folder_;
  std::shared_ptr<objectstore::ObjectStore> store_;
};

TEST(ActionJson, EncodeThenDecodeIsTheIdentity) {
  AddFile add{.path = "d=1/f%20x.parquet",
              .partition_values = {{"d", "1"}, {"e", std::nullopt}},
              .size = 123,
              .modification_time_ms = 5,
              .data_change = false,
              .stats = R"({"numRecords":1,"minValues":{"s":"\"\\"}})",
              .deletion_vector = DeletionVectorDescriptor{"u", "ab^-", 3, 40, 2},
              .tags = {{"k", "v"}}};
  RemoveFile remove{.path = "f",
                    .deletion_timestamp_ms = 7,
                    .data_change = false,
                    .extended_file_metadata = true,
                    .partition_values = {{"d", "1"}},
                    .size = 9,
                    .deletion_vector = std::nullopt};
  Protocol protocol{3, 7, {{"timestampNtz"}}, std::vector<std::string>{}};
  Metadata metadata{.id = "i",
                    .name = "n",
                    .description = std::nullopt,
                    .schema_string = "{\"a\":\"\\u0001\n\"}",
                    .partition_columns = {"d"},
                    .configuration = {{"delta.appendOnly", "true"}},
                    .created_time_ms = 11};
  std::string text;
  for (const Action& action :
       std::vector<Action>{CommitInfo{R"({"txnId":"x","n":[1,{"a":null}]})", "x"}, protocol, metadata, Txn{"a", 3, 4},
                           Txn{"b", -1, std::nullopt}, add, remove, DomainMetadata{"d", "{}", true}}) {
    AppendActionLine(text, action);
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto actions, ParseCommit(text, "test"));
  std::string again;
  for (const auto& action : actions) AppendActionLine(again, action);
  EXPECT_EQ(again, text);
  ASSERT_EQ(actions.size(), 8u);
  EXPECT_EQ(std::get<CommitInfo>(actions[0]).txn_id, "x");
  EXPECT_EQ(std::get<AddFile>(actions[5]).stats, add.stats);
  EXPECT_EQ(std::get<AddFile>(actions[5]).partition_values, add.partition_values);
}

TEST(ActionJson, UnknownActionsAndMembersAreIgnored) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto actions,
      ParseCommit("{\"cdc\":{\"path\":\"x\"}}\n\n{\"txn\":{\"appId\":\"a\",\"version\":1,\"new\":[]}}\r\n", "t"));
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(std::get<Txn>(actions[0]).version, 1);
}

TEST(ActionJson, UnknownActionsOfAnyTypeAndAnyCommitInfoAreIgnored) {
  for (const char* value : {R"(["x", 1])", R"("x")", "5", "-1.5", "true", "null", "[]", R"([{"path": "x"}])"}) {
    for (const char* kind : {"newAction", "commitInfo", "add2"}) {
      SCOPED_TRACE(std::string(kind) + ": " + value);
      const std::string line = std::string("{\"") + kind + "\": " + value + "}\n";
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto actions,
                                    ParseCommit(line + "{\"txn\":{\"appId\":\"a\",\"version\":1}}\n" + line, "t"));
      ASSERT_EQ(actions.size(), 1u);
      EXPECT_EQ(std::get<Txn>(actions[0]).version, 1);
      // A commit may have nothing else.
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto none, ParseCommit(line, "t"));
      EXPECT_TRUE(none.empty());
    }
    // What a table consists of must be what it says.
    for (const char* kind : {"add", "remove", "txn", "protocol", "metaData", "domainMetadata", "sidecar"}) {
      if (std::string_view(value) == "null") continue;
      SCOPED_TRACE(std::string(kind) + ": " + value);
      MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, ParseCommit(std::string("{\"") + kind + "\": " + value + "}", "t"));
    }
  }
}

TEST(ActionJson, AByteOrderMarkBeginsACommitAndNothingElse) {
  const std::string line = "{\"txn\":{\"appId\":\"a\",\"version\":1}}\n";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto actions, ParseCommit("\xEF\xBB\xBF" + line, "t"));
  EXPECT_EQ(actions.size(), 1u);
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, ParseCommit(line + "\xEF\xBB\xBF" + line, "t"));
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, ParseCommit("\xEF\xBB\xBF", "t"));
}

TEST(ActionJson, InvalidUtf8IsReplacedSoThatTheCommitStaysReadable) {
  std::string text;
  AppendActionLine(text, Txn{"a\xFF\x80 \xED\xA0\x80 \xC3\xA9", 1, std::nullopt});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto actions, ParseCommit(text, "t"));
  EXPECT_EQ(std::get<Txn>(actions[0]).app_id.find("\xC3\xA9"), std::get<Txn>(actions[0]).app_id.size() - 2);
}

TEST_F(LogTest, BrokenCommitsAreCorruptAndNamed) {
  const std::string good = AddLine("f1");
  struct Case {
    const char* name;
    std::string text;
    std::string want;  // In the message.
  };
  const std::vector<Case> cases = {
      {"zero length", "", "empty"},
      {"blank lines", "\n \n", "empty"},
      {"garbage", "hello", "not JSON"},
      {"cut off", good.substr(0, good.size() / 2), "not JSON"},
      {"second line cut off", good + "\n" + good.substr(0, 20), "line 2"},
      {"not an object", "[1]", "expected an object"},
      {"action not an object", R"({"add":3})", "add"},
      {"not UTF-8", "{\"txn\":{\"appId\":\"\xFF\",\"version\":1}}", "UTF-8"},
      {"add without path", R"({"add":{"partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}})",
       "add.path"},
      {"add without size", R"({"add":{"path":"x","partitionValues":{},"modificationTime":1,"dataChange":true}})",
       "add.size"},
      {"size is text", R"({"add":{"path":"x","partitionValues":{},"size":"1","modificationTime":1,"dataChange":true}})",
       "add.size"},
      {"txn version too large", R"({"txn":{"appId":"a","version":99999999999999999999}})", "number"},
      {"remove without path", R"({"remove":{"dataChange":true}})", "remove.path"},
      {"protocol out of range", R"({"protocol":{"minReaderVersion":99999999999,"minWriterVersion":2}})",
       "minReaderVersion"},
      {"nul bytes", std::string(100, '\0'), "not JSON"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    GoodLog(2);
    Put("00000000000000000001.json", c.text);
    const Status status = OpenStatus();
    MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, status);
    EXPECT_NE(status.message().find("00000000000000000001.json"), std::string::npos) << status;
    EXPECT_NE(status.message().find(c.want), std::string::npos) << status;
  }
}

TEST_F(LogTest, GapsAreCorruptAndNamed) {
  GoodLog(5);
  MILLRACE_ASSERT_OK(store_->Delete(CommitKey(3)));
  const Status status = OpenStatus();
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, status);
  EXPECT_NE(status.message().find(CommitKey(3)), std::string::npos) << status;
  MILLRACE_ASSERT_OK(store_->Delete(CommitKey(0)));
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, OpenStatus());
}

TEST_F(LogTest, MissingProtocolMetadataOrLog) {
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, OpenStatus());
  Commit(0, {MetadataLine()});
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, OpenStatus());
  Commit(0, {kProtocolLine});
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, OpenStatus());
}

TEST_F(LogTest, ReplayReconcilesFilesAndTransactions) {
  GoodLog(3);
  Commit(4, {R"({"remove":{"path":"f1","deletionTimestamp":5,"dataChange":true}})", AddLine("f2", 25)});
  Put("00000000000000000002.00000000000000000004.compacted.json", "ignored");
  Put(".00000000000000000005.json.tmp", "ignored");
  Put("00000000000000000004.crc", "ignored");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto snapshot, LoadLatest(*store_));
  EXPECT_EQ(snapshot->version, 4);
  EXPECT_EQ(snapshot->files.size(), 3u);
  EXPECT_EQ(snapshot->files.Find("f1"), nullptr);
  EXPECT_EQ(snapshot->files.Find("f2")->size, 25);
  EXPECT_EQ(snapshot->num_bytes, 10 + 25 + 10);
  EXPECT_EQ(snapshot->tombstones.size(), 1u);
  EXPECT_EQ(snapshot->TxnVersion("a"), 3);
  EXPECT_EQ(snapshot->TxnVersion("b"), std::nullopt);
}

TEST_F(LogTest, CheckpointAloneKeepsEverything) {
  GoodLog(3);
  Commit(
      4,
      {R"({"remove":{"path":"f1","deletionTimestamp":5,"dataChange":true,"extendedFileMetadata":true,"partitionValues":{"d":null},"size":10}})",
       TxnLine("b", 7), R"({"domainMetadata":{"domain":"d","configuration":"{}","removed":false}})"});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto before, LoadLatest(*store_));
  MILLRACE_ASSERT_OK(WriteCheckpointFile(*store_, *before, 6));
  for (TableVersion v = 0; v <= 4; ++v) MILLRACE_ASSERT_OK(store_->Delete(CommitKey(v)));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto after, LoadLatest(*store_));
  EXPECT_EQ(after->version, 4);
  EXPECT_EQ(after->TxnVersion("a"), 3);
  EXPECT_EQ(after->TxnVersion("b"), 7);
  EXPECT_EQ(after->files.size(), 3u);
  EXPECT_EQ(after->num_bytes, before->num_bytes);
  ASSERT_EQ(after->tombstones.size(), 1u);
  EXPECT_EQ(after->tombstones.Find("f1")->deletion_timestamp_ms, 5);
  EXPECT_EQ(after->tombstones.Find("f1")->partition_values, (PartitionValues{{"d", std::nullopt}}));
  EXPECT_EQ(after->domains.count("d"), 1u);
  EXPECT_EQ(after->metadata.schema_string, before->metadata.schema_string);
}

TEST_F(LogTest, OldTombstonesLeaveTheCheckpointTransactionsNever) {
  GoodLog(1);
  Commit(2, {R"({"remove":{"path":"f0","deletionTimestamp":1000,"dataChange":true}})"});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto before, LoadLatest(*store_));
  const std::int64_t ten_days_ms = 10LL * 86'400'000;
  MILLRACE_ASSERT_OK(WriteCheckpointFile(*store_, *before, ten_days_ms));
  for (TableVersion v = 0; v <= 2; ++v) MILLRACE_ASSERT_OK(store_->Delete(CommitKey(v)));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto after, LoadLatest(*store_));
  EXPECT_TRUE(after->tombstones.empty());
  EXPECT_EQ(after->TxnVersion("a"), 1);
}

TEST_F(LogTest, LastCheckpointIsOnlyAHint) {
  GoodLog(6);
  MILLRACE_ASSERT_OK(CheckpointAt(2));
  MILLRACE_ASSERT_OK(CheckpointAt(4));
  for (const char* hint :
       {"", "garbage", "{}", R"({"version":"x"})", R"({"version":3,"size":1})", R"({"version":2,"size":1})",
        R"({"version":4,"size":1})", R"({"version":-1})", R"({"version":99,"size":1})", "\xFF\xFE"}) {
    SCOPED_TRACE(hint);
    Put("_last_checkpoint", hint);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto snapshot, LoadLatest(*store_));
    EXPECT_EQ(snapshot->version, 6);
    EXPECT_EQ(snapshot->files.size(), 7u);
  }
}

TEST_F(LogTest, BrokenCheckpointFallsBackOnlyWhereNothingIsLost) {
  GoodLog(6);
  MILLRACE_ASSERT_OK(CheckpointAt(2));
  MILLRACE_ASSERT_OK(CheckpointAt(4));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto whole, store_->Read(CheckpointKey(4)));
  for (const std::string& broken :
       {std::string(), std::string("PAR1"), std::string(1000, 'x'),
        std::string(std::string_view(*whole)).substr(0, static_cast<std::size_t>(whole->size() / 2))}) {
    MILLRACE_ASSERT_OK(store_->Put(CheckpointKey(4), broken));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto snapshot, LoadLatest(*store_));
    EXPECT_EQ(snapshot->version, 6);
    EXPECT_EQ(snapshot->files.size(), 7u);
  }
  // Without commit 3 the older checkpoint no longer leads to version 6.
  MILLRACE_ASSERT_OK(store_->Delete(CommitKey(3)));
  const Status status = OpenStatus();
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, status);
  EXPECT_NE(status.message().find(CheckpointKey(4)), std::string::npos) << status;
}

TEST_F(LogTest, BrokenCheckpointIsReplacedByTheNextWrite) {
  GoodLog(3);
  MILLRACE_ASSERT_OK(store_->Put(CheckpointKey(3), "broken"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto snapshot, LoadLatest(*store_));
  MILLRACE_ASSERT_OK(WriteCheckpointFile(*store_, *snapshot, 0));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto hint, ReadLastCheckpointHint(*store_));
  EXPECT_EQ(hint, 3);
  std::int64_t rows = 0;
  MILLRACE_ASSERT_OK(ReadCheckpointFiles(*store_, {CheckpointKey(3)}, [&](Action&&) {
    ++rows;
    return Status::OK();
  }));
  EXPECT_EQ(rows, 2 + 1 + 4);
}

TEST_F(LogTest, CheckpointThatCannotBeReadBackIsNotPointedAt) {
  GoodLog(3);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto snapshot, LoadLatest(*store_));
  testing::FaultyStore faulty(store_);
  faulty.Inject(testing::StoreOperation::kOpen, 2, testing::StoreFault::kFail, "checkpoint");
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, WriteCheckpointFile(faulty, *snapshot, 0));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto hint, ReadLastCheckpointHint(*store_));
  EXPECT_EQ(hint, std::nullopt);
  MILLRACE_ASSERT_OK(WriteCheckpointFile(faulty, *snapshot, 0));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto later, ReadLastCheckpointHint(*store_));
  EXPECT_EQ(later, 3);
}

TEST_F(LogTest, UnfinishedMultiPartCheckpointIsIgnored) {
  GoodLog(3);
  Put("00000000000000000002.checkpoint.0000000001.0000000002.parquet", "never read");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto snapshot, LoadLatest(*store_));
  EXPECT_EQ(snapshot->files.size(), 4u);
}

TEST_F(LogTest, V2CheckpointsWithAndWithoutSidecars) {
  GoodLog(3);
  const std::string name = "00000000000000000002.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json";
  const std::string head = R"({"checkpointMetadata":{"version":2}})" + std::string("\n") + kProtocolLine + "\n" +
                           MetadataLine() + "\n" + TxnLine("a", 2) + "\n";
  const auto sidecar = [](const std::string& path) {
    return R"({"sidecar":{"path":")" + path + R"(","sizeInBytes":1,"modificationTime":1}})";
  };
  for (TableVersion v = 0; v <= 2; ++v) MILLRACE_ASSERT_OK(store_->Delete(CommitKey(v)));
  Put(name, head + AddLine("f0") + "\n" + AddLine("f1") + "\n" + AddLine("f2"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto inline_files, LoadLatest(*store_));
  EXPECT_EQ(inline_files->files.size(), 4u);
  EXPECT_EQ(inline_files->TxnVersion("a"), 3);

  // A sidecar has the form of a classic checkpoint without the actions that are not about files.
  MILLRACE_ASSERT_OK(WriteCheckpointFile(*store_, *inline_files, 0));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto bytes, store_->Read(CheckpointKey(3)));
  MILLRACE_ASSERT_OK(store_->Delete(CheckpointKey(3)));
  MILLRACE_ASSERT_OK(store_->Delete(kLastCheckpointKey));
  MILLRACE_ASSERT_OK(store_->Put("_delta_log/_sidecars/s1.parquet", std::string_view(*bytes)));
  Put(name, head + sidecar("s1.parquet"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto with_sidecar, LoadLatest(*store_));
  EXPECT_EQ(with_sidecar->files.size(), 4u);

  struct Case {
    std::string text;
    ErrorKind kind;
    std::string want;
  };
  for (const auto& c : std::vector<Case>{{"{}", ErrorKind::kCorrupt, "no protocol"},
                                         {"broken", ErrorKind::kCorrupt, name},
                                         {head + sidecar("missing.parquet"), ErrorKind::kCorrupt, "missing.parquet"},
                                         {head + sidecar("../../x.parquet"), ErrorKind::kCorrupt, "x.parquet"},
                                         {head + sidecar("a/b.parquet"), ErrorKind::kCorrupt, "a/b.parquet"},
                                         {head + sidecar("file:///etc/passwd"), ErrorKind::kUnsupported, "passwd"}}) {
    SCOPED_TRACE(c.text);
    Put(name, c.text);
    const Status status = OpenStatus();
    MILLRACE_ASSERT_KIND(c.kind, status);
    EXPECT_NE(status.message().find(c.want), std::string::npos) << status;
  }
}

TEST_F(LogTest, ProtocolSupportByName) {
  struct Case {
    const char* name;
    std::string protocol;
    std::string configuration;
    std::string field_metadata;
    std::string read;   // In the reader's refusal; empty: readable.
    std::string write;  // In the writer's refusal; empty: writable.
  };
  const std::string v12 = R"("minReaderVersion":1,"minWriterVersion":2)";
  const std::string v37 = R"("minReaderVersion":3,"minWriterVersion":7)";
  const std::vector<Case> cases = {
      {"plain", v12, "{}", "{}", "", ""},
      {"no lists at 3/7", v37, "{}", "{}", "", ""},
      {"empty lists at 3/7", v37 + R"(,"readerFeatures":[],"writerFeatures":[])", "{}", "{}", "", ""},
      {"reader 4", R"("minReaderVersion":4,"minWriterVersion":7)", "{}", "{}", "reader version 4", ""},
      {"writer 8", R"("minReaderVersion":1,"minWriterVersion":8)", "{}", "{}", "", "writer version 8"},
      {"unknown reader feature", v37 + R"(,"readerFeatures":["x1"],"writerFeatures":["x1"])", "{}", "{}", "x1", "x1"},
      {"unknown writer feature", v37 + R"(,"readerFeatures":[],"writerFeatures":["clustering"])", "{}", "{}", "",
       "clustering"},
      {"ntz", v37 + R"(,"readerFeatures":["timestampNtz"],"writerFeatures":["timestampNtz"])", "{}", "{}", "", ""},
      {"v2 checkpoints", v37 + R"(,"readerFeatures":["v2Checkpoint"],"writerFeatures":["v2Checkpoint"])", "{}", "{}",
       "", ""},
      {"vectors listed, none in use",
       v37 + R"(,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"])", "{}", "{}", "", ""},
      {"column mapping", R"("minReaderVersion":2,"minWriterVersion":5)", R"({"delta.columnMapping.mode":"name"})", "{}",
       "", "columnMapping"},
      {"column mapping of an unknown mode", R"("minReaderVersion":2,"minWriterVersion":5)",
       R"({"delta.columnMapping.mode":"x"})", "{}", "columnMapping", ""},
      {"column mapping without the feature", v12, R"({"delta.columnMapping.mode":"name"})", "{}", "", ""},
      {"type widening", v37 + R"(,"readerFeatures":["typeWidening"],"writerFeatures":["typeWidening"])", "{}", "{}", "",
       "typeWidening"},
      {"column mapping none", R"("minReaderVersion":2,"minWriterVersion":5)", R"({"delta.columnMapping.mode":"none"})",
       "{}", "", ""},
      {"legacy 6 without use", R"("minReaderVersion":1,"minWriterVersion":6)", "{}", "{}", "", ""},
      {"constraint", R"("minReaderVersion":1,"minWriterVersion":3)", R"({"delta.constraints.positive":"n > 0"})", "{}",
       "", "positive"},
      {"invariant", v12, "{}", R"({"delta.invariants":"{}"})", "", "invariants"},
      {"generated", R"("minReaderVersion":1,"minWriterVersion":4)", "{}", R"({"delta.generationExpression":"1"})", "",
       "generatedColumns"},
      {"identity", R"("minReaderVersion":1,"minWriterVersion":6)", "{}", R"({"delta.identity.start":1})", "",
       "identityColumns"},
      {"default", v37 + R"(,"readerFeatures":[],"writerFeatures":["allowColumnDefaults"])", "{}",
       R"({"CURRENT_DEFAULT":"1"})", "", "allowColumnDefaults"},
      {"append only", v12, R"({"delta.appendOnly":"true"})", "{}", "", ""},
      {"retention of transactions", v12, R"({"delta.setTransactionRetentionDuration":"interval 1 day"})", "{}", "",
       "setTransactionRetentionDuration"},
      {"in-commit timestamps", v37 + R"(,"readerFeatures":[],"writerFeatures":["inCommitTimestamp"])",
       R"({"delta.enableInCommitTimestamps":"true"})", "{}", "", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Commit(0, {R"({"protocol":{)" + c.protocol + "}}", MetadataLine(c.configuration, c.field_metadata)});
    const auto table = Table::Open(store_);
    if (!c.read.empty()) {
      MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, table);
      EXPECT_NE(table.status().message().find(c.read), std::string::npos) << table.status();
      continue;
    }
    MILLRACE_ASSERT_OK(table);
    const Status status = (*table)->CheckWritable();
    if (c.write.empty()) {
      MILLRACE_ASSERT_OK(status);
    } else {
      MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, status);
      EXPECT_NE(status.message().find(c.write), std::string::npos) << status;
      MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, (*table)->Commit({}));
      MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, (*table)->WriteCheckpoint());
    }
  }
}

TEST_F(LogTest, CompactedCommitsAreUsedWhereTheyCanBeRead) {
  GoodLog(5);
  // Says something that the commits do not: so it is seen whether it was read.
  Put("00000000000000000001.00000000000000000004.compacted.json", AddLine("from-compaction") + "\n" + TxnLine("a", 4));
  Put("00000000000000000001.00000000000000000009.compacted.json", AddLine("beyond-the-end"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto snapshot, LoadLatest(*store_));
  EXPECT_EQ(snapshot->files.size(), 3u);
  EXPECT_NE(snapshot->files.Find("from-compaction"), nullptr);
  EXPECT_EQ(snapshot->TxnVersion("a"), 5);
  Put("00000000000000000001.00000000000000000004.compacted.json", "broken");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto again, LoadLatest(*store_));
  EXPECT_EQ(again->files.size(), 6u);
}

TEST_F(LogTest, OlderVersionsByNumber) {
  GoodLog(6);
  MILLRACE_ASSERT_OK(CheckpointAt(4));
  for (TableVersion v = 0; v <= 6; ++v) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto snapshot, LoadVersion(*store_, v));
    EXPECT_EQ(snapshot->version, v);
    EXPECT_EQ(snapshot->TxnVersion("a"), v);
    EXPECT_EQ(snapshot->files.size(), static_cast<std::size_t>(v) + 1);
  }
  for (const TableVersion none : {-1, 7}) MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, LoadVersion(*store_, none));
  for (TableVersion v = 0; v <= 3; ++v) MILLRACE_ASSERT_OK(store_->Delete(CommitKey(v)));
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, LoadVersion(*store_, 3));
  MILLRACE_ASSERT_OK(LoadVersion(*store_, 4));
}

TEST_F(LogTest, OlderVersionsByTheTimesOfTheirFiles) {
  GoodLog(3);
  const auto set_time = [&](TableVersion v, std::int64_t seconds) {
    fs::last_write_time(folder_ / CommitKey(v),
                        std::chrono::file_clock::from_sys(std::chrono::sys_seconds(std::chrono::seconds(seconds))));
  };
  set_time(0, 1000);
  set_time(1, 2000);
  set_time(2, 1500);  // A clock that stepped back: counts as 1 ms after version 1.
  set_time(3, 3000);
  struct Case {
    std::int64_t at_ms;
    TableVersion want;
  };
  for (const auto& c : std::vector<Case>{{1'000'000, 0},
                                         {1'999'999, 0},
                                         {2'000'000, 1},
                                         {2'000'001, 2},
                                         {2'999'999, 2},
                                         {3'000'000, 3},
                                         {9'000'000'000, 3}}) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto version, VersionAsOf(*store_, c.at_ms));
    EXPECT_EQ(version, c.want) << c.at_ms;
  }
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, VersionAsOf(*store_, 999'999));
}

TEST_F(LogTest, InCommitTimestampsAreReadAndWritten) {
  const auto stamped = [](std::int64_t ms) {
    return R"({"commitInfo":{"inCommitTimestamp":)" + std::to_string(ms) + R"(,"timestamp":1}})";
  };
  constexpr std::int64_t kFarFuture = 99'000'000'000'000;
  Commit(0, {stamped(1000),
             R"({"protocol":{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["inCommitTimestamp"]}})",
             MetadataLine(R"({"delta.enableInCommitTimestamps":"true"})")});
  Commit(1, {stamped(2000), AddLine("f1")});
  Commit(2, {stamped(kFarFuture), AddLine("f2")});
  EXPECT_EQ(VersionAsOf(*store_, 1000).ValueOr(-1), 0);
  EXPECT_EQ(VersionAsOf(*store_, 1999).ValueOr(-1), 0);
  EXPECT_EQ(VersionAsOf(*store_, 2000).ValueOr(-1), 1);
  EXPECT_EQ(VersionAsOf(*store_, kFarFuture).ValueOr(-1), 2);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, VersionAsOf(*store_, 999));

  // The next is later than the last, whatever the clock says, also when only a checkpoint tells of the last.
  for (const bool from_checkpoint : {false, true}) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Table::Open(store_));
    CommitRequest request;
    request.txns = {{from_checkpoint ? "c" : "a", 1, std::nullopt}};
    MILLRACE_ASSERT_OK(table->Commit(request));
    const auto last = table->snapshot()->in_commit_timestamp_ms;
    EXPECT_EQ(last, kFarFuture + (from_checkpoint ? 2 : 1));
    MILLRACE_ASSERT_OK(table->WriteCheckpoint());
  }
}

TEST(SchemaJson, ThereAndBack) {
  const auto schema = arrow::schema({
      arrow::field("s", arrow::utf8(), false),
      arrow::field("b", arrow::binary()),
      arrow::field("t", arrow::boolean()),
      arrow::field("i8", arrow::int8()),
      arrow::field("i16", arrow::int16()),
      arrow::field("i32", arrow::int32()),
      arrow::field("i64", arrow::int64()),
      arrow::field("f", arrow::float32()),
      arrow::field("d", arrow::float64()),
      arrow::field("dec", arrow::decimal128(12, 2)),
      arrow::field("date", arrow::date32()),
      arrow::field("ts", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")),
      arrow::field("ntz", arrow::timestamp(arrow::TimeUnit::MICRO)),
      arrow::field("list",
                   arrow::list(arrow::field("element", arrow::struct_({arrow::field("x", arrow::int64(), false)})))),
      arrow::field("map", arrow::map(arrow::utf8(), arrow::field("value", arrow::int32(), false))),
  });
  MILLRACE_ASSERT_OK_AND_ASSIGN(const std::string json, SchemaToJson(*schema));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto back, SchemaFromJson(json));
  EXPECT_TRUE(back->Equals(*schema)) << back->ToString();
  const auto dictionary = arrow::schema({arrow::field("s", arrow::dictionary(arrow::int32(), arrow::utf8()))});
  EXPECT_NE(SchemaToJson(*dictionary).ValueOrDie().find(R"("type":"string")"), std::string::npos);
}

TEST(SchemaJson, FieldMetadataSurvives) {
  const std::string json =
      R"({"type":"struct","fields":[{"name":"a","type":"long","nullable":true,"metadata":{"comment":"x","n":1}}]})";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto schema, SchemaFromJson(json));
  EXPECT_EQ(SchemaToJson(*schema).ValueOrDie(), json);
}

TEST(SchemaJson, RefusesWhatOthersCannotRead) {
  const auto refuse = [](const std::string& name, const std::shared_ptr<arrow::DataType>& type) {
    return SchemaToJson(*arrow::schema({arrow::field("ok", arrow::int64()), arrow::field(name, type)})).status();
  };
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, refuse("a b", arrow::int64()));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, refuse("OK", arrow::int64()));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, refuse("", arrow::int64()));
  const Status unsigned_type = refuse("u", arrow::uint64());
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, unsigned_type);
  EXPECT_NE(unsigned_type.message().find("'u'"), std::string::npos);
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, refuse("t", arrow::timestamp(arrow::TimeUnit::NANO, "UTC")));
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, refuse("t", arrow::timestamp(arrow::TimeUnit::MICRO, "Europe/Berlin")));
  for (const char* json :
       {"", "[]", "{}", R"({"type":"struct","fields":[{"name":"a"}]})",
        R"json({"type":"struct","fields":[{"name":"a","type":"decimal(99,2)","nullable":true}]})json"}) {
    SCOPED_TRACE(json);
    MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, SchemaFromJson(json));
  }
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported,
                       SchemaFromJson(R"({"type":"struct","fields":[{"name":"a","type":"variant","nullable":true}]})"));
}

TEST(TimeText, ThereAndBack) {
  for (const std::int64_t us :
       {0LL, -1LL, 1'700'000'000'123'456LL, -62'135'596'800'000'000LL, 253'402'300'799'999'999LL}) {
    EXPECT_EQ(ParseTimestampMicros(*FormatTimestampMicros(us, true)), us);
    EXPECT_EQ(ParseTimestampMicros(*FormatTimestampMicros(us, false)), us);
  }
  EXPECT_EQ(FormatTimestampMillis(-1, true), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(FormatTimestampMillis(1'999, true), "1970-01-01T00:00:00.001Z");
  EXPECT_EQ(FormatTimestampMillis(253'402'300'800'000'000LL, true), std::nullopt);
  EXPECT_EQ(ParseTimestampMicros("1970-01-01T01:00:00+01:00"), 0);
  EXPECT_EQ(ParseTimestampMicros("1970-01-01 00:00:01"), 1'000'000);
  EXPECT_EQ(ParseDate("1970-01-02"), 1);
  for (const char* text :
       {"", "1970", "1970-13-01", "1970-02-30", "1970-01-01T25:00:00", "1970-01-01x", "-970-01-01"}) {
    EXPECT_EQ(ParseTimestampMicros(text), std::nullopt) << text;
    EXPECT_EQ(ParseDate(text), std::nullopt) << text;
  }
}

TEST(PersistentMapTest, EqualsAnOrdinaryMapAndNeverChangesItsCopies) {
  std::map<std::string, int> plain;
  PersistentMap<int> map;
  std::vector<std::pair<PersistentMap<int>, std::map<std::string, int>>> copies;
  std::uint64_t random = 12345;
  for (int step = 0; step < 5000; ++step) {
    random = random * 6364136223846793005ULL + 1442695040888963407ULL;
    const std::string key = "f" + std::to_string((random >> 33) % 300);
    if ((random >> 20) % 3 == 0) {
      EXPECT_EQ(map.Erase(key), plain.erase(key) == 1);
    } else {
      map.Set(key, step);
      plain[key] = step;
    }
    if (step % 500 == 0) copies.emplace_back(map, plain);
  }
  copies.emplace_back(map, plain);
  for (const auto& [copy, want] : copies) {
    std::map<std::string, int> got;
    for (const auto& [key, value] : copy) got.emplace(key, value);
    EXPECT_EQ(got, want);
    EXPECT_EQ(copy.size(), want.size());
    EXPECT_TRUE(std::is_sorted(copy.begin(), copy.end()));
  }
}

TEST(PersistentMapTest, DifferencesLeadFromAnyVersionToAnyOther) {
  PersistentMap<int> map;
  std::vector<PersistentMap<int>> versions = {map};
  std::uint64_t random = 54321;
  for (int step = 0; step < 2000; ++step) {
    random = random * 6364136223846793005ULL + 1442695040888963407ULL;
    const std::string key = "f" + std::to_string((random >> 33) % 300);
    if ((random >> 20) % 3 == 0) {
      map.Erase(key);
    } else {
      map.Set(key, step);
    }
    if (step % 180 == 0) versions.push_back(map);
  }
  using Entry = PersistentMap<int>::value_type;
  for (const auto& before : versions) {
    for (const auto& after : versions) {
      std::map<std::string, int> got(before.begin(), before.end());
      std::string last;
      PersistentMap<int>::ForEachDifference(before, after, [&](const Entry* old, const Entry* now) {
        const std::string& key = old != nullptr ? old->first : now->first;
        EXPECT_LT(last, key);
        last = key;
        if (old != nullptr) {
          EXPECT_EQ(got.at(key), old->second);
        }
        got.erase(key);
        if (now != nullptr) got.emplace(*now);
      });
      EXPECT_EQ(got, (std::map<std::string, int>(after.begin(), after.end())));
    }
  }
}

TEST(PersistentMapTest, DifferencesCostWhatHasChanged) {
  PersistentMap<int>::Builder builder;
  for (int i = 0; i < 100'000; ++i) builder.Add("part-" + std::to_string(i * 7919 % 100'000), i);
  const PersistentMap<int> before = std::move(builder).Build();
  ASSERT_EQ(before.size(), 100'000U);
  PersistentMap<int> after = before;
  after.Set("part-x", 1);
  after.Erase("part-77");
  int visits = 0;
  PersistentMap<int>::ForEachDifference(before, after, [&](const auto*, const auto*) { ++visits; });
  EXPECT_LT(visits, 200);  // A path to either place: 17 nodes where the tree is balanced, some 40 in a treap.
}

TEST(PersistentMapTest, OfEntriesWithOneKeyTheFirstIsBuiltIn) {
  PersistentMap<int>::Builder builder;
  for (const auto& [key, value] : {std::pair("b", 1), std::pair("a", 2), std::pair("b", 3)}) builder.Add(key, value);
  const PersistentMap<int> map = std::move(builder).Build();
  EXPECT_EQ((std::map<std::string, int>(map.begin(), map.end())), (std::map<std::string, int>{{"a", 2}, {"b", 1}}));
}

}  // namespace
}  // namespace millrace::delta
