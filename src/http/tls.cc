#include "http/tls.h"

#include <spdlog/spdlog.h>

#include <condition_variable>
#include <stop_token>
#include <utility>

#include "http/tls_transport_internal.h"

namespace millrace::http {
namespace {

using boost::asio::ip::tcp;

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
  return MakeTlsTransport(std::move(socket), identity_.context.get());
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
