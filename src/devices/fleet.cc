#include "devices/fleet.h"

#include <algorithm>
#include <utility>

#include "base/status.h"

namespace millrace::devices {
namespace {

void AppendHex(std::uint64_t value, int digits, std::string& out) {
  for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4) out += "0123456789abcdef"[(value >> shift) & 15];
}

}  // namespace

std::string_view SensorFaultName(SensorFault fault) {
  switch (fault) {
    case SensorFault::kNone:
      return {};
    case SensorFault::kStuck:
      return "stuck";
    case SensorFault::kSpike:
      return "spike";
  }
  return {};
}

std::string_view FateName(Fate fate) {
  switch (fate) {
    case Fate::kValid:
      return "valid";
    case Fate::kDuplicate:
      return "duplicate";
    case Fate::kMalformed:
      return "malformed";
  }
  return {};
}

Fleet::Fleet(const FleetOptions& options, std::unique_ptr<EventSource> source)
    : options_(options),
      source_(std::move(source)),
      writer_(source_->shape(), options.format, options.prefix),
      random_(Mix(options.seed, 1)) {
  MILLRACE_CHECK(options.duplicates >= 0 && options.malformed >= 0 && options.duplicates + options.malformed <= 1);
}

// A version 4 UUID's form. The count makes it unique, the seed keeps two fleets apart.
void Fleet::WriteEventId(std::string& id) const {
  const std::uint64_t high = Mix(options_.seed) ^ distinct_;
  const std::uint64_t low = Mix(high);
  id.clear();
  AppendHex(high >> 32, 8, id);
  id += '-';
  AppendHex(high >> 16, 4, id);
  id += "-4";
  AppendHex(low >> 52, 3, id);
  id += "-a";
  AppendHex(low >> 40, 3, id);
  id += '-';
  AppendHex((high & 0xffff) << 32 | (low & 0xffffffff), 12, id);
}

FleetEvent Fleet::Next(UnixMicros now) {
  const std::uint64_t dice = random_.Next();
  if (distinct_ > 0 && IsOf(options_.duplicates, dice)) {
    const Remembered& earlier = recent_[Below(std::min<std::uint64_t>(distinct_, kRemembered), random_.Next())];
    FleetEvent event = earlier.event;
    event.number = sent_++;
    event.late_us = now - earlier.happened_at;
    event.fate = Fate::kDuplicate;
    event.duplicate_of = earlier.event.number;
    return event;
  }
  const SourceEvent source = source_->Next(now);
  Remembered& slot = recent_[distinct_++ % kRemembered];
  WriteEventId(slot.event_id);
  source.values[0].text = slot.event_id;
  writer_.Write(source.values, slot.payload);
  slot.key = source.key;
  slot.happened_at = source.happened_at;
  slot.event = {.number = sent_++,
                .payload = slot.payload,
                .key = slot.key,
                .event_id = slot.event_id,
                .event_time = source.happened_at + source.clock_error_us,
                .late_us = now - source.happened_at,
                .clock_error_us = source.clock_error_us,
                .fault = source.fault};
  FleetEvent event = slot.event;
  if (IsOf(options_.duplicates + options_.malformed, dice) && !IsOf(options_.duplicates, dice)) {
    // What is remembered stays whole: sent again, it comes through.
    event.malformation = writer_.WriteMalformed(source.values, random_.Next(), malformed_);
    event.payload = malformed_;
    event.fate = Fate::kMalformed;
  }
  return event;
}

}  // namespace millrace::devices
