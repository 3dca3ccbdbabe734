#include "gateway/intake.h"

#include <memory>
#include <utility>

namespace millrace::gateway {
namespace {

std::size_t BytesOf(const eventlog::OutgoingRecord& record) {
  std::size_t sum = record.payload.value_or("").size() + record.key.value_or("").size();
  for (const auto& [name, value] : record.headers) sum += name.size() + value.value_or("").size();
  return sum;
}

}  // namespace

/// Records that were sent together. It goes with the last of them: what each carries is a pointer and a number, which
/// std::function holds without an allocation.
struct Intake::Group {
  Intake* intake;
  Settled settled;
  std::size_t bytes;
  std::function<void(Settled)> then;
  std::atomic<std::size_t> left;

  void Settle(std::size_t at, const Result<eventlog::Appended>& outcome) {
    settled[at] = outcome;
    if (left.fetch_sub(1) > 1) return;
    const std::unique_ptr<Group> last(this);
    intake->bytes_ -= bytes;
    intake->records_ -= settled.size();
    intake->NoteMoved();
    then(std::move(settled));
  }
};

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
  for (const auto& record : records) bytes += BytesOf(record);
  if (bytes > limits_.batch_bytes_max) {
    return TooLarge("{} events have {} bytes, and the log takes {} at a time", records.size(), bytes,
                    limits_.batch_bytes_max);
  }
  const std::size_t bytes_before = bytes_.fetch_add(bytes);
  const std::size_t records_before = records_.fetch_add(records.size());
  const bool fits = bytes_before + bytes <= limits_.bytes_max && records_before + records.size() <= limits_.records_max;
  if (!fits && records_before > 0) {
    bytes_ -= bytes;
    records_ -= records.size();
    return Transient("{} events of {} bytes are on their way to the log, and no more are taken at the moment",
                     records_before, bytes_before);
  }
  NoteMoved();
  const std::size_t count = records.size();
  Group* const group = new Group{this, Settled(count, eventlog::Appended{}), bytes, std::move(then), count};
  for (std::size_t i = 0; i < count; ++i) {
    const Status queued =
        producer_->Append(std::move(records[i]), [group, i](const auto& outcome) { group->Settle(i, outcome); });
    if (!queued.ok()) group->Settle(i, queued);
  }
  return Status::OK();
}

}  // namespace millrace::gateway
