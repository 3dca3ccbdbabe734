// One of the processes of many_writers_test.py: appends rows (producer, seq) to a shared table and goes on after a
// crash where the table says it was.
//
//   append_rows URI PRODUCER COMMITS ROWS_PER_COMMIT COMMIT_WITHIN_MS
//
// Goes on after COMMITS until standard input ends, then says how many rows it has appended in all: {"rows":36}. A file
// that is not committed so soon after it was begun is given up: only then a vacuum with a retention of seconds is fair.
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "delta/data/data_file.h"
#include "delta/table.h"
#include "objectstore/object_store.h"
#include "testing/batch_from_json.h"

namespace millrace {
namespace {

constexpr int kTriesMax = 10'000;
constexpr int kVersionsPerCheckpoint = 20;

std::shared_ptr<arrow::Schema> Schema() {
  return arrow::schema({arrow::field("producer", arrow::int64()), arrow::field("seq", arrow::int64())});
}

bool InputEnded() {
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  return poll(&input, 1, 0) > 0;
}

bool MayTryAgain(const Status& status) {
  return KindOf(status) == ErrorKind::kTransient || KindOf(status) == ErrorKind::kUnknownOutcome;
}

// The rows after `done`, as one commit. What the table holds afterwards says whether it was made.
Status AppendNext(delta::Table& table, const std::string& app_id, int producer, std::int64_t done, int num_rows,
                  std::chrono::milliseconds commit_within) {
  const auto deadline = std::chrono::steady_clock::now() + commit_within;
  std::string rows = "[";
  for (std::int64_t seq = done + 1; seq <= done + num_rows; ++seq) {
    rows += fmt::format(R"({}{{"producer": {}, "seq": {}}})", rows.size() > 1 ? "," : "", producer, seq);
  }
  ASSIGN_OR_RETURN(auto writer, delta::DataFileWriter::Make(table.store(), Schema(), {}));
  RETURN_NOT_OK(writer->Append(*testing::BatchFromJson(Schema(), rows + "]")));
  ASSIGN_OR_RETURN(auto add, writer->Finish());
  delta::CommitRequest request;
  request.adds.push_back(std::move(add));
  request.txns.push_back({.app_id = app_id, .version = done + num_rows, .last_updated_ms = {}});
  request.fence[app_id] = table.snapshot()->TxnVersion(app_id);
  ASSIGN_OR_RETURN(const auto outcome, table.Commit(request, {.attempts_max = 300}, deadline));
  if (const auto* committed = std::get_if<delta::Committed>(&outcome)) {
    if (committed->version % kVersionsPerCheckpoint == 0) RETURN_NOT_OK(table.WriteCheckpoint());
  }
  return Status::OK();
}

Status Run(const std::string& uri, int producer, int commits, int num_rows, std::chrono::milliseconds commit_within) {
  const std::string app_id = fmt::format("producer-{}", producer);
  Status last;
  std::shared_ptr<delta::Table> table;
  for (int attempt = 0; attempt < kTriesMax; ++attempt) {
    if (table == nullptr) {
      const auto open = [&]() -> Result<std::shared_ptr<delta::Table>> {
        ASSIGN_OR_RETURN(const auto store, objectstore::OpenStore(uri));
        delta::CreateOptions options;
        options.schema = Schema();
        return delta::Table::OpenOrCreate(store, options);
      };
      auto opened = open();
      if (!opened.ok()) {
        if (!MayTryAgain(opened.status())) return opened.status();
        last = opened.status();
        continue;
      }
      table = *opened;
    }
    const auto fresh = table->Refresh();
    if (!fresh.ok()) {
      if (!MayTryAgain(fresh.status())) return fresh.status();
      last = fresh.status();
      continue;
    }
    const std::int64_t done = (*fresh)->TxnVersion(app_id).value_or(0);
    if (done >= std::int64_t{commits} * num_rows && InputEnded()) {
      std::printf("{\"rows\":%lld}\n", static_cast<long long>(done));
      return Status::OK();
    }
    const Status appended = AppendNext(*table, app_id, producer, done, num_rows, commit_within);
    if (!appended.ok() && !MayTryAgain(appended)) return appended;
    if (!appended.ok()) last = appended;
  }
  return WithContext(last, "gave up after {} tries", kTriesMax);
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: append_rows URI PRODUCER COMMITS ROWS_PER_COMMIT COMMIT_WITHIN_MS\n");
    return 2;
  }
  const auto status = millrace::Run(argv[1], std::atoi(argv[2]), std::atoi(argv[3]), std::atoi(argv[4]),
                                    std::chrono::milliseconds(std::atoi(argv[5])));
  if (status.ok()) return 0;
  std::fprintf(stderr, "append_rows: %s\n", status.ToString().c_str());
  return 1;
}
