#include "gateway/repeats.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/sha.h>
#include <poll.h>
#include <rocksdb/compaction_filter.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/sst_file_manager.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <set>

#include "base/log.h"
#include "eventlog/rocksdb_folder.h"

namespace millrace::gateway {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kAskTimeout{10'000};
// A gateway gives its records their time, by a clock that may be another's.
constexpr UnixMicros kLookedBack =
    std::chrono::duration_cast<std::chrono::microseconds>(kAnswersKept + std::chrono::hours(1)).count();
constexpr milliseconds kLookTimeout{60'000};  // Without a record or an end.
constexpr std::size_t kPollRecords = 10'000;
constexpr std::size_t kFoundMax = 10'000;  // Requests in memory while the log is read.
constexpr int kIdleRounds = 10;            // Of Sync(), when nobody has come.
constexpr int kRoundsWithPartitions = 60;
constexpr const char* kFormatKey = "format";  // int32; absent: 1.
constexpr std::int32_t kFormat = 1;           // docs/formats.md
constexpr const char* kOffsetsKey = "offsets";
constexpr char kRequestPrefix = 'r';

template <typename T>
void PutRaw(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// False: there is too little.
template <typename T>
bool TakeRaw(std::string_view& in, T* value) {
  if (in.size() < sizeof *value) return false;
  std::memcpy(value, in.data(), sizeof *value);
  in.remove_prefix(sizeof *value);
  return true;
}

std::string KeyOf(const RequestId& id) { return kRequestPrefix + std::string(id.digest.data(), id.digest.size()); }

/// time(8) fingerprint(8) status(4), then the answer's body, or of status 0 the places: {index(8) partition(4)
/// offset(8)}*.
struct Entry {
  UnixMicros time = 0;
  std::uint64_t fingerprint = 0;
  KeptAnswer answer;
  Places places;
};

std::string Encode(const Entry& entry) {
  std::string out;
  PutRaw(out, entry.time);
  PutRaw(out, entry.fingerprint);
  PutRaw(out, static_cast<std::int32_t>(entry.answer.status));
  if (entry.answer.status != 0) return out + entry.answer.body;
  for (const auto& [index, place] : entry.places) {
    PutRaw(out, static_cast<std::uint64_t>(index));
    PutRaw(out, place.partition);
    PutRaw(out, place.offset);
  }
  return out;
}

std::optional<Entry> Decode(std::string_view in) {
  Entry entry;
  std::int32_t status = 0;
  if (!TakeRaw(in, &entry.time) || !TakeRaw(in, &entry.fingerprint) || !TakeRaw(in, &status)) return std::nullopt;
  entry.answer.status = status;
  if (status != 0) {
    entry.answer.body = in;
    return entry;
  }
  while (!in.empty()) {
    std::uint64_t index = 0;
    eventlog::Appended place;
    if (!TakeRaw(in, &index) || !TakeRaw(in, &place.partition) || !TakeRaw(in, &place.offset)) return std::nullopt;
    entry.places[index] = place;
  }
  return entry;
}

bool IsOver(UnixMicros time, UnixMicros now) {
  return now - time > std::chrono::duration_cast<std::chrono::microseconds>(kAnswersKept).count();
}

class DropsOld final : public rocksdb::CompactionFilter {
 public:
  explicit DropsOld(const Clock& clock) : clock_(clock) {}
  const char* Name() const override { return "millrace.answers"; }
  bool Filter(int, const rocksdb::Slice& key, const rocksdb::Slice& value, std::string*, bool*) const override {
    std::string_view in(value.data(), value.size());
    UnixMicros time = 0;
    return key.starts_with(rocksdb::Slice(&kRequestPrefix, 1)) && TakeRaw(in, &time) && IsOver(time, clock_.Now());
  }

 private:
  const Clock& clock_;
};

struct Mark {
  RequestId id;
  std::uint64_t fingerprint = 0;
  std::size_t index = 0;
};

// nullopt: whoever wrote it, it is not of us.
std::optional<Mark> ParseMark(std::string_view text) {
  Mark mark;
  if (text.size() < 51 || text[32] != '-' || text[49] != '-') return std::nullopt;
  const auto number = [](std::string_view digits, int base, auto* value) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), *value, base);
    return error == std::errc() && end == digits.data() + digits.size();
  };
  for (std::size_t i = 0; i < mark.id.digest.size(); ++i) {
    std::uint8_t byte = 0;
    if (!number(text.substr(2 * i, 2), 16, &byte)) return std::nullopt;
    mark.id.digest[i] = static_cast<char>(byte);
  }
  if (!number(text.substr(33, 16), 16, &mark.fingerprint) || !number(text.substr(50), 10, &mark.index)) {
    return std::nullopt;
  }
  return mark;
}

Status Damaged(const std::string& folder, const std::string& what) {
  return Corrupt(
      "gateway.state {} is damaged: {}; move the folder away: what was answered before is then not known, and a "
      "request that is sent again is a new one",
      folder, what);
}

Status ToStatus(const rocksdb::Status& status, const std::string& folder) {
  if (status.ok()) return Status::OK();
  if (status.IsCorruption()) return Damaged(folder, status.ToString());
  return Transient("gateway.state {}: {}", folder, status.ToString());
}

std::array<unsigned char, SHA256_DIGEST_LENGTH> Sha256(std::string_view text) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return digest;
}

}  // namespace

