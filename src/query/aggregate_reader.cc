#include "query/aggregate_reader.h"

#include <arrow/array.h>
#include <arrow/type_traits.h>
#include <arrow/util/byte_size.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "query/aggregate_cursor.h"
#include "query/merge.h"
#include "query/pages_internal.h"
#include "query/pane_windows.h"
#include "query/windows_in_range.h"

namespace millrace::query {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

/// While partitions go from one worker to another, not all of the hot rows may join; most often it takes a moment.
/// After it the answer has those that do.
constexpr auto kJoinPatience = 100ms;
/// What a question draws before it fetches its rows: a session at work takes the first, and the groups, their sorting,
/// the answer and its text together some times the rows.
constexpr std::int64_t kMergeBytesMin = 4 << 20;
constexpr std::int64_t kMergeFactor = 10;
/// Of what it draws, the groups may take this part while rows are fetched.
constexpr std::int64_t kGroupsFactor = 4;
constexpr std::int64_t kKeptSessionBytesMax = 4 << 20;  // Of rows that a session has merged.
constexpr std::size_t kNeedsKnownMax = 1024;

/// In gaps: how much further than asked for the panes of sessions are read first, and times so much further then.
constexpr std::int64_t kSessionsReach = 4;

constexpr std::int64_t kCachesShare = 16;
constexpr std::int64_t kCachedFilesBytesMax = 32 << 20;

int SessionsMax(std::int64_t limit_bytes) {
  const auto affordable = std::min<std::int64_t>(1000, limit_bytes / kCachesShare / sql::kIdleSessionBytes);
  // More than there are cores would not be faster.
  return std::clamp(static_cast<int>(affordable), 1,
                    std::max(4, static_cast<int>(std::thread::hardware_concurrency())));
}

// Whether a state may differ in its last bit, or a sketch in what it keeps, by the order in which rows are merged.
bool DependsOnOrder(const model::AggregateDefinition& definition) {
  return std::any_of(definition.states.begin(), definition.states.end(), [](const model::AggregateState& state) {
    const auto type = state.type->id();
    return arrow::is_floating(type) || arrow::is_nested(type) || type == arrow::Type::BINARY;
  });
}

// Whether all windows with a pane in `range` have; of sessions nobody knows how far they reach.
bool HaveEndedBy(const std::optional<UnixMicros>& watermark, const model::Window& window, const FoldRange& range) {
  if (!watermark || !range.to || !window.has_windows() || window.kind == model::Window::Kind::kSession) return false;
  const UnixMicros to = std::clamp(*range.to, model::kWindowsBegin, model::kWindowsEnd);
  return window.LastEndOf(window.StartOf(to - 1)) <= *watermark;
}

}  // namespace

ReaderResources ReaderResources::Make(std::int64_t limit_bytes, MemoryBudget& budget) {
  const std::int64_t answers = AnswersBytesMax(limit_bytes);
  return {.sessions = std::make_shared<sql::SessionPool>(sql::SessionPool::Options{
              .sessions_max = SessionsMax(limit_bytes), .memory_bytes = answers, .share = budget.NewShare("sessions")}),
          .memory = AnswerMemory::Make(answers, budget.NewShare("answers")),
          .files = MakePartialFileCache(std::min(kCachedFilesBytesMax, limit_bytes / kCachesShare),
                                        budget.NewShare("cached files"))};
}

class AggregateReader::Impl {
 public:
  Impl(Options options, ReaderResources resources)
      : options_(std::move(options)),
        resources_(std::move(resources)),
        committed_rows_(resources_.files, options_.cached_rows_bytes_max, std::move(options_.cached_rows)) {}

  const model::AggregateDefinition& definition() const { return options_.definition; }

  AnswerMemory& memory() const { return *resources_.memory; }
  bool has_hot_side() const { return options_.hot != nullptr; }

  // In the order in which answers look: of what changes meanwhile, the state is that before.
  std::optional<AnswerState> KnownState(Freshness freshness) const {
    auto state = HotState(freshness);
    if (!state) return std::nullopt;
    const auto snapshot = options_.table->NewestKnown(state->version);
    if (snapshot == nullptr) return std::nullopt;
    state->table_id = snapshot->metadata.id;
    state->version = snapshot->version;
    return state;
  }

  AggregateRequest Canonical(AggregateRequest request) const {
    const auto& window = definition().window;
    // Sessions begin anywhere.
    if (window.kind != model::Window::Kind::kSession) request.range = OfWholePanes(request.range, window);
    return request;
  }

  Result<std::vector<sql::ResultColumn>> Columns(const std::stop_token& stop) {
    ASSIGN_OR_RETURN(const auto plan, PlanOf({}, stop));
    return plan->columns;
  }

