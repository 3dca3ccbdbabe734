/// For this folder's tests: a small pipeline on a lake in a temporary folder, worked by hand, one step at a time.
///
/// Columns id int64, txt string, ts timestamp_us. Transform `clean` keeps id >= 0 and casts txt to an integer. Tables
/// `raw` (from input), `cleaned` (from clean); aggregate `sums` over clean, by the minute and `num`.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/epoch_commit.h"
#include "pipeline/plan.h"
#include "pipeline/shard.h"
#include "testing/faulty_store.h"

namespace millrace::pipeline {

inline constexpr UnixMicros kLogTime = 1'767'225'600'000'000;  // 2026-01-01T00:00:00Z
inline constexpr UnixMicros kHour = 3'600'000'000;
inline const model::TopicPartition kSource{"events", 0};
enum TestTable { kRaw, kCleaned, kSums, kLetters };

config::PipelineConfig TestConfig();

/// A lookup `nums`, by `txt`, with the column `num`, an integer, of a CSV file.
lookup::LookupSpec NumsOf(const std::string& csv);

/// {"id": id, "txt": "txt", "ts": kLogTime}
std::string Row(std::int64_t id, const std::string& txt = "1", UnixMicros ts = kLogTime);

/// The records of one fetch; offsets that are not named are holes, nullopt is a tombstone.
model::FetchedRecords Fetched(model::OffsetRange range, std::map<model::Offset, std::optional<std::string>> payloads,
                              std::int64_t generation = 1);
/// A row at every offset.
model::FetchedRecords FetchedRows(model::OffsetRange range);

class TestPipeline {
 public:
  /// `lake_schemas`: by table, where it is not the plan's.
  explicit TestPipeline(config::PipelineConfig config = TestConfig(), ShardOptions options = {},
                        const std::map<int, std::shared_ptr<arrow::Schema>>& lake_schemas = {},
                        const Clock& clock = SystemClock());
  ~TestPipeline();

  const Plan& plan() const { return *plan_; }
  std::shared_ptr<const Plan> shared_plan() const { return plan_; }
  /// Every table is new, and so names its offsets alike.
  const Progress& progress() const { return progress_; }
  Shard& shard() { return *shard_; }
  delta::Table& table(int index) { return *tables_[index]; }
  testing::FaultyStore& store() { return *store_; }
  const std::shared_ptr<objectstore::ObjectStore>& lake() const { return lake_; }
  const std::filesystem::path& folder() const { return folder_; }

  /// Starts kSource at what the tables hold, as the worker does.
  void Start();
  /// Starts kSource at these offsets, by table of the plan; it is read from the lowest on, or from before. Gives what
  /// its records show from then on.
  std::shared_ptr<const PartitionProgress> StartAt(const std::vector<model::Offset>& next,
                                                   std::map<std::string, model::Offset> letter_stages = {},
                                                   std::optional<model::Offset> read_from = std::nullopt);

  Result<PreparedEpoch> Prepare(int table);
  /// Dead letters first, then the table's open epoch.
  Result<EpochOutcome> Commit(int table);
  Status CommitAll();
  Result<EpochOutcome> CommitLettersOf(std::vector<model::DeadLetter> letters, model::Offset end);

 private:
  std::filesystem::path folder_;
  std::shared_ptr<const Plan> plan_;
  Progress progress_{"test", {kSource.topic}, std::nullopt};
  std::shared_ptr<testing::FaultyStore> store_;
  std::shared_ptr<objectstore::ObjectStore> lake_;
  std::vector<std::shared_ptr<delta::Table>> tables_;
  std::unique_ptr<Shard> shard_;
  std::int64_t next_epoch_ = 1;
};

}  // namespace millrace::pipeline
