#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "pipeline/open_tables.h"
#include "pipeline/test_pipeline_internal.h"

namespace millrace::pipeline {

config::PipelineConfig TestConfig() {
  config::PipelineConfig config;
  config.name = config.app_id = "test";
  config.source.log = config::EmbeddedSource{};
  config.inputs[0].topics = {kSource.topic};
  config.inputs[0].decode.columns = {
      {.name = "id", .type = arrow::int64(), .path = {"id"}},
      {.name = "txt", .type = arrow::utf8(), .path = {"txt"}},
      {.name = "ts",
       .type = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"),
       .form = ingest::TimestampForm::kMicros,
       .path = {"ts"}},
  };
  config.inputs[0].event_time = config::EventTimeConfig{.column = "ts", .max_future = std::chrono::seconds(60)};
  config.transforms = {{"clean", "SELECT id, CAST(txt AS INTEGER) AS num, ts FROM input WHERE id >= 0"}};
  config.tables = {{.name = "raw"}, {.name = "cleaned", .from = "clean"}};
  config.aggregates = {{.name = "sums",
                        .sql = "SELECT window_start, num, count(*) AS n, sum(id) AS total "
                               "FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) GROUP BY ALL"}};
  return config;
}

lookup::LookupSpec NumsOf(const std::string& csv) {
  return {.name = "nums",
          .kind = lookup::SourceKind::kCsv,
          .uri = csv,
          .columns = {{.name = "txt", .type = arrow::utf8(), .path = {"txt"}},
                      {.name = "num", .type = arrow::int32(), .path = {"num"}}},
          .key = {"txt"}};
}

std::string Row(std::int64_t id, const std::string& txt, UnixMicros ts) {
  return fmt::format(R"({{"id": {}, "txt": "{}", "ts": {}}})", id, txt, ts);
}

model::FetchedRecords Fetched(model::OffsetRange range, std::map<model::Offset, std::optional<std::string>> payloads,
                              std::int64_t generation) {
  auto owned = std::make_shared<const std::map<model::Offset, std::optional<std::string>>>(std::move(payloads));
  model::FetchedRecords fetched{.source = kSource, .range = range, .generation = generation, .append_time = true};
  for (const auto& [offset, payload] : *owned) {
    fetched.records.push_back({.offset = offset, .timestamp = kLogTime, .payload = payload});
    fetched.bytes += payload ? payload->size() : 0;
  }
  fetched.owner = std::const_pointer_cast<std::map<model::Offset, std::optional<std::string>>>(owned);
  return fetched;
}

model::FetchedRecords FetchedRows(model::OffsetRange range) {
  std::map<model::Offset, std::optional<std::string>> payloads;
  for (model::Offset offset = range.begin; offset < range.end; ++offset) payloads[offset] = Row(offset);
  return Fetched(range, std::move(payloads));
}

TestPipeline::TestPipeline(config::PipelineConfig config, ShardOptions options,
                           const std::map<int, std::shared_ptr<arrow::Schema>>& lake_schemas, const Clock& clock) {
  static std::atomic<int> count{0};
  folder_ = std::filesystem::temp_directory_path() / fmt::format("millrace_pipeline_{}_{}", ::getpid(), ++count);
  std::filesystem::create_directories(folder_);
  plan_ = MakePlan(std::move(config)).ValueOrDie();
  store_ = std::make_shared<testing::FaultyStore>(objectstore::OpenStore(folder_.string()).ValueOrDie());
  lake_ = store_;
  std::vector<std::shared_ptr<objectstore::ObjectStore>> stores;
  for (const auto& [t, schema] : lake_schemas) {
    delta::Table::OpenOrCreate(OpenTableStore(*plan_, t, lake_).ValueOrDie(),
                               {.schema = schema, .partition_columns = plan_->tables[t].partition_columns})
        .ValueOrDie();
  }
  for (auto& opened : OpenTables(*plan_, lake_).ValueOrDie()) {
    stores.push_back(opened.table->store());
    tables_.push_back(std::move(opened.table));
  }
  shard_ = Shard::Make(plan_, std::move(stores), std::move(options), clock).ValueOrDie();
}

TestPipeline::~TestPipeline() {
  shard_.reset();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void TestPipeline::Start() {
  std::vector<model::Offset> next;
  for (int t = 0; t < plan_->num_data_tables(); ++t) {
    next.push_back(progress_.NextOffset(*tables_[t]->snapshot(), kSource).value_or(0));
  }
  StartAt(next);
}

std::shared_ptr<const PartitionProgress> TestPipeline::StartAt(const std::vector<model::Offset>& next,
                                                               std::map<std::string, model::Offset> letter_stages,
                                                               std::optional<model::Offset> read_from) {
  Shard::PartitionStart start{.source = kSource,
                              .generation = 1,
                              .read_from = read_from.value_or(*std::min_element(next.begin(), next.end())),
                              .sinks = {},
                              .letter_stages = std::move(letter_stages),
                              .earlier = nullptr,
                              .progress = std::make_shared<PartitionProgress>()};
  for (std::size_t t = 0; t < next.size(); ++t) {
    start.sinks.push_back({.next = next[t],
                           .covered_from = next[t],
                           .fence = progress_.Fence(*tables_[t]->snapshot(), kSource),
                           .table_schema = tables_[t]->snapshot()->schema});
  }
  const auto progress = start.progress;
  shard_->Start(std::move(start));
  return progress;
}

Result<PreparedEpoch> TestPipeline::Prepare(int table) {
  ASSIGN_OR_RETURN(auto sealed, shard_->sink(table).Seal(next_epoch_++));
  std::vector<SealedPart> parts;
  parts.push_back(std::move(sealed));
  return PrepareEpoch(plan_->tables[table], *tables_[table], std::move(parts));
}

Result<EpochOutcome> TestPipeline::CommitLettersOf(std::vector<model::DeadLetter> letters, model::Offset end) {
  LetterEpoch epoch{.letters = std::move(letters), .ends = {{kSource, end}}, .fence = {}};
  const std::string id = progress_.AppId(kSource);
  epoch.fence[id] = tables_.back()->snapshot()->TxnVersion(id);
  return CommitLetters(*plan_, *tables_.back(), progress_, epoch);
}

Result<EpochOutcome> TestPipeline::Commit(int table) {
  const model::Offset end = *shard_->sink(table).Next(kSource);
  if (auto letters = shard_->TakeLetters(); !letters.empty()) {
    RETURN_NOT_OK(CommitLettersOf(std::move(letters), end).status());
  }
  ASSIGN_OR_RETURN(const auto epoch, Prepare(table));
  return CommitEpoch(*plan_, table, *tables_[table], progress_, epoch);
}

Status TestPipeline::CommitAll() {
  for (int t = 0; t < plan_->num_data_tables(); ++t) {
    ASSIGN_OR_RETURN(const auto outcome, Commit(t));
    if (!std::holds_alternative<EpochCommitted>(outcome)) return Conflict("table {} was fenced", plan_->tables[t].name);
  }
  return Status::OK();
}

}  // namespace millrace::pipeline
