#include "query/committed_rows.h"

#include <arrow/array.h>
#include <arrow/util/byte_size.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <list>
#include <map>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/stoppable_lock.h"
#include "delta/data/data_file.h"
#include "delta/data/scan.h"
#include "query/row_filter.h"

namespace millrace::query {

using Batches = std::vector<std::shared_ptr<arrow::RecordBatch>>;

class PartialFileCache {
 public:
  PartialFileCache(std::int64_t bytes_max, MemoryShare memory) : bytes_max_(bytes_max), memory_(std::move(memory)) {}

  std::optional<Batches> Get(const std::string& key) {
    const std::lock_guard lock(mutex_);
    const auto it = entries_.find(key);
    if (it == entries_.end()) return std::nullopt;
    used_.splice(used_.begin(), used_, it->second);
    return it->second->batches;
  }

  std::int64_t bytes_max() const { return bytes_max_; }

  // `bytes`: of the batches; at most bytes_max().
  void Put(const std::string& key, Batches batches, std::int64_t bytes) {
    const std::lock_guard lock(mutex_);
    if (entries_.count(key) != 0) return;
    used_.push_front({key, std::move(batches), bytes});
    entries_[key] = used_.begin();
    bytes_ += bytes;
    while (bytes_ > bytes_max_) {
      bytes_ -= used_.back().bytes;
      entries_.erase(used_.back().key);
      used_.pop_back();
    }
    memory_.Set(bytes_);
  }

 private:
  struct Entry {
    std::string key;
    Batches batches;
    std::int64_t bytes = 0;
  };

