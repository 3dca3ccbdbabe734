/// Packets over a transport: one side of a connection, with deadlines and bounds. Knows nothing of sessions.
///
/// Everything on the thread of the transport's executor.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "http/transport.h"
#include "http/watchdog.h"
#include "mqtt/packet.h"

namespace millrace::mqtt {

/// What the buffers of many connections may hold together: of packets that have begun and are not whole. Some KiB of
/// each do not count.
struct Allowance {
  std::size_t bytes_max = 0;
  std::size_t used = 0;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  /// `allowance` outlives the connection; nullptr: its buffer has no other bound than one packet.
  Connection(std::unique_ptr<http::Transport> transport, std::size_t packet_bytes_max, Allowance* allowance = nullptr);
  ~Connection();

  void set_version(Version version) { version_ = version; }
  Version version() const { return version_; }
  http::Transport& transport() { return *transport_; }
  /// The other side's Maximum Packet Size (3.1.2.11.4). What is larger goes without its reason string, or not at all.
  void set_sent_bytes_max(std::size_t bytes) { sent_bytes_max_ = bytes; }

  /// The next packet, if it is whole within `timeout`; nullopt: however long nothing comes. A packet that has begun is
  /// whole within kPacketTimeout in any case. kTransient: too late, or too much is being read by all; kCancelled: the
  /// connection has ended, or StopReading(); else as ReadPacket(). One at a time.
  boost::asio::awaitable<Result<Packet>> Read(std::optional<std::chrono::milliseconds> timeout);
  /// Read() would not have to wait.
  bool HasPacket() const;
  /// Ends a Read() that waits, and those to come.
  void StopReading();

  /// Takes it for the next Flush(). Errors of AppendPacket(); kTooLarge: the other side does not take what is sent,
  /// or no CONNACK of its size; any other packet that it does not take is left out.
  Status Send(const Packet& packet);
  /// Writes what was taken as far as that needs no waiting. False: something is left, for a Flush().
  bool WriteNow();
  /// A Flush() runs, and takes with it what is sent meanwhile.
  bool is_writing() const { return is_writing_; }
  /// Returns when all that was taken is written. False: the connection has ended.
  boost::asio::awaitable<bool> Flush();

  /// Whatever runs ends with an error.
  void Close();
  bool is_closed() const { return is_closed_; }

  /// When anything was last read.
  std::chrono::steady_clock::time_point last_read() const { return last_read_; }

  static constexpr std::chrono::milliseconds kPacketTimeout{10'000};
  static constexpr std::chrono::milliseconds kWriteTimeout{30'000};

 private:
  boost::asio::awaitable<Status> ReadMore();
  // Of an empty buffer. False: nothing was there.
  bool ReadNow();
  void HoldAsMuchAs(std::size_t bytes);

  const std::unique_ptr<http::Transport> transport_;
  const std::size_t packet_bytes_max_;
  Allowance* const allowance_;
  Version version_ = Version::k5;
  std::size_t sent_bytes_max_ = kRemainingBytesMax + kHeadBytesMax;

  std::string input_;        // Read and not taken yet.
  std::size_t taken_ = 0;    // Of its front.
  std::size_t counted_ = 0;  // In the allowance.
  http::Watchdog read_watchdog_;
  bool is_waiting_ = false;  // Read() is, for bytes.
  bool is_reading_ended_ = false;
  std::chrono::steady_clock::time_point last_read_ = std::chrono::steady_clock::now();

  std::string output_;
  bool is_writing_ = false;
  boost::asio::steady_timer written_;  // Never expires; cancelled when a Flush() has ended.
  boost::asio::steady_timer write_deadline_;
  std::uint64_t write_round_ = 0;
  bool is_closed_ = false;
};

}  // namespace millrace::mqtt
