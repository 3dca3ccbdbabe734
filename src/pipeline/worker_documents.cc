#include "pipeline/worker_documents.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value_from.hpp>
#include <chrono>
#include <map>
#include <optional>
#include <utility>

#include "base/quantity_text.h"
#include "base/version.h"
#include "query/time_expression.h"

namespace millrace::pipeline {
namespace {

namespace json = boost::json;

json::value TimeOrNull(const std::optional<UnixMicros>& time) {
  return time ? json::value(query::FormatTime(*time)) : json::value(nullptr);
}

json::value TextOrNull(const std::string& text) { return text.empty() ? json::value(nullptr) : json::value(text); }

json::value SecondsOrNull(const std::optional<std::int64_t>& micros) {
  return micros ? json::value(static_cast<double>(*micros) / 1e6) : json::value(nullptr);
}

json::array ColumnsJson(const arrow::Schema& schema) {
  json::array columns;
  for (const auto& field : schema.fields()) {
    columns.push_back(json::object{{"name", field->name()}, {"type", field->type()->ToString()}});
  }
  return columns;
}

// Of the events of a table; of the dead letters that of all inputs.
std::optional<UnixMicros> WatermarkOf(const WorkerView& view, std::size_t table) {
  const auto& watermarks = view.status.watermarks;
  if (static_cast<int>(table) == view.plan->dead_letters() || watermarks.empty()) return view.status.watermark;
  return watermarks[static_cast<std::size_t>(view.plan->InputOfTable(static_cast<int>(table)))];
}

json::object TableSummary(const WorkerView& view, std::size_t index) {
  const auto& table = view.status.tables[index];
  const bool is_family = view.plan->tables[index].route.has_value();
  auto files = is_family ? 0 : static_cast<std::int64_t>(table.snapshot->files.size());
  auto bytes = is_family ? 0 : table.snapshot->num_bytes;
  for (const auto& route : table.routes) {
    files += static_cast<std::int64_t>(route.snapshot->files.size());
    bytes += route.snapshot->num_bytes;
  }
  return {{"name", table.name},
          {"kind", ToString(table.kind)},
          {"version", table.snapshot->version},
          {"files", files},
          {"bytes", bytes},
          {"rows", view.tables[index].rows},
          {"hot_rows", table.hot_rows},
          {"last_commit", TimeOrNull(table.last_commit)},
          {"commit_seconds", table.commit_seconds},
          {"committed_lag_records", view.tables[index].lag_records}};
}

json::object WholeTable(const WorkerView& view, std::size_t index) {
  const auto& status = view.status.tables[index];
  const auto& plan = view.plan->tables[index];
  json::object table = TableSummary(view, index);
  table["columns"] = ColumnsJson(plan.route ? *plan.schema : *status.snapshot->schema);
  table["partition_by"] =
      json::value_from(plan.route ? plan.partition_columns : status.snapshot->metadata.partition_columns);
  table["uri"] = view.tables[index].uri;
  table["watermark"] = TimeOrNull(WatermarkOf(view, index));
  if (plan.route) {
    json::array names;
    for (const auto& route : status.routes) names.push_back(json::value(route.name));
    table["routes"] = std::move(names);
  }
  return table;
}

/// One table of a family.
json::object RouteTable(const WorkerView& view, std::size_t index, std::size_t route_index) {
  const auto& family = view.status.tables[index];
  const auto& route = family.routes[route_index];
  const auto& snapshot = *route.snapshot;
  return {{"name", route.name},
          {"kind", ToString(family.kind)},
          {"version", snapshot.version},
          {"files", static_cast<std::int64_t>(snapshot.files.size())},
          {"bytes", snapshot.num_bytes},
          {"rows", view.tables[index].route_rows[route_index]},
          {"columns", ColumnsJson(*snapshot.schema)},
          {"partition_by", json::value_from(snapshot.metadata.partition_columns)},
          {"uri", route.uri},
          {"watermark", TimeOrNull(WatermarkOf(view, index))},
          {"route", json::object{{"of", family.name}, {"value", route.value}}}};
}

}  // namespace

json::value TablesDocument(const WorkerView& view) {
  json::array tables;
  for (std::size_t t = 0; t < view.tables.size(); ++t) {
    tables.push_back(WholeTable(view, t));
    for (std::size_t r = 0; r < view.status.tables[t].routes.size(); ++r) tables.push_back(RouteTable(view, t, r));
  }
  return json::object{{"tables", std::move(tables)}};
}

Result<json::value> TableDocument(const WorkerView& view, const std::string& name) {
  std::vector<std::string> names;
  for (std::size_t t = 0; t < view.tables.size(); ++t) {
    if (view.status.tables[t].name == name) return WholeTable(view, t);
    names.push_back(view.status.tables[t].name);
    const auto& routes = view.status.tables[t].routes;
    const auto route = std::find_if(routes.begin(), routes.end(), [&name](const auto& r) { return r.name == name; });
    if (route != routes.end()) return RouteTable(view, t, static_cast<std::size_t>(route - routes.begin()));
  }
  return NotFound("no table '{}'; there are: {}", name, fmt::join(names, ", "));
}

json::value AggregatesDocument(const Plan& plan) {
  json::array aggregates;
  for (const auto& table : plan.tables) {
    if (table.kind != config::TableKind::kAggregate) continue;
    const auto& definition = table.aggregate->definition;
    json::array keys;
    for (const auto& key : definition.keys) {
      keys.push_back(json::object{{"name", key.name}, {"type", key.type->ToString()}});
    }
    json::array measures;
    for (const auto& measure : definition.measures) {
      measures.push_back(json::object{{"name", measure.name}, {"type", measure.duckdb_type}});
    }
    aggregates.push_back(json::object{{"name", definition.name},
                                      {"window", definition.window.ToText()},
                                      {"window_us", definition.window.UsualSizeUs()},
                                      {"keys", std::move(keys)},
                                      {"measures", std::move(measures)},
                                      {"sql", definition.sql}});
    if (table.final_table) aggregates.back().as_object()["final_table"] = table.final_table->name;
  }
  return json::object{{"aggregates", std::move(aggregates)}};
}

json::value PipelineDocument(const WorkerView& view) {
  const Plan& plan = *view.plan;
  const WorkerStatus& status = view.status;
  json::array partitions;
  for (const auto& partition : status.partitions) {
    json::object entry{{"topic", partition.source.topic},
                       {"partition", partition.source.partition},
                       {"next_offset", partition.next},
                       {"end_offset", nullptr},
                       {"lag", nullptr},
                       {"watermark", TimeOrNull(partition.watermark)},
                       {"paused", partition.paused},
                       {"waits_for", TextOrNull(partition.waits_for)}};
    if (partition.end) {
      entry["end_offset"] = *partition.end;
      entry["lag"] = std::max<std::int64_t>(0, *partition.end - partition.next);
    }
    partitions.push_back(std::move(entry));
  }
  json::array tables;
  for (std::size_t t = 0; t < view.tables.size(); ++t) tables.push_back(TableSummary(view, t));
  json::array aggregates;
  for (const auto& table : plan.tables) {
    if (table.kind == config::TableKind::kAggregate) aggregates.push_back(json::value(table.name));
  }
  std::int64_t deduplicated = 0;
  for (const auto& [topic, count] : status.deduplicated) deduplicated += count;
  json::array lookups;
  for (const auto& lookup : status.lookups) {
    lookups.push_back(json::object{{"name", lookup.name},
                                   {"version", lookup.version},
                                   {"rows", lookup.rows},
                                   {"bytes", lookup.bytes},
                                   {"age_seconds", lookup.age_seconds},
                                   {"error", TextOrNull(lookup.error)}});
  }
  std::int64_t dead_letters = 0;
  for (const auto& [reason, count] : status.dead_letters) dead_letters += count;
  json::array inputs;
  for (std::size_t i = 0; i < plan.inputs.size(); ++i) {
    const auto& input = plan.inputs[i];
    json::array patterns;
    for (const auto& pattern : input.patterns) patterns.push_back(json::value(pattern.text()));
    auto topics = input.topics;
    for (const auto& topic : status.topics) {
      if (plan.FindInput(topic) == static_cast<int>(i) && !plan.PatternsOf(topic).empty()) topics.push_back(topic);
    }
    const auto watermark = i < status.watermarks.size() ? status.watermarks[i] : std::nullopt;
    inputs.push_back(json::object{{"name", input.name},
                                  {"topics", json::value_from(topics)},
                                  {"patterns", std::move(patterns)},
                                  {"watermark", TimeOrNull(watermark)}});
  }
  json::array transforms;
  for (const auto& relation : plan.relations) {
    if (relation.parent >= 0) transforms.push_back(json::value(relation.name));
  }
  const bool is_kafka = std::holds_alternative<config::KafkaSource>(plan.config.source.log);
  return json::object{
      {"pipeline", plan.config.name},
      {"state", status.state},
      {"version", kVersion},
      {"uptime_seconds", status.uptime_seconds},
      {"watermark", TimeOrNull(status.watermark)},
      {"freshness_seconds", SecondsOrNull(status.freshness_us)},
      {"source", json::object{{"kind", is_kafka ? "kafka" : "embedded"},
                              {"topics", json::value_from(status.topics.empty() ? plan.topics() : status.topics)},
                              {"partitions", std::move(partitions)}}},
      {"inputs", std::move(inputs)},
      {"transforms", std::move(transforms)},
      {"rates",
       json::object{{"records_per_second", status.records_per_second}, {"bytes_per_second", status.bytes_per_second}}},
      {"totals", json::object{{"records", status.records},
                              {"further", status.further},
                              {"bytes", status.bytes},
                              {"dead_letters", dead_letters},
                              {"filtered", status.filtered},
                              {"deduplicated", deduplicated},
                              {"tombstones", status.tombstones}}},
      {"memory", json::object{{"budget", plan.config.limits.memory}, {"used", status.memory_used}}},
      {"tables", std::move(tables)},
      {"aggregates", std::move(aggregates)},
      {"lookups", std::move(lookups)},
      {"errors", json::value_from(status.errors)}};
}

json::value LagDocument(const WorkerView& view) {
  // By partition: what is in every table of rows; nullopt: nothing is in one of them.
  std::map<model::TopicPartition, std::optional<model::Offset>> committed;
  for (const auto& table : view.tables) {
    for (const auto& [source, next] : table.committed) committed.try_emplace(source, next);
  }
  for (const auto& partition : view.status.partitions) committed.try_emplace(partition.source, std::nullopt);
  for (auto& [source, lowest] : committed) {
    const auto input = view.plan->FindInput(source.topic);
    for (std::size_t t = 0; t < view.tables.size(); ++t) {
      if (view.status.tables[t].kind == config::TableKind::kDeadLetters) continue;
      if (input && view.plan->InputOfTable(static_cast<int>(t)) != *input) continue;
      const auto found = view.tables[t].committed.find(source);
      if (found == view.tables[t].committed.end()) {
        lowest.reset();
        break;
      }
      lowest = std::min(lowest.value_or(found->second), found->second);
    }
  }
  const auto or_null = [](const std::optional<std::int64_t>& number) {
    return number ? json::value(*number) : json::value(nullptr);
  };
  json::array partitions;
  std::optional<std::int64_t> lag;
  for (const auto& [source, next] : committed) {
    const auto& own = view.status.partitions;
    auto read = std::lower_bound(own.begin(), own.end(), source,
                                 [](const auto& partition, const auto& wanted) { return partition.source < wanted; });
    if (read != own.end() && read->source != source) read = own.end();
    std::optional<std::int64_t> position;
    std::optional<std::int64_t> end;
    std::optional<std::int64_t> behind;
    std::optional<std::int64_t> uncommitted;
    if (read != own.end()) {
      position = read->next;
      end = read->end;
    }
    if (end) {
      behind = std::max<std::int64_t>(0, *end - *position);
      lag = lag.value_or(0) + *behind;
      if (next) uncommitted = std::max<std::int64_t>(0, *end - *next);
    }
    partitions.push_back(
        json::object{{"topic", source.topic},
                     {"partition", source.partition},
                     {"position", or_null(position)},
                     {"log_end", or_null(end)},
                     {"lag", or_null(behind)},
                     {"committed", or_null(next)},
                     {"committed_lag", or_null(uncommitted)},
                     {"watermark", read == own.end() ? json::value(nullptr) : TimeOrNull(read->watermark)},
                     {"paused", read == own.end() ? json::value(nullptr) : json::value(read->paused)},
                     {"waits_for", read == own.end() ? json::value(nullptr) : TextOrNull(read->waits_for)}});
  }
  return json::object{{"state", view.status.state}, {"lag", or_null(lag)}, {"partitions", std::move(partitions)}};
}

Result<json::value> CostUsageDocument(const WorkerView& view) {
  const WorkerStatus& status = view.status;
  if (status.records == 0 || status.uptime_seconds <= 0) {
    return Transient("nothing has been read yet, so there is no rate to report");
  }
  const auto records = static_cast<double>(status.records);
  json::array tables;
  double commits = 0;
  for (std::size_t t = 0; t < status.tables.size(); ++t) {
    const auto& table = status.tables[t];
    if (table.commits == 0 || !table.last_commit) continue;
    const auto num_commits = static_cast<double>(table.commits);
    commits += num_commits;
    // Up to its last commit: what came after is in no file yet.
    const double since_commit = static_cast<double>(view.now - *table.last_commit) / 1e6;
    const double seconds = std::max(0.1 * num_commits, status.uptime_seconds - since_commit);
    const auto behind = static_cast<double>(view.tables[t].lag_records);
    const double committed_bytes = static_cast<double>(status.bytes) * std::max(0.0, records - behind) / records;
    tables.push_back(
        json::object{{"name", table.name},
                     {"aggregate", table.kind == config::TableKind::kAggregate},
                     {"commit", fmt::format("{:.3f}s", seconds / num_commits)},
                     {"ratio", committed_bytes > 0 ? static_cast<double>(table.bytes_committed) / committed_bytes : 0},
                     {"files_per_commit", static_cast<double>(table.files_committed) / num_commits},
                     {"checkpoint_interval", CheckpointInterval(*table.snapshot)}});
  }
  json::object lake;
  if (!tables.empty()) lake["tables"] = std::move(tables);
  using objectstore::RequestKind;
  const auto reads = static_cast<double>(view.lake.Of(RequestKind::kGet) + view.lake.Of(RequestKind::kHead));
  // A commit asks once whether its version is still the newest; the rest is queries and the opening of tables.
  lake["checks_per_commit"] = 1;
  lake["reads_per_second"] = std::max(0.0, reads - commits) / status.uptime_seconds;
  lake["lists_per_second"] = static_cast<double>(view.lake.Of(RequestKind::kList)) / status.uptime_seconds;
  json::object usage{
      {"origin", fmt::format("measured over {:.0f} s", status.uptime_seconds)},
      {"events_per_second", records / status.uptime_seconds},
      {"bytes_per_event", std::max(1.0, static_cast<double>(status.bytes) / records)},
      {"compute", json::object{{"events_per_vcpu", std::max(1.0, records / std::max(1e-3, view.cpu_seconds))}}},
      {"lake", std::move(lake)},
      {"serve", json::object{{"queries_per_second", view.queries_served / status.uptime_seconds}}}};
  if (const auto* embedded = std::get_if<config::EmbeddedSource>(&view.plan->config.source.log)) {
    usage["broker"] =
        json::object{{"mode", "embedded"},
                     {"zones", 1},
                     {"replication", 1},
                     {"retention", fmt::format("{:.0f}s", std::chrono::duration<double>(embedded->retention).count())}};
  }
  return usage;
}

}  // namespace millrace::pipeline
