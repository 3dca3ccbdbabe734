/// The DuckDB sessions in which one thread plans its transforms and aggregates and evaluates their expressions.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "sql/sql_session.h"

namespace millrace::process {

/// A session takes 2.6 MB and 8 ms to make, so evaluators share them. Not thread-safe, nor are evaluators of one of
/// these used side by side. They may outlive it.
class EvaluatorSessions {
 public:
  /// A session may keep 64 statements prepared. With more evaluators than that each batch would plan them anew.
  static constexpr int kEvaluatorsMax = 32;

  /// For planning, under names that begin with a letter.
  Result<std::shared_ptr<sql::SqlSession>> ForPlanning();

  /// Where an evaluator registers its rows, and under which name.
  struct Place {
    std::shared_ptr<sql::SqlSession> session;
    std::string relation;  ///< Begins with an underscore.
  };
  Result<Place> Next();

 private:
  std::shared_ptr<sql::SqlSession> session_;  // Null: none is needed yet.
  int num_evaluators_ = 0;                    // In it.
};

}  // namespace millrace::process
