/// Between keys of the object store and the `path` of add and remove actions.
#pragma once

#include <string>

#include "base/status.h"

namespace millrace::delta {

/// URL-encodes a key once.
std::string EncodePath(const std::string& key);

/// The key below the table's root. An absolute path or URL is one too if it leads below `table_uri` (ObjectStore::uri()
/// of the table's store). kUnsupported: another absolute path or URL; kCorrupt: it leads out of the table, or is not
/// URL-encoded text. Both name it.
Result<std::string> DecodePath(const std::string& path, const std::string& table_uri = "");

}  // namespace millrace::delta
