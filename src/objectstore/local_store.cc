#include "objectstore/local_store.h"

#include <arrow/io/file.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>

#include "base/kill_point.h"
#include "base/uuid.h"
#include "objectstore/object_key.h"

namespace millrace::objectstore {
namespace {

// Closes a descriptor at the end of the scope.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_;
};

// What a failed call on `path` means to the caller. Out of space and media errors may pass: nothing has been made
// visible.
Status FromErrno(int error, std::string_view what, const std::string& path) {
  const char* text = std::strerror(error);
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return NotFound("{} {}: {}", what, path, text);
    case ENOSPC:
    case EDQUOT:
    case EIO:
    case EROFS:
    case ESTALE:
      return Transient("{} {}: {}; nothing was written", what, path, text);
    case EMFILE: {
      // It does not pass by itself as a full disk may: whoever tries again does so for ever.
      struct rlimit limit = {};
      ::getrlimit(RLIMIT_NOFILE, &limit);
      return Internal("{} {}: {}: this process may have {} (ulimit -n); raise it", what, path, text, limit.rlim_cur);
    }
    case ENFILE:
      return Internal("{} {}: {}: the system's limit (fs.file-max), not that of this process (ulimit -n)", what, path,
                      text);
    case ENAMETOOLONG:
      return InvalidInput("{} {}: {}", what, path, text);
    default:
      return Internal("{} {}: {}", what, path, text);
  }
}

// After a failed fsync the kernel may have dropped the dirty pages: asking again would succeed without the data being
// on disk, so there is nothing to retry.
Status FsyncFailed(const std::string& path) {
  return Internal("fsync {}: {}; the disk may have lost data, stop and check it", path, std::strerror(errno));
}

Status SyncFolder(const std::string& path) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return FromErrno(errno, "open folder", path);
  if (::fsync(fd.get()) != 0) return FsyncFailed(path);
  return Status::OK();
}

std::string ParentOf(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Creates a folder and its missing parents, each durable before the next.
Status CreateFolders(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) == 0) {
    return S_ISDIR(info.st_mode) ? Status::OK() : InvalidInput("{} is not a folder", path);
  }
  if (errno != ENOENT) return FromErrno(errno, "stat", path);
  const std::string parent = ParentOf(path);
  RETURN_NOT_OK(CreateFolders(parent));
  if (::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) return FromErrno(errno, "create folder", path);
  return SyncFolder(parent);
}

Status WriteAll(int fd, const void* data, std::int64_t size, const std::string& path) {
  const char* p = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = ::write(fd, p, static_cast<std::size_t>(size));
    if (n < 0) {
      if (errno == EINTR) continue;
      return FromErrno(errno, "write", path);
    }
    p += n;
    size -= n;
  }
  return Status::OK();
}

std::optional<std::string> RealPath(const std::string& path) {
  char* resolved = ::realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return std::nullopt;
  std::string text(resolved);
  std::free(resolved);
  return text;
}

UnixMicros ModifiedOf(const struct stat& info) {
  return static_cast<UnixMicros>(info.st_mtim.tv_sec) * 1'000'000 + info.st_mtim.tv_nsec / 1000;
}

// A file with a hidden name in the folder of its final one; removed again unless it was published.
class HiddenFile {
 public:
  static Result<HiddenFile> Create(const std::string& final_path) {
    const std::string folder = ParentOf(final_path);
    std::string path = folder + "/.tmp-" + RandomUuid();
    Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (!fd.valid()) return FromErrno(errno, "create", path);
    return HiddenFile(std::move(fd), std::move(path), folder, final_path);
  }

  HiddenFile(HiddenFile&& other) noexcept = default;
  HiddenFile& operator=(HiddenFile&&) = delete;
  ~HiddenFile() {
    if (fd_.valid() && !path_.empty()) ::unlink(path_.c_str());
  }

  Status Write(const void* data, std::int64_t size) { return WriteAll(fd_.get(), data, size, final_path_); }

  Result<PutOutcome> PublishIfAbsent() {
    RETURN_NOT_OK(Sync());
    if (::link(path_.c_str(), final_path_.c_str()) != 0) {
      if (errno == EEXIST) return PutOutcome::kExists;
      return FromErrno(errno, "link", final_path_);
    }
    ::unlink(path_.c_str());
    path_.clear();
    RETURN_NOT_OK(SyncFolder(folder_));
    return PutOutcome::kCreated;
  }

