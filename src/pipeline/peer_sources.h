/// The hot rows of the other processes of a pipeline, for its aggregates: serve.workers as values of peers/.
#pragma once

#include <memory>
#include <string>

#include "config/config.h"
#include "peers/peers.h"
#include "process/aggregate_plan.h"
#include "query/followed_table.h"

namespace millrace::pipeline {

/// How the processes of a pipeline ask each other: its token, and by CURL_CA_BUNDLE and serve.tls whom to trust and
/// what to show.
peers::PeerClient::Options PeerOptions(const config::ServeConfig& serve);

/// nullptr: serve.workers names none.
std::unique_ptr<peers::Peers> PeersOf(const config::PipelineConfig& config);

/// `peers` and `own` (nullptr: nothing) outlive the source that is made of this.
peers::PeerHotSource::Options PeerSourceOptions(peers::Peers& peers, const std::string& instance,
                                                const process::AggregatePlan& aggregate, std::string fingerprint,
                                                std::shared_ptr<query::FollowedTable> table, query::HotSource* own);

}  // namespace millrace::pipeline
