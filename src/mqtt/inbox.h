/// What a receiver of PUBLISH with QoS 1 has to remember: which messages are not acknowledged, so that each is only
/// once it is safe, in the order of their coming (section 4.6), and those that the sender sends again after a break are
/// not stored twice. A value: no clock, no thread.
///
/// A session outlives connections. What was on its way when one broke comes again in the next, marked DUP, under the
/// same packet identifier: if it is safe by then, it only needs its acknowledgement.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "mqtt/packet.h"

namespace millrace::mqtt {

class Inbox {
 public:
  /// Names one message as long as the session lives; never used twice.
  using Ticket = std::uint64_t;

  /// A message to acknowledge.
  struct Acked {
    std::uint16_t packet_id = 0;
    std::uint8_t code = reason::kSuccess;
    friend bool operator==(const Acked&, const Acked&) = default;
  };

  /// What is to be done with a message that has come.
  struct Arrival {
    Ticket ticket = 0;
    bool is_new = true;  ///< Store it, then Settle() it. False: that has been done, or is being done.
  };

  /// A new connection. Nothing of the one before is acknowledged any more; without its session, nothing is known of it.
  void Connected(bool session_present);

  /// A message of QoS 1. One with DUP that was there before this connection, as a message with the same fingerprint
  /// under the same identifier, is the same one.
  Arrival Arrived(std::uint16_t packet_id, bool dup, std::uint64_t fingerprint);

  /// It is safe, or will never be wanted (`code` says why not). Of a ticket that is not known any more: nothing.
  void Settle(Ticket ticket, std::uint8_t code = reason::kSuccess);

  /// It could not be stored: if it comes again, it is new.
  void Forget(Ticket ticket);

  /// Those that may be acknowledged now, in the order of their coming in this connection. They are forgotten only when
  /// their identifiers are used again, since nobody knows whether the acknowledgement arrives.
  std::vector<Acked> TakeAcks();

  /// Come in this connection and not taken by TakeAcks() yet.
  std::size_t unacknowledged() const { return waiting_.size(); }
  /// `packet_id` is one of those: the sender must not use it for another message.
  bool IsWaiting(std::uint16_t packet_id) const;

 private:
  struct Message {
    Ticket ticket = 0;
    std::uint64_t fingerprint = 0;
    std::uint64_t connection = 0;  // Of its last coming.
    bool is_waiting = false;       // In waiting_.
    bool is_settled = false;
    std::uint8_t code = reason::kSuccess;
  };

  std::uint64_t connection_ = 0;
  Ticket last_ticket_ = 0;
  std::map<std::uint16_t, Message> messages_;  // By packet identifier: 65,535 at most.
  std::map<Ticket, std::uint16_t> unsettled_;
  std::deque<std::uint16_t> waiting_;  // In the order of their coming.
};

}  // namespace millrace::mqtt
