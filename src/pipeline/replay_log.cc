#include "pipeline/replay_log.h"

#include <arrow/array.h>
#include <arrow/builder.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <boost/json/value_to.hpp>
#include <set>

#include "base/kill_point.h"
#include "delta/data/data_file.h"
#include "delta/data/scan.h"
#include "delta/log/action_json.h"
#include "delta/schema_change.h"
#include "pipeline/places.h"

namespace millrace::pipeline {
namespace {

namespace json = boost::json;

constexpr const char* kIndexColumn = "index";

std::shared_ptr<arrow::Schema> LogSchema() {
  static const auto schema = arrow::schema({
      arrow::field("replay", arrow::int64(), false),
      arrow::field("table", arrow::utf8(), false),
      arrow::field("topic", arrow::utf8()),
      arrow::field("partition", arrow::int32()),
      arrow::field("offset", arrow::int64()),
      arrow::field("commit", arrow::utf8()),
      arrow::field(kIndexColumn, arrow::int32()),
  });
  return schema;
}

std::string PartToJson(const ReplayPart& part) {
  std::string files;
  for (const auto& file : part.files) delta::AppendActionLine(files, file);
  json::array partitions;
  for (const auto& [source, counts] : part.counts) {
    partitions.push_back({{"topic", source.topic},
                          {"partition", source.partition},
                          {"replayed", counts.replayed},
                          {"further", counts.further},
                          {"written", counts.written},
                          {"filtered", counts.filtered}});
  }
  return json::serialize(
      json::object{{"table_id", part.table_id}, {"files", files}, {"partitions", std::move(partitions)}});
}

Result<ReplayPart> PartFromJson(const std::string& text, const std::string& name) {
  try {
    const auto document = json::parse(text);
    ReplayPart part;
    part.table_id = json::value_to<std::string>(document.at("table_id"));
    const auto files = json::value_to<std::string>(document.at("files"));
    if (!files.empty()) {
      ASSIGN_OR_RETURN(auto actions, delta::ParseCommit(files, name));
      for (auto& action : actions) {
        if (auto* add = std::get_if<delta::AddFile>(&action)) part.files.push_back(std::move(*add));
      }
    }
    for (const auto& item : document.at("partitions").as_array()) {
      const model::TopicPartition source{json::value_to<std::string>(item.at("topic")),
                                         json::value_to<std::int32_t>(item.at("partition"))};
      const auto* const further = item.as_object().if_contains("further");  // Older versions had none.
      part.counts[source] = {.replayed = item.at("replayed").to_number<std::int64_t>(),
                             .further = further == nullptr ? 0 : further->to_number<std::int64_t>(),
                             .written = item.at("written").to_number<std::int64_t>(),
                             .filtered = item.at("filtered").to_number<std::int64_t>()};
    }
    return part;
  } catch (const std::exception& error) {
    return Corrupt("{}: the column 'commit' is not what a replay writes: {}", name, error.what());
  }
}

std::string TextAt(const arrow::Array& column, std::int64_t row) {
  if (column.type_id() == arrow::Type::STRING) {
    return std::string(static_cast<const arrow::StringArray&>(column).GetView(row));
  }
  const auto scalar = column.GetScalar(row);
  return scalar.ok() ? (*scalar)->ToString() : "";
}

/// The rows of a replay as batches, some at a time.
Status AppendRows(const Plan& plan, const Replay& replay, delta::DataFileWriter& writer) {
  constexpr std::int64_t kRowsAtOnce = 1 << 16;
  arrow::Int64Builder numbers;
  arrow::StringBuilder tables;
  arrow::StringBuilder topics;
  arrow::Int32Builder partitions;
  arrow::Int64Builder offsets;
  arrow::StringBuilder commits;
  arrow::Int32Builder indexes;
  const auto flush = [&]() -> Status {
    const std::int64_t rows = numbers.length();
    if (rows == 0) return Status::OK();
    arrow::ArrayVector columns(7);
    RETURN_NOT_OK(numbers.Finish(&columns[0]));
    RETURN_NOT_OK(tables.Finish(&columns[1]));
    RETURN_NOT_OK(topics.Finish(&columns[2]));
    RETURN_NOT_OK(partitions.Finish(&columns[3]));
    RETURN_NOT_OK(offsets.Finish(&columns[4]));
    RETURN_NOT_OK(commits.Finish(&columns[5]));
    RETURN_NOT_OK(indexes.Finish(&columns[6]));
    return writer.Append(*arrow::RecordBatch::Make(LogSchema(), rows, std::move(columns)));
  };
  for (const auto& part : replay.parts) {
    RETURN_NOT_OK(numbers.Append(replay.number));
    RETURN_NOT_OK(tables.Append(part.route.empty() ? plan.tables[part.table].name : part.route));
    RETURN_NOT_OK(topics.AppendNull());
    RETURN_NOT_OK(partitions.AppendNull());
    RETURN_NOT_OK(offsets.AppendNull());
    RETURN_NOT_OK(commits.Append(PartToJson(part)));
    RETURN_NOT_OK(indexes.AppendNull());
  }
  for (const auto& [where, list] : replay.records) {
    for (const auto place : list) {
      RETURN_NOT_OK(numbers.Append(replay.number));
      RETURN_NOT_OK(tables.Append(plan.tables[where.first].name));
      RETURN_NOT_OK(topics.Append(where.second.topic));
      RETURN_NOT_OK(partitions.Append(where.second.partition));
      RETURN_NOT_OK(offsets.Append(place.offset));
      RETURN_NOT_OK(commits.AppendNull());
      RETURN_NOT_OK(place.index == model::kWholeRecord ? indexes.AppendNull() : indexes.Append(place.index));
      if (numbers.length() >= kRowsAtOnce) RETURN_NOT_OK(flush());
    }
  }
  return flush();
}

}  // namespace

void ReplayedRecords::Add(int table, const model::TopicPartition& source, model::DocumentPlace place,
                          std::int64_t replay) {
  by_table_[{table, source}].entries.push_back({place, replay});
  ++size_;
}

void ReplayedRecords::Add(const Replay& replay) {
  for (const auto& [where, places] : replay.records) {
    for (const auto place : places) Add(where.first, where.second, place, replay.number);
  }
}

void ReplayedRecords::Sort() {
  for (auto& [place, list] : by_table_) {
    const auto middle = list.entries.begin() + static_cast<std::ptrdiff_t>(list.num_sorted);
    std::sort(middle, list.entries.end());
    std::inplace_merge(list.entries.begin(), middle, list.entries.end());
    list.num_sorted = list.entries.size();
  }
}

std::int64_t ReplayedRecords::Last(int table, const model::TopicPartition& source, model::DocumentPlace place) const {
  const auto at = by_table_.find({table, source});
  if (at == by_table_.end()) return 0;
  const auto& entries = at->second.entries;
  const auto after = std::upper_bound(entries.begin(), entries.end(), Entry{place, INT64_MAX});
  if (after == entries.begin() || std::prev(after)->place != place) return 0;
  return std::prev(after)->replay;
}

bool ReplayedRecords::WentWith(int table, const model::TopicPartition& source, model::DocumentPlace place,
                               std::int64_t replay) const {
  const auto at = by_table_.find({table, source});
  if (at == by_table_.end()) return false;
  const auto has = [&](model::DocumentPlace one) {
    return std::binary_search(at->second.entries.begin(), at->second.entries.end(), Entry{one, replay});
  };
  return has(place) || has({place.offset, model::kWholeRecord});
}

ReplayLog::ReplayLog(const Plan& plan, std::shared_ptr<objectstore::ObjectStore> store)
    : plan_(plan), name_(plan.config.name + "_replays"), store_(std::move(store)) {}

std::string ReplayLog::TxnId() const { return plan_.config.app_id + "#replay"; }

Result<std::unique_ptr<ReplayLog>> ReplayLog::Open(const Plan& plan,
                                                   const std::shared_ptr<objectstore::ObjectStore>& lake) {
  auto log = std::unique_ptr<ReplayLog>(new ReplayLog(plan, objectstore::Below(lake, plan.config.name + "_replays")));
  RETURN_NOT_OK(log->Refresh());
  return log;
}

std::int64_t ReplayLog::last() const {
  return table_ == nullptr ? 0 : table_->snapshot()->TxnVersion(TxnId()).value_or(0);
}

Status ReplayLog::Refresh() {
  if (table_ != nullptr) return WithContext(table_->Refresh().status(), "table {}", name_);
  auto table = delta::Table::Open(store_);
  if (table.ok()) {
    table_ = *std::move(table);
    return Status::OK();
  }
  if (KindOf(table.status()) == ErrorKind::kNotFound) return Status::OK();
  return WithContext(table.status(), "table {}", name_);
}

Result<bool> ReplayLog::Append(const Replay& replay) {
  if (table_ == nullptr) {
    auto table = delta::Table::OpenOrCreate(store_, {.schema = LogSchema(), .name = name_});
    if (!table.ok()) return WithContext(table.status(), "table {}", name_);
    table_ = *std::move(table);
  }
  // Older versions made it without.
  RETURN_NOT_OK(
      WithContext(delta::AddColumns(*table_, {LogSchema()->GetFieldByName(kIndexColumn)}), "table {}", name_));
  ASSIGN_OR_RETURN(const auto writer, delta::DataFileWriter::Make(store_, LogSchema(), {}));
  RETURN_NOT_OK(AppendRows(plan_, replay, *writer));
  ASSIGN_OR_RETURN(const auto stats, delta::StatsColumnsOf(*table_->snapshot()));
  ASSIGN_OR_RETURN(auto file, writer->Finish(stats));
  delta::CommitRequest request;
  request.txns = {{.app_id = TxnId(), .version = replay.number, .last_updated_ms = std::nullopt}};
  request.fence[TxnId()] = replay.number == 1 ? std::nullopt : std::optional(replay.number - 1);
  request.adds.push_back(std::move(file));
  auto outcome = table_->Commit(request);
  if (!outcome.ok()) return WithContext(outcome.status(), "table {}: deciding replay {}", name_, replay.number);
  KillPoint("replay.decided");
  return std::holds_alternative<delta::Committed>(*outcome);
}

Result<std::vector<Replay>> ReplayLog::Pending(const std::vector<OpenTable>& tables) const {
  struct Place {
    int table;
    std::string route;
    std::int64_t has;
  };
  std::map<std::string, Place> places;  // By name.
  for (std::size_t t = 0; t < tables.size(); ++t) {
    const auto& opened = tables[t];
    const int index = static_cast<int>(t);
    places[plan_.tables[t].name] = {index, "", opened.progress.LastReplay(*opened.table->snapshot())};
    if (opened.family == nullptr) continue;
    for (const auto& route : opened.family->routes()) {
      if (route.table == nullptr) continue;
      places[route.name] = {index, route.name, route.progress->LastReplay(*route.table->snapshot())};
    }
  }
  std::int64_t lowest = last();
  for (const auto& [name, place] : places) {
    lowest = std::min(lowest, place.has);
    if (place.has > last()) {
      return Corrupt(
          "table {} has replay {}, but {} ends at {}: it was moved away, and knows no longer which dead letters have "
          "gone where. Bring it back; without it they would go there twice",
          name, place.has, name_, last());
    }
  }
  std::vector<Replay> pending;
  if (table_ == nullptr || lowest == last()) return pending;
  std::map<std::int64_t, std::map<std::pair<int, std::string>, ReplayPart>> parts;
  using delta::Comparator;
  ASSIGN_OR_RETURN(
      const auto rows,
      delta::OpenScan(store_, table_->snapshot(),
                      {.columns = {"replay", "table", "commit"},
                       .where = {{.column = "replay", .comparator = Comparator::kGreater, .values = {lowest}},
                                 {.column = "commit", .comparator = Comparator::kIsNotNull}},
                       .num_threads = 1}));
  for (std::shared_ptr<arrow::RecordBatch> batch;;) {
    RETURN_NOT_OK(rows->ReadNext(&batch));
    if (batch == nullptr) break;
    const auto& numbers = static_cast<const arrow::Int64Array&>(*batch->column(0));
    for (std::int64_t i = 0; i < batch->num_rows(); ++i) {
      const auto at = places.find(TextAt(*batch->column(1), i));
      if (at == places.end()) continue;  // Not in the file any more.
      const auto& place = at->second;
      if (numbers.Value(i) <= place.has) continue;
      ASSIGN_OR_RETURN(auto part, PartFromJson(TextAt(*batch->column(2), i), name_));
      part.table = place.table;
      part.route = place.route;
      parts[numbers.Value(i)][{place.table, place.route}] = std::move(part);
    }
  }
  for (auto& [number, by_place] : parts) {
    Replay replay{.number = number, .parts = {}, .records = {}};
    // The dead letters are the last table of the plan, and the first that gets its part.
    for (auto part = by_place.rbegin(); part != by_place.rend(); ++part) {
      replay.parts.push_back(std::move(part->second));
    }
    pending.push_back(std::move(replay));
  }
  return pending;
}

Status ReplayLog::VisitRecords(const std::vector<OpenTable>& tables, const delta::Conjunction& where,
                               const Visit& visit) const {
  if (table_ == nullptr) return Status::OK();
  std::map<std::string, int> index_of;
  for (int t = 0; t < plan_.num_tables(); ++t) index_of[plan_.tables[t].name] = t;
  std::map<std::pair<int, std::int64_t>, bool> is_void;
  delta::Conjunction conditions = where;
  conditions.push_back({.column = "offset", .comparator = delta::Comparator::kIsNotNull});
  std::vector<std::string> columns = {"replay", "table", "topic", "partition", "offset"};
  if (table_->snapshot()->schema->GetFieldByName(kIndexColumn) != nullptr) columns.emplace_back(kIndexColumn);
  ASSIGN_OR_RETURN(const auto rows, delta::OpenScan(store_, table_->snapshot(),
                                                    {.columns = std::move(columns),
                                                     .where = std::move(conditions),
                                                     .num_threads = 1,
                                                     .buffer_bytes_max = 16 << 20}));
  for (std::shared_ptr<arrow::RecordBatch> batch;;) {
    RETURN_NOT_OK(rows->ReadNext(&batch));
    if (batch == nullptr) break;
    const auto& numbers = static_cast<const arrow::Int64Array&>(*batch->column(0));
    const auto& partitions = static_cast<const arrow::Int32Array&>(*batch->column(3));
    const Places places(*batch, "offset", kIndexColumn);
    for (std::int64_t i = 0; i < batch->num_rows(); ++i) {
      const auto at = index_of.find(TextAt(*batch->column(1), i));
      if (at == index_of.end()) continue;
      const int table = at->second;
      const std::int64_t number = numbers.Value(i);
      const auto [known, is_new] = is_void.try_emplace({table, number}, false);
      if (is_new) {
        const auto& opened = tables[table];
        known->second = opened.table->snapshot()->TxnVersion(opened.progress.ReplayVoidId(number)).has_value();
      }
      if (known->second) continue;
      visit(table, {TextAt(*batch->column(2), i), partitions.Value(i)}, places.At(i), number);
    }
  }
  return Status::OK();
}

Result<ReplayedRecords> ReplayLog::Records(const std::vector<OpenTable>& tables, const delta::Conjunction& where,
                                           std::int64_t max) const {
  ReplayedRecords records;
  const auto keep = [&](int table, const model::TopicPartition& source, model::DocumentPlace place,
                        std::int64_t replay) {
    if (records.size() <= max) records.Add(table, source, place, replay);
  };
  RETURN_NOT_OK(VisitRecords(tables, where, keep));
  if (records.size() > max) {
    return TooLarge(
        "more than {} records have been run again, too many to keep in memory: ask for less by a --where on topic, "
        "partition or offset",
        max);
  }
  records.Sort();
  return records;
}

}  // namespace millrace::pipeline
