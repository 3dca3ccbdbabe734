/// Errors as RFC 9457 documents.
#pragma once

#include <string>

#include "http/message.h"

namespace millrace::http {

struct Problem {
  int status = 500;
  std::string code;    ///< A short fixed word that programs may compare: unknown_parameter, not_found.
  std::string detail;  ///< A sentence for a person.
  std::string hint;    ///< What to do instead; empty: none.
};

/// An object of type, title, status, detail, code and hint, on one line.
std::string ToJson(const Problem& problem);
/// The same as application/problem+json.
Response ToResponse(const Problem& problem);

}  // namespace millrace::http
