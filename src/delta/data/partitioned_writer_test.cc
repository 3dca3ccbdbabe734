// Whatever the partitions are, every row ends in its partition's file once, few files are open, and the memory that is
// named is the memory that is held.
#include "delta/data/partitioned_writer.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/memory_pool.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <random>
#include <utility>

#include "base/uuid.h"
#include "testing/batch_from_json.h"
#include "testing/faulty_store.h"
#include "testing/status_matchers.h"

namespace millrace::delta {
namespace {

namespace fs = std::filesystem;
using millrace::testing::BatchFromJson;

/// How many uploads are open at once. Any thread.
class CountingStore final : public objectstore::ObjectStore {
 public:
  explicit CountingStore(std::shared_ptr<objectstore::ObjectStore> store) : store_(std::move(store)) {}

  int requests_at_once() const override { return at_once; }

  const std::string& uri() const override { return store_->uri(); }
  Result<objectstore::PutOutcome> PutIfAbsent(const std::string& key, std::string_view bytes) override {
    return store_->PutIfAbsent(key, bytes);
  }
  Status Put(const std::string& key, std::string_view bytes) override { return store_->Put(key, bytes); }
  Result<std::shared_ptr<objectstore::Upload>> StartUpload(const std::string& key) override {
    ASSIGN_OR_RETURN(auto upload, store_->StartUpload(key));
    return std::make_shared<CountedUpload>(std::move(upload), *this);
  }
  Result<std::shared_ptr<arrow::Buffer>> Read(const std::string& key) override { return store_->Read(key); }
  Result<std::shared_ptr<arrow::io::RandomAccessFile>> Open(const std::string& key) override {
    return store_->Open(key);
  }
  Result<std::optional<objectstore::ObjectInfo>> Stat(const std::string& key) override { return store_->Stat(key); }
  Result<std::vector<objectstore::ObjectInfo>> List(const std::string& prefix, const std::string& after) override {
    return store_->List(prefix, after);
  }
  Status Delete(const std::string& key) override { return store_->Delete(key); }

  int at_once = 1;
  std::atomic<int> open_now{0};
  std::atomic<int> open_max{0};

 private:
  class CountedUpload final : public objectstore::Upload {
   public:
    CountedUpload(std::shared_ptr<objectstore::Upload> upload, CountingStore& store)
        : upload_(std::move(upload)), store_(store) {
      const int now = ++store_.open_now;
      for (int max = store_.open_max; now > max && !store_.open_max.compare_exchange_weak(max, now);) {
      }
    }
    ~CountedUpload() override { Over(); }
    Status Write(const void* data, std::int64_t size) override { return upload_->Write(data, size); }
    Result<std::int64_t> Tell() const override { return upload_->Tell(); }
    bool closed() const override { return upload_->closed(); }
    Status Close() override { return upload_->Close(); }
    Status Finish() override {
      Over();
      return upload_->Finish();
    }

   private:
    void Over() {
      if (std::exchange(is_open_, false)) --store_.open_now;
    }

    const std::shared_ptr<objectstore::Upload> upload_;
    CountingStore& store_;
    bool is_open_ = true;
  };

  const std::shared_ptr<objectstore::ObjectStore> store_;
};

const auto kSchema = arrow::schema(
    {arrow::field("n", arrow::int64()), arrow::field("p", arrow::utf8()), arrow::field("text", arrow::utf8())});

class PartitionedWriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("delta-partitioned-" + RandomUuid());
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto store, objectstore::OpenStore(folder_.string()));
    store_ = std::make_shared<CountingStore>(std::move(store));
    snapshot_.version = 0;
    snapshot_.schema = kSchema;
    snapshot_.metadata.partition_columns = {"p"};
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::unique_ptr<PartitionedWriter> Writer(int open_files_max = 16) {
    return PartitionedWriter::Make(store_, kSchema, {"p"}, {.open_files_max = open_files_max});
  }

  /// Rows n = first, first + 1, …, of partition_of(n).
  template <typename PartitionOf>
  static std::shared_ptr<arrow::RecordBatch> Rows(std::int64_t first, std::int64_t count, PartitionOf partition_of) {
    arrow::Int64Builder numbers;
    arrow::StringBuilder partitions;
    arrow::StringBuilder texts;
    for (std::int64_t n = first; n < first + count; ++n) {
      EXPECT_TRUE(numbers.Append(n).ok());
      const std::optional<std::string> partition = partition_of(n);
      EXPECT_TRUE((partition ? partitions.Append(*partition) : partitions.AppendNull()).ok());
      EXPECT_TRUE(texts.Append(fmt::format("text of row {}", n)).ok());
    }
    return arrow::RecordBatch::Make(kSchema, count, {*numbers.Finish(), *partitions.Finish(), *texts.Finish()});
  }

