#include <fcntl.h>
#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <sys/file.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/log.h"
#include "eventlog/embedded/embedded_storage_internal.h"
#include "eventlog/embedded/journal_internal.h"
#include "eventlog/rocksdb_folder.h"

namespace millrace::eventlog {
namespace {

// Appenders wait while this much is on its way to the disk.
constexpr std::size_t kPendingBytes = 20 << 20;
// Of RocksDB's tables that are open at a time, each with a descriptor: a log may be a thousand of them.
constexpr int kOpenTablesMax = 32;
// Of the cache of blocks and of the tables' indexes, which RocksDB would else hold for each open table.
constexpr std::size_t kBlockCacheBytes = 8 << 20;
// Records are read in order: larger blocks make the indexes smaller.
constexpr std::size_t kBlockBytes = 32 << 10;
constexpr std::chrono::seconds kRetentionInterval{60};
constexpr int kDefaultPartitions = 4;
constexpr const char* kPartitionsKey = "mpartitions";
constexpr const char* kFormatKey = "mformat";

template <typename Integer>
Integer BigEndian(Integer value) {
  if constexpr (std::endian::native == std::endian::little) {
    if constexpr (sizeof(Integer) == 8)
      return static_cast<Integer>(__builtin_bswap64(static_cast<std::uint64_t>(value)));
    return static_cast<Integer>(__builtin_bswap32(static_cast<std::uint32_t>(value)));
  }
  return value;
}

template <typename Integer>
void PutRaw(std::string& out, Integer value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

/// Reads what PutRaw() and PutBytes() wrote; `ok` turns false when bytes are missing.
struct Cursor {
  std::string_view left;
  bool ok = true;

  std::string_view Bytes(std::size_t size) {
    if (left.size() < size) {
      ok = false;
      return {};
    }
    const std::string_view bytes = left.substr(0, size);
    left.remove_prefix(size);
    return bytes;
  }
  template <typename Integer>
  Integer Raw() {
    Integer value{};
    const std::string_view bytes = Bytes(sizeof(value));
    if (ok) std::memcpy(&value, bytes.data(), sizeof(value));
    return value;
  }
  std::string_view Sized() { return Bytes(Raw<std::uint32_t>()); }
};

void PutSized(std::string& out, std::string_view bytes) {
  PutRaw(out, static_cast<std::uint32_t>(bytes.size()));
  out.append(bytes);
}

// In the place of a header value's length. A record is far from being so long.
constexpr std::uint32_t kNullValue = 0xFFFF'FFFF;

std::string PartitionKey(char kind, const TopicPartition& source) {
  std::string key(1, kind);
  key += source.topic;
  key += '\0';
  PutRaw(key, BigEndian(source.partition));
  return key;
}

std::string RecordKey(const TopicPartition& source, Offset offset) {
  std::string key = PartitionKey('r', source);
  PutRaw(key, BigEndian(offset));
  return key;
}

std::string PartitionValue(OffsetRange range, UnixMicros max_timestamp) {
  std::string value;
  PutRaw(value, range.begin);
  PutRaw(value, range.end);
  PutRaw(value, max_timestamp);
  return value;
}

enum : std::uint8_t { kHasKey = 1, kHasPayload = 2 };
constexpr std::size_t kMaxTimestampAt = sizeof(UnixMicros);

// Of what EncodeRecord() adds, but for headers.
constexpr std::size_t kEncodedBytes = 2 * sizeof(UnixMicros) + 1 + 2 * sizeof(std::uint32_t);

// timestamp(8) max_timestamp(8) flags(1) headers(4) {name, value}* key payload; the strings with their length before
// them, kNullValue for a null value, but for the payload, which is the rest. max_timestamp is the highest of the
// partition so far: it never falls, so the first record at or after a time is found by bisection. It is filled in when
// the order of the records is known.
std::string EncodeRecord(const OutgoingRecord& record, UnixMicros timestamp) {
  std::string value;
  value.reserve(kEncodedBytes + record.bytes() + 2 * sizeof(std::uint32_t) * record.headers.size());
  PutRaw(value, timestamp);
  PutRaw(value, UnixMicros{0});
  value += static_cast<char>((record.key ? kHasKey : 0) | (record.payload ? kHasPayload : 0));
  PutRaw(value, static_cast<std::uint32_t>(record.headers.size()));
  for (const auto& [name, header] : record.headers) {
    PutSized(value, name);
    if (header) {
      PutSized(value, *header);
    } else {
      PutRaw(value, kNullValue);
    }
  }
  PutSized(value, record.key ? std::string_view(*record.key) : std::string_view());
  if (record.payload) value += *record.payload;
  return value;
}

// Calls `take` with each name and optional value where `in` stands, and goes on behind them. As far as in.ok.
template <typename Take>
void ForEachHeader(Cursor& in, Take&& take) {
  const auto num_headers = in.Raw<std::uint32_t>();
  for (std::uint32_t i = 0; in.ok && i < num_headers; ++i) {
    const std::string_view name = in.Sized();
    const auto size = in.Raw<std::uint32_t>();
    take(name, size == kNullValue ? std::nullopt : std::optional(in.Bytes(size)));
  }
}

// `place`: of a record that DecodeRecord() has read, which ends them somewhere.
model::RecordHeaders ReadHeaders(const void* place) {
  constexpr std::size_t kUnbounded = std::size_t{1} << 40;
  Cursor in{{static_cast<const char*>(place), kUnbounded}};
  model::RecordHeaders headers;
  ForEachHeader(in, [&headers](auto name, auto value) { headers.emplace_back(name, value); });
  return headers;
}

// The record's views point into `value`.
bool DecodeRecord(std::string_view value, model::RawRecord& record) {
  Cursor in{value};
  record.timestamp = in.Raw<UnixMicros>();
  in.Raw<UnixMicros>();
  const auto flags = in.Raw<std::uint8_t>();
  const char* const headers = in.left.data();
  bool has_headers = false;
  ForEachHeader(in, [&has_headers](auto, auto) { has_headers = true; });
  if (has_headers) {
    record.headers_source = headers;
    record.read_headers = ReadHeaders;
  }
  const std::string_view key = in.Sized();
  if (flags & kHasKey) record.key = key;
  if (flags & kHasPayload) record.payload = in.left;
  return in.ok;
}

std::vector<std::string> JournalsIn(const std::string& folder) {
  std::vector<std::string> journals;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.path().extension() == ".log") journals.push_back(entry.path().string());
  }
  std::sort(journals.begin(), journals.end());
  return journals;
}

// kCorrupt: of a journal something would be left out that was acknowledged. Else whether something is damaged: the last
// write, of which nobody was told unless the disk has lost it since.
Result<bool> HasDamagedEnd(const std::string& folder, bool checks_content) {
  bool found = false;
  for (const std::string& journal : JournalsIn(folder)) {
    ASSIGN_OR_RETURN(const auto damage, DamageOf(journal, checks_content));
    if (!damage) continue;
    found = true;
    if (damage->has_more_behind) {
      return Corrupt(
          "embedded log {}: {} is damaged at byte {}, and what lies behind that was acknowledged. Restore the folder "
          "from a copy; to go on without what lies behind, cut the file off: truncate -s {} {}",
          folder, journal, damage->at, damage->at, journal);
    }
  }
  return found;
}

Status ToStatus(const rocksdb::Status& status, const std::string& path) {
  if (status.ok()) return Status::OK();
  if (status.IsCorruption()) return Corrupt("embedded log {}: {}", path, status.ToString());
  if (status.IsIOError()) return Transient("embedded log {}: {}", path, status.ToString());
  return Internal("embedded log {}: {}", path, status.ToString());
}

}  // namespace