  const std::int64_t bytes_max_;
  std::mutex mutex_;
  std::list<Entry> used_;  // Most recently used first.
  std::unordered_map<std::string, std::list<Entry>::iterator> entries_;
  std::int64_t bytes_ = 0;
  MemoryShare memory_;
};

std::shared_ptr<PartialFileCache> MakePartialFileCache(std::int64_t bytes_max, MemoryShare memory) {
  return std::make_shared<PartialFileCache>(bytes_max, std::move(memory));
}

namespace {

struct SelectedFile {
  std::string name;  // Of the snapshot's map: the path, and which deletion vector.
  const delta::AddFile* file;
};

bool MayHold(const std::optional<delta::TimestampBounds>& windows, const FoldRange& range) {
  if (!windows) return true;
  return (!range.from || windows->max_us >= *range.from) && (!range.to || windows->min_us < *range.to);
}

Status CheckTypes(const model::AggregateDefinition& definition, const arrow::RecordBatch& batch,
                  const std::string& of) {
  const auto schema = model::PartialSchema(definition);
  for (int i = 0; i < schema->num_fields(); ++i) {
    const auto& type = *batch.column(i)->type();
    if (type.Equals(schema->field(i)->type())) continue;
    return Corrupt("aggregate {}: column '{}' of {} is {}, not {}", definition.name, schema->field(i)->name(), of,
                   type.ToString(), schema->field(i)->type()->ToString());
  }
  return Status::OK();
}

// Calls `take` with the rows of one file after the other. Not all of them are in memory at once, and of a file that
// the cache would not keep not even its own.
Status ForEachBatch(const delta::Table& table, const delta::Snapshot& snapshot,
                    const model::AggregateDefinition& definition, const std::vector<SelectedFile>& files,
                    PartialFileCache& cache, std::int64_t* bytes_read,
                    const std::function<Status(const std::shared_ptr<arrow::RecordBatch>&)>& take) {
  const auto schema = model::PartialSchema(definition);
  for (const auto& [name, file] : files) {
    // Files of several tables share the cache, and a deletion vector makes another file of the same path: `name` has
    // it.
    const std::string key = snapshot.metadata.id + '/' + name;
    if (const auto cached = cache.Get(key)) {
      for (const auto& batch : *cached) RETURN_NOT_OK(take(batch));
      continue;
    }
    Batches kept;
    std::int64_t bytes = 0;
    const auto keep_and_take = [&](const std::shared_ptr<arrow::RecordBatch>& batch) -> Status {
      RETURN_NOT_OK(CheckTypes(definition, *batch, file->path));
      bytes += arrow::util::TotalBufferSize(*batch);
      if (bytes <= cache.bytes_max()) {
        kept.push_back(batch);
      } else {
        kept.clear();
      }
      return take(batch);
    };
    if (bytes_read != nullptr) *bytes_read += file->size;
    RETURN_NOT_OK(delta::ReadDataFile(*table.store(), snapshot, *file, schema->field_names(), keep_and_take));
    if (bytes <= cache.bytes_max()) cache.Put(key, std::move(kept), bytes);
  }
  return Status::OK();
}

}  // namespace

namespace {

std::vector<SelectedFile> FilesOf(const delta::Snapshot& snapshot, const FoldRange& range) {
  std::vector<SelectedFile> selected;
  for (const auto& [name, file] : snapshot.files) {
    if (MayHold(delta::TimestampStats(file, model::kWindowStart), range)) selected.push_back({name, &file});
  }
  return selected;
}

}  // namespace

Result<Batches> ReadCommitted(const delta::Table& table, const delta::Snapshot& snapshot,
                              const model::AggregateDefinition& definition, const FoldRange& range,
                              PartialFileCache& cache, std::int64_t* bytes_read) {
  Batches rows;
  const auto take = [&rows](const std::shared_ptr<arrow::RecordBatch>& batch) {
    rows.push_back(batch);
    return Status::OK();
  };
  RETURN_NOT_OK(ForEachBatch(table, snapshot, definition, FilesOf(snapshot, range), cache, bytes_read, take));
  return rows;
}

Result<std::shared_ptr<arrow::RecordBatch>> ReadCommittedWhere(const delta::Table& table,
                                                               const delta::SnapshotPtr& snapshot,
                                                               const model::AggregateDefinition& definition,
                                                               const model::AggregateDefinition& coarser,
                                                               const FoldRange& range, const std::string& where,
                                                               const FoldLimits& limits) {
  constexpr std::int64_t kReadAheadBytes = 16 << 20;
  const auto schema = model::PartialSchema(definition);
  ASSIGN_OR_RETURN(const auto filter, RowFilter::Make(where, schema));
  delta::ScanOptions scan{
      .columns = schema->field_names(), .where = filter->implied(), .buffer_bytes_max = kReadAheadBytes};
  if (range.from) scan.where.push_back({model::kWindowStart, delta::Comparator::kGreaterEqual, {*range.from}});
  if (range.to) scan.where.push_back({model::kWindowStart, delta::Comparator::kLess, {*range.to}});
  ASSIGN_OR_RETURN(const auto rows, delta::OpenScan(table.store(), snapshot, scan));
  Folding folding(definition, coarser, range, limits);
  for (std::shared_ptr<arrow::RecordBatch> batch;;) {
    RETURN_NOT_OK(rows->ReadNext(&batch));
    if (batch == nullptr) return folding.Rows();
    RETURN_NOT_OK(CheckTypes(definition, *batch, "the table"));
    if (!filter->is_implied_whole()) {
      ASSIGN_OR_RETURN(batch, filter->Apply(batch));
    }
    RETURN_NOT_OK(folding.Add(*batch));
  }
}

Result<std::shared_ptr<arrow::RecordBatch>> ReadCommittedInOrder(
    const delta::Table& table, const delta::SnapshotPtr& snapshot, const model::AggregateDefinition& definition,
    const model::AggregateDefinition& coarser, const FoldRange& range, const std::string& where,
    PartialFileCache& cache, std::int64_t* bytes_read, const FoldLimits& limits) {
  if (!where.empty()) return ReadCommittedWhere(table, snapshot, definition, coarser, range, where, limits);
  Folding folding(definition, coarser, range, limits);
  const auto take = [&folding](const std::shared_ptr<arrow::RecordBatch>& batch) { return folding.Add(*batch); };
  RETURN_NOT_OK(ForEachBatch(table, *snapshot, definition, FilesOf(*snapshot, range), cache, bytes_read, take));
  return folding.Rows();
}

class CommittedRows::Impl {
 public:
  Impl(std::shared_ptr<PartialFileCache> cache, std::int64_t bytes_max, MemoryShare memory)
      : cache_(std::move(cache)), bytes_max_(bytes_max), memory_(std::move(memory)) {}

