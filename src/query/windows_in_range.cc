#include "query/windows_in_range.h"

#include <arrow/builder.h>

#include <algorithm>

#include "model/aggregate.h"

namespace millrace::query {
namespace {

std::shared_ptr<arrow::DataType> TimeType() { return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"); }

// The first of `window`'s panes, or of what its windows begin at, that does not begin before `time`.
UnixMicros FirstPaneFrom(const model::Window& window, UnixMicros time) {
  if (window.kind == model::Window::Kind::kCumulating) {
    const UnixMicros start = model::Window::Floor(time, window.size_us);
    return start < time ? start + window.size_us : start;
  }
  const UnixMicros start = window.StartOf(time);
  return start < time ? window.EndOf(start) : start;
}

}  // namespace

std::shared_ptr<arrow::Schema> WindowsSchema() {
  return arrow::schema({arrow::field(model::kWindowStart, TimeType()), arrow::field(model::kWindowEnd, TimeType())});
}

Result<std::shared_ptr<arrow::RecordBatch>> WindowsInRange(const model::Window& own, const model::Window& answers,
                                                           const FoldRange& range, std::int64_t windows_max) {
  using Kind = model::Window::Kind;
  const UnixMicros from = std::clamp(*range.from, model::kWindowsBegin, model::kWindowsEnd);
  const UnixMicros to = std::clamp(*range.to, model::kWindowsBegin, model::kWindowsEnd);
  arrow::TimestampBuilder starts(TimeType(), arrow::default_memory_pool());
  arrow::TimestampBuilder ends(TimeType(), arrow::default_memory_pool());
  const auto add = [&](UnixMicros start, UnixMicros end) -> Status {
    if (starts.length() == windows_max) {
      return TooLarge("fill: between from and to are more than {} windows, which is the limit of rows", windows_max);
    }
    RETURN_NOT_OK(starts.Append(start));
    return ends.Append(end);
  };
  if (answers.kind == Kind::kHopping) {
    for (UnixMicros start = FirstPaneFrom(answers, from); start < to; start += answers.pane_us) {
      RETURN_NOT_OK(add(start, start + answers.size_us));
    }
  } else if (answers.kind == Kind::kCumulating) {
    for (UnixMicros start = FirstPaneFrom(answers, from); start < to; start += answers.size_us) {
      for (UnixMicros end = start + answers.pane_us; end <= start + answers.size_us; end += answers.pane_us) {
        RETURN_NOT_OK(add(start, end));
      }
    }
  } else {
    // A step's first window may have begun before `from`. Panes of CUMULATE are its steps.
    UnixMicros first = own.StartOf(from);
    if (first < from) first = own.EndOf(first);
    for (UnixMicros start = answers.StartOf(first); first < to && start < to; start = answers.EndOf(start)) {
      RETURN_NOT_OK(add(start, answers.EndOf(start)));
    }
  }
  arrow::ArrayVector columns(2);
  ASSIGN_OR_RETURN(columns[0], starts.Finish());
  ASSIGN_OR_RETURN(columns[1], ends.Finish());
  return arrow::RecordBatch::Make(WindowsSchema(), columns[0]->length(), columns);
}

}  // namespace millrace::query
