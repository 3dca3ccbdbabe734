// From open epochs to commits: sealing, letters first, one retry loop for every table.
#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <cstdlib>
#include <utility>

#include "base/kill_point.h"
#include "base/log.h"
#include "delta/upkeep/vacuum.h"
#include "pipeline/worker.h"
#include "pipeline/worker_internal.h"

namespace millrace::pipeline {
namespace {

using std::chrono::steady_clock;

/// Commits come every few seconds: a checkpoint every hundred keeps opening fast and costs little.
constexpr std::int64_t kCheckpointIntervalDefault = 100;

}  // namespace

std::int64_t CheckpointInterval(const delta::Snapshot& snapshot) {
  const auto& properties = snapshot.metadata.configuration;
  const auto property = properties.find("delta.checkpointInterval");
  return property == properties.end() ? kCheckpointIntervalDefault : std::max(1, std::atoi(property->second.c_str()));
}

std::chrono::milliseconds FilesKeepFor(const delta::Snapshot& snapshot, const config::MaintenanceConfig& config) {
  std::optional<std::chrono::milliseconds> configured;
  if (config.vacuum_retention) {
    configured = std::chrono::duration_cast<std::chrono::milliseconds>(*config.vacuum_retention);
  }
  // Whoever vacuums the table may go by our file or by the table.
  const auto of_table = delta::VacuumRetention(snapshot);
  auto shortest = of_table.ok() ? *of_table : std::chrono::milliseconds(std::chrono::hours(1));
  if (configured) shortest = std::min(shortest, *configured);
  return shortest / 2;
}

void Worker::RequestCut(int table) {
  if (tables_[table]->cut_requested.exchange(true)) return;
  tables_[table]->timer.cancel();
}

asio::awaitable<void> Worker::CutRegularly(int table) {
  auto& state = *tables_[table];
  const auto interval = plan_->tables[table].commit.interval;
  auto next = steady_clock::now() + interval;
  while (!stopping_) {
    if (!state.cut_requested) {
      state.timer.expires_at(next);
      boost::system::error_code ignored;
      co_await state.timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    if (stopping_) co_return;
    if (!state.cut_requested && steady_clock::now() < next) continue;
    co_await Cut(table);
    state.cut_requested = false;
    next = steady_clock::now() + interval;
  }
}

asio::awaitable<bool> Worker::CutAllUntil(steady_clock::time_point deadline) {
  struct Round {
    Round(const asio::any_io_executor& executor, int tables) : left(tables), ended(executor) {}
    int left;
    asio::steady_timer ended;  // Cancelled by the last.
  };
  auto round = std::make_shared<Round>(control_.get_executor(), plan_->num_data_tables());
  const auto cut_one = [](Worker* worker, int table, std::shared_ptr<Round> shared) -> asio::awaitable<void> {
    co_await worker->Cut(table);
    if (--shared->left == 0) shared->ended.cancel();
  };
  for (int t = 0; t < plan_->num_data_tables(); ++t) {
    tasks_.Spawn("the last cut of " + tables_[t]->status.name, cut_one(this, t, round));
  }
  while (round->left > 0 && steady_clock::now() < deadline) {
    round->ended.expires_at(deadline);
    boost::system::error_code ignored;
    co_await round->ended.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  co_return round->left == 0;
}

/// Takes the open epoch of one table out of every shard, and with it the dead letters so far. The lock keeps two cuts
/// from taking letters out of turn: whatever was sealed before a cut is in letters_ (or durable) after it.
asio::awaitable<Result<Worker::Sealed>> Worker::Seal(int table) {
  const auto guard = co_await seal_mutex_.Lock();
  struct FromShard {
    Result<SealedPart> part;
    std::vector<model::DeadLetter> letters;
  };
  Sealed sealed;
  sealed.resets = resets_;
  const std::int64_t epoch = next_epoch_++;
  for (auto& thread : shards_) {
    const auto seal = [thread = thread.get(), table, epoch] {
      const std::scoped_lock lock(thread->mutex);
      auto part = thread->shard->Seal(table, epoch);
      return std::make_shared<FromShard>(FromShard{std::move(part), thread->shard->TakeLetters()});
    };
    auto from_shard = co_await RunOn(thread->context.get_executor(), seal);
    if (!from_shard->part.ok()) co_return from_shard->part.status();
    letters_.Add(std::move(from_shard->letters));
    sealed.parts.push_back(std::move(*from_shard->part));
  }
  letters_memory_.Set(letters_.bytes());
  const auto watermark = plan_->KeepsWatermark(table) ? Watermark(plan_->InputOfTable(table)) : std::nullopt;
  for (auto& part : sealed.parts) {
    for (auto& [source, partition] : part.partitions) {
      // The letters reach as far as the shard has read: at least to where this table's part ends.
      letters_.Reach(source, partition.range.end);
      partition.watermark = watermark;
    }
  }
  co_return sealed;
}

/// Tries until it is decided: committed, fenced, or an error. kCancelled: everything uncommitted has been, or is about
/// to be, discarded. kTransient, kUnknownOutcome: given up, because we are leaving, or the partitions are, or because
/// the files may have been vacuumed by the time of the next try.
asio::awaitable<Result<EpochOutcome>> Worker::CommitUntilDecided(TableState& state, CommitTry attempt,
                                                                 std::int64_t resets,
                                                                 std::optional<steady_clock::time_point> valid_until) {
  for (int tries = 0;; ++tries) {
    if (reset_needed_ || resets != resets_) co_return Cancelled("table {}: the epoch is read again", state.status.name);
    const auto begun = steady_clock::now();
    if (valid_until && begun > *valid_until) {
      co_return Transient(
          "table {}: the epoch's files have waited for their commit for half the time after which a vacuum deletes "
          "them; they are written again",
          state.status.name);
    }
    auto outcome = co_await RunOn(io_pool_.get_executor(), attempt);
    if (outcome.ok()) {
      if (const auto* committed = std::get_if<EpochCommitted>(&*outcome)) {
        NoteCommitted(state, *committed, std::chrono::duration<double>(steady_clock::now() - begun).count());
      } else {
        ++state.status.fenced;
      }
      co_return outcome;
    }
    if (!MayPass(outcome.status())) co_return outcome;
    Note(outcome.status());
    auto give_up = flush_deadline_;
    if (stopping_) give_up = std::min(give_up.value_or(StopDeadline()), StopDeadline());
    auto pause = Backoff(tries);
    if (give_up) {
      if (steady_clock::now() >= *give_up) co_return outcome;
      pause = std::min(pause, *give_up - steady_clock::now());
    }
    co_await Sleep(pause);
  }
}

void Worker::NoteCommitted(TableState& state, const EpochCommitted& committed, double seconds) {
  auto& status = state.status;
  status.rows_committed += committed.num_rows;
  status.files_committed += committed.num_files;
  status.bytes_committed += committed.num_bytes;
  ++status.commits;
  status.last_commit = SystemClock().Now();
  status.commit_seconds = seconds;
  status.commit_durations.Observe(seconds);
  spdlog::debug("committed table={} version={} rows={} files={} seconds={:.3f}", status.name, committed.version,
                committed.num_rows, committed.num_files, seconds);
}

/// Of all tables that the files of one epoch can be for.
steady_clock::duration Worker::FilesKeep(int table) const {
  const auto& config = plan_->config.maintenance;
  if (tables_[table]->family == nullptr) return FilesKeepFor(*tables_[table]->table->snapshot(), config);
  delta::Snapshot made_now;
  made_now.metadata.configuration = plan_->tables[table].properties;
  auto shortest = FilesKeepFor(made_now, config);
  for (const auto& route : Routes(table)) {
    shortest = std::min(shortest, FilesKeepFor(*route.table->snapshot(), config));
  }
  return shortest;
}

/// Not OK: the letters that were taken are not durable, and a reset is on its way.
asio::awaitable<Status> Worker::FlushLetters() {
  auto& state = *tables_.back();
  const auto guard = co_await state.mutex.Lock();
  if (reset_needed_) co_return Cancelled("{}: the letters are read again", state.status.name);
  if (letters_.empty()) co_return Status::OK();
  const auto resets = resets_;
  const MemoryShare in_flight = std::exchange(letters_memory_, budget_->NewShare("dead letters"));
  const auto epoch = std::make_shared<const LetterEpoch>(letters_.Take());
  const CommitTry commit = [this, &state, epoch] {
    return CommitLetters(*plan_, *state.table, state.progress, *epoch);
  };
  const auto outcome = co_await CommitUntilDecided(state, commit, resets, std::nullopt);
  if (!outcome.ok()) {
    if (KindOf(outcome.status()) == ErrorKind::kCancelled) co_return outcome.status();
    if (!MayPass(outcome.status())) Fail(outcome.status());
    RequestReset(outcome.status());
    co_return outcome.status();
  }
  if (const auto* fenced = std::get_if<delta::Fenced>(&*outcome)) {
    const Status status = Conflict("dead letters: another worker has moved {}", fenced->app_id);
    RequestReset(status);
    co_return status;
  }
  letters_.Committed(*epoch, state.progress);
  for (const auto& letter : epoch->letters) ++status_.dead_letters[letter.reason];
  letter_notice_.Add(epoch->letters);
  TellOfLetters(letter_notice_.TakeDue(steady_clock::now()));
  co_return Status::OK();
}

void Worker::TellOfLetters(const std::optional<std::string>& text) {
  if (text) spdlog::warn("{}; they are in {}", *text, tables_.back()->table->store()->uri());
}

asio::awaitable<void> Worker::Cut(int table) {
  auto& state = *tables_[table];
  const auto guard = co_await state.mutex.Lock();
  if (reset_needed_) co_return;
  auto sealed = co_await Seal(table);
  if (!sealed.ok()) {
    RequestReset(sealed.status());
    co_return;
  }
  KillPoint("epoch.sealed");
  const auto resets = sealed->resets;
  if (plan_->tables[table].planned_schema != nullptr && !letters_.empty()) {
    // Letters are for good: none of a message that fits the columns that there are by now.
    const auto look = [this, table, &state] {
      const auto newest = state.table->Refresh();
      return newest.ok() ? CheckPlannedSchema(plan_->tables[table], **newest) : Status::OK();
    };
    const Status fits = co_await RunOn(io_pool_.get_executor(), look);
    if (!fits.ok()) {
      FailForGood(WithContext(fits, "table {}", state.status.name));
      co_return;
    }
  }
  const Status flushed = co_await FlushLetters();
  if (!flushed.ok() || reset_needed_ || resets != resets_) co_return;
  const bool nothing = std::all_of(sealed->parts.begin(), sealed->parts.end(),
                                   [](const SealedPart& part) { return part.partitions.empty(); });
  if (nothing) co_return;

  const auto valid_until = steady_clock::now() + FilesKeep(table);
  auto parts = std::make_shared<std::vector<SealedPart>>(std::move(sealed->parts));
  const auto prepare = [this, &state, table, parts] {
    // Tables first: whoever loses its place writes nothing.
    const Status claimed = state.family == nullptr ? Status::OK() : state.family->Claim(RoutesOf(*parts));
    auto result = claimed.ok() ? PrepareEpoch(plan_->tables[table], *state.table, std::move(*parts))
                               : Result<PreparedEpoch>(claimed);
    return std::make_shared<Result<PreparedEpoch>>(std::move(result));
  };
  const auto prepared = co_await RunOn(io_pool_.get_executor(), prepare);
  if (!prepared->ok()) {
    const Status status = WithContext(prepared->status(), "table {}", state.status.name);
    // A conflict is of claims: others have the places.
    if (!MayPass(status) && KindOf(status) != ErrorKind::kConflict) Fail(status);
    RequestReset(status);
    co_return;
  }
  const PreparedEpoch& epoch = **prepared;
  const CommitTry commit = [this, &state, table, prepared] {
    return state.family == nullptr
               ? CommitEpoch(*plan_, table, *state.table, state.progress, **prepared)
               : CommitFamilyEpoch(*plan_, table, *state.table, state.progress, *state.family, **prepared);
  };
  const auto outcome = co_await CommitUntilDecided(state, commit, resets, valid_until);
  if (!outcome.ok()) {
    if (KindOf(outcome.status()) == ErrorKind::kCancelled) co_return;
    if (MayPass(outcome.status())) {
      RequestReset(outcome.status());  // The epoch is out of the sinks: it can only be read again.
    } else if (KindOf(outcome.status()) == ErrorKind::kConflict) {
      FailForGood(outcome.status());
    } else {
      Fail(outcome.status());
    }
    co_return;
  }
  if (const auto* fenced = std::get_if<delta::Fenced>(&*outcome)) {
    RequestReset(Conflict("table {}: another worker has moved {} to {}; this epoch is dropped", state.status.name,
                          fenced->app_id, fenced->found ? std::to_string(*fenced->found) : "nothing"));
    co_return;
  }
  failed_resets_ = 0;
  state.status.rows_rescued += epoch.rescued_rows;
  for (auto& thread : shards_) {
    thread->Post([thread = thread.get(), table, id = epoch.epoch] {
      thread->shard->sink(table).Committed(id);
      thread->Measure();
    });
  }
  // Each record once, whatever the number of tables.
  const int input = plan_->InputOfTable(table);
  const bool is_first = plan_->TablesOf(input).front() == table;
  for (const auto& [source, part] : epoch.partitions) {
    if (is_first) status_.tombstones += part.ledger.tombstones;
    if (is_first) status_.further += part.ledger.further;
    if (is_first && plan_->inputs[input].dedupe) status_.deduplicated[source.topic] += part.ledger.deduplicated;
    status_.filtered += part.ledger.filtered;
  }
  ReportProgress();
  co_await CheckpointIfDue(table, std::get<EpochCommitted>(*outcome).version);
  wake_.cancel();
}

model::OffsetVector Worker::CommittedByAll() const {
  model::OffsetVector lowest;
  for (const auto& [source, owned] : owned_) {
    const auto fed = plan_->TablesOf(plan_->InputOf(source.topic));
    std::optional<model::Offset> low;
    for (const int t : fed) {
      const auto next = tables_[t]->progress.NextOffset(*tables_[t]->table->snapshot(), source);
      low = t == fed.front() || !next ? next : std::min(low, next);
      if (!low) break;
    }
    if (low) lowest[source] = *low;
  }
  return lowest;
}

/// To the shards, and to the group for lag tools.
void Worker::ReportProgress() {
  const auto lowest = CommittedByAll();
  if (lowest.empty()) return;
  for (auto& thread : shards_) {
    thread->Post([this, thread = thread.get(), lowest] {
      const Status status = thread->shard->Committed(lowest);
      if (!status.ok()) asio::post(control_, [this, status] { HandleShardFailure(status); });
    });
  }
  if (!log_busy_) consumer_->ReportProgress(lowest);
}

/// Under the table's lock, so that one checkpoint is written at a time. A checkpoint only saves time: failing is not an
/// error.
asio::awaitable<void> Worker::CheckpointIfDue(int table, delta::TableVersion version) {
  auto& state = *tables_[table];
  if (state.family != nullptr) {
    const auto write_each = [&state] { return state.family->WriteCheckpoints(); };
    const auto failures = co_await RunOn(io_pool_.get_executor(), write_each);
    for (const auto& failure : failures) Note(failure);
  }
  if (version - state.last_checkpoint < CheckpointInterval(*state.table->snapshot())) co_return;
  state.last_checkpoint = version;
  const auto write = [&state] { return state.table->WriteCheckpoint(); };
  const Status written = co_await RunOn(io_pool_.get_executor(), write);
  if (!written.ok()) Note(WithContext(written, "table {}: checkpoint of version {}", state.status.name, version));
}

}  // namespace millrace::pipeline