  Result<std::shared_ptr<arrow::RecordBatch>> Read(const delta::Table& table, const delta::SnapshotPtr& snapshot,
                                                   const model::AggregateDefinition& definition,
                                                   const std::shared_ptr<const model::AggregateDefinition>& coarser,
                                                   const FoldRange& range, std::int64_t* bytes_read,
                                                   const FoldLimits& limits) {
    std::vector<SelectedFile> selected;
    std::vector<SelectedFile> missing;
    std::int64_t missing_bytes = 0;
    {
      ASSIGN_OR_RETURN(const auto lock, LockUnlessStopped(mutex_, limits.stop));
      Follow(snapshot);
      const Question question{coarser, OfWholePanes(range, definition.window)};
      for (const auto& known : answers_) {
        if (known.question == question) return known.rows;
      }
      const auto first = range.from ? known_.lower_bound({*range.from, ""}) : known_.begin();
      for (auto it = first; it != known_.end(); ++it) {
        const auto& [key, known] = *it;
        if (!MayHold(known.windows, range)) continue;
        selected.push_back({key.second, known.file});
        if (folded_files_.count(key.second) != 0) continue;
        missing.push_back(selected.back());
        missing_bytes += known.file->size;
      }
      // A long look back reads what it needs and leaves the recent windows, and who asks for them, alone.
      bool is_kept = MayKeep(missing_bytes);
      if (is_kept && !missing.empty()) {
        ASSIGN_OR_RETURN(is_kept, Keep(table, *snapshot, definition, missing, missing_bytes, bytes_read, limits));
      }
      if (is_kept) {
        ASSIGN_OR_RETURN(auto answer, folded_ != nullptr ? FoldKept(definition, *coarser, range, limits)
                                                         : Fold(definition, *coarser, range, {}, limits));
        if (std::ssize(answers_) == kAnswersMax) answers_.erase(answers_.begin());
        const std::int64_t bytes = arrow::util::TotalBufferSize(*answer);
        if (bytes <= bytes_max_ / kAnswersMax) answers_.push_back({question, answer, bytes});
        Measure();
        return answer;
      }
    }
    Folding folding(definition, *coarser, range, limits);
    RETURN_NOT_OK(FoldFiles(table, *snapshot, definition, selected, bytes_read, folding));
    return folding.Rows();
  }

 private:
  void Measure() {
    std::int64_t bytes = folded_bytes_;
    for (const auto& answer : answers_) bytes += answer.bytes;
    for (const auto& one : by_keys_) bytes += one.bytes;
    memory_.Set(bytes);
  }

  // A little more than there is, or what may fit and was not too much before.
  bool MayKeep(std::int64_t missing_bytes) const {
    const std::int64_t files_bytes = folded_files_bytes_ + missing_bytes;
    return missing_bytes <= bytes_max_ / 8 || files_bytes <= std::min(bytes_max_ / 2, too_many_bytes_ - 1);
  }

