#include <arrow/array.h>
#include <arrow/util/byte_size.h>

#include <list>
#include <mutex>
#include <unordered_map>

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

Result<Batches> ReadCommitted(const delta::Table& table, const delta::Snapshot& snapshot,
                              const model::AggregateDefinition& definition, std::optional<UnixMicros> from,
                              std::optional<UnixMicros> to, PartialFileCache& cache, std::int64_t* bytes_read) {
  const auto schema = model::PartialSchema(definition);
  Batches out;
  for (const auto& [name, file] : snapshot.files) {
    if (const auto bounds = delta::TimestampStats(file, model::kWindowStart)) {
      if ((from && bounds->max_us < *from) || (to && bounds->min_us >= *to)) continue;
    }
    // Files of several tables share the cache, and a deletion vector makes another file of the same path: `name` has
    // it.
    const std::string key = snapshot.metadata.id + '/' + name;
    auto batches = cache.Get(key);
    if (!batches) {
      ASSIGN_OR_RETURN(Batches decoded, delta::ReadDataFile(*table.store(), snapshot, file, schema->field_names()));
      for (const auto& batch : decoded) {
        for (int i = 0; i < schema->num_fields(); ++i) {
          if (!batch->column(i)->type()->Equals(schema->field(i)->type())) {
            return Corrupt("aggregate {}: column '{}' of {} is {}, not {}", definition.name, schema->field(i)->name(),
                           file.path, batch->column(i)->type()->ToString(), schema->field(i)->type()->ToString());
          }
        }
      }
      if (bytes_read != nullptr) *bytes_read += file.size;
      cache.Put(key, decoded);
      batches = std::move(decoded);
    }
    out.insert(out.end(), batches->begin(), batches->end());
  }
  return out;
}

}  // namespace millrace::query
