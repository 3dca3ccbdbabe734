/// A log that a test fills while a tap looks at it.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "model/readable_letters.h"
#include "serve/tap_source.h"
#include "testing/batch_from_json.h"

namespace millrace::serve {

inline std::shared_ptr<arrow::Schema> TappedSchema() {
  return arrow::schema({arrow::field("country", arrow::utf8()), arrow::field("_offset", arrow::int64())});
}
/// `rows`: a JSON array of [country, offset].
inline std::shared_ptr<arrow::RecordBatch> TappedRows(const std::string& rows) {
  return testing::BatchFromJson(TappedSchema(), rows);
}

/// Any thread; sources share it, and it may outlive them.
class FakeTapLog {
 public:
  void Add(Result<Tapped> seen) {
    const std::scoped_lock lock(mutex_);
    coming_.push_back(std::move(seen));
    changed_.notify_all();
  }
  Result<Tapped> Take(std::chrono::milliseconds wait, const TapLimits& limits) {
    std::unique_lock lock(mutex_);
    limits_ = limits;
    if (!changed_.wait_for(lock, wait, [this] { return !coming_.empty(); })) return Tapped();
    auto seen = std::move(coming_.front());
    coming_.pop_front();
    return seen;
  }
  /// Of the last look.
  TapLimits limits() const {
    const std::scoped_lock lock(mutex_);
    return limits_;
  }
  void NoteSources(int more) {
    const std::scoped_lock lock(mutex_);
    sources_ += more;
    changed_.notify_all();
  }
  void WaitUntilNobodyLooks() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return sources_ == 0; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Result<Tapped>> coming_;
  TapLimits limits_;
  int sources_ = 0;
};

class FakeTapSource final : public TapSource {
 public:
  explicit FakeTapSource(std::shared_ptr<FakeTapLog> log) : log_(std::move(log)) { log_->NoteSources(1); }
  ~FakeTapSource() override { log_->NoteSources(-1); }
  const std::shared_ptr<arrow::Schema>& schema() const override { return schema_; }
  const model::OffsetVector& start() const override { return start_; }
  Result<Tapped> Look(std::chrono::milliseconds wait, const TapLimits& limits) override {
    return log_->Take(wait, limits);
  }

 private:
  const std::shared_ptr<FakeTapLog> log_;
  const std::shared_ptr<arrow::Schema> schema_ = TappedSchema();
  const model::OffsetVector start_ = {{{"clicks", 0}, 7}, {{"clicks", 1}, 9}};
};

}  // namespace millrace::serve
