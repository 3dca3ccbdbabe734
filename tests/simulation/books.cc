#include "books.h"

#include <arrow/array.h>
#include <arrow/scalar.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <sstream>

#include "delta/data/scan.h"
#include "delta/table.h"

namespace millrace::simulation {
namespace {

namespace json = boost::json;

constexpr const char* kLog = "/_delta_log/";

std::int64_t Number(const json::object& object, const char* name, std::int64_t otherwise = 0) {
  const auto* value = object.if_contains(name);
  return value == nullptr || !value->is_int64() ? otherwise : value->as_int64();
}

std::int64_t RecordsOf(const json::object& file) {
  const auto* stats = file.if_contains("stats");
  if (stats == nullptr || !stats->is_string()) return -1;
  return Number(json::parse(stats->as_string()).as_object(), "numRecords", -1);
}

bool IsCommit(const std::string& name) {
  return name.size() == 25 && name.ends_with(".json") &&
         std::all_of(name.begin(), name.begin() + 20, [](char c) { return c >= '0' && c <= '9'; });
}

// Rows of a table, column by column as text.
using Row = std::vector<std::string>;
Result<std::vector<Row>> ReadRows(const std::shared_ptr<objectstore::ObjectStore>& store,
                                  const std::vector<std::string>& columns) {
  ASSIGN_OR_RETURN(const auto table, delta::Table::Open(store));
  ASSIGN_OR_RETURN(const auto reader, delta::OpenScan(store, table->snapshot(), {.columns = columns}));
  std::vector<Row> rows;
  for (std::shared_ptr<arrow::RecordBatch> batch;;) {
    RETURN_NOT_OK(reader->ReadNext(&batch));
    if (batch == nullptr) return rows;
    for (std::int64_t i = 0; i < batch->num_rows(); ++i) {
      Row& row = rows.emplace_back();
      for (int c = 0; c < batch->num_columns(); ++c) {
        ASSIGN_OR_RETURN(const auto scalar, batch->column(c)->GetScalar(i));
        if (scalar->type->id() == arrow::Type::TIMESTAMP && scalar->is_valid) {
          row.push_back(std::to_string(static_cast<const arrow::TimestampScalar&>(*scalar).value));
        } else {
          row.push_back(scalar->is_valid ? scalar->ToString() : "null");
        }
      }
    }
  }
}

Status Compare(const std::string& what, std::map<Row, std::int64_t> wanted, const std::vector<Row>& found) {
  for (const auto& row : found) --wanted[row];
  for (const auto& [row, missing] : wanted) {
    if (missing == 0) continue;
    return Internal("{}: the row ({}) is there {} times too {}", what, fmt::format("{}", fmt::join(row, ", ")),
                    std::abs(missing), missing > 0 ? "few" : "many");
  }
  return Status::OK();
}

}  // namespace

Books::Books(std::shared_ptr<const pipeline::Plan> plan, Bucket& bucket) : plan_(std::move(plan)), bucket_(bucket) {
  bucket_.on_create = [this](const std::string& key, const std::string& bytes) { OnCreate(key, bytes); };
  bucket_.on_delete = [this](const std::string& key) { OnDelete(key); };
}

std::string Books::OffsetId(int partition) const {
  return fmt::format("{}-{}-{}", plan_->config.app_id, plan_->config.inputs[0].topics[0], partition);
}

model::Offset Books::CoveredByAll(int partition) const {
  model::Offset lowest = std::numeric_limits<model::Offset>::max();
  for (int t = 0; t < plan_->num_data_tables(); ++t) {
    const auto table = tables_.find(plan_->tables[t].name);
    if (table == tables_.end()) return 0;
    const auto next = table->second.next.find(partition);
    lowest = std::min(lowest, next == table->second.next.end() ? 0 : next->second);
  }
  return lowest;
}

void Books::OnCreate(const std::string& key, const std::string& bytes) {
  const auto log = key.find(kLog);
  if (log == std::string::npos) return;
  if (IsCommit(key.substr(log + std::string_view(kLog).size()))) OnCommit(key.substr(0, log), key, bytes);
}

void Books::OnDelete(const std::string& key) {
  const bool is_of_log = key.find(kLog) != std::string::npos;
  if (is_of_log && key.ends_with(".json")) Count("deleted: a commit");
  if (!is_of_log && key.ends_with(".parquet")) Count("deleted: a data file");
  const auto slash = key.find('/');
  const auto table = tables_.find(key.substr(0, slash));
  if (table != tables_.end() && table->second.live.contains(key.substr(slash + 1))) {
    Fail(fmt::format("{} is deleted, and version {} of its table has it", key, table->second.version));
  }
}

void Books::OnCommit(const std::string& table, const std::string& key, const std::string& text) {
  TableBooks& books = tables_[table];
  ++commits_;
  const std::int64_t version = std::stoll(key.substr(key.size() - 25, 20));
  if (version != books.version + 1) Fail(fmt::format("{} comes after version {}", key, books.version));
  books.version = version;
  const bool is_data = std::any_of(plan_->tables.begin(), plan_->tables.begin() + plan_->num_data_tables(),
                                   [&](const auto& plan) { return plan.name == table; });
  json::array parts;
  std::int64_t rows_added = 0;
  std::int64_t rows_removed = 0;
  bool is_rearranged = false;
  bool removes = false;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto parsed = json::parse(line);
    const auto& action = parsed.as_object();
    if (const auto* info = action.if_contains("commitInfo")) {
      const auto& object = info->as_object();
      const std::string id(object.at("txnId").as_string());
      if (!books.txn_ids.insert(id).second) Fail(fmt::format("{}: txnId {} was there before", key, id));
      Tell(fmt::format("version {} of {}: {}", version, table, std::string(object.at("operation").as_string())));
      Count("commit: " + std::string(object.at("operation").as_string()));
      if (const auto* ours = object.if_contains("millrace")) parts = ours->as_object().at("partitions").as_array();
    } else if (const auto* txn = action.if_contains("txn")) {
      const std::string id(txn->as_object().at("appId").as_string());
      const std::int64_t next = txn->as_object().at("version").as_int64();
      const auto before = books.txns.find(id);
      if (before != books.txns.end() && next < before->second && !id.ends_with("#crc")) {
        Fail(fmt::format("{}: {} goes back from {} to {}", key, id, before->second, next));
      }
      books.txns[id] = next;
    } else if (const auto* add = action.if_contains("add")) {
      const auto& object = add->as_object();
      const std::string path(object.at("path").as_string());
      if (!books.ever.insert(path).second) Fail(fmt::format("{}: {} is added a second time", key, path));
      const auto file = bucket_.objects().find(table + "/" + path);
      if (file == bucket_.objects().end()) Fail(fmt::format("{}: {} is not there", key, path));
      if (file->second.bytes->size() != object.at("size").as_int64()) {
        Fail(fmt::format("{}: {} has {} bytes", key, path, file->second.bytes->size()));
      }
      books.live[path] = RecordsOf(object);
      rows_added += RecordsOf(object);
      is_rearranged |= !object.at("dataChange").as_bool();
    } else if (const auto* remove = action.if_contains("remove")) {
      const std::string path(remove->as_object().at("path").as_string());
      const auto live = books.live.find(path);
      if (live == books.live.end()) Fail(fmt::format("{}: {} is removed, and was not there", key, path));
      rows_removed += live->second;
      books.live.erase(live);
      removes = true;
    }
  }
  const bool is_aggregate = std::any_of(plan_->tables.begin(), plan_->tables.end(), [&](const config::TablePlan& plan) {
    return plan.name == table && plan.kind == config::TableKind::kAggregate;
  });
  if (is_rearranged && removes && !is_aggregate && rows_added != rows_removed) {
    Fail(fmt::format("{}: {} rows become {}", key, rows_removed, rows_added));
  }
  if (removes && !is_rearranged) Fail(fmt::format("{}: files are removed, and none takes their place", key));
  if (!is_data) return;
  for (const auto& part : parts) {
    std::map<std::string, std::int64_t> numbers;
    for (const auto& [name, value] : part.as_object()) {
      if (value.is_int64()) numbers[std::string(name)] = value.as_int64();
    }
    CheckPart(table, books, key, static_cast<int>(numbers.at("partition")), numbers);
  }
}