RequestId MakeRequestId(std::string_view topic, std::string_view client, std::string_view key) {
  const auto digest = Sha256(fmt::format("{}:{}{}:{}{}", topic.size(), topic, client.size(), client, key));
  RequestId id;
  std::memcpy(id.digest.data(), digest.data(), id.digest.size());
  return id;
}

std::uint64_t FingerprintOf(std::string_view body) {
  const auto digest = Sha256(body);
  std::uint64_t fingerprint = 0;
  std::memcpy(&fingerprint, digest.data(), sizeof fingerprint);
  return fingerprint;
}

std::string MarkOf(const RequestId& id, std::uint64_t fingerprint, std::size_t index) {
  std::string out;
  for (const char byte : id.digest) out += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return out + fmt::format("-{:016x}-{}", fingerprint, index);
}

Repeats::Repeats(Options options) : options_(std::move(options)) {}

Result<std::unique_ptr<Repeats>> Repeats::Open(Options options) {
  auto repeats = std::unique_ptr<Repeats>(new Repeats(std::move(options)));
  RETURN_NOT_OK(repeats->OpenFolder());
  ASSIGN_OR_RETURN(const auto stored, repeats->StoredOffsets());
  if (stored) {
    repeats->stored_ = *stored;
  } else {
    // Of a new folder: nobody has come before.
    ASSIGN_OR_RETURN(const auto log, repeats->options_.open_log());
    ASSIGN_OR_RETURN(const auto ends, repeats->Ends(*log));
    RETURN_NOT_OK(repeats->StoreOffsets(ends));
    // Into a table: whatever becomes of what is written from now on, the log is read on from there.
    RETURN_NOT_OK(ToStatus(repeats->db_->Flush({}), repeats->options_.folder));
    repeats->ready_ = true;
  }
  repeats->thread_ = std::jthread([raw = repeats.get()](const std::stop_token& stop) { raw->Run(stop); });
  return repeats;
}

Repeats::~Repeats() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  if (db_ != nullptr) {
    if (const auto synced = db_->SyncWAL(); !synced.ok()) spdlog::warn("gateway: {}", synced.ToString());
  }
}

