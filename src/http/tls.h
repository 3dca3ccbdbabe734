/// TLS between TCP and HTTP, with a certificate that may be renewed while it is served.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "base/status.h"
#include "http/certificates.h"
#include "http/transport.h"

namespace millrace::http {

/// The files are looked at again every now and then, by what they hold: how they were renewed (written over, renamed,
/// a symbolic link that points elsewhere, as Kubernetes does) makes no difference. New connections get the new
/// certificate, those that are there go on with theirs. What cannot be used changes nothing and is logged; so that
/// nothing is said of a renewal that is under way, only when the next look finds the same.
class TlsTransports final : public Transports {
 public:
  /// Hears of what new connections are served with from now on.
  using OnServed = std::function<void(const TlsIdentity& identity)>;

  /// Looks at the files every `look_every`, on a thread of its own; 0: only when Look() is called. `on_served` is
  /// called here, and then at each renewal where that is seen. kInvalidInput: all that is wrong with the files.
  static Result<std::shared_ptr<TlsTransports>> Make(
      TlsFiles files, std::chrono::milliseconds look_every, OnServed on_served = [](const TlsIdentity&) {},
      AppProtocol protocol = AppProtocol::kHttp11);
  ~TlsTransports() override;

  std::unique_ptr<Transport> Over(boost::asio::ip::tcp::socket socket) override;

  /// One look at the files. Any thread.
  void Look();

 private:
  TlsTransports(TlsFiles files, OnServed on_served, AppProtocol protocol, TlsContent content, TlsIdentity identity);

  // Constant after construction.
  const TlsFiles files_;
  const OnServed on_served_;
  const AppProtocol protocol_;

  std::mutex mutex_;
  TlsIdentity identity_;
  TlsContent served_;      // What `identity_` was made of.
  std::string complaint_;  // Of the last look; empty: all was well.
  bool complained_ = false;

  std::jthread watcher_;  // Last: it uses all the others.
};

}  // namespace millrace::http
