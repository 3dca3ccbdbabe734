#include "pipeline/route_family.h"

#include <arrow/array.h>
#include <arrow/builder.h>

#include <algorithm>
#include <utility>

#include "base/ascii_case.h"
#include "base/clock.h"
#include "base/kill_point.h"
#include "base/run_each.h"
#include "delta/data/data_file.h"
#include "delta/data/scan.h"
#include "delta/schema_change.h"
#include "pipeline/open_tables.h"
#include "pipeline/worker.h"
#include "sql/own_relations.h"

namespace millrace::pipeline {
namespace {

// Of the index and of each of its tables: whose they are.
constexpr const char* kFamilyProperty = "millrace.route.of";
constexpr const char* kColumnProperty = "millrace.route.column";
constexpr const char* kOriginProperty = "millrace.route.origin";
constexpr const char* kValueProperty = "millrace.route.value";

constexpr int kClaimTriesMax = 20;
constexpr int kOpenAtOnceMax = 8;

std::string PropertyOf(const delta::Table& table, const char* name) {
  const auto snapshot = table.snapshot();
  const auto found = snapshot->metadata.configuration.find(name);
  return found == snapshot->metadata.configuration.end() ? "" : found->second;
}

std::string ClaimText(const arrow::Array& column, std::int64_t row) {
  if (column.type_id() == arrow::Type::STRING) {
    return std::string(static_cast<const arrow::StringArray&>(column).GetView(row));
  }
  const auto scalar = column.GetScalar(row);
  return scalar.ok() ? (*scalar)->ToString() : "";
}

}  // namespace

RouteFamily::RouteFamily(const Plan& plan, int table, std::shared_ptr<delta::Table> index,
                         std::shared_ptr<objectstore::ObjectStore> lake)
    : plan_(plan), index_of_plan_(table), index_(std::move(index)), lake_(std::move(lake)) {}

std::shared_ptr<arrow::Schema> RouteFamily::IndexSchema() {
  static const auto schema = arrow::schema({
      arrow::field("value", arrow::utf8(), false),
      arrow::field("table", arrow::utf8(), false),
      arrow::field("claimed_at", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), false),
  });
  return schema;
}

delta::CreateOptions RouteFamily::IndexCreateOptions(const Plan& plan, int table) {
  const auto& table_plan = plan.tables[table];
  const auto& route = *table_plan.route;
  return {.schema = IndexSchema(),
          .partition_columns = {},
          .configuration = {{kFamilyProperty, plan.config.app_id + "/" + table_plan.name},
                            {kColumnProperty, route.pattern.column},
                            {kOriginProperty, route.origin}},
          .name = route.pattern.IndexTable()};
}

Status RouteFamily::CheckIndex(const Plan& plan, int table, const delta::Table& index) {
  const auto& table_plan = plan.tables[table];
  const auto& route = *table_plan.route;
  const std::string column = PropertyOf(index, kColumnProperty);
  const std::string name = route.pattern.IndexTable();
  if (column.empty())
    return InvalidInput("{} is not an index of routes; it is not a table of ours, move it away", name);
  if (column != route.pattern.column) {
    return InvalidInput(
        "route: the tables in the lake were made by the values of '{}', the pipeline asks for '{}'. Give the tables "
        "another name to have them made anew from what the log holds",
        column, route.pattern.column);
  }
  const std::string family = PropertyOf(index, kFamilyProperty);
  if (family != plan.config.app_id + "/" + table_plan.name) {
    return InvalidInput("{} is the index of '{}' (app_id and tables); give these tables another name", name, family);
  }
  for (const auto& field : IndexSchema()->fields()) {
    const auto found = index.snapshot()->schema->GetFieldByName(field->name());
    if (found != nullptr && found->type()->Equals(field->type())) continue;
    return InvalidInput("the index {} has no column '{}' of {}; bring it back as it was", name, field->name(),
                        field->type()->ToString());
  }
  return Status::OK();
}

Result<std::unique_ptr<RouteFamily>> RouteFamily::Open(const Plan& plan, int table, std::shared_ptr<delta::Table> index,
                                                       std::shared_ptr<objectstore::ObjectStore> lake) {
  auto family = std::unique_ptr<RouteFamily>(new RouteFamily(plan, table, std::move(index), std::move(lake)));
  RETURN_NOT_OK(family->Refresh());
  return family;
}

