#include "peers/peer_hot_source.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "peers/hot_wire.h"

namespace millrace::peers {

Result<query::HotRows> PeerHotSource::Hot(const std::shared_ptr<const model::AggregateDefinition>& coarser,
                                          const query::FoldRange& range, const query::FoldLimits& limits) {
  query::HotRows rows;
  if (options_.own != nullptr) {
    ASSIGN_OR_RETURN(rows, options_.own->Hot(coarser, range, limits));
  }
  HotQuestion question{.aggregate = options_.definition.name,
                       .fingerprint = options_.fingerprint,
                       .table_id = {},
                       .keys = {},
                       .window = coarser->window,
                       .range = range,
                       .bytes_max = limits.bytes_max};
  for (const auto& key : coarser->keys) question.keys.push_back(key.name);
  ASSIGN_OR_RETURN(question.table_id, options_.table_id(limits.stop));

  std::set<std::string> heard{options_.instance};
  std::int64_t bytes = 0;
  const auto take = [&](const std::string& url, std::string body) -> Status {
    bytes += static_cast<std::int64_t>(body.size());
    if (bytes > limits.bytes_max) {
      return TooLarge("aggregate {}: the hot rows of all workers take more than {} bytes", options_.definition.name,
                      limits.bytes_max);
    }
    ASSIGN_OR_RETURN(auto answer, FromArrowStream(std::move(body), *coarser));
    if (answer.instance == options_.instance) {
      options_.client->SetOurselves(url);
    } else if (heard.insert(answer.instance).second) {  // Else it has two addresses.
      query::Add(std::move(answer.rows), rows);
    }
    return Status::OK();
  };
  PeerList peers = options_.peers();
  ASSIGN_OR_RETURN(
      rows.missing,
      options_.client->Ask(peers.urls, {.path = kHotPath, .body = ToJson(question), .bytes_max = limits.bytes_max},
                           take, limits.stop));
  std::move(peers.unknown.begin(), peers.unknown.end(), std::back_inserter(rows.missing));
  const std::scoped_lock lock(mutex_);
  known_.version = std::max(known_.version, rows.version);
  known_.watermark = rows.missing.empty() ? rows.watermark : std::nullopt;
  return rows;
}

query::HotRows PeerHotSource::Known() const {
  query::HotRows known;
  {
    const std::scoped_lock lock(mutex_);
    known = known_;
  }
  if (options_.own != nullptr) known.version = std::max(known.version, options_.own->Known().version);
  return known;
}

}  // namespace millrace::peers
