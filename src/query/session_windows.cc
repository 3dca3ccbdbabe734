#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/compute/api.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "aggregate/column_view.h"
#include "aggregate/group_table.h"
#include "query/session_windows_internal.h"

namespace millrace::query {
namespace {

using Batch = std::shared_ptr<arrow::RecordBatch>;

const arrow::TimestampArray& Times(const arrow::RecordBatch& rows, const char* column) {
  return static_cast<const arrow::TimestampArray&>(*rows.GetColumnByName(column));
}

// Of each row which keys it has, numbered from 0.
Result<std::vector<std::uint32_t>> KeysOf(const model::AggregateDefinition& definition,
                                          const arrow::RecordBatch& rows) {
  std::vector<aggregate::PhysicalType> types;
  std::vector<aggregate::ColumnView> views(definition.keys.size());
  std::vector<const aggregate::ColumnView*> columns;
  for (std::size_t k = 0; k < views.size(); ++k) {
    types.push_back(aggregate::PhysicalTypeOf(*definition.keys[k].type));
    RETURN_NOT_OK(views[k].Load(rows.column(2 + static_cast<int>(k))));
    columns.push_back(&views[k]);
  }
  aggregate::GroupTable table(std::move(types));
  const std::vector<std::int64_t> all_time(static_cast<std::size_t>(rows.num_rows()), 0);
  std::vector<std::uint32_t> groups(all_time.size());
  table.FindOrMake(rows.num_rows(), all_time.data(), columns, nullptr, groups.data());
  return groups;
}

// The rows of one pane and keys, or of several that follow each other.
struct Stretch {
  std::uint32_t keys = 0;
  UnixMicros pane = 0;  // The first.
  UnixMicros first = 0;
  UnixMicros last = 0;
  std::vector<std::int64_t> rows{};
};

// By keys, then by pane. Of a row that holds only what one state had too much (partial_table.h) the bounds are null.
Result<std::vector<Stretch>> PanesIn(const model::AggregateDefinition& definition, const arrow::RecordBatch& rows) {
  ASSIGN_OR_RETURN(const auto keys, KeysOf(definition, rows));
  const auto& panes = Times(rows, model::kWindowStart);
  const auto& firsts = Times(rows, model::kFirstEvent);
  const auto& lasts = Times(rows, model::kLastEvent);
  std::vector<std::int64_t> order(keys.size());
  std::iota(order.begin(), order.end(), 0);
  const auto place = [&](std::int64_t row) {
    return std::tuple(keys[row], panes.Value(row), firsts.IsNull(row) || lasts.IsNull(row), row);
  };
  std::sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return place(a) < place(b); });
  std::vector<Stretch> found;
  for (const std::int64_t row : order) {
    const bool has_bounds = !std::get<2>(place(row));
    if (found.empty() || found.back().keys != keys[row] || found.back().pane != panes.Value(row)) {
      if (!has_bounds) {
        return Corrupt("aggregate {}: a partial row without {} and {}", definition.name, model::kFirstEvent,
                       model::kLastEvent);
      }
      found.push_back({keys[row], panes.Value(row), firsts.Value(row), lasts.Value(row)});
    }
    found.back().rows.push_back(row);
    if (!has_bounds) continue;
    found.back().first = std::min(found.back().first, firsts.Value(row));
    found.back().last = std::max(found.back().last, lasts.Value(row));
  }
  return found;
}

// A column of times out of one per row.
Result<std::shared_ptr<arrow::Array>> Column(const std::vector<std::int64_t>& times) {
  arrow::TimestampBuilder builder(arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), arrow::default_memory_pool());
  RETURN_NOT_OK(builder.AppendValues(times));
  return builder.Finish();
}

}  // namespace

Result<Batch> SessionsOfPanes(const model::AggregateDefinition& definition, const FoldRange& range, const Batch& panes,
                              const FoldLimits& limits) {
  ASSIGN_OR_RETURN(auto stretches, PanesIn(definition, *panes));
  std::vector<Stretch> sessions;
  for (Stretch& pane : stretches) {
    const bool goes_on = !sessions.empty() && sessions.back().keys == pane.keys &&
                         pane.first - sessions.back().last < definition.window.size_us;
    if (!goes_on) {
      sessions.push_back(std::move(pane));
      continue;
    }
    Stretch& session = sessions.back();
    session.last = std::max(session.last, pane.last);
    session.rows.insert(session.rows.end(), pane.rows.begin(), pane.rows.end());
  }
  std::vector<std::int64_t> names(static_cast<std::size_t>(panes->num_rows()), 0);
  std::vector<bool> asked(names.size(), false);
  for (const Stretch& session : sessions) {
    const bool inside = (!range.from || *range.from <= session.first) && (!range.to || session.first < *range.to);
    for (const std::int64_t row : session.rows) {
      names[row] = session.pane;
      asked[row] = inside;
    }
  }
  auto columns = panes->columns();
  ASSIGN_OR_RETURN(columns[0], Column(names));
  arrow::BooleanBuilder mask;
  RETURN_NOT_OK(mask.AppendValues(asked));
  ASSIGN_OR_RETURN(const auto filter, mask.Finish());
  const auto named = arrow::RecordBatch::Make(panes->schema(), panes->num_rows(), std::move(columns));
  ASSIGN_OR_RETURN(const auto kept, arrow::compute::Filter(named, filter));
  return Fold(definition, definition, {}, {kept.record_batch()}, limits);
}

Result<Batch> WithSessionBounds(const model::AggregateDefinition& definition, const Batch& rows) {
  ASSIGN_OR_RETURN(const auto sessions, PanesIn(definition, *rows));
  std::vector<std::int64_t> starts(static_cast<std::size_t>(rows->num_rows()), 0);
  std::vector<std::int64_t> ends(starts.size(), 0);
  for (const Stretch& session : sessions) {
    for (const std::int64_t row : session.rows) {
      starts[row] = session.first;
      ends[row] = session.last + definition.window.size_us;
    }
  }
  auto columns = rows->columns();
  ASSIGN_OR_RETURN(columns[0], Column(starts));
  ASSIGN_OR_RETURN(columns[1], Column(ends));
  return arrow::RecordBatch::Make(rows->schema(), rows->num_rows(), std::move(columns));
}

}  // namespace millrace::query
