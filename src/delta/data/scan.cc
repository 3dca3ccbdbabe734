#include "delta/data/scan.h"

#include <arrow/util/byte_size.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "delta/data/file_pruning.h"
#include "delta/data/file_scan_internal.h"

namespace millrace::delta {
namespace {

// Row groups as tasks in the order of the answer. Threads take the first task that nobody has taken, opening the next
// file when there is none; the caller takes batches from the first task that is not exhausted. A thread that is ahead
// of the caller waits while too much is buffered; the one whose task is first never waits with nothing buffered, so the
// stream always moves.
//
// Opening a file is a wait for its footer, reading one takes memory and a core: many threads may open at once, few
// read.
class ScanReader final : public arrow::RecordBatchReader {
 public:
  ScanReader(std::shared_ptr<objectstore::ObjectStore> store, std::shared_ptr<const ScanPlan> plan,
             std::vector<AddFile> files, const ScanOptions& options, int num_readers, ScanCounts* counts)
      : store_(std::move(store)),
        plan_(std::move(plan)),
        buffer_bytes_max_(options.buffer_bytes_max),
        num_readers_(num_readers),
        counts_(counts),
        files_(std::move(files)),
        rows_left_(options.limit.value_or(INT64_MAX)) {}

  ~ScanReader() override { (void)Close(); }

  void Start(int num_threads) {
    for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Work(); });
  }

  std::shared_ptr<arrow::Schema> schema() const override { return plan_->schema; }

  Status ReadNext(std::shared_ptr<arrow::RecordBatch>* out) override {
    *out = nullptr;
    std::unique_lock lock(mutex_);
    while (rows_left_ > 0) {
      changed_.wait(lock, [this] { return HeadHasNews(); });
      if (tasks_.empty()) break;  // Every file was opened, every task is exhausted.
      Task& head = *tasks_.begin()->second;
      if (!head.batches.empty()) {
        auto batch = std::move(head.batches.front());
        head.batches.pop_front();
        buffered_bytes_ -= arrow::util::TotalBufferSize(*batch);
        changed_.notify_all();
        if (batch->num_rows() > rows_left_) batch = batch->Slice(0, rows_left_);
        rows_left_ -= batch->num_rows();
        *out = std::move(batch);
        if (rows_left_ == 0) stop_ = true;
        return Status::OK();
      }
      if (!head.status.ok()) {
        // The rows before the failure have been handed out; after it there are none.
        const Status status = head.status;
        rows_left_ = 0;
        stop_ = true;
        changed_.notify_all();
        return status;
      }
      tasks_.erase(tasks_.begin());
      changed_.notify_all();
    }
    stop_ = true;
    changed_.notify_all();
    return Status::OK();
  }

