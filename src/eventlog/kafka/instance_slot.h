/// A `group.instance.id` that a restarted process finds again, so that its group need not wait for the session of the
/// one that died: static membership, KIP-345. With Kafka's defaults that wait is 45 s.
///
/// The id is "<host>-<place>-<slot>". The slot is the lowest that no other process holds; it is held as an abstract
/// Unix socket (unix(7)), which the kernel lets go of at once when a process dies, however it dies, and which leaves
/// nothing behind. The place is a checksum of the machine's boot and the network namespace, the space in which such
/// names are unique: whoever could be given the same slot has another place. So no two live processes share an id, be
/// they containers of one name or machines of one image; and a container that is restarted within its pod keeps its
/// own. After a restart of the machine, or of a pod under another name, the id is new and the group waits for the old
/// one's session.
#pragma once

#include <optional>
#include <string>
#include <utility>

namespace millrace::eventlog {

/// Held until destroyed. Move-only. Take() from any thread; two of one process get two slots.
class InstanceSlot {
 public:
  /// Processes of one group on one machine, at most.
  static constexpr int kSlotsMax = 256;

  /// nullopt: there is no free slot, or no such sockets here (the reason is logged); the group then has a dynamic
  /// member.
  static std::optional<InstanceSlot> Take(const std::string& group);

  InstanceSlot(InstanceSlot&& other) noexcept
      : socket_(std::exchange(other.socket_, -1)), instance_id_(std::move(other.instance_id_)) {}
  InstanceSlot& operator=(InstanceSlot&&) = delete;
  ~InstanceSlot();

  /// Letters, digits, '.', '_' and '-', at most 249: what Kafka takes.
  const std::string& instance_id() const { return instance_id_; }

 private:
  InstanceSlot(int socket, std::string instance_id) : socket_(socket), instance_id_(std::move(instance_id)) {}

  int socket_ = -1;
  std::string instance_id_;
};

}  // namespace millrace::eventlog
