#include "query/pane_windows.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/compute/api.h>

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "query/session_windows_internal.h"

namespace millrace::query {
namespace {

using Batch = std::shared_ptr<arrow::RecordBatch>;

// The rows with their pane moved by `by_us`, those left out that may not move.
Result<Batch> Moved(const Batch& rows, std::int64_t by_us, const std::function<bool(UnixMicros pane)>& may_move) {
  const auto& panes = static_cast<const arrow::TimestampArray&>(*rows->column(0));
  arrow::TimestampBuilder moved(panes.type(), arrow::default_memory_pool());
  arrow::BooleanBuilder moves;
  RETURN_NOT_OK(moved.Reserve(panes.length()));
  RETURN_NOT_OK(moves.Reserve(panes.length()));
  for (std::int64_t i = 0; i < panes.length(); ++i) {
    moved.UnsafeAppend(panes.Value(i) + by_us);
    moves.UnsafeAppend(may_move(panes.Value(i)));
  }
  auto columns = rows->columns();
  ASSIGN_OR_RETURN(columns[0], moved.Finish());
  ASSIGN_OR_RETURN(const auto mask, moves.Finish());
  const auto all = arrow::RecordBatch::Make(rows->schema(), rows->num_rows(), std::move(columns));
  ASSIGN_OR_RETURN(const auto kept, arrow::compute::Filter(all, mask));
  return kept.record_batch();
}

// The sum of so many panes from each on, by the binary digits of how many.
Result<Batch> Hops(const model::AggregateDefinition& definition, const FoldRange& range, const Batch& panes,
                   const FoldLimits& limits) {
  const std::int64_t pane_us = definition.window.pane_us;
  // Stretches move to earlier panes only, so what begins before the range is of no more use.
  const FoldRange from{.from = range.from, .to = std::nullopt};
  const auto joined = [&](const Batch& stretch, const Batch& next, std::int64_t num_panes) -> Result<Batch> {
    ASSIGN_OR_RETURN(const auto moved, Moved(next, -num_panes * pane_us, [](UnixMicros) { return true; }));
    return Fold(definition, definition, from, {stretch, moved}, limits);
  };
  Batch windows;
  std::int64_t done = 0;  // Panes in `windows`.
  Batch stretch = panes;
  std::int64_t length = 1;  // Panes in `stretch`.
  for (std::int64_t digits = definition.window.size_us / pane_us;;) {
    if (digits % 2 == 1) {
      if (windows == nullptr) {
        windows = stretch;
      } else {
        ASSIGN_OR_RETURN(windows, joined(windows, stretch, done));
      }
      done += length;
    }
    digits /= 2;
    if (digits == 0) break;
    ASSIGN_OR_RETURN(stretch, joined(stretch, stretch, length));
    length *= 2;
  }
  return Fold(definition, definition, range, {windows}, limits);
}

// The sum of all panes up to each, within the longest window.
Result<Batch> Sums(const model::AggregateDefinition& definition, Batch panes, const FoldLimits& limits) {
  const model::Window& window = definition.window;
  for (std::int64_t reach_us = window.pane_us; reach_us < window.size_us; reach_us *= 2) {
    const auto stays = [&](UnixMicros pane) {
      return window.FirstStartOf(pane + reach_us) == window.FirstStartOf(pane);
    };
    ASSIGN_OR_RETURN(const auto moved, Moved(panes, reach_us, stays));
    ASSIGN_OR_RETURN(panes, Fold(definition, definition, {}, {panes, moved}, limits));
  }
  return panes;
}

}  // namespace

FoldRange PanesOf(const model::Window& window, const FoldRange& range) {
  // All rows lie within these years, and times beyond them could not be calculated with.
  FoldRange panes = range;
  for (auto* const time : {&panes.from, &panes.to}) {
    if (*time) *time = std::clamp(**time, model::kWindowsBegin, model::kWindowsEnd);
  }
  if (window.kind == model::Window::Kind::kSession) {
    // What may be less than the gap before the first event in the range; a session reaches as far as it likes.
    if (panes.from) panes.from = window.StartOf(*panes.from) - window.size_us;
    panes.to.reset();
    return panes;
  }
  if (window.kind == model::Window::Kind::kHopping) {
    // Windows begin at panes: the last begins in the one before `to`.
    if (panes.to) panes.to = *panes.to + window.size_us - window.pane_us;
    return panes;
  }
  const auto first_at_or_after = [&](UnixMicros time) {
    const UnixMicros start = model::Window::Floor(time, window.size_us);
    return start == time ? start : start + window.size_us;
  };
  if (panes.from) panes.from = first_at_or_after(*panes.from);
  if (panes.to) panes.to = first_at_or_after(*panes.to);
  return panes;
}

Result<Batch> WindowsOfPanes(const model::AggregateDefinition& definition, const FoldRange& range, const Batch& panes,
                             const FoldLimits& limits) {
  if (definition.window.kind == model::Window::Kind::kSession) {
    return SessionsOfPanes(definition, range, panes, limits);
  }
  if (definition.window.kind == model::Window::Kind::kHopping) return Hops(definition, range, panes, limits);
  return Sums(definition, panes, limits);
}

Result<Batch> WithWindowBounds(const model::AggregateDefinition& definition, const Batch& rows) {
  const model::Window& window = definition.window;
  if (window.kind == model::Window::Kind::kSession) return WithSessionBounds(definition, rows);
  const bool hops = window.kind == model::Window::Kind::kHopping;
  const auto& panes = static_cast<const arrow::TimestampArray&>(*rows->column(0));
  arrow::TimestampBuilder starts(panes.type(), arrow::default_memory_pool());
  arrow::TimestampBuilder ends(panes.type(), arrow::default_memory_pool());
  RETURN_NOT_OK(starts.Reserve(panes.length()));
  RETURN_NOT_OK(ends.Reserve(panes.length()));
  for (std::int64_t i = 0; i < panes.length(); ++i) {
    const UnixMicros pane = panes.Value(i);
    starts.UnsafeAppend(hops ? pane : window.FirstStartOf(pane));
    ends.UnsafeAppend(hops ? pane + window.size_us : window.EndOf(pane));
  }
  auto columns = rows->columns();
  ASSIGN_OR_RETURN(columns[0], starts.Finish());
  ASSIGN_OR_RETURN(columns[1], ends.Finish());
  return arrow::RecordBatch::Make(rows->schema(), rows->num_rows(), std::move(columns));
}

}  // namespace millrace::query
