#include "doctor/machine_checks.h"

#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

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

void TakeLess(std::optional<std::int64_t>& least, std::optional<std::int64_t> other) {
  if (other) least = least ? std::min(*least, *other) : *other;
}

// The limits of a group and of all above it hold. In a container the group's path is often that of the host, and what
// is mounted is the group itself: then only the root of the mount is there.
std::optional<std::int64_t> LeastOf(const std::string& mount, std::string group, const char* file) {
  std::optional<std::int64_t> least;
  for (;;) {
    TakeLess(least, LimitIn(mount + group + "/" + file));
    const auto slash = group.rfind('/');
    if (slash == std::string::npos) return least;
    group.erase(slash);
  }
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
  std::istringstream groups(Text(root + "proc/self/cgroup").value_or(""));
  for (std::string line; std::getline(groups, line);) {
    const auto first = line.find(':');
    const auto second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string group = line.substr(second + 1);
    if (group == "/") group.clear();
    if (controllers.empty()) {
      TakeLess(facts.cgroup, LeastOf(root + "sys/fs/cgroup", group, "memory.max"));
    } else if (("," + controllers + ",").find(",memory,") != std::string::npos) {
      TakeLess(facts.cgroup, LeastOf(root + "sys/fs/cgroup/memory", group, "memory.limit_in_bytes"));
    }
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

Check CheckDescriptors(std::uint64_t soft, std::uint64_t hard, int connections) {
  constexpr const char* kName = "limits.descriptors";
  // The server takes half of them at most.
  const std::uint64_t wanted = std::max<std::uint64_t>(2 * static_cast<std::uint64_t>(connections), kFilesAtOnce);
  const std::string found = fmt::format("{} files may be open at once", soft);
  if (soft >= wanted) return Ok(kName, found);
  const std::string why = connections > 0
                              ? fmt::format("; with serve.limits.connections: {} it should be {}", connections, wanted)
                              : fmt::format("; it should be {}", wanted);
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
  if (::access(facts.parent.c_str(), R_OK | W_OK | X_OK) != 0) facts.denied = std::strerror(errno);
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