Status Repeats::OpenFolder() {
  std::error_code error;
  std::filesystem::create_directories(options_.folder, error);
  if (error) return InvalidInput("gateway.state {}: cannot make the folder: {}", options_.folder, error.message());
  if (const auto file = eventlog::FileWithoutCurrent(options_.folder)) {
    return Damaged(options_.folder, fmt::format("it has {}, and no CURRENT", *file));
  }
  rocksdb::Options open;
  open.create_if_missing = true;
  open.track_and_verify_wals_in_manifest = true;  // One that is missing between others is told.
  open.write_buffer_size = 4 << 20;
  open.max_total_wal_size = 16 << 20;
  open.info_log = eventlog::RocksDbLogger();
  open.max_open_files = 32;
  open.periodic_compaction_seconds = static_cast<std::uint64_t>(std::chrono::seconds(kAnswersKept).count()) / 4;
  drops_old_ = std::make_unique<DropsOld>(*options_.clock);
  open.compaction_filter = drops_old_.get();
  rocksdb::BlockBasedTableOptions table;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.block_cache = rocksdb::NewLRUCache(8 << 20);
  table.cache_index_and_filter_blocks = true;
  open.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  open.sst_file_manager.reset(rocksdb::NewSstFileManager(rocksdb::Env::Default()));
  open.sst_file_manager->SetMaxAllowedSpaceUsage(static_cast<std::uint64_t>(options_.disk_max));
  rocksdb::DB* db = nullptr;
  const auto status = rocksdb::DB::Open(open, options_.folder, &db);
  db_.reset(db);
  if (status.IsIOError() && status.ToString().find(options_.folder + "/LOCK") != std::string::npos) {
    return Conflict("gateway.state {}: another process has this folder; give each gateway its own", options_.folder);
  }
  // The folder is there: it is one of its files.
  if (status.IsPathNotFound()) return Damaged(options_.folder, status.ToString());
  RETURN_NOT_OK(ToStatus(status, options_.folder));
  return CheckFormat();
}

Status Repeats::CheckFormat() {
  std::string stored;
  const auto found = db_->Get({}, kFormatKey, &stored);
  if (found.IsNotFound()) return Status::OK();
  RETURN_NOT_OK(ToStatus(found, options_.folder));
  std::string_view in = stored;
  std::int32_t format = 0;
  if (!TakeRaw(in, &format)) return Corrupt("gateway.state {}: its format", options_.folder);
  if (format <= kFormat) return Status::OK();
  return Unsupported(
      "gateway.state {} is of format {}, and this version of Millrace reads formats up to {}: take the version that "
      "wrote it or a newer one, or name another folder, which knows no earlier answers",
      options_.folder, format, kFormat);
}

Result<eventlog::OffsetVector> Repeats::Ends(eventlog::Consumer& log) {
  // Whole metadata of a cluster is much to ask for every second. A partition that is new meanwhile is read from its
  // beginning, if it comes to that.
  if (asked_ends_++ % kRoundsWithPartitions == 0) {
    ASSIGN_OR_RETURN(partitions_, log.Partitions(options_.topics, kAskTimeout));
  }
  ASSIGN_OR_RETURN(const auto bounds, log.Bounds(partitions_, kAskTimeout));
  eventlog::OffsetVector ends;
  for (const auto& [partition, range] : bounds) ends[partition] = range.end;
  return ends;
}

Result<std::optional<eventlog::OffsetVector>> Repeats::StoredOffsets() {
  std::string stored;
  const auto found = db_->Get({}, kOffsetsKey, &stored);
  if (found.IsNotFound()) return std::nullopt;
  RETURN_NOT_OK(ToStatus(found, options_.folder));
  eventlog::OffsetVector offsets;
  std::string_view in = stored;
  while (!in.empty()) {
    std::uint32_t size = 0;
    eventlog::TopicPartition source;
    eventlog::Offset offset = 0;
    if (!TakeRaw(in, &size) || in.size() < size) return Corrupt("gateway.state {}: its offsets", options_.folder);
    source.topic = in.substr(0, size);
    in.remove_prefix(size);
    if (!TakeRaw(in, &source.partition) || !TakeRaw(in, &offset)) {
      return Corrupt("gateway.state {}: its offsets", options_.folder);
    }
    offsets[source] = offset;
  }
  return offsets;
}

Status Repeats::StoreOffsets(const eventlog::OffsetVector& next) {
  std::string out;
  for (const auto& [source, offset] : next) {
    PutRaw(out, static_cast<std::uint32_t>(source.topic.size()));
    out += source.topic;
    PutRaw(out, source.partition);
    PutRaw(out, offset);
  }
  std::string format;
  PutRaw(format, kFormat);
  rocksdb::WriteBatch batch;
  batch.Put(kFormatKey, format);
  batch.Put(kOffsetsKey, out);
  rocksdb::WriteOptions synced;
  synced.sync = true;  // And all that was written before it.
  RETURN_NOT_OK(ToStatus(db_->Write(synced, &batch), options_.folder));
  stored_ = next;
  return Status::OK();
}

