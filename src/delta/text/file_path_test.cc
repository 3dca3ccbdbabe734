// Paths of actions: what is the table's own is found however it is spelled, by reading and by vacuum alike, and nothing
// makes a reader look elsewhere. What a bucket calls its own is in objectstore/s3/s3_store_test.cc.
#include "delta/text/file_path.h"

#include <arrow/table.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/uuid.h"
#include "delta/data/data_file.h"
#include "delta/data/scan.h"
#include "delta/log/log_replay.h"
#include "delta/upkeep/compaction.h"
#include "delta/upkeep/vacuum.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::delta {
namespace {

namespace fs = std::filesystem;
using testing::BatchFromJson;

TEST(FilePath, EncodedOnceAndKeptBelowTheTable) {
  for (const std::string key :
       {"part-1.parquet", "d=2024-01-02/p.parquet", "x=A%2FA/ü &?#.parquet", "ts=1970-01-01 00:00:00/a"}) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto back, DecodeRelativePath(EncodePath(key)));
    EXPECT_EQ(back, key);
  }
  EXPECT_EQ(EncodePath("x=A%2FA/f"), "x=A%252FA/f");
  for (const char* path : {"/etc/passwd", "file:///etc/passwd", "s3://bucket/x", "hdfs:x", "abfss://c@a/x=1/y"}) {
    SCOPED_TRACE(path);
    MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, DecodeRelativePath(path));
  }
  for (const char* path : {"../x", "a/../../x", "a/../x", "%2e%2e/x", "a/%2E%2E/b", "%2Fetc/passwd", "a%00b", "a%zz",
                           "a%2", "", ".", "a/.", "./", "a//b", "a/"}) {
    SCOPED_TRACE(path);
    MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, DecodeRelativePath(path));
  }
}

TEST(FilePath, DotsAndColonsThatAreNoScheme) {
  struct Case {
    const char* path;
    const char* key;
  };
  for (const auto& c : {Case{"./b.parquet", "b.parquet"},
                        {"././a/./b.parquet", "a/b.parquet"},
                        {".a/..b", ".a/..b"},
                        {"a:b=1/part-0.parquet", "a:b=1/part-0.parquet"},
                        {"a:b=c:d/e:f/part-0.parquet", "a:b=c:d/e:f/part-0.parquet"},
                        {"ts=12:00/x", "ts=12:00/x"},
                        {"./a:b.parquet", "a:b.parquet"},
                        {"a%3Ab/x", "a:b/x"}}) {
    EXPECT_EQ(DecodeRelativePath(c.path).ValueOr("refused"), c.key) << c.path;
  }
}

TEST(FilePath, ActionsThatDifferInDotsAreOfOneFile) {
  EXPECT_EQ(FileKey("./a/b", std::nullopt), FileKey("a/b", std::nullopt));
  EXPECT_NE(FileKey("a", std::nullopt), FileKey("b", std::nullopt));
}

// A table with one file, which the log names in some other way.
class FilePathTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("delta paths-" + RandomUuid());
    fs::create_directories(folder_ / "lake" / "t");
    fs::create_directory_symlink(folder_ / "lake", folder_ / "link");
    fs::create_directory_symlink("t", folder_ / "lake" / "alias");
  }
  void TearDown() override { fs::remove_all(folder_); }

  // The table's only row is in `key`, logged as `path`.
  Result<std::shared_ptr<Table>> Make(const std::shared_ptr<objectstore::ObjectStore>& store, const std::string& key,
                                      const std::string& path) {
    const auto schema = arrow::schema({arrow::field("id", arrow::int64())});
    ARROW_ASSIGN_OR_RAISE(const auto table, Table::OpenOrCreate(store, {.schema = schema}));
    ARROW_ASSIGN_OR_RAISE(const auto writer, DataFileWriter::Make(store, schema, {}));
    ARROW_RETURN_NOT_OK(writer->Append(*BatchFromJson(schema, "[[7]]")));
    ARROW_ASSIGN_OR_RAISE(auto add, writer->Finish());
    const fs::path root = folder_ / "lake" / "t";
    fs::create_directories((root / key).parent_path());
    fs::rename(root / add.path, root / key);
    add.path = path;
    ARROW_RETURN_NOT_OK(table->Commit({.adds = {add}}));
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      fs::last_write_time(entry.path(), fs::file_time_type::clock::now() - std::chrono::hours(24 * 30));
    }
    return table;
  }
  static Result<std::int64_t> CountRows(const Table& table) {
    ARROW_ASSIGN_OR_RAISE(const auto scan, OpenScan(table.store(), table.snapshot(), {}));
    ARROW_ASSIGN_OR_RAISE(const auto rows, scan->ToTable());
    return rows->num_rows();
  }
  std::string At(const std::string& path) const { return (folder_ / path).string(); }
  void NewTable() {
    fs::remove_all(folder_ / "lake" / "t");
    fs::create_directories(folder_ / "lake" / "t");
  }

  fs::path folder_;
};

