#include "gateway/intake.h"

#include <utility>

namespace millrace::gateway {

Intake::Intake(std::unique_ptr<eventlog::ConfirmingProducer> producer, const Limits& limits, Metrics& metrics,
               const std::string& door)
    : limits_(limits),
      waiting_bytes_(
          metrics.MakeGauge("millrace_gateway_waiting_bytes", "Of events on their way to the log.", {{"door", door}})),
      waiting_records_(
          metrics.MakeGauge("millrace_gateway_waiting_events", "Events on their way to the log.", {{"door", door}})),
      producer_(std::move(producer)) {}

Intake::~Intake() = default;

void Intake::NoteMoved() {
  waiting_bytes_.Set(static_cast<double>(bytes_));
  waiting_records_.Set(static_cast<double>(records_));
}

Status Intake::Append(std::vector<eventlog::OutgoingRecord>&& records, std::function<void(Settled)> then) {
  if (records.empty()) {
    then({});
    return Status::OK();
  }
  std::size_t bytes = 0;
  for (const auto& record : records) bytes += record.bytes();
  if (bytes > limits_.batch_bytes_max) {
    return TooLarge("{} events have {} bytes, and the log takes {} at a time", records.size(), bytes,
                    limits_.batch_bytes_max);
  }
  const std::size_t bytes_before = bytes_.fetch_add(bytes);
  const std::size_t records_before = records_.fetch_add(records.size());
  const auto with_share = [is_small = bytes <= kSmallBatchBytes](std::size_t most) {
    return is_small ? most + most / 4 : most;
  };
  const bool fits = bytes_before + bytes <= with_share(limits_.bytes_max) &&
                    records_before + records.size() <= with_share(limits_.records_max);
  if (!fits && records_before > 0) {
    bytes_ -= bytes;
    records_ -= records.size();
    return Transient("{} events of {} bytes are on their way to the log, and no more are taken at the moment",
                     records_before, bytes_before);
  }
  NoteMoved();
  producer_->AppendAll(std::move(records), [this, bytes, then = std::move(then)](Settled settled) {
    bytes_ -= bytes;
    records_ -= settled.size();
    NoteMoved();
    then(std::move(settled));
  });
  return Status::OK();
}

}  // namespace millrace::gateway
