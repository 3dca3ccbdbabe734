/// Tasks that wait for a disk or a network most of their time, several at once.
#pragma once

#include <cstddef>
#include <functional>

#include "base/status.h"

namespace millrace {

/// Runs task(0), task(1), … task(count - 1) on so many threads, the caller's among them. Blocks until all have ended.
/// After a failure none is begun any more; the first is returned.
Status RunEach(std::size_t count, int num_threads, const std::function<Status(std::size_t)>& task);

}  // namespace millrace
