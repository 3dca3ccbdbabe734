/// A simulated fleet: events in the order in which they are sent, as bytes, each with what became of it on its way.
/// The same options and the same times give the same bytes, on every machine.
///
/// A source says what happens in the world (clickstream.h, sensors.h); the fleet adds what happens to messages: some
/// are sent again, some arrive broken.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "devices/event_shape.h"
#include "devices/payload_writer.h"
#include "devices/random.h"

namespace millrace::devices {

enum class SensorFault {
  kNone,
  kStuck,  ///< It measures what it measured before.
  kSpike   ///< One value is far off.
};

std::string_view SensorFaultName(SensorFault fault);

/// What happened, at the latest now.
struct SourceEvent {
  std::span<Value> values;  ///< Of the source's shape, until the next event; the fleet fills in the first, the id.
  std::string_view key;     ///< The device. Until the next event.
  UnixMicros happened_at = 0;
  std::int64_t clock_error_us = 0;  ///< Of the device: its time says so much more.
  SensorFault fault = SensorFault::kNone;
};

class EventSource {
 public:
  virtual ~EventSource() = default;
  virtual const Shape& shape() const = 0;
  /// The next event that is sent, at `now`, which never goes back.
  virtual SourceEvent Next(UnixMicros now) = 0;
};

enum class Fate {
  kValid,      ///< Sent for the first time, sound.
  kDuplicate,  ///< Byte for byte an event before it, of which a sound copy was meant to be sent.
  kMalformed
};

std::string_view FateName(Fate fate);

/// Views are valid until the next event.
struct FleetEvent {
  std::int64_t number = 0;  ///< 0 for the first.
  std::string_view payload;
  std::string_view key;
  std::string_view event_id;
  UnixMicros event_time = 0;  ///< As the payload says, or would if it were whole.
  std::int64_t late_us = 0;   ///< How long ago it happened when it is sent.
  std::int64_t clock_error_us = 0;
  Fate fate = Fate::kValid;
  std::int64_t duplicate_of = -1;              ///< Of kDuplicate: number of the event, which may have been malformed.
  std::optional<Malformation> malformation{};  ///< Of kMalformed.
  SensorFault fault = SensorFault::kNone;
};

/// Events that happened at least so long ago count as late.
inline constexpr std::int64_t kLateMicros = 1'000'000;

struct FleetOptions {
  std::uint64_t seed = 7;
  // Shares of all events, together 1 at most.
  double duplicates = 0;
  double malformed = 0;
  PayloadFormat format = PayloadFormat::kJson;
  std::string prefix{};  ///< Before each payload, see PayloadWriter.
};

class Fleet {
 public:
  Fleet(const FleetOptions& options, std::unique_ptr<EventSource> source);

  FleetEvent Next(UnixMicros now);
  const Shape& shape() const { return source_->shape(); }
  PayloadFormat format() const { return options_.format; }

 private:
  // A message is sent again while few others have been sent.
  static constexpr std::size_t kRemembered = 64;
  struct Remembered {
    FleetEvent event;  // Its views are of the texts below.
    UnixMicros happened_at = 0;
    std::string payload;
    std::string key;
    std::string event_id;
  };

  void WriteEventId(std::string& id) const;

  const FleetOptions options_;
  const std::unique_ptr<EventSource> source_;
  const PayloadWriter writer_;
  Random random_;
  std::int64_t sent_ = 0;
  std::uint64_t distinct_ = 0;
  std::array<Remembered, kRemembered> recent_;
  std::string malformed_;
};

}  // namespace millrace::devices
