/// The event log in Kafka (or Redpanda), over librdkafka.
///
/// `properties` are librdkafka's own, passed through unchanged. Ours win over what the user gives: enable.auto.commit,
/// enable.auto.offset.store, auto.offset.reset and enable.partition.eof, because offsets come from the tables alone.
/// What the user leaves out gets a default of ours where librdkafka's does not fit; see kafka_consumer.cc.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/status.h"
#include "eventlog/event_log.h"

namespace millrace::eventlog {

/// What librdkafka hands over for what it has fetched.
enum class KafkaDelivery {
  kBatches,   ///< The batches that producers sent. Messages, if librdkafka was built without our patch.
  kMessages,  ///< A message for each record, as every librdkafka does.
};

/// Connects to nothing yet: Subscribe() does. kInvalidInput with librdkafka's own text: a property is wrong;
/// bootstrap.servers or group.id is missing.
///
/// The bytes of fetched records live in librdkafka's receive buffers until the FetchedRecords dies, on any thread; that
/// keeps the client's memory, but not its place in the group, alive beyond Close().
///
/// Fetched records are packed (FetchedRecords::packed): the thread that reads them takes the batches apart.
Result<std::unique_ptr<Consumer>> MakeKafkaConsumer(std::map<std::string, std::string> properties,
                                                    KafkaDelivery delivery = KafkaDelivery::kBatches);

/// Likewise, beside all groups: Subscribe() assigns every partition at once, and none is ever revoked. The broker hears
/// of no group, nothing is committed, and ReportProgress() does nothing. Properties of a group are ignored.
Result<std::unique_ptr<Consumer>> MakeKafkaReader(std::map<std::string, std::string> properties,
                                                  KafkaDelivery delivery = KafkaDelivery::kBatches);

/// linger.ms 20, idempotent, keys spread as Java clients do (murmur2), unless given.
Result<std::unique_ptr<Producer>> MakeKafkaProducer(std::map<std::string, std::string> properties);

/// Likewise. Its queue is full at queue.buffering.max.messages or, unless given, at 64 MiB
/// (queue.buffering.max.kbytes). A record waits linger.ms for others before it is sent.
Result<std::unique_ptr<ConfirmingProducer>> MakeKafkaConfirmingProducer(std::map<std::string, std::string> properties);

}  // namespace millrace::eventlog