  Result<Answer> Ask(const AggregateRequest& asked, const std::stop_token& stop, AnswerMemory& answers) {
    const auto begun = steady_clock::now();
    AggregateRequest request = asked;
    std::optional<AggregateCursor> cursor;
    if (!asked.cursor.empty()) {
      if (asked.freshness == Freshness::kHot) {
        return InvalidInput(
            "cursor: pages are of committed rows, which stay as they are: ask with freshness=committed");
      }
      ASSIGN_OR_RETURN(cursor, ParseCursor(definition().name, asked));
      request.range = cursor->range;
    }
    if (request.fill != Fill::kNone && !(request.range.from && request.range.to)) {
      return InvalidInput("fill: it needs from and to, which say the windows that there are to be");
    }
    request.is_page = cursor || (asked.freshness == Freshness::kCommitted && asked.limit.value_or(0) > 0);
    if (!definition().window.has_windows() && (request.range.from || request.range.to)) {
      return InvalidInput("{}: {} has no windows that could be chosen by time", request.range.from ? "from" : "to",
                          definition().name);
    }
    ASSIGN_OR_RETURN(const auto plan, PlanOf(request, stop));
    auto state = HotState(request.freshness);
    std::shared_ptr<arrow::RecordBatch> windows;
    if (request.fill != Fill::kNone) {
      const std::int64_t windows_max = std::min(request.rows_max.value_or(kFilledRowsMax), kFilledRowsMax);
      ASSIGN_OR_RETURN(windows, WindowsInRange(definition().window, plan->groups->window, request.range, windows_max));
    }
    std::shared_ptr<AnswerMemory::Share> memory;
    Gathered gathered;
    for (;;) {
      const std::int64_t drawn = ExpectedBytes(plan, answers);
      const bool is_all = drawn >= answers.bytes_max();
      ASSIGN_OR_RETURN(memory, answers.Draw(drawn, stop));
      auto fetched = Gather(*plan, request, cursor, {is_all ? answers.bytes_max() : drawn / kGroupsFactor, stop});
      const bool too_large = !fetched.ok() && KindOf(fetched.status()) == ErrorKind::kTooLarge;
      if (!fetched.ok() && !too_large) return fetched.status();
      const std::int64_t needed =
          kMergeBytesMin + kMergeFactor * (too_large ? answers.bytes_max() : fetched->row_bytes);
      Learn(plan, needed);
      if (is_all || needed <= drawn) {
        // Of a question that is new it was more than most need, and it is held until the answer has been sent.
        memory->ShrinkTo(ToDraw(needed));
        ASSIGN_OR_RETURN(gathered, std::move(fetched));
        break;
      }
      // It was more than expected. Whoever waits for memory must hold none, so the rows are fetched again.
      memory.reset();
    }
    ASSIGN_OR_RETURN(auto session, resources_.sessions->Take(stop));
    if (gathered.row_bytes > kKeptSessionBytesMax) session.Drop();
    ASSIGN_OR_RETURN(auto answer, MergeAndFinalize(*session, *plan, std::move(gathered.rows), stop,
                                                   resources_.memory.get(), cursor ? cursor->rows : 0, windows));
    if (answer.next) {
      const std::int64_t rows = (cursor ? cursor->rows : 0) + answer.rows->num_rows();
      answer.next =
          CursorText(definition().name, asked, {gathered.as_of.version, rows, request.range, gathered.as_of.watermark});
    }
    answer.rows_read = gathered.rows_read;
    answer.held = std::move(memory);
    if (state && gathered.is_whole && gathered.missing.empty()) {
      state->table_id = std::move(gathered.table_id);
      state->version = gathered.as_of.version;
      answer.state = std::move(state);
    }
    answer.as_of = std::move(gathered.as_of);
    answer.is_closed = HaveEndedBy(answer.as_of.watermark, definition().window, request.range);
    answer.missing = std::move(gathered.missing);
    answer.bytes_read = gathered.bytes_read;
    answer.elapsed_seconds = std::chrono::duration<double>(steady_clock::now() - begun).count();
    return answer;
  }

 private:
  /// All partial rows that a question is about.
  struct Gathered {
    std::vector<std::shared_ptr<arrow::RecordBatch>> rows;
    std::int64_t rows_read = 0;
    std::int64_t row_bytes = 0;
    std::int64_t bytes_read = 0;
    AsOf as_of;
    std::string table_id;
    std::vector<MissingSource> missing;
    bool is_whole = true;  // All hot rows that there were are in `rows`.
  };

