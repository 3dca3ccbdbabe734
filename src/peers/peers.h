/// The processes of a pipeline that have hot rows, as this one knows them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "peers/peer_client.h"
#include "peers/peer_hot_source.h"
#include "peers/pulse_watch.h"

namespace boost::json {
class array;
}

namespace millrace::peers {

/// Any thread.
class Peers {
 public:
  Peers(std::vector<std::string> urls, PeerClient::Options options, const Clock& clock = SystemClock())
      : urls_(std::move(urls)), client_(std::move(options), clock), pulses_(client_, Urls()) {}

  PeerUrls Urls() const {
    return [this] { return urls_; };
  }
  PeerClient& client() { return client_; }
  PulseWatch& pulses() { return pulses_; }

  /// What is known of each, for /v1/pipeline and /metrics; also of those that were never asked.
  std::vector<PeerState> States() const;
  boost::json::array ToJson() const;
  std::vector<SampledFamily> ToMetrics() const;

 private:
  const std::vector<std::string> urls_;
  PeerClient client_;
  PulseWatch pulses_;  // The last: its thread uses the others.
};

}  // namespace millrace::peers
