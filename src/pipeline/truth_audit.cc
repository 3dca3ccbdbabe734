#include "pipeline/truth_audit.h"

#include <arrow/array.h>
#include <arrow/io/file.h>
#include <arrow/table.h>
#include <arrow/util/key_value_metadata.h>
#include <fmt/format.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "delta/data/scan.h"
#include "delta/table.h"
#include "model/event_batch.h"
#include "model/truth.h"
#include "pipeline/open_tables.h"

namespace millrace::pipeline {
namespace {

constexpr const char* kEventId = "event_id";
constexpr std::int64_t kSessionBytes = std::int64_t{8} << 30;

/// By the sender's clock and the reader's, which differ a little.
constexpr std::chrono::microseconds kClocksDiffer = std::chrono::seconds(1);

/// The rows of several streams, one after the other.
class Chained final : public arrow::RecordBatchReader {
 public:
  explicit Chained(std::vector<std::shared_ptr<arrow::RecordBatchReader>> streams) : streams_(std::move(streams)) {}

  std::shared_ptr<arrow::Schema> schema() const override { return streams_.front()->schema(); }
  Status ReadNext(std::shared_ptr<arrow::RecordBatch>* batch) override {
    for (; current_ < streams_.size(); ++current_) {
      RETURN_NOT_OK(streams_[current_]->ReadNext(batch));
      if (*batch != nullptr) return Status::OK();
    }
    batch->reset();
    return Status::OK();
  }

 private:
  const std::vector<std::shared_ptr<arrow::RecordBatchReader>> streams_;
  std::size_t current_ = 0;
};

/// Keeps its file open.
class TruthRows final : public arrow::RecordBatchReader {
 public:
  TruthRows(std::unique_ptr<parquet::arrow::FileReader> file, std::unique_ptr<arrow::RecordBatchReader> rows)
      : file_(std::move(file)), rows_(std::move(rows)) {}
  std::shared_ptr<arrow::Schema> schema() const override { return rows_->schema(); }
  Status ReadNext(std::shared_ptr<arrow::RecordBatch>* batch) override { return rows_->ReadNext(batch); }

