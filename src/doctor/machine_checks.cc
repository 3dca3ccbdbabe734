#include "doctor/machine_checks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

#include "base/quantity_text.h"
#include "http/client.h"
#include "http/listen.h"

namespace millrace::doctor {
namespace {

namespace fs = std::filesystem;

// RocksDB's tables, the lake's files and the connections of Kafka's client, with many to spare.
constexpr std::uint64_t kFilesAtOnce = 512;

std::optional<std::string> Text(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

// "max" and what is no number is no limit; v1 writes a number near 2^63 for none.
std::optional<std::int64_t> LimitIn(const std::string& path) {
  const auto text = Text(path);
  if (!text) return std::nullopt;
  std::int64_t bytes = 0;
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), bytes);
  constexpr std::int64_t kNone = std::int64_t{1} << 60;
  if (parsed.ec != std::errc() || bytes >= kNone) return std::nullopt;
  return bytes;
}

template <typename T>
void TakeLess(std::optional<T>& least, std::optional<T> other) {
  if (other) least = least ? std::min(*least, *other) : *other;
}

// The folders in which `controller` says what our group and all above it are given; all of their limits hold. In a
// container the group's path is often that of the host, and what is mounted is the group itself: then only the root of
// the mount is there.
std::vector<std::string> GroupFolders(const std::string& root, const std::string& controller) {
  std::vector<std::string> folders;
  const auto add = [&folders](const std::string& mount, std::string group) {
    if (group == "/") group.clear();
    for (;;) {
      folders.push_back(mount + group + "/");
      const auto slash = group.rfind('/');
      if (slash == std::string::npos) return;
      group.erase(slash);
    }
  };
  std::istringstream groups(Text(root + "proc/self/cgroup").value_or(""));
  for (std::string line; std::getline(groups, line);) {
    const auto first = line.find(':');
    const auto second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (controllers.empty()) {
      add(root + "sys/fs/cgroup", line.substr(second + 1));
    } else if (("," + controllers + ",").find("," + controller + ",") != std::string::npos) {
      add(root + "sys/fs/cgroup/" + controller, line.substr(second + 1));
    }
  }
  return folders;
}

// "150000 100000" of v2 is one and a half.
std::optional<double> QuotaIn(const std::string& folder) {
  double quota = 0;
  double period = 0;
  std::istringstream v2(Text(folder + "cpu.max").value_or(""));
  if (!(v2 >> quota >> period)) {
    std::istringstream v1(Text(folder + "cpu.cfs_quota_us").value_or("") + " " +
                          Text(folder + "cpu.cfs_period_us").value_or(""));
    if (!(v1 >> quota >> period)) return std::nullopt;
  }
  if (quota <= 0 || period <= 0) return std::nullopt;  // -1 is none.
  return quota / period;
}

std::string OwnerOf(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return "nobody";
  const passwd* const entry = ::getpwuid(info.st_uid);
  return entry != nullptr ? entry->pw_name : std::to_string(info.st_uid);
}

std::int64_t FreeBytes(const std::string& path) {
  struct statvfs info {};
  if (::statvfs(path.c_str(), &info) != 0) return 0;
  return static_cast<std::int64_t>(info.f_bavail) * static_cast<std::int64_t>(info.f_frsize);
}

}  // namespace

Result<MemoryFacts> ReadMemory(const std::string& root) {
  MemoryFacts facts;
  const auto meminfo = Text(root + "proc/meminfo");
  constexpr std::string_view kTotal = "MemTotal:";
  const auto at = meminfo ? meminfo->find(kTotal) : std::string::npos;
  if (at == std::string::npos) return NotFound("{}proc/meminfo does not say how much memory there is", root);
  std::istringstream(meminfo->substr(at + kTotal.size())) >> facts.machine;
  facts.machine *= 1024;
  for (const auto& folder : GroupFolders(root, "memory")) {
    TakeLess(facts.cgroup, LimitIn(folder + "memory.max"));
    TakeLess(facts.cgroup, LimitIn(folder + "memory.limit_in_bytes"));
  }
  return facts;
}

Check CheckMemory(const MemoryFacts& facts, std::int64_t limit) {
  constexpr const char* kName = "limits.memory";
  const bool of_group = facts.cgroup && *facts.cgroup < facts.machine;
  const std::int64_t may = of_group ? *facts.cgroup : facts.machine;
  const std::string where = of_group ? "its control group" : "this machine";
  const std::string found = fmt::format("limits.memory is {}, {} has {} MiB", SizeText(limit), where, may >> 20);
  const std::int64_t process = ProcessBytes(limit);
  // The limit that fits, by ProcessBytes() backwards.
  const std::int64_t fits = std::max<std::int64_t>(((may >> 20) - 192) * 2 / 3, 64);
  const std::string mend =
      fmt::format("set limits.memory to {}MiB or less, or give the process {} MiB", fits, process >> 20);
  if (limit >= may) return Failed(kName, found + ": the kernel ends it before it notices", mend);
  if (process > may) {
    return Warning(kName, found + fmt::format(", and the whole process may take {} MiB", process >> 20), mend);
  }
  return Ok(kName, found);
}

