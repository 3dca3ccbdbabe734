/// What a disk may hold after the power failed: a record of everything a program did below one folder, and the states
/// that POSIX allows after a loss at any point of it.
///
/// The program's calls of open, write, fsync, link, rename, unlink, mkdir and close are recorded on their way (the
/// linker's
/// --wrap, see CMakeLists.txt); they do their work as always. One recording at a time, one thread.
///
/// The rules: bytes of a file are safe once fsync of the file has returned. A name in a folder is safe once fsync of
/// the folder has returned. Of what is not safe any part may be there: of a folder's changes any subset, in order (a
/// rename is one change); of a file's bytes a part, all, or its size with zeros.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace millrace::testing {

struct DiskOperation {
  enum class Kind { kCreate, kWrite, kSyncFile, kLink, kRename, kUnlink, kMakeFolder, kSyncFolder };
  Kind kind;
  std::string path = {};   ///< Below the folder, without a leading '/'; "" is the folder itself.
  std::string other = {};  ///< kLink, kRename: the new name.
  int file = -1;           ///< kCreate, kWrite, kSyncFile: which file, whatever its names.
  std::string bytes = {};  ///< kWrite
};

/// Starts to record below `folder` (absolute, without links); ends and returns the record.
void StartRecording(const std::string& folder);
std::vector<DiskOperation> StopRecording();
/// How many operations have been recorded so far.
std::size_t NumRecorded();

/// How the unsafe part fares.
struct Luck {
  /// Whether a folder's change that is not safe is there nevertheless.
  std::function<bool()> keeps_change;
  /// What is there of bytes that are not safe: `safe`, then something of `unsafe`.
  std::function<std::string(const std::string& safe, const std::string& unsafe)> content;
};
Luck NothingUnsafeIsKept();
Luck EverythingIsKept();
/// A new file's size is kept and its bytes are not; names are kept.
Luck ZerosAreKept();
/// `random` must outlive it.
Luck RandomLuck(std::minstd_rand& random);

/// Path -> content of every file after a loss just before operation `at` (the size of the record: at its end).
std::map<std::string, std::string> StateAfterLoss(const std::vector<DiskOperation>& operations, std::size_t at,
                                                  const Luck& luck);

}  // namespace millrace::testing
