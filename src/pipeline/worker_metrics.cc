#include "pipeline/worker_metrics.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "ingest/writer_schemas.h"

namespace millrace::pipeline {
namespace {

using Samples = std::vector<SampledFamily::Sample>;
using Kind = SampledFamily::Kind;
using Lookup = WorkerStatus::Lookup;
using RegistryState = ingest::WriterSchemas::State;
using Table = WorkerStatus::Table;

double Number(std::int64_t value) { return static_cast<double>(value); }

template <typename Value>
Samples ByTable(const WorkerView& view, Value value) {
  Samples samples;
  for (const auto& table : view.status.tables) samples.push_back({{{"table", table.name}}, value(table)});
  return samples;
}

Samples Lags(const WorkerView& view) {
  Samples samples;
  for (const auto& partition : view.status.partitions) {
    if (!partition.end) continue;
    samples.push_back({{{"topic", partition.source.topic}, {"partition", std::to_string(partition.source.partition)}},
                       Number(std::max<std::int64_t>(0, *partition.end - partition.next))});
  }
  return samples;
}

Samples DeadLetters(const WorkerView& view) {
  Samples samples;
  for (const auto& [reason, count] : view.status.dead_letters) {
    samples.push_back({{{"reason", reason}}, Number(count)});
  }
  return samples;
}

Samples Deduplicated(const WorkerView& view) {
  Samples samples;
  for (const auto& [topic, count] : view.status.deduplicated) samples.push_back({{{"topic", topic}}, Number(count)});
  return samples;
}

Samples CommitDurations(const WorkerView& view) {
  Samples samples;
  for (const auto& table : view.status.tables) {
    samples.push_back({{{"table", table.name}}, 0, table.commit_durations});
  }
  return samples;
}

template <typename Value>
Samples ByLookup(const WorkerView& view, Value value) {
  Samples samples;
  for (const auto& lookup : view.status.lookups) samples.push_back({{{"lookup", lookup.name}}, value(lookup)});
  return samples;
}

Samples StoreRequests(const WorkerView& view) {
  Samples samples;
  for (std::size_t i = 0; i < objectstore::kNumRequestKinds; ++i) {
    samples.push_back({{{"kind", std::string(objectstore::ToString(static_cast<objectstore::RequestKind>(i)))}},
                       Number(view.lake.requests[i])});
  }
  return samples;
}

Samples SecondsIfKnown(const std::optional<std::int64_t>& micros) {
  if (!micros) return {};
  return {{{}, Number(*micros) / 1e6}};
}

// With several inputs by their names.
Samples Watermarks(const WorkerView& view) {
  const auto& inputs = view.plan->inputs;
  if (inputs.size() == 1) return SecondsIfKnown(view.status.watermark);
  Samples samples;
  for (std::size_t i = 0; i < view.status.watermarks.size(); ++i) {
    const auto& watermark = view.status.watermarks[i];
    if (watermark) samples.push_back({{{"input", inputs[i].name}}, Number(*watermark) / 1e6});
  }
  return samples;
}

Samples WaitingPartitions(const WorkerView& view) {
  std::map<std::string, int> waiting;
  for (const auto& partition : view.status.partitions) {
    waiting[partition.source.topic] += partition.waits_for.empty() ? 0 : 1;
  }
  Samples samples;
  for (const auto& [topic, count] : waiting) samples.push_back({{{"topic", topic}}, Number(count)});
  return samples;
}

// Of the one registry that the file names; none where there is none.
Samples OfRegistry(const WorkerView& view, std::int64_t RegistryState::*count) {
  for (const auto& input : view.plan->inputs) {
    if (input.decode.writer_schemas == nullptr) continue;
    if (const auto state = input.decode.writer_schemas->state()) return {{{}, Number((*state).*count)}};
  }
  return {};
}

struct Family {
  const char* name;
  Kind kind;
  const char* help;
  Samples (*samples)(const WorkerView& view);
};

constexpr Family kFamilies[] = {
    {"millrace_records_total", Kind::kCounter, "Records taken from the log.",
     [](const WorkerView& view) -> Samples {
       Samples samples;
       for (const auto& [topic, records] : view.status.records_by_topic) {
         samples.push_back({{{"topic", topic}}, Number(records)});
       }
       return samples;
     }},
    {"millrace_further_documents_total", Kind::kCounter,
     "Documents beyond the first of records that hold several, committed.",
     [](const WorkerView& view) -> Samples {
       return {{{}, Number(view.status.further)}};
     }},
    {"millrace_bytes_total", Kind::kCounter, "Payload and key bytes taken from the log.",
     [](const WorkerView& view) -> Samples {
       return {{{}, Number(view.status.bytes)}};
     }},
    {"millrace_lag_records", Kind::kGauge, "Records in the log that are not processed yet.", Lags},
    {"millrace_waiting_partitions", Kind::kGauge,
     "Partitions that stand still until a schema can be had from the registry.", WaitingPartitions},
    {"millrace_registry_requests_total", Kind::kCounter,
     "Schemas of ids that the schema registry was asked for, each try.",
     [](const WorkerView& view) { return OfRegistry(view, &RegistryState::requests); }},
    {"millrace_registry_failures_total", Kind::kCounter, "Of these requests, those that got no answer.",
     [](const WorkerView& view) { return OfRegistry(view, &RegistryState::failures); }},
    {"millrace_registry_unknown_ids_total", Kind::kCounter, "Ids of which the registry said that it has no schema.",
     [](const WorkerView& view) { return OfRegistry(view, &RegistryState::unknown); }},
    {"millrace_registry_cache_hits_total", Kind::kCounter, "Schemas that decoders asked for and that were in memory.",
     [](const WorkerView& view) { return OfRegistry(view, &RegistryState::from_memory); }},
    {"millrace_registry_schemas", Kind::kGauge, "Schemas of the registry in memory.",
     [](const WorkerView& view) { return OfRegistry(view, &RegistryState::schemas); }},
    {"millrace_registry_wanted_ids", Kind::kGauge, "Ids that the registry has not answered for yet.",
     [](const WorkerView& view) { return OfRegistry(view, &RegistryState::wanted); }},
    {"millrace_watermark_timestamp_seconds", Kind::kGauge, "Event time up to which windows are complete.", Watermarks},
    {"millrace_freshness_seconds", Kind::kGauge,
     "From the newest record's timestamp in the log until answers had it; the slowest partition's.",
     [](const WorkerView& view) { return SecondsIfKnown(view.status.freshness_us); }},
    {"millrace_dead_letters_total", Kind::kCounter, "Records that became dead letters, durable in their table.",
     DeadLetters},
    {"millrace_deduplicated_total", Kind::kCounter, "Records left out, committed so, that repeat an earlier one.",
     Deduplicated},
    {"millrace_commit_duration_seconds", Kind::kDurations, "Time from a cut to its commit.", CommitDurations},
    {"millrace_rows_committed_total", Kind::kCounter, "Records whose rows this process has committed.",
     [](const WorkerView& view) { return ByTable(view, [](const Table& t) { return Number(t.rows_committed); }); }},
    {"millrace_rows_rescued_total", Kind::kCounter, "Of these, rows with fields that no column takes.",
     [](const WorkerView& view) { return ByTable(view, [](const Table& t) { return Number(t.rows_rescued); }); }},
    {"millrace_fenced_total", Kind::kCounter, "Epochs dropped because another worker was first.",
     [](const WorkerView& view) { return ByTable(view, [](const Table& t) { return Number(t.fenced); }); }},
    {"millrace_files_committed_total", Kind::kCounter, "Data files that this process has committed.",
     [](const WorkerView& view) { return ByTable(view, [](const Table& t) { return Number(t.files_committed); }); }},
    {"millrace_file_bytes_committed_total", Kind::kCounter, "Bytes of these files.",
     [](const WorkerView& view) { return ByTable(view, [](const Table& t) { return Number(t.bytes_committed); }); }},
    {"millrace_lookup_rows", Kind::kGauge, "Rows of a lookup, as it was read last.",
     [](const WorkerView& view) { return ByLookup(view, [](const Lookup& l) { return Number(l.rows); }); }},
    {"millrace_lookup_age_seconds", Kind::kGauge, "Since a lookup's source was last read; it grows while that fails.",
     [](const WorkerView& view) { return ByLookup(view, [](const Lookup& l) { return l.age_seconds; }); }},
    {"millrace_memory_bytes", Kind::kGauge, "Buffers, open epochs and answers, against limits.memory.",
     [](const WorkerView& view) -> Samples {
       return {{{}, Number(view.status.memory_used)}};
     }},
    {"millrace_memory_limit_bytes", Kind::kGauge, "limits.memory.",
     [](const WorkerView& view) -> Samples {
       return {{{}, Number(view.plan->config.limits.memory)}};
     }},
    {"millrace_store_requests_total", Kind::kCounter, "Requests to the lake's object store, as it bills them.",
     StoreRequests},
    {"millrace_store_retries_total", Kind::kCounter, "Of these requests, those that repeat one that failed.",
     [](const WorkerView& view) -> Samples {
       return {{{}, Number(view.lake.retries)}};
     }},
    {"millrace_store_bytes_total", Kind::kCounter, "Bodies of these requests and their replies.",
     [](const WorkerView& view) -> Samples {
       return {{{{"direction", "sent"}}, Number(view.lake.bytes_sent)},
               {{{"direction", "received"}}, Number(view.lake.bytes_received)}};
     }},
};

}  // namespace

std::vector<SampledFamily> WorkerMetrics(const WorkerView& view) {
  std::vector<SampledFamily> families;
  for (const Family& family : kFamilies) {
    families.push_back({family.name, family.kind, family.help, family.samples(view)});
  }
  return families;
}

}  // namespace millrace::pipeline
