/// The hot rows of all workers of a pipeline, ours among them, as those of one source.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

#include "base/status.h"
#include "model/aggregate.h"
#include "peers/peer_client.h"
#include "peers/peer_list.h"
#include "query/hot_rows.h"

namespace millrace::peers {

/// Of one aggregate. Any thread; a question takes as long as the slowest peer, and no longer than the client's
/// patience.
class PeerHotSource final : public query::HotSource {
 public:
  struct Options {
    query::HotSource* own = nullptr;  ///< What this process has itself; nullptr: nothing. Outlives the source.
    PeerClient* client = nullptr;     ///< Outlives the source.
    ListPeers peers;
    std::string instance;  ///< Of this process: who answers with it is ourselves.
    model::AggregateDefinition definition;
    std::string fingerprint;
    /// Of the table that the rows will be joined with. May look into the lake; its errors are those of Hot().
    std::function<Result<std::string>(const std::stop_token&)> table_id;
  };
  explicit PeerHotSource(Options options) : options_(std::move(options)) {}

  /// Peers whose answers do not fit are missing too. kTooLarge: all rows together take more than limits.bytes_max.
  Result<query::HotRows> Hot(const std::shared_ptr<const model::AggregateDefinition>& coarser,
                             const query::FoldRange& range, const query::FoldLimits& limits) override;
  query::HotRows Known() const override;

 private:
  const Options options_;
  mutable std::mutex mutex_;
  query::HotRows known_;  // Guarded by mutex_.
};

}  // namespace millrace::peers
