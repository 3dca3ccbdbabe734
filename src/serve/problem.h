/// Errors of the API as RFC 9457 documents.
#pragma once

#include <string>

#include "base/status.h"
#include "serve/http_server.h"

namespace millrace::serve {

struct Problem {
  int status = 500;
  std::string code;    ///< A short fixed word that programs may compare: unknown_parameter, not_found.
  std::string detail;  ///< A sentence for a person.
  std::string hint;    ///< What to do instead; empty: none.
};

/// application/problem+json with type, title, status, detail, code and hint.
HttpResponse ToResponse(const Problem& problem);

/// 404, 400, 413, 503 or 501 by the status' kind, else 500. Must not be asked of an OK status.
Problem ToProblem(const Status& status);

}  // namespace millrace::serve