  /// The numbers of each partition's file in their order there. A partition has one file.
  std::map<std::string, std::vector<std::int64_t>> Read(const std::vector<AddFile>& files) {
    std::map<std::string, std::vector<std::int64_t>> numbers;
    for (const auto& file : files) {
      const std::string partition = file.partition_values.at("p").value_or("(null)");
      EXPECT_FALSE(numbers.contains(partition)) << partition;
      const auto batches = ReadDataFile(*store_, snapshot_, file);
      EXPECT_TRUE(batches.ok()) << batches.status().ToString();
      for (const auto& batch : *batches) {
        const auto& column = static_cast<const arrow::Int64Array&>(*batch->GetColumnByName("n"));
        const auto& texts = static_cast<const arrow::StringArray&>(*batch->GetColumnByName("text"));
        for (std::int64_t i = 0; i < column.length(); ++i) {
          numbers[partition].push_back(column.Value(i));
          EXPECT_EQ(texts.GetView(i), fmt::format("text of row {}", column.Value(i)));
        }
      }
      EXPECT_EQ(NumRecords(file), std::ssize(numbers[partition]));
    }
    return numbers;
  }

  fs::path folder_;
  std::shared_ptr<CountingStore> store_;
  Snapshot snapshot_;
};

TEST_F(PartitionedWriterTest, EveryRowIsInItsPartitionsFileOnce) {
  // Batches of all sizes; partitions of all shares; null and "" are one partition.
  std::mt19937 random(11);
  for (const int open_files_max : {1, 3, 16}) {
    SCOPED_TRACE(open_files_max);
    store_->open_max = 0;
    store_->at_once = open_files_max;
    auto writer = Writer(open_files_max);
    std::map<std::string, std::vector<std::int64_t>> want;
    std::int64_t n = 0;
    for (int batch = 0; batch < 200; ++batch) {
      const std::int64_t count = batch % 3 == 0 ? 1000 : random() % 4;
      const auto rows = Rows(n, count, [&](std::int64_t number) -> std::optional<std::string> {
        const auto share = random() % 4;
        std::optional<std::string> partition = "rare-" + std::to_string(random() % 200);
        if (share == 0) partition = "hot-" + std::to_string(random() % 3);
        if (share == 1) partition = random() % 2 == 0 ? std::nullopt : std::optional<std::string>("");
        want[partition.value_or("").empty() ? "(null)" : *partition].push_back(number);
        return partition;
      });
      MILLRACE_ASSERT_OK(writer->Append(rows));
      n += count;
    }
    EXPECT_EQ(writer->num_rows(), n);
    EXPECT_GT(writer->num_bytes(), 0);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto files, writer->Finish());
    auto got = Read(files);
    for (auto* numbers : {&got, &want}) {
      for (auto& [partition, list] : *numbers) std::sort(list.begin(), list.end());
    }
    EXPECT_EQ(got, want);
    EXPECT_LE(store_->open_max, open_files_max);
    EXPECT_EQ(store_->open_now, 0);
  }
}

TEST_F(PartitionedWriterTest, OnePartitionAtATimeIsWrittenAsItComes) {
  auto writer = Writer();
  std::int64_t n = 0;
  for (int day = 0; day < 3; ++day) {
    for (int batch = 0; batch < 3; ++batch, n += 5000) {
      MILLRACE_ASSERT_OK(
          writer->Append(Rows(n, 5000, [day](std::int64_t) { return fmt::format("2024-01-0{}", day + 1); })));
    }
    EXPECT_EQ(store_->open_now, day + 1);
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto files, writer->Finish());
  const auto got = Read(files);
  ASSERT_EQ(got.size(), 3u);
  std::int64_t want = 0;
  for (const auto& [day, numbers] : got) {
    for (const std::int64_t number : numbers) EXPECT_EQ(number, want++) << "the order stays";
  }
  EXPECT_EQ(want, n);
}

TEST_F(PartitionedWriterTest, HundredsOfPartitionsOpenNoFileUntilTheEndAndThenOne) {
  auto writer = Writer();
  constexpr std::int64_t kPartitions = 500;
  for (std::int64_t n = 0; n < 30 * kPartitions; n += 1000) {
    MILLRACE_ASSERT_OK(writer->Append(Rows(n, 1000, [](std::int64_t i) { return std::to_string(i % kPartitions); })));
  }
  EXPECT_EQ(store_->open_max, 0);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto files, writer->Finish());
  EXPECT_EQ(store_->open_max, 1);
  ASSERT_EQ(std::ssize(files), kPartitions);
  std::int64_t rows = 0;
  for (const auto& file : files) rows += NumRecords(file).value_or(0);
  EXPECT_EQ(rows, 30 * kPartitions);
}

