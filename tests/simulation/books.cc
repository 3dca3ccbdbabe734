#include "books.h"

#include <arrow/array.h>
#include <arrow/scalar.h>
#include <arrow/table.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <limits>
#include <sstream>

#include "delta/data/scan.h"
#include "delta/table.h"
#include "foreign.h"
#include "task_internal.h"

namespace millrace::simulation {
namespace {

namespace json = boost::json;

constexpr const char* kLog = "/_delta_log/";
constexpr std::int64_t kWindow = 60 * kSecond;

std::int64_t Number(const json::object& object, const char* name, std::int64_t otherwise = 0) {
  const auto* value = object.if_contains(name);
  return value == nullptr || !value->is_int64() ? otherwise : value->as_int64();
}

// "2026-01-01T00:00:00.000Z" as UTC microseconds.
std::int64_t ParseTime(const std::string& text) {
  int year = 0;
  unsigned month = 0;
  unsigned day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  if (std::sscanf(text.c_str(), "%d-%u-%uT%d:%d:%d", &year, &month, &day, &hour, &minute, &second) != 6) {
    Fail("a time that cannot be read: " + text);
  }
  const std::chrono::sys_days date =
      std::chrono::year_month_day(std::chrono::year(year), std::chrono::month(month), std::chrono::day(day));
  return (date.time_since_epoch().count() * 86'400LL + hour * 3600 + minute * 60 + second) * kSecond;
}

json::object StatsOf(const json::object& file) {
  const auto* stats = file.if_contains("stats");
  if (stats == nullptr || !stats->is_string()) return {};
  return json::parse(stats->as_string()).as_object();
}

// Of an add or a remove.
std::string FileIdOf(const json::object& file) {
  std::string path(file.at("path").as_string());
  const auto* vector = file.if_contains("deletionVector");
  if (vector == nullptr || !vector->is_object()) return path;
  return Books::FileId(path, std::string(vector->as_object().at("pathOrInlineDv").as_string()));
}

std::int64_t DeletedRows(const json::object& file) {
  const auto* vector = file.if_contains("deletionVector");
  return vector == nullptr || !vector->is_object() ? 0 : Number(vector->as_object(), "cardinality");
}

bool IsCommit(const std::string& name) {
  return name.size() == 25 && name.ends_with(".json") &&
         std::all_of(name.begin(), name.begin() + 20, [](char c) { return c >= '0' && c <= '9'; });
}

std::int64_t Integer(const arrow::Array& column, std::int64_t row) {
  switch (column.type_id()) {
    case arrow::Type::INT64:
      return static_cast<const arrow::Int64Array&>(column).Value(row);
    case arrow::Type::TIMESTAMP:
      return static_cast<const arrow::TimestampArray&>(column).Value(row);
    case arrow::Type::INT32:
      return static_cast<const arrow::Int32Array&>(column).Value(row);
    default:
      return std::stoll(column.GetScalar(row).ValueOrDie()->ToString());
  }
}

std::string Text(const arrow::Array& column, std::int64_t row) {
  if (column.IsNull(row)) return "null";
  if (column.type_id() == arrow::Type::STRING) return static_cast<const arrow::StringArray&>(column).GetString(row);
  return std::to_string(Integer(column, row));
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
      for (const auto& column : batch->columns()) row.push_back(Text(*column, i));
    }
  }
}

const std::vector<std::string> kRowColumns = {"_topic", "_partition", "_offset", "id", "grp", "val", "ts"};
const std::vector<std::string> kLetterColumns = {"topic", "partition", "offset"};

// The window, the key, the states and last the count of records.
std::vector<std::string> PartialColumns(const config::TablePlan& table) {
  const auto schema = model::PartialSchema(table.aggregate->definition);
  std::vector<std::string> columns = {"window_start", "grp"};
  for (const auto& name : schema->field_names()) {
    if (name != "window_start" && name != "window_end" && name != "grp" && name != model::kPartialRows) {
      columns.push_back(name);
    }
  }
  columns.push_back(model::kPartialRows);
  return columns;
}

// Each of `wanted` once, those that are `optional` at most once.
Status Compare(const std::string& what, const std::set<Row>& wanted, const std::set<Row>& optional,
               const std::vector<Row>& found) {
  std::set<Row> seen;
  for (const auto& row : found) {
    const std::string text = fmt::format("{}", fmt::join(row, ", "));
    if (!seen.insert(row).second) return Internal("{}: the row ({}) is there twice", what, text);
    if (!wanted.contains(row) && !optional.contains(row)) return Internal("{}: nobody wrote the row ({})", what, text);
  }
  for (const auto& row : wanted) {
    if (!seen.contains(row)) return Internal("{}: the row ({}) is missing", what, fmt::join(row, ", "));
  }
  return Status::OK();
}

}  // namespace