EmbeddedStorage::EmbeddedStorage(EmbeddedOptions options) : options_(std::move(options)) {}

Result<std::shared_ptr<EmbeddedStorage>> EmbeddedStorage::Open(EmbeddedOptions options) {
  if (options.partitions && *options.partitions < 1) {
    return InvalidInput("embedded log {}: {} partitions, must be at least 1", options.path, *options.partitions);
  }
  auto storage = std::shared_ptr<EmbeddedStorage>(new EmbeddedStorage(std::move(options)));
  RETURN_NOT_OK(storage->Load());
  storage->thread_ = std::thread([raw = storage.get()] { raw->Run(); });
  return storage;
}

Result<std::shared_ptr<EmbeddedStorage>> EmbeddedStorage::OpenToRead(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path + "/CURRENT", error)) {
    return NotFound("there is no embedded log at {}: nothing was written to it yet", path);
  }
  auto storage = std::shared_ptr<EmbeddedStorage>(new EmbeddedStorage({.path = path}));
  std::string notes = (std::filesystem::temp_directory_path() / "millrace-reader-XXXXXX").string();
  if (mkdtemp(notes.data()) == nullptr) return Transient("cannot make a folder {}: {}", notes, std::strerror(errno));
  storage->notes_path_ = std::move(notes);
  RETURN_NOT_OK(storage->OpenDatabase());
  RETURN_NOT_OK(storage->CatchUp());
  return storage;
}

