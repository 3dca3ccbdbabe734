/// Columns whose field no record has: most often a name or a path that the records spell otherwise, and the column is
/// null for ever without a word.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace millrace::ingest {

/// Warns of them in the log, once. One for all decoders of a pipeline: they tell it after each batch what they have not
/// met, until there were kRecords records. If there were fewer in the end, it warns only of columns for which the
/// records have a field of nearly the same name: others may have been about to come. Any thread.
class FieldWatch {
 public:
  static constexpr std::int64_t kRecords = 10'000;

  struct Unmet {
    std::size_t column = 0;
    std::string nearest;  ///< The field of the records whose name is most like it; empty: none is.
  };

  /// `columns`: name and field of each, the latter as a dotted path.
  explicit FieldWatch(std::vector<std::pair<std::string, std::string>> columns);
  ~FieldWatch();
  FieldWatch(const FieldWatch&) = delete;
  FieldWatch& operator=(const FieldWatch&) = delete;

  /// There were kRecords: nothing needs to be told any more. For every batch, without waiting.
  bool done() const { return done_.load(std::memory_order_relaxed); }

  /// `records` more; `unmet`: the columns whose field this decoder has met in no record so far, ascending.
  void Add(std::int64_t records, std::vector<Unmet> unmet);

 private:
  struct Column {
    std::string name;
    std::string field;
    std::string nearest;
    bool met = false;
  };
  void Warn(const Column& column) const;

  std::atomic<bool> done_{false};
  std::mutex mutex_;  // Guards the rest.
  std::vector<Column> columns_;
  std::int64_t records_ = 0;
};

}  // namespace millrace::ingest
