#include <arrow/array.h>
#include <arrow/util/byte_size.h>

#include <algorithm>
#include <list>
#include <map>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "aggregate/partial_table.h"
#include "base/stoppable_lock.h"
#include "delta/data_file.h"
#include "query/aggregate_query.h"

namespace millrace::query {

using Batches = std::vector<std::shared_ptr<arrow::RecordBatch>>;

class PartialFileCache {
 public:
  explicit PartialFileCache(std::int64_t bytes_max) : bytes_max_(bytes_max) {}

  std::optional<Batches> Get(const std::string& key) {
    const std::lock_guard lock(mutex_);
    const auto it = entries_.find(key);
    if (it == entries_.end()) return std::nullopt;
    used_.splice(used_.begin(), used_, it->second);
    return it->second->batches;
  }

  // A file larger than the whole cache is not kept.
  void Put(const std::string& key, const Batches& batches) {
    std::int64_t bytes = 0;
    for (const auto& batch : batches) bytes += arrow::util::TotalBufferSize(*batch);
    const std::lock_guard lock(mutex_);
    if (bytes > bytes_max_ || entries_.count(key) != 0) return;
    used_.push_front({key, batches, bytes});
    entries_[key] = used_.begin();
    bytes_ += bytes;
    while (bytes_ > bytes_max_) {
      bytes_ -= used_.back().bytes;
      entries_.erase(used_.back().key);
      used_.pop_back();
    }
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
};

std::shared_ptr<PartialFileCache> MakePartialFileCache(std::int64_t bytes_max) {
  return std::make_shared<PartialFileCache>(bytes_max);
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

Result<Batches> ReadFiles(const delta::Table& table, const delta::Snapshot& snapshot,
                          const model::AggregateDefinition& definition, const std::vector<SelectedFile>& files,
                          PartialFileCache& cache, std::int64_t* bytes_read, const std::stop_token& stop) {
  const auto schema = model::PartialSchema(definition);
  Batches out;
  for (const auto& [name, file] : files) {
    if (stop.stop_requested()) return Cancelled("the question is not waited for any more");
    // Files of several tables share the cache, and a deletion vector makes another file of the same path: `name` has
    // it.
    const std::string key = snapshot.metadata.id + '/' + name;
    auto batches = cache.Get(key);
    if (!batches) {
      ASSIGN_OR_RETURN(Batches decoded, delta::ReadDataFile(*table.store(), snapshot, *file, schema->field_names()));
      for (const auto& batch : decoded) {
        for (int i = 0; i < schema->num_fields(); ++i) {
          if (!batch->column(i)->type()->Equals(schema->field(i)->type())) {
            return Corrupt("aggregate {}: column '{}' of {} is {}, not {}", definition.name, schema->field(i)->name(),
                           file->path, batch->column(i)->type()->ToString(), schema->field(i)->type()->ToString());
          }
        }
      }
      if (bytes_read != nullptr) *bytes_read += file->size;
      cache.Put(key, decoded);
      batches = std::move(decoded);
    }
    out.insert(out.end(), batches->begin(), batches->end());
  }
  return out;
}

}  // namespace

Result<Batches> ReadCommitted(const delta::Table& table, const delta::Snapshot& snapshot,
                              const model::AggregateDefinition& definition, const FoldRange& range,
                              PartialFileCache& cache, std::int64_t* bytes_read, const std::stop_token& stop) {
  std::vector<SelectedFile> selected;
  for (const auto& [name, file] : snapshot.files) {
    if (MayHold(delta::TimestampStats(file, model::kWindowStart), range)) selected.push_back({name, &file});
  }
  return ReadFiles(table, snapshot, definition, selected, cache, bytes_read, stop);
}

class CommittedRows::Impl {
 public:
  Impl(std::shared_ptr<PartialFileCache> cache, std::int64_t bytes_max)
      : cache_(std::move(cache)), bytes_max_(bytes_max) {}

