#include "base/service_manager.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

namespace millrace {
namespace {

/// A service manager's end of the socket.
class NotifySocket {
 public:
  explicit NotifySocket(const std::string& name) : fd_(::socket(AF_UNIX, SOCK_DGRAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    if (name[0] == '@') address.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), size), 0) << std::strerror(errno);
  }
  ~NotifySocket() { ::close(fd_); }

  /// The next datagram; empty: there is none.
  std::string Take() {
    char buffer[4096];
    const auto size = ::recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT);
    return size < 0 ? "" : std::string(buffer, static_cast<std::size_t>(size));
  }

 private:
  int fd_;
};

std::string FreshName(const char* what) { return "/millrace-" + std::to_string(::getpid()) + "-" + what; }

class ServiceManagerEnvironment : public testing::Test {
 protected:
  void TearDown() override {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) ::unsetenv(name);
  }
};

TEST(ServiceManager, TellsASocketWithAPath) {
  const std::string path = testing::TempDir() + FreshName("path");
  NotifySocket socket(path);
  const ServiceManager manager(path);
  ASSERT_TRUE(manager.Tell("READY=1\nSTATUS=reading").ok());
  ASSERT_TRUE(manager.Tell("WATCHDOG=1").ok());
  EXPECT_EQ(socket.Take(), "READY=1\nSTATUS=reading");
  EXPECT_EQ(socket.Take(), "WATCHDOG=1");
  EXPECT_EQ(socket.Take(), "");
  ::unlink(path.c_str());
}

TEST(ServiceManager, TellsAnAbstractSocket) {
  const std::string name = "@" + FreshName("abstract");
  NotifySocket socket(name);
  ASSERT_TRUE(ServiceManager(name).Tell("STOPPING=1").ok());
  EXPECT_EQ(socket.Take(), "STOPPING=1");
}

TEST(ServiceManager, NamesTheSocketThatDoesNotTakeIt) {
  const std::string path = testing::TempDir() + FreshName("nobody");
  for (const std::string& socket : {path, "/" + std::string(200, 'x')}) {
    const Status status = ServiceManager(socket).Tell("READY=1");
    EXPECT_EQ(KindOf(status), ErrorKind::kTransient);
    EXPECT_NE(status.message().find("NOTIFY_SOCKET=" + socket), std::string::npos) << status.message();
  }
}

TEST(ServiceManager, DoesNotWaitForAManagerThatDoesNotListen) {
  const std::string name = "@" + FreshName("full");
  NotifySocket socket(name);
  const ServiceManager manager(name);
  Status status = Status::OK();
  for (int i = 0; i < 100'000 && status.ok(); ++i) status = manager.Tell("WATCHDOG=1");
  EXPECT_EQ(KindOf(status), ErrorKind::kTransient);
}

TEST_F(ServiceManagerEnvironment, IsNobodyWithoutASocket) {
  const auto manager = ServiceManager::FromEnvironment();
  EXPECT_FALSE(manager.listens());
  EXPECT_EQ(manager.watchdog(), std::nullopt);
  EXPECT_TRUE(manager.Tell("READY=1").ok());
}

TEST_F(ServiceManagerEnvironment, SaysHowOftenItWantsToHear) {
  ::setenv("NOTIFY_SOCKET", "/run/notify", 1);
  ::setenv("WATCHDOG_USEC", "30000000", 1);
  EXPECT_EQ(ServiceManager::FromEnvironment().watchdog(), std::chrono::seconds(30));
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  EXPECT_EQ(ServiceManager::FromEnvironment().watchdog(), std::chrono::seconds(30));
  ::setenv("WATCHDOG_PID", std::to_string(::getpid() + 1).c_str(), 1);
  EXPECT_EQ(ServiceManager::FromEnvironment().watchdog(), std::nullopt) << "the watchdog is another process'";
  ::unsetenv("WATCHDOG_PID");
  for (const char* odd : {"", "0", "-1", "30s", "99999999999999999999"}) {
    ::setenv("WATCHDOG_USEC", odd, 1);
    EXPECT_EQ(ServiceManager::FromEnvironment().watchdog(), std::nullopt) << odd;
  }
}

}  // namespace
}  // namespace millrace