Admission RouteFamily::Admit(std::string_view value) {
  const auto& route = *table_plan().route;
  if (!route.pattern.Fits(value)) {
    return {.reason = kRouteName,
            .why = fmt::format("is no part of a table's name: with '{}' a letter, then letters, digits, _ and -, at "
                               "most 128",
                               table_plan().name)};
  }
  const std::string name = route.pattern.TableOf(value);
  const std::string key = AsciiLower(name);
  const std::lock_guard lock(mutex_);
  if (const auto known = numbers_.find(key); known != numbers_.end()) {
    const auto& other = routes_[static_cast<std::size_t>(known->second)];
    if (other.value == value) return {.route = known->second};
    return {.reason = kRouteName,
            .why = fmt::format("is '{}', and '{}' has the table already: names that differ only in case are one", value,
                               other.value)};
  }
  if (route.taken.contains(key)) {
    return {.reason = kRouteName,
            .why = fmt::format("would have the table '{}', which is another of the pipeline", name)};
  }
  if (sql::IsOwnRelation(name)) {
    return {.reason = kRouteName,
            .why = fmt::format("would have the table '{}', which SQL takes for a view of DuckDB's", name)};
  }
  if (const auto refused = refused_.find(key); refused != refused_.end()) {
    return {.reason = kRouteName, .why = refused->second};
  }
  if (std::ssize(numbers_) >= route.max) {
    return {.reason = kRouteLimit,
            .why = fmt::format("is '{}', which comes after the {} values that have a table; see 'max'", value,
                               numbers_.size())};
  }
  const int number = static_cast<int>(routes_.size());
  routes_.push_back(
      {.number = number, .value = std::string(value), .name = name, .store = objectstore::Below(lake_, name)});
  numbers_[key] = number;
  return {.route = number};
}

void RouteFamily::ForgetUnclaimed() {
  const std::lock_guard lock(mutex_);
  std::erase_if(numbers_,
                [this](const auto& entry) { return !routes_[static_cast<std::size_t>(entry.second)].is_claimed; });
}

std::shared_ptr<objectstore::ObjectStore> RouteFamily::StoreOf(int route) const { return Get(route).store; }

Route RouteFamily::Get(int route) const {
  const std::lock_guard lock(mutex_);
  return routes_[static_cast<std::size_t>(route)];
}

std::vector<Route> RouteFamily::routes() const {
  std::vector<Route> claimed;
  const std::lock_guard lock(mutex_);
  for (const auto& [key, number] : numbers_) {
    const auto& route = routes_[static_cast<std::size_t>(number)];
    if (route.is_claimed) claimed.push_back(route);
  }
  return claimed;
}

void RouteFamily::Put(const Route& route) {
  const std::lock_guard lock(mutex_);
  routes_[static_cast<std::size_t>(route.number)] = route;
}

/// What the index has of claims that we have not seen. A value that we have admitted ourselves keeps its number.
Status RouteFamily::LoadClaims() {
  const auto snapshot = index_->snapshot();
  const auto count = snapshot->TxnVersion(TxnId()).value_or(0);
  if (count == num_claimed_) return Status::OK();
  std::vector<std::pair<std::string, std::string>> claims;
  ASSIGN_OR_RETURN(const auto rows,
                   delta::OpenScan(index_->store(), snapshot, {.columns = {"value", "table"}, .num_threads = 1}));
  for (std::shared_ptr<arrow::RecordBatch> batch;;) {
    RETURN_NOT_OK(rows->ReadNext(&batch));
    if (batch == nullptr) break;
    for (std::int64_t i = 0; i < batch->num_rows(); ++i) {
      claims.emplace_back(ClaimText(*batch->column(0), i), ClaimText(*batch->column(1), i));
    }
  }
  if (std::ssize(claims) != count) {
    return Corrupt("the index {} holds {} values and {} were claimed: rows of it were removed; restore them",
                   table_plan().route->pattern.IndexTable(), claims.size(), count);
  }
  const std::lock_guard lock(mutex_);
  for (auto& [value, name] : claims) {
    const auto [entry, is_new] = numbers_.try_emplace(AsciiLower(name), static_cast<int>(routes_.size()));
    if (!is_new) {
      auto& known = routes_[static_cast<std::size_t>(entry->second)];
      if (known.value == value) {
        known.is_claimed = true;
        continue;
      }
      entry->second = static_cast<int>(routes_.size());  // Another spelling was first: ours is none.
    }
    routes_.push_back({.number = entry->second,
                       .value = value,
                       .name = name,
                       .store = objectstore::Below(lake_, name),
                       .is_claimed = true});
  }
  num_claimed_ = count;
  return Status::OK();
}

