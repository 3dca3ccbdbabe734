#include "delta/upkeep/store_clock.h"

#include <string>

#include "base/log.h"
#include "base/uuid.h"

namespace millrace::delta {

Result<UnixMicros> StoreNow(objectstore::ObjectStore& store) {
  const std::string key = std::string(kClockPrefix) + RandomUuid();
  RETURN_NOT_OK(store.Put(key, "what time is it?"));
  const auto written = store.Stat(key);
  const Status deleted = store.Delete(key);
  if (!deleted.ok()) spdlog::debug("{} is left in {}: {}", key, store.uri(), deleted.message());
  RETURN_NOT_OK(written.status());
  if (!*written) return Transient("{} of {} vanished", key, store.uri());
  return (*written)->modified;
}

}  // namespace millrace::delta
