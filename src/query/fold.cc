#include "query/fold.h"

#include <arrow/array.h>

#include <algorithm>
#include <limits>

#include "aggregate/partial_table.h"

namespace millrace::query {
namespace {

using aggregate::ColumnView;
using aggregate::PartialTable;

constexpr int kFirstKey = 2;  // After window_start and window_end.

Status FoldInto(PartialTable& table, const model::AggregateDefinition& definition,
                const model::AggregateDefinition& coarser, const FoldRange& range,
                const std::vector<std::shared_ptr<arrow::RecordBatch>>& rows, const std::stop_token& stop) {
  const std::vector<std::size_t> kept = aggregate::KeptKeys(definition, coarser);
  const int first_state = kFirstKey + static_cast<int>(definition.keys.size());
  const UnixMicros from = range.from.value_or(std::numeric_limits<UnixMicros>::min());
  const UnixMicros to = range.to.value_or(std::numeric_limits<UnixMicros>::max());

  std::vector<ColumnView> keys(kept.size());
  std::vector<const ColumnView*> key_views;
  for (const auto& key : keys) key_views.push_back(&key);
  ColumnView starts;
  ColumnView state;
  std::vector<std::int64_t> windows;
  std::vector<std::uint8_t> in_range;
  std::vector<std::uint8_t> mask;
  std::vector<std::uint32_t> groups;
  for (const auto& batch : rows) {
    if (stop.stop_requested()) return Cancelled("the question is not waited for any more");
    const std::int64_t num_rows = batch->num_rows();
    const auto size = static_cast<std::size_t>(num_rows);
    RETURN_NOT_OK(starts.Load(batch->column(0)));
    windows.resize(size);
    in_range.resize(size);
    bool all = true;
    bool none = true;
    for (std::int64_t i = 0; i < num_rows; ++i) {
      const std::int64_t start = starts.int64s()[i];
      const bool inside = from <= start && start < to;
      in_range[i] = inside ? 1 : 0;
      all = all && inside;
      none = none && !inside;
      windows[i] = aggregate::WindowStart(start, coarser.window_size_us);
    }
    if (none) continue;
    for (std::size_t k = 0; k < keys.size(); ++k) {
      RETURN_NOT_OK(keys[k].Load(batch->column(kFirstKey + static_cast<int>(kept[k]))));
    }
    groups.resize(size);
    const std::uint8_t* const ok = all ? nullptr : in_range.data();
    table.FindOrMake(num_rows, windows.data(), key_views, ok, groups.data());
    RETURN_NOT_OK(state.Load(batch->column(batch->num_columns() - 1)));
    table.AddEvents({num_rows, groups.data(), ok}, state.int64s());
    for (std::size_t s = 0; s < definition.states.size(); ++s) {
      RETURN_NOT_OK(state.Load(batch->column(first_state + static_cast<int>(s))));
      const std::uint8_t* states_mask = ok;
      if (const std::uint8_t* valid = state.valid(); valid != nullptr) {
        mask.resize(size);
        for (std::size_t i = 0; i < size; ++i) mask[i] = static_cast<std::uint8_t>(valid[i] & in_range[i]);
        states_mask = mask.data();
      }
      table.Merge(s, state, {num_rows, groups.data(), states_mask});
    }
  }
  return Status::OK();
}

Result<std::shared_ptr<arrow::RecordBatch>> ExportAll(const PartialTable& table) {
  return table.Export(std::numeric_limits<UnixMicros>::min(), std::numeric_limits<UnixMicros>::max());
}

}  // namespace

model::AggregateDefinition Coarser(const model::AggregateDefinition& definition, const std::vector<std::string>& keys,
                                   std::int64_t window_size_us) {
  model::AggregateDefinition coarser = definition;
  std::erase_if(coarser.keys, [&](const model::AggregateKey& key) {
    return std::find(keys.begin(), keys.end(), key.name) == keys.end();
  });
  coarser.window_size_us = window_size_us;
  return coarser;
}

Result<std::shared_ptr<arrow::RecordBatch>> Fold(const model::AggregateDefinition& definition,
                                                 const model::AggregateDefinition& coarser, const FoldRange& range,
                                                 const std::vector<std::shared_ptr<arrow::RecordBatch>>& rows,
                                                 const std::stop_token& stop) {
  PartialTable table(coarser, aggregate::MergeKinds(definition));
  RETURN_NOT_OK(FoldInto(table, definition, coarser, range, rows, stop));
  return ExportAll(table);
}

Result<Totals> FoldTotals(const model::AggregateDefinition& definition, const model::AggregateDefinition& coarser,
                          const std::vector<std::shared_ptr<arrow::RecordBatch>>& rows, const std::stop_token& stop) {
  PartialTable table(coarser, aggregate::MergeKinds(definition));
  RETURN_NOT_OK(FoldInto(table, definition, coarser, {}, rows, stop));
  Totals totals;
  for (const auto& [group, state] : table.SettleSums()) totals.oversized.push_back({group, state});
  ASSIGN_OR_RETURN(totals.rows, ExportAll(table));
  return totals;
}

}  // namespace millrace::query
