#include "mqtt/inbox.h"

namespace millrace::mqtt {

void Inbox::Connected(bool session_present) {
  ++connection_;
  waiting_.clear();
  for (auto& [id, message] : messages_) message.is_waiting = false;
  if (session_present) return;
  messages_.clear();
  unsettled_.clear();
}

Inbox::Arrival Inbox::Arrived(std::uint16_t packet_id, bool dup, std::uint64_t fingerprint) {
  Message& message = messages_[packet_id];
  const bool is_known =
      message.ticket != 0 && dup && message.fingerprint == fingerprint && message.connection < connection_;
  if (!is_known) {
    unsettled_.erase(message.ticket);
    message = {.ticket = ++last_ticket_, .fingerprint = fingerprint};
    unsettled_[message.ticket] = packet_id;
  }
  message.connection = connection_;
  message.is_waiting = true;
  waiting_.push_back(packet_id);
  return {message.ticket, !is_known};
}

void Inbox::Settle(Ticket ticket, std::uint8_t code) {
  const auto found = unsettled_.find(ticket);
  if (found == unsettled_.end()) return;
  Message& message = messages_[found->second];
  message.is_settled = true;
  message.code = code;
  unsettled_.erase(found);
}

void Inbox::Forget(Ticket ticket) {
  const auto found = unsettled_.find(ticket);
  if (found == unsettled_.end()) return;
  messages_[found->second].ticket = 0;
  unsettled_.erase(found);
}

std::vector<Inbox::Acked> Inbox::TakeAcks() {
  std::vector<Acked> acks;
  while (!waiting_.empty()) {
    Message& message = messages_[waiting_.front()];
    if (!message.is_settled) break;
    acks.push_back({waiting_.front(), message.code});
    message.is_waiting = false;
    waiting_.pop_front();
  }
  return acks;
}

bool Inbox::IsWaiting(std::uint16_t packet_id) const {
  const auto found = messages_.find(packet_id);
  return found != messages_.end() && found->second.is_waiting;
}

}  // namespace millrace::mqtt