Status EmbeddedStorage::OpenDatabase() {
  rocksdb::Options db_options;
  const bool only_reads = !notes_path_.empty();
  db_options.create_if_missing = !only_reads;
  db_options.write_buffer_size = 16 << 20;
  db_options.max_total_wal_size = 64 << 20;
  db_options.info_log = RocksDbLogger();
  // The owner deletes tables at any time: who only reads must have them open.
  db_options.max_open_files = only_reads ? -1 : kOpenTablesMax;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(kBlockCacheBytes);
  table.cache_index_and_filter_blocks = true;
  table.block_size = kBlockBytes;
  db_options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  rocksdb::DB* db = nullptr;
  if (only_reads) {
    RETURN_NOT_OK(ToStatus(rocksdb::DB::OpenAsSecondary(db_options, options_.path, notes_path_, &db), options_.path));
  } else {
    if (const auto file = FileWithoutCurrent(options_.path)) {
      return Corrupt("embedded log {}: it has {}, and no CURRENT. Restore the folder from a copy", options_.path,
                     *file);
    }
    RETURN_NOT_OK(HasDamagedEnd(options_.path, /*checks_content=*/false).status());
    db_options.track_and_verify_wals_in_manifest = true;  // One that is missing between others is told.
    // Checks what it replays, and says so.
    db_options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
    rocksdb::Status opened = rocksdb::DB::Open(db_options, options_.path, &db);
    if (opened.IsCorruption()) {
      ASSIGN_OR_RETURN(const bool leaves_out_the_last, HasDamagedEnd(options_.path, /*checks_content=*/true));
      if (leaves_out_the_last) {
        spdlog::warn(
            "embedded log {}: its last write is damaged and is left out. After a power cut that was never "
            "acknowledged; "
            "else the disk has lost it",
            options_.path);
        db_options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
        opened = rocksdb::DB::Open(db_options, options_.path, &db);
      }
    }
    RETURN_NOT_OK(ToStatus(opened, options_.path));
  }
  db_.reset(db);
  std::string stored;
  const rocksdb::Status found = db_->Get({}, kFormatKey, &stored);
  if (found.IsNotFound()) return Status::OK();
  RETURN_NOT_OK(ToStatus(found, options_.path));
  const auto format = Cursor{stored}.Raw<std::int32_t>();
  if (format <= kLogFormat) return Status::OK();
  db_.reset();
  return Unsupported(
      "embedded log {} is of format {}, and this version of Millrace reads formats up to {}: take the "
      "version that wrote it, or a newer one",
      options_.path, format, kLogFormat);
}

Status EmbeddedStorage::Recover() {
  // Enough when the disk was full. After other failures RocksDB wants to be opened anew: what it replays then may hold
  // records of the failed write, which nobody was told of; the next write takes their places.
  if (db_ && db_->Resume().ok()) return Status::OK();
  std::unique_lock exclusive(db_mutex_);
  db_.reset();
  return OpenDatabase();
}

