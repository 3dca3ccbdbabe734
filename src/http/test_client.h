/// A client for tests that sends exactly the bytes it is told to, over a real socket.
#pragma once

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <cstdint>
#include <string>

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
    boost::system::error_code error;
    const std::size_t n = socket_.read_some(boost::asio::buffer(chunk), error);
    out.append(chunk.data(), n);
    return !error;
  }

  boost::asio::io_context io_;
  boost::asio::ip::tcp::socket socket_;
  std::string pending_;
};

inline int StatusOf(const std::string& response) {
  return response.starts_with("HTTP/1.1 ") ? std::stoi(response.substr(9, 3)) : 0;
}

}  // namespace millrace::http
