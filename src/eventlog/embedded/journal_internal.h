/// What RocksDB does not say of its journal: whether a write that it leaves out when it opens was acknowledged.
///
/// RocksDB takes a journal up to its first damage, and goes on there in silence. At the end that is right: a death in
/// the midst of a write leaves a beginning of it, and nobody was told of it. Before that it is not: each write is
/// synced before the next one, so what has another one behind it was acknowledged. Format:
/// https://github.com/facebook/rocksdb/wiki/Write-Ahead-Log-File-Format (without recycled files).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"

namespace millrace::eventlog {

struct JournalDamage {
  std::uint64_t at = 0;          ///< Where the first damaged piece begins, in bytes.
  bool has_more_behind = false;  ///< A whole write, or the beginning of one, lies behind it.
};

/// Of one journal (NUMBER.log). nullopt: each piece of it ends where the next one begins, and, if `checks_content`,
/// has the checksum that it was written with. A write that was cut off at the file's end counts as damage. Reads the
/// headers only, unless `checks_content` or there is damage. kTransient: it cannot be read.
Result<std::optional<JournalDamage>> DamageOf(const std::string& path, bool checks_content);

}  // namespace millrace::eventlog