std::variant<Repeats::Begun, KeptAnswer, Repeats::Refusal> Repeats::Begin(const RequestId& id,
                                                                          std::uint64_t fingerprint) {
  Begun begun;
  {
    const std::scoped_lock lock(mutex_);
    if (const auto ticket = tickets_.find(id); ticket != tickets_.end()) {
      const Request& other = running_.at(ticket->second);
      if (other.fingerprint != fingerprint) return Refusal::kOtherBody;
      return other.lost ? Refusal::kNotYet : Refusal::kRunning;
    }
    if (!ready_) return Refusal::kNotYet;
    begun.ticket = next_ticket_++;
    running_[begun.ticket] = {.id = id, .fingerprint = fingerprint};
    tickets_[id] = begun.ticket;
  }
  // Whoever comes with the same key meanwhile finds the ticket.
  const auto give_back = [&](auto result) -> std::variant<Begun, KeptAnswer, Refusal> {
    const std::scoped_lock lock(mutex_);
    running_.erase(begun.ticket);
    tickets_.erase(id);
    return result;
  };
  std::string stored;
  const auto found = db_->Get({}, KeyOf(id), &stored);
  if (found.IsNotFound()) return begun;
  if (!found.ok()) {
    spdlog::error("gateway: {}", ToStatus(found, options_.folder).message());
    return give_back(Refusal::kDisk);
  }
  auto entry = Decode(stored);
  if (!entry || IsOver(entry->time, options_.clock->Now())) return begun;
  if (entry->fingerprint != fingerprint) return give_back(Refusal::kOtherBody);
  if (entry->answer.status != 0) return give_back(std::move(entry->answer));
  begun.there = std::move(entry->places);
  return begun;
}

Status Repeats::Put(const RequestId& id, std::uint64_t fingerprint, const KeptAnswer& answer, const Places& places) {
  const Entry entry{options_.clock->Now(), fingerprint, answer, places};
  return ToStatus(db_->Put({}, KeyOf(id), Encode(entry)), options_.folder);
}

Status Repeats::End(std::uint64_t ticket, const KeptAnswer& answer, const Places& places) {
  Request request;
  {
    const std::scoped_lock lock(mutex_);
    request = running_.at(ticket);
  }
  if (answer.status != 0 || !places.empty()) {
    if (const Status put = Put(request.id, request.fingerprint, answer, places); !put.ok()) {
      Lost(ticket);
      return put;
    }
  }
  const std::scoped_lock lock(mutex_);
  running_.erase(ticket);
  tickets_.erase(request.id);
  return Status::OK();
}

Status Repeats::Answered(std::uint64_t ticket, const KeptAnswer& answer) { return End(ticket, answer, {}); }

Status Repeats::CutOff(std::uint64_t ticket, const Places& places) { return End(ticket, {}, places); }

void Repeats::Lost(std::uint64_t ticket) {
  const std::scoped_lock lock(mutex_);
  auto& request = running_.at(ticket);
  request.lost = true;
  request.lost_at = options_.clock->SteadyNow();
}

bool Repeats::ready() const {
  const std::scoped_lock lock(mutex_);
  return ready_;
}

bool Repeats::HasLost() const {
  const auto before = options_.clock->SteadyNow() - options_.arrives_within;
  const std::scoped_lock lock(mutex_);
  return std::any_of(running_.begin(), running_.end(),
                     [&](const auto& one) { return one.second.lost && one.second.lost_at <= before; });
}

Status Repeats::PutFound(const std::map<RequestId, Found>& found) {
  for (const auto& [id, what] : found) {
    {
      const std::scoped_lock lock(mutex_);
      const auto ticket = tickets_.find(id);
      if (ticket != tickets_.end() && !running_.at(ticket->second).lost) continue;  // It ends by itself.
    }
    std::string stored;
    const auto before = db_->Get({}, KeyOf(id), &stored);
    if (!before.ok() && !before.IsNotFound()) return ToStatus(before, options_.folder);
    auto entry = before.ok() ? Decode(stored) : std::nullopt;
    if (entry && IsOver(entry->time, options_.clock->Now())) entry = std::nullopt;
    if (entry && entry->answer.status != 0) continue;
    Places places = what.places;
    if (entry && entry->fingerprint == what.fingerprint) places.merge(entry->places);
    RETURN_NOT_OK(Put(id, what.fingerprint, {}, places));
  }
  return Status::OK();
}

