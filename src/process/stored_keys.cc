#include "process/stored_keys.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <system_error>
#include <utility>

#include "base/kill_point.h"
#include "base/log.h"
#include "process/checksum.h"
#include "process/packed_bytes.h"

namespace millrace::process {
namespace {

namespace fs = std::filesystem;

/// With which a journal's chain of sums begins. Another format gets another one.
constexpr std::uint64_t kJournalFormat = 0x316c616e72756f6a;  // "journal1"
constexpr std::uint64_t kBaseFrame = 1;
constexpr std::uint64_t kKeysFrame = 2;

constexpr std::string_view kLockName = "lock";
constexpr std::string_view kJournalPrefix = "journal-";
constexpr std::string_view kRunPrefix = "run-";

struct FrameHead {
  std::uint64_t kind;
  std::uint64_t size;  // Of the payload.
  std::uint64_t sum;   // Of the payload, begun with the kind and the frame before.
};

Status DiskFailure(const char* what, const fs::path& path, const std::error_code& error) {
  return Transient("dedupe: cannot {} {}: {}", what, path.string(), error.message());
}

/// The number behind `prefix` in a file's name.
template <typename Number>
std::optional<Number> NumberAfter(std::string_view prefix, const fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.starts_with(prefix)) return std::nullopt;
  Number number = 0;
  const char* const end = name.data() + name.size();
  const auto [parsed_to, error] = std::from_chars(name.data() + prefix.size(), end, number);
  if (error != std::errc() || parsed_to != end) return std::nullopt;
  return number;
}

Result<std::vector<fs::path>> FilesIn(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    files.push_back(entry->path());
  }
  if (error) return DiskFailure("list", folder, error);
  return files;
}

void PutPosition(std::string& payload, const StoredKeys::Position& position) {
  PutValue(payload, position.end);
  PutValue(payload, position.forgotten);
  PutText(payload, position.marks);
}

StoredKeys::Position TakePosition(PackedReader& reader) {
  StoredKeys::Position position;
  position.end = reader.Take<model::Offset>();
  position.forgotten = reader.Take<UnixMicros>();
  position.marks = reader.TakeText();
  return position;
}

std::string_view KeysAsBytes(std::span<const SeenKey> keys) {
  return {reinterpret_cast<const char*>(keys.data()), keys.size_bytes()};
}

/// The frame's payload and its place in the chain; nullopt: there is no whole frame any more.
Result<std::optional<std::string>> ReadFrame(const LocalFile& file, std::int64_t* at, std::uint64_t* chain,
                                             std::uint64_t kind) {
  FrameHead head = {};
  ASSIGN_OR_RETURN(auto read, file.ReadAt(*at, {reinterpret_cast<char*>(&head), sizeof head}));
  ASSIGN_OR_RETURN(const auto size, file.Size());
  const auto left = static_cast<std::uint64_t>(size - *at);
  if (read < sizeof head || head.kind != kind || head.size > left - sizeof head) return std::nullopt;
  std::string payload(head.size, '\0');
  ASSIGN_OR_RETURN(read, file.ReadAt(*at + static_cast<std::int64_t>(sizeof head), payload));
  if (read < payload.size() || head.sum != Checksum(payload, *chain ^ kind)) return std::nullopt;
  *at += static_cast<std::int64_t>(sizeof head + payload.size());
  *chain = head.sum;
  return payload;
}

}  // namespace

// ---- The folder -------------------------------------------------------------------------------------------------

Result<std::unique_ptr<StoredKeys>> StoredKeys::Open(StoredKeysOptions options) {
  const fs::path path = options.folder / kLockName;
  for (;;) {
    std::error_code error;
    fs::create_directories(options.folder, error);
    if (error) return DiskFailure("make", options.folder, error);
    auto lock = LocalFile::Open(path, O_RDWR | O_CREAT);
    if (!lock.ok()) return WithContext(lock.status(), "dedupe");
    ASSIGN_OR_RETURN(const bool locked, lock->TryLock());
    if (!locked) return nullptr;
    // Whoever removed the folder meanwhile has left us a lock that nobody else will see.
    if (lock->IsStillThere()) return std::unique_ptr<StoredKeys>(new StoredKeys(std::move(options), *std::move(lock)));
  }
}

StoredKeys::~StoredKeys() { Count(-disk_bytes_); }

