#include "objectstore/s3/credential_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

extern char** environ;

namespace millrace::objectstore::s3 {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t kOutputBytesMax = 64 << 10;

// The process, in a group of its own; killed with all that it started and waited for unless Wait() was called.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(-pid_, SIGKILL);
    Wait();
  }
  // The status of waitpid().
  int Wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
    pid_ = 0;
    return status;
  }

 private:
  pid_t pid_;
};

// Starts the shell with `output` as its standard output; 0 or what posix_spawn() says.
int Spawn(const std::string& command, int output, pid_t& pid) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  std::string shell = "sh";
  std::string option = "-c";
  std::string text = command;
  std::array<char*, 4> arguments = {shell.data(), option.data(), text.data(), nullptr};
  const int error = ::posix_spawn(&pid, "/bin/sh", &files, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return error;
}

class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_.data(), O_CLOEXEC) != 0) ends_ = {-1, -1};
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    CloseWriter();
    if (ends_[0] >= 0) ::close(ends_[0]);
  }
  int reader() const { return ends_[0]; }
  int writer() const { return ends_[1]; }
  void CloseWriter() {
    if (ends_[1] >= 0) ::close(ends_[1]);
    ends_[1] = -1;
  }

 private:
  std::array<int, 2> ends_ = {-1, -1};
};

}  // namespace

Result<std::string> RunCredentialProcess(const std::string& command, std::chrono::milliseconds timeout,
                                         const std::function<bool()>& cancelled) {
  const auto deadline = steady_clock::now() + timeout;
  Pipe pipe;
  if (pipe.reader() < 0) return Transient("credential_process: no pipe: {}", std::strerror(errno));
  pid_t pid = 0;
  const int error = Spawn(command, pipe.writer(), pid);
  if (error != 0) return InvalidInput("credential_process cannot be started: {}", std::strerror(error));
  Child child(pid);
  pipe.CloseWriter();
  std::string output;
  while (true) {
    if (cancelled()) return Cancelled("the credential_process was cancelled");
    if (steady_clock::now() >= deadline) {
      return Transient("the credential_process gave no answer within {} s",
                       std::chrono::duration_cast<std::chrono::seconds>(timeout).count());
    }
    pollfd ready{.fd = pipe.reader(), .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, 100) <= 0) continue;
    std::array<char, 4096> bytes;
    const ssize_t n = ::read(pipe.reader(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    output.append(bytes.data(), static_cast<std::size_t>(n));
    if (output.size() > kOutputBytesMax) return InvalidInput("the credential_process prints more than credentials");
  }
  const int status = child.Wait();
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return InvalidInput("the credential_process ended with {} {}; see its own words on standard error",
                        WIFEXITED(status) ? "status" : "signal",
                        WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
  }
  return output;
}

}  // namespace millrace::objectstore::s3
