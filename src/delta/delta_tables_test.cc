// Tables of other writers: what we support must read exactly as an independent reader read it, what we do not support
// must be refused by name, what is broken must be called broken. The tables and what is expected of each are in
// MILLRACE_DELTA_TABLES (environment, else the build's setting); without them the test is skipped, visibly.
#include <arrow/compute/api.h>
#include <arrow/table.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>
#include <simdjson.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <regex>

#include "base/uuid.h"
#include "delta/data/data_file.h"
#include "delta/data/scan.h"
#include "delta/log/log_replay.h"
#include "delta/table.h"
#include "testing/status_matchers.h"

namespace millrace::delta {
namespace {

namespace fs = std::filesystem;

// Rows as text, sorted: a multiset that can be compared and printed.
Result<std::vector<std::string>> RowsAsText(const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches,
                                            const arrow::Schema& schema) {
  std::vector<std::string> rows;
  for (const auto& batch : batches) {
    arrow::ArrayVector columns;
    for (const auto& field : schema.fields()) {
      auto column = batch->GetColumnByName(field->name());
      if (column == nullptr) return Internal("no column {}", field->name());
      const bool nested = field->type()->num_fields() > 0;
      if (!nested && !column->type()->Equals(*field->type())) {
        ASSIGN_OR_RETURN(column, arrow::compute::Cast(*column, field->type()));
      }
      columns.push_back(std::move(column));
    }
    for (std::int64_t i = 0; i < batch->num_rows(); ++i) {
      std::string row;
      for (const auto& column : columns) {
        ASSIGN_OR_RETURN(const auto scalar, column->GetScalar(i));
        // Without the types of nested values: readers name a map's entries differently.
        row += std::regex_replace(scalar->ToString(), std::regex("(map|list)<[^\\[]*>\\["), "$1[") + " | ";
      }
      rows.push_back(std::move(row));
    }
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

Result<std::vector<std::string>> ExpectedRows(const fs::path& file, const arrow::Schema& schema) {
  if (!fs::exists(file)) return std::vector<std::string>();  // A table without rows.
  ASSIGN_OR_RETURN(const auto store,
                   objectstore::OpenStore(file.parent_path().string(), objectstore::IfMissing::kRefuse));
  ASSIGN_OR_RETURN(const auto input, store->Open(file.filename().string()));
  ASSIGN_OR_RETURN(const auto reader, parquet::arrow::OpenFile(input, arrow::default_memory_pool()));
  ASSIGN_OR_RETURN(const auto table, reader->ReadTable());
  ASSIGN_OR_RETURN(const auto batch, table->CombineChunksToBatch());
  return RowsAsText({batch}, schema);
}

Result<std::vector<std::string>> TableRows(const std::shared_ptr<objectstore::ObjectStore>& store,
                                           const SnapshotPtr& snapshot) {
  ASSIGN_OR_RETURN(const auto reader, OpenScan(store, snapshot));
  ASSIGN_OR_RETURN(const auto batches, reader->ToRecordBatches());
  return RowsAsText(batches, *snapshot->schema);
}

struct Expectation {
  std::string table;
  std::string outcome;
  std::vector<std::string> needs;
  std::int64_t version = -1;
  std::map<std::string, std::int64_t> txns;
  std::map<TableVersion, std::int64_t> rows_at_version;
};

std::vector<Expectation> ReadManifest(const fs::path& root) {
  std::vector<Expectation> out;
  simdjson::dom::parser parser;
  for (const simdjson::dom::element entry : parser.load((root / "manifest.json").string())["tables"].get_array()) {
    Expectation e;
    e.table = std::string(entry["table"].get_string().value());
    e.outcome = std::string(entry["outcome"].get_string().value());
    simdjson::dom::array needs;
    if (entry["needs"].get(needs) == simdjson::SUCCESS) {
      for (const simdjson::dom::element need : needs) e.needs.emplace_back(need.get_string().value());
    }
    if (entry["version"].get(e.version) != simdjson::SUCCESS) e.version = -1;
    simdjson::dom::object txns;
    if (entry["txn"].get(txns) == simdjson::SUCCESS) {
      for (const auto txn : txns) e.txns.emplace(txn.key, txn.value.get_int64().value());
    }
    simdjson::dom::object versions;
    if (entry["rows_at_version"].get(versions) == simdjson::SUCCESS) {
      for (const auto at : versions) {
        std::int64_t rows = 0;
        if (at.value.get(rows) == simdjson::SUCCESS) e.rows_at_version.emplace(std::stoll(std::string(at.key)), rows);
      }
    }
    out.push_back(std::move(e));
  }
  return out;
}

TEST(DeltaTables, OfOtherWritersReadAsExpectedOrAreRefusedByName) {
  const char* from_environment = std::getenv("MILLRACE_DELTA_TABLES");
  const fs::path root = from_environment != nullptr ? from_environment : MILLRACE_DELTA_TABLES;
  if (!fs::exists(root / "manifest.json")) GTEST_SKIP() << "no tables in " << root << "; set MILLRACE_DELTA_TABLES";
  const fs::path scratch = fs::temp_directory_path() / ("delta-tables-" + RandomUuid());
  int read = 0;
  int refused = 0;
  for (const auto& e : ReadManifest(root)) {
    SCOPED_TRACE(e.table);
    const fs::path copy = scratch / e.table;
    fs::create_directories(copy.parent_path());
    fs::copy(root / e.table / "delta", copy, fs::copy_options::recursive);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto store, objectstore::OpenStore(copy.string()));
    const auto table = Table::Open(store);
    if (e.outcome == "error") {
      EXPECT_FALSE(table.ok());
      if (!table.ok()) {
        EXPECT_EQ(KindOf(table.status()), ErrorKind::kCorrupt) << table.status();
      }
      continue;
    }
    if (!table.ok()) {
      ++refused;
      EXPECT_EQ(KindOf(table.status()), ErrorKind::kUnsupported) << table.status();
      const bool named = std::any_of(e.needs.begin(), e.needs.end(), [&](const std::string& need) {
        return table.status().message().find(need) != std::string::npos;
      });
      EXPECT_TRUE(named) << table.status();
      continue;
    }
    EXPECT_NE(e.outcome, "refuse");
    ++read;
    const auto snapshot = (*table)->snapshot();
    EXPECT_EQ(snapshot->version, e.version);
    for (const auto& [app_id, version] : e.txns) EXPECT_EQ(snapshot->TxnVersion(app_id), version) << app_id;
    if (e.outcome == "log_only") continue;
    const auto rows = TableRows(store, snapshot);
    EXPECT_TRUE(rows.ok()) << rows.status();
    for (const auto& [version, want] : e.rows_at_version) {
      const auto old = LoadVersion(*store, version);
      EXPECT_TRUE(old.ok()) << old.status();
      if (!old.ok()) continue;
      const auto old_rows = TableRows(store, *old);
      EXPECT_TRUE(old_rows.ok()) << version << ": " << old_rows.status();
      if (old_rows.ok()) {
        EXPECT_EQ(std::ssize(*old_rows), want) << "version " << version;
      }
    }
    if (e.table == "delta-rs/table_with_edge_timestamps") {
      // The other reader turns INT96 into nanoseconds and wraps the year 9999 around to 1816; the log's statistics and
      // Spark, which wrote it, say 9999.
      EXPECT_EQ(*rows, (std::vector<std::string>{"9999-12-30 00:00:00.000000Z | 2022-02-01 00:00:00.000000Z | 2 | ",
                                                 "9999-12-31 00:00:00.000000Z | 2022-01-01 00:00:00.000000Z | 1 | "}));
      continue;
    }
    const auto want = ExpectedRows(root / e.table / "expected" / "rows.parquet", *snapshot->schema);
    EXPECT_TRUE(want.ok()) << want.status();
    std::int64_t counted = 0;
    bool all_counted = true;
    for (const auto& [key, file] : snapshot->files) {
      const auto count = NumLiveRecords(file);
      counted += count.value_or(0);
      all_counted = all_counted && count.has_value();
    }
    if (rows.ok() && want.ok()) {
      EXPECT_EQ(*rows, *want);
      if (all_counted) {
        EXPECT_EQ(counted, std::ssize(*rows)) << "by the statistics";
      }
    }
  }
  fs::remove_all(scratch);
  RecordProperty("tables_read", read);
  RecordProperty("tables_refused", refused);
  std::printf("tables read: %d, refused by name: %d\n", read, refused);
  EXPECT_GE(read, 70);
}

}  // namespace
}  // namespace millrace::delta