Result<int> StoredKeys::RemoveUnused(const fs::path& parent, std::chrono::microseconds unused_for) {
  std::error_code error;
  if (!fs::exists(parent, error)) return 0;
  ASSIGN_OR_RETURN(const auto folders, FilesIn(parent));
  const auto before = fs::file_time_type::clock::now() - unused_for;
  int removed = 0;
  for (const auto& folder : folders) {
    if (!fs::is_directory(folder, error)) continue;
    ASSIGN_OR_RETURN(const auto files, FilesIn(folder));
    const bool is_used = std::any_of(files.begin(), files.end(), [&before](const fs::path& file) {
      std::error_code gone;
      const auto written = fs::last_write_time(file, gone);
      return !gone && written > before;
    });
    if (is_used) continue;
    ASSIGN_OR_RETURN(const auto held, Open({.folder = folder,
                                            .definition = "",
                                            .disk = std::make_shared<DiskAllowance>(0),
                                            .limited = {},
                                            .counted = {}}));
    if (held == nullptr) continue;
    fs::remove_all(folder, error);
    if (error) return DiskFailure("remove", folder, error);
    ++removed;
  }
  return removed;
}

fs::path StoredKeys::JournalPath(model::Offset from) const {
  return options_.folder / fmt::format("{}{}", kJournalPrefix, from);
}

fs::path StoredKeys::RunPath(RunNumber number) const {
  return options_.folder / fmt::format("{}{}", kRunPrefix, number);
}

Status StoredKeys::Remove(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (!error) Count(-static_cast<std::int64_t>(size));
  fs::remove(path, error);
  return error ? DiskFailure("remove", path, error) : Status::OK();
}

void StoredKeys::Count(std::int64_t bytes) {
  disk_bytes_ += bytes;
  options_.disk->Add(bytes);
}

Status StoredKeys::AskFor(std::int64_t bytes) const {
  if (options_.disk->used() + bytes <= options_.disk->limit()) return Status::OK();
  return TooLarge(
      "dedupe: the keys below {} take more than limits.disk, {} MiB. Raise it, lower dedupe.within, or share the "
      "partitions among more workers",
      options_.folder.parent_path().string(), options_.disk->limit() >> 20);
}

Status StoredKeys::Clear() {
  journal_ = {};
  runs_.clear();
  outlived_.clear();
  MeasureRuns();
  ASSIGN_OR_RETURN(const auto files, FilesIn(options_.folder));
  for (const auto& file : files) {
    if (file.filename() == kLockName) continue;
    std::error_code error;
    fs::remove_all(file, error);
    if (error) return DiskFailure("remove", file, error);
  }
  Count(-disk_bytes_);
  return Status::OK();
}

// ---- Back from the disk -----------------------------------------------------------------------------------------

Result<std::optional<StoredKeys::Position>> StoredKeys::Load(const model::OffsetRange& usable, SeenKeys& keys) {
  ASSIGN_OR_RETURN(const auto files, FilesIn(options_.folder));
  std::optional<model::Offset> from;
  std::int64_t bytes = 0;
  for (const auto& file : files) {
    std::error_code error;
    const auto size = fs::file_size(file, error);
    if (!error) bytes += static_cast<std::int64_t>(size);
    if (const auto number = NumberAfter<RunNumber>(kRunPrefix, file)) next_run_ = std::max(next_run_, *number + 1);
    const auto begun = NumberAfter<model::Offset>(kJournalPrefix, file);
    if (begun && *begun <= usable.end) from = std::max(from, begun);
  }
  Count(bytes - disk_bytes_);
  if (!from) return std::nullopt;
  ASSIGN_OR_RETURN(const bool is_usable, Replay(*from, usable, keys));
  if (!is_usable) return std::nullopt;
  RETURN_NOT_OK(RemoveOthers());
  return position_;
}

