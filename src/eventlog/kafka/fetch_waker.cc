#include <utility>

#include "eventlog/kafka/fetch_waker_internal.h"

namespace millrace::eventlog {
namespace {

constexpr int kRequestTimeoutMs = 1'000;

}  // namespace

FetchWaker::FetchWaker(Handle handle, std::int64_t queue_bytes, std::int64_t queue_messages)
    : handle_(std::move(handle)),
      queue_bytes_(static_cast<double>(queue_bytes)),
      queue_messages_(static_cast<std::size_t>(queue_messages)),
      thread_([this] { Run(); }) {}

FetchWaker::~FetchWaker() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void FetchWaker::SetPartitions(std::vector<model::TopicPartition> partitions) {
  std::lock_guard lock(mutex_);
  partitions_ = std::move(partitions);
}

void FetchWaker::OnConsumed(std::size_t bytes, std::size_t messages, std::size_t messages_left) {
  // librdkafka tells the length of its queue, not its size.
  const double message_bytes = static_cast<double>(bytes) / static_cast<double>(messages);
  const auto much = [&](std::size_t count) {
    return static_cast<double>(count) * message_bytes >= queue_bytes_ / 2 || count >= queue_messages_ / 2;
  };
  if (much(messages + messages_left)) may_have_stopped_ = true;
  if (!may_have_stopped_ || much(messages_left)) return;
  may_have_stopped_ = false;
  {
    std::lock_guard lock(mutex_);
    wanted_ = true;
  }
  changed_.notify_one();
}

void FetchWaker::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return wanted_ || stopping_; });
    if (stopping_) return;
    wanted_ = false;
    PartitionList list = MakePartitionList(partitions_.size());
    for (const model::TopicPartition& tp : partitions_) AddTo(list, tp, RD_KAFKA_OFFSET_END);
    lock.unlock();
    // Sending it is all that matters; a failure shows elsewhere.
    rd_kafka_offsets_for_times(handle_.get(), list.get(), kRequestTimeoutMs);
    lock.lock();
  }
}

}  // namespace millrace::eventlog
