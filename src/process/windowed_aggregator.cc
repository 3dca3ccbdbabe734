#include "process/windowed_aggregator.h"

#include <arrow/builder.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <span>
#include <utility>

#include "aggregate/partial_table.h"
#include "process/batch_evaluator.h"

namespace millrace::process {

namespace {

using aggregate::ColumnView;
using aggregate::GroupedRows;
using aggregate::Int128;
using aggregate::IsKeyType;
using aggregate::PartialTable;
using aggregate::PhysicalType;

constexpr Int128 PowerOfTen(int exponent) {
  Int128 power = 1;
  for (int i = 0; i < exponent; ++i) power *= 10;
  return power;
}
// A DECIMAL(38, s) holds less than this in either direction.
constexpr Int128 kDecimalEnd = PowerOfTen(38);

}  // namespace

class WindowedAggregator::Impl {
 public:
  Status Init(AggregatePlan plan, EvaluatorSessions& sessions) {
    plan_ = std::move(plan);
    all_keys_.resize(plan_.definition.keys.size());
    std::iota(all_keys_.begin(), all_keys_.end(), 0);
    std::vector<std::string> expressions;
    for (const auto& input : plan_.inputs) {
      if (input.column < 0) expressions.push_back(input.sql);
    }
    auto evaluator = BatchEvaluator::Make(sessions, plan_.input_schema, std::move(expressions), plan_.where_sql);
    if (!evaluator.ok()) return WithContext(evaluator.status(), "aggregate {}", plan_.definition.name);
    evaluator_ = std::move(evaluator).ValueUnsafe();
    views_.resize(plan_.inputs.size());
    for (const auto& accumulator : plan_.accumulators) {
      auto& arguments = arguments_.emplace_back();
      for (const int argument : accumulator.arguments) arguments.push_back(&views_[static_cast<std::size_t>(argument)]);
    }
    table_ = std::make_unique<PartialTable>(plan_.definition);
    return Status::OK();
  }