 private:
  const std::unique_ptr<parquet::arrow::FileReader> file_;
  const std::unique_ptr<arrow::RecordBatchReader> rows_;
};

Result<std::unique_ptr<parquet::arrow::FileReader>> OpenParquet(const std::string& path) {
  const auto no_truth = [&path](const std::string& why) {
    return InvalidInput("{} is no truth of 'millrace simulate --truth': {}", path, why);
  };
  auto file = arrow::io::ReadableFile::Open(path);
  if (!file.ok()) return InvalidInput("--truth {}: the file cannot be read", path);
  std::unique_ptr<parquet::arrow::FileReader> reader;
  try {
    parquet::arrow::FileReaderBuilder builder;
    if (const Status opened = builder.Open(*file); !opened.ok()) return no_truth(opened.message());
    RETURN_NOT_OK(builder.Build(&reader));
  } catch (const parquet::ParquetException& e) {
    return no_truth(e.what());
  }
  std::shared_ptr<arrow::Schema> schema;
  RETURN_NOT_OK(reader->GetSchema(&schema));
  if (!schema->Equals(*model::TruthSchema(), /*check_metadata=*/false)) return no_truth("it has other columns");
  return reader;
}

Result<std::string> TopicOf(const std::string& path) {
  ASSIGN_OR_RETURN(const auto reader, OpenParquet(path));
  const auto metadata = reader->parquet_reader()->metadata()->key_value_metadata();
  const int key = metadata == nullptr ? -1 : metadata->FindKey(std::string(model::kTruthTopic));
  if (key < 0) return InvalidInput("{} is of events that went to a file, not to a topic", path);
  return metadata->value(key);
}

Result<std::shared_ptr<arrow::RecordBatchReader>> ReadTruths(const std::vector<std::string>& paths,
                                                             const std::vector<int>& columns) {
  std::vector<std::shared_ptr<arrow::RecordBatchReader>> streams;
  for (const auto& path : paths) {
    ASSIGN_OR_RETURN(auto file, OpenParquet(path));
    std::vector<int> row_groups;
    for (int group = 0; group < file->num_row_groups(); ++group) row_groups.push_back(group);
    ASSIGN_OR_RETURN(auto rows, file->GetRecordBatchReader(row_groups, columns));
    streams.push_back(std::make_shared<TruthRows>(std::move(file), std::move(rows)));
  }
  return std::make_shared<Chained>(std::move(streams));
}

using Tables = std::vector<std::shared_ptr<delta::Table>>;

/// `name` means these fields of the rows of all tables that satisfy `where`.
Status RegisterScan(sql::SqlSession& session, const std::string& name, const Tables& tables, arrow::FieldVector fields,
                    delta::Conjunction where) {
  const auto open = [tables, fields,
                     where](const std::vector<int>& wanted) -> Result<std::shared_ptr<arrow::RecordBatchReader>> {
    delta::ScanOptions options{.where = where};
    arrow::FieldVector wanted_fields;
    for (const int field : wanted) {
      wanted_fields.push_back(fields[static_cast<std::size_t>(field)]);
      options.columns.push_back(wanted_fields.back()->name());
    }
    std::vector<std::shared_ptr<arrow::RecordBatchReader>> streams;
    for (const auto& table : tables) {
      ASSIGN_OR_RETURN(auto stream, delta::OpenScan(table->store(), table->snapshot(), options));
      streams.push_back(std::move(stream));
    }
    if (streams.empty()) return arrow::RecordBatchReader::Make({}, arrow::schema(wanted_fields));
    return std::make_shared<Chained>(std::move(streams));
  };
  return session.RegisterStream(name, arrow::schema(fields), open);
}

/// A table, or all of its family.
Tables TablesOf(const OpenTable& opened) {
  if (opened.family == nullptr) return {opened.table};
  Tables tables;
  for (const auto& route : opened.family->routes()) {
    if (route.table != nullptr) tables.push_back(route.table);
  }
  return tables;
}

/// The first row's columns, which are all numbers.
Result<std::vector<std::int64_t>> Numbers(sql::SqlSession& session, const std::string& sql) {
  ASSIGN_OR_RETURN(const auto table, session.Query(sql));
  std::vector<std::int64_t> numbers;
  for (const auto& column : table->columns()) {
    const auto& chunk = static_cast<const arrow::Int64Array&>(*column->chunk(0));
    numbers.push_back(chunk.IsNull(0) ? 0 : chunk.Value(0));
  }
  return numbers;
}

/// `letters` means those of a table's stages, but not of events for which a family has no table: the number of these.
Result<std::int64_t> RegisterLetters(sql::SqlSession& session, const std::shared_ptr<delta::Table>& table,
                                     const std::string& topic, const std::vector<std::string>& stages) {
  const auto snapshot = table->snapshot();
  const auto field = [&](const char* name) { return snapshot->schema->GetFieldByName(name); };
  delta::Conjunction others = {{.column = "topic", .values = {topic}},
                               {.column = "stage", .comparator = delta::Comparator::kIn}};
  for (const auto& stage : stages) others[1].values.emplace_back(stage);
  delta::Conjunction without_table = others;
  without_table.push_back({.column = "reason", .comparator = delta::Comparator::kIn});
  for (const std::string reason : {kRouteNull, kRouteName, kRouteLimit}) {
    without_table.back().values.emplace_back(reason);
    others.push_back({.column = "reason", .comparator = delta::Comparator::kNotEqual, .values = {reason}});
  }
  RETURN_NOT_OK(
      RegisterScan(session, "letters", {table}, {field("partition"), field("offset"), field("payload")}, others));
  RETURN_NOT_OK(RegisterScan(session, "without_table", {table}, {field("partition"), field("offset")}, without_table));
  ASSIGN_OR_RETURN(const auto counts,
                   Numbers(session, R"(SELECT count(DISTINCT ("partition", "offset")) FROM without_table)"));
  return counts[0];
}

Result<TruthSent> CountSent(sql::SqlSession& session) {
  ASSIGN_OR_RETURN(const auto counts, Numbers(session, R"(
    SELECT count(*), count(*) FILTER (fate = 'valid'), count(*) FILTER (fate = 'valid' AND late_us >= 1000000),
           count(*) FILTER (fate = 'duplicate'), count(*) FILTER (fate = 'malformed'),
           count(*) FILTER (outcome = 'acknowledged'), count(*) FILTER (outcome = 'refused'),
           count(*) FILTER (outcome = 'unknown')
    FROM truth)"));
  return TruthSent{.sent = counts[0],
                   .valid = counts[1],
                   .late = counts[2],
                   .duplicates = counts[3],
                   .malformed = counts[4],
                   .acknowledged = counts[5],
                   .refused = counts[6],
                   .unknown = counts[7]};
}

/// `filtered`: rows that its transforms left out or no table is for, which may be any.
std::vector<std::string> FindingsOf(const TruthFound& found, std::int64_t filtered) {
  std::vector<std::string> findings;
  const auto note = [&findings](std::int64_t count, const char* what) {
    if (count > 0) findings.push_back(fmt::format("{} {}", count, what));
  };
  if (found.missing_rows > filtered) note(found.missing_rows, "rows of acknowledged events are missing");
  note(found.surplus_rows, "rows are of events that were not sent, or sent less often");
  note(found.missing_letters, "malformed events that were acknowledged have no dead letter");
  note(found.surplus_letters, "dead letters are of events that are not malformed, or were not sent");
  return findings;
}

}  // namespace

bool TruthReport::ok() const {
  return std::all_of(tables.begin(), tables.end(), [](const auto& table) { return table.findings.empty(); });
}

Result<TruthFound> SettleRows(sql::SqlSession& session, const TruthRule& rule) {
  // Ids are compared as what they are, which takes half the memory of their texts; what is none was sent by nobody.
  const std::string future = rule.max_future ? fmt::format("epoch_us(event_time) > epoch_us(sent_at) + {}",
                                                           (*rule.max_future - kClocksDiffer).count())
                                             : "false";
  const std::string rows_sql = fmt::format(
      R"(
    WITH letter_counts AS (SELECT payload, count(DISTINCT ("partition", "offset")) AS n FROM letters GROUP BY payload),
    future AS (
      SELECT id, sum(n) AS letters
      FROM (SELECT DISTINCT CAST(event_id AS UUID) AS id, payload FROM truth WHERE fate <> 'malformed' AND {future})
      JOIN letter_counts USING (payload) GROUP BY id),
    sent AS (
      SELECT CAST(event_id AS UUID) AS id,
             count(*) FILTER (fate <> 'malformed' AND outcome = 'acknowledged') AS must,
             count(*) FILTER (fate <> 'malformed' AND outcome <> 'refused') AS may,
             bool_or(delivery = 'at_least_once') FILTER (fate <> 'malformed' AND outcome <> 'refused') AS again
      FROM truth GROUP BY id),
    found AS (SELECT TRY_CAST(event_id AS UUID) AS id, count(*) AS n FROM stored GROUP BY id),
    joined AS (
      SELECT coalesce(must, 0) AS must, coalesce(may, 0) AS may, coalesce(n, 0) AS n, coalesce(letters, 0) AS letters,
             coalesce(again, false) AS again
      FROM sent FULL JOIN found USING (id) LEFT JOIN future USING (id))
    SELECT CAST(sum(least(n, {may})) AS BIGINT), CAST(sum(greatest({must} - n - letters, 0)) AS BIGINT),
           CAST(sum(CASE WHEN again THEN n - {one} ELSE greatest(n - {may}, n + letters - may, 0) END) AS BIGINT),
           CAST(sum(letters) AS BIGINT),
           CAST(sum(greatest(must - n - letters, 0) - greatest({must} - n - letters, 0)) AS BIGINT),
           CAST(sum(greatest({one} + letters - may, 0)) FILTER (again) AS BIGINT)
    FROM joined)",
      fmt::arg("future", future), fmt::arg("may", rule.dedupes ? "least(may, 1)" : "may"),
      fmt::arg("must", rule.dedupes ? "least(must, 1)" : "must"), fmt::arg("one", rule.dedupes ? "least(n, 1)" : "n"));
  const std::string letters_sql = fmt::format(R"(
    WITH letter_counts AS (SELECT payload, count(DISTINCT ("partition", "offset")) AS n FROM letters GROUP BY payload),
    sent AS (
      SELECT payload, count(*) FILTER (fate = 'malformed' AND outcome = 'acknowledged') AS must,
             count(*) FILTER (fate = 'malformed' AND outcome <> 'refused') AS may, bool_or({future}) AS is_future,
             bool_or(delivery = 'at_least_once') FILTER (fate = 'malformed' AND outcome <> 'refused') AS again
      FROM truth WHERE payload IS NOT NULL AND (fate = 'malformed' OR {future}) GROUP BY payload),
    joined AS (
      SELECT coalesce(must, 0) AS must, coalesce(may, 0) AS may, coalesce(n, 0) AS n,
             coalesce(is_future AND may = 0, false) AS is_future, coalesce(again, false) AS again
      FROM sent FULL JOIN letter_counts USING (payload))
    SELECT CAST(sum(least(n, may)) AS BIGINT), CAST(sum(greatest(must - n, 0)) AS BIGINT),
           CAST(sum(greatest(n - may, 0)) FILTER (NOT is_future AND NOT again) AS BIGINT),
           CAST(sum(greatest(n - may, 0)) FILTER (again) AS BIGINT)
    FROM joined)",
                                              fmt::arg("future", "(fate <> 'malformed' AND " + future + ")"));
  ASSIGN_OR_RETURN(const auto rows, Numbers(session, rows_sql));
  ASSIGN_OR_RETURN(const auto letters, Numbers(session, letters_sql));
  return TruthFound{.rows = rows[0],
                    .repeats_left_out = rows[4],
                    .letters_of_malformed = letters[0],
                    .letters_of_future = rows[3],
                    .taken_twice = rows[5] + letters[3],
                    .missing_rows = rows[1],
                    .surplus_rows = rows[2],
                    .missing_letters = letters[1],
                    .surplus_letters = letters[2]};
}

