// Append(): rows that are there once, in the right files, or not at all.
#include "delta/append.h"

#include <arrow/array.h>
#include <arrow/scalar.h>
#include <arrow/table.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>

#include "base/uuid.h"
#include "delta/data/scan.h"
#include "delta/schema_change.h"
#include "testing/batch_from_json.h"
#include "testing/faulty_store.h"
#include "testing/status_matchers.h"

namespace millrace::delta {
namespace {

namespace fs = std::filesystem;
using arrow::field;
using testing::BatchFromJson;
using testing::FaultyStore;
using testing::StoreOperation;

class AppendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("delta-append-" + RandomUuid());
    MILLRACE_ASSERT_OK_AND_ASSIGN(disk_, objectstore::OpenStore(folder_.string()));
    store_ = std::make_shared<FaultyStore>(disk_);
    MILLRACE_ASSERT_OK_AND_ASSIGN(
        table_, Table::OpenOrCreate(
                    store_, {.schema = schema_, .partition_columns = {"day"}, .configuration = {}, .name = ""}));
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::shared_ptr<arrow::RecordBatch> Rows(const std::string& json) { return BatchFromJson(schema_, json); }
  // "id day" of every row, as a new reader sees them.
  std::multiset<std::string> Read() {
    const auto table = Table::Open(disk_).ValueOrDie();
    const auto rows = OpenScan(disk_, table->snapshot(), {}).ValueOrDie()->ToTable().ValueOrDie();
    std::multiset<std::string> found;
    for (std::int64_t i = 0; i < rows->num_rows(); ++i) {
      found.insert(rows->column(0)->GetScalar(i).ValueOrDie()->ToString() + " " +
                   rows->column(1)->GetScalar(i).ValueOrDie()->ToString());
    }
    return found;
  }
  std::size_t NumDataFiles() {
    std::size_t files = 0;
    for (const auto& object : disk_->List("").ValueOrDie()) files += object.key.ends_with(".parquet") ? 1 : 0;
    return files;
  }

  const std::shared_ptr<arrow::Schema> schema_ = arrow::schema(
      {field("id", arrow::int64(), false), field("day", arrow::utf8()), field("price", arrow::float64())});
  fs::path folder_;
  std::shared_ptr<objectstore::ObjectStore> disk_;
  std::shared_ptr<FaultyStore> store_;
  std::shared_ptr<Table> table_;
};

TEST_F(AppendTest, SeveralBatchesAreOneCommitWithAFileForEachPartition) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto result,
                                Append(*table_, {Rows(R"([[1, "a", 0.5], [2, "b", null]])"), Rows("[]"),
                                                 Rows(R"([[3, "a", 1], [4, null, 2]])")}));
  EXPECT_TRUE(result.committed);
  EXPECT_EQ(result.snapshot->version, 1);
  EXPECT_EQ(result.snapshot->files.size(), 3u);
  EXPECT_EQ(Read(), (std::multiset<std::string>{"1 a", "2 b", "3 a", "4 null"}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto history, table_->History(1));
  EXPECT_NE(history[0].commit_info_json.find(R"("numOutputRows":"4")"), std::string::npos);
}

TEST_F(AppendTest, ColumnsAreFoundByNameAndMissingOnesAreNull) {
  const auto other = arrow::schema({field("day", arrow::utf8()), field("id", arrow::int64())});
  MILLRACE_ASSERT_OK(Append(*table_, {BatchFromJson(other, R"([["a", 7]])")}));
  EXPECT_EQ(Read(), (std::multiset<std::string>{"7 a"}));
}

TEST_F(AppendTest, NothingToAppendIsNoCommit) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto result, Append(*table_, {Rows("[]")}));
  EXPECT_FALSE(result.committed);
  EXPECT_EQ(result.snapshot->version, 0);
}

