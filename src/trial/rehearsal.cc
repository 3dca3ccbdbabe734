#include "trial/rehearsal.h"

#include <set>
#include <utility>

#include "delta/data/scan.h"
#include "objectstore/memory_store.h"
#include "pipeline/epoch_commit.h"
#include "pipeline/open_tables.h"
#include "pipeline/shard.h"
#include "serve/answer_writer.h"

namespace millrace::trial {
namespace {

constexpr std::int64_t kMemoryBytes = std::int64_t{1} << 30;

Result<TableRows> EventRows(const delta::Table& table) {
  TableRows rows;
  ASSIGN_OR_RETURN(const auto reader, delta::OpenScan(table.store(), table.snapshot(), {.num_threads = 1}));
  ASSIGN_OR_RETURN(rows.rows, reader->ToTable());
  return rows;
}

}  // namespace

Rehearsal::Rehearsal(std::shared_ptr<const pipeline::Plan> plan, std::shared_ptr<MemoryBudget> budget)
    : plan_(std::move(plan)),
      budget_(std::move(budget)),
      resources_(query::ReaderResources::Make(kMemoryBytes, *budget_)) {}

Result<std::unique_ptr<Rehearsal>> Rehearsal::Make(std::shared_ptr<const pipeline::Plan> plan) {
  auto rehearsal = std::unique_ptr<Rehearsal>(new Rehearsal(std::move(plan), MemoryBudget::Make(kMemoryBytes)));
  ASSIGN_OR_RETURN(rehearsal->lookups_, pipeline::LoadLookups(*rehearsal->plan_, {}));
  return rehearsal;
}

Result<Outcome> Rehearsal::Run(const std::vector<model::FetchedRecords>& fetches) {
  const auto lake = objectstore::MakeMemoryStore();
  ASSIGN_OR_RETURN(const auto tables, pipeline::OpenTables(*plan_, lake));
  std::vector<std::shared_ptr<objectstore::ObjectStore>> stores;
  for (const auto& opened : tables) stores.push_back(opened.table->store());
  ASSIGN_OR_RETURN(
      const auto shard,
      pipeline::Shard::Make(plan_, std::move(stores), {.lookups = lookups_, .families = pipeline::FamiliesOf(tables)}));

  std::set<model::TopicPartition> started;
  for (const auto& fetch : fetches) {
    if (!started.insert(fetch.source).second) continue;
    pipeline::Shard::PartitionStart start{.source = fetch.source,
                                          .sinks = {},
                                          .letter_stages = {},
                                          .earlier = nullptr,
                                          .progress = std::make_shared<pipeline::PartitionProgress>()};
    for (int t = 0; t < plan_->num_data_tables(); ++t) {
      start.sinks.push_back({.table_schema = tables[t].table->snapshot()->schema});
    }
    shard->Start(std::move(start));
  }

  Outcome outcome;
  for (const auto& fetch : fetches) {
    Status status = shard->ProcessPatiently(fetch);
    if (status.ok()) continue;
    if (KindOf(status) != ErrorKind::kInvalidInput) return status;
    outcome.stopped = std::move(status);
    return outcome;
  }
  outcome.letters = shard->TakeLetters();
  for (int t = 0; t < plan_->num_data_tables(); ++t) {
    const auto& plan = plan_->tables[t];
    const auto& table = tables[t].table;
    const auto& progress = tables[t].progress;
    std::vector<pipeline::SealedPart> parts;
    ASSIGN_OR_RETURN(parts.emplace_back(), shard->Seal(t, 1));
    const auto& family = tables[t].family;
    if (family != nullptr) RETURN_NOT_OK(family->Claim(pipeline::RoutesOf(parts)));
    ASSIGN_OR_RETURN(const auto epoch, pipeline::PrepareEpoch(plan, *table, std::move(parts)));
    if (!epoch.partitions.empty()) {
      RETURN_NOT_OK((family == nullptr ? pipeline::CommitEpoch(*plan_, t, *table, progress, epoch)
                                       : pipeline::CommitFamilyEpoch(*plan_, t, *table, progress, *family, epoch))
                        .status());
    }
    if (family != nullptr) {
      for (const auto& route : family->routes()) {
        ASSIGN_OR_RETURN(outcome.routes[route.name], EventRows(*route.table));
      }
    }
    if (plan.kind == config::TableKind::kEvents) {
      ASSIGN_OR_RETURN(outcome.tables.emplace_back(), EventRows(*table));
      continue;
    }
    query::AggregateReader reader(
        {.definition = plan.aggregate->definition,
         .table =
             std::make_shared<query::FollowedTable>([&table] { return Result<std::shared_ptr<delta::Table>>(table); }),
         .next_offsets = [&progress](const delta::Snapshot& snapshot) { return progress.NextOffsets(snapshot); }},
        resources_);
    ASSIGN_OR_RETURN(auto answer, reader.Ask({}, {}));
    auto& rows = outcome.tables.emplace_back(TableRows{.rows = answer.rows, .errors = {}});
    for (const auto& error : answer.errors) {
      std::string group;
      if (answer.error_groups != nullptr) {
        RETURN_NOT_OK(serve::AppendNdjson(*answer.error_groups->Slice(error.group, 1), group));
        group.pop_back();
      }
      rows.errors.push_back(fmt::format("no value of {} in {}: {}", error.measure, group, error.detail));
    }
  }
  return outcome;
}

}  // namespace millrace::trial
