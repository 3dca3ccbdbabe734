/// Whether the other processes have anything new. They are asked while somebody wants to know, and not otherwise.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "base/clock.h"
#include "base/status.h"
#include "peers/peer_client.h"
#include "peers/peer_list.h"

namespace millrace::peers {

/// What changes when an answer with this process' hot rows may; and whose it is.
struct Pulse {
  std::string instance;
  std::uint64_t changes = 0;
  std::optional<UnixMicros> watermark{};
  std::string pipeline{};  ///< Its name; empty: of a build that does not say it.

  bool operator==(const Pulse&) const = default;
};
inline constexpr std::int64_t kPulseBytesMax = 4096;
std::string ToJson(const Pulse& pulse);
/// kInvalidInput: not a text of ToJson().
Result<Pulse> PulseFromJson(std::string_view text);

/// Any thread.
class PulseWatch {
 public:
  struct Options {
    std::chrono::milliseconds interval{25};    ///< From one question to all to the next.
    std::chrono::milliseconds interest{2000};  ///< How long they are asked after the last Changes().
  };

  /// `client` outlives the watch.
  PulseWatch(PeerClient& client, ListPeers peers, Options options);
  PulseWatch(PeerClient& client, ListPeers peers) : PulseWatch(client, std::move(peers), Options()) {}

  /// Moves some milliseconds after any of them has changed, or has come or gone. Without waiting.
  std::uint64_t Changes();

 private:
  void Run(const std::stop_token& stop);

  PeerClient& client_;
  const ListPeers peers_;
  const Options options_;
  std::atomic<std::uint64_t> changes_{0};
  std::mutex mutex_;
  std::condition_variable_any wanted_;
  std::chrono::steady_clock::time_point asked_at_;  // Guarded by mutex_.
  std::jthread thread_;
};

}  // namespace millrace::peers