  Result<std::shared_ptr<arrow::RecordBatch>> Read(const delta::Table& table, const delta::SnapshotPtr& snapshot,
                                                   const model::AggregateDefinition& definition,
                                                   const std::shared_ptr<const model::AggregateDefinition>& coarser,
                                                   const FoldRange& range, std::int64_t* bytes_read,
                                                   const std::stop_token& stop) {
    std::vector<SelectedFile> selected;
    std::vector<SelectedFile> missing;
    std::int64_t missing_bytes = 0;
    {
      ASSIGN_OR_RETURN(const auto lock, LockUnlessStopped(mutex_, stop));
      Follow(snapshot);
      const Question question{coarser, FirstWindow(range.from, definition), FirstWindow(range.to, definition)};
      for (const auto& [asked, answer] : answers_) {
        if (asked == question) return answer;
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
      if (missing_bytes <= bytes_max_ / 8) {
        ASSIGN_OR_RETURN(auto rows, ReadFiles(table, *snapshot, definition, missing, *cache_, bytes_read, stop));
        if (folded_ != nullptr) rows.push_back(folded_);
        if (!missing.empty()) {
          ASSIGN_OR_RETURN(auto folded, Fold(definition, definition, {}, rows, stop));
          rows = {folded};
          if (arrow::util::TotalBufferSize(*folded) > bytes_max_) {
            Forget();
          } else {
            folded_ = std::move(folded);
            for (const auto& file : missing) folded_files_.insert(file.name);
          }
        }
        ASSIGN_OR_RETURN(auto answer, Fold(definition, *coarser, range, rows, stop));
        if (std::ssize(answers_) == kAnswersMax) answers_.erase(answers_.begin());
        if (arrow::util::TotalBufferSize(*answer) <= bytes_max_ / kAnswersMax) answers_.emplace_back(question, answer);
        return answer;
      }
    }
    ASSIGN_OR_RETURN(const auto rows, ReadFiles(table, *snapshot, definition, selected, *cache_, bytes_read, stop));
    return Fold(definition, *coarser, range, rows, stop);
  }

 private:
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
    std::optional<UnixMicros> from;
    std::optional<UnixMicros> to;
    bool operator==(const Question&) const = default;
  };
  static constexpr std::int64_t kAnswersMax = 16;

  static std::optional<UnixMicros> FirstWindow(const std::optional<UnixMicros>& at_or_after,
                                               const model::AggregateDefinition& definition) {
    if (!at_or_after) return std::nullopt;
    const UnixMicros start = aggregate::WindowStart(*at_or_after, definition.window_size_us);
    return start == *at_or_after ? start : start + definition.window_size_us;
  }

  void Forget() {
    folded_ = nullptr;
    folded_files_.clear();
  }

  // Brings known_ to this snapshot by what has changed since the last one. Rows of files that are gone are forgotten.
  void Follow(const delta::SnapshotPtr& snapshot) {
    if (snapshot_ == snapshot) return;
    if (snapshot_ == nullptr || snapshot_->metadata.id != snapshot->metadata.id) {
      Forget();
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
  delta::SnapshotPtr snapshot_;
  std::map<KnownKey, Known> known_;
  std::shared_ptr<arrow::RecordBatch> folded_;  // The rows of folded_files_; nullptr: none.
  std::unordered_set<std::string> folded_files_;
  std::vector<std::pair<Question, std::shared_ptr<arrow::RecordBatch>>> answers_;  // At snapshot_; the oldest first.
};

CommittedRows::CommittedRows(std::shared_ptr<PartialFileCache> cache, std::int64_t bytes_max)
    : impl_(std::make_unique<Impl>(std::move(cache), bytes_max)) {}
CommittedRows::~CommittedRows() = default;

Result<std::shared_ptr<arrow::RecordBatch>> CommittedRows::Read(
    const delta::Table& table, const delta::SnapshotPtr& snapshot, const model::AggregateDefinition& definition,
    const std::shared_ptr<const model::AggregateDefinition>& coarser, const FoldRange& range, std::int64_t* bytes_read,
    const std::stop_token& stop) {
  return impl_->Read(table, snapshot, definition, coarser, range, bytes_read, stop);
}

}  // namespace millrace::query