CpuFacts ReadCpus(const std::string& root) {
  CpuFacts facts{.machine = static_cast<int>(std::max(1U, std::thread::hardware_concurrency())), .quota = {}};
  for (const auto& folder : GroupFolders(root, "cpu")) TakeLess(facts.quota, QuotaIn(folder));
  return facts;
}

Check CheckThreads(const CpuFacts& facts, int threads) {
  constexpr const char* kName = "limits.threads";
  const std::string found = fmt::format("{} threads compute, this machine has {} cores", threads, facts.machine);
  if (!facts.quota) return Ok(kName, found);
  const std::string in_group = fmt::format("{}, of which its control group may use {:.2g}", found, *facts.quota);
  const int fits = std::max(1, static_cast<int>(std::ceil(*facts.quota)));
  if (threads <= fits) return Ok(kName, in_group);
  return Warning(
      kName, in_group + ": while its quota is spent, all of it stands still, and commits late",
      fmt::format("set limits.threads to {}, or give it {} cores (CPUQuota= of the unit, cpu of the container)", fits,
                  threads));
}

Check CheckDescriptors(std::uint64_t soft, std::uint64_t hard, const DoorConnections& doors) {
  constexpr const char* kName = "limits.descriptors";
  // serve.listen takes half of them at most; the other doors take theirs whatever there is.
  const auto http = static_cast<std::uint64_t>(doors.http);
  const auto wanted =
      std::max(2 * http, http + static_cast<std::uint64_t>(doors.health + doors.postgres + doors.mqtt) + kFilesAtOnce);
  const std::string found = fmt::format("{} files may be open at once", soft);
  if (soft >= wanted) return Ok(kName, found);
  std::string connections;
  const auto add = [&connections](int number, const char* where) {
    if (number > 0)
      connections += fmt::format("{}{} connections to {}", connections.empty() ? "" : ", ", number, where);
  };
  add(doors.http, "serve.listen");
  add(doors.health, "serve.health");
  add(doors.postgres, "serve.postgres");
  add(doors.mqtt, "gateway.mqtt.listen");
  const std::string why = connections.empty() ? fmt::format("; it should be {}", wanted)
                                              : fmt::format("; with {} it should be {}", connections, wanted);
  const std::string mend = hard >= wanted
                               ? fmt::format("ulimit -n {}, or LimitNOFILE={} of the unit", wanted, wanted)
                               : fmt::format(
                                     "LimitNOFILE={} of the unit, or nofile in /etc/security/limits.conf (the hard "
                                     "limit is {})",
                                     wanted, hard);
  return soft < kFilesAtOnce / 4 ? Failed(kName, found + why, mend) : Warning(kName, found + why, mend);
}

Result<FolderFacts> ReadFolder(const std::string& path) {
  std::error_code error;
  const fs::path absolute = fs::absolute(path, error);
  if (error) return InvalidInput("{}: {}", path, error.message());
  FolderFacts facts{.path = absolute.lexically_normal().string()};
  fs::path parent = facts.path;
  while (!fs::exists(parent, error)) {
    if (error && error != std::errc::no_such_file_or_directory) break;
    if (parent == parent.parent_path()) break;
    parent = parent.parent_path();
  }
  facts.parent = parent.string();
  facts.is_there = facts.parent == facts.path;
  if (fs::exists(parent, error) && !fs::is_directory(parent, error)) {
    return InvalidInput("{} is not a folder", facts.parent);
  }
  if (::eaccess(facts.parent.c_str(), R_OK | W_OK | X_OK) != 0) facts.denied = std::strerror(errno);
  facts.free_bytes = FreeBytes(facts.parent);
  return facts;
}

Check CheckFolder(const std::string& name, const FolderFacts& facts, std::int64_t wanted, std::int64_t needed) {
  if (!facts.denied.empty()) {
    return Failed(name, fmt::format("{}: no right to write in {}: {}", facts.path, facts.parent, facts.denied),
                  fmt::format("chown {} to the user that runs the pipeline; under systemd name it in ReadWritePaths=",
                              facts.parent));
  }
  const std::string found = fmt::format("{}{}: {} MiB free", facts.path,
                                        facts.is_there ? "" : " (made by the first run)", facts.free_bytes >> 20);
  const std::string mend = fmt::format("make room: it should have {} MiB", wanted >> 20);
  if (facts.free_bytes < needed) return Failed(name, found, mend);
  if (facts.free_bytes < wanted) return Warning(name, found, mend);
  return Ok(name, found);
}

