#include "pipeline/peer_sources.h"

#include <utility>

namespace millrace::pipeline {

std::unique_ptr<peers::Peers> PeersOf(const config::PipelineConfig& config) {
  if (!config.serve || config.serve->workers.empty()) return nullptr;
  return std::make_unique<peers::Peers>(config.serve->workers,
                                        peers::PeerClient::Options{.token = config.serve->internal_token.value_or("")});
}

peers::PeerHotSource::Options PeerSourceOptions(peers::Peers& peers, const std::string& instance,
                                                const process::AggregatePlan& aggregate, std::string fingerprint,
                                                std::shared_ptr<query::FollowedTable> table, query::HotSource* own) {
  return {.own = own,
          .client = &peers.client(),
          .urls = peers.Urls(),
          .instance = instance,
          .definition = aggregate.definition,
          .fingerprint = std::move(fingerprint),
          .table_id = [table = std::move(table)](const std::stop_token& stop) -> Result<std::string> {
            const auto known = table->Known();
            if (known != nullptr) return known->metadata.id;
            ASSIGN_OR_RETURN(const auto look, table->Newest(-1, stop));
            return look.snapshot->metadata.id;
          }};
}

}  // namespace millrace::pipeline
