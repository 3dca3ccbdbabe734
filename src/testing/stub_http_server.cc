#include "testing/stub_http_server.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "base/ascii_case.h"
#include "base/status.h"

namespace millrace::testing {
namespace {

/// False: the other side closed first.
bool ReadMore(int connection, std::string& text) {
  char buffer[4096];
  const ssize_t n = ::recv(connection, buffer, sizeof buffer, 0);
  if (n <= 0) return false;
  text.append(buffer, static_cast<std::size_t>(n));
  return true;
}

}  // namespace

StubHttpServer::StubHttpServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  MILLRACE_CHECK(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0);
  MILLRACE_CHECK(::listen(listener_, 64) == 0);
  MILLRACE_CHECK(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Serve(); });
}

StubHttpServer::~StubHttpServer() {
  stopping_ = true;
  ::shutdown(listener_, SHUT_RDWR);
  thread_.join();
  for (const int connection : stalled_) ::close(connection);
  ::close(listener_);
}

std::vector<StubRequest> StubHttpServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void StubHttpServer::Serve() {
  while (!stopping_) {
    const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection >= 0) ServeOne(connection);
  }
}

void StubHttpServer::ServeOne(int connection) {
  std::string text;
  while (text.find("\r\n\r\n") == std::string::npos) {
    if (!ReadMore(connection, text)) {
      ::close(connection);
      return;
    }
  }
  const auto head_end = text.find("\r\n\r\n") + 4;
  StubRequest request;
  std::size_t line_begin = text.find("\r\n") + 2;
  const std::string first = text.substr(0, line_begin - 2);
  const auto space = first.find(' ');
  request.method = first.substr(0, space);
  request.target = first.substr(space + 1, first.rfind(' ') - space - 1);
  while (line_begin < head_end - 2) {
    const auto line_end = text.find("\r\n", line_begin);
    const std::string line = text.substr(line_begin, line_end - line_begin);
    const auto colon = line.find(':');
    const std::string name = AsciiLower(line.substr(0, colon));
    const auto value = line.find_first_not_of(' ', colon + 1);
    request.headers[name] = value == std::string::npos ? "" : line.substr(value);
    line_begin = line_end + 2;
  }
  const auto length = request.headers.find("content-length");
  const std::size_t body_size =
      length == request.headers.end() ? 0 : std::strtoull(length->second.c_str(), nullptr, 10);
  while (text.size() < head_end + body_size && ReadMore(connection, text)) {
  }
  request.body = text.substr(head_end);
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
  }
  const StubReply reply = handler_(request);
  if (reply.stall) {
    stalled_.push_back(connection);
    return;
  }
  if (!reply.drop) {
    std::string out =
        fmt::format("HTTP/1.1 {} Stub\r\nConnection: close\r\nContent-Length: {}\r\n", reply.status, reply.body.size());
    for (const auto& [name, value] : reply.headers) out += name + ": " + value + "\r\n";
    out += "\r\n";
    if (request.method != "HEAD") out += reply.body;
    std::size_t sent = 0;
    while (sent < out.size()) {
      const ssize_t n = ::send(connection, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) break;
      sent += static_cast<std::size_t>(n);
    }
  }
  ::close(connection);
}

}  // namespace millrace::testing