/// False: it is of no use, and the log says why.
Result<bool> StoredKeys::Replay(model::Offset from, const model::OffsetRange& usable, SeenKeys& keys) {
  const auto useless = [this](std::string_view why) {
    spdlog::info("dedupe: what {} holds is thrown away: {}", options_.folder.string(), why);
    return false;
  };
  ASSIGN_OR_RETURN(journal_, LocalFile::Open(JournalPath(from), O_RDWR | O_APPEND));
  journal_from_ = from;
  std::int64_t at = 0;
  chain_ = kJournalFormat;
  ASSIGN_OR_RETURN(const auto base, ReadFrame(journal_, &at, &chain_, kBaseFrame));
  if (!base) return useless("it is not as it was written, or of another version");
  PackedReader reader(*base);
  if (reader.TakeText() != options_.definition) return useless("dedupe, or how its columns are read, was edited");
  secret_ = reader.Take<KeyHash>();
  position_ = TakePosition(reader);
  const auto num_dumped = reader.Take<std::int64_t>();
  std::vector<std::pair<RunNumber, UnixMicros>> listed(reader.Take<std::uint32_t>());
  for (auto& run : listed) run = {reader.Take<RunNumber>(), reader.Take<UnixMicros>()};
  if (!reader.ok()) return useless("its base makes no sense");

  keys.Forget(position_.forgotten);
  num_journal_keys_ = 0;
  bool is_spilled = false;
  std::int64_t size = 0;
  for (;;) {
    ASSIGN_OR_RETURN(size, journal_.Size());
    if (at == size) break;
    std::int64_t next_at = at;
    std::uint64_t next_chain = chain_;
    ASSIGN_OR_RETURN(const auto frame, ReadFrame(journal_, &next_at, &next_chain, kKeysFrame));
    if (!frame) {
      spdlog::info("dedupe: {} is not whole after offset {}: what follows is read from the log again",
                   journal_.path().string(), position_.end);
      break;
    }
    PackedReader frame_reader(*frame);
    auto position = TakePosition(frame_reader);
    if (!frame_reader.ok() || position.end > usable.end) break;
    const std::string_view entries = frame_reader.left();
    for (std::size_t i = 0; i + sizeof(SeenKey) <= entries.size(); i += sizeof(SeenKey)) {
      SeenKey seen;
      std::memcpy(&seen, entries.data() + i, sizeof seen);
      if (keys.Add(seen.key, seen.time) != SeenKeys::Answer::kNoRoom) continue;
      // The share was larger when these were remembered, or is others' now.
      RETURN_NOT_OK(WriteRun(keys, INT64_MAX));
      is_spilled = true;
      if (keys.Add(seen.key, seen.time) == SeenKeys::Answer::kNoRoom) return useless("there is no memory for it");
    }
    num_journal_keys_ += static_cast<std::int64_t>(entries.size() / sizeof(SeenKey));
    if (position.forgotten > position_.forgotten) keys.Forget(position.forgotten);
    position_ = std::move(position);
    at = next_at;
    chain_ = next_chain;
  }
  if (num_journal_keys_ < num_dumped) return useless("it is not whole");
  if (position_.end < usable.begin) return useless("it is older than what the log is to be read again from");
  for (const auto& [number, latest] : listed) {
    if (latest < position_.forgotten) continue;
    auto run = KeyRun::Open(RunPath(number), SeedOf(number));
    if (!run.ok()) return useless(run.status().message());
    runs_.push_back({number, *std::move(run)});
  }
  MeasureRuns();
  RETURN_NOT_OK(journal_.Truncate(at));
  Count(at - size);
  if (is_spilled) RETURN_NOT_OK(WriteBase(&keys));
  return true;
}

/// Than those of the state.
Status StoredKeys::RemoveOthers() {
  std::set<fs::path> ours = {options_.folder / kLockName, JournalPath(journal_from_)};
  for (const auto& run : runs_) ours.insert(run.file.path());
  outlived_.clear();
  ASSIGN_OR_RETURN(const auto files, FilesIn(options_.folder));
  for (const auto& file : files) {
    if (!ours.contains(file)) RETURN_NOT_OK(Remove(file));
  }
  return Status::OK();
}

// ---- Onto the disk ----------------------------------------------------------------------------------------------

Status StoredKeys::Begin(const KeyHash& secret, const Position& position) {
  RETURN_NOT_OK(Clear());
  secret_ = secret;
  position_ = position;
  return WriteBase(nullptr);
}

Status StoredKeys::Append(std::span<const SeenKey> keys, const Position& position) {
  std::string payload;
  payload.reserve(position.marks.size() + 64 + keys.size_bytes());
  PutPosition(payload, position);
  payload.append(KeysAsBytes(keys));
  RETURN_NOT_OK(WriteFrame(kKeysFrame, payload));
  KillPoint("dedupe.frame");
  num_journal_keys_ += std::ssize(keys);
  position_ = position;
  DropForgottenRuns();
  return Status::OK();
}

Status StoredKeys::WriteFrame(std::uint64_t kind, std::string_view payload) {
  const FrameHead head = {.kind = kind, .size = payload.size(), .sum = Checksum(payload, chain_ ^ kind)};
  const auto bytes = static_cast<std::int64_t>(sizeof head + payload.size());
  RETURN_NOT_OK(AskFor(bytes));
  Count(bytes);
  const Status written = [&] {
    RETURN_NOT_OK(journal_.Append({reinterpret_cast<const char*>(&head), sizeof head}));
    return journal_.Append(payload);
  }();
  chain_ = head.sum;
  return WithContext(written, "dedupe");
}