TEST_F(FilePathTest, AFileIsReadAndKeptHoweverItIsSpelled) {
  const std::string encoded = EncodePath(folder_.string());
  struct Case {
    std::string key;
    std::string path;
  };
  for (const auto& c : std::vector<Case>{{"b.parquet", "b.parquet"},
                                         {"b.parquet", "./b.parquet"},
                                         {"a:b=1/b.parquet", "a:b=1/b.parquet"},
                                         {"a:b=1/b.parquet", "file://" + encoded + "/lake/t/a:b=1/b.parquet"},
                                         {"p=x y/b.parquet", "p=x%20y/b.parquet"},
                                         {"b.parquet", encoded + "/lake/t/b.parquet"},
                                         {"b.parquet", "file:" + encoded + "/lake/t/b.parquet"},
                                         {"b.parquet", "file://" + encoded + "/lake/t/./b.parquet"},
                                         {"b.parquet", "file://localhost" + encoded + "/lake/t/b.parquet"},
                                         {"b.parquet", "file://" + encoded + "/link/t/b.parquet"},
                                         {"b.parquet", "file://" + encoded + "/link/alias/b.parquet"},
                                         {"sub/b.parquet", "file://" + encoded + "/lake/alias/sub/b.parquet"}}) {
    SCOPED_TRACE(c.path);
    // Opened directly, through links, and as a part of a lake.
    for (int way = 0; way < 4; ++way) {
      NewTable();
      const char* const uris[] = {"lake/t", "link/alias", "lake", "link"};
      MILLRACE_ASSERT_OK_AND_ASSIGN(auto store, objectstore::OpenStore(At(uris[way])));
      if (way >= 2) store = objectstore::Below(store, way == 2 ? "t" : "alias");
      SCOPED_TRACE(store->uri());
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Make(store, c.key, c.path));
      EXPECT_EQ(CountRows(*table).ValueOr(-1), 1);
      std::ofstream(folder_ / "lake/t/orphan.parquet") << "x";
      fs::last_write_time(folder_ / "lake/t/orphan.parquet",
                          fs::file_time_type::clock::now() - std::chrono::hours(24 * 30));
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto vacuumed, Vacuum(*table));
      EXPECT_EQ(vacuumed.deleted, std::vector<std::string>{"orphan.parquet"});
      EXPECT_EQ(CountRows(*table).ValueOr(-1), 1);
    }
  }
}

TEST_F(FilePathTest, AFolderWithinTheTableThatIsALinkIsNoOtherFile) {
  for (const char* path : {"real/b.parquet", "linked/b.parquet"}) {
    SCOPED_TRACE(path);
    NewTable();
    fs::create_directories(folder_ / "lake/t/real");
    fs::create_directory_symlink("real", folder_ / "lake/t/linked");
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto store, objectstore::OpenStore(At("lake/t")));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Make(store, "real/b.parquet", path));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto vacuumed, Vacuum(*table));
    EXPECT_TRUE(vacuumed.deleted.empty()) << vacuumed.deleted.front();
    EXPECT_EQ(CountRows(*table).ValueOr(-1), 1);
  }
}

TEST_F(FilePathTest, AFileThatCannotBePlacedIsNotReadAndStopsVacuum) {
  fs::create_directories(folder_ / "lake/other");
  std::ofstream(folder_ / "lake/other/secret.parquet") << "x";
  fs::create_directory_symlink(folder_ / "lake/other", folder_ / "lake/out");
  const std::string encoded = EncodePath(folder_.string());
  for (const std::string& path :
       {"file://" + encoded + "/lake/other/secret.parquet", encoded + "/lake/tt/b.parquet",
        "file://" + encoded + "/lake/t/../other/secret.parquet", "file://" + encoded + "/lake/t/%2e%2e/other/x",
        std::string("s3://bucket/t/b.parquet"), std::string("s3a://bucket/t/b.parquet"),
        std::string("hdfs://host/t/b.parquet"), std::string("../other/secret.parquet"), std::string("b%zz.parquet"),
        std::string("b%00.parquet"), std::string("a//b.parquet"), std::string("file:///"), std::string("/")}) {
    SCOPED_TRACE(path);
    NewTable();
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto store, objectstore::OpenStore(At("lake/t")));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Make(store, "b.parquet", path));
    const auto rows = CountRows(*table);
    ASSERT_FALSE(rows.ok());
    EXPECT_NE(rows.status().message().find(path), std::string::npos) << rows.status();
    const auto vacuumed = Vacuum(*table);
    ASSERT_FALSE(vacuumed.ok());
    EXPECT_NE(vacuumed.status().message().find("'" + path + "'"), std::string::npos) << vacuumed.status();
    EXPECT_NE(vacuumed.status().message().find("nothing was deleted"), std::string::npos) << vacuumed.status();
    EXPECT_TRUE(fs::exists(folder_ / "lake/t/b.parquet"));
    // Removed, it still may be read for as long as the retention; after it the rest is looked after again.
    MILLRACE_ASSERT_OK(
        table->Commit({.removes = {RemoveOf((*table->snapshot()->files.begin()).second, SystemClock().Now(), true)}}));
    EXPECT_FALSE(Vacuum(*table).ok());
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto later, Vacuum(*table, {.retention = std::chrono::milliseconds(-1)}));
    EXPECT_EQ(later.deleted, std::vector<std::string>{"b.parquet"});
  }
  EXPECT_TRUE(fs::exists(folder_ / "lake/other/secret.parquet"));
}

}  // namespace
}  // namespace millrace::delta
