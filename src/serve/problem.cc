#include "serve/problem.h"

namespace millrace::serve {

http::Problem ToProblem(const Status& status) {
  http::Problem problem;
  // The message of Arrow's status is ours; its code in front of it would only repeat the kind.
  problem.detail = status.message();
  switch (KindOf(status)) {
    case ErrorKind::kNotFound:
      problem.status = 404;
      problem.code = "not_found";
      break;
    case ErrorKind::kInvalidInput:
      problem.status = 400;
      problem.code = "invalid_request";
      break;
    case ErrorKind::kTooLarge:
      problem.status = 413;
      problem.code = "answer_too_large";
      problem.hint =
          "Ask for less: a shorter range, fewer keys in group_by and where, or a coarser step. limit= takes rows off "
          "the "
          "answer, and nothing off what is merged for it.";
      break;
    case ErrorKind::kUnsupported:
      problem.status = 501;
      problem.code = "not_supported";
      break;
    case ErrorKind::kTransient:
    case ErrorKind::kConflict:
    case ErrorKind::kCancelled:
    case ErrorKind::kUnknownOutcome:
      problem.status = 503;
      problem.code = "unavailable";
      problem.hint = "Ask again.";
      break;
    case ErrorKind::kCorrupt:
      problem.status = 500;
      problem.code = "corrupt_data";
      break;
    case ErrorKind::kInternal:
      problem.status = 500;
      problem.code = "internal";
      break;
  }
  return problem;
}

}  // namespace millrace::serve
