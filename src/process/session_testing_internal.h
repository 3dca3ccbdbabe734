/// For tests: one session plans all, as in a pipeline.
#pragma once

#include "sql/sql_session.h"

namespace millrace::process {

// Never destroyed: at exit DuckDB's own statics may be gone.
inline sql::SqlSession& Session() {
  static auto* const session = sql::SqlSession::Make().ValueOrDie().release();
  return *session;
}

}  // namespace millrace::process
