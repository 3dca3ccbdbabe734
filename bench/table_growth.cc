// How a table's age shows: opening it, committing to it and answering from it, once it has many commits and files.
//
//   table_growth make FOLDER COMMITS FILES    a table of partial rows as it is after COMMITS commits: a checkpoint with
//                                             FILES live files, 99 commits after it, and the newest 100,000 of those
//                                             before it (older ones have been cleaned up)
//   table_growth open FOLDER                  what opening costs, and reading the checkpoint with Arrow; JSON
//   table_growth use FOLDER                   what 100 more commits cost, and an answer after each; JSON
#include <parquet/arrow/reader.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>

#include "delta/data/data_file.h"
#include "delta/log/checkpoint.h"
#include "delta/log/log_listing.h"
#include "delta/table.h"
#include "model/aggregate.h"
#include "query/committed_rows.h"
#include "query/merge.h"
#include "testing/batch_from_json.h"

namespace millrace {
namespace {

constexpr std::int64_t kMicrosPerMinute = 60'000'000;
constexpr UnixMicros kNow = 1'795'341'600'000'000 / kMicrosPerMinute * kMicrosPerMinute;
constexpr std::int64_t kCommitsAfterCheckpoint = 99;
constexpr std::int64_t kCommitsKept = 100'000;
constexpr int kMeasured = 100;

model::AggregateDefinition Definition() {
  model::AggregateDefinition definition;
  definition.name = "clicks_1m";
  definition.window = model::Window::Tumbling(kMicrosPerMinute);
  definition.keys = {{"country", arrow::utf8()}, {"page", arrow::utf8()}};
  definition.states = {{"_s0", arrow::int64(), "count"}, {"_s1", arrow::decimal128(38, 2), "sum"}};
  return definition;
}

double PeakMib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

double Millis(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// A file that was committed long ago: it is in the log, but its windows are asked for by nobody here.
delta::AddFile OldFile(std::int64_t index, std::int64_t num_files) {
  const std::int64_t start_s = (kNow - (num_files - index + 60) * kMicrosPerMinute) / 1'000'000;
  const auto time = static_cast<std::time_t>(start_s);
  std::tm utc{};
  gmtime_r(&time, &utc);
  char text[40];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S.000Z", &utc);
  delta::AddFile add;
  // Names are random, so a checkpoint in the order of time is not in the order of names.
  add.path = fmt::format("part-00000-{:016x}-{:08x}.zstd.parquet",
                         static_cast<std::uint64_t>(index + 1) * 0x9E3779B97F4A7C15ULL, index);
  add.size = 100'000 + index % 1000;
  add.modification_time_ms = start_s * 1000;
  add.stats = fmt::format(
      R"({{"numRecords":1000,"minValues":{{"window_start":"{0}","window_end":"{0}","country":"AU","page":"/products/0","_s0":1,"_s1":0.01,"_rows":1}},)"
      R"("maxValues":{{"window_start":"{0}","window_end":"{0}","country":"US","page":"/products/99","_s0":1000,"_s1":999.99,"_rows":1000}},)"
      R"("nullCount":{{"window_start":0,"window_end":0,"country":0,"page":0,"_s0":0,"_s1":0,"_rows":0}}}})",
      text);
  return add;
}

Status Append(delta::Table& table, std::int64_t sequence) {
  const auto schema = model::PartialSchema(Definition());
  ASSIGN_OR_RETURN(auto writer, delta::DataFileWriter::Make(table.store(), schema, {}));
  const std::string rows = fmt::format(
      R"([[{0}, {1}, "de", "/a", 1, "1.00", 1], [{0}, {1}, "fr", "/b", 2, "2.00", 2]])", kNow, kNow + kMicrosPerMinute);
  RETURN_NOT_OK(writer->Append(*testing::BatchFromJson(schema, rows)));
  ASSIGN_OR_RETURN(auto file, writer->Finish());
  delta::CommitRequest request;
  request.adds = {std::move(file)};
  request.txns = {{.app_id = "app-0", .version = sequence, .last_updated_ms = std::nullopt}};
  ASSIGN_OR_RETURN(const auto outcome, table.Commit(request));
  return std::holds_alternative<delta::Committed>(outcome) ? Status::OK() : Internal("fenced, but nobody else writes");
}

Status Make(const std::string& folder, std::int64_t commits, std::int64_t files) {
  ASSIGN_OR_RETURN(auto store, objectstore::OpenStore(folder));
  delta::CreateOptions options;
  options.schema = model::PartialSchema(Definition());
  ASSIGN_OR_RETURN(auto created, delta::Table::OpenOrCreate(store, options));
  delta::Snapshot grown = *created->snapshot();
  grown.version = commits - kCommitsAfterCheckpoint;
  for (int p = 0; p < 64; ++p) {
    const std::string app_id = "app-" + std::to_string(p);
    grown.txns[app_id] = {.app_id = app_id, .version = grown.version, .last_updated_ms = std::nullopt};
  }
  for (std::int64_t i = 0; i < files; ++i) {
    auto add = OldFile(i, files);
    grown.num_bytes += add.size;
    grown.files.Set(add.path, add);
  }
  const std::int64_t kept_from = std::max<std::int64_t>(1, grown.version - kCommitsKept);
  if (kept_from > 1) RETURN_NOT_OK(store->Delete(delta::CommitKey(0)));
  for (std::int64_t version = kept_from; version <= grown.version; ++version) {
    std::ofstream(folder + '/' + delta::CommitKey(version))
        << R"({"commitInfo":{"operation":"STREAMING UPDATE"}})" << '\n';
  }
  RETURN_NOT_OK(delta::WriteCheckpointFile(*store, grown, kNow / 1000));
  ASSIGN_OR_RETURN(auto table, delta::Table::Open(store));
  for (std::int64_t i = 1; i <= kCommitsAfterCheckpoint; ++i) RETURN_NOT_OK(Append(*table, grown.version + i));
  return Status::OK();
}

Status Open(const std::string& folder) {
  ASSIGN_OR_RETURN(auto store, objectstore::OpenStore(folder));
  auto begun = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(auto table, delta::Table::Open(store));
  const double open_ms = Millis(begun);
  const double open_mib = PeakMib();

  ASSIGN_OR_RETURN(const auto hint, delta::ReadLastCheckpointHint(*store));
  ASSIGN_OR_RETURN(auto input, store->Open(fmt::format("{}{:020d}.checkpoint.parquet", delta::kLogPrefix, *hint)));
  begun = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(auto reader, parquet::arrow::OpenFile(input, arrow::default_memory_pool()));
  ASSIGN_OR_RETURN(const auto rows, reader->ReadTable());
  std::printf("{\"files\": %zu, \"open_ms\": %.1f, \"open_mib\": %.1f, \"parquet_ms\": %.1f}\n",
              table->snapshot()->files.size(), open_ms, open_mib, Millis(begun));
  return Status::OK();
}

Status Use(const std::string& folder) {
  ASSIGN_OR_RETURN(auto store, objectstore::OpenStore(folder));
  ASSIGN_OR_RETURN(auto table, delta::Table::Open(store));
  const auto version = table->snapshot()->version;
  const auto definition = std::make_shared<const model::AggregateDefinition>(Definition());
  query::CommittedRows committed(query::MakePartialFileCache(64 << 20), 64 << 20);
  const query::FoldRange range{.from = kNow - 5 * kMicrosPerMinute, .to = std::nullopt};
  std::int64_t bytes_read = 0;
  const auto answer = [&]() -> Result<double> {
    const auto asked = std::chrono::steady_clock::now();
    ASSIGN_OR_RETURN(const auto rows,
                     committed.Read(*table, table->snapshot(), *definition, definition, range, &bytes_read));
    if (rows->num_rows() != 2) return Internal("{} rows answered, not 2", rows->num_rows());
    return Millis(asked);
  };
  ASSIGN_OR_RETURN(const double first_answer_ms, answer());
  std::vector<double> commits;
  std::vector<double> answers;
  for (int i = 1; i <= kMeasured; ++i) {
    const auto begun = std::chrono::steady_clock::now();
    RETURN_NOT_OK(Append(*table, version + i));
    commits.push_back(Millis(begun));
    ASSIGN_OR_RETURN(const double ms, answer());
    answers.push_back(ms);
  }
  std::printf("{\"commit_ms\": %.2f, \"first_answer_ms\": %.1f, \"answer_ms\": %.2f}\n", Median(commits),
              first_answer_ms, Median(answers));
  return Status::OK();
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  ::setenv("ARROW_DEFAULT_MEMORY_POOL", "system", /*overwrite=*/0);
  const std::string verb = argc > 2 ? argv[1] : "";
  millrace::Status status =
      millrace::InvalidInput("usage: table_growth make FOLDER COMMITS FILES | open FOLDER | use FOLDER");
  if (verb == "make" && argc == 5) status = millrace::Make(argv[2], std::atoll(argv[3]), std::atoll(argv[4]));
  if (verb == "open" && argc == 3) status = millrace::Open(argv[2]);
  if (verb == "use" && argc == 3) status = millrace::Use(argv[2]);
  if (!status.ok()) std::fprintf(stderr, "table_growth: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