TEST_F(AppendTest, RowsThatDoNotFitAreRefusedByColumnAndLeaveNothing) {
  struct Case {
    const char* name;
    std::shared_ptr<arrow::RecordBatch> rows;
    const char* want;
  };
  const Case cases[] = {
      {"unknown",
       BatchFromJson(arrow::schema({field("id", arrow::int64()), field("nmae", arrow::utf8())}), R"([[1, "x"]])"),
       "'nmae'"},
      {"another type", BatchFromJson(arrow::schema({field("id", arrow::int32())}), "[[1]]"), "int64 in the table"},
      {"null", BatchFromJson(arrow::schema({field("id", arrow::int64())}), "[[null]]"), "'id' must not be null"},
      {"missing, and not nullable", BatchFromJson(arrow::schema({field("day", arrow::utf8())}), R"([["a"]])"),
       "'id' must not be null"},
      {"twice", BatchFromJson(arrow::schema({field("id", arrow::int64()), field("id", arrow::int64())}), "[[1, 1]]"),
       "two columns 'id'"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto result = Append(*table_, {Rows(R"([[1, "a", 0.5]])"), c.rows});
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, result);
    EXPECT_NE(result.status().message().find(c.want), std::string::npos) << result.status();
  }
  EXPECT_EQ(NumDataFiles(), 0u);
}

TEST_F(AppendTest, WithATxnTheSameAppendHappensOnce) {
  const AppendOptions third{.txn = Txn{"loader", 3, {}}};
  MILLRACE_ASSERT_OK(Append(*table_, {Rows(R"([[1, "a", 0]])")}, third));
  // Another process that knows nothing of the first.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto other, Table::Open(disk_));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto again, Append(*other, {Rows(R"([[1, "a", 0]])")}, third));
  EXPECT_FALSE(again.committed);
  // A version without rows is progress too.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto empty, Append(*other, {}, {.txn = Txn{"loader", 4, {}}}));
  EXPECT_TRUE(empty.committed);
  EXPECT_EQ(empty.snapshot->TxnVersion("loader"), 4);
  EXPECT_EQ(Read().size(), 1u);
}

TEST_F(AppendTest, AfterALostReplyTheRowsAreThereOnce) {
  store_->Inject(StoreOperation::kPutIfAbsent, 1, testing::StoreFault::kLoseReply, "_delta_log/");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto result, Append(*table_, {Rows(R"([[1, "a", 0]])")}));
  EXPECT_EQ(result.snapshot->version, 1);
  EXPECT_EQ(Read().size(), 1u);
}

TEST_F(AppendTest, OfTwoProcessesWithOneTxnOneAppends) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto rival, Table::Open(disk_));
  const auto rows = Rows(R"([[1, "a", 0]])");
  store_->Before(
      StoreOperation::kPutIfAbsent, 1,
      [&] {
        MILLRACE_ASSERT_OK(Append(*rival, {rows}, {.txn = Txn{"loader", 5, {}}}));
      },
      "_delta_log/");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto same, Append(*table_, {rows}, {.txn = Txn{"loader", 5, {}}}));
  EXPECT_FALSE(same.committed);

  // The rival is not as far: whose rows these are is not ours to guess.
  store_->Before(
      StoreOperation::kPutIfAbsent, 1,
      [&] {
        MILLRACE_ASSERT_OK(Append(*rival, {rows}, {.txn = Txn{"loader", 6, {}}}));
      },
      "_delta_log/");
  MILLRACE_ASSERT_KIND(ErrorKind::kConflict, Append(*table_, {rows}, {.txn = Txn{"loader", 7, {}}}));
  EXPECT_EQ(Read().size(), 2u);
  EXPECT_EQ(NumDataFiles(), 2u) << "what was not committed is deleted";
}

TEST_F(AppendTest, ASchemaThatChangesMeanwhileIsAConflictAndTheSameCallThenWorks) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto rival, Table::Open(disk_));
  store_->Before(
      StoreOperation::kPutIfAbsent, 1, [&] { MILLRACE_ASSERT_OK(AddColumns(*rival, {field("city", arrow::utf8())})); },
      "_delta_log/");
  const auto rows = Rows(R"([[1, "a", 0]])");
  MILLRACE_ASSERT_KIND(ErrorKind::kConflict, Append(*table_, {rows}));
  EXPECT_EQ(NumDataFiles(), 0u);
  MILLRACE_ASSERT_OK(Append(*table_, {rows}));
  EXPECT_EQ(Read().size(), 1u);
}

}  // namespace
}  // namespace millrace::delta
