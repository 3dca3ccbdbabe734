#include <utility>

#include "eventlog/event_log.h"
#include "eventlog/gathering_internal.h"

namespace millrace::eventlog {

void ConfirmingProducer::AppendAll(std::vector<OutgoingRecord> records, OnAllSettled settled) {
  if (records.empty()) return settled({});
  // It goes with the last of them: a pointer and a number are what std::function holds without an allocation.
  auto* const gathering = new Gathering(records.size(), std::move(settled));
  const auto settle = [gathering](std::size_t at, const Result<Appended>& outcome) {
    if (gathering->Settle(at, outcome)) delete gathering;
  };
  for (std::size_t i = 0, count = records.size(); i < count; ++i) {
    const Status queued = Append(std::move(records[i]), [settle, i](const auto& outcome) { settle(i, outcome); });
    if (!queued.ok()) settle(i, queued);
  }
}

}  // namespace millrace::eventlog
