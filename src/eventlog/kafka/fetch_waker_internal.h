/// Makes librdkafka fetch again as soon as its queue has room.
///
/// When the queue is full librdkafka stops fetching, and nothing tells it that the queue was read: its broker thread
/// looks again after up to a second (fetch.queue.backoff.ms of 2.2 and later; fixed in the 2.0 that we use). A consumer
/// that drains 16 MiB in 50 ms would then stand still for most of the time. Any request to the broker wakes that
/// thread, so this asks for the partitions' end offsets, the cheapest one, whenever a queue that may have been full is
/// half empty.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

#include "eventlog/kafka/kafka_client_internal.h"

namespace millrace::eventlog {

class FetchWaker {
 public:
  /// librdkafka's queued.max.messages.kbytes, in bytes, and its queued.min.messages.
  FetchWaker(Handle handle, std::int64_t queue_bytes, std::int64_t queue_messages);
  ~FetchWaker();

  /// Where fetches go to: one request reaches every leader of these.
  void SetPartitions(std::vector<model::TopicPartition> partitions);

  /// After each poll that took something: how much, and how many messages are left in the queue.
  void OnConsumed(std::size_t bytes, std::size_t messages, std::size_t messages_left);

 private:
  void Run();

  const Handle handle_;
  const double queue_bytes_;
  const std::size_t queue_messages_;
  bool may_have_stopped_ = false;  // Of the consumer's thread.

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<model::TopicPartition> partitions_;  // Guarded by mutex_, as the next two.
  bool wanted_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace millrace::eventlog