Books::Books(const std::vector<std::vector<std::shared_ptr<const pipeline::Plan>>>& plans, Bucket& bucket)
    : bucket_(bucket) {
  for (const auto& of_one : plans) {
    plans_.push_back(of_one.front());
    for (const auto& plan : of_one) {
      for (const auto& table : plan->tables) {
        tables_[table.name];
        if (table.kind == config::TableKind::kAggregate) aggregates_.insert(table.name);
        if (table.kind == config::TableKind::kDeadLetters) letters_.insert(table.name);
      }
    }
  }
  bucket_.on_create = [this](const std::string& key, const std::string& bytes, Sender sender) {
    OnCreate(key, bytes, sender);
  };
  bucket_.on_delete = [this](const std::string& key) { OnDelete(key); };
}

int Books::AddPlace(int pipeline, model::TopicPartition source) {
  const int place = static_cast<int>(places_.size());
  numbers_[source] = place;
  places_.push_back({.pipeline = pipeline, .source = std::move(source)});
  return place;
}

void Books::ExpectRewrite(const std::string& file, Rewrite rewrite) { rewrites_[file] = std::move(rewrite); }

std::string Books::OffsetId(int place) const {
  const auto& source = places_[place].source;
  return fmt::format("{}-{}-{}", PlanOf(place).config.app_id, source.topic, source.partition);
}

const Books::TableBooks& Books::BooksOf(const std::string& table) const {
  static const TableBooks kNone;
  const auto found = tables_.find(table);
  return found == tables_.end() ? kNone : found->second;
}

bool Books::MayMiss(const std::string& table, int place, model::Offset offset) const {
  const auto& all = BooksOf(table).may_miss;
  const auto found = all.find(place);
  return found != all.end() && found->second.contains(offset);
}

std::int64_t Books::ExpiredBefore() const {
  const auto& retention = plans_.front()->tables[1].retention;
  return retention ? UnixAtBegin() + Now() - retention->count() : std::numeric_limits<std::int64_t>::min();
}

bool Books::HasFingerprint(int place) const {
  const auto& txns = BooksOf(PlanOf(place).tables.front().name).txns;
  const auto found = txns.find(OffsetId(place) + "#crc");
  return found != txns.end() && static_cast<std::uint32_t>(found->second) != 0;
}

model::Offset Books::CoveredByAll(int place) const { return CoveredByAll(PlanOf(place), place); }

model::Offset Books::CoveredByAll(const pipeline::Plan& plan, int place) const {
  model::Offset lowest = std::numeric_limits<model::Offset>::max();
  for (int t = 0; t < plan.num_data_tables(); ++t) {
    const auto& next = BooksOf(plan.tables[t].name).next;
    const auto found = next.find(place);
    lowest = std::min(lowest, found == next.end() ? 0 : found->second);
  }
  return lowest;
}

model::Offset Books::NeededFrom(int place) const {
  model::Offset lowest = CoveredByAll(place);
  for (const auto& [name, books] : tables_) {
    const auto found = books.next.find(place);
    if (found != books.next.end()) lowest = std::min(lowest, found->second);
  }
  return lowest;
}

void Books::Lose(int place, model::Offset offset) {
  if (!places_[place].appended.contains(offset)) return;
  for (auto& [name, books] : tables_) {
    const bool is_letters = letters_.contains(name);
    const auto durable = books.txns.find(OffsetId(place));
    const auto covered = books.next.find(place);
    model::Offset next = covered == books.next.end() ? 0 : covered->second;
    if (is_letters) next = durable == books.txns.end() ? 0 : durable->second + 1;
    if (offset >= next) books.may_miss[place].insert(offset);
  }
}

