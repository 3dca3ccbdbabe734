/// What a fuzzer says when something is not as it should be.
#pragma once

#include <cstdlib>

/// Ends the process, which the driver reports with the input, unless `condition` holds.
inline void Require(bool condition) {
  if (!condition) std::abort();
}