Status EmbeddedStorage::Load() {
  const std::string& path = options_.path;
  std::error_code ec;
  std::filesystem::create_directories(path, ec);
  if (ec) return InvalidInput("embedded log {}: cannot make the folder: {}", path, ec.message());
  // RocksDB has a lock of its own, but no kind of error of its own for it.
  const std::string lock_path = path + "/millrace.lock";
  lock_fd_ = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_fd_ < 0) return InvalidInput("embedded log {}: cannot open {}: {}", path, lock_path, std::strerror(errno));
  if (flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return Conflict("embedded log {} is in use by another process", path);
    return Transient("embedded log {}: cannot lock {}: {}", path, lock_path, std::strerror(errno));
  }

  RETURN_NOT_OK(OpenDatabase());
  std::string stored;
  const rocksdb::Status found = db_->Get({}, kPartitionsKey, &stored);
  if (!found.ok() && !found.IsNotFound()) return ToStatus(found, path);
  const auto before = found.ok() ? Cursor{stored}.Raw<std::int32_t>() : 0;
  num_partitions_ = options_.partitions.value_or(before > 0 ? before : kDefaultPartitions);
  if (before > num_partitions_) {
    return InvalidInput(
        "embedded log {} has {} partitions and cannot shrink to {}: set source.embedded.partitions to {} or more, or "
        "name another folder",
        path, before, num_partitions_, before);
  }
  if (before < num_partitions_) {
    rocksdb::WriteBatch batch;
    std::string value;
    PutRaw(value, static_cast<std::int32_t>(num_partitions_));
    batch.Put(kPartitionsKey, value);
    value.clear();
    PutRaw(value, kLogFormat);
    batch.Put(kFormatKey, value);
    rocksdb::WriteOptions synced;
    synced.sync = true;
    RETURN_NOT_OK(ToStatus(db_->Write(synced, &batch), path));
  }
  return LoadPartitions();
}

Status EmbeddedStorage::LoadPartitions() {
  const std::string& path = options_.path;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}));
  std::set<std::string> topics;
  for (it->Seek("p"); it->Valid() && it->key().starts_with("p"); it->Next()) {
    const std::string_view key(it->key().data() + 1, it->key().size() - 1);
    const std::size_t end = key.find('\0');
    Cursor number{end == std::string_view::npos ? std::string_view() : key.substr(end + 1)};
    Cursor value{{it->value().data(), it->value().size()}};
    TopicPartition source{std::string(key.substr(0, end)), BigEndian(number.Raw<std::int32_t>())};
    PartitionState state;
    state.range.begin = value.Raw<Offset>();
    state.range.end = value.Raw<Offset>();
    state.max_timestamp = value.Raw<UnixMicros>();
    if (!number.ok || !value.ok)
      return Corrupt("embedded log {}: the entry of a partition of {} is damaged", path, source.topic);
    topics.insert(source.topic);
    std::lock_guard lock(mutex_);
    partitions_[std::move(source)] = state;
  }
  RETURN_NOT_OK(ToStatus(it->status(), path));
  return Partitions({topics.begin(), topics.end()}).status();
}

Status EmbeddedStorage::CatchUp() {
  if (notes_path_.empty()) return Status::OK();
  RETURN_NOT_OK(ToStatus(db_->TryCatchUpWithPrimary(), options_.path));
  std::string stored;
  RETURN_NOT_OK(ToStatus(db_->Get({}, kPartitionsKey, &stored), options_.path));
  num_partitions_ = Cursor{stored}.Raw<std::int32_t>();
  return LoadPartitions();
}

EmbeddedStorage::~EmbeddedStorage() {
  if (thread_.joinable()) {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    pending_changed_.notify_all();
    thread_.join();
  }
  db_.reset();
  if (lock_fd_ >= 0) close(lock_fd_);
  std::error_code ignored;
  if (!notes_path_.empty()) std::filesystem::remove_all(notes_path_, ignored);
}

std::vector<std::string> EmbeddedStorage::Topics() const {
  const std::scoped_lock lock(mutex_);
  std::vector<std::string> topics;
  for (const auto& [source, state] : partitions_) {
    if (topics.empty() || topics.back() != source.topic) topics.push_back(source.topic);
  }
  return topics;
}

Result<std::vector<TopicPartition>> EmbeddedStorage::Partitions(const std::vector<std::string>& topics) {
  std::vector<TopicPartition> all;
  for (const std::string& topic : topics) {
    if (topic.empty() || topic.find('\0') != std::string::npos) {
      return InvalidInput("embedded log {}: a topic's name is empty or contains a zero byte", options_.path);
    }
    for (int p = 0; p < num_partitions_; ++p) all.push_back({topic, p});
  }
  std::sort(all.begin(), all.end());
  std::lock_guard lock(mutex_);
  for (const TopicPartition& tp : all) partitions_.try_emplace(tp);
  return all;
}