void Books::ExpectAnotherLog(int place, model::Offset end) {
  places_[place].ended_at = end;
  for (model::Offset offset = 0; offset < end; ++offset) Lose(place, offset);
}

void Books::OnCreate(const std::string& key, const std::string& bytes, Sender sender) {
  const auto log = key.find(kLog);
  if (log == std::string::npos) return;
  if (IsCommit(key.substr(log + std::string_view(kLog).size()))) {
    OnCommit(key.substr(0, log), key, bytes, sender);
  }
}

void Books::CheckFenced(int process, const std::string& table, Micros since, std::int64_t fenced) const {
  if (fenced == 0) return;
  Count("an epoch is fenced");
  const TableBooks& books = BooksOf(table);
  if (books.moved_late >= since) return;
  for (const auto& [other, when] : books.moved) {
    if (other != process && when >= since) return;
  }
  Fail(fmt::format("{} was fenced out of {}, and nobody else has written it", NameOf(process), table));
}

void Books::OnDelete(const std::string& key) {
  const auto slash = key.find('/');
  const auto table = tables_.find(key.substr(0, slash));
  const auto log = key.find(kLog);
  if (log != std::string::npos && IsCommit(key.substr(log + std::string_view(kLog).size()))) {
    Count("deleted: a commit");
    const std::int64_t version = std::stoll(key.substr(key.size() - 25, 20));
    OnDeletedCommit(table->second, table->first, version);
  }
  if (log == std::string::npos && key.ends_with(".parquet")) Count("deleted: a data file");
  if (table == tables_.end()) return;
  const std::string path = key.substr(slash + 1);
  const auto& live = table->second.live;
  const auto needs = [&path](const auto& file) { return file.second.path == path || file.second.vector_file == path; };
  if (std::any_of(live.begin(), live.end(), needs)) {
    Fail(fmt::format("{} is deleted, and version {} of its table has it", key, table->second.version));
  }
  // Whoever reads an older version has it for the retention, less what its removal took to be committed: its remover
  // may have slept.
  const auto gone = table->second.gone.find(path);
  if (gone != table->second.gone.end() &&
      Now() - gone->second < plans_.front()->config.maintenance.vacuum_retention->count() / 4) {
    Fail(fmt::format("{} is deleted {:.1f} s after it was removed: readers of older versions need it", key,
                     static_cast<double>(Now() - gone->second) / kSecond));
  }
}

// As Delta has it, versions that are younger than the log's retention can be read: the log begins with a checkpoint of
// before that, whose own commit stays.
void Books::OnDeletedCommit(TableBooks& books, const std::string& table, std::int64_t version) const {
  constexpr std::int64_t kDay = 86'400 * kSecond;
  const auto& properties = plans_.front()->tables.front().properties;
  if (version >= books.version) Fail(fmt::format("version {} of {} is deleted, and it is the newest", version, table));
  books.log_begins = std::max(books.log_begins, version + 1);
  if (!properties.contains("delta.logRetentionDuration")) Fail(table + ": a commit is deleted after a minute");
  const std::int64_t kept_from = (UnixAtBegin() + Now() - kLogRetention) / kDay * kDay - UnixAtBegin();
  const auto& objects = bucket_.objects();
  const std::string prefix = table + kLog;
  for (auto it = objects.lower_bound(fmt::format("{}{:020}", prefix, version + 1));
       it != objects.end() && it->first.starts_with(prefix); ++it) {
    if (it->first.find(".checkpoint.", prefix.size() + 20) != prefix.size() + 20) continue;
    const auto committed = books.committed.find(std::stoll(it->first.substr(prefix.size(), 20)));
    if (committed != books.committed.end() && committed->second < kept_from + kMillisecond)
      return;  // The product counts in milliseconds.
  }
  Fail(
      fmt::format("version {} of {} is deleted, and versions that are kept cannot be read without it", version, table));
}

