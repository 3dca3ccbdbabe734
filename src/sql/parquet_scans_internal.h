/// Relations that are Parquet files, read by DuckDB's own reader, whose bytes come from whoever registered them.
///
/// DuckDB's C API has no file systems and no say in how files become a table. So this one file speaks C++ to it, as
/// DuckDB's own extensions for lakes do: scripts/setup takes headers and library of one version, and Install() refuses
/// others (docs/adr/0017). The files have addresses that mean something in their session only ("millrace://3/17"), and
/// no others can be opened there.
#pragma once

#include <duckdb.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "sql/sql_session.h"

namespace millrace::sql {

/// What the objects that DuckDB holds share with the session.
struct ParquetScanState;

/// The table function that reads them; its argument is the name given to Set().
inline constexpr const char* kParquetFunction = "millrace_parquet";

/// Of one session. Changed between statements alone; DuckDB's threads read it during one.
class ParquetScans {
 public:
  ParquetScans();
  ~ParquetScans();

  /// Once, on a fresh database; before or after it was closed to files. The database must be gone before this object
  /// is. kInternal: the library is of another version than the headers.
  Status Install(duckdb_connection connection);

  /// Replaces what had the name. `types`: of the columns. `constants`: for each element of files.constants a vector
  /// of one row.
  void Set(const std::string& name, ParquetFiles files, const std::vector<duckdb_logical_type>& types,
           const std::vector<duckdb_vector>& constants);
  void Erase(const std::string& name);

  /// Whether reading has failed since it was set to false, for whatever reason but an interrupt.
  std::atomic<bool>& failed();

 private:
  const std::shared_ptr<ParquetScanState> state_;
  duckdb_connection connection_ = nullptr;
};

}  // namespace millrace::sql
