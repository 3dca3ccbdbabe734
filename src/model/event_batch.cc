#include "model/event_batch.h"

#include <limits>

namespace millrace::model {

Status Unpack(FetchedRecords* fetched) {
  if (fetched->packed == nullptr) return Status::OK();
  constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();
  const std::shared_ptr<PackedRecords> packed = std::move(fetched->packed);
  fetched->packed = nullptr;
  fetched->owner = packed;
  return packed->ReadOn(kAll, kAll, fetched).status();
}

}  // namespace millrace::model
