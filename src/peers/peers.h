/// The processes of a pipeline that have hot rows, as this one knows them.
#pragma once

#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "peers/peer_client.h"
#include "peers/peer_hot_source.h"
#include "peers/peer_list.h"
#include "peers/pulse_watch.h"

namespace boost::json {
class array;
}

namespace millrace::peers {

/// Any thread.
class Peers {
 public:
  Peers(ListPeers list, PeerClient::Options options, const Clock& clock = SystemClock())
      : list_(std::move(list)), client_(std::move(options), clock), pulses_(client_, list_) {}

  const ListPeers& list() const { return list_; }
  PeerClient& client() { return client_; }
  PulseWatch& pulses() { return pulses_; }

  /// What is known of each, for /v1/pipeline and /metrics; also of those that were never asked, and of names that stand
  /// for nobody known.
  std::vector<PeerState> States() const;
  boost::json::array ToJson() const;
  std::vector<SampledFamily> ToMetrics() const;

 private:
  const ListPeers list_;
  PeerClient client_;
  PulseWatch pulses_;  // The last: its thread uses the others.
};

}  // namespace millrace::peers