  // Folds these files to what is kept. False: all of it is too much, and nothing is kept any more.
  Result<bool> Keep(const delta::Table& table, const delta::Snapshot& snapshot,
                    const model::AggregateDefinition& definition, const std::vector<SelectedFile>& missing,
                    std::int64_t missing_bytes, std::int64_t* bytes_read, const FoldLimits& limits) {
    // For every question to come, and so not measured by what this one may take.
    Folding folding(definition, definition, {}, {kTableBytesFactor * bytes_max_, limits.stop});
    const auto fold = [&]() -> Result<std::shared_ptr<arrow::RecordBatch>> {
      if (folded_ != nullptr) RETURN_NOT_OK(folding.Add(*folded_));
      RETURN_NOT_OK(FoldFiles(table, snapshot, definition, missing, bytes_read, folding));
      return folding.Rows();
    };
    auto rows = fold();
    const bool is_too_large = !rows.ok() && KindOf(rows.status()) == ErrorKind::kTooLarge;
    if (!rows.ok() && !is_too_large) return rows.status();
    const std::int64_t bytes = is_too_large ? 0 : arrow::util::TotalBufferSize(**rows);
    if (is_too_large || bytes > bytes_max_) {
      too_many_bytes_ = folded_files_bytes_ + missing_bytes;
      Forget();
      Measure();
      return false;
    }
    folded_ = *std::move(rows);
    folded_bytes_ = bytes;
    folded_files_bytes_ += missing_bytes;
    by_keys_.clear();
    for (const auto& file : missing) folded_files_.insert(file.name);
    return true;
  }

  // Of folded_. Who asks by the same keys for another range again gets it from the rows of these keys in all panes,
  // which are few where there are many keys.
  Result<std::shared_ptr<arrow::RecordBatch>> FoldKept(const model::AggregateDefinition& definition,
                                                       const model::AggregateDefinition& coarser,
                                                       const FoldRange& range, const FoldLimits& limits) {
    const auto keys = NamesOf(coarser);
    const auto asked = std::find_if(by_keys_.begin(), by_keys_.end(),
                                    [&keys](const ByKeys& known) { return NamesOf(known.definition) == keys; });
    if (asked == by_keys_.end()) {
      if (std::ssize(by_keys_) == kByKeysMax) by_keys_.erase(by_keys_.begin());
      by_keys_.push_back({Coarser(definition, keys, definition.window)});
      return Fold(definition, coarser, range, {folded_}, limits);
    }
    const std::int64_t bytes_max = bytes_max_ / kByKeysMax;
    if (!std::exchange(asked->is_folded, true)) {
      auto rows = Fold(definition, asked->definition, {}, {folded_}, {kTableBytesFactor * bytes_max, limits.stop});
      if (!rows.ok() && KindOf(rows.status()) != ErrorKind::kTooLarge) {
        asked->is_folded = false;
        return rows.status();
      }
      const std::int64_t bytes = rows.ok() ? arrow::util::TotalBufferSize(**rows) : 0;
      if (rows.ok() && (*rows)->num_rows() <= folded_->num_rows() / 2 && bytes <= bytes_max) {
        asked->rows = *std::move(rows);
        asked->bytes = bytes;
      }
    }
    if (asked->rows == nullptr) return Fold(definition, coarser, range, {folded_}, limits);
    return Fold(asked->definition, coarser, range, {asked->rows}, limits);
  }

  static std::vector<std::string> NamesOf(const model::AggregateDefinition& definition) {
    std::vector<std::string> names;
    for (const auto& key : definition.keys) names.push_back(key.name);
    return names;
  }

  Status FoldFiles(const delta::Table& table, const delta::Snapshot& snapshot,
                   const model::AggregateDefinition& definition, const std::vector<SelectedFile>& files,
                   std::int64_t* bytes_read, Folding& folding) {
    const auto take = [&folding](const std::shared_ptr<arrow::RecordBatch>& batch) { return folding.Add(*batch); };
    return ForEachBatch(table, snapshot, definition, files, *cache_, bytes_read, take);
  }

  struct Known {
    const delta::AddFile* file = nullptr;  // Of snapshot_.
    std::optional<delta::TimestampBounds> windows;
  };
  // The last window that a file may hold, and its name: questions are mostly of what is new.
  using KnownKey = std::pair<UnixMicros, std::string>;

