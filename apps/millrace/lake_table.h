/// The table that a `lake` verb is about, as its arguments name it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "delta/table.h"
#include "objectstore/object_store.h"

namespace CLI {
class App;
}

namespace millrace::app::lake {

struct TableAt {
  std::string uri;
  std::optional<std::int64_t> version;
  std::string timestamp;  ///< As query::ParseTime() takes it; "": now.
};

/// The positional argument.
void AddTable(CLI::App& app, TableAt& at);
/// --version and --timestamp, which exclude each other.
void AddVersion(CLI::App& app, TableAt& at);

struct Opened {
  std::shared_ptr<objectstore::ObjectStore> store;
  delta::SnapshotPtr snapshot;
};
/// At the version that was asked for. A table that does not exist is not made.
Result<Opened> Open(const TableAt& at);
/// At its newest version, for verbs that write.
Result<std::shared_ptr<delta::Table>> OpenTable(const TableAt& at);

}  // namespace millrace::app::lake