Status Repeats::Forget(const eventlog::OffsetVector& begins) {
  const std::string first(1, kRequestPrefix);
  const std::string behind(1, kRequestPrefix + 1);
  RETURN_NOT_OK(ToStatus(db_->DeleteRange({}, db_->DefaultColumnFamily(), first, behind), options_.folder));
  return StoreOffsets(begins);
}

Status Repeats::LookIntoLog(const std::stop_token& stop) {
  const auto begun = options_.clock->SteadyNow();
  ASSIGN_OR_RETURN(const auto log, options_.open_log());
  RETURN_NOT_OK(log->Subscribe(options_.topics, kAskTimeout));
  ASSIGN_OR_RETURN(const auto partitions, log->Partitions(options_.topics, kAskTimeout));
  ASSIGN_OR_RETURN(const auto bounds, log->Bounds(partitions, kAskTimeout));
  for (const auto& [source, offset] : stored_) {
    const auto range = bounds.find(source);
    const bool is_wanted = std::ranges::find(options_.topics, source.topic) != options_.topics.end();
    if (!is_wanted || (range != bounds.end() && range->second.end >= offset)) continue;
    const std::string end = range == bounds.end() ? "is not there" : fmt::format("ends at {}", range->second.end);
    spdlog::warn(
        "gateway.state {}: {} {}, and was known up to {}: the log was made anew or has lost records. What was answered "
        "is "
        "forgotten, and read again from what the log holds",
        options_.folder, model::ToString(source), end, offset);
    eventlog::OffsetVector begins;
    for (const auto& [partition, there] : bounds) begins[partition] = there.begin;
    for (const auto& [other, known_up_to] : stored_) begins.try_emplace(other, 0);
    RETURN_NOT_OK(Forget(begins));
    break;
  }
  std::set<std::string> known;
  for (const auto& [source, offset] : stored_) known.insert(source.topic);
  // What is older is remembered of nobody.
  ASSIGN_OR_RETURN(const auto recent, log->OffsetsAt(options_.clock->Now() - kLookedBack, partitions, kAskTimeout));
  eventlog::OffsetVector start;
  std::set<eventlog::TopicPartition> open;
  for (const auto& [source, range] : bounds) {
    const auto stored = stored_.find(source);
    // A topic that the folder does not know had no gateway before; a partition of another is new.
    const auto known_up_to = stored != stored_.end()        ? stored->second
                             : known.contains(source.topic) ? range.begin
                                                            : range.end;
    start[source] = std::clamp(std::max(known_up_to, recent.at(source)), range.begin, range.end);
    if (start[source] < range.end) open.insert(source);
  }
  static_cast<void>(log->Poll(1));  // The assignment.
  RETURN_NOT_OK(log->Start(start).status());
  const auto note_reached = [&](const eventlog::TopicPartition& source, eventlog::Offset next) {
    if (const auto range = bounds.find(source); range != bounds.end() && next >= range->second.end) open.erase(source);
  };
  std::map<RequestId, Found> found;
  model::FetchedRecords unpacked;
  auto moved = begun;
  const auto see = [&](const model::FetchedRecords& records) -> Status {
    for (const auto& record : records.records) {
      for (const auto& [name, value] : record.Headers()) {
        const auto mark = name == kMark && value ? ParseMark(*value) : std::nullopt;
        if (!mark) continue;
        found[mark->id].fingerprint = mark->fingerprint;
        found[mark->id].places[mark->index] = {records.source.partition, record.offset};
      }
    }
    if (found.size() < kFoundMax) return Status::OK();
    RETURN_NOT_OK(PutFound(found));
    found.clear();
    return Status::OK();
  };
  while (!open.empty()) {
    if (stop.stop_requested()) return Cancelled("the gateway stops");
    if (options_.clock->SteadyNow() - moved > kLookTimeout) return Transient("the log gives no records");
    pollfd wake{log->wake_fd(), POLLIN, 0};
    static_cast<void>(::poll(&wake, 1, 100));
    for (const auto& event : log->Poll(kPollRecords)) {
      if (const auto* failed = std::get_if<eventlog::Failed>(&event)) {
        if (KindOf(failed->status) != ErrorKind::kTransient) return failed->status;
      } else if (const auto* end = std::get_if<eventlog::ReachedEnd>(&event)) {
        note_reached(end->source, end->end);
      } else if (const auto* fetched = std::get_if<model::FetchedRecords>(&event)) {
        RETURN_NOT_OK(model::ForEachPiece(*fetched, kPollRecords, eventlog::kPollBytesMax, &unpacked, see));
        note_reached(fetched->source, fetched->range.end);
        moved = options_.clock->SteadyNow();
      }
    }
  }
  RETURN_NOT_OK(PutFound(found));
  const std::scoped_lock lock(mutex_);
  std::erase_if(running_, [&](const auto& one) {
    const bool is_found = one.second.lost && one.second.lost_at <= begun - options_.arrives_within;
    if (is_found) tickets_.erase(one.second.id);
    return is_found;
  });
  return Status::OK();
}

