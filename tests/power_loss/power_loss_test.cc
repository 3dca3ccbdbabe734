// A power loss at any point of a table's life on a local disk: every commit is there whole or not at all, and what was
// acknowledged is there. Method: record what the store does to the disk, and look at every state that a loss may leave.
#include <arrow/array.h>
#include <arrow/scalar.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "base/uuid.h"
#include "delta/data/data_file.h"
#include "delta/table.h"
#include "objectstore/object_store.h"
#include "simulated_disk.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using testing::DiskOperation;
using testing::Luck;
using testing::StateAfterLoss;
using Kind = DiskOperation::Kind;

constexpr int kCommits = 6;
constexpr int kRandomStates = 12;

std::string ReadAll(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class PowerLoss : public ::testing::Test {
 protected:
  void SetUp() override {
    // In memory if possible: thousands of states are written, and no real disk is asked to keep them.
    const fs::path memory = "/dev/shm";
    const bool usable = ::access(memory.c_str(), W_OK) == 0;
    folder_ = fs::canonical(usable ? memory : fs::temp_directory_path()) / ("power-loss-" + RandomUuid());
    fs::create_directories(folder_ / "disk");
  }
  void TearDown() override { fs::remove_all(folder_); }

  static std::shared_ptr<arrow::Schema> Schema() { return arrow::schema({arrow::field("n", arrow::int64())}); }

  // One epoch with a file of one row.
  static Result<delta::TableVersion> Append(delta::Table& table, std::int64_t n) {
    ASSIGN_OR_RETURN(auto writer, delta::DataFileWriter::Make(table.store(), Schema(), {}));
    RETURN_NOT_OK(writer->Append(*testing::BatchFromJson(Schema(), fmt::format(R"([{{"n": {}}}])", n))));
    ASSIGN_OR_RETURN(auto add, writer->Finish());
    delta::CommitRequest request;
    request.adds.push_back(std::move(add));
    request.txns.push_back({.app_id = "test", .version = n, .last_updated_ms = {}});
    ASSIGN_OR_RETURN(const auto outcome, table.Commit(request));
    return std::get<delta::Committed>(outcome).version;
  }

  // Creates a table in "lake/clicks" below the disk, commits and checkpoints, with a record of it.
  void Live() {
    testing::StartRecording((folder_ / "disk").string());
    {
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto lake, objectstore::OpenStore((folder_ / "disk" / "lake").string()));
      const auto store = objectstore::Below(lake, "clicks");
      MILLRACE_ASSERT_OK_AND_ASSIGN(
          const auto table,
          delta::Table::OpenOrCreate(
              store, {.schema = Schema(), .partition_columns = {}, .configuration = {}, .name = "clicks"}));
      acknowledged_.push_back(testing::NumRecorded());
      for (int n = 1; n <= kCommits; ++n) {
        MILLRACE_ASSERT_OK_AND_ASSIGN(const auto version, Append(*table, n));
        ASSERT_EQ(version, n);
        acknowledged_.push_back(testing::NumRecorded());
        if (n % 2 == 0) MILLRACE_ASSERT_OK(table->WriteCheckpoint());
      }
    }
    operations_ = testing::StopRecording();
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / "disk")) {
      if (!entry.is_regular_file()) continue;
      truth_[fs::relative(entry.path(), folder_ / "disk").string()] = ReadAll(entry.path());
    }
  }

  // What must hold of a state after a loss before operation `at`.
  void Check(const std::map<std::string, std::string>& state, std::size_t at, const std::string& what) {
    SCOPED_TRACE(fmt::format("{}, after {} of {} operations", what, at, operations_.size()));
    int last_acknowledged = -1;
    for (std::size_t version = 0; version < acknowledged_.size(); ++version) {
      if (acknowledged_[version] <= at) last_acknowledged = static_cast<int>(version);
    }
    if (!seen_.emplace(last_acknowledged, state).second) return;
    const fs::path disk = folder_ / ("state-" + std::to_string(num_states_++));
    for (const auto& [path, bytes] : state) {
      const fs::path place = disk / path;
      fs::create_directories(place.parent_path());
      std::ofstream(place, std::ios::binary) << bytes;
      const bool hidden = place.filename().string().starts_with('.');
      const bool replaced = place.filename() == "_last_checkpoint";
      if (hidden || replaced) continue;
      // Under its own name a file is whole, whoever reads it.
      ASSERT_TRUE(truth_.contains(path)) << path;
      ASSERT_TRUE(bytes == truth_.at(path)) << path << " has " << bytes.size() << " bytes";
    }
    if (last_acknowledged < 0 && !fs::exists(disk / "lake/clicks/_delta_log")) return;

    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto store, objectstore::OpenStore((disk / "lake/clicks").string()));
    const auto opened = delta::Table::Open(store);
    if (last_acknowledged < 0 && !opened.ok()) {
      MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, opened);
      return;
    }
    MILLRACE_ASSERT_OK(opened);
    const auto snapshot = (*opened)->snapshot();
    ASSERT_GE(snapshot->version, last_acknowledged);
    ASSERT_LE(snapshot->version, last_acknowledged + 1) << "only the commit under way may be there, too";
    std::vector<std::int64_t> rows;
    for (const auto& [key, file] : snapshot->files) {
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto batches, delta::ReadDataFile(*store, *snapshot, file));
      for (const auto& batch : batches) {
        MILLRACE_ASSERT_OK_AND_ASSIGN(const auto value, batch->column(0)->GetScalar(0));
        rows.push_back(std::stoll(value->ToString()));
      }
    }
    std::sort(rows.begin(), rows.end());
    std::vector<std::int64_t> expected;
    for (std::int64_t n = 1; n <= snapshot->version; ++n) expected.push_back(n);
    ASSERT_EQ(rows, expected);
    // And life goes on.
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto version, Append(**opened, 100));
    ASSERT_EQ(version, snapshot->version + 1);
    fs::remove_all(disk);
  }

  fs::path folder_;
  std::vector<DiskOperation> operations_;
  std::vector<std::size_t> acknowledged_;     // By version: the operations done when it was acknowledged.
  std::map<std::string, std::string> truth_;  // Files at the end, by path.
  std::set<std::pair<int, std::map<std::string, std::string>>> seen_;  // With the version acknowledged by then.
  int num_states_ = 0;
};

