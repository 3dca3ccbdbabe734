/// A simulated bucket. It is as bad as real ones are and keeps what they promise (objectstore/object_store.h): what was
/// acknowledged is there for everybody, put-if-absent lets one be first. Between a request and its arrival, and between
/// that and the reply, others have turns; a request that was sent arrives though its sender dies.
#pragma once

#include <arrow/buffer.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "machine.h"
#include "objectstore/object_store.h"

namespace millrace::simulation {

/// How bad it is, of a hundred thousand requests.
struct Weather {
  Micros latency_min = 2 * kMillisecond;
  Micros latency_max = 40 * kMillisecond;
  Micros list_latency_max = 200 * kMillisecond;
  std::uint64_t throttled = 0;  ///< Nothing is done, and the caller is told so, after its client has tried for a while.
  std::uint64_t lost_replies = 0;  ///< It is done, and the caller is not told.
  std::uint64_t late = 0;          ///< It is done when the caller has long given up: up to 30 s later.
  std::uint64_t seen_twice = 0;    ///< The client repeats what has arrived: 412 after its own success.
};

/// Requests of a kind that all fail for a while.
struct Outage {
  enum class Of {
    kEverything,
    kCommits,  ///< Put-if-absent.
    kSpace,    ///< A full disk: nothing can be written, what is there can be read and deleted.
  };
  Micros until = 0;
  std::string below{};  ///< Keys that begin so; empty: all.
  Of of = Of::kEverything;
};

/// Whose request it was that arrives.
struct Sender {
  int process = 0;
  bool has_given_up = false;
};

struct Object {
  std::shared_ptr<arrow::Buffer> bytes;
  std::int64_t modified = 0;  ///< UTC microseconds, by the bucket's clock.
};

class Bucket {
 public:
  /// Called when a request arrives. Must not wait.
  using OnPut = std::function<void(const std::string& key, const std::string& bytes, Sender sender)>;
  using OnDelete = std::function<void(const std::string& key)>;

  /// What one process sees of it.
  std::shared_ptr<objectstore::ObjectStore> NewClient();

  Weather weather;
  Outage outage;
  int requests_at_once = 2;
  bool is_far = false;
  Micros last_refused = -3600 * kSecond;                           ///< A put-if-absent, by an outage.
  OnPut on_create = [](const auto&, const auto&, const auto&) {};  ///< Of objects that were not there.
  OnDelete on_delete = [](const auto&) {};
  const std::map<std::string, Object>& objects() const { return objects_; }

 private:
  friend class Client;
  std::map<std::string, Object> objects_;
};

}  // namespace millrace::simulation
