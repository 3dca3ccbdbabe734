// Requests over another transport than TCP: TLS, as far as a test needs it, with a certificate made here.
#include "http/transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>

#include "http/server.h"
#include "http/test_client.h"
#include "testing/status_matchers.h"

namespace millrace::http {
namespace {

namespace asio = boost::asio;
namespace ssl = asio::ssl;
using asio::ip::tcp;
using boost::system::error_code;
using namespace std::chrono_literals;
using ::testing::HasSubstr;

constexpr auto kUseTuple = asio::as_tuple(asio::use_awaitable);

class TlsTransport final : public Transport {
 public:
  TlsTransport(tcp::socket socket, ssl::context& context) : stream_(std::move(socket), context) {}

  asio::awaitable<error_code> Handshake() override {
    auto [error] = co_await stream_.async_handshake(ssl::stream_base::server, kUseTuple);
    co_return error;
  }
  asio::awaitable<Read> ReadSome(asio::mutable_buffer buffer) override {
    auto [error, bytes] = co_await stream_.async_read_some(buffer, kUseTuple);
    co_return Read{error, bytes};
  }
  asio::awaitable<error_code> Write(std::span<const asio::const_buffer> buffers) override {
    auto [error, bytes] = co_await asio::async_write(stream_, buffers, kUseTuple);
    co_return error;
  }
  asio::awaitable<void> EndWriting() override { co_await stream_.async_shutdown(kUseTuple); }
  tcp::socket& socket() override { return stream_.next_layer(); }

 private:
  ssl::stream<tcp::socket> stream_;
};

class Tls final : public Transports {
 public:
  // With a certificate that it signs itself, good for an hour.
  Tls() {
    EVP_PKEY* const key = EVP_EC_gen("P-256");
    X509* const certificate = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_sign(certificate, key, EVP_sha256());
    EXPECT_EQ(SSL_CTX_use_certificate(context_.native_handle(), certificate), 1);
    EXPECT_EQ(SSL_CTX_use_PrivateKey(context_.native_handle(), key), 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  std::unique_ptr<Transport> Over(tcp::socket socket) override {
    return std::make_unique<TlsTransport>(std::move(socket), context_);
  }

 private:
  ssl::context context_{ssl::context::tls_server};
};

class TlsClient {
 public:
  explicit TlsClient(std::uint16_t port) {
    stream_.next_layer().connect({asio::ip::make_address("127.0.0.1"), port});
    stream_.handshake(ssl::stream_base::client);
  }
  void Send(const std::string& bytes) { asio::write(stream_, asio::buffer(bytes)); }
  // Until the end of the body that Content-Length announces.
  std::string ReadOne() {
    std::string out;
    char chunk[65536];
    for (std::size_t size = std::string::npos; out.size() < size;) {
      error_code error;
      out.append(chunk, stream_.read_some(asio::buffer(chunk), error));
      if (error) return out;
      const auto end = out.find("\r\n\r\n");
      const auto length = out.find("Content-Length: ");
      if (end != std::string::npos) size = end + 4 + std::stoul(out.substr(length + 16));
    }
    return out;
  }
  // What ends the connection; nothing may be left to read.
  error_code ReadEnd() {
    char byte;
    error_code error;
    EXPECT_EQ(stream_.read_some(asio::buffer(&byte, 1), error), 0u);
    return error;
  }

 private:
  asio::io_context io_;
  ssl::context context_{ssl::context::tls_client};
  ssl::stream<tcp::socket> stream_{io_, context_};
};

Response Repeat(const Request& request) {
  return {200, "text/plain", request.method + " " + request.target + " " + request.body, {}};
}

std::unique_ptr<Server> StartTls(ServerOptions options = {}, Handler handler = Repeat) {
  options.transports = std::make_shared<Tls>();
  auto server = Server::Start(options, std::move(handler));
  EXPECT_TRUE(server.ok()) << server.status().ToString();
  return *std::move(server);
}

TEST(TlsTransport, AnswersOneRequestAfterTheOther) {
  const auto server = StartTls();
  TlsClient client(server->port());
  // More than a TLS record and than what is read at once.
  const std::string body(100'000, 'b');
  client.Send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + body);
  EXPECT_THAT(client.ReadOne(), HasSubstr("POST /a " + body));
  // In one record: what was decrypted and not read yet is not seen by who looks at the socket.
  client.Send("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n" + std::string(10'000, 'b'));
  EXPECT_THAT(client.ReadOne(), HasSubstr("POST /b bbb"));
  client.Send("GET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.ReadOne(), HasSubstr("GET /c "));
  EXPECT_EQ(client.ReadEnd(), asio::error::eof) << "it says good-bye: nothing was cut off";
}

TEST(TlsTransport, AClientIsWatchedWhileItWaitsAndGoesOnAfterwards) {
  std::mutex mutex;
  std::condition_variable_any changed;
  bool entered = false;
  bool stopped = false;
  const auto server = StartTls({.lane = [](const Request&) { return Lane::kLong; }}, [&](const Request& request) {
    if (request.target != "/wait") return Repeat(request);
    std::unique_lock lock(mutex);
    entered = true;
    changed.notify_all();
    stopped = !changed.wait(lock, request.stop, [] { return false; });
    changed.notify_all();
    return Repeat(request);
  });
  {
    TlsClient client(server->port());
    for (const char* target : {"/a", "/b", "/c"}) {
      client.Send(std::string("GET ") + target + " HTTP/1.1\r\nHost: x\r\n\r\n");
      EXPECT_THAT(client.ReadOne(), HasSubstr(std::string("GET ") + target));
    }
    client.Send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return entered; });
  }
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return stopped; });
}

TEST(TlsTransport, WhoDoesNotShakeHandsIsCutOff) {
  const auto server = StartTls({.header_timeout = 100ms});
  TestClient silent(server->port());
  EXPECT_EQ(silent.ReadAll(), "");
  TestClient plain(server->port());
  plain.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(StatusOf(plain.ReadAll()), 0) << "a request in the clear gets no answer";
  TlsClient client(server->port());
  client.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.ReadOne(), HasSubstr("GET / "));
}

TEST(TlsTransport, StopClosesIdleConnections) {
  const auto server = StartTls();
  TlsClient client(server->port());
  client.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.ReadOne(), HasSubstr("GET / "));
  server->Stop(std::chrono::steady_clock::now() + 30s);
  EXPECT_TRUE(client.ReadEnd());
}

}  // namespace
}  // namespace millrace::http
