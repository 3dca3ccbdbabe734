#include "simulated_disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdarg>
#include <utility>

namespace {

using millrace::testing::DiskOperation;
using Kind = DiskOperation::Kind;

struct Recording {
  bool on = false;
  std::string folder;
  std::vector<DiskOperation> operations;
  std::map<int, int> files_by_descriptor;
  std::map<int, std::string> folders_by_descriptor;
  int num_files = 0;

  // The path below the folder; false: elsewhere.
  bool Inside(const char* path, std::string& relative) const {
    if (!on) return false;
    const std::string text = path;
    if (text == folder) {
      relative.clear();
      return true;
    }
    if (!text.starts_with(folder + "/")) return false;
    relative = text.substr(folder.size() + 1);
    return true;
  }
};

Recording& Current() {
  static Recording recording;
  return recording;
}

}  // namespace

// What the linker puts in place of the calls.
extern "C" {
int __real_open(const char* path, int flags, ...);
int __real_close(int fd);
ssize_t __real_write(int fd, const void* data, std::size_t size);
int __real_fsync(int fd);
int __real_link(const char* from, const char* to);
int __real_rename(const char* from, const char* to);
int __real_unlink(const char* path);
int __real_mkdir(const char* path, mode_t mode);

int __wrap_open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const auto mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  const int fd = __real_open(path, flags, mode);
  std::string relative;
  if (fd < 0 || !Current().Inside(path, relative)) return fd;
  if ((flags & O_DIRECTORY) != 0) {
    Current().folders_by_descriptor[fd] = relative;
  } else if ((flags & O_CREAT) != 0) {
    const int file = Current().num_files++;
    Current().files_by_descriptor[fd] = file;
    Current().operations.push_back({.kind = Kind::kCreate, .path = relative, .file = file});
  }
  return fd;
}

int __wrap_close(int fd) {
  Current().files_by_descriptor.erase(fd);
  Current().folders_by_descriptor.erase(fd);
  return __real_close(fd);
}

ssize_t __wrap_write(int fd, const void* data, std::size_t size) {
  const ssize_t n = __real_write(fd, data, size);
  const auto file = Current().files_by_descriptor.find(fd);
  if (n > 0 && file != Current().files_by_descriptor.end()) {
    Current().operations.push_back({.kind = Kind::kWrite,
                                    .file = file->second,
                                    .bytes = std::string(static_cast<const char*>(data), static_cast<std::size_t>(n))});
  }
  return n;
}

int __wrap_fsync(int fd) {
  const int result = __real_fsync(fd);
  const auto file = Current().files_by_descriptor.find(fd);
  const auto folder = Current().folders_by_descriptor.find(fd);
  if (result == 0 && file != Current().files_by_descriptor.end()) {
    Current().operations.push_back({.kind = Kind::kSyncFile, .file = file->second});
  }
  if (result == 0 && folder != Current().folders_by_descriptor.end()) {
    Current().operations.push_back({.kind = Kind::kSyncFolder, .path = folder->second});
  }
  return result;
}

int __wrap_link(const char* from, const char* to) {
  const int result = __real_link(from, to);
  std::string a;
  std::string b;
  if (result == 0 && Current().Inside(from, a) && Current().Inside(to, b)) {
    Current().operations.push_back({.kind = Kind::kLink, .path = a, .other = b});
  }
  return result;
}

int __wrap_rename(const char* from, const char* to) {
  const int result = __real_rename(from, to);
  std::string a;
  std::string b;
  if (result == 0 && Current().Inside(from, a) && Current().Inside(to, b)) {
    Current().operations.push_back({.kind = Kind::kRename, .path = a, .other = b});
  }
  return result;
}

int __wrap_unlink(const char* path) {
  const int result = __real_unlink(path);
  std::string relative;
  if (result == 0 && Current().Inside(path, relative)) {
    Current().operations.push_back({.kind = Kind::kUnlink, .path = relative});
  }
  return result;
}

int __wrap_mkdir(const char* path, mode_t mode) {
  const int result = __real_mkdir(path, mode);
  std::string relative;
  if (result == 0 && Current().Inside(path, relative)) {
    Current().operations.push_back({.kind = Kind::kMakeFolder, .path = relative});
  }
  return result;
}
}

