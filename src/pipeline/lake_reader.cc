#include "pipeline/lake_reader.h"

#include <optional>

#include "pipeline/open_tables.h"
#include "pipeline/progress.h"

namespace millrace::pipeline {

std::unique_ptr<query::AggregateReader> LakeReader(const Plan& plan, int table,
                                                   const std::shared_ptr<objectstore::ObjectStore>& lake,
                                                   const query::ReaderResources& resources) {
  const auto progress = std::make_shared<std::optional<Progress>>();
  return std::make_unique<query::AggregateReader>(
      query::AggregateReader::Options{
          .definition = plan.tables[table].aggregate->definition,
          .table = std::make_shared<query::FollowedTable>(
              [&plan, table, lake, progress]() -> Result<std::shared_ptr<delta::Table>> {
                ASSIGN_OR_RETURN(auto store, OpenTableStore(plan, table, lake));
                ASSIGN_OR_RETURN(auto opened, delta::Table::Open(std::move(store)));
                RETURN_NOT_OK(CheckFits(plan, table, *opened));
                ASSIGN_OR_RETURN(*progress, Progress::Of(plan, table, *opened));
                return opened;
              }),
          .next_offsets = [progress](const delta::Snapshot& snapshot) { return (*progress)->NextOffsets(snapshot); }},
      resources);
}

}  // namespace millrace::pipeline