  Status Close() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
      rows_left_ = 0;
      changed_.notify_all();
    }
    for (auto& thread : threads_) thread.join();
    threads_.clear();
    return Status::OK();
  }

 private:
  struct Task {
    std::shared_ptr<FileScan> file;  // Null: the file is still to be opened.
    int group = 0;
    bool taken = false;
    bool finished = false;
    Status status;
    std::deque<std::shared_ptr<arrow::RecordBatch>> batches;
  };
  using Place = std::pair<std::size_t, int>;  // File, row group (-1: the file is being opened).

  // With mutex_ held.
  bool HeadHasNews() const {
    if (tasks_.empty()) return next_file_ == files_.size();
    const Task& head = *tasks_.begin()->second;
    return !head.batches.empty() || head.finished;
  }

  void Work() {
    std::unique_lock lock(mutex_);
    while (!stop_) {
      std::shared_ptr<Task> task;
      Place place;
      for (auto& [at, candidate] : tasks_) {
        // The stream's next task never waits for those that come after it.
        if (reading_ >= num_readers_ && candidate != tasks_.begin()->second) break;
        if (!candidate->taken) {
          place = at;
          task = candidate;
          break;
        }
      }
      if (task == nullptr && next_file_ < files_.size() && tasks_.size() <= kTasksAhead) {
        place = {next_file_++, -1};
        task = std::make_shared<Task>();
        tasks_[place] = task;
      }
      if (task == nullptr) {
        if (next_file_ == files_.size()) {
          const bool opening =
              std::any_of(tasks_.begin(), tasks_.end(), [](const auto& t) { return t.first.second < 0; });
          if (!opening) return;
        }
        changed_.wait(lock);
        continue;
      }
      task->taken = true;
      if (place.second < 0) {
        OpenFile(lock, place, *task);
      } else {
        ++reading_;
        ReadGroup(lock, place, *task);
        --reading_;
      }
      changed_.notify_all();
    }
  }

  // Replaces the task by one for each row group of the file that may have rows for us.
  void OpenFile(std::unique_lock<std::mutex>& lock, const Place& place, Task& task) {
    lock.unlock();
    auto opened = FileScan::Open(*store_, plan_, files_[place.first]);
    std::shared_ptr<FileScan> file;
    std::vector<int> groups;
    int num_groups = 0;
    if (opened.ok()) {
      file = std::move(*opened);
      num_groups = file->num_row_groups();
      for (int group = 0; group < num_groups; ++group) {
        if (file->MayMatch(group)) groups.push_back(group);
      }
    }
    lock.lock();
    if (file == nullptr) {
      task.status = opened.status();
      task.finished = true;
      return;
    }
    if (counts_ != nullptr) {
      counts_->files_read += 1;
      counts_->file_bytes_read += files_[place.first].size;
      counts_->row_groups += num_groups;
      counts_->row_groups_read += static_cast<std::int64_t>(groups.size());
    }
    for (const int group : groups) {
      auto next = std::make_shared<Task>();
      next->file = file;
      next->group = group;
      tasks_[{place.first, group}] = std::move(next);
    }
    tasks_.erase(place);
  }

  void ReadGroup(std::unique_lock<std::mutex>& lock, const Place& place, Task& task) {
    const auto file = task.file;
    lock.unlock();
    const Status status = file->ReadRowGroup(task.group, [&](std::shared_ptr<arrow::RecordBatch> batch) {
      const std::int64_t bytes = arrow::util::TotalBufferSize(*batch);
      std::unique_lock inner(mutex_);
      changed_.wait(inner, [&] {
        const bool is_head = tasks_.begin()->first == place;
        return stop_ || buffered_bytes_ < buffer_bytes_max_ || (is_head && task.batches.empty());
      });
      if (stop_) return Cancelled("the scan was closed");
      buffered_bytes_ += bytes;
      task.batches.push_back(std::move(batch));
      changed_.notify_all();
      return Status::OK();
    });
    lock.lock();
    task.file = nullptr;
    task.status = status;
    task.finished = true;
  }

  static constexpr std::size_t kTasksAhead = 64;

  const std::shared_ptr<objectstore::ObjectStore> store_;
  const std::shared_ptr<const ScanPlan> plan_;
  const std::int64_t buffer_bytes_max_;
  const int num_readers_;
  ScanCounts* const counts_;
  const std::vector<AddFile> files_;
  std::vector<std::thread> threads_;

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::map<Place, std::shared_ptr<Task>> tasks_;
  std::size_t next_file_ = 0;
  int reading_ = 0;  // Threads that are at a row group.
  std::int64_t buffered_bytes_ = 0;
  std::int64_t rows_left_;
  bool stop_ = false;
};

}  // namespace

Result<std::shared_ptr<arrow::RecordBatchReader>> OpenScan(std::shared_ptr<objectstore::ObjectStore> store,
                                                           SnapshotPtr snapshot, const ScanOptions& options,
                                                           ScanCounts* counts) {
  ASSIGN_OR_RETURN(const auto pruner, FilePruner::Make(*snapshot, options.where));
  std::vector<AddFile> files;
  for (const auto& [key, file] : snapshot->files) {
    ASSIGN_OR_RETURN(const bool may_match, pruner->MayMatch(file));
    if (may_match) files.push_back(file);
  }
  if (counts != nullptr) *counts = {.files = static_cast<std::int64_t>(snapshot->files.size())};
  ASSIGN_OR_RETURN(auto plan, ScanPlan::Make(std::move(snapshot), options.columns, options.where));
  const int at_once = store->requests_at_once();
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const int num_readers = options.num_threads > 0 ? options.num_threads : std::max(cores, at_once / 4);
  const int num_threads = std::clamp<int>(static_cast<int>(files.size()), num_readers, std::max(num_readers, at_once));
  auto reader =
      std::make_shared<ScanReader>(std::move(store), std::move(plan), std::move(files), options, num_readers, counts);
  reader->Start(num_threads);
  return reader;
}

}  // namespace millrace::delta