void Books::CheckPart(const std::string& table, TableBooks& books, const std::string& at, int partition,
                      const std::map<std::string, std::int64_t>& part) {
  const auto count = [&part](const char* name) {
    const auto found = part.find(name);
    return found == part.end() ? 0 : found->second;
  };
  const model::Offset begin = count("begin");
  const model::Offset end = count("end");
  model::Offset& next = books.next[partition];
  if (begin != next || end < begin) {
    Fail(fmt::format("{}: partition {}: [{}, {}) comes after {}", at, partition, begin, end, next));
  }
  next = end;
  if (end > begin && books.txns[OffsetId(partition)] != end - 1) {
    Fail(fmt::format("{}: partition {}: [{}, {}), but the txn says {}", at, partition, begin, end,
                     books.txns[OffsetId(partition)]));
  }
  std::map<RecordKind, std::int64_t> wanted;
  model::Offset last_bad = -1;
  const auto& records = appended_[partition];
  for (auto it = records.lower_bound(begin); it != records.end() && it->first < end; ++it) {
    ++wanted[it->second.kind];
    if (it->second.kind == RecordKind::kBad) last_bad = it->first;
  }
  const std::int64_t read = wanted[RecordKind::kRow] + wanted[RecordKind::kBad] + wanted[RecordKind::kTombstone];
  if (count("read") != read || count("written") != wanted[RecordKind::kRow] ||
      count("dead_lettered") != wanted[RecordKind::kBad] || count("tombstones") != wanted[RecordKind::kTombstone]) {
    Fail(fmt::format(
        "{}: partition {} [{}, {}): the ledger says read {}, written {}, dead-lettered {}, tombstones {}; "
        "appended were {}, {}, {}, {}",
        at, partition, begin, end, count("read"), count("written"), count("dead_lettered"), count("tombstones"), read,
        wanted[RecordKind::kRow], wanted[RecordKind::kBad], wanted[RecordKind::kTombstone]));
  }
  if (last_bad < 0) return;
  const auto& txns = tables_[plan_->tables.back().name].txns;
  const auto durable = txns.find(OffsetId(partition));
  if (durable == txns.end() || durable->second < last_bad) {
    Fail(fmt::format("{}: table {} is past offset {} of partition {}, whose dead letter is not durable", at, table,
                     last_bad, partition));
  }
}

