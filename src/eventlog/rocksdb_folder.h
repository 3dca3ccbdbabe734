/// What RocksDB leaves to whoever opens a folder with it.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace rocksdb {
class Logger;
}

namespace millrace::eventlog {

/// For DBOptions::info_log. By itself RocksDB keeps a file beside the data, and a disk that is full when it writes
/// there ends the process (an assertion of 7.8, as Debian has it). Its warnings and errors are ours at debug: what goes
/// wrong is in the status that its caller gets. Any thread.
std::shared_ptr<rocksdb::Logger> RocksDbLogger();

/// A table or journal of a folder whose CURRENT is not there, which RocksDB would take for a new one; nullopt: it is
/// whole, or really new.
std::optional<std::string> FileWithoutCurrent(const std::string& folder);

}  // namespace millrace::eventlog
