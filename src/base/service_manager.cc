#include "base/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

namespace millrace {
namespace {

std::string Variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::optional<std::int64_t> WholeNumberIn(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number <= 0) return std::nullopt;
  return number;
}

}  // namespace

ServiceManager::ServiceManager(std::string socket, std::optional<std::chrono::microseconds> watchdog)
    : socket_(std::move(socket)), watchdog_(watchdog) {}

ServiceManager ServiceManager::FromEnvironment() {
  std::optional<std::chrono::microseconds> watchdog;
  const std::string pid = Variable("WATCHDOG_PID");
  if (pid.empty() || WholeNumberIn(pid) == ::getpid()) {
    if (const auto usec = WholeNumberIn(Variable("WATCHDOG_USEC"))) watchdog = std::chrono::microseconds(*usec);
  }
  return ServiceManager(Variable("NOTIFY_SOCKET"), watchdog);
}

Status ServiceManager::Tell(const std::string& state) const {
  if (socket_.empty()) return Status::OK();
  const auto failed = [this](const char* why) { return Transient("NOTIFY_SOCKET={}: {}", socket_, why); };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_.size() >= sizeof address.sun_path) return failed("longer than a socket's name may be");
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (socket_[0] == '@') address.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return failed(std::strerror(errno));
  const auto sent = ::sendto(fd, state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                             reinterpret_cast<const sockaddr*>(&address), size);
  const int error = errno;
  ::close(fd);
  return sent < 0 ? failed(std::strerror(error)) : Status::OK();
}

}  // namespace millrace