  Status PublishReplacing() {
    RETURN_NOT_OK(Sync());
    if (::rename(path_.c_str(), final_path_.c_str()) != 0) return FromErrno(errno, "rename to", final_path_);
    path_.clear();
    return SyncFolder(folder_);
  }

 private:
  HiddenFile(Descriptor fd, std::string path, std::string folder, std::string final_path)
      : fd_(std::move(fd)), path_(std::move(path)), folder_(std::move(folder)), final_path_(std::move(final_path)) {}

  Status Sync() { return ::fsync(fd_.get()) == 0 ? Status::OK() : FsyncFailed(final_path_); }

  Descriptor fd_;
  std::string path_;
  std::string folder_;
  std::string final_path_;
};

class LocalUpload final : public Upload {
 public:
  explicit LocalUpload(HiddenFile file) : file_(std::move(file)) {}

  Status Write(const void* data, std::int64_t size) override {
    if (!file_) return InvalidInput("write to a finished upload");
    RETURN_NOT_OK(file_->Write(data, size));
    position_ += size;
    KillPoint("upload.mid");
    return Status::OK();
  }
  Result<std::int64_t> Tell() const override { return position_; }
  bool closed() const override { return !file_.has_value(); }

  Status Finish() override {
    if (!file_) return InvalidInput("upload is finished already");
    const Status status = file_->PublishReplacing();
    file_.reset();
    RETURN_NOT_OK(status);
    KillPoint("upload.finished");
    return Status::OK();
  }
  // An Arrow writer may close its sink: the bytes stay, Finish() decides.
  Status Close() override { return Status::OK(); }
  Status Abort() override {
    file_.reset();
    return Status::OK();
  }

 private:
  std::optional<HiddenFile> file_;
  std::int64_t position_ = 0;
};

class LocalStore final : public ObjectStore {
 public:
  explicit LocalStore(std::string root) : root_(std::move(root)), uri_("file://" + root_) {}

