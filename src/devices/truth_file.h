/// The truth about a fleet's events, as a Parquet file (model/truth.h).
///
/// A row is written once its event's outcome is known, so memory holds the rows of events that are on their way and of
/// one row group.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "devices/fleet.h"
#include "devices/sink.h"

namespace millrace::devices {

class TruthFile {
 public:
  /// Replaces the file at `path` when it is closed; until then it is `path`.partial. `topic`: nullopt, they go to none.
  /// `delivery`: of the sink. kInvalidInput names the path and says why it cannot be written.
  static Result<std::unique_ptr<TruthFile>> Create(std::string path, std::optional<std::string> topic,
                                                   Delivery delivery = Delivery::kOnce);
  ~TruthFile();

  /// Before the event is sent; one thread. An error of the disk, also of rows before.
  Status Add(const FleetEvent& event, UnixMicros sent_at);
  /// Of events that were added. Any thread.
  void Settle(std::int64_t first, std::int64_t end, Outcome outcome, std::string_view detail);
  /// Once nothing is settled any more. What is not was never sent, and has no row.
  Status Close();

 private:
  class Impl;
  explicit TruthFile(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::devices
