/// A table's `delta.*` properties, as far as they bind a writer. Which are honoured, refused and ignored, and why:
/// docs/lake.md, "Table properties".
#pragma once

#include <arrow/type.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "delta/log/actions.h"

namespace millrace::delta {

struct Snapshot;

/// Which leaf columns of a file have statistics in the log. A list or map counts as one leaf. By default the first 32
/// of the file.
struct StatsColumns {
  using Path = std::vector<std::string>;  ///< A column; or a struct, its member, and so on.

  std::set<Path> leaves{};
  std::int32_t num_others = 32;  ///< So many leaves that are not among `leaves`, in the file's order, have them too.
};

/// As delta.dataSkippingStatsColumns says, which is a list such as "a, s.x, `odd name`" (a struct stands for all of its
/// members), or else delta.dataSkippingNumIndexedCols (-1: all). Counted in the table's order and without partition
/// columns, as Spark does; columns that a file has and `schema` has not yet come last. kUnsupported: a value that is no
/// such list or number, or a name that is no column of the files.
Result<StatsColumns> StatsColumnsOf(const Metadata& metadata, const arrow::Schema& schema);
Result<StatsColumns> StatsColumnsOf(const Snapshot& snapshot);

/// kUnsupported names a property that forbids our writing to the table, or one that is not understood.
Status CheckProperties(const Metadata& metadata);

/// Properties that somebody wants on a table that is about to be made, before there is anything of it. kUnsupported
/// names the key, the value and what is allowed: a value that the key does not have in Delta, a key that differs from
/// one of Delta's in case alone, a property that asks for a table feature, which our new tables do not have (Spark
/// refuses a table whose properties want what its protocol does not list), or one that forbids our writing. Whether the
/// columns that a property names are the table's is CheckProperties()'s to say. Keys that Delta does not know pass.
Status CheckTableProperties(const std::map<std::string, std::string>& properties);

}  // namespace millrace::delta
