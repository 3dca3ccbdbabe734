#include "base/version.h"

#include <arrow/config.h>
#include <arrow/scalar.h>
#include <arrow/table.h>

#include <CLI/CLI.hpp>
#include <boost/version.hpp>
#include <cstdio>
#include <memory>

#include "commands.h"
#include "sql/sql_session.h"

namespace millrace::app {

Run AddVersion(CLI::App& app) {
  static_cast<void>(app);
  return [] {
    std::printf("millrace %s\n", kVersion);
    std::printf("  arrow %s\n", arrow::GetBuildInfo().version_string.c_str());
    auto session = sql::SqlSession::Make();
    if (session.ok()) {
      const auto answer = (*session)->Query("SELECT version()");
      if (answer.ok())
        std::printf("  duckdb %s\n", (*answer)->column(0)->GetScalar(0).ValueOrDie()->ToString().c_str());
    }
    std::printf("  boost %d.%d\n", BOOST_VERSION / 100000, BOOST_VERSION / 100 % 1000);
    return kOk;
  };
}

}  // namespace millrace::app
