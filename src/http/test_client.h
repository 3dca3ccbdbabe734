/// A client for tests that sends exactly the bytes it is told to, over a real socket.
#pragma once

#include <poll.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>

namespace millrace::http {

class TestClient {
 public:
  explicit TestClient(std::uint16_t port) : socket_(io_) {
    socket_.connect({boost::asio::ip::make_address("127.0.0.1"), port});
  }

  /// False if the server has closed.
  bool Send(const std::string& bytes) {
    boost::system::error_code error;
    boost::asio::write(socket_, boost::asio::buffer(bytes), error);
    return !error;
  }

  /// Everything up to the server's close.
  std::string ReadAll() {
    std::string out = std::move(pending_);
    while (ReadSome(out)) {
    }
    return out;
  }

  /// Up to the first `end`, and with it; what was read beyond it is kept. If the server closes before, what there is.
  std::string ReadUntil(const std::string& end) {
    std::size_t at = std::string::npos;
    while ((at = pending_.find(end)) == std::string::npos) {
      if (!ReadSome(pending_)) return std::exchange(pending_, {});
    }
    std::string out = pending_.substr(0, at + end.size());
    pending_.erase(0, out.size());
    return out;
  }

  /// Sends until the server has closed, reading nothing: what is sent to a closed connection comes back as a reset.
  /// False: it has not within 10 seconds.
  bool WaitUntilCutOff() {
    for (int i = 0; i < 1000; ++i) {
      if (!Send("x")) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  /// Whether the server sends something, or closes, within `time`.
  bool HasNewsWithin(std::chrono::milliseconds time) {
    pollfd news{.fd = socket_.native_handle(), .events = POLLIN, .revents = 0};
    return ::poll(&news, 1, static_cast<int>(time.count())) == 1;
  }

  /// How the server closed: boost::asio::error::eof, or connection_reset.
  boost::system::error_code error() const { return error_; }

  /// One response with a Content-Length; what was read beyond it is kept. Empty: closed.
  std::string ReadOne(bool head = false) {
    std::string& out = pending_;
    std::size_t end = std::string::npos;
    while ((end = out.find("\r\n\r\n")) == std::string::npos) {
      if (!ReadSome(out)) return {};
    }
    std::size_t size = end + 4;
    if (const auto at = out.find("Content-Length: "); !head && at < end) size += std::stoul(out.substr(at + 16));
    while (out.size() < size) {
      if (!ReadSome(out)) return {};
    }
    std::string one = out.substr(0, size);
    out.erase(0, size);
    return one;
  }

 private:
  bool ReadSome(std::string& out) {
    std::array<char, 65536> chunk;
    const std::size_t n = socket_.read_some(boost::asio::buffer(chunk), error_);
    out.append(chunk.data(), n);
    return !error_;
  }

  boost::asio::io_context io_;
  boost::asio::ip::tcp::socket socket_;
  std::string pending_;
  boost::system::error_code error_;
};

inline int StatusOf(const std::string& response) {
  return response.starts_with("HTTP/1.1 ") ? std::stoi(response.substr(9, 3)) : 0;
}

}  // namespace millrace::http
