#include "process/evaluator_sessions.h"

#include <fmt/format.h>

namespace millrace::process {

Result<std::shared_ptr<sql::SqlSession>> EvaluatorSessions::ForPlanning() {
  if (session_ == nullptr) {
    ASSIGN_OR_RETURN(session_, sql::SqlSession::Make());
  }
  return session_;
}

Result<EvaluatorSessions::Place> EvaluatorSessions::Next() {
  if (session_ == nullptr || num_evaluators_ == kEvaluatorsMax) {
    ASSIGN_OR_RETURN(session_, sql::SqlSession::Make());
    num_evaluators_ = 0;
  }
  return Place{session_, fmt::format("_millrace_rows_{}", num_evaluators_++)};
}

}  // namespace millrace::process