Result<StateFacts> ReadState(const std::string& path) {
  ASSIGN_OR_RETURN(auto folder, ReadFolder(path));
  StateFacts facts{.folder = std::move(folder), .foreign = {}, .holder = {}};
  if (!facts.folder.is_there) return facts;
  std::error_code error;
  for (fs::directory_iterator files(facts.folder.path, error), end; !error && files != end; files.increment(error)) {
    const std::string file = files->path().string();
    if (::eaccess(file.c_str(), R_OK | W_OK) == 0) continue;
    facts.foreign = fmt::format("{} is of {}", files->path().filename().string(), OwnerOf(file));
    break;
  }
  // RocksDB holds this lock as long as it is open. To ask for it takes it from nobody.
  const int lock = ::open((facts.folder.path + "/LOCK").c_str(), O_RDONLY | O_CLOEXEC);
  if (lock < 0) return facts;
  struct flock asked {};
  asked.l_type = F_RDLCK;
  asked.l_whence = SEEK_SET;
  if (::fcntl(lock, F_GETLK, &asked) == 0 && asked.l_type != F_UNLCK) facts.holder = std::max(0, asked.l_pid);
  ::close(lock);
  return facts;
}

Check CheckState(const std::string& name, const StateFacts& facts, std::int64_t wanted, std::int64_t needed) {
  if (facts.folder.denied.empty() && !facts.foreign.empty()) {
    return Failed(name, fmt::format("{}: {}, and we may not read and write it", facts.folder.path, facts.foreign),
                  fmt::format("chown -R {} to the user that runs the pipeline, or give another path: another user has "
                              "run it before",
                              facts.folder.path));
  }
  return CheckFolder(name, facts.folder, wanted, needed);
}

Check CheckHolder(const std::string& name, const StateFacts& facts, PortUse door) {
  const std::string found = facts.holder.value_or(0) == 0
                                ? fmt::format("{}: another process has it open", facts.folder.path)
                                : fmt::format("{}: process {} has it open", facts.folder.path, *facts.holder);
  const std::string mend = fmt::format("give each process its own {}, or end that one", name);
  switch (door) {
    case PortUse::kMillrace:
      return Ok(name, found + ": a pipeline that runs there already");
    case PortUse::kUnknown:
      return Warning(name, found, "if this pipeline runs already, all is well; else " + mend);
    case PortUse::kFree:
    case PortUse::kOther:
      break;
  }
  return Failed(name, found + ", and it does not answer at our port", mend);
}

PortFacts ReadPort(const std::string& key, const std::string& address, std::uint16_t port, bool livez) {
  const bool is_v6 = address.find(':') != std::string::npos;
  PortFacts facts{.key = key,
                  .place = is_v6 ? fmt::format("[{}]:{}", address, port) : fmt::format("{}:{}", address, port)};
  boost::asio::io_context context;
  boost::asio::ip::tcp::acceptor acceptor(context);
  const Status listening = http::ListenOn(address, port, acceptor);
  if (listening.ok()) return facts;
  facts.use = livez ? PortUse::kOther : PortUse::kUnknown;
  facts.reason = listening.message();
  if (!livez) return facts;
  http::Client client({.timeouts = {.connect = std::chrono::milliseconds(1000),
                                    .stall = std::chrono::seconds(2),
                                    .whole = std::chrono::milliseconds(2000)},
                       .reply_bytes_max = 4096});
  http::ClientReply reply;
  http::ClientError error;
  const std::string host = address == "0.0.0.0" || address == "::" ? fmt::format("127.0.0.1:{}", port) : facts.place;
  if (client.Send({.method = "GET", .url = "http://" + host + "/livez", .headers = {}, .body = {}}, reply, error) &&
      reply.status == 200 && reply.body.starts_with("ok")) {
    facts.use = PortUse::kMillrace;
  }
  return facts;
}

Check CheckPort(const PortFacts& facts) {
  const std::string name = "port." + facts.key;
  switch (facts.use) {
    case PortUse::kFree:
      return Ok(name, facts.place + " is free");
    case PortUse::kMillrace:
      return Ok(name, facts.place + " answers /livez: a pipeline runs there already");
    case PortUse::kOther:
      return Failed(name, facts.reason,
                    fmt::format("take another port for {}, or end what has it (ss -ltnp)", facts.key));
    case PortUse::kUnknown:
      break;
  }
  return Warning(name, facts.reason,
                 fmt::format("if this pipeline runs already, all is well; else take another port for {}, or end what "
                             "has it (ss -ltnp)",
                             facts.key));
}

Check CheckVersion(const std::string& library, const std::string& compiled, const std::string& loaded) {
  if (compiled == loaded) return Ok("versions", fmt::format("{} {}", library, loaded));
  return Failed("versions",
                fmt::format("{} {} is loaded, and this program was made with {}", library, loaded, compiled),
                "see LD_LIBRARY_PATH and what else was installed over the package; install it again");
}

}  // namespace millrace::doctor
