/// What a user declares of a lookup: `lookups:` of pipeline.yaml, parsed and checked.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/decode_spec.h"

namespace millrace::lookup {

enum class SourceKind { kDelta, kParquet, kCsv, kJson, kPostgres };

/// "delta", …: the key under `from`.
std::string_view ToString(SourceKind kind);

struct LookupSpec {
  std::string name;
  SourceKind kind = SourceKind::kDelta;
  /// A path, file:// or s3://: of a Delta table its folder, else a file. Of PostgreSQL libpq's connection string, which
  /// may hold a password.
  std::string uri;
  std::string query{};                        ///< PostgreSQL; else empty.
  std::vector<ingest::ColumnSpec> columns{};  ///< CSV and JSON, which do not say their types; else empty.
  std::vector<std::string> key;               ///< At least one column.
  std::string valid_from{};                   ///< Empty: rows are valid at all times.
  std::string valid_to{};                     ///< Empty: until the next row of the key.
  std::chrono::microseconds refresh = std::chrono::minutes(5);
};

}  // namespace millrace::lookup
