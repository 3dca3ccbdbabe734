#include "query/fold.h"

#include <arrow/array.h>

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "aggregate/partial_table.h"

namespace millrace::query {
namespace {

using aggregate::ColumnView;
using aggregate::PartialTable;

}  // namespace

FoldRange OfWholePanes(const FoldRange& range, const model::Window& window) {
  const auto first_at_or_after = [&window](const std::optional<UnixMicros>& bound) -> std::optional<UnixMicros> {
    if (!bound) return std::nullopt;
    // All rows lie within these years, and times beyond them could not be calculated with.
    const UnixMicros time = std::clamp(*bound, model::kWindowsBegin, model::kWindowsEnd);
    const UnixMicros start = window.StartOf(time);
    return start == time ? start : window.EndOf(start);
  };
  return {first_at_or_after(range.from), first_at_or_after(range.to)};
}

class Folding::Impl {
 public:
  Impl(const model::AggregateDefinition& definition, const model::AggregateDefinition& coarser, const FoldRange& range,
       FoldLimits limits)
      : name_(definition.name),
        limits_(std::move(limits)),
        has_windows_(definition.window.has_windows()),
        window_(coarser.window),
        from_(range.from.value_or(std::numeric_limits<UnixMicros>::min())),
        to_(range.to.value_or(std::numeric_limits<UnixMicros>::max())),
        num_states_(definition.states.size()),
        first_key_(has_windows_ ? 2 : 0),
        first_state_(first_key_ + definition.keys.size()),
        kept_(aggregate::KeptKeys(definition, coarser)),
        table_(coarser),
        keys_(kept_.size()) {
    for (const auto& key : keys_) key_views_.push_back(&key);
  }

  Status Add(const arrow::RecordBatch& rows) {
    if (limits_.stop.stop_requested()) return Cancelled("the question is not waited for any more");
    const std::int64_t num_rows = rows.num_rows();
    const auto size = static_cast<std::size_t>(num_rows);
    if (has_windows_) RETURN_NOT_OK(starts_.Load(rows.column(0)));
    windows_.resize(size);
    in_range_.resize(size);
    bool all = true;
    bool none = true;
    for (std::int64_t i = 0; i < num_rows; ++i) {
      const std::int64_t start = has_windows_ ? starts_.int64s()[i] : window_.StartOf(0);
      const bool inside = from_ <= start && start < to_;
      in_range_[i] = inside ? 1 : 0;
      all = all && inside;
      none = none && !inside;
      windows_[i] = window_.StartOf(start);
    }
    if (none) return Status::OK();
    for (std::size_t k = 0; k < keys_.size(); ++k) {
      RETURN_NOT_OK(keys_[k].Load(rows.column(static_cast<int>(first_key_ + kept_[k]))));
    }
    groups_.resize(size);
    const std::uint8_t* const ok = all ? nullptr : in_range_.data();
    table_.FindOrMake(num_rows, windows_.data(), key_views_, ok, groups_.data());
    RETURN_NOT_OK(events_.Load(rows.column(rows.num_columns() - 1)));
    table_.AddEvents({num_rows, groups_.data(), ok}, events_.int64s());
    const auto columns = rows.columns();
    const Status merged =
        table_.Merge(std::span(columns).subspan(first_state_, num_states_), {num_rows, groups_.data(), ok});
    if (!merged.ok()) return WithContext(merged, "partial rows of {}", name_);
    if (table_.bytes() > limits_.bytes_max) {
      return TooLarge("aggregate {}: the question's groups take more than {} bytes, which is what answers may", name_,
                      limits_.bytes_max);
    }
    return Status::OK();
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Rows() const {
    return table_.Export(std::numeric_limits<UnixMicros>::min(), std::numeric_limits<UnixMicros>::max());
  }

  Result<Totals> TakeTotals() {
    Totals totals;
    for (const auto& [group, state] : table_.Settle()) totals.oversized.push_back({group, state});
    ASSIGN_OR_RETURN(totals.rows, Rows());
    return totals;
  }

 private:
  const std::string name_;
  const FoldLimits limits_;
  const bool has_windows_;  // The rows that come in.
  const model::Window window_;
  const UnixMicros from_;
  const UnixMicros to_;
  const std::size_t num_states_;
  const std::size_t first_key_;  // Columns: after window_start and window_end, if there are windows.
  const std::size_t first_state_;
  const std::vector<std::size_t> kept_;
  PartialTable table_;

  // Of one batch; kept for their memory.
  std::vector<ColumnView> keys_;
  std::vector<const ColumnView*> key_views_;
  ColumnView starts_;
  ColumnView events_;
  std::vector<std::int64_t> windows_;
  std::vector<std::uint8_t> in_range_;
  std::vector<std::uint32_t> groups_;
};

Folding::Folding(const model::AggregateDefinition& definition, const model::AggregateDefinition& coarser,
                 const FoldRange& range, FoldLimits limits)
    : impl_(std::make_unique<Impl>(definition, coarser, range, std::move(limits))) {}
Folding::~Folding() = default;

Status Folding::Add(const arrow::RecordBatch& rows) { return impl_->Add(rows); }
Result<std::shared_ptr<arrow::RecordBatch>> Folding::Rows() const { return impl_->Rows(); }
Result<Totals> Folding::TakeTotals() { return impl_->TakeTotals(); }

model::AggregateDefinition Coarser(const model::AggregateDefinition& definition, const std::vector<std::string>& keys,
                                   const model::Window& window) {
  model::AggregateDefinition coarser = definition;
  std::erase_if(coarser.keys, [&](const model::AggregateKey& key) {
    return std::find(keys.begin(), keys.end(), key.name) == keys.end();
  });
  coarser.window = window;
  return coarser;
}

Result<std::shared_ptr<arrow::RecordBatch>> Fold(const model::AggregateDefinition& definition,
                                                 const model::AggregateDefinition& coarser, const FoldRange& range,
                                                 const std::vector<std::shared_ptr<arrow::RecordBatch>>& rows,
                                                 const FoldLimits& limits) {
  Folding folding(definition, coarser, range, limits);
  for (const auto& batch : rows) RETURN_NOT_OK(folding.Add(*batch));
  return folding.Rows();
}

}  // namespace millrace::query
