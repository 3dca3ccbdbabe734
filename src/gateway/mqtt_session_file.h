/// What our session at a broker of MQTT is subscribed to, as far as we know: in a file, because the broker keeps the
/// session and nobody can ask it. A filter that was taken out of the configuration is unsubscribed by it.
#pragma once

#include <set>
#include <string>

#include "base/status.h"

namespace millrace::gateway {

struct MqttSubscriptions {
  std::set<std::string> asked;    ///< Was in a SUBSCRIBE, and the broker has not said that it is gone.
  std::set<std::string> granted;  ///< Of these: the broker has said that it has it.
  friend bool operator==(const MqttSubscriptions&, const MqttSubscriptions&) = default;
};

/// One thread.
class MqttSessionFile {
 public:
  /// `path` is in a folder that may not be there yet; empty: nothing is kept. `session`: names the broker and our
  /// identifier there.
  MqttSessionFile(std::string path, std::string session);

  /// Nothing if there is no file, or it is of another session. kInvalidInput: the file is not ours, or damaged.
  Result<MqttSubscriptions> Read() const;
  /// Durable when it returns; the file is always whole. kTransient: the disk does not take it.
  Status Write(const MqttSubscriptions& subscriptions) const;

 private:
  std::string path_;
  std::string session_;
};

}  // namespace millrace::gateway
