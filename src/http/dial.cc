#include "http/dial.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "http/tls_error_internal.h"
#include "http/tls_transport_internal.h"

namespace millrace::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kUseTuple = asio::as_tuple(asio::use_awaitable);

// Of one attempt: what runs is cancelled when its time is over.
struct Attempt {
  explicit Attempt(const asio::any_io_executor& executor) : resolver(executor), socket(executor), deadline(executor) {}

  tcp::resolver resolver;
  tcp::socket socket;
  std::unique_ptr<Transport> transport;
  asio::steady_timer deadline;
  bool is_over = false;

  void Cancel() {
    is_over = true;
    error_code ignored;
    resolver.cancel();
    (transport != nullptr ? transport->socket() : socket).close(ignored);
  }
};

// However the coroutine that holds it ends, nothing waits for the deadline any more.
struct EndDeadline {
  std::shared_ptr<Attempt> attempt;
  ~EndDeadline() { attempt->deadline.cancel(); }
};

asio::awaitable<Status> Connected(std::shared_ptr<Attempt> attempt, DialTarget target) {
  auto [not_found, places] =
      co_await attempt->resolver.async_resolve(target.host, std::to_string(target.port), kUseTuple);
  if (not_found) co_return Transient("{}", not_found.message());
  if (attempt->is_over) co_return Transient("too late");
  auto [refused, place] = co_await asio::async_connect(attempt->socket, places, kUseTuple);
  if (refused) co_return Transient("{}", refused.message());
  error_code ignored;
  attempt->socket.set_option(tcp::no_delay(true), ignored);
  attempt->socket.set_option(asio::socket_base::keep_alive(true), ignored);
  attempt->transport = target.tls == nullptr
                           ? TcpTransports()->Over(std::move(attempt->socket))
                           : MakeTlsClientTransport(std::move(attempt->socket), target.tls.get(), target.host);
  const error_code failed = co_await attempt->transport->Handshake();
  if (failed) co_return Transient("no TLS: {}", failed.message());
  co_return Status::OK();
}

}  // namespace

Result<std::shared_ptr<ssl_ctx_st>> MakeClientTls(const ClientTlsFiles& files) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
  if (context == nullptr) return Internal("OpenSSL has no memory");
  ERR_clear_error();
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  const bool trusts = files.ca_file.empty()
                          ? SSL_CTX_set_default_verify_paths(context.get()) == 1
                          : SSL_CTX_load_verify_locations(context.get(), files.ca_file.c_str(), nullptr) == 1;
  if (!trusts) return InvalidInput("'{}' holds no authorities that can be used: {}", files.ca_file, TakeTlsError());
  if (files.certificate_file.empty()) return context;
  if (SSL_CTX_use_certificate_chain_file(context.get(), files.certificate_file.c_str()) != 1) {
    return InvalidInput("'{}' holds no certificate that can be used: {}", files.certificate_file, TakeTlsError());
  }
  SSL_CTX_set_default_passwd_cb(context.get(), [](char*, int, int, void*) { return -1; });
  if (SSL_CTX_use_PrivateKey_file(context.get(), files.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return InvalidInput("'{}' holds no key of the certificate, or one with a passphrase: {}", files.key_file,
                        TakeTlsError());
  }
  return context;
}

asio::awaitable<Result<std::unique_ptr<Transport>>> Dial(DialTarget target, std::chrono::milliseconds timeout) {
  const auto executor = co_await asio::this_coro::executor;
  const auto attempt = std::make_shared<Attempt>(executor);
  attempt->deadline.expires_after(timeout);
  attempt->deadline.async_wait([attempt](error_code error) {
    if (!error) attempt->Cancel();
  });
  const EndDeadline end{attempt};
  const Status connected = co_await Connected(attempt, target);
  const bool in_time = attempt->deadline.cancel() > 0 && !attempt->is_over;
  if (!connected.ok() || !in_time) {
    const std::string why = in_time ? connected.message() : fmt::format("not within {} ms", timeout.count());
    co_return Transient("cannot connect to {}:{}: {}", target.host, target.port, why);
  }
  co_return std::move(attempt->transport);
}

}  // namespace millrace::http
