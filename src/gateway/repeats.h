/// Requests that are sent again with the Idempotency-Key of an earlier one: the same answer, and nothing in the log
/// twice, also when the process was killed in between.
///
/// The log itself is the witness. Each record of such a request has a header, kMark, that says of which request it is
/// and at which place in it. Answers are kept in a folder (RocksDB) that is synced only every now and then, together
/// with offsets: whatever lies before them in the log has its answer in the folder. So what a death has cost is behind
/// these offsets, and is found there at the next start by reading the log on from them: a second's worth of it. A
/// request that was cut off in the middle is remembered by the places of those of its records that are there, and when
/// it is sent again the others are appended.
///
/// The folder is of one process at a time. What it cannot know: a request that is sent again to another gateway.
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "eventlog/event_log.h"

namespace rocksdb {
class CompactionFilter;
class DB;
}  // namespace rocksdb

namespace millrace::gateway {

/// The name of the header: 32 hex digits of the request, 16 of its body, the index in the body.
inline constexpr std::string_view kMark = "millrace-request";

/// How long an answer is kept.
inline constexpr std::chrono::hours kAnswersKept{24};

struct RequestId {
  std::array<char, 16> digest{};
  bool operator==(const RequestId&) const = default;
  auto operator<=>(const RequestId&) const = default;
};

/// What a request is known by: its key is its sender's own, of one topic.
RequestId MakeRequestId(std::string_view topic, std::string_view client, std::string_view key);
/// To tell another body under the same key.
std::uint64_t FingerprintOf(std::string_view body);
/// The value of the header.
std::string MarkOf(const RequestId& id, std::uint64_t fingerprint, std::size_t index);

struct KeptAnswer {
  int status = 0;
  std::string body;
};

/// Records of a request, by their index in its body.
using Places = std::map<std::size_t, eventlog::Appended>;

class Repeats {
 public:
  struct Options {
    std::string folder;
    std::vector<std::string> topics;
    /// Beside everybody: reads from the start that it is told, and leaves no trace in the log.
    std::function<Result<std::unique_ptr<eventlog::Consumer>>()> open_log;
    std::int64_t disk_max = std::int64_t{16} << 30;  ///< Bytes of the folder.
    const Clock* clock = &SystemClock();
    std::chrono::milliseconds sync_every{1000};
    /// What a process that died has sent may still be on its way to the log: before it is looked for there.
    std::chrono::milliseconds arrives_within{1000};
  };

  /// Reads the folder and begins to look into the log, on a thread of its own. kConflict: another process has the
  /// folder. kCorrupt: files of it are damaged or missing; where what was written last is, the log is read instead.
  /// kTransient: the log does not answer, of a new folder. kNotFound: a topic is not there.
  static Result<std::unique_ptr<Repeats>> Open(Options options);
  /// What was answered is synced.
  ~Repeats();

  /// A request that is being answered: one of the three calls that end it must follow.
  struct Begun {
    std::uint64_t ticket = 0;
    Places there;  ///< Of its records, these are in the log already.
  };
  enum class Refusal {
    kRunning,    ///< The same request is being answered.
    kOtherBody,  ///< Its key was used with another body.
    kNotYet,     ///< What became of it is being looked for.
    kDisk,       ///< The folder cannot be read or written.
  };
  /// Waits for the disk at most.
  std::variant<Begun, KeptAnswer, Refusal> Begin(const RequestId& id, std::uint64_t fingerprint);

  /// It was answered so. An error: the answer is not kept, and what is in the log is found there if it is sent again.
  Status Answered(std::uint64_t ticket, const KeptAnswer& answer);
  /// Nothing more of it will come into the log than what lies at `places`.
  Status CutOff(std::uint64_t ticket, const Places& places);
  /// Some of it may be in the log: it is looked for.
  void Lost(std::uint64_t ticket);

  /// The log has been read up to where it was at the start.
  bool ready() const;

 private:
  struct Request {
    RequestId id;
    std::uint64_t fingerprint;
    bool lost = false;
    std::chrono::steady_clock::time_point lost_at{};
  };
  struct Found {
    std::uint64_t fingerprint = 0;
    Places places;
  };
  /// Ends before which all is known, and the first ticket that may lie behind them.
  struct Checkpoint {
    eventlog::OffsetVector next;
    std::uint64_t ticket;
  };

  explicit Repeats(Options options);
  Status OpenFolder();
  Status CheckFormat();
  Result<eventlog::OffsetVector> Ends(eventlog::Consumer& log);
  Result<std::optional<eventlog::OffsetVector>> StoredOffsets();
  Status StoreOffsets(const eventlog::OffsetVector& next);
  /// All that was answered; what the log holds from `begins` on is not known yet.
  Status Forget(const eventlog::OffsetVector& begins);
  /// Reads the log from the stored offsets to its end, and of that no more than the last day, as long as answers are
  /// kept; marks of requests without an answer are put down. A log that ends before the offsets is another one, or has
  /// lost records: it is read as if nothing were stored, and nothing else counts any more.
  Status LookIntoLog(const std::stop_token& stop);
  Status PutFound(const std::map<RequestId, Found>& found);
  Status Put(const RequestId& id, std::uint64_t fingerprint, const KeptAnswer& answer, const Places& places);
  Status End(std::uint64_t ticket, const KeptAnswer& answer, const Places& places);
  void Run(const std::stop_token& stop);
  Status Sync(eventlog::Consumer& log);
  bool HasLost() const;

  const Options options_;
  std::unique_ptr<rocksdb::CompactionFilter> drops_old_;  // Outlives the database.
  std::unique_ptr<rocksdb::DB> db_;

  mutable std::mutex mutex_;  // Guards what follows.
  std::map<std::uint64_t, Request> running_;
  std::map<RequestId, std::uint64_t> tickets_;  // Of those that run.
  std::uint64_t next_ticket_ = 1;
  bool ready_ = false;

  // Of the thread.
  std::optional<Checkpoint> checkpoint_;
  std::vector<eventlog::TopicPartition> partitions_;  // As they were asked for last.
  int asked_ends_ = 0;
  eventlog::OffsetVector stored_;

  std::condition_variable_any wake_;
  std::jthread thread_;  // Last: it uses all the others.
};

}  // namespace millrace::gateway