/// What a commit does, beside the actions that are looked at one by one.
struct Books::Commit {
  std::string operation;
  bool is_ours = false;
  json::array parts{};
  std::int64_t rows_added = 0;
  std::int64_t rows_removed = 0;
  std::int64_t rows_left_out = 0;
  bool removes = false;
};

void Books::OnCommit(const std::string& table, const std::string& key, const std::string& text, Sender sender) {
  TableBooks& books = tables_[table];
  ++commits_;
  const std::int64_t version = std::stoll(key.substr(key.size() - 25, 20));
  if (version < books.log_begins) {
    // Nobody reads it there; whoever put it has to notice.
    Count("commit: under a name before the log's begin");
    Tell(fmt::format("{} comes after the log has been cut up to {}", key, books.log_begins));
    // Once, if the cleanup came between its look and its request.
    if (!sender.has_given_up && ++books.unread[sender.process] > 1) {
      Fail(fmt::format("{} goes on with {}, which nobody reads", NameOf(sender.process), key));
    }
    return;
  }
  if (version != books.version + 1) Fail(fmt::format("{} comes after version {}", key, books.version));
  books.version = version;
  books.committed[version] = Now();
  const bool is_aggregate = aggregates_.contains(table);
  Commit commit;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto parsed = json::parse(line);
    const auto& action = parsed.as_object();
    if (const auto* info = action.if_contains("commitInfo")) {
      const auto& object = info->as_object();
      const std::string id(object.at("txnId").as_string());
      if (!books.txn_ids.insert(id).second) Fail(fmt::format("{}: txnId {} was there before", key, id));
      commit.operation = std::string(object.at("operation").as_string());
      Tell(fmt::format("version {} of {}: {}", version, table, commit.operation));
      Count("commit: " + commit.operation);
      if (const auto* ours = object.if_contains("millrace")) {
        commit.is_ours = true;
        commit.parts = ours->as_object().at("partitions").as_array();
      }
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
      const std::string id = FileIdOf(object);
      if (!books.ever.insert(id).second) Fail(fmt::format("{}: {} is added a second time", key, id));
      const auto file = bucket_.objects().find(table + "/" + path);
      if (file == bucket_.objects().end()) Fail(fmt::format("{}: {} is not there", key, path));
      if (file->second.bytes->size() != object.at("size").as_int64()) {
        Fail(fmt::format("{}: {} has {} bytes", key, path, file->second.bytes->size()));
      }
      const auto stats = StatsOf(object);
      LiveFile& live = books.live[id];
      live.path = path;
      live.records = Number(stats, "numRecords", -1) - DeletedRows(object);
      if (const auto* highest = stats.if_contains("maxValues"); highest != nullptr) {
        const auto* window = highest->as_object().if_contains("window_start");
        if (window != nullptr) live.last_window = ParseTime(std::string(window->as_string()));
      }
      commit.rows_added += live.records;
      if (const auto rewrite = rewrites_.find(id); rewrite != rewrites_.end()) {
        Count("foreign: rows are deleted");
        live.vector_file = rewrite->second.vector_file;
        deleted_.insert(rewrite->second.rows.begin(), rewrite->second.rows.end());
        foreign_rows_ -= rewrite->second.foreign;
        commit.rows_left_out += std::ssize(rewrite->second.rows) + rewrite->second.foreign;
      }
    } else if (const auto* remove = action.if_contains("remove")) {
      const std::string id = FileIdOf(remove->as_object());
      const auto live = books.live.find(id);
      if (live == books.live.end()) Fail(fmt::format("{}: {} is removed, and was not there", key, id));
      const std::string path = live->second.path;
      commit.rows_removed += live->second.records;
      const bool is_data_change = remove->as_object().at("dataChange").as_bool();
      if (is_data_change && is_aggregate && live->second.last_window + kWindow > ExpiredBefore()) {
        Fail(fmt::format("{}: {} is removed before the retention of its windows is over", key, path));
      }
      books.live.erase(live);
      // A commit that an outage has kept waiting is older than it looks.
      if (Now() - bucket_.last_refused > 30 * kSecond) books.gone[path] = Now();
      commit.removes = true;
    }
  }
  if (commit.removes && !is_aggregate && commit.rows_added + commit.rows_left_out != commit.rows_removed) {
    Fail(fmt::format("{}: {} rows become {}", key, commit.rows_removed, commit.rows_added));
  }
  if (commit.operation == "WRITE") foreign_rows_ += commit.rows_added;
  if (commit.is_ours) (sender.has_given_up ? books.moved_late : books.moved[sender.process]) = Now();
  if (letters_.contains(table)) return;
  for (const auto& part : commit.parts) {
    std::map<std::string, std::int64_t> numbers;
    for (const auto& [name, value] : part.as_object()) {
      if (value.is_int64()) numbers[std::string(name)] = value.as_int64();
    }
    const model::TopicPartition source{std::string(part.as_object().at("topic").as_string()),
                                       static_cast<std::int32_t>(numbers.at("partition"))};
    const auto place = numbers_.find(source);
    if (place == numbers_.end()) Fail(fmt::format("{}: there is no {}", key, model::ToString(source)));
    CheckPart(table, books, key, place->second, numbers);
  }
}

