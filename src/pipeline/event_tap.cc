#include "pipeline/event_tap.h"

#include <fmt/ranges.h>
#include <poll.h>

#include <algorithm>
#include <variant>
#include <vector>

#include "base/nearest_name.h"
#include "model/readable_letters.h"

namespace millrace::pipeline {
namespace {

// Of one look into the log; what it becomes is several times as much, for a moment.
constexpr std::size_t kRecordsAtOnce = 1000;
constexpr std::size_t kBytesAtOnce = 1 << 20;
constexpr std::size_t kTroublesMax = 20;

// By its name, among the relations that are inputs, or those that are transforms.
Result<int> FindRelation(const Plan& plan, const EventTap::Options& options) {
  const bool of_transforms = !options.transform.empty();
  const std::string& wanted = of_transforms ? options.transform : options.input;
  std::vector<std::string> names;
  int last = 0;
  for (int r = 0; r < std::ssize(plan.relations); ++r) {
    if ((plan.relations[r].parent >= 0) != of_transforms) continue;
    if (plan.relations[r].name == wanted) return r;
    names.push_back(plan.relations[r].name);
    last = r;
  }
  if (wanted.empty() && names.size() == 1) return last;
  if (wanted.empty()) return InvalidInput("input: there are several, name one: {}", fmt::join(names, ", "));
  const std::string instead = DidYouMean(wanted, names);
  const char* const kind = of_transforms ? "transform" : "input";
  return InvalidInput("{}: the pipeline has no {} '{}'{}", kind, kind, wanted,
                      !instead.empty() ? instead
                      : names.empty()  ? "; it has none"
                                       : fmt::format("; it has {}", fmt::join(names, ", ")));
}

using Batch = std::shared_ptr<arrow::RecordBatch>;

// At most so many rows of it.
void Keep(const Batch& batch, std::int64_t rows_max, std::vector<Batch>& kept) {
  const std::int64_t rows = std::min(batch == nullptr ? 0 : batch->num_rows(), rows_max);
  if (rows > 0) kept.push_back(batch->Slice(0, rows));
}

}  // namespace

Result<std::unique_ptr<EventTap>> EventTap::Make(std::shared_ptr<const Plan> plan, const Options& options) {
  ASSIGN_OR_RETURN(const int relation, FindRelation(*plan, options));
  ASSIGN_OR_RETURN(auto reader, RelationReader::Make(plan, relation));
  const int input = plan->relations[relation].input;
  auto tap = std::unique_ptr<EventTap>(new EventTap(std::move(plan), input, std::move(reader), options.shows));
  if (!options.where.empty()) {
    const auto schema = options.shows == Shows::kLetters ? model::ReadableLetterSchema() : tap->schema();
    ASSIGN_OR_RETURN(tap->filter_, query::RowFilter::Make(options.where, schema));
  }
  return tap;
}

Status EventTap::Open(std::unique_ptr<eventlog::Consumer> log, const Start& start) {
  log_ = std::move(log);
  ASSIGN_OR_RETURN(const auto topics, TopicsToRead(start.timeout));
  RETURN_NOT_OK(log_->Subscribe(topics, start.timeout));
  ASSIGN_OR_RETURN(const auto partitions, log_->Partitions(topics, start.timeout));
  ASSIGN_OR_RETURN(const auto bounds, log_->Bounds(partitions, start.timeout));
  for (const auto& [partition, range] : bounds) {
    const std::int64_t before = std::min(start.last.value_or(range.end), range.end - range.begin);
    start_[partition] = std::max(range.begin, range.end - before);
    end_[partition] = range.end;
    if (start_[partition] < range.end) open_.insert(partition);
  }
  static_cast<void>(log_->Poll(1));  // The assignment.
  return log_->Start(start_).status();
}

Result<std::vector<std::string>> EventTap::TopicsToRead(std::chrono::milliseconds timeout) {
  const auto& input = plan_->inputs[input_];
  if (input.patterns.empty()) return input.topics;
  ASSIGN_OR_RETURN(auto there, log_->Topics(timeout));
  ASSIGN_OR_RETURN(auto topics, plan_->TopicsAmong(std::move(there)));
  std::erase_if(topics, [this](const auto& topic) { return plan_->FindInput(topic) != input_; });
  if (topics.empty()) {
    return NotFound("the input {} has no topic yet: none that '{}' takes is there", input.name,
                    input.patterns.front().text());
  }
  return topics;
}

void EventTap::NoteReached(const model::TopicPartition& source, model::Offset next) {
  if (const auto end = end_.find(source); end == end_.end() || next >= end->second) open_.erase(source);
}

Result<serve::Tapped> EventTap::Look(std::chrono::milliseconds wait, const serve::TapLimits& limits) {
  pollfd wake{log_->wake_fd(), POLLIN, 0};
  static_cast<void>(::poll(&wake, 1, static_cast<int>(wait.count())));
  serve::Tapped seen;
  serve::TapLimits left = limits;
  for (const auto& event : log_->Poll(kRecordsAtOnce, kBytesAtOnce)) {
    if (const auto* failed = std::get_if<eventlog::Failed>(&event)) {
      if (KindOf(failed->status) != ErrorKind::kTransient) return failed->status;
      if (told_.size() < kTroublesMax && told_.insert(failed->status.message()).second) {
        seen.troubles.push_back(failed->status.message());
      }
    } else if (const auto* end = std::get_if<eventlog::ReachedEnd>(&event)) {
      NoteReached(end->source, end->end);
    } else if (const auto* fetched = std::get_if<model::FetchedRecords>(&event)) {
      RETURN_NOT_OK(model::ForEachPiece(*fetched, kRecordsAtOnce, kBytesAtOnce, &unpacked_,
                                        [&](const auto& records) { return See(records, left, seen); }));
      NoteReached(fetched->source, fetched->range.end);
    }
  }
  return seen;
}

Status EventTap::See(const model::FetchedRecords& records, serve::TapLimits& left, serve::Tapped& seen) {
  const std::int64_t count = std::ssize(records.records);
  if (left.shown <= 0 || left.looked_at < count) {
    seen.skipped += count;
    return Status::OK();
  }
  left.looked_at -= count;
  seen.looked_at += count;
  std::size_t first = 0;
  do {
    RETURN_NOT_OK(SeeSome(records, &first, left, seen));
  } while (first < records.records.size());
  return Status::OK();
}

Status EventTap::SeeSome(const model::FetchedRecords& records, std::size_t* first, serve::TapLimits& left,
                         serve::Tapped& seen) {
  ASSIGN_OR_RETURN(auto made, reader_->Read(records, *first));
  *first += made.num_records;
  counts_.records += static_cast<std::int64_t>(made.num_records);
  counts_.further += made.further;
  counts_.rows += made.rows->num_rows();
  counts_.letters += std::ssize(made.letters);
  counts_.filtered += made.filtered;
  counts_.tombstones += made.tombstones;
  const Batch letters = shows_ == Shows::kRows ? nullptr : model::ToReadableBatch(made.letters);
  Batch rows = shows_ == Shows::kLetters ? letters : made.rows;
  if (filter_ != nullptr && rows->num_rows() > 0) {
    ASSIGN_OR_RETURN(rows, filter_->Apply(rows));
  }
  const std::int64_t num_rows = rows->num_rows();
  const std::int64_t num_letters = shows_ == Shows::kBoth ? letters->num_rows() : 0;
  // Where not all can be shown, each of the two has a half that the other does not take.
  const std::int64_t letters_max = std::min(num_letters, std::max(left.shown / 2, left.shown - num_rows));
  const std::int64_t rows_max = std::min(num_rows, left.shown - letters_max);
  Keep(rows, rows_max, shows_ == Shows::kLetters ? seen.letters : seen.rows);
  Keep(letters, letters_max, seen.letters);
  left.shown -= rows_max + letters_max;
  seen.skipped += num_rows + num_letters - rows_max - letters_max;
  return Status::OK();
}

}  // namespace millrace::pipeline
