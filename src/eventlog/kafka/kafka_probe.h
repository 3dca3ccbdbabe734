/// What Kafka tells about itself to who only asks: for `millrace doctor`.
///
/// Joins no group, reads no record, commits and creates nothing: the brokers hear requests for metadata and
/// descriptions, as any administrator's tool sends them.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace millrace::eventlog {

/// Of one topic. `status`: kNotFound: there is none; kInvalidInput: we have no right to see it; then nothing else
/// holds.
struct KafkaTopicFacts {
  std::string name;
  Status status;
  int partitions = 0;
  int partitions_without_leader = 0;             ///< These can be neither read nor written now.
  std::optional<bool> may_read;                  ///< nullopt: the broker does not say.
  std::optional<std::int64_t> record_bytes_max;  ///< `max.message.bytes`, of a batch; nullopt: we may not see it.
};

/// Of one group; one that nobody has joined yet is OK with no members. `status`: kInvalidInput: no right to see it.
struct KafkaGroupFacts {
  Status status;
  std::optional<bool> may_join;  ///< nullopt: the broker does not say.
  int members = 0;
};

/// One thread.
class KafkaProbe {
 public:
  /// Waits for the first broker that answers. `properties` as of MakeKafkaConsumer(). kInvalidInput: a property is
  /// wrong, or a broker refuses the login or the certificate; kTransient: none answers. Both with the connection's own
  /// words. Each call gives up after `timeout`; brokers that have just started get as long, counted from here, to find
  /// leaders and coordinators before it is told that there is none.
  static Result<std::unique_ptr<KafkaProbe>> Connect(std::map<std::string, std::string> properties,
                                                     std::chrono::milliseconds timeout);
  virtual ~KafkaProbe() = default;

  /// "host:port", as the brokers are known to clients.
  virtual const std::vector<std::string>& brokers() const = 0;
  /// All that we may see, in the order of their names.
  virtual const std::vector<std::string>& topics() const = 0;
  /// The largest answer that this client takes (`receive.message.max.bytes`), in bytes.
  virtual std::int64_t answer_bytes_max() const = 0;

  /// kTransient, kInternal: no answer. What the broker says of the topic itself is in the facts.
  virtual Result<KafkaTopicFacts> DescribeTopic(const std::string& topic) = 0;
  virtual Result<KafkaGroupFacts> DescribeGroup(const std::string& group) = 0;
};

/// "2.15.1", of the library that is linked.
std::string KafkaClientVersion();

}  // namespace millrace::eventlog