void Books::CheckPart(const std::string& table, TableBooks& books, const std::string& at, int place,
                      const std::map<std::string, std::int64_t>& part) {
  const auto count = [&part](const char* name) {
    const auto found = part.find(name);
    return found == part.end() ? 0 : found->second;
  };
  const std::string name = model::ToString(places_[place].source);
  const model::Offset begin = count("begin");
  const model::Offset end = count("end");
  model::Offset& next = books.next[place];
  const auto& records = places_[place].appended;
  const auto& may_miss = books.may_miss[place];
  // A table that came later begins where the log did then.
  bool is_gone_before = next == 0;
  for (auto it = records.lower_bound(next); is_gone_before && it != records.end() && it->first < begin; ++it) {
    is_gone_before = may_miss.contains(it->first);
  }
  if ((begin != next && !(begin > next && is_gone_before)) || end < begin) {
    Fail(fmt::format("{}: {}: [{}, {}) comes after {}", at, name, begin, end, next));
  }
  if (end > begin && end > places_[place].ended_at.value_or(end)) Fail(at + ": records of another log are committed");
  next = end;
  if (end > begin && books.txns[OffsetId(place)] != end - 1) {
    Fail(fmt::format("{}: {}: [{}, {}), but the txn says {}", at, name, begin, end, books.txns[OffsetId(place)]));
  }
  std::map<RecordKind, Bounds> wanted;
  Bounds read;
  model::Offset last_bad = -1;
  for (auto it = records.lower_bound(begin); it != records.end() && it->first < end; ++it) {
    const int needed = may_miss.contains(it->first) ? 0 : 1;
    for (Bounds* bounds : {&read, &wanted[it->second.kind]}) {
      bounds->low += needed;
      ++bounds->high;
    }
    if (it->second.kind == RecordKind::kBad && needed == 1) last_bad = it->first;
  }
  const auto check = [&](const char* what, const Bounds& bounds) {
    if (count(what) >= bounds.low && count(what) <= bounds.high) return;
    const std::string were =
        bounds.low == bounds.high ? std::to_string(bounds.low) : fmt::format("{} to {}", bounds.low, bounds.high);
    Fail(fmt::format("{}: {} [{}, {}): the ledger says {}: {}; appended were {}", at, name, begin, end, what,
                     count(what), were));
  };
  check("read", read);
  check("written", wanted[RecordKind::kRow]);
  check("dead_lettered", wanted[RecordKind::kBad]);
  check("tombstones", wanted[RecordKind::kTombstone]);
  if (count("read") != count("written") + count("dead_lettered") + count("tombstones")) {
    Fail(fmt::format("{}: {} [{}, {}): the ledger does not add up", at, name, begin, end));
  }
  if (last_bad < 0) return;
  const auto& txns = tables_[PlanOf(place).tables.back().name].txns;
  const auto durable = txns.find(OffsetId(place));
  if (durable == txns.end() || durable->second < last_bad) {
    Fail(fmt::format("{}: table {} is past offset {} of {}, whose dead letter is not durable", at, table, last_bad,
                     name));
  }
}

