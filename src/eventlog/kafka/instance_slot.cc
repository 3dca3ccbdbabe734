#include "eventlog/kafka/instance_slot.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zlib.h>

#include <cctype>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>

#include "base/log.h"

namespace millrace::eventlog {
namespace {

std::uint32_t Checksum(const std::string& text) {
  return static_cast<std::uint32_t>(
      ::crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size())));
}

std::string HostName() {
  char name[256] = {};
  if (::gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0') return "host";
  std::string host = name;
  for (char& c : host) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '_' && c != '-') c = '-';
  }
  return host.substr(0, 200);
}

// Where abstract sockets' names are unique: this boot of this machine, and the network namespace.
std::uint32_t Place() {
  std::string boot;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  struct stat space {};
  if (::stat("/proc/self/ns/net", &space) != 0) space = {};
  return Checksum(fmt::format("{} {}", boot, space.st_ino));
}

}  // namespace

std::optional<InstanceSlot> InstanceSlot::Take(const std::string& group) {
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) {
    spdlog::info("no group.instance.id of our own: socket: {}", std::strerror(errno));
    return std::nullopt;
  }
  for (int slot = 0; slot < kSlotsMax; ++slot) {
    const std::string name = fmt::format("millrace/group/{:08x}/{}", Checksum(group), slot);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    // The leading NUL makes it abstract: no file.
    std::memcpy(address.sun_path + 1, name.data(), name.size());
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    if (::bind(socket, reinterpret_cast<const sockaddr*>(&address), length) == 0) {
      return InstanceSlot(socket, fmt::format("{}-{:08x}-{}", HostName(), Place(), slot));
    }
    if (errno != EADDRINUSE) {
      spdlog::info("no group.instance.id of our own: bind: {}", std::strerror(errno));
      ::close(socket);
      return std::nullopt;
    }
  }
  spdlog::info("no group.instance.id of our own: {} processes of group {} are on this machine", kSlotsMax, group);
  ::close(socket);
  return std::nullopt;
}

InstanceSlot::~InstanceSlot() {
  if (socket_ >= 0) ::close(socket_);
}

}  // namespace millrace::eventlog