Result<std::vector<TruthReport>> AuditTruth(const Plan& plan, const std::shared_ptr<objectstore::ObjectStore>& lake,
                                            const AuditReport& books, const std::vector<std::string>& files) {
  std::map<std::string, std::vector<std::string>> by_topic;
  for (const auto& file : files) {
    ASSIGN_OR_RETURN(const auto topic, TopicOf(file));
    by_topic[topic].push_back(file);
  }
  ASSIGN_OR_RETURN(const auto opened, OpenTablesToRead(plan, lake));
  ASSIGN_OR_RETURN(const auto session, sql::SqlSession::Make(kSessionBytes, plan.config.limits.num_threads()));
  std::vector<TruthReport> reports;
  for (const auto& [topic, paths] : by_topic) {
    auto& report = reports.emplace_back();
    report.topic = topic;
    RETURN_NOT_OK(session->RegisterStream(
        "truth", model::TruthSchema(),
        [paths = paths](const std::vector<int>& columns) { return ReadTruths(paths, columns); }));
    ASSIGN_OR_RETURN(report.sent, CountSent(*session));
    const auto input = plan.FindInput(topic);
    for (int t = 0; t < plan.num_data_tables(); ++t) {
      const auto& table_plan = plan.tables[static_cast<std::size_t>(t)];
      const bool has_rows_of_it =
          input && plan.InputOfTable(t) == *input && table_plan.kind == config::TableKind::kEvents;
      const auto event_id = table_plan.schema->GetFieldByName(kEventId);
      if (!has_rows_of_it || event_id == nullptr) continue;
      const auto& input_plan = plan.inputs[static_cast<std::size_t>(*input)];
      TruthRule rule;
      if (input_plan.event_time) rule.max_future = input_plan.event_time->max_future;
      if (input_plan.dedupe) {
        const auto& keys = input_plan.dedupe->key_columns;
        const auto& columns = plan.relations[static_cast<std::size_t>(*input)].schema;
        rule.dedupes =
            std::any_of(keys.begin(), keys.end(), [&](int key) { return columns->field(key)->name() == kEventId; });
      }
      delta::Conjunction of_topic;
      if (table_plan.schema->GetFieldByName(std::string(model::kTopicColumn)) != nullptr) {
        of_topic = {{.column = std::string(model::kTopicColumn), .values = {topic}}};
      }
      RETURN_NOT_OK(
          RegisterScan(*session, "stored", TablesOf(opened[static_cast<std::size_t>(t)]), {event_id}, of_topic));
      ASSIGN_OR_RETURN(const std::int64_t without_table,
                       RegisterLetters(*session, opened[static_cast<std::size_t>(plan.dead_letters())].table, topic,
                                       plan.StagesOf(t)));
      auto& settled = report.tables.emplace_back(TruthTable{.name = table_plan.name});
      ASSIGN_OR_RETURN(settled.found, SettleRows(*session, rule));
      settled.findings =
          FindingsOf(settled.found, books.tables[static_cast<std::size_t>(t)].totals.filtered + without_table);
    }
    if (report.tables.empty()) {
      return InvalidInput("no table with a column event_id reads the topic '{}' of {}", topic, paths.front());
    }
  }
  return reports;
}

}  // namespace millrace::pipeline