Status Books::CheckRows(const std::shared_ptr<objectstore::ObjectStore>& lake) const {
  const auto& rows_table = plans_.front()->tables.front().name;
  std::set<Row> rows;
  std::set<Row> optional_rows;
  std::map<std::string, std::set<Row>> letters;
  std::map<std::string, std::set<Row>> optional_letters;
  for (int place = 0; place < std::ssize(places_); ++place) {
    const auto& [pipeline, source, appended, ended_at] = places_[place];
    const auto& letters_table = PlanOf(place).tables.back().name;
    for (const auto& [offset, record] : appended) {
      const Row where = {source.topic, std::to_string(source.partition), std::to_string(offset)};
      if (record.kind == RecordKind::kBad) {
        (MayMiss(letters_table, place, offset) ? optional_letters : letters)[letters_table].insert(where);
      }
      if (record.kind != RecordKind::kRow || deleted_.contains({place, offset})) continue;
      Row row = where;
      for (const auto value : {record.id, record.group, record.value, record.event_time}) {
        row.push_back(std::to_string(value));
      }
      (MayMiss(rows_table, place, offset) ? optional_rows : rows).insert(std::move(row));
    }
  }
  ASSIGN_OR_RETURN(auto found_rows, ReadRows(objectstore::Below(lake, rows_table), kRowColumns));
  const auto foreign = static_cast<std::int64_t>(
      std::erase_if(found_rows, [](const Row& row) { return row[3] == std::to_string(kForeignId); }));
  if (foreign != foreign_rows_) return Internal("rows: {} of another writer's {} are there", foreign, foreign_rows_);
  RETURN_NOT_OK(Compare("rows", rows, optional_rows, found_rows));
  for (const auto& plan : plans_) {
    const auto& name = plan->tables.back().name;
    ASSIGN_OR_RETURN(const auto found, ReadRows(objectstore::Below(lake, name), kLetterColumns));
    RETURN_NOT_OK(Compare(name, letters[name], optional_letters[name], found));
    for (int t = 1; t < plan->num_data_tables(); ++t) RETURN_NOT_OK(CheckAggregate(lake, plan->tables[t]));
  }
  return Status::OK();
}

Status Books::CheckAggregate(const std::shared_ptr<objectstore::ObjectStore>& lake,
                             const config::TablePlan& table) const {
  // Partial rows, merged as their kinds of state are: the first measure is a sum.
  ASSIGN_OR_RETURN(const auto partial, ReadRows(objectstore::Below(lake, table.name), PartialColumns(table)));
  std::map<Group, std::pair<std::int64_t, std::int64_t>> merged;
  std::int64_t all = 0;
  for (const auto& row : partial) {
    auto& [count, sum] = merged[{std::stoll(row[0]), std::stoll(row[1])}];
    count += std::stoll(row.back());
    sum += std::stoll(row[2]);
    all += std::stoll(row.back());
  }
  Bounds total;
  std::map<Group, Bounds> counts;
  std::map<Group, std::int64_t> sums;
  for (int place = 0; place < std::ssize(places_); ++place) {
    if (places_[place].pipeline != 0) continue;
    for (const auto& [offset, record] : places_[place].appended) {
      if (record.kind != RecordKind::kRow) continue;
      const int needed = MayMiss(table.name, place, offset) ? 0 : 1;
      const Group group = {record.event_time / kWindow * kWindow, record.group};
      for (Bounds* bounds : {&total, &counts[group]}) {
        bounds->low += needed;
        ++bounds->high;
      }
      sums[group] += record.value;
    }
  }
  const auto& txns = BooksOf(table.name).txns;
  const auto expired = txns.find(plans_.front()->config.app_id + "#expired_rows");
  if (expired != txns.end()) all += expired->second;
  if (all < total.low || all > total.high) {
    return Internal("{}: {} records in all, with those that went; appended were {} to {}", table.name, all, total.low,
                    total.high);
  }
  for (const auto& [group, bounds] : counts) {
    if (group.first + kWindow <= ExpiredBefore()) continue;
    const auto found = merged.find(group);
    const auto [count, sum] = found == merged.end() ? std::pair<std::int64_t, std::int64_t>(0, 0) : found->second;
    const bool is_whole = count == bounds.high;
    if (count < bounds.low || count > bounds.high || (is_whole && sum != sums[group])) {
      return Internal("{}: window {}, group {}: count {} and sum {} instead of {} to {} and {}", table.name,
                      group.first, group.second, count, sum, bounds.low, bounds.high, sums[group]);
    }
  }
  for (const auto& [group, values] : merged) {
    if (!counts.contains(group)) return Internal("{}: a group that no record is of", table.name);
  }
  return Status::OK();
}

