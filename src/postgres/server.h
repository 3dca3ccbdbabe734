/// The door for PostgreSQL's clients: TCP, and TLS where a client asks for it; a Session for each connection.
///
/// One I/O thread reads and writes; statements are answered by a pool of a few threads, in the order of their coming.
/// Every connection, however slow or broken its client, ends within the limits below or holds no more than they say.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "postgres/session.h"

namespace millrace::http {
class Transports;
}

namespace millrace::postgres {

struct ServerOptions {
  std::string address = "127.0.0.1";        ///< An IPv4 or IPv6 address.
  std::uint16_t port = 0;                   ///< 0: the system chooses; see port().
  std::shared_ptr<http::Transports> tls{};  ///< What a client that asks for TLS gets; null: that there is none.
  /// What sessions that begin now share; null: nothing can be asked yet, and the client is told so. I/O thread.
  std::function<std::shared_ptr<const SessionContext>()> context;
  /// Statements that run at once; others wait for their turn. Describing one counts as one.
  int statements_max = 4;
  /// For one more, the oldest that has not said who it is, is closed; where all have, it is refused.
  int connections_max = 256;
  std::chrono::milliseconds startup_timeout{10'000};  ///< From connecting to being let in; then it is closed.
  /// For some 64 KiB of an answer, also to ask for them; then it is closed.
  std::chrono::milliseconds write_timeout{30'000};
  std::function<void(std::size_t open)> on_connections = [](std::size_t) {};  ///< I/O thread.
};

class Server {
 public:
  /// Listens when it returns. kInvalidInput: not an address. kTransient: the address and port are not to be had, with
  /// the system's reason.
  static Result<std::unique_ptr<Server>> Start(ServerOptions options);

  /// Stops with a deadline of now, if Stop() was not called.
  ~Server();

  std::uint16_t port() const;

  /// Takes no more connections, tells those without a statement that this is the end, lets statements end until the
  /// deadline, and ends then those that have not.
  void Stop(std::chrono::steady_clock::time_point deadline);

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::postgres