Status EmbeddedStorage::Append(OutgoingRecord record, const std::shared_ptr<Fate>& fate, OnSettled settled) {
  const int count = num_partitions_;
  if (record.partition >= count || record.partition < -1) {
    return InvalidInput("embedded log {}: {} has partitions 0 to {}, not {}", options_.path, record.topic, count - 1,
                        record.partition);
  }
  const UnixMicros timestamp = record.timestamp ? *record.timestamp : options_.clock->Now();
  std::string value = EncodeRecord(record, timestamp);
  if (value.size() > kEmbeddedRecordBytesMax) {
    return InvalidInput("embedded log {}: a record of {} has {} bytes; at most {} are allowed", options_.path,
                        record.topic, value.size(), kEmbeddedRecordBytesMax);
  }
  TopicPartition target{std::move(record.topic), record.partition};
  std::unique_lock lock(mutex_);
  if (target.partition < 0) {
    const auto hash = record.key ? static_cast<std::uint32_t>(crc32_z(
                                       0, reinterpret_cast<const Bytef*>(record.key->data()), record.key->size()))
                                 : next_partition_[target.topic]++;
    target.partition = static_cast<std::int32_t>(hash % static_cast<std::uint32_t>(count));
  }
  if (!partitions_.contains(target)) {
    lock.unlock();
    RETURN_NOT_OK(Partitions({target.topic}).status());
    lock.lock();
  }
  if (settled && pending_bytes_ >= kPendingBytes) {
    return Transient("embedded log {}: {} bytes wait to be written, and no more are taken", options_.path,
                     pending_bytes_);
  }
  settled_.wait(lock, [&] { return pending_bytes_ < kPendingBytes; });
  pending_bytes_ += value.size();
  pending_.push_back({std::move(target), timestamp, std::move(value), fate, std::move(settled)});
  ++fate->appended;
  if (pending_.size() == 1) pending_changed_.notify_one();
  return Status::OK();
}

Status EmbeddedStorage::Flush(const std::shared_ptr<Fate>& fate, std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  const std::int64_t target = fate->appended;
  if (!settled_.wait_for(lock, timeout, [&] { return fate->settled >= target; })) {
    return Transient("embedded log {}: {} records not yet durable after {} ms", options_.path, target - fate->settled,
                     timeout.count());
  }
  return std::exchange(fate->first_failure, Status::OK());
}

void EmbeddedStorage::Run() {
  auto next_retention = std::chrono::steady_clock::now();
  while (true) {
    std::vector<Pending> batch;
    bool stopping = false;
    {
      std::unique_lock lock(mutex_);
      pending_changed_.wait_until(lock, next_retention, [&] { return stopping_ || !pending_.empty(); });
      batch.swap(pending_);
      stopping = stopping_;
    }
    if (!batch.empty()) {
      const Status status = Write(batch);
      for (const Pending& p : batch) {
        if (p.settled) p.settled(status.ok() ? Result<Appended>(Appended{p.target.partition, p.offset}) : status);
      }
      std::lock_guard lock(mutex_);
      for (const Pending& p : batch) {
        pending_bytes_ -= p.value.size();
        ++p.fate->settled;
        if (!status.ok() && p.fate->first_failure.ok()) p.fate->first_failure = status;
      }
      settled_.notify_all();
      const std::uint64_t one = 1;
      for (const int fd : watchers_) static_cast<void>(!write(fd, &one, sizeof(one)));
    } else if (stopping) {
      return;
    }
    if (std::chrono::steady_clock::now() >= next_retention) {
      next_retention = std::chrono::steady_clock::now() + kRetentionInterval;
      if (const Status status = EnforceRetention(); !status.ok())
        spdlog::warn("retention failed: {}", status.message());
    }
  }
}

