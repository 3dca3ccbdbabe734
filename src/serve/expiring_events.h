/// Events for somebody who is not believed for ever.
#pragma once

#include <memory>

#include "base/clock.h"
#include "http/body.h"

namespace millrace::serve {

/// Gives what `events` gives, server-sent events; but from `end` on, when it is asked for the next one, an event
/// `error` (401 `token_expired`) and the end. `clock` outlives it.
std::unique_ptr<http::BodySource> EndingAt(UnixMicros end, const Clock& clock,
                                           std::unique_ptr<http::BodySource> events);

}  // namespace millrace::serve