TEST_F(PowerLoss, ACommitIsWholeOrAbsentAndAnAcknowledgedOneIsThere) {
  Live();
  if (HasFatalFailure()) return;
  ASSERT_GT(operations_.size(), 100u);
  std::minstd_rand random(20261122);
  for (std::size_t at = 0; at <= operations_.size(); ++at) {
    Check(StateAfterLoss(operations_, at, testing::NothingUnsafeIsKept()), at, "nothing unsafe is kept");
    Check(StateAfterLoss(operations_, at, testing::EverythingIsKept()), at, "everything is kept");
    Check(StateAfterLoss(operations_, at, testing::ZerosAreKept()), at, "zeros are kept");
    for (int i = 0; i < kRandomStates; ++i) {
      Check(StateAfterLoss(operations_, at, testing::RandomLuck(random)), at, fmt::format("random state {}", i));
      if (HasFatalFailure()) return;
    }
    if (HasFatalFailure()) return;
  }
}

// The simulation itself: it must show what goes wrong when a step of the store's is left out.
TEST(SimulatedDisk, ShowsAnEmptyFileWhenItWasNotSynced) {
  const std::vector<DiskOperation> careless = {{.kind = Kind::kCreate, .path = "a", .file = 0},
                                               {.kind = Kind::kWrite, .file = 0, .bytes = "whole"},
                                               {.kind = Kind::kSyncFolder, .path = ""}};
  EXPECT_EQ(StateAfterLoss(careless, 3, testing::NothingUnsafeIsKept()),
            (std::map<std::string, std::string>{{"a", ""}}));
  EXPECT_EQ(StateAfterLoss(careless, 3, testing::ZerosAreKept()),
            (std::map<std::string, std::string>{{"a", std::string(5, '\0')}}));
  auto careful = careless;
  careful.insert(careful.begin() + 2, {.kind = Kind::kSyncFile, .file = 0});
  EXPECT_EQ(StateAfterLoss(careful, 4, testing::NothingUnsafeIsKept()),
            (std::map<std::string, std::string>{{"a", "whole"}}));
}

TEST(SimulatedDisk, LosesNamesWhoseFolderWasNotSynced) {
  const std::vector<DiskOperation> operations = {{.kind = Kind::kMakeFolder, .path = "d"},
                                                 {.kind = Kind::kCreate, .path = "d/tmp", .file = 0},
                                                 {.kind = Kind::kWrite, .file = 0, .bytes = "x"},
                                                 {.kind = Kind::kSyncFile, .file = 0},
                                                 {.kind = Kind::kRename, .path = "d/tmp", .other = "d/a"},
                                                 {.kind = Kind::kSyncFolder, .path = "d"},
                                                 {.kind = Kind::kSyncFolder, .path = ""}};
  const std::map<std::string, std::string> none;
  const std::map<std::string, std::string> whole = {{"d/a", "x"}};
  EXPECT_EQ(StateAfterLoss(operations, 5, testing::NothingUnsafeIsKept()), none);
  EXPECT_EQ(StateAfterLoss(operations, 6, testing::NothingUnsafeIsKept()), none) << "the folder itself is not safe";
  EXPECT_EQ(StateAfterLoss(operations, 7, testing::NothingUnsafeIsKept()), whole);
  EXPECT_EQ(StateAfterLoss(operations, 5, testing::EverythingIsKept()), whole);
}

}  // namespace
}  // namespace millrace