/// A new journal of the last position. `keys`: that it begins with; nullptr: none.
Status StoredKeys::WriteBase(const SeenKeys* keys) {
  const fs::path path = JournalPath(position_.end);
  const fs::path unfinished = path.string() + ".tmp";
  std::error_code error;
  std::int64_t replaced = 0;  // The same position's, which this one takes the place of.
  if (fs::exists(path, error)) replaced = static_cast<std::int64_t>(fs::file_size(path, error));
  const bool has_old = !journal_.path().empty() && journal_from_ != position_.end;
  const fs::path old = JournalPath(journal_from_);
  auto opened = LocalFile::Open(unfinished, O_RDWR | O_CREAT | O_TRUNC | O_APPEND);
  if (!opened.ok()) return WithContext(opened.status(), "dedupe");
  journal_ = *std::move(opened);
  journal_from_ = position_.end;
  chain_ = kJournalFormat;
  num_journal_keys_ = keys == nullptr ? 0 : keys->Count(INT64_MAX);
  std::string payload;
  PutText(payload, options_.definition);
  PutValue(payload, secret_);
  PutPosition(payload, position_);
  PutValue(payload, num_journal_keys_);
  PutValue(payload, static_cast<std::uint32_t>(runs_.size()));
  for (const auto& run : runs_) {
    PutValue(payload, run.number);
    PutValue(payload, run.file.latest());
  }
  RETURN_NOT_OK(WriteFrame(kBaseFrame, payload));
  std::vector<SeenKey> part;
  for (std::size_t i = 0; keys != nullptr && i < SeenKeys::kParts; ++i) {
    part.clear();
    keys->Copy(i, part);
    payload.clear();
    PutPosition(payload, position_);
    payload.append(KeysAsBytes(part));
    RETURN_NOT_OK(WriteFrame(kKeysFrame, payload));
  }
  KillPoint("dedupe.base_written");
  fs::rename(unfinished, path, error);
  if (error) return DiskFailure("name", path, error);
  Count(-replaced);
  if (has_old) outlived_.push_back({old, position_.end});
  return Status::OK();
}

Status StoredKeys::Spill(SeenKeys& keys, UnixMicros last) {
  RETURN_NOT_OK(WriteRun(keys, last));
  KillPoint("dedupe.run_written");
  return WriteBase(&keys);
}

Status StoredKeys::Rewrite(const SeenKeys& keys) { return WriteBase(&keys); }

Status StoredKeys::WriteRun(SeenKeys& keys, UnixMicros last) {
  const std::int64_t num_keys = keys.Count(last);
  RETURN_NOT_OK(AskFor(KeyRunWriter::FileBytes(num_keys)));
  const RunNumber number = next_run_++;
  const auto write = [&]() -> Result<KeyRun> {
    ASSIGN_OR_RETURN(auto writer, KeyRunWriter::Make(RunPath(number), SeedOf(number), num_keys));
    std::vector<SeenKey> part;
    for (std::size_t i = 0; i < SeenKeys::kParts; ++i) {
      part.clear();
      keys.TakeOut(i, last, part);
      RETURN_NOT_OK(writer.Add(part));
    }
    return writer.Finish();
  };
  auto run = write();
  if (!run.ok()) return WithContext(run.status(), "dedupe");
  Count(run->file_bytes());
  runs_.push_back({number, *std::move(run)});
  MeasureRuns();
  spdlog::debug("dedupe: {} has {} keys that are in memory no more", runs_.back().file.path().string(), num_keys);
  return Status::OK();
}

void StoredKeys::DropForgottenRuns() {
  const auto dropped = std::stable_partition(
      runs_.begin(), runs_.end(), [this](const Run& run) { return run.file.latest() >= position_.forgotten; });
  if (dropped == runs_.end()) return;
  for (auto run = dropped; run != runs_.end(); ++run) outlived_.push_back({run->file.path(), position_.end});
  runs_.erase(dropped, runs_.end());
  MeasureRuns();
}

void StoredKeys::MeasureRuns() {
  std::int64_t bytes = 0;
  for (const auto& run : runs_) bytes += run.file.memory_bytes();
  options_.limited.Set(bytes);
  options_.counted.Set(bytes);
}

Status StoredKeys::Committed(model::Offset offset) {
  while (!outlived_.empty()) {
    const auto gone = std::find_if(outlived_.begin(), outlived_.end(),
                                   [offset](const Outlived& file) { return file.from <= offset; });
    if (gone == outlived_.end()) break;
    RETURN_NOT_OK(Remove(gone->path));
    outlived_.erase(gone);
  }
  return Status::OK();
}

std::int64_t StoredKeys::num_run_keys() const {
  std::int64_t count = 0;
  for (const auto& run : runs_) count += run.file.num_keys();
  return count;
}

Result<bool> StoredKeys::Holds(const KeyHash& key, UnixMicros from, UnixMicros to) const {
  for (const auto& run : runs_) {
    if (run.file.latest() < from || !run.file.MayHold(key)) continue;
    ASSIGN_OR_RETURN(const bool is_here, run.file.Holds(key, from, to));
    if (is_here) return true;
  }
  return false;
}

}  // namespace millrace::process