Status EmbeddedStorage::Write(std::vector<Pending>& batch) {
  std::lock_guard write_lock(write_mutex_);
  if (write_failed_) {
    RETURN_NOT_OK(Recover());
    write_failed_ = false;
  }
  // Partition by partition, in which keys ascend: RocksDB then puts each behind the last without a search.
  std::map<TopicPartition, std::vector<Pending*>> by_partition;
  for (Pending& p : batch) by_partition[p.target].push_back(&p);
  std::map<TopicPartition, PartitionState> changed;
  rocksdb::WriteBatch writes;
  for (const auto& [target, records] : by_partition) {
    PartitionState state;
    {
      std::lock_guard lock(mutex_);
      state = partitions_.at(target);
    }
    for (Pending* const p : records) {
      state.max_timestamp = std::max(state.max_timestamp, p->timestamp);
      std::memcpy(p->value.data() + kMaxTimestampAt, &state.max_timestamp, sizeof(state.max_timestamp));
      p->offset = state.range.end++;
      writes.Put(RecordKey(target, p->offset), p->value);
    }
    changed.emplace(target, state);
  }
  for (const auto& [tp, state] : changed)
    writes.Put(PartitionKey('p', tp), PartitionValue(state.range, state.max_timestamp));
  rocksdb::WriteOptions synced;
  synced.sync = true;
  const rocksdb::Status status = db_->Write(synced, &writes);
  if (!status.ok()) {
    write_failed_ = true;
    return WithContext(ToStatus(status, options_.path), "appending {} records", batch.size());
  }
  std::lock_guard lock(mutex_);
  for (const auto& [tp, state] : changed) partitions_.at(tp) = state;
  return Status::OK();
}

Result<OffsetRange> EmbeddedStorage::Bounds(const TopicPartition& source) const {
  std::lock_guard lock(mutex_);
  const auto at = partitions_.find(source);
  if (at == partitions_.end()) return NotFound("embedded log {} has no partition {}", options_.path, ToString(source));
  return at->second.range;
}

Result<FetchedRecords> EmbeddedStorage::Read(const TopicPartition& source, Offset next, std::size_t max_records,
                                             std::size_t max_bytes) const {
  ASSIGN_OR_RETURN(const OffsetRange bounds, Bounds(source));
  if (next < bounds.begin || next > bounds.end) {
    return Corrupt("offset {} of {} is out of range: the log holds [{}, {})", next, ToString(source), bounds.begin,
                   bounds.end);
  }
  FetchedRecords fetched;
  fetched.source = source;
  Offset end = std::min(bounds.end, next + static_cast<Offset>(max_records));
  fetched.range = {next, end};
  if (fetched.range.empty()) return fetched;

  std::shared_lock in_use(db_mutex_);
  if (!db_) return Transient("embedded log {}: closed after a failed write", options_.path);
  auto arena = std::make_shared<std::string>();
  std::vector<std::size_t> ends;
  ends.reserve(static_cast<std::size_t>(end - next));
  const std::string limit = RecordKey(source, end);
  const rocksdb::Slice limit_slice(limit);
  rocksdb::ReadOptions options;
  options.iterate_upper_bound = &limit_slice;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options));
  Offset offset = next;
  for (it->Seek(RecordKey(source, next)); it->Valid(); it->Next(), ++offset) {
    Cursor key{{it->key().data(), it->key().size()}};
    key.Bytes(key.left.size() - sizeof(Offset));
    if (BigEndian(key.Raw<Offset>()) != offset) break;
    arena->append(it->value().data(), it->value().size());
    ends.push_back(arena->size());
    if (arena->size() >= max_bytes) {
      end = fetched.range.end = ++offset;
      break;
    }
  }
  RETURN_NOT_OK(ToStatus(it->status(), options_.path));
  // Who catches up while the owner moves records from its journal to a table sees them a moment later.
  if (!notes_path_.empty()) end = fetched.range.end = offset;
  if (offset != end) {
    // Retention may have taken it since; the owner then hears of the range as it is now.
    ASSIGN_OR_RETURN(const OffsetRange now, Bounds(source));
    if (next < now.begin) return Read(source, next, max_records, max_bytes);
    return Corrupt("embedded log {}: the record at offset {} of {} is missing", options_.path, offset,
                   ToString(source));
  }
  fetched.records.resize(ends.size());
  std::size_t begin = 0;
  for (std::size_t i = 0; i < ends.size(); ++i) {
    model::RawRecord& record = fetched.records[i];
    record.offset = next + static_cast<Offset>(i);
    if (!DecodeRecord(std::string_view(*arena).substr(begin, ends[i] - begin), record)) {
      return Corrupt("embedded log {}: the record at offset {} of {} is damaged", options_.path, record.offset,
                     ToString(source));
    }
    begin = ends[i];
    fetched.bytes += record.key.value_or("").size() + record.payload.value_or("").size();
  }
  fetched.owner = std::move(arena);
  return fetched;
}

