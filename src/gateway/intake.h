/// The one way into the log: events in; where each of them lies, or why it does not, out, once all are settled. What
/// every door comes down to, whatever its senders speak.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/status.h"
#include "eventlog/event_log.h"

namespace millrace::gateway {

/// Of each record in their order: where it lies, durable; or an error as eventlog::OnSettled has it.
using Settled = std::vector<Result<eventlog::Appended>>;

/// Any thread.
class Intake {
 public:
  /// What may be on its way to the log at a time: less than the producer takes, so that it takes all of a batch that
  /// has found its place here. Small batches, of at most kSmallBatchBytes, may have a quarter more of the first two:
  /// large ones do not keep them out.
  struct Limits {
    std::size_t bytes_max = 12 << 20;
    std::size_t records_max = 50'000;
    /// Of one batch: as much as the producer takes whole. More finds no place, however long it waits.
    std::size_t batch_bytes_max = 12 << 20;
  };

  static constexpr std::size_t kSmallBatchBytes = 64 << 10;

  /// `door`: whose events they are, as metrics say it.
  Intake(std::unique_ptr<eventlog::ConfirmingProducer> producer, const Limits& limits, Metrics& metrics,
         const std::string& door);
  /// Each `then` has been called when it returns.
  ~Intake();

  /// Appends the records; never waits. After OK, `then` is called once, here or on a thread of the producer: it must
  /// neither wait nor throw. kTransient: there is no room at the moment; kTooLarge: there never will be; then nothing
  /// was appended, `then` is not called, and the records are as they were. A batch that is larger than what may be on
  /// its way finds its place when nothing else is.
  Status Append(std::vector<eventlog::OutgoingRecord>&& records, std::function<void(Settled)> then);

  /// Records on their way.
  std::size_t waiting() const { return records_; }

 private:
  void NoteMoved();

  const Limits limits_;
  std::atomic<std::size_t> bytes_{0};
  std::atomic<std::size_t> records_{0};
  Gauge waiting_bytes_;
  Gauge waiting_records_;
  std::unique_ptr<eventlog::ConfirmingProducer> producer_;  // Last: it calls back as it goes.
};

/// Of each of two doors that share the queue of one embedded log: it has room for what both may have, also when one has
/// its largest batch in place of that.
inline constexpr Intake::Limits kSharedEmbeddedLimits{.bytes_max = 6 << 20, .batch_bytes_max = 9 << 20};

}  // namespace millrace::gateway