TEST_F(PartitionedWriterTest, TheMemoryThatIsNamedIsHeld) {
  struct Case {
    const char* name;
    std::int64_t batch_rows;
    std::int64_t partitions;
  };
  for (const Case& c : {Case{"many partitions", 8192, 3000}, Case{"one partition", 8192, 1}, Case{"single rows", 1, 1},
                        Case{"single rows of many", 1, 3000}}) {
    SCOPED_TRACE(c.name);
    auto* const pool = arrow::default_memory_pool();
    const std::int64_t before = pool->bytes_allocated();
    auto writer = Writer();
    const std::int64_t total = c.batch_rows == 1 ? 4000 : 300'000;
    for (std::int64_t n = 0; n < total; n += c.batch_rows) {
      MILLRACE_ASSERT_OK(
          writer->Append(Rows(n, c.batch_rows, [&](std::int64_t i) { return std::to_string(i % c.partitions); })));
    }
    const std::int64_t held = pool->bytes_allocated() - before;
    // Arrow rounds each buffer up to 64 bytes, which TotalBufferSize() leaves out.
    EXPECT_GE(writer->memory_bytes(), held * 9 / 10 - (16 << 10));
    EXPECT_LE(writer->memory_bytes(), held * 3 / 2 + (2 << 20));
    // A batch that waits as it came would take kilobytes a row.
    if (c.batch_rows == 1) {
      EXPECT_LE(held, 3 << 20);
    }
  }
}

TEST_F(PartitionedWriterTest, AClosedWriterHoldsNoDescriptorAndLosesNoRow) {
  auto writer = Writer(1);
  MILLRACE_ASSERT_OK(writer->Append(Rows(0, 10, [](std::int64_t) { return "hot"; })));
  MILLRACE_ASSERT_OK(writer->Append(Rows(10, 10, [](std::int64_t) { return "other"; })));
  EXPECT_EQ(store_->open_now, 1);
  MILLRACE_ASSERT_OK(writer->Close());
  EXPECT_EQ(store_->open_now, 0);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, writer->Append(Rows(20, 1, [](std::int64_t) { return "hot"; })));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto files, writer->Finish());
  const auto got = Read(files);
  EXPECT_EQ(got.at("hot").size(), 10u);
  EXPECT_EQ(got.at("other").size(), 10u);
}

TEST_F(PartitionedWriterTest, OneColumnsValuesSayWhichStoreAFileGoesTo) {
  std::map<std::string, std::shared_ptr<objectstore::ObjectStore>> stores;
  for (const std::string value : {"many", "few", "other"}) stores[value] = objectstore::Below(store_, value);
  PartitionedWriterOptions options{.open_files_max = 1};
  options.place_column = "p";
  options.store_of = [&stores](const std::string& value) { return stores.at(value); };
  auto writer = PartitionedWriter::Make(store_, kSchema, {"p"}, options);
  for (int batch = 0; batch < 3; ++batch) {
    MILLRACE_ASSERT_OK(writer->Append(Rows(batch * 300, 300, [](std::int64_t n) -> std::optional<std::string> {
      return n % 100 == 0 ? "few" : n % 100 == 1 ? "other" : "many";
    })));
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto files, writer->Finish());
  ASSERT_EQ(files.size(), 3u);
  for (auto file : files) {
    const auto value = file.partition_values.extract("p").mapped().value();
    EXPECT_TRUE(file.partition_values.empty());
    EXPECT_THAT(file.path, ::testing::Not(::testing::HasSubstr("/")));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto found, stores.at(value)->Stat(file.path));
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->size, file.size);
    EXPECT_EQ(NumRecords(file), value == "many" ? 882 : 9);
  }
}

TEST_F(PartitionedWriterTest, ErrorsEndItAndLeaveNothing) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto inner, objectstore::OpenStore(folder_.string()));
  const auto faulty = std::make_shared<millrace::testing::FaultyStore>(std::move(inner));
  const auto writer = [&] { return PartitionedWriter::Make(faulty, kSchema, {"p"}, {.open_files_max = 1}); };
  const auto hot = Rows(0, 10, [](std::int64_t) { return "hot"; });
  const auto rare = Rows(10, 10, [](std::int64_t) { return "rare"; });
  using millrace::testing::StoreFault;
  using millrace::testing::StoreOperation;
  {
    auto w = writer();
    faulty->Inject(StoreOperation::kStartUpload, 1, StoreFault::kFail);
    MILLRACE_ASSERT_KIND(ErrorKind::kTransient, w->Append(hot));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, w->Append(hot));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, w->Finish().status());
  }
  for (const auto operation : {StoreOperation::kStartUpload, StoreOperation::kFinish}) {
    auto w = writer();
    MILLRACE_ASSERT_OK(w->Append(hot));
    MILLRACE_ASSERT_OK(w->Append(rare));
    faulty->Inject(operation, operation == StoreOperation::kFinish ? 2 : 1, StoreFault::kFail);
    MILLRACE_ASSERT_KIND(ErrorKind::kTransient, w->Finish().status());
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, w->Finish().status());
  }
  auto other_schema = writer();
  MILLRACE_ASSERT_KIND(
      ErrorKind::kInvalidInput,
      other_schema->Append(BatchFromJson(arrow::schema({arrow::field("x", arrow::int64())}), R"([{"x": 1}])")));
}

}  // namespace
}  // namespace millrace::delta
