/// Records in RocksDB: how they lie there, and the thread that makes them durable.
///
/// Keys:  'r' topic \0 partition(4, big endian) offset(8, big endian)   -> record, see EncodeRecord()
///        'p' topic \0 partition(4, big endian)                         -> earliest(8) next(8) max_timestamp(8)
///        'm' "partitions"                                              -> count(4)
///        'm' "format"                                                  -> version(4) of all this; absent: 1
/// A batch of records and the 'p' entries that follow from it are one atomic, synced write.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "eventlog/embedded/embedded_log.h"

namespace rocksdb {
class DB;
}

namespace millrace::eventlog {

/// What became of one producer's records. Guarded by the storage's mutex.
struct Fate {
  std::int64_t appended = 0;
  std::int64_t settled = 0;
  Status first_failure;
};

/// Of the layout above; a log of a newer one is refused.
inline constexpr std::int32_t kLogFormat = 1;

class EmbeddedStorage {
 public:
  static Result<std::shared_ptr<EmbeddedStorage>> Open(EmbeddedOptions options);
  /// See EmbeddedLog::OpenToRead(). Nothing may be appended.
  static Result<std::shared_ptr<EmbeddedStorage>> OpenToRead(const std::string& path);
  /// Writes what is still queued.
  ~EmbeddedStorage();

  /// Waits while the queue is full; with `settled`, which is then called as ConfirmingProducer promises, it does not:
  /// kTransient.
  Status Append(OutgoingRecord record, const std::shared_ptr<Fate>& fate, OnSettled settled = nullptr);
  Status Flush(const std::shared_ptr<Fate>& fate, std::chrono::milliseconds timeout);

  /// In the order of their names.
  std::vector<std::string> Topics() const;

  /// All partitions of the topics, which exist from now on.
  Result<std::vector<TopicPartition>> Partitions(const std::vector<std::string>& topics);

  /// kNotFound: no such topic or partition.
  Result<OffsetRange> Bounds(const TopicPartition& source) const;

  /// At most `max_records` records from `next` on, below the durable end, and no more of them once their keys, payloads
  /// and headers have reached `max_bytes`: one at least, if there is one. `range` is what they cover. kCorrupt: `next`
  /// is outside the log, or a record within it is missing or damaged.
  Result<FetchedRecords> Read(const TopicPartition& source, Offset next, std::size_t max_records,
                              std::size_t max_bytes) const;

  Result<Offset> OffsetAt(const TopicPartition& source, UnixMicros time) const;

  Status EnforceRetention();

  /// Who only reads sees what the owner has made durable since. Nothing to do for the owner. One thread at a time,
  /// beside no Read().
  Status CatchUp();

  /// `fd` is an eventfd; it becomes readable whenever a record becomes durable.
  void Watch(int fd);
  void Unwatch(int fd);

 private:
  struct PartitionState {
    OffsetRange range;  // Of durable records.
    UnixMicros max_timestamp = 0;
  };
  struct Pending {
    TopicPartition target;
    UnixMicros timestamp;
    std::string value;
    std::shared_ptr<Fate> fate;
    OnSettled settled;
    Offset offset = 0;  // Known once it is written.
  };

  explicit EmbeddedStorage(EmbeddedOptions options);
  /// The partitions as the database has them.
  Status LoadPartitions();
  /// Takes the lock, reads what there is.
  Status Load();
  Status OpenDatabase();
  /// After a failed write: makes the database writable again.
  Status Recover();
  void Run();
  Status Write(std::vector<Pending>& batch);
  /// The first offset of `range` whose running maximum of timestamps is at or after `time`; the end if none.
  Result<Offset> FirstAtOrAfter(const TopicPartition& source, OffsetRange range, UnixMicros time) const;

  const EmbeddedOptions options_;
  int num_partitions_ = 0;  // Of each topic; constant once the database is open.
  int lock_fd_ = -1;
  std::string notes_path_;              // Who only reads: a temporary folder for what RocksDB has to say; else empty.
  mutable std::shared_mutex db_mutex_;  // Exclusive while the database is opened again, shared while it is used.
  std::unique_ptr<rocksdb::DB> db_;     // Null if that failed.

  mutable std::mutex write_mutex_;  // Around each change of the database; taken before mutex_.
  bool write_failed_ = false;       // Guarded by write_mutex_.

  mutable std::mutex mutex_;  // Guards everything below.
  std::condition_variable pending_changed_;
  std::condition_variable settled_;
  std::map<TopicPartition, PartitionState> partitions_;
  std::map<std::string, std::uint32_t> next_partition_;  // By topic, for records without a key.
  std::vector<Pending> pending_;
  std::size_t pending_bytes_ = 0;
  std::set<int> watchers_;
  bool stopping_ = false;

  std::thread thread_;
};

}  // namespace millrace::eventlog