Status Repeats::Sync(eventlog::Consumer& log) {
  if (!checkpoint_) {
    ASSIGN_OR_RETURN(auto ends, Ends(log));
    for (const auto& [source, end] : ends) {
      const auto stored = stored_.find(source);
      if (stored == stored_.end() || end >= stored->second) continue;
      // Made anew, or it has lost records: as after a start, nobody is answered before it has been looked into.
      const std::scoped_lock lock(mutex_);
      ready_ = false;
      return Status::OK();
    }
    const std::scoped_lock lock(mutex_);
    checkpoint_ = {std::move(ends), next_ticket_};  // Whoever begins from now on is behind these ends.
  }
  {
    const std::scoped_lock lock(mutex_);
    if (!running_.empty() && running_.begin()->first < checkpoint_->ticket) return Status::OK();
  }
  auto next = std::exchange(checkpoint_, std::nullopt)->next;
  // What lies behind these of topics that are not ours at the moment is read when they are again.
  for (const auto& [source, offset] : stored_) {
    if (std::ranges::find(options_.topics, source.topic) == options_.topics.end()) next.emplace(source, offset);
  }
  return next == stored_ ? ToStatus(db_->SyncWAL(), options_.folder) : StoreOffsets(next);
}

void Repeats::Run(const std::stop_token& stop) {
  std::string told;
  const auto tell = [&told](const Status& status) {
    if (!status.ok() && status.message() != told && KindOf(status) != ErrorKind::kCancelled) {
      spdlog::warn("gateway: {}", status.message());
    }
    told = status.ok() ? "" : status.message();
    return status.ok();
  };
  const auto wait = [&](milliseconds time) {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop, time, [&stop] { return stop.stop_requested(); });
  };
  if (!ready()) wait(options_.arrives_within);
  std::unique_ptr<eventlog::Consumer> log;
  std::uint64_t last_ticket = 0;
  for (int idle = kIdleRounds; !stop.stop_requested(); wait(options_.sync_every)) {
    if (!ready() || HasLost()) {
      if (!tell(LookIntoLog(stop))) continue;
      const std::scoped_lock lock(mutex_);
      ready_ = true;
    }
    std::uint64_t ticket = 0;
    {
      const std::scoped_lock lock(mutex_);
      ticket = next_ticket_;
    }
    idle = ticket == std::exchange(last_ticket, ticket) ? idle + 1 : 0;
    if (idle > 1 && idle < kIdleRounds && !checkpoint_) continue;
    if (idle >= kIdleRounds) idle = 1;
    if (log == nullptr) {
      auto opened = options_.open_log();
      if (!tell(opened.status())) continue;
      log = *std::move(opened);
    }
    tell(Sync(*log));
  }
  if (log != nullptr) log->Close();
}

}  // namespace millrace::gateway