namespace millrace::testing {
namespace {

constexpr int kNothing = -1;
constexpr int kFolder = -2;

// One change of the names in a folder: a name gets or loses its file; a rename does both.
struct Change {
  std::string path;
  int file;  // kNothing: the name goes.
  std::string also_gone = {};
};

struct File {
  std::string safe;
  std::string unsafe;
};

std::string FolderOf(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

// The disk as it fills: what is safe, and what is pending.
class Disk {
 public:
  void Apply(const DiskOperation& operation) {
    switch (operation.kind) {
      case Kind::kCreate:
        Note({operation.path, operation.file});
        break;
      case Kind::kWrite:
        files_[operation.file].unsafe += operation.bytes;
        break;
      case Kind::kSyncFile: {
        File& file = files_[operation.file];
        file.safe += std::exchange(file.unsafe, {});
        break;
      }
      case Kind::kLink:
        Note({operation.other, now_.at(operation.path)});
        break;
      case Kind::kRename:
        Note({operation.other, now_.at(operation.path), operation.path});
        break;
      case Kind::kUnlink:
        Note({operation.path, kNothing});
        break;
      case Kind::kMakeFolder:
        Note({operation.path, kFolder});
        break;
      case Kind::kSyncFolder:
        for (const auto& change : std::exchange(pending_[operation.path], {})) Make(change, safe_);
        break;
    }
  }

  std::map<std::string, std::string> Lose(const Luck& luck) {
    std::map<std::string, int> names = safe_;
    for (const auto& [folder, changes] : pending_) {
      for (const auto& change : changes) {
        if (luck.keeps_change()) Make(change, names);
      }
    }
    // A file with two names has one content.
    std::map<int, std::string> contents;
    std::map<std::string, std::string> state;
    for (const auto& [path, file] : names) {
      if (file < 0 || !FoldersExist(path, names)) continue;
      const auto [content, first] = contents.try_emplace(file);
      if (first) content->second = luck.content(files_[file].safe, files_[file].unsafe);
      state[path] = content->second;
    }
    return state;
  }

 private:
  void Note(Change change) {
    Make(change, now_);
    pending_[FolderOf(change.path)].push_back(std::move(change));
  }
  static void Make(const Change& change, std::map<std::string, int>& names) {
    if (!change.also_gone.empty()) names.erase(change.also_gone);
    if (change.file == kNothing) {
      names.erase(change.path);
    } else {
      names[change.path] = change.file;
    }
  }
  static bool FoldersExist(const std::string& path, const std::map<std::string, int>& names) {
    for (std::string folder = FolderOf(path); !folder.empty(); folder = FolderOf(folder)) {
      const auto found = names.find(folder);
      if (found == names.end() || found->second != kFolder) return false;
    }
    return true;
  }

  std::map<std::string, int> now_;                      // As the running program sees it.
  std::map<std::string, int> safe_;                     // Path -> file.
  std::map<std::string, std::vector<Change>> pending_;  // By folder, in order.
  std::map<int, File> files_;
};

}  // namespace

void StartRecording(const std::string& folder) {
  Current() = {};
  Current().folder = folder;
  Current().on = true;
}

std::vector<DiskOperation> StopRecording() {
  Current().on = false;
  return std::move(Current().operations);
}

std::size_t NumRecorded() { return Current().operations.size(); }

Luck NothingUnsafeIsKept() {
  return {[] { return false; }, [](const std::string& safe, const std::string&) { return safe; }};
}

Luck EverythingIsKept() {
  return {[] { return true; }, [](const std::string& safe, const std::string& unsafe) { return safe + unsafe; }};
}

Luck ZerosAreKept() {
  return {[] { return true; },
          [](const std::string& safe, const std::string& unsafe) { return safe + std::string(unsafe.size(), '\0'); }};
}

Luck RandomLuck(std::minstd_rand& random) {
  return {[&random] { return random() % 2 == 0; },
          [&random](const std::string& safe, const std::string& unsafe) {
            if (random() % 4 == 0) return safe + std::string(unsafe.size(), '\0');
            return safe + unsafe.substr(0, random() % (unsafe.size() + 1));
          }};
}

std::map<std::string, std::string> StateAfterLoss(const std::vector<DiskOperation>& operations, std::size_t at,
                                                  const Luck& luck) {
  Disk disk;
  for (std::size_t i = 0; i < at; ++i) disk.Apply(operations[i]);
  return disk.Lose(luck);
}

}  // namespace millrace::testing
