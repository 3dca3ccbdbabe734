/// What a Status is to a client of the API.
#pragma once

#include "base/status.h"
#include "http/problem.h"

namespace millrace::serve {

/// 404, 400, 413, 503 or 501 by the status' kind, else 500. Must not be asked of an OK status.
http::Problem ToProblem(const Status& status);

}  // namespace millrace::serve