  // Between two commits a dashboard asks the same again and again. Windows, and not times: its range moves all the
  // while.
  struct Question {
    std::shared_ptr<const model::AggregateDefinition> coarser;
    FoldRange range;
    bool operator==(const Question&) const = default;
  };
  struct Answer {
    Question question;
    std::shared_ptr<arrow::RecordBatch> rows;
    std::int64_t bytes = 0;
  };
  static constexpr std::int64_t kAnswersMax = 16;
  // A table of groups takes some times the rows that come of it.
  static constexpr std::int64_t kTableBytesFactor = 4;

  // Rows of folded_ by fewer keys, in its panes.
  struct ByKeys {
    model::AggregateDefinition definition;
    bool is_folded = false;
    std::shared_ptr<arrow::RecordBatch> rows{};  // nullptr: asked for once, or not worth it.
    std::int64_t bytes = 0;
  };
  static constexpr std::int64_t kByKeysMax = 8;

  void Forget() {
    folded_ = nullptr;
    folded_bytes_ = 0;
    folded_files_.clear();
    folded_files_bytes_ = 0;
    by_keys_.clear();
  }

  // Brings known_ to this snapshot by what has changed since the last one. Rows of files that are gone are forgotten.
  void Follow(const delta::SnapshotPtr& snapshot) {
    if (snapshot_ == snapshot) return;
    if (snapshot_ == nullptr || snapshot_->metadata.id != snapshot->metadata.id) {
      Forget();
      too_many_bytes_ = std::numeric_limits<std::int64_t>::max();
      known_.clear();
      snapshot_ = std::make_shared<const delta::Snapshot>();
    }
    using Files = delta::PersistentMap<delta::AddFile>;
    const auto follow = [this](const Files::value_type* before, const Files::value_type* after) {
      if (before != nullptr) {
        const auto windows = delta::TimestampStats(before->second, model::kWindowStart);
        known_.erase({windows ? windows->max_us : INT64_MAX, before->first});
        if (after == nullptr && folded_files_.count(before->first) != 0) Forget();
      }
      if (after != nullptr) {
        const auto windows = delta::TimestampStats(after->second, model::kWindowStart);
        known_[{windows ? windows->max_us : INT64_MAX, after->first}] = {&after->second, windows};
      }
    };
    Files::ForEachDifference(snapshot_->files, snapshot->files, follow);
    answers_.clear();
    snapshot_ = snapshot;
  }

  const std::shared_ptr<PartialFileCache> cache_;
  const std::int64_t bytes_max_;
  std::timed_mutex mutex_;
  MemoryShare memory_;  // What follows is guarded by mutex_.
  delta::SnapshotPtr snapshot_;
  std::map<KnownKey, Known> known_;
  std::shared_ptr<arrow::RecordBatch> folded_;  // The rows of folded_files_; nullptr: none.
  std::int64_t folded_bytes_ = 0;               // Of these rows.
  std::unordered_set<std::string> folded_files_;
  std::int64_t folded_files_bytes_ = 0;
  std::int64_t too_many_bytes_ = std::numeric_limits<std::int64_t>::max();  // Of files whose rows were too many.
  std::vector<ByKeys> by_keys_;                                             // Of folded_; asked for first first.
  std::vector<Answer> answers_;                                             // At snapshot_; the oldest first.
};

CommittedRows::CommittedRows(std::shared_ptr<PartialFileCache> cache, std::int64_t bytes_max, MemoryShare memory)
    : impl_(std::make_unique<Impl>(std::move(cache), bytes_max, std::move(memory))) {}
CommittedRows::~CommittedRows() = default;

Result<std::shared_ptr<arrow::RecordBatch>> CommittedRows::Read(
    const delta::Table& table, const delta::SnapshotPtr& snapshot, const model::AggregateDefinition& definition,
    const std::shared_ptr<const model::AggregateDefinition>& coarser, const FoldRange& range, std::int64_t* bytes_read,
    const FoldLimits& limits) {
  return impl_->Read(table, snapshot, definition, coarser, range, bytes_read, limits);
}

}  // namespace millrace::query