Status RouteFamily::CheckTable(const delta::Table& table) const {
  RETURN_NOT_OK(table.CheckWritable());
  if (PropertyOf(table, kFamilyProperty) != Tag()) {
    return InvalidInput("the table in the lake is not one of '{}'; move it away to have it made anew",
                        table_plan().name);
  }
  return CheckFits(plan_, index_of_plan_, table);
}

/// Leaves `table` empty if there is none.
Status RouteFamily::OpenTable(Route& route) const {
  auto table = delta::Table::Open(route.store);
  if (!table.ok() && KindOf(table.status()) == ErrorKind::kNotFound) return Status::OK();
  RETURN_NOT_OK(table.status());
  RETURN_NOT_OK(CheckTable(**table));
  ASSIGN_OR_RETURN(route.progress, Progress::Of(plan_, index_of_plan_, **table));
  route.table = *std::move(table);
  route.last_checkpoint = route.table->snapshot()->version;
  return Status::OK();
}

Status RouteFamily::MakeTable(Route& route) const {
  const auto& plan = table_plan();
  auto configuration = plan.properties;
  configuration[kFamilyProperty] = Tag();
  configuration[kValueProperty] = route.value;
  const auto made = delta::Table::OpenOrCreate(route.store, {.schema = plan.schema,
                                                             .partition_columns = plan.partition_columns,
                                                             .configuration = std::move(configuration),
                                                             .name = route.name});
  RETURN_NOT_OK(made.status());
  KillPoint("route.made");
  return OpenTable(route);
}

Status RouteFamily::Refresh() {
  RETURN_NOT_OK(LoadClaims());
  auto known = routes();
  const auto refresh = [&](std::size_t i) -> Status {
    auto& route = known[i];
    const Status status = route.table == nullptr ? OpenTable(route) : route.table->Refresh().status();
    return WithContext(status, "table {}", route.name);
  };
  RETURN_NOT_OK(RunEach(known.size(), std::clamp(lake_->requests_at_once(), 1, kOpenAtOnceMax), refresh));
  for (const auto& route : known) Put(route);
  return Status::OK();
}

Result<bool> RouteFamily::IsTaken(const Route& route) const {
  const auto table = delta::Table::Open(route.store);
  if (table.ok()) return PropertyOf(**table, kFamilyProperty) != Tag();
  if (KindOf(table.status()) == ErrorKind::kNotFound) return false;
  if (KindOf(table.status()) == ErrorKind::kTransient) return table.status();
  return true;
}

Result<delta::AddFile> RouteFamily::WriteClaims(const std::vector<Route>& claimed) const {
  arrow::StringBuilder values;
  arrow::StringBuilder tables;
  arrow::TimestampBuilder times(arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), arrow::default_memory_pool());
  for (const auto& route : claimed) {
    RETURN_NOT_OK(values.Append(route.value));
    RETURN_NOT_OK(tables.Append(route.name));
    RETURN_NOT_OK(times.Append(SystemClock().Now()));
  }
  arrow::ArrayVector columns(3);
  RETURN_NOT_OK(values.Finish(&columns[0]));
  RETURN_NOT_OK(tables.Finish(&columns[1]));
  RETURN_NOT_OK(times.Finish(&columns[2]));
  ASSIGN_OR_RETURN(const auto writer, delta::DataFileWriter::Make(index_->store(), IndexSchema(), {}));
  RETURN_NOT_OK(writer->Append(*arrow::RecordBatch::Make(IndexSchema(), std::ssize(claimed), std::move(columns))));
  ASSIGN_OR_RETURN(const auto stats, delta::StatsColumnsOf(*index_->snapshot()));
  return writer->Finish(stats);
}

std::vector<Route> RouteFamily::UnclaimedOf(const std::vector<int>& routes) const {
  std::vector<Route> unclaimed;
  for (const int number : routes) {
    auto route = Get(number);
    if (!route.is_claimed) unclaimed.push_back(std::move(route));
  }
  return unclaimed;
}

