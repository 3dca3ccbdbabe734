#include <zlib.h>

#include "eventlog/event_log.h"

namespace millrace::eventlog {
namespace {

// A length before the bytes, so that moving a byte from the key to the payload changes the sum; -1 for "none".
uLong Add(uLong crc, const std::optional<std::string_view>& bytes) {
  const std::int64_t size = bytes ? static_cast<std::int64_t>(bytes->size()) : -1;
  crc = crc32_z(crc, reinterpret_cast<const Bytef*>(&size), sizeof(size));
  if (bytes) crc = crc32_z(crc, reinterpret_cast<const Bytef*>(bytes->data()), bytes->size());
  return crc;
}

}  // namespace

std::uint32_t Fingerprint(const model::RawRecord& record) {
  // Milliseconds, the precision of Kafka's timestamps.
  const std::int64_t timestamp_ms = record.timestamp / 1000;
  uLong crc = crc32_z(0, reinterpret_cast<const Bytef*>(&timestamp_ms), sizeof(timestamp_ms));
  return static_cast<std::uint32_t>(Add(Add(crc, record.key), record.payload));
}

}  // namespace millrace::eventlog
