#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <spdlog/spdlog.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <new>
#include <string>
#include <utility>

#include "http/tls_transport_internal.h"

namespace millrace::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// Of the content of a record (RFC 8446, 5.1).
constexpr std::size_t kRecordBytes = 16 << 10;

// OpenSSL's view of a socket of Asio's, which knows when it is closed: a number would come to mean another connection,
// and a write() to one that the client has left would be a signal.
tcp::socket& SocketOf(BIO* bio) { return *static_cast<tcp::socket*>(BIO_get_data(bio)); }

int ReadFromSocket(BIO* bio, char* data, std::size_t size, std::size_t* done) {
  BIO_clear_retry_flags(bio);
  error_code error;
  *done = SocketOf(bio).receive(asio::buffer(data, size), 0, error);
  if (error == asio::error::would_block) BIO_set_retry_read(bio);
  return error ? 0 : 1;
}

int WriteToSocket(BIO* bio, const char* data, std::size_t size, std::size_t* done) {
  BIO_clear_retry_flags(bio);
  error_code error;
  *done = SocketOf(bio).send(asio::buffer(data, size), 0, error);
  if (error == asio::error::would_block) BIO_set_retry_write(bio);
  return error ? 0 : 1;
}

long ControlSocket(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

const BIO_METHOD* SocketMethod() {
  static const BIO_METHOD* const kMethod = [] {
    BIO_METHOD* const method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket of Asio");
    if (method == nullptr) throw std::bad_alloc();
    BIO_meth_set_read_ex(method, ReadFromSocket);
    BIO_meth_set_write_ex(method, WriteToSocket);
    BIO_meth_set_ctrl(method, ControlSocket);
    return method;
  }();
  return kMethod;
}

class TlsTransport final : public Transport {
 public:
  TlsTransport(tcp::socket socket, SSL_CTX* context) : socket_(std::move(socket)), ssl_(::SSL_new(context)) {
    BIO* const bio = ::BIO_new(SocketMethod());
    if (ssl_ == nullptr || bio == nullptr) throw std::bad_alloc();
    BIO_set_data(bio, &socket_);
    BIO_set_init(bio, 1);
    ::SSL_set_bio(ssl_.get(), bio, bio);
    SSL_set_mode(ssl_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    error_code ignored;  // A socket that is broken says so when it is read.
    socket_.non_blocking(true, ignored);
  }

  void BeServer() { ::SSL_set_accept_state(ssl_.get()); }
  void BeClientOf(const std::string& host) {
    ::SSL_set_connect_state(ssl_.get());
    ::SSL_set_verify(ssl_.get(), SSL_VERIFY_PEER, nullptr);
    X509_VERIFY_PARAM* const wanted = ::SSL_get0_param(ssl_.get());
    const bool is_address = ::X509_VERIFY_PARAM_set1_ip_asc(wanted, host.c_str()) == 1;
    if (is_address) return;
    ::ERR_clear_error();
    SSL_set_tlsext_host_name(ssl_.get(), host.c_str());
    if (::X509_VERIFY_PARAM_set1_host(wanted, host.data(), host.size()) != 1) throw std::bad_alloc();
  }

  asio::awaitable<error_code> Handshake() override {
    const error_code error = co_await Until([](SSL* ssl) { return ::SSL_do_handshake(ssl); });
    if (error) spdlog::debug("http: no TLS connection error=\"{}\"", error.message());
    co_return error;
  }

  asio::awaitable<error_code> WaitForBytes() override {
    // What comes may be TLS's own and nothing for us.
    co_return co_await Until([](SSL* ssl) {
      char first = 0;
      std::size_t bytes = 0;
      return ::SSL_peek_ex(ssl, &first, 1, &bytes);
    });
  }

  asio::awaitable<Read> ReadSome(asio::mutable_buffer buffer) override {
    std::size_t bytes = 0;
    const error_code error =
        co_await Until([&](SSL* ssl) { return ::SSL_read_ex(ssl, buffer.data(), buffer.size(), &bytes); });
    co_return Read{error, bytes};
  }

  asio::awaitable<error_code> Write(std::span<const asio::const_buffer> buffers) override {
    // What is short goes out together: each record is a system call.
    std::string record;
    error_code error;
    for (const asio::const_buffer& buffer : buffers) {
      if (record.size() + buffer.size() > kRecordBytes) {
        error = co_await WriteAll(asio::buffer(record));
        record.clear();
        if (!error && buffer.size() > kRecordBytes) {
          error = co_await WriteAll(buffer);
          if (!error) continue;
        }
        if (error) co_return error;
      }
      record.append(static_cast<const char*>(buffer.data()), buffer.size());
    }
    co_return co_await WriteAll(asio::buffer(record));
  }

  asio::awaitable<void> EndWriting() override {
    co_await Until([](SSL* ssl) {
      const int done = ::SSL_shutdown(ssl);
      return done == 0 ? 1 : done;  // Ours is sent; the client's is read as an end.
    });
  }

  tcp::socket& socket() override { return socket_; }

 private:
  asio::awaitable<error_code> WriteAll(asio::const_buffer buffer) {
    while (buffer.size() > 0) {
      std::size_t bytes = 0;
      const error_code error =
          co_await Until([&](SSL* ssl) { return ::SSL_write_ex(ssl, buffer.data(), buffer.size(), &bytes); });
      if (error) co_return error;
      buffer += bytes;
    }
    co_return error_code();
  }

  // Calls `step` until it is done (it gives 1) or fails, and waits for the socket in between.
  template <typename Step>
  asio::awaitable<error_code> Until(Step step) {
    for (;;) {
      ::ERR_clear_error();
      const int result = step(ssl_.get());
      if (result == 1) co_return error_code();
      switch (::SSL_get_error(ssl_.get(), result)) {
        case SSL_ERROR_WANT_READ:
        case SSL_ERROR_WANT_WRITE: {
          const auto what = SSL_want_write(ssl_.get()) ? tcp::socket::wait_write : tcp::socket::wait_read;
          const auto [error] = co_await socket_.async_wait(what, asio::as_tuple(asio::use_awaitable));
          if (error) co_return error;
          break;
        }
        case SSL_ERROR_ZERO_RETURN:
          co_return asio::error::eof;
        case SSL_ERROR_SSL:
          co_return error_code(static_cast<int>(::ERR_get_error()), asio::error::get_ssl_category());
        default:
          co_return asio::error::connection_reset;
      }
    }
  }

  struct FreeSsl {
    void operator()(SSL* ssl) const { ::SSL_free(ssl); }
  };

  tcp::socket socket_;
  const std::unique_ptr<SSL, FreeSsl> ssl_;
};

}  // namespace

std::unique_ptr<Transport> MakeTlsTransport(tcp::socket socket, SSL_CTX* context) {
  auto transport = std::make_unique<TlsTransport>(std::move(socket), context);
  transport->BeServer();
  return transport;
}

std::unique_ptr<Transport> MakeTlsClientTransport(tcp::socket socket, SSL_CTX* context, const std::string& host) {
  auto transport = std::make_unique<TlsTransport>(std::move(socket), context);
  transport->BeClientOf(host);
  return transport;
}

}  // namespace millrace::http
