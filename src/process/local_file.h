/// A file of the local disk, as what is remembered beyond memory needs it: appended to, read at places, cut.
///
/// Nothing is synced: what is kept here can be had again from elsewhere, and its reader finds out what is not whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "base/status.h"

namespace millrace::process {

/// One thread at a time. Errors name the file: kTransient, for a full disk too; kNotFound if there is no such file.
class LocalFile {
 public:
  /// `flags`: of open(2). A file that is made is for its owner alone.
  static Result<LocalFile> Open(const std::filesystem::path& path, int flags);
  LocalFile() = default;  ///< Of nothing.
  LocalFile(LocalFile&& other) noexcept;
  LocalFile& operator=(LocalFile&& other) noexcept;
  ~LocalFile();

  Result<std::int64_t> Size() const;
  /// All of it, behind what is there.
  Status Append(std::string_view bytes);
  /// As much as the file has there, up to all of `bytes`; gives how much.
  Result<std::size_t> ReadAt(std::int64_t offset, std::span<char> bytes) const;
  Status Truncate(std::int64_t size);
  /// False: another holder of the file, of this process or of another, has it. Given up with this value.
  Result<bool> TryLock();
  /// Its path leads to this file, and not to another or to none.
  bool IsStillThere() const;

  const std::filesystem::path& path() const { return path_; }

 private:
  LocalFile(std::filesystem::path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  Status Failure(const char* what) const;

  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace millrace::process