  /// What is there of a state before the table is looked at; its version is the least that the table has. nullopt: it
  /// is not known without asking others.
  std::optional<AnswerState> HotState(Freshness freshness) const {
    AnswerState state;
    if (options_.hot == nullptr) return state;
    if (freshness == Freshness::kHot) {
      const auto changes = options_.hot->Changes();
      if (!changes) return std::nullopt;
      state.changes = *changes;
    }
    const HotRows known = options_.hot->Known();
    state.watermark = known.watermark;
    state.version = known.version;
    return state;
  }

  Result<std::shared_ptr<const MergePlan>> PlanOf(const AggregateRequest& request, const std::stop_token& stop) {
    // The session is not kept while rows are fetched: that may take long.
    ASSIGN_OR_RETURN(const auto session, resources_.sessions->Take(stop));
    return plans_.Get(*session, options_.definition, request);
  }

  Result<Gathered> Gather(const MergePlan& plan, const AggregateRequest& request,
                          const std::optional<AggregateCursor>& cursor, const FoldLimits& limits) {
    const auto& window = plan.folded->window;
    FoldRange range = plan.puts_panes_together ? PanesOf(window, request.range) : request.range;
    if (!plan.puts_panes_together || window.kind != model::Window::Kind::kSession || !request.range.to) {
      return Fetch(plan, request, cursor, range, limits);
    }
    // How far sessions that begin before `to` reach, their events say: further and further, until all of them have
    // ended before what was not read.
    const UnixMicros to = std::clamp(*request.range.to, model::kWindowsBegin, model::kWindowsEnd);
    std::int64_t bytes_read = 0;
    for (std::int64_t reach = kSessionsReach * window.size_us;; reach *= kSessionsReach) {
      const bool is_all = reach >= model::kWindowsEnd - to;
      range.to = is_all ? std::nullopt : std::optional(window.StartOf(to) + reach);
      ASSIGN_OR_RETURN(auto gathered, Fetch(plan, request, cursor, range, limits));
      bytes_read += gathered.bytes_read;
      bool have_ended = true;
      if (!is_all) {
        ASSIGN_OR_RETURN(have_ended, EndBy(*range.to, *plan.folded, gathered.rows.front()));
      }
      if (!have_ended) continue;
      gathered.bytes_read = bytes_read;
      return gathered;
    }
  }

  static Result<bool> EndBy(UnixMicros time, const model::AggregateDefinition& definition,
                            const std::shared_ptr<arrow::RecordBatch>& sessions) {
    ASSIGN_OR_RETURN(const auto bounded, WithWindowBounds(definition, sessions));
    const auto& ends = static_cast<const arrow::TimestampArray&>(*bounded->column(1));
    return std::all_of(ends.raw_values(), ends.raw_values() + ends.length(), [&](auto end) { return end <= time; });
  }

