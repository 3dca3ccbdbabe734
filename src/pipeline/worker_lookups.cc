// Lookups of a worker: read before there are tables, and again while it runs.
#include <string>

#include "base/log.h"
#include "pipeline/worker.h"
#include "pipeline/worker_internal.h"

namespace millrace::pipeline {

Result<std::shared_ptr<lookup::LookupSet>> LoadLookups(const Plan& plan, MemoryShare memory) {
  if (plan.lookups.empty()) return nullptr;
  const auto& lake = plan.config.lake;
  return lookup::LookupSet::Load(plan.config.lookups, plan.lookups,
                                 {.s3 = {.endpoint = lake.s3_endpoint,
                                         .region = lake.s3_region,
                                         .path_style = lake.s3_path_style,
                                         .ca_file = lake.s3_ca_file},
                                  // From half of it on, open epochs would be cut all the time.
                                  .bytes_max = plan.config.limits.memory / 4,
                                  .memory = std::move(memory)});
}

/// Rows that cannot be read stay as they are: events must not wait for another system. Its age tells.
asio::awaitable<void> Worker::RefreshRegularly(int lookup) {
  std::string noted;  // Said once, however long it lasts.
  while (!stopping_) {
    co_await Sleep(plan_->config.lookups[lookup].refresh);
    if (stopping_) co_return;
    const auto refresh = [this, lookup] { return lookups_->Refresh(lookup); };
    const Status refreshed = co_await RunOn(io_pool_.get_executor(), refresh);
    if (refreshed.ok()) {
      if (!noted.empty()) spdlog::info("lookup {} can be read again", plan_->lookups[lookup].name);
      noted.clear();
    } else if (!stopping_ && refreshed.message() != noted) {
      noted = refreshed.message();
      Note(WithContext(refreshed, "events are joined with the rows that were read before"));
    }
  }
}

}  // namespace millrace::pipeline