  const std::string& uri() const override { return uri_; }
  int requests_at_once() const override { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

  Result<PutOutcome> PutIfAbsent(const std::string& key, std::string_view bytes) override {
    ASSIGN_OR_RETURN(HiddenFile file, CreateFor(key));
    RETURN_NOT_OK(file.Write(bytes.data(), static_cast<std::int64_t>(bytes.size())));
    return file.PublishIfAbsent();
  }

  Status Put(const std::string& key, std::string_view bytes) override {
    ASSIGN_OR_RETURN(HiddenFile file, CreateFor(key));
    RETURN_NOT_OK(file.Write(bytes.data(), static_cast<std::int64_t>(bytes.size())));
    return file.PublishReplacing();
  }

  Result<std::shared_ptr<Upload>> StartUpload(const std::string& key) override {
    ASSIGN_OR_RETURN(HiddenFile file, CreateFor(key));
    return std::make_shared<LocalUpload>(std::move(file));
  }

  Result<std::shared_ptr<arrow::Buffer>> Read(const std::string& key) override {
    ASSIGN_OR_RETURN(const Descriptor fd, OpenForRead(key));
    struct stat info;
    if (::fstat(fd.get(), &info) != 0) return FromErrno(errno, "stat", PathOf(key));
    ASSIGN_OR_RETURN(std::shared_ptr<arrow::ResizableBuffer> buffer, arrow::AllocateResizableBuffer(info.st_size));
    std::int64_t done = 0;
    while (done < info.st_size) {
      const ssize_t n = ::read(fd.get(), buffer->mutable_data() + done, static_cast<std::size_t>(info.st_size - done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return FromErrno(errno, "read", PathOf(key));
      if (n == 0) break;
      done += n;
    }
    RETURN_NOT_OK(buffer->Resize(done, false));
    return buffer;
  }

  Result<std::shared_ptr<arrow::io::RandomAccessFile>> Open(const std::string& key) override {
    ASSIGN_OR_RETURN(const Descriptor fd, OpenForRead(key));
    const int copy = ::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return FromErrno(errno, "open", PathOf(key));
    ASSIGN_OR_RETURN(auto file, arrow::io::ReadableFile::Open(copy));
    return file;
  }

  Result<std::optional<ObjectInfo>> Stat(const std::string& key) override {
    RETURN_NOT_OK(CheckKey(key));
    const auto path = ResolveInside(PathOf(key));
    if (!path.ok()) {
      if (KindOf(path.status()) == ErrorKind::kNotFound) return std::nullopt;
      return path.status();
    }
    struct stat info;
    if (::stat(path->c_str(), &info) != 0) {
      if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
      return FromErrno(errno, "stat", PathOf(key));
    }
    if (!S_ISREG(info.st_mode)) return std::nullopt;
    return ObjectInfo{.key = key, .size = info.st_size, .modified = ModifiedOf(info)};
  }

  Result<std::vector<ObjectInfo>> List(const std::string& prefix, const std::string& start_after) override {
    // Only the folder that the prefix names is walked; the rest of the prefix filters names.
    const auto slash = prefix.rfind('/');
    const std::string folder = slash == std::string::npos ? "" : prefix.substr(0, slash);
    if (!folder.empty()) RETURN_NOT_OK(CheckKey(folder));
    std::vector<ObjectInfo> found;
    RETURN_NOT_OK(ListFolder(folder, prefix, start_after, found));
    std::sort(found.begin(), found.end(), [](const ObjectInfo& a, const ObjectInfo& b) { return a.key < b.key; });
    return found;
  }

  std::optional<std::string> KeyOf(const std::string& location) const override {
    std::string_view path = location;
    for (const std::string_view start : {"file:", "//localhost"}) {
      if (path.starts_with(start)) path.remove_prefix(start.size());
    }
    while (path.starts_with("//")) path.remove_prefix(1);
    if (!path.starts_with('/') || path.find('\0') != std::string_view::npos) return std::nullopt;
    // Of what is not there, the nearest folder above it that is.
    std::size_t known = path.size();
    auto resolved = RealPath(std::string(path));
    while (!resolved) {
      known = path.substr(0, known).rfind('/');
      resolved = RealPath(known == 0 ? "/" : std::string(path.substr(0, known)));
    }
    if (known < path.size()) *resolved = (*resolved == "/" ? "" : *resolved) + std::string(path.substr(known));
    if (!IsInside(*resolved)) return std::nullopt;
    std::string key = resolved->substr(std::min(root_ == "/" ? 1 : root_.size() + 1, resolved->size()));
    return key.empty() || CheckKey(key).ok() ? std::optional(std::move(key)) : std::nullopt;
  }

  Status Delete(const std::string& key) override {
    RETURN_NOT_OK(CheckKey(key));
    const auto folder = ResolveInside(ParentOf(PathOf(key)));
    if (!folder.ok()) return KindOf(folder.status()) == ErrorKind::kNotFound ? Status::OK() : folder.status();
    if (::unlink(PathOf(key).c_str()) != 0 && errno != ENOENT) return FromErrno(errno, "delete", PathOf(key));
    return Status::OK();
  }

 private:
  std::string PathOf(const std::string& key) const { return key.empty() ? root_ : root_ + "/" + key; }

  // The path without symbolic links; kInvalidInput if those lead out of the root.
  Result<std::string> ResolveInside(const std::string& path) const {
    const auto resolved = RealPath(path);
    if (!resolved) return FromErrno(errno, "open", path);
    if (!IsInside(*resolved)) return InvalidInput("{} is a link that leads out of {}", path, root_);
    return *resolved;
  }

  // Of a path without links.
  bool IsInside(const std::string& path) const {
    return path == root_ || root_ == "/" || path.starts_with(root_ + "/");
  }

  Result<HiddenFile> CreateFor(const std::string& key) const {
    RETURN_NOT_OK(CheckKey(key));
    const std::string path = PathOf(key);
    const std::string folder = ParentOf(path);
    RETURN_NOT_OK(CreateFolders(folder));
    RETURN_NOT_OK(ResolveInside(folder));
    return HiddenFile::Create(path);
  }

  Result<Descriptor> OpenForRead(const std::string& key) const {
    RETURN_NOT_OK(CheckKey(key));
    ASSIGN_OR_RETURN(const std::string path, ResolveInside(PathOf(key)));
    Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!fd.valid()) return FromErrno(errno, "open", path);
    struct stat info;
    if (::fstat(fd.get(), &info) != 0) return FromErrno(errno, "stat", path);
    if (!S_ISREG(info.st_mode)) return NotFound("open {}: not a regular file", path);
    return fd;
  }

  Status ListFolder(const std::string& folder, const std::string& prefix, const std::string& start_after,
                    std::vector<ObjectInfo>& found) const {
    const std::string path = PathOf(folder);
    DIR* handle = ::opendir(path.c_str());
    if (handle == nullptr) {
      if (errno == ENOENT || errno == ENOTDIR) return Status::OK();
      return FromErrno(errno, "list", path);
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> closer(handle, &::closedir);
    errno = 0;
    while (const dirent* entry = ::readdir(handle)) {
      const std::string name = entry->d_name;
      if (name.front() == '.') continue;
      const std::string key = folder.empty() ? name : folder + "/" + name;
      const bool under_prefix = key.starts_with(prefix);
      const bool above_prefix = prefix.starts_with(key + "/");
      if (!under_prefix && !above_prefix) continue;
      // A log may have a million files, of which a reader wants the last few: no look at the others.
      if (entry->d_type == DT_REG && key <= start_after) continue;
      const auto resolved = ResolveInside(PathOf(key));
      struct stat info;
      // Gone since, or a link to elsewhere: not an object of this store.
      if (!resolved.ok() || ::stat(resolved->c_str(), &info) != 0) {
        errno = 0;
        continue;
      }
      if (S_ISDIR(info.st_mode)) {
        RETURN_NOT_OK(ListFolder(key, prefix, start_after, found));
      } else if (S_ISREG(info.st_mode) && under_prefix && key > start_after) {
        found.push_back({.key = key, .size = info.st_size, .modified = ModifiedOf(info)});
      }
      errno = 0;
    }
    if (errno != 0) return FromErrno(errno, "list", path);
    return Status::OK();
  }

  const std::string root_;  // Absolute, without symbolic links.
  const std::string uri_;
};

// The path of a folder that is not there, without links; kInvalidInput if it could not be made.
Result<std::string> RootToCreate(const std::string& path) {
  std::string above = path;
  std::optional<std::string> real;
  while (!real) {
    struct stat info;
    if (::lstat(above.c_str(), &info) == 0)
      return InvalidInput("cannot use the folder {}: {} leads nowhere", path, above);
    above = ParentOf(above);
    real = RealPath(above);
  }
  struct stat info;
  if (::stat(real->c_str(), &info) != 0) return FromErrno(errno, "stat", *real);
  if (!S_ISDIR(info.st_mode)) return InvalidInput("cannot use the folder {}: {} is not a folder", path, above);
  if (::access(real->c_str(), W_OK | X_OK) != 0) {
    return InvalidInput("cannot use the folder {}: no right to make it in {}: {}", path, above, std::strerror(errno));
  }
  // What is not there has no links: its ".." and "." can be taken out by name.
  std::string root = std::filesystem::path(*real + "/" + path.substr(above.size())).lexically_normal().string();
  while (root.size() > 1 && root.back() == '/') root.pop_back();
  return root;
}

}  // namespace

Result<std::shared_ptr<ObjectStore>> OpenLocalStore(const std::string& folder, IfMissing if_missing) {
  std::string path = folder;
  if (path.empty() || path.find('\0') != std::string::npos) return InvalidInput("not a folder or URI: '{}'", path);
  if (path.front() != '/') {
    const auto here = RealPath(".");
    if (!here) return FromErrno(errno, "open", ".");
    path = *here + "/" + path;
  }
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (if_missing == IfMissing::kCreateAtFirstWrite && !RealPath(path)) {
    ASSIGN_OR_RETURN(auto root, RootToCreate(path));
    return std::make_shared<LocalStore>(std::move(root));
  }
  if (if_missing == IfMissing::kCreate) {
    if (const Status status = CreateFolders(path); !status.ok()) {
      return InvalidInput("cannot use the folder {}: {}", path, status.message());
    }
  }
  const auto root = RealPath(path);
  if (!root) return FromErrno(errno, "open", path);
  struct stat info;
  if (::stat(root->c_str(), &info) != 0) return FromErrno(errno, "stat", path);
  if (!S_ISDIR(info.st_mode)) return InvalidInput("{} is not a folder", path);
  const int rights = if_missing == IfMissing::kRefuse ? R_OK | X_OK : R_OK | W_OK | X_OK;
  if (::access(root->c_str(), rights) != 0) {
    return InvalidInput("no right to use the folder {}: {}", path, std::strerror(errno));
  }
  return std::make_shared<LocalStore>(*root);
}

}  // namespace millrace::objectstore