Result<Offset> EmbeddedStorage::FirstAtOrAfter(const TopicPartition& source, OffsetRange range, UnixMicros time) const {
  if (!db_) return Transient("embedded log {}: closed after a failed write", options_.path);
  std::string value;
  while (!range.empty()) {
    const Offset middle = range.begin + (range.end - range.begin) / 2;
    RETURN_NOT_OK(ToStatus(db_->Get({}, RecordKey(source, middle), &value), options_.path));
    Cursor in{value};
    in.Raw<UnixMicros>();
    const auto max_timestamp = in.Raw<UnixMicros>();
    if (!in.ok)
      return Corrupt("embedded log {}: the record at offset {} of {} is damaged", options_.path, middle,
                     ToString(source));
    if (max_timestamp >= time) {
      range.end = middle;
    } else {
      range.begin = middle + 1;
    }
  }
  return range.begin;
}

Result<Offset> EmbeddedStorage::OffsetAt(const TopicPartition& source, UnixMicros time) const {
  // Retention may not take records in the middle of the search.
  std::lock_guard write_lock(write_mutex_);
  ASSIGN_OR_RETURN(const OffsetRange range, Bounds(source));
  ASSIGN_OR_RETURN(Offset offset, FirstAtOrAfter(source, range, time));
  // The maximum may be that of a record that retention took: go on to the first that is itself late enough.
  std::string value;
  for (; offset < range.end; ++offset) {
    RETURN_NOT_OK(ToStatus(db_->Get({}, RecordKey(source, offset), &value), options_.path));
    if (Cursor{value}.Raw<UnixMicros>() >= time) break;
  }
  return offset;
}

Status EmbeddedStorage::EnforceRetention() {
  if (!options_.retention) return Status::OK();
  const UnixMicros oldest =
      options_.clock->Now() - std::chrono::duration_cast<std::chrono::microseconds>(*options_.retention).count();
  std::lock_guard write_lock(write_mutex_);
  std::map<TopicPartition, PartitionState> all;
  {
    std::lock_guard lock(mutex_);
    all = partitions_;
  }
  for (auto& [tp, state] : all) {
    ASSIGN_OR_RETURN(const Offset begin, FirstAtOrAfter(tp, state.range, oldest));
    if (begin == state.range.begin) continue;
    const Offset before = state.range.begin;
    const std::string from = RecordKey(tp, before);
    const std::string to = RecordKey(tp, begin);
    state.range.begin = begin;
    rocksdb::WriteBatch writes;
    writes.DeleteRange(from, to);
    writes.Put(PartitionKey('p', tp), PartitionValue(state.range, state.max_timestamp));
    rocksdb::WriteOptions synced;
    synced.sync = true;
    // Announced first: a reader that misses a record must find it outside the range.
    const auto announce = [this, &tp](Offset earliest) {
      std::lock_guard lock(mutex_);
      partitions_.at(tp).range.begin = earliest;
    };
    announce(begin);
    if (const rocksdb::Status status = db_->Write(synced, &writes); !status.ok()) {
      announce(before);
      write_failed_ = true;
      return ToStatus(status, options_.path);
    }
    const rocksdb::Slice from_slice(from);
    const rocksdb::Slice to_slice(to);
    RETURN_NOT_OK(
        ToStatus(rocksdb::DeleteFilesInRange(db_.get(), db_->DefaultColumnFamily(), &from_slice, &to_slice, false),
                 options_.path));
  }
  return Status::OK();
}

void EmbeddedStorage::Watch(int fd) {
  std::lock_guard lock(mutex_);
  watchers_.insert(fd);
}

void EmbeddedStorage::Unwatch(int fd) {
  std::lock_guard lock(mutex_);
  watchers_.erase(fd);
}

}  // namespace millrace::eventlog