  /// Of `range`, in which the panes are.
  Result<Gathered> Fetch(const MergePlan& plan, const AggregateRequest& request,
                         const std::optional<AggregateCursor>& cursor, const FoldRange& range,
                         const FoldLimits& limits) {
    const auto begun = steady_clock::now();
    const std::string& name = options_.definition.name;
    Gathered gathered;
    HotRows hot;
    FollowedTable::Look look;
    JoinedSegments joined;
    for (bool first = true;; first = false) {
      // Hot first: the snapshot is then at least as new as any commit that emptied them.
      if (options_.hot != nullptr) {
        if (request.freshness == Freshness::kHot) {
          ASSIGN_OR_RETURN(hot, options_.hot->Hot(plan.folded, range, limits));
        } else {
          hot = options_.hot->Known();
        }
      }
      const auto at_least = cursor ? std::max(hot.version, cursor->version) : hot.version;
      ASSIGN_OR_RETURN(look,
                       first ? options_.table->Newest(at_least, limits.stop) : options_.table->LookAgain(limits.stop));
      const bool is_older = look.snapshot->version < hot.version;
      if (!is_older) {
        ASSIGN_OR_RETURN(joined, JoinAtOffsets(options_.next_offsets(*look.snapshot), std::move(hot.segments)));
        if (joined.left_out.empty()) break;
      }
      if (limits.stop.stop_requested()) return Cancelled("aggregate {}: nobody waits for the answer", name);
      if (steady_clock::now() - begun > kJoinPatience) {
        if (!is_older) break;
        return Conflict("aggregate {}: the rows in memory go on from version {} of the table, which ends at {} in {}",
                        name, hot.version, look.snapshot->version, look.table->store()->uri());
      }
      std::this_thread::sleep_for(2ms);
    }
    gathered.is_whole = joined.left_out.empty();
    gathered.table_id = look.snapshot->metadata.id;
    const bool is_newest = !cursor || cursor->version == look.snapshot->version;
    if (!is_newest) {
      ASSIGN_OR_RETURN(look.snapshot, LoadVersionOfCursor(*look.table->store(), cursor->version));
      joined.covered = options_.next_offsets(*look.snapshot);
    }
    gathered.as_of.version = look.snapshot->version;
    gathered.as_of.offsets = std::move(joined.covered);
    gathered.as_of.watermark = request.freshness == Freshness::kHot && options_.hot != nullptr
                                   ? WatermarkOf(hot, gathered.as_of.offsets, options_.reads)
                               : cursor ? cursor->watermark
                                        : hot.watermark;
    gathered.missing = std::move(hot.missing);
    // What is kept folded follows the newest version, and adds in the order in which rows came: where the last bit of a
    // sum may decide which row is on which page, that would not do.
    const bool in_order = request.is_page && DependsOnOrder(options_.definition) &&
                          !(request.order_by.empty() && options_.definition.having_sql.empty());
    auto committed = is_newest && !in_order
                         ? committed_rows_.Read(*look.table, look.snapshot, options_.definition, plan.folded, range,
                                                &gathered.bytes_read, limits)
                         : ReadCommittedInOrder(*look.table, look.snapshot, options_.definition, *plan.folded, range,
                                                plan.where_keys, *resources_.files, &gathered.bytes_read, limits);
    if (!committed.ok() && KindOf(committed.status()) == ErrorKind::kTooLarge && !plan.where_keys.empty()) {
      committed = ReadCommittedWhere(*look.table, look.snapshot, options_.definition, *plan.folded, range,
                                     plan.where_keys, limits);
    }
    RETURN_NOT_OK(committed.status());
    gathered.rows.push_back(*std::move(committed));
    for (auto& segment : joined.segments) {
      if (segment.rows != nullptr) gathered.rows.push_back(std::move(segment.rows));
    }
    for (const auto& batch : gathered.rows) gathered.rows_read += batch->num_rows();
    if (plan.puts_panes_together) {
      ASSIGN_OR_RETURN(const auto panes, Fold(*plan.folded, *plan.folded, {}, gathered.rows, limits));
      ASSIGN_OR_RETURN(auto windows, WindowsOfPanes(*plan.folded, request.range, panes, limits));
      gathered.rows = {std::move(windows)};
    }
    for (const auto& batch : gathered.rows) gathered.row_bytes += arrow::util::TotalBufferSize(*batch);
    // Each set of the question's is a copy of a state.
    if (plan.with_sets != nullptr) {
      gathered.row_bytes *= std::ssize(plan.with_sets->states) - std::ssize(plan.folded->states) + 1;
    }
    if (gathered.row_bytes <= limits.bytes_max) return gathered;
    return TooLarge("aggregate {}: the question merges {} bytes of rows, answers may take {}", name, gathered.row_bytes,
                    limits.bytes_max);
  }

  // Somewhat more than was needed the last time.
  static std::int64_t ToDraw(std::int64_t needed) { return needed / 4 * 5; }
  /// What a question will need: somewhat more than it last did; of one that is new, half of what there is.
  std::int64_t ExpectedBytes(const std::shared_ptr<const MergePlan>& plan, const AnswerMemory& answers) {
    const std::scoped_lock lock(needed_mutex_);
    const auto known = needed_.find(plan);
    return known == needed_.end() ? answers.bytes_max() / 2 : ToDraw(known->second);
  }
  void Learn(const std::shared_ptr<const MergePlan>& plan, std::int64_t needed) {
    const std::scoped_lock lock(needed_mutex_);
    if (needed_.size() >= kNeedsKnownMax) needed_.clear();
    needed_[plan] = needed;
  }

  Options options_;
  const ReaderResources resources_;
  CommittedRows committed_rows_;
  MergePlans plans_;
  std::mutex needed_mutex_;
  std::map<std::shared_ptr<const MergePlan>, std::int64_t> needed_;  // Bytes, when it was last asked.
};

AggregateReader::AggregateReader(Options options, ReaderResources resources)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(resources))) {}
AggregateReader::~AggregateReader() = default;

const model::AggregateDefinition& AggregateReader::definition() const { return impl_->definition(); }

Result<Answer> AggregateReader::Ask(const AggregateRequest& request, const std::stop_token& stop,
                                    AnswerMemory* memory) {
  return impl_->Ask(request, stop, memory == nullptr ? impl_->memory() : *memory);
}

Result<std::vector<sql::ResultColumn>> AggregateReader::Columns(const std::stop_token& stop) {
  return impl_->Columns(stop);
}

bool AggregateReader::has_hot_side() const { return impl_->has_hot_side(); }

std::optional<AnswerState> AggregateReader::KnownState(Freshness freshness) const {
  return impl_->KnownState(freshness);
}

AggregateRequest AggregateReader::Canonical(AggregateRequest request) const {
  return impl_->Canonical(std::move(request));
}

}  // namespace millrace::query