  Result<Aggregated> Add(const std::shared_ptr<arrow::RecordBatch>& input) {
    if (!input->schema()->Equals(*plan_.input_schema, false)) {
      return Internal("aggregate {}: a batch has schema {} instead of {}", plan_.definition.name,
                      input->schema()->ToString(), plan_.input_schema->ToString());
    }
    auto result = evaluator_->Evaluate(input);
    if (!result.ok()) return WithContext(result.status(), "aggregate {}", plan_.definition.name);
    Evaluated evaluated = std::move(result).ValueUnsafe();
    RETURN_NOT_OK(LoadViews(*input, evaluated));

    // Nothing fails from here on: a batch is folded in whole or not at all.
    Aggregated aggregated;
    aggregated.filtered = evaluated.filtered;
    aggregated.failed = std::move(evaluated.failed);
    const std::int64_t num_rows = evaluated.num_rows;
    const std::size_t num_failed_before = aggregated.failed.size();
    AssignWindows(num_rows, evaluated.rows.get(), &aggregated.failed);
    CheckDecimals(num_rows, evaluated.rows.get(), &aggregated.failed);
    const std::uint8_t* ok = bad_.empty() ? nullptr : ok_.data();
    if (aggregated.failed.size() != num_failed_before) {
      std::sort(aggregated.failed.begin(), aggregated.failed.end(),
                [](const FailedRow& a, const FailedRow& b) { return a.row < b.row; });
    }
    aggregated.aggregated = num_rows - static_cast<std::int64_t>(bad_.size());

    AddTo(*table_, all_keys_, num_rows, ok);
    for (const Rollup& rollup : rollups_) AddTo(*rollup.table, rollup.kept_keys, num_rows, ok);
    return aggregated;
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Export(const model::AggregateDefinition& coarser, UnixMicros from,
                                                     UnixMicros to, std::int64_t bytes_max) {
    const auto& own = plan_.definition;
    const std::vector<std::size_t> kept_keys = aggregate::KeptKeys(own, coarser);
    const PartialTable* source = table_.get();
    std::vector<std::size_t> kept_of_source = kept_keys;
    if (kept_keys != all_keys_) {
      if (const PartialTable* const rollup = FindOrMakeRollup(coarser, kept_keys); rollup != nullptr) {
        source = rollup;
        std::iota(kept_of_source.begin(), kept_of_source.end(), 0);
      }
    }
    const bool as_it_is = kept_of_source.size() == source->num_keys() && coarser.window == own.window;
    const auto too_large = [&] {
      return TooLarge(
          "aggregate {}: the groups of what is not committed yet take more than {} bytes, which is what "
          "answers may",
          own.name, bytes_max);
    };
    if (as_it_is) return source->ExportBytes(from, to) > bytes_max ? too_large() : source->Export(from, to);
    PartialTable folded(coarser);
    source->FoldInto(folded, kept_of_source, from, to);
    if (folded.bytes() > bytes_max) return too_large();
    return folded.Export(std::numeric_limits<UnixMicros>::min(), std::numeric_limits<UnixMicros>::max());
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Seal() {
    ASSIGN_OR_RETURN(auto batch, table_->ExportSorted());
    table_ = std::make_unique<PartialTable>(plan_.definition);
    std::erase_if(rollups_, [](const Rollup& rollup) { return !rollup.asked; });
    for (Rollup& rollup : rollups_) {
      rollup.table = std::make_unique<PartialTable>(rollup.definition);
      rollup.asked = false;
    }
    return batch;
  }

  const model::AggregateDefinition& definition() const { return plan_.definition; }
  std::int64_t num_groups() const { return table_->num_groups(); }
  std::int64_t bytes() const {
    std::int64_t total = table_->bytes();
    for (const Rollup& rollup : rollups_) total += rollup.table->bytes();
    return total;
  }

 private:
  /// The open groups with fewer keys, kept up row by row because a question asks for them.
  struct Rollup {
    std::vector<std::size_t> kept_keys;
    model::AggregateDefinition definition;
    std::unique_ptr<PartialTable> table;
    bool asked = true;  // Since the last Seal().
  };
  static constexpr std::size_t kRollupsMax = 8;
  /// Keys that leave more than this share of the groups apart are not worth a second table.
  static constexpr double kRollupShareMax = 0.25;

  /// nullptr: there are enough, or it would save little.
  const PartialTable* FindOrMakeRollup(const model::AggregateDefinition& coarser,
                                       const std::vector<std::size_t>& kept_keys) {
    for (Rollup& rollup : rollups_) {
      if (rollup.kept_keys != kept_keys) continue;
      rollup.asked = true;
      return rollup.table.get();
    }
    if (rollups_.size() == kRollupsMax) return nullptr;
    Rollup rollup{.kept_keys = kept_keys, .definition = coarser, .table = nullptr};
    rollup.definition.window = plan_.definition.window;
    rollup.table = std::make_unique<PartialTable>(rollup.definition);
    table_->FoldInto(*rollup.table, kept_keys, std::numeric_limits<UnixMicros>::min(),
                     std::numeric_limits<UnixMicros>::max());
    if (static_cast<double>(rollup.table->num_groups()) > kRollupShareMax * static_cast<double>(table_->num_groups())) {
      return nullptr;
    }
    rollups_.push_back(std::move(rollup));
    return rollups_.back().table.get();
  }

  /// Folds the batch at hand into a table of these keys.
  void AddTo(PartialTable& table, const std::vector<std::size_t>& kept_keys, std::int64_t num_rows,
             const std::uint8_t* ok) {
    std::vector<const ColumnView*> keys;
    for (const std::size_t k : kept_keys) keys.push_back(&views_[plan_.first_key() + k]);
    groups_.resize(static_cast<std::size_t>(num_rows));
    table.FindOrMake(num_rows, windows_.data(), keys, ok, groups_.data());
    table.AddEvents({num_rows, groups_.data(), ok}, nullptr);
    for (std::size_t i = 0; i < plan_.accumulators.size(); ++i) {
      table.Update(i, arguments_[i], {num_rows, groups_.data(), Mask(i, num_rows, ok)});
    }
  }

  Status LoadViews(const arrow::RecordBatch& input, const Evaluated& evaluated) {
    std::size_t computed = 0;
    for (std::size_t i = 0; i < plan_.inputs.size(); ++i) {
      std::shared_ptr<arrow::Array> array;
      if (plan_.inputs[i].column < 0) {
        array = evaluated.values[computed++];
      } else {
        ASSIGN_OR_RETURN(array, BatchEvaluator::Passed(input.column(plan_.inputs[i].column), evaluated));
      }
      // count() takes any type and looks only at what is null.
      if (!IsViewed(i)) {
        ASSIGN_OR_RETURN(array, Presence(*array));
      }
      RETURN_NOT_OK(views_[i].Load(std::move(array)));
    }
    return Status::OK();
  }

  bool IsViewed(std::size_t input) const {
    const auto& type = *plan_.inputs[input].type;
    return IsKeyType(type) || type.id() == arrow::Type::DICTIONARY;
  }

  static Result<std::shared_ptr<arrow::Array>> Presence(const arrow::Array& array) {
    arrow::BooleanBuilder builder;
    RETURN_NOT_OK(builder.Reserve(array.length()));
    for (std::int64_t i = 0; i < array.length(); ++i) {
      if (array.IsValid(i)) {
        builder.UnsafeAppend(true);
      } else {
        builder.UnsafeAppendNull();
      }
    }
    return builder.Finish();
  }

  void MarkBad(std::int64_t row, const arrow::Int64Array* rows, std::int64_t num_rows, const char* message,
               std::vector<FailedRow>* failed) {
    if (bad_.empty()) ok_.assign(static_cast<std::size_t>(num_rows), 1);
    ok_[row] = 0;
    bad_.push_back(row);
    failed->push_back({rows == nullptr ? row : rows->Value(row), message});
  }

  // windows_[i]: the start of row i's pane. Rows without one go to bad_ and failed.
  void AssignWindows(std::int64_t num_rows, const arrow::Int64Array* rows, std::vector<FailedRow>* failed) {
    const model::Window& window = plan_.definition.window;
    bad_.clear();
    if (!window.has_windows()) {
      windows_.assign(static_cast<std::size_t>(num_rows), window.StartOf(0));
      return;
    }
    windows_.resize(static_cast<std::size_t>(num_rows));
    const std::int64_t* times = views_[0].int64s();
    const std::uint8_t* valid = views_[0].valid();
    // Events come nearly in order: most rows fall into the pane of the row before.
    std::int64_t start = 0;
    std::uint64_t length = 0;
    for (std::int64_t i = 0; i < num_rows; ++i) {
      const std::int64_t time = times[i];
      if (valid != nullptr && valid[i] == 0) {
        windows_[i] = 0;
        MarkBad(i, rows, num_rows, "event time is null", failed);
        continue;
      }
      if (static_cast<std::uint64_t>(time) - static_cast<std::uint64_t>(start) >= length) {
        const auto pane = PaneAt(time);
        if (!pane) {
          windows_[i] = 0;
          MarkBad(i, rows, num_rows, "the window of the event time is not within the years 0001 to 9999", failed);
          continue;
        }
        start = *pane;
        length = static_cast<std::uint64_t>(window.EndOf(start) - start);
      }
      windows_[i] = start;
    }
  }

  // The start; nullopt: some window of the pane goes beyond the years that there are.
  std::optional<UnixMicros> PaneAt(UnixMicros time) const {
    if (time < model::kWindowsBegin || time >= model::kWindowsEnd) return std::nullopt;
    const model::Window& window = plan_.definition.window;
    const UnixMicros pane = window.StartOf(time);
    if (window.FirstStartOf(pane) < model::kWindowsBegin || window.LastEndOf(pane) > model::kWindowsEnd) {
      return std::nullopt;
    }
    return pane;
  }

  // DuckDB's HUGEINT goes beyond the 38 digits that a table can hold.
  void CheckDecimals(std::int64_t num_rows, const arrow::Int64Array* rows, std::vector<FailedRow>* failed) {
    for (std::size_t k = 0; k < plan_.inputs.size(); ++k) {
      if (plan_.inputs[k].column >= 0 || views_[k].physical() != PhysicalType::kInt128) continue;
      const Int128* values = views_[k].int128s();
      const std::uint8_t* valid = views_[k].valid();
      for (std::int64_t i = 0; i < num_rows; ++i) {
        if ((values[i] < kDecimalEnd && values[i] > -kDecimalEnd) || (valid != nullptr && valid[i] == 0)) continue;
        if (!bad_.empty() && ok_[i] == 0) continue;
        MarkBad(i, rows, num_rows, "an integer has more than 38 digits", failed);
      }
    }
  }

  // The rows that the accumulator takes; nullptr: all of them.
  const std::uint8_t* Mask(std::size_t accumulator, std::int64_t num_rows, const std::uint8_t* ok) {
    const int filter = plan_.accumulators[accumulator].filter;
    const auto needed = std::span(arguments_[accumulator]).subspan(plan_.accumulators[accumulator].takes_nulls ? 1 : 0);
    const std::uint8_t* only = ok;  // The mask if there is but one.
    int num_masks = ok == nullptr ? 0 : 1;
    for (const ColumnView* argument : needed) {
      if (argument->valid() == nullptr) continue;
      only = argument->valid();
      ++num_masks;
    }
    if (filter < 0 && num_masks <= 1) return only;
    mask_.assign(static_cast<std::size_t>(num_rows), 1);
    const auto keep = [&](const std::uint8_t* which) {
      if (which == nullptr) return;
      for (std::int64_t i = 0; i < num_rows; ++i) mask_[i] &= which[i];
    };
    keep(ok);
    for (const ColumnView* argument : needed) keep(argument->valid());
    if (filter >= 0) {
      keep(views_[filter].valid());
      const std::int64_t* conditions = views_[filter].int64s();
      for (std::int64_t i = 0; i < num_rows; ++i) mask_[i] &= static_cast<std::uint8_t>(conditions[i]);
    }
    return mask_.data();
  }

  // Constant after Init().
  AggregatePlan plan_;
  std::vector<std::size_t> all_keys_;
  std::vector<std::vector<const ColumnView*>> arguments_;  // By accumulator, in views_.
  std::unique_ptr<BatchEvaluator> evaluator_;

  std::unique_ptr<PartialTable> table_;  // From one Seal() to the next.
  std::vector<Rollup> rollups_;

  // Of the batch at hand; kept for their memory.
  std::vector<ColumnView> views_;
  std::vector<std::int64_t> windows_;
  std::vector<std::uint32_t> groups_;
  std::vector<std::int64_t> bad_;  // Rows that are not aggregated, and as a mask (valid if bad_ is not empty).
  std::vector<std::uint8_t> ok_;
  std::vector<std::uint8_t> mask_;
};

WindowedAggregator::WindowedAggregator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
WindowedAggregator::~WindowedAggregator() = default;

Result<std::unique_ptr<WindowedAggregator>> WindowedAggregator::Make(AggregatePlan plan, EvaluatorSessions* sessions) {
  auto impl = std::make_unique<Impl>();
  EvaluatorSessions own;
  RETURN_NOT_OK(impl->Init(std::move(plan), sessions == nullptr ? own : *sessions));
  return std::unique_ptr<WindowedAggregator>(new WindowedAggregator(std::move(impl)));
}

Result<Aggregated> WindowedAggregator::Add(const std::shared_ptr<arrow::RecordBatch>& input) {
  return impl_->Add(input);
}
Result<std::shared_ptr<arrow::RecordBatch>> WindowedAggregator::Export(const model::AggregateDefinition& coarser,
                                                                       UnixMicros from, UnixMicros to,
                                                                       std::int64_t bytes_max) {
  return impl_->Export(coarser, from, to, bytes_max);
}
Result<std::shared_ptr<arrow::RecordBatch>> WindowedAggregator::Seal() { return impl_->Seal(); }
const model::AggregateDefinition& WindowedAggregator::definition() const { return impl_->definition(); }
std::int64_t WindowedAggregator::num_groups() const { return impl_->num_groups(); }
std::int64_t WindowedAggregator::bytes() const { return impl_->bytes(); }

}  // namespace millrace::process