Status Books::CheckRows(const std::shared_ptr<objectstore::ObjectStore>& lake) const {
  std::map<Row, std::int64_t> rows;
  std::map<Row, std::int64_t> letters;
  std::map<std::pair<std::int64_t, std::int64_t>, std::pair<std::int64_t, std::int64_t>> groups;
  for (const auto& [partition, records] : appended_) {
    for (const auto& [offset, record] : records) {
      const std::string place = std::to_string(partition);
      if (record.kind == RecordKind::kBad) ++letters[{place, std::to_string(offset)}];
      if (record.kind != RecordKind::kRow) continue;
      ++rows[{place, std::to_string(offset), std::to_string(record.id), std::to_string(record.group),
              std::to_string(record.value), std::to_string(record.event_time)}];
      auto& [count, sum] = groups[{record.event_time / (60 * kSecond) * (60 * kSecond), record.group}];
      ++count;
      sum += record.value;
    }
  }
  ASSIGN_OR_RETURN(const auto found_rows,
                   ReadRows(objectstore::Below(lake, "rows"), {"_partition", "_offset", "id", "grp", "val", "ts"}));
  RETURN_NOT_OK(Compare("rows", rows, found_rows));
  ASSIGN_OR_RETURN(const auto found_letters,
                   ReadRows(objectstore::Below(lake, plan_->tables.back().name), {"partition", "offset"}));
  RETURN_NOT_OK(Compare("dead letters", letters, found_letters));

  // Partial rows, merged as their kinds of state are.
  std::vector<std::string> columns = {"window_start", "grp"};
  const auto& definition = plan_->tables[1].aggregate->definition;
  const auto schema = model::PartialSchema(definition);
  for (int c = 0; c < schema->num_fields(); ++c) {
    const auto& name = schema->field(c)->name();
    if (name != "window_start" && name != "window_end" && name != "grp" && name != model::kPartialRows) {
      columns.push_back(name);
    }
  }
  columns.push_back(model::kPartialRows);
  ASSIGN_OR_RETURN(const auto partial, ReadRows(objectstore::Below(lake, "sums"), columns));
  std::map<std::pair<std::int64_t, std::int64_t>, std::pair<std::int64_t, std::int64_t>> merged;
  for (const auto& row : partial) {
    auto& [count, sum] = merged[{std::stoll(row[0]), std::stoll(row[1])}];
    count += std::stoll(row.back());
    sum += std::stoll(row[2]);
  }
  for (const auto& [group, values] : groups) {
    const auto found = merged.find(group);
    if (found == merged.end() || found->second != values) {
      return Internal("sums: window {}, group {}: count {} and sum {} instead of {} and {}", group.first, group.second,
                      found == merged.end() ? 0 : found->second.first, found == merged.end() ? 0 : found->second.second,
                      values.first, values.second);
    }
    merged.erase(found);
  }
  if (!merged.empty()) return Internal("sums: a group that no record is of");
  return Status::OK();
}

}  // namespace millrace::simulation
