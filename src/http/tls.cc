#include "http/tls.h"

#include <openssl/ssl.h>
#include <spdlog/spdlog.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <condition_variable>
#include <stop_token>
#include <utility>

namespace millrace::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

class TlsTransport final : public Transport {
 public:
  TlsTransport(tcp::socket socket, SSL_CTX* context) : stream_(std::move(socket), ::SSL_new(context)) {}

  asio::awaitable<error_code> Handshake() override {
    auto [error] =
        co_await stream_.async_handshake(asio::ssl::stream_base::server, asio::as_tuple(asio::use_awaitable));
    if (error) spdlog::debug("http: no TLS connection error=\"{}\"", error.message());
    co_return error;
  }

  asio::awaitable<Read> ReadSome(asio::mutable_buffer buffer) override {
    auto [error, bytes] = co_await stream_.async_read_some(buffer, asio::as_tuple(asio::use_awaitable));
    co_return Read{error, bytes};
  }

  asio::awaitable<error_code> Write(std::span<const asio::const_buffer> buffers) override {
    auto [error, bytes] = co_await asio::async_write(stream_, buffers, asio::as_tuple(asio::use_awaitable));
    co_return error;
  }

  // Waits for the client's good-bye too: a client that has read the response to its end says it.
  asio::awaitable<void> EndWriting() override { co_await stream_.async_shutdown(asio::as_tuple(asio::use_awaitable)); }

  tcp::socket& socket() override { return stream_.next_layer(); }

 private:
  asio::ssl::stream<tcp::socket> stream_;
};

std::string Joined(const std::vector<TlsFault>& faults) {
  std::string text;
  for (const auto& fault : faults) text += (text.empty() ? "" : "; ") + fault.message;
  return text;
}

}  // namespace

Result<std::shared_ptr<TlsTransports>> TlsTransports::Make(TlsFiles files, std::chrono::milliseconds look_every,
                                                           OnServed on_served, AppProtocol protocol) {
  std::vector<TlsFault> faults;
  auto content = ReadTlsFiles(files, faults);
  std::optional<TlsIdentity> identity;
  if (content) identity = MakeTlsIdentity(files, *content, faults, protocol);
  if (!identity) return InvalidInput("{}", Joined(faults));
  std::shared_ptr<TlsTransports> transports(
      new TlsTransports(std::move(files), std::move(on_served), protocol, *std::move(content), *std::move(identity)));
  if (look_every.count() > 0) {
    transports->watcher_ = std::jthread([raw = transports.get(), look_every](const std::stop_token& stop) {
      std::mutex mutex;
      std::condition_variable_any stopped;
      std::unique_lock lock(mutex);
      while (!stopped.wait_for(lock, stop, look_every, [&stop] { return stop.stop_requested(); })) raw->Look();
    });
  }
  return transports;
}

TlsTransports::TlsTransports(TlsFiles files, OnServed on_served, AppProtocol protocol, TlsContent content,
                             TlsIdentity identity)
    : files_(std::move(files)),
      on_served_(std::move(on_served)),
      protocol_(protocol),
      identity_(std::move(identity)),
      served_(std::move(content)) {
  on_served_(identity_);
}

TlsTransports::~TlsTransports() = default;

std::unique_ptr<Transport> TlsTransports::Over(tcp::socket socket) {
  const std::lock_guard lock(mutex_);
  return std::make_unique<TlsTransport>(std::move(socket), identity_.context.get());
}

void TlsTransports::Look() {
  std::vector<TlsFault> faults;
  auto content = ReadTlsFiles(files_, faults);
  const std::lock_guard lock(mutex_);
  std::optional<TlsIdentity> renewed;
  if (content && *content == served_) {
    faults.clear();
  } else if (content) {
    renewed = MakeTlsIdentity(files_, *content, faults, protocol_);
  }
  const std::string complaint = Joined(faults);
  if (complaint != complaint_) {
    complaint_ = complaint;
    complained_ = false;
  } else if (!complaint.empty() && !complained_) {
    complained_ = true;
    spdlog::error("http: the renewed certificate cannot be used, the one before is still served error=\"{}\"",
                  complaint);
  }
  if (!renewed) return;
  identity_ = *std::move(renewed);
  served_ = *std::move(content);
  spdlog::info("http: a renewed certificate is served subject=\"{}\"", identity_.subject);
  on_served_(identity_);
}

}  // namespace millrace::http
