/// Questions to the other processes of a pipeline, all at once: who answers in time has answered, who does not is
/// named.
///
/// Connections are kept. One peer that is slow makes nobody wait longer than the patience; one that fails again and
/// again is left in peace for a while, and then asked by one question first.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/status.h"
#include "query/hot_rows.h"

namespace millrace::peers {

/// What is known of one peer.
struct PeerState {
  std::string url;
  bool is_ourselves = false;
  std::optional<UnixMicros> last_answer{};
  std::string error{};     ///< Of the last question; empty: it was answered.
  int failures = 0;        ///< In a row.
  bool is_paused = false;  ///< It is not asked at the moment.
  std::int64_t num_answers = 0;
  std::int64_t num_failures = 0;
  DurationCounts answer_durations{};
};

/// Any thread, several questions at once.
class PeerClient {
 public:
  struct Options {
    std::string token{};  ///< Sent as a bearer token; empty: none.
    // Of https:// alone.
    std::string ca_file{};           ///< PEM: whom to trust; empty: the system's authorities.
    std::string certificate_file{};  ///< PEM: what is shown to a peer that wants a certificate; empty: none.
    std::string key_file{};          ///< PEM: its private key.
    /// From a question to the last byte of its answer, connecting included.
    std::chrono::milliseconds patience{200};
    int failures_max = 3;  ///< In a row; then it is left in peace.
    BackoffRange pause{.min = std::chrono::seconds(1), .max = std::chrono::seconds(10)};
    int connections_max = 64;  ///< Kept, by each question that is under way.
  };
  explicit PeerClient(Options options, const Clock& clock = SystemClock());
  ~PeerClient();

  struct Question {
    std::string path;            ///< "/internal/v1/hot"
    std::string body;            ///< JSON, for a POST; empty: a GET.
    std::int64_t bytes_max = 0;  ///< Of one answer's body.
  };
  /// Called for each body that comes with status 200, on the thread that asks. Not OK: as if it had not answered.
  using Take = std::function<Status(const std::string& url, std::string body)>;

  /// Asks all of `urls` ("http://worker-1:8080") but ourselves, and returns who did not answer, and why. kTooLarge: an
  /// answer is larger than bytes_max, or its peer says that it would be. kCancelled: `stop` was requested.
  Result<std::vector<query::MissingSource>> Ask(const std::vector<std::string>& urls, const Question& question,
                                                const Take& take, const std::stop_token& stop);

  /// This one is the process that asks: it need not be asked again.
  void SetOurselves(const std::string& url);

  /// By url, of those that were asked last or are ourselves.
  std::vector<PeerState> States() const;

 private:
  class Handles;
  struct Peer {
    PeerState state;
    std::optional<std::chrono::steady_clock::time_point> paused_until;
  };

  /// Who of `urls` is asked now; the others, unless they are ourselves, go to `missing`.
  std::vector<std::string> Choose(const std::vector<std::string>& urls, std::vector<query::MissingSource>& missing);
  void Note(const std::string& url, const Status& outcome, double seconds);

  const Options options_;
  const Clock& clock_;
  const std::unique_ptr<Handles> handles_;
  mutable std::mutex mutex_;
  std::map<std::string, Peer> peers_;  // By url; guarded by mutex_.
};

}  // namespace millrace::peers
