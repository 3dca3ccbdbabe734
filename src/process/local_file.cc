#include "process/local_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace millrace::process {

Result<LocalFile> LocalFile::Open(const std::filesystem::path& path, int flags) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (descriptor >= 0) return LocalFile(path, descriptor);
  if (errno == ENOENT && (flags & O_CREAT) == 0) return NotFound("{}: there is no such file", path.string());
  return LocalFile(path, -1).Failure("open");
}

LocalFile::LocalFile(LocalFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

LocalFile& LocalFile::operator=(LocalFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

LocalFile::~LocalFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status LocalFile::Failure(const char* what) const {
  return Transient("cannot {} {}: {}", what, path_.string(), std::generic_category().message(errno));
}

Result<std::int64_t> LocalFile::Size() const {
  struct stat status = {};
  if (::fstat(descriptor_, &status) != 0) return Failure("look at");
  return status.st_size;
}

Status LocalFile::Append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Failure("write");
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return Status::OK();
}

Result<std::size_t> LocalFile::ReadAt(std::int64_t offset, std::span<char> bytes) const {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t read = ::pread(descriptor_, bytes.data() + done, bytes.size() - done,
                                 static_cast<off_t>(offset + static_cast<std::int64_t>(done)));
    if (read < 0 && errno == EINTR) continue;
    if (read < 0) return Failure("read");
    if (read == 0) break;
    done += static_cast<std::size_t>(read);
  }
  return done;
}

Status LocalFile::Truncate(std::int64_t size) {
  return ::ftruncate(descriptor_, size) == 0 ? Status::OK() : Failure("cut");
}

Result<bool> LocalFile::TryLock() {
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  return Failure("lock");
}

bool LocalFile::IsStillThere() const {
  struct stat here = {};
  struct stat there = {};
  return ::fstat(descriptor_, &here) == 0 && ::stat(path_.c_str(), &there) == 0 && here.st_dev == there.st_dev &&
         here.st_ino == there.st_ino;
}

}  // namespace millrace::process
