/// The event log inside the process: RocksDB in one folder, used by one process at a time.
///
/// A record is durable once Producer::Flush() has returned OK, or ConfirmingProducer has told where it lies; many
/// producers share one synced write, and one queue of 16 MiB. Offsets of a partition are contiguous and survive
/// restarts, also when retention has removed every record. Every topic has the same number of partitions and exists
/// from its first mention on. Each consumer is a group of its own: it is assigned all partitions at once, and they are
/// never revoked.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "eventlog/event_log.h"

namespace millrace::eventlog {

class EmbeddedStorage;

/// Of one record with its headers. Append() of a producer refuses a larger one (kInvalidInput).
inline constexpr std::size_t kEmbeddedRecordBytesMax = 64 << 20;

struct EmbeddedOptions {
  std::string path;
  /// Of each topic. May grow from one run to the next, never shrink. nullopt: as many as the log has, 4 if it is new.
  std::optional<int> partitions = std::nullopt;
  /// Records go when they, and all before them in the partition, have a timestamp older than this. nullopt: never.
  std::optional<std::chrono::milliseconds> retention = std::nullopt;
  const Clock* clock = &SystemClock();
};

/// Any thread. Consumers and producers keep the log open after this object is gone.
class EmbeddedLog {
 public:
  /// Makes the folder if there is none. kConflict: another process (or this one) has it open; kInvalidInput: fewer
  /// partitions than before; kCorrupt: RocksDB found damage.
  static Result<std::shared_ptr<EmbeddedLog>> Open(EmbeddedOptions options);

  /// The log at `path` as another process writes it, or has left it: for consumers alone, and nothing of the log is
  /// touched. Their Poll() and Bounds() see what has become durable by then; no descriptor tells when. Take one
  /// consumer at a time, on one thread. Each table of the log takes a descriptor. kNotFound: there is no log there
  /// (yet).
  static Result<std::shared_ptr<EmbeddedLog>> OpenToRead(const std::string& path);

  explicit EmbeddedLog(std::shared_ptr<EmbeddedStorage> storage) : storage_(std::move(storage)) {}

  std::unique_ptr<Consumer> NewConsumer();
  std::unique_ptr<Producer> NewProducer();
  /// Its destructor waits until each record is written.
  std::unique_ptr<ConfirmingProducer> NewConfirmingProducer();

  /// Happens by itself every minute; frees space now.
  Status EnforceRetention();

 private:
  std::shared_ptr<EmbeddedStorage> storage_;
};

}  // namespace millrace::eventlog
