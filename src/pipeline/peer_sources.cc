#include "pipeline/peer_sources.h"

#include <cstdlib>
#include <utility>

#include "peers/peer_names.h"

namespace millrace::pipeline {

peers::PeerClient::Options PeerOptions(const config::ServeConfig& serve) {
  peers::PeerClient::Options options{.token = serve.internal_token.value_or("")};
  if (const char* const authorities = std::getenv("CURL_CA_BUNDLE")) options.ca_file = authorities;
  if (serve.tls) {
    options.certificate_file = serve.tls->certificate_file;
    options.key_file = serve.tls->key_file;
  }
  return options;
}

std::unique_ptr<peers::Peers> PeersOf(const config::PipelineConfig& config) {
  if (!config.serve) return nullptr;
  const auto& serve = *config.serve;
  peers::ListPeers list;
  if (serve.workers_by_name) {
    const auto names = std::make_shared<peers::PeerNames>(
        peers::PeerNames::Options{.name = serve.workers_by_name->dns, .port = serve.workers_by_name->port});
    list = [names] { return names->Known(); };
  } else if (!serve.workers.empty()) {
    list = [urls = serve.workers] { return peers::PeerList{.urls = urls}; };
  } else {
    return nullptr;
  }
  return std::make_unique<peers::Peers>(std::move(list), PeerOptions(serve));
}

peers::PeerHotSource::Options PeerSourceOptions(peers::Peers& peers, const std::string& instance,
                                                const process::AggregatePlan& aggregate, std::string fingerprint,
                                                std::shared_ptr<query::FollowedTable> table, query::HotSource* own) {
  return {.own = own,
          .client = &peers.client(),
          .peers = peers.list(),
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
