/// Uploads to S3: small ones as one PUT, larger ones as a multipart upload whose parts go out beside the writer.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "objectstore/object_store.h"

namespace millrace::objectstore::s3 {

class S3Client;

/// All parts but the last have this size: S3 demands 5 MiB at least and 10,000 parts at most, others that they are
/// equal.
inline constexpr std::int64_t kPartBytes = std::int64_t{8} << 20;
inline constexpr int kPartsMax = 10000;

/// The few threads that send parts, for all uploads of a store; started when first needed. Any thread.
class PartSenders {
 public:
  /// Ends when everything submitted is done.
  ~PartSenders();

  /// Waits while as many tasks are queued or running as may be: that bounds the memory of parts on their way.
  void Submit(std::function<void()> task);

 private:
  static constexpr int kThreads = 4;
  static constexpr int kTasksMax = 8;
  void Run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
  int unfinished_ = 0;
  bool stopping_ = false;
};

/// `client` and `senders` must outlive the upload; `owner` keeps them.
std::shared_ptr<Upload> MakeS3Upload(S3Client& client, PartSenders& senders, std::string key,
                                     std::shared_ptr<const void> owner);

}  // namespace millrace::objectstore::s3