Result<std::map<std::string, std::string>> Books::Read(const std::shared_ptr<objectstore::ObjectStore>& lake) const {
  std::map<std::string, std::vector<std::string>> columns = {{plans_.front()->tables.front().name, kRowColumns}};
  for (const auto& plan : plans_) {
    columns[plan->tables.back().name] = kLetterColumns;
    for (int t = 1; t < plan->num_data_tables(); ++t) columns[plan->tables[t].name] = PartialColumns(plan->tables[t]);
  }
  std::map<std::string, std::string> read;
  for (const auto& [table, names] : columns) {
    ASSIGN_OR_RETURN(const auto rows, ReadRows(objectstore::Below(lake, table), names));
    std::string& text = read[table] = fmt::format("{}\n", fmt::join(names, "\t"));
    for (const auto& row : rows) text += fmt::format("{}\n", fmt::join(row, "\t"));
  }
  return read;
}

void Books::CheckAnswer(const query::Answer& answer) const {
  const auto& may_miss = BooksOf(plans_.front()->tables[1].name).may_miss;
  std::map<Group, std::pair<std::int64_t, std::int64_t>> wanted;
  std::string as_of;
  for (const auto& [source, end] : answer.as_of.offsets) {
    as_of += fmt::format(" {}:{}", model::ToString(source), end);
    const int place = PlaceOf(source);
    const auto& records = places_[place].appended;
    const auto missing = may_miss.find(place);
    if (missing != may_miss.end() && !missing->second.empty() && *missing->second.begin() < end) return;
    for (auto it = records.begin(); it != records.end() && it->first < end; ++it) {
      if (it->second.kind != RecordKind::kRow) continue;
      auto& [sum, count] = wanted[{it->second.event_time / kWindow * kWindow, it->second.group}];
      sum += it->second.value;
      ++count;
    }
  }
  const auto column = [&](const char* name) {
    const auto chunked = answer.rows->GetColumnByName(name);
    if (chunked == nullptr) Fail(fmt::format("an answer has no column {}", name));
    std::vector<std::int64_t> values;
    for (const auto& chunk : chunked->chunks()) {
      for (std::int64_t i = 0; i < chunk->length(); ++i) values.push_back(Integer(*chunk, i));
    }
    return values;
  };
  const auto windows = column("window_start");
  const auto groups = column("grp");
  const auto sums = column("total");
  const auto counts = column("n");
  // The answer may have been made before the last windows went.
  const std::int64_t expired_before = ExpiredBefore();
  for (std::size_t i = 0; i < windows.size(); ++i) {
    if (windows[i] + kWindow <= expired_before) continue;
    const auto found = wanted.find({windows[i], groups[i]});
    if (found == wanted.end() || found->second != std::pair(sums[i], counts[i])) {
      Fail(fmt::format("an answer as of version {},{} says for window {}, group {}: sum {}, count {}; it is {} and {}",
                       answer.as_of.version, as_of, windows[i], groups[i], sums[i], counts[i],
                       found == wanted.end() ? 0 : found->second.first,
                       found == wanted.end() ? 0 : found->second.second));
    }
    wanted.erase(found);
  }
  for (const auto& [group, values] : wanted) {
    if (group.first + kWindow <= expired_before) continue;
    Fail(fmt::format("an answer as of version {},{} has nothing for window {}, group {}", answer.as_of.version, as_of,
                     group.first, group.second));
  }
  Count("an answer is right");
}

}  // namespace millrace::simulation