Status RouteFamily::Claim(const std::vector<int>& routes) {
  for (int tries = 0;; ++tries) {
    RETURN_NOT_OK(LoadClaims());
    const auto wanted = UnclaimedOf(routes);
    if (wanted.empty()) break;
    if (tries == kClaimTriesMax) return Conflict("{} times another worker claimed values first", kClaimTriesMax);
    for (const auto& route : wanted) {
      const std::string key = AsciiLower(route.name);
      std::unique_lock lock(mutex_);
      if (numbers_.find(key) == numbers_.end() || numbers_[key] != route.number) {
        return Conflict("the value '{}' is spelled otherwise by another worker, whose table it is", route.value);
      }
      lock.unlock();
      ASSIGN_OR_RETURN(const bool is_taken, IsTaken(route));
      if (!is_taken) continue;
      lock.lock();
      refused_[key] = fmt::format("would have the table '{}', which is in the lake already and another's", route.name);
      return Conflict("the value '{}' {}", route.value, refused_[key]);
    }
    if (num_claimed_ + std::ssize(wanted) > table_plan().route->max) {
      return Conflict("{} values have their tables by now, others than the {} new ones: there is no room for those",
                      num_claimed_, wanted.size());
    }
    ASSIGN_OR_RETURN(auto file, WriteClaims(wanted));
    delta::CommitRequest request;
    request.adds.push_back(std::move(file));
    request.fence[TxnId()] = index_->snapshot()->TxnVersion(TxnId());
    request.txns = {{.app_id = TxnId(), .version = num_claimed_ + std::ssize(wanted), .last_updated_ms = std::nullopt}};
    const auto outcome = index_->Commit(request);
    if (!outcome.ok()) return WithContext(outcome.status(), "claiming {} values", wanted.size());
    KillPoint("route.claimed");
  }
  std::vector<Route> missing;
  for (const int number : routes) {
    auto route = Get(number);
    if (route.table == nullptr) missing.push_back(std::move(route));
  }
  const auto make = [&](std::size_t i) -> Status {
    return WithContext(MakeTable(missing[i]), "table {}", missing[i].name);
  };
  RETURN_NOT_OK(RunEach(missing.size(), std::clamp(lake_->requests_at_once(), 1, kOpenAtOnceMax), make));
  for (const auto& route : missing) Put(route);
  return Status::OK();
}

std::vector<Status> RouteFamily::WriteCheckpoints() {
  std::vector<Status> failures;
  for (auto& route : routes()) {
    if (route.table == nullptr) continue;
    const auto snapshot = route.table->snapshot();
    if (snapshot->version - route.last_checkpoint < CheckpointInterval(*snapshot)) continue;
    route.last_checkpoint = snapshot->version;
    Put(route);
    const Status written = route.table->WriteCheckpoint();
    if (written.ok()) continue;
    failures.push_back(WithContext(written, "table {}: checkpoint of version {}", route.name, snapshot->version));
  }
  return failures;
}

Status RouteFamily::CheckEdit(const Progress& progress) const {
  const std::string kept = PropertyOf(*index_, kOriginProperty);
  const std::string& now = table_plan().route->origin;
  if (kept == now) return Status::OK();
  const auto read = progress.NextOffsets(*index_->snapshot());
  for (const auto& route : routes()) {
    if (route.table == nullptr) continue;
    for (const auto& [source, next] : route.progress->NextOffsets(*route.table->snapshot())) {
      const auto at = read.find(source);
      if (at != read.end() && next <= at->second) continue;
      return InvalidInput(
          "table {} has rows of {} up to offset {}, the others of '{}' up to {}, and what a row's table depends on was "
          "edited: it was {}, and is {}. Run the pipeline once as it was, so that all come to one offset",
          route.name, model::ToString(source), next, table_plan().name, at == read.end() ? 0 : at->second, kept, now);
    }
  }
  return Status::OK();
}

Status RouteFamily::KeepOrigin() {
  const std::string& now = table_plan().route->origin;
  if (PropertyOf(*index_, kOriginProperty) == now) return Status::OK();
  return delta::SetProperty(*index_, kOriginProperty, now);
}

Status RouteFamily::AddColumns() {
  for (const auto& route : routes()) {
    if (route.table == nullptr) continue;
    RETURN_NOT_OK(WithContext(delta::AddColumns(*route.table, table_plan().schema->fields()), "table {}", route.name));
  }
  return Status::OK();
}

}  // namespace millrace::pipeline
